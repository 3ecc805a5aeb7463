//! Answers of the Responses API in the shape that all formats share.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::error_of;
use super::native::Numbers;
use crate::provider_api::{DecodeError, Sent, parse};
use crate::wire::chat::{Choice, Chunk, Delta};
use crate::wire::responses::items::{Called, nested, usage_of};
use crate::wire::responses::{seal, thoughts};

/// Reads a whole answer.
pub(super) fn whole(body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
    let body = parse(body)?;
    if error_of(&body).is_some() {
        return Err(DecodeError("an error where an answer should be".to_owned()));
    }
    let Value::Object(response) = body else { return Err(no_response()) };
    let end = End::of(&response)?;
    let mut reading = Reading::default();
    let mut delta = Delta { role: Some("assistant".to_owned()), ..Delta::default() };
    let logprobs = reading.output(&response, &mut delta)?;
    let mut chunk = Chunk { usage: end.usage, ..head(&response) };
    let finish_reason = Some(end.reason.unwrap_or_else(|| reading.usual_end()).to_owned());
    if sent.native {
        let kind = format!("response.{}", end.status);
        let event = json!({ "type": &kind, "response": response });
        if let Value::Object(event) = event {
            Numbers::default().tell(&kind, event, false, &mut delta);
        }
    }
    chunk.choices = vec![Choice { index: 0, delta, finish_reason, rest: logprobs }];
    Ok(chunk)
}

fn no_response() -> DecodeError {
    DecodeError("not a response".to_owned())
}

/// How a response ended.
pub(super) struct End {
    pub(super) status: &'static str,
    /// Why, if not as usual.
    pub(super) reason: Option<&'static str>,
    pub(super) usage: Option<crate::wire::usage::Usage>,
}

impl End {
    /// That of a response which is an answer.
    pub(super) fn of(response: &Map<String, Value>) -> Result<Self, DecodeError> {
        let (status, reason) = match response.get("status").and_then(Value::as_str) {
            Some("completed") => ("completed", None),
            Some("incomplete") => {
                let details = response.get("incomplete_details");
                match details.and_then(|details| details.get("reason")?.as_str()) {
                    Some("content_filter") => ("incomplete", Some("content_filter")),
                    _ => ("incomplete", Some("length")),
                }
            }
            Some(_) => return Err(DecodeError("a response that has not come to its end".to_owned())),
            None => return Err(no_response()),
        };
        let usage = response.get("usage").filter(|usage| usage.is_object()).map(usage_of);
        Ok(Self { status, reason, usage })
    }
}

/// A chunk that names the response.
pub(super) fn head(response: &Map<String, Value>) -> Chunk {
    let text = |name: &str| response.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let created = response.get("created_at");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds; some tell parts of one"
    )]
    let created = created.and_then(|at| at.as_u64().or_else(|| at.as_f64().map(|at| at as u64))).unwrap_or(0);
    let mut chunk = Chunk { id: text("id"), model: text("model"), created, ..Chunk::default() };
    if let Some(tier @ Value::String(_)) = response.get("service_tier") {
        chunk.rest.insert("service_tier".to_owned(), tier.clone());
    }
    chunk
}

/// What is known of an item so far.
#[cfg_attr(test, derive(Clone))]
#[derive(Default)]
struct Item {
    /// Its words, or what is given to a tool, came in pieces.
    said: bool,
    annotated: bool,
    /// The number of the call that it is, and whether that is of a custom tool.
    call: Option<(u32, bool)>,
}

/// Reads items, whole or as they grow.
#[cfg_attr(test, derive(Clone))]
#[derive(Default)]
pub(super) struct Reading {
    items: BTreeMap<u64, Item>,
    calls: u32,
}

impl Reading {
    /// Why an answer ended if nothing else is said.
    pub(super) fn usual_end(&self) -> &'static str {
        if self.calls > 0 { "tool_calls" } else { "stop" }
    }

    /// What of a whole response was not told by events before; beside it the log probabilities.
    pub(super) fn output(
        &mut self,
        response: &Map<String, Value>,
        delta: &mut Delta,
    ) -> Result<Map<String, Value>, DecodeError> {
        let Some(output) = response.get("output").and_then(Value::as_array) else {
            return Err(no_response());
        };
        let mut tokens = Vec::new();
        for (at, item) in (0..).zip(output) {
            if !self.items.contains_key(&at) {
                let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
                let told = parts.filter_map(|part| part.get("logprobs")?.as_array()).flatten();
                tokens.extend(told.cloned());
                self.done(at, item, delta);
            }
        }
        Ok(logprobs(&tokens))
    }

    /// An item begins.
    pub(super) fn added(&mut self, at: u64, item: &Value, delta: &mut Delta) {
        let mut known = Item::default();
        if let Some(called) = Called::of_item(item) {
            known.said = !called.given.is_empty();
            known.call = Some((self.calls, called.custom));
            delta.tool_calls.push(called.call(self.calls));
            self.calls += 1;
        }
        self.items.insert(at, known);
    }

    /// An item is complete: adds what did not come in pieces.
    pub(super) fn done(&mut self, at: u64, item: &Value, delta: &mut Delta) {
        let called = Called::of_item(item).is_some();
        if self.items.get(&at).is_none_or(|known| called && known.call.is_none()) {
            self.added(at, item, delta);
        } else if let (Some(called), Some(Item { call: Some((index, custom)), said: false, .. })) =
            (Called::of_item(item), self.items.get(&at))
            && !called.given.is_empty()
        {
            delta.tool_calls.push(Called::more(*index, called.given, *custom));
        }
        let Some(known) = self.items.get(&at) else { return };
        match item.get("type").and_then(Value::as_str) {
            Some("message") => {
                let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
                for part in parts {
                    let text = |name: &str| part.get(name).and_then(Value::as_str);
                    if !known.said {
                        add(&mut delta.content, text("text"));
                        add(&mut delta.refusal, text("refusal"));
                    }
                    let told = part.get("annotations").and_then(Value::as_array).into_iter().flatten();
                    if !known.annotated {
                        told.for_each(|annotation| annotate(delta, annotation));
                    }
                }
            }
            Some("reasoning") => {
                let thoughts = if known.said { String::new() } else { thoughts(item) };
                let thinks = known.said || !thoughts.is_empty();
                thought(delta, at, &thoughts);
                let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
                let encrypted = text("encrypted_content");
                if !encrypted.is_empty() {
                    let sealed = seal(text("id"), encrypted);
                    block(
                        delta,
                        if thinks {
                            json!({ "index": at, "type": "thinking", "signature": sealed })
                        } else {
                            json!({ "index": at, "type": "redacted_thinking", "data": sealed })
                        },
                    );
                }
            }
            _ => {}
        }
    }

    /// An event that continues an item: adds what it says, and gives the log probabilities of that.
    pub(super) fn continued(
        &mut self,
        kind: &str,
        event: &Map<String, Value>,
        delta: &mut Delta,
    ) -> Map<String, Value> {
        let count = |name: &str| event.get(name).and_then(Value::as_u64);
        let at = count("output_index").unwrap_or(0);
        let item = self.items.entry(at).or_default();
        let piece = event.get("delta").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "response.output_text.delta" => {
                item.said = true;
                add(&mut delta.content, Some(piece));
                let told = event.get("logprobs").and_then(Value::as_array).map(Vec::as_slice);
                return logprobs(told.unwrap_or_default());
            }
            "response.refusal.delta" => {
                item.said = true;
                add(&mut delta.refusal, Some(piece));
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                if let Some((index, custom)) = item.call {
                    item.said = true;
                    delta.tool_calls.push(Called::more(index, piece.to_owned(), custom));
                }
            }
            "response.reasoning_summary_part.added" if item.said && count("summary_index") > Some(0) => {
                thought(delta, at, "\n\n");
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                item.said = true;
                thought(delta, at, piece);
            }
            "response.output_text.annotation.added" => {
                item.annotated = true;
                event.get("annotation").into_iter().for_each(|annotation| annotate(delta, annotation));
            }
            _ => {}
        }
        Map::new()
    }
}

fn logprobs(tokens: &[Value]) -> Map<String, Value> {
    let told = (!tokens.is_empty()).then(|| ("logprobs".to_owned(), json!({ "content": tokens })));
    told.into_iter().collect()
}

fn add(text: &mut Option<String>, piece: Option<&str>) {
    if let Some(piece) = piece {
        text.get_or_insert_default().push_str(piece);
    }
}

fn annotate(delta: &mut Delta, annotation: &Value) {
    if let Value::Array(all) = delta.rest.entry("annotations").or_insert_with(|| json!([])) {
        all.push(nested(annotation));
    }
}

/// Adds to what the model thought: for people, and as a block that goes back to its provider.
fn thought(delta: &mut Delta, at: u64, piece: &str) {
    if piece.is_empty() {
        return;
    }
    let so_far = delta.rest.entry("reasoning_content").or_insert_with(|| json!(""));
    *so_far = Value::String(so_far.as_str().unwrap_or_default().to_owned() + piece);
    block(delta, json!({ "index": at, "type": "thinking", "thinking": piece }));
}

/// Adds to the block of thinking of an item.
fn block(delta: &mut Delta, more: Value) {
    let Value::Array(blocks) = delta.rest.entry("thinking_blocks").or_insert_with(|| json!([])) else {
        return;
    };
    match (blocks.last_mut(), &more) {
        (Some(Value::Object(last)), Value::Object(members)) if last.get("index") == members.get("index") => {
            last.extend(members.clone());
        }
        _ => blocks.push(more),
    }
}
