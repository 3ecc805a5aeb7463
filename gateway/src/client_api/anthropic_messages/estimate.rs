//! About how many tokens a request has, where no provider that counts can be asked.
//!
//! Schemas and tool inputs are counted as the JSON that they are. A picture takes at most about 1,600 tokens, a page of a PDF 1,500 to 3,000, of which base64 of
//! some 50 KB are one. Each message and each tool has a few tokens around it.

use serde_json::{Map, Value};

use crate::wire::tokens::of_text as text;

/// Around a message or a tool.
const AROUND: f64 = 4.0;
/// A picture, whatever its size.
const PICTURE: f64 = 1600.0;
/// Bytes of base64 a token of a document.
const DOCUMENT_BYTES_A_TOKEN: f64 = 25.0;

/// An estimate for the fields of a request in Anthropic's form.
pub fn tokens(said: &Map<String, Value>) -> u64 {
    let list = |name: &str| said.get(name).and_then(Value::as_array).into_iter().flatten();
    let system = said.get("system").map_or(0.0, content);
    let messages: f64 =
        list("messages").map(|message| AROUND + message.get("content").map_or(0.0, content)).sum();
    let tools: f64 = list("tools").map(|tool| AROUND + text(&tool.to_string())).sum();
    // A sum of sizes of things in memory is far from the limits of a float.
    (system + messages + tools).ceil() as u64
}

fn content(value: &Value) -> f64 {
    match value {
        Value::String(said) => text(said),
        Value::Array(blocks) => blocks.iter().map(block).sum(),
        _ => 0.0,
    }
}

fn block(block: &Value) -> f64 {
    let member = |name: &str| block.get(name).and_then(Value::as_str).map_or(0.0, text);
    match block.get("type").and_then(Value::as_str) {
        Some("text") => member("text"),
        Some("thinking") => member("thinking"),
        Some("image") => PICTURE,
        Some("document") => {
            let source = block.get("source");
            let of = |name: &str| source.and_then(|source| source.get(name));
            let data = of("data").and_then(Value::as_str).unwrap_or_default();
            let inside = match of("type").and_then(Value::as_str) {
                Some("base64") => data.len() as f64 / DOCUMENT_BYTES_A_TOKEN,
                Some("text") => text(data),
                _ => of("content").map_or(PICTURE, content),
            };
            member("title") + member("context") + inside
        }
        Some("tool_use") => {
            AROUND + member("name") + block.get("input").map_or(0.0, |input| text(&input.to_string()))
        }
        Some("tool_result" | "search_result") => AROUND + block.get("content").map_or(0.0, content),
        _ => text(&block.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::borrow::Borrow;

    fn of(said: impl Borrow<Value>) -> u64 {
        tokens(said.borrow().as_object().unwrap())
    }

    #[test]
    fn everything_that_is_sent_counts() {
        let message = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
        let plain = of(message(json!("How are you today, my friend?")));
        assert!((8..=16).contains(&plain), "{plain}");
        assert_eq!(of(message(json!([{ "type": "text", "text": "How are you today, my friend?" }]))), plain);
        assert!(of(message(json!("你好你好你好"))) >= 10);
        let picture =
            json!([{ "type": "image", "source": { "type": "base64", "data": "A".repeat(900_000) } }]);
        assert_eq!(of(message(picture)), 1604);
        let result = json!([{ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "text", "text": "word ".repeat(70) }] }]);
        assert!(of(message(result)) > 100);
        let mut with_tools = message(json!("Hi"));
        with_tools["tools"] = json!([{ "name": "f", "input_schema": { "type": "object", "properties": { "a": { "type": "string" } } } }]);
        with_tools["system"] = json!([{ "type": "text", "text": "Be brief." }]);
        assert!(of(with_tools) > of(message(json!("Hi"))) + 20);
    }
}
