//! About how many tokens a request and an answer have, for answers that nobody counted: their client left, or they broke off.
//! What is no text counts by its kind.

use serde_json::{Map, Value};

use crate::wire::chat::{Choice, Chunk};
use crate::wire::tokens::of_text as text;

/// A picture, a page or a sound, whatever its size.
const MEDIA: f64 = 1000.0;
/// Around a message or a tool.
const AROUND: f64 = 4.0;

/// An estimate for a request's fields.
pub(super) fn of_request(fields: &Map<String, Value>) -> u64 {
    let list = |name: &str| fields.get(name).and_then(Value::as_array).into_iter().flatten();
    let all = list("messages").chain(list("tools")).map(|item| AROUND + inside(item));
    all.sum::<f64>().ceil() as u64
}

/// An estimate for as much of an answer as there is.
pub(super) fn of_answer(answer: &Chunk) -> u64 {
    let of = |choice: &Choice| {
        let delta = &choice.delta;
        let said = [&delta.content, &delta.refusal].into_iter().flatten().map(|said| text(said)).sum::<f64>();
        let calls = delta.tool_calls.iter().filter_map(|call| call.function.as_ref());
        let called = calls.map(|function| {
            let words = [&function.name, &function.arguments];
            AROUND + words.into_iter().flatten().map(|word| text(word)).sum::<f64>()
        });
        let thought = delta.rest.get("reasoning_content").map_or(0.0, inside);
        said + called.sum::<f64>() + thought
    };
    answer.choices.iter().map(of).sum::<f64>().ceil() as u64
}

fn inside(value: &Value) -> f64 {
    match value {
        Value::String(said) if said.starts_with("data:") && said.len() > 256 => MEDIA,
        Value::String(said) => text(said),
        Value::Array(items) => items.iter().map(inside).sum(),
        Value::Object(members) => members.values().map(inside).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_calls_and_pictures_count() {
        let request = |content: Value| {
            let fields = json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
            of_request(fields.as_object().unwrap())
        };
        let plain = request(json!("How are you today, my friend?"));
        assert!((10..=18).contains(&plain), "{plain}");
        let url = format!("data:image/png;base64,{}", "A".repeat(100_000));
        let picture = request(json!([{ "type": "image_url", "image_url": { "url": url } }]));
        assert!((1000..1020).contains(&picture), "{picture}");
        let answer = |delta: Value| {
            let chunk = json!({ "choices": [{ "index": 0, "delta": delta }] });
            of_answer(&serde_json::from_value(chunk).unwrap())
        };
        assert_eq!(answer(json!({ "content": "x".repeat(35) })), 10);
        assert!(
            answer(json!({ "tool_calls": [{ "index": 0, "function": { "name": "f", "arguments": "{}" } }] }))
                >= 4
        );
        assert_eq!(answer(json!({})), 0);
    }
}
