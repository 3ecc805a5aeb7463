//! What a provider of this format told, as its client gets it: the provider's own items, events and response.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::answer::response_id;
use crate::wire::chat::Chunk;
use crate::wire::responses::items::Called;
use crate::wire::responses::{end, grows, is_last, put_together};

/// A whole answer, if its provider speaks this format.
pub(super) fn whole(whole: &Chunk, said: Option<&Map<String, Value>>) -> Option<Value> {
    let mut event = end(whole)?.clone();
    put_together(&mut event, said);
    let mut response = event.remove("response")?;
    name(&mut response, whole);
    Some(response)
}

/// An answer that was given once already has a name of its own, and a time.
fn name(response: &mut Value, chunk: &Chunk) {
    if response["id"] != chunk.id.as_str() && !chunk.id.is_empty() {
        response["id"] = json!(response_id(&chunk.id));
        response["created_at"] = json!(chunk.created);
    }
}

/// A stream on its way.
#[derive(Default)]
pub(super) struct Told {
    /// What is the same in all events that continue a text, by its number.
    texts: BTreeMap<u64, Map<String, Value>>,
    /// The response as it was told last.
    pub(super) response: Option<Value>,
    /// The event that ends it.
    pub(super) end: Option<(String, Value)>,
}

impl Told {
    /// An event as it is sent, with its kind; none if it is not to be sent yet.
    pub(super) fn event(
        &mut self,
        event: &Map<String, Value>,
        chunk: &Chunk,
        said: Option<&Map<String, Value>>,
    ) -> Option<(String, Value)> {
        let mut event = event.clone();
        let number = event.remove("index").and_then(|number| number.as_u64())?;
        let kind = event.get("type").and_then(Value::as_str).map(str::to_owned);
        let known = || self.texts.get(&number)?.get("type")?.as_str().map(str::to_owned);
        let kind = kind.or_else(known)?;
        if let Some(piece) = grows(&kind).and_then(|field| event.remove(field)) {
            let text = self.texts.entry(number).or_insert_with(|| {
                let mut same = event.clone();
                if let Some(Value::Array(tokens)) = same.get_mut("logprobs") {
                    tokens.clear();
                }
                same
            });
            let mut whole = text.clone();
            whole.extend(event);
            whole.insert("delta".to_owned(), piece);
            return Some((kind, Value::Object(whole)));
        }
        put_together(&mut event, said);
        if let Some(response) = event.get_mut("response") {
            name(response, chunk);
            self.response = Some(response.clone());
        }
        let event = Value::Object(event);
        if is_last(&kind) {
            self.end = Some((kind, event));
            return None;
        }
        Some((kind, event))
    }
}

/// The events that lead to a response, all but the one that ends it: for one that came whole.
pub(super) fn events(response: &Value) -> Vec<(&'static str, Value)> {
    let mut begun = response.clone();
    for (name, value) in [("status", json!("in_progress")), ("output", json!([])), ("usage", Value::Null)] {
        begun[name] = value;
    }
    for name in ["incomplete_details", "completed_at"] {
        if let Some(told) = begun.get_mut(name) {
            *told = Value::Null;
        }
    }
    let begun = json!({ "response": begun });
    let mut events = vec![("response.created", begun.clone()), ("response.in_progress", begun)];
    for (at, item) in response["output"].as_array().into_iter().flatten().enumerate() {
        let mut empty = item.clone();
        for (name, nothing) in
            [("content", json!([])), ("summary", json!([])), ("arguments", json!("")), ("input", json!(""))]
        {
            if empty.get(name).is_some_and(|there| !there.is_null()) {
                empty[name] = nothing;
            }
        }
        if empty.get("status").is_some() {
            empty["status"] = json!("in_progress");
        }
        events.push(("response.output_item.added", json!({ "output_index": at, "item": empty })));
        parts(at, item, &mut events);
        events.push(("response.output_item.done", json!({ "output_index": at, "item": item })));
    }
    events
}

/// How the parts of an item grow.
fn parts(at: usize, item: &Value, events: &mut Vec<(&'static str, Value)>) {
    let id = &item["id"];
    if let Some(called) = Called::of_item(item) {
        let place = json!({ "item_id": id, "output_index": at });
        let [delta, done] = if called.custom {
            ["response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"]
        } else {
            ["response.function_call_arguments.delta", "response.function_call_arguments.done"]
        };
        events.push((delta, with(&place, &[("delta", json!(called.given))])));
        let name = json!(called.name);
        events.push((done, with(&place, &[("name", name), (called.field(), json!(called.given))])));
        return;
    }
    for (number, part) in item["summary"].as_array().into_iter().flatten().enumerate() {
        let place = json!({ "item_id": id, "output_index": at, "summary_index": number });
        let empty = with(part, &[("text", json!(""))]);
        events.push(("response.reasoning_summary_part.added", with(&place, &[("part", empty)])));
        events.push((
            "response.reasoning_summary_text.delta",
            with(&place, &[("delta", part["text"].clone())]),
        ));
        events
            .push(("response.reasoning_summary_text.done", with(&place, &[("text", part["text"].clone())])));
        events.push(("response.reasoning_summary_part.done", with(&place, &[("part", part.clone())])));
    }
    for (number, part) in item["content"].as_array().into_iter().flatten().enumerate() {
        let place = json!({ "item_id": id, "output_index": at, "content_index": number });
        let (field, [delta, done]) = match part["type"].as_str() {
            Some("output_text") => ("text", ["response.output_text.delta", "response.output_text.done"]),
            Some("refusal") => ("refusal", ["response.refusal.delta", "response.refusal.done"]),
            Some("reasoning_text") => {
                ("text", ["response.reasoning_text.delta", "response.reasoning_text.done"])
            }
            _ => continue,
        };
        let mut empty = with(part, &[(field, json!(""))]);
        for name in ["annotations", "logprobs"] {
            if let Some(Value::Array(told)) = empty.get_mut(name) {
                told.clear();
            }
        }
        let tokens: Vec<_> =
            part.get("logprobs").map(|tokens| ("logprobs", tokens.clone())).into_iter().collect();
        events.push(("response.content_part.added", with(&place, &[("part", empty)])));
        events.push((delta, with(&with(&place, &tokens), &[("delta", part[field].clone())])));
        for (number, annotation) in part["annotations"].as_array().into_iter().flatten().enumerate() {
            let told = [("annotation_index", json!(number)), ("annotation", annotation.clone())];
            events.push(("response.output_text.annotation.added", with(&place, &told)));
        }
        events.push((done, with(&with(&place, &tokens), &[(field, part[field].clone())])));
        events.push(("response.content_part.done", with(&place, &[("part", part.clone())])));
    }
}

fn with(value: &Value, members: &[(&str, Value)]) -> Value {
    let mut value = value.clone();
    for (name, member) in members {
        value[*name] = member.clone();
    }
    value
}
