//! OpenAI's Responses, as far as clients and providers that speak it have the same to do: items, settings, and what an end of this
//! format tells the other beyond the shape that all formats share, under [`NATIVE`](super::chat::NATIVE).
//!
//! That are the provider's events as they came, in the delta's list [`BLOCKS`](super::anthropic::BLOCKS), each with a number of its own as
//! `index`. Those that continue one text share a number, and their pieces grow in one field ([`grows`]). Numbers in
//! [`ENDED`](super::anthropic::ENDED) say of which nothing more comes. A whole answer is the event that would end its stream. [`MARK`]
//! tells them from the blocks of other formats, which stand in the same place.

pub mod items;
pub mod settings;

use serde_json::{Map, Value, json};

use super::anthropic::BLOCKS;
use super::chat::{Chunk, Delta, NATIVE};

/// Of an event with a response: what that repeats of the request. The client said it itself, so it is no part of the answer.
pub const ECHO: &str = "echo";

/// Of what a delta tells natively: it is this format's.
pub const MARK: &str = "responses";

/// What a response repeats of its request.
const REPEATED: [&str; 25] = [
    "context_management",
    "include",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "background",
];

/// The field in which the pieces of a text grow that events of this kind continue; none of others. Arguments are JSON texts, and
/// what is in `data` no text.
pub fn grows(kind: &str) -> Option<&'static str> {
    let of = kind.strip_suffix(".delta")?;
    Some(match of {
        "response.audio" => "data",
        of if of.ends_with("_arguments") => "arguments",
        of if of.ends_with("_input") => "input",
        // What the provider's own tools are given.
        "response.apply_patch_call_operation_diff"
        | "response.code_interpreter_call_code"
        | "response.shell_call_command" => "input",
        _ => "text",
    })
}

/// Whether an event of this kind ends a stream.
pub fn is_last(kind: &str) -> bool {
    matches!(kind, "response.completed" | "response.incomplete")
}

/// Sets apart what the response in an event repeats of its request, and calls pictures what they are.
pub fn set_apart(event: &mut Map<String, Value>) {
    if let Some(Value::Object(response)) = event.get_mut("response") {
        let repeated = REPEATED.iter().filter_map(|name| response.remove_entry(*name));
        let repeated: Map<String, Value> = repeated.collect();
        event.insert(ECHO.to_owned(), Value::Object(repeated));
    }
    pictures(event, ("result", "partial_image_b64"), "data");
}

/// What a response repeats of its request in the client's own words, and what of it says who asks: another client may get the answer.
const WORDS: [&str; 5] = ["instructions", "metadata", "prompt_cache_key", "safety_identifier", "user"];

/// Undoes [`set_apart`]. `said`: what the client said itself, in whose words it is then repeated.
pub fn put_together(event: &mut Map<String, Value>, said: Option<&Map<String, Value>>) {
    if event.contains_key("data") {
        rename(event, "data", "partial_image_b64");
    }
    pictures(event, ("data", ""), "result");
    let Some(Value::Object(repeated)) = event.remove(ECHO) else { return };
    let Some(Value::Object(response)) = event.get_mut("response") else { return };
    response.extend(repeated);
    let Some(said) = said else { return };
    for name in WORDS {
        if let Some(there) = response.get_mut(name) {
            *there = said.get(name).cloned().unwrap_or_else(|| nothing(there));
        }
    }
}

/// Makes nothing of what an event repeats in words of who asked: it is kept for others.
pub fn forget_words(event: &mut Map<String, Value>) {
    let Some(Value::Object(repeated)) = event.get_mut(ECHO) else { return };
    for name in WORDS {
        if let Some(there) = repeated.get_mut(name) {
            *there = nothing(there);
        }
    }
}

/// What stands where nothing was said.
fn nothing(there: &Value) -> Value {
    if there.is_object() { json!({}) } else { Value::Null }
}

/// Renames what holds a picture, of the event and of the items in it.
fn pictures(event: &mut Map<String, Value>, (of_item, of_event): (&str, &str), to: &str) {
    rename(event, of_event, to);
    let of_response = event.get_mut("response").and_then(|response| response.get_mut("output"));
    let output = of_response.and_then(Value::as_array_mut).into_iter().flatten();
    let items = output.filter_map(Value::as_object_mut);
    let rename_in = |item: &mut Map<String, Value>| {
        if item.get("type").is_some_and(|kind| kind == "image_generation_call") {
            rename(item, of_item, to);
        }
    };
    items.for_each(rename_in);
    if let Some(Value::Object(item)) = event.get_mut("item") {
        rename_in(item);
    }
}

fn rename(members: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = members.remove(from) {
        members.insert(to.to_owned(), value);
    }
}

/// The events of a delta, in their order; none if what it tells is another format's.
pub fn events(delta: &Delta) -> Vec<&Map<String, Value>> {
    let native = delta.rest.get(NATIVE).filter(|native| native.get(MARK) == Some(&Value::Bool(true)));
    let blocks = native.and_then(|native| native.get(BLOCKS)?.as_array());
    let mut events: Vec<_> = blocks.into_iter().flatten().filter_map(Value::as_object).collect();
    events.sort_by_key(|event| event.get("index").and_then(Value::as_u64));
    events
}

/// The event that ended an answer, if its provider speaks this format: all of the answer stands in it.
pub fn end(answer: &Chunk) -> Option<&Map<String, Value>> {
    let [choice] = answer.choices.as_slice() else { return None };
    let is_end = |event: &&Map<String, Value>| {
        event.get("response").is_some_and(Value::is_object)
            && event.get("type").and_then(Value::as_str).is_some_and(is_last)
    };
    events(&choice.delta).into_iter().rfind(is_end)
}

/// Gives an answer the event that ended it, which was kept beside it.
pub fn set_end(answer: &mut Chunk, end: &Value) {
    if let [choice] = answer.choices.as_mut_slice() {
        choice.delta.rest.insert(NATIVE.to_owned(), json!({ MARK: true, BLOCKS: [end] }));
    }
}

/// Takes the log probabilities out of the events of a delta: they spell a text token by token that the client is not to see.
pub fn forget_logprobs(delta: &mut Delta) {
    if let Some(native) = delta.rest.get_mut(NATIVE) {
        without_logprobs(native);
    }
}

fn without_logprobs(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_logprobs),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::Array(tokens) if name == "logprobs" => tokens.clear(),
                    member => without_logprobs(member),
                }
            }
        }
        _ => {}
    }
}

/// How the signature of thinking begins that is OpenAI's: the item's id and what it encrypted follow, each behind a slash.
const SEALED: &str = "openai/";

/// A block of thinking that says what a reasoning item has encrypted, as the other formats carry signed thinking.
pub fn seal(id: &str, encrypted: &str) -> String {
    format!("{SEALED}{id}/{encrypted}")
}

/// The reasoning item that a block of thinking came from; none if that is another provider's.
pub fn unseal(block: &Value) -> Option<Value> {
    let text = |name: &str| block.get(name).and_then(Value::as_str);
    let sealed = match text("type")? {
        "thinking" => text("signature")?,
        "redacted_thinking" => text("data")?,
        _ => return None,
    };
    let (id, encrypted) = sealed.strip_prefix(SEALED)?.split_once('/')?;
    let summary = text("thinking").filter(|thought| !thought.is_empty());
    let summary: Vec<Value> =
        summary.into_iter().map(|thought| json!({ "type": "summary_text", "text": thought })).collect();
    let mut item = json!({ "type": "reasoning", "summary": summary, "encrypted_content": encrypted });
    if !id.is_empty() {
        item["id"] = json!(id);
    }
    Some(item)
}

/// What a reasoning item tells of what the model thought, parts apart.
pub fn thoughts(item: &Value) -> String {
    let list = |name: &str| item.get(name).and_then(Value::as_array).into_iter().flatten();
    let texts = list("summary").chain(list("content")).filter_map(|part| part.get("text")?.as_str());
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The block of thinking that a reasoning item is elsewhere; none if it has nothing that goes back to its provider.
pub fn block(item: &Value) -> Option<Value> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let sealed = seal(text("id").unwrap_or_default(), text("encrypted_content")?);
    let thoughts = thoughts(item);
    Some(if thoughts.is_empty() {
        json!({ "type": "redacted_thinking", "data": sealed })
    } else {
        json!({ "type": "thinking", "thinking": thoughts, "signature": sealed })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reasoning_item_encrypted_goes_through_a_block_of_thinking() {
        let told = json!({ "id": "rs_1", "type": "reasoning", "summary": [{ "type": "summary_text", "text": "Hm." }], "encrypted_content": "gAAA/b=" });
        assert_eq!(unseal(&block(&told).unwrap()), Some(told));
        let silent = json!({ "type": "reasoning", "summary": [], "encrypted_content": "gAAA" });
        assert_eq!(unseal(&block(&silent).unwrap()), Some(silent));
        assert_eq!(block(&json!({ "type": "reasoning", "id": "rs_1", "summary": [] })), None);
        for block in [
            json!({ "type": "thinking", "thinking": "a", "signature": "EqQB/x/y" }),
            json!({ "type": "redacted_thinking", "data": "openai" }),
            json!({ "type": "text", "signature": "openai/a/b" }),
            json!(null),
        ] {
            assert_eq!(unseal(&block), None, "{block}");
        }
    }

    #[test]
    fn what_was_set_apart_comes_together_again() {
        let image = json!({ "type": "image_generation_call", "id": "ig_1", "result": "QUJD" });
        for event in [
            json!({ "type": "response.completed", "response": { "id": "r", "output": [image], "tools": [], "instructions": "Be." } }),
            json!({ "type": "response.output_item.done", "item": image }),
            json!({ "type": "response.image_generation_call.partial_image", "partial_image_b64": "QUJD" }),
        ] {
            let Value::Object(mut apart) = event.clone() else { unreachable!() };
            set_apart(&mut apart);
            let spelled = json!(apart).to_string();
            assert!(!spelled.contains("result") && !spelled.contains("partial_image_b64"), "{spelled}");
            put_together(&mut apart, None);
            assert_eq!(json!(apart), event);
        }
        let mut event = Map::new();
        event.insert("response".to_owned(), json!({ "id": "r", "instructions": "I am [A]", "user": "another", "metadata": { "of": "another" } }));
        set_apart(&mut event);
        assert_eq!(event["response"], json!({ "id": "r" }));
        let said = json!({ "instructions": "I am Ada" });
        put_together(&mut event, said.as_object());
        let own = json!({ "id": "r", "instructions": "I am Ada", "user": null, "metadata": {} });
        assert_eq!(event["response"], own);
    }
}
