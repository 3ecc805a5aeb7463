//! From an answer to items of `output`, and the response around them.

use serde_json::{Map, Value, json};

use super::native;
use super::request::seal;
use crate::ids;
use crate::wire::chat::{Choice, Chunk, Delta};
use crate::wire::responses::items::{Called, annotations, logprobs, message, text_part, usage};
use crate::wire::usage::Usage;

/// A whole answer.
pub(super) fn whole(mut whole: Chunk, echo: Option<&Map<String, Value>>) -> Value {
    if let Some(response) = native::whole(&whole, echo) {
        return response;
    }
    let choice = if whole.choices.is_empty() { Choice::default() } else { whole.choices.swap_remove(0) };
    let head = Head { id: response_id(&whole.id), created: whole.created, model: whole.model };
    let end = End::of(&choice);
    let items = items(choice, &end);
    response(&head, echo, &State { status: end.status, items, end: Some(&end), usage: whole.usage.as_ref() })
}

/// What is the same in everything that is told of a response.
#[derive(Clone, Default)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
}

/// How far a response is.
pub(super) struct State<'a> {
    pub(super) status: &'a str,
    pub(super) items: Vec<Value>,
    pub(super) end: Option<&'a End>,
    pub(super) usage: Option<&'a Usage>,
}

/// How an answer ended.
pub(super) struct End {
    /// `completed` or `incomplete`.
    pub(super) status: &'static str,
    /// Why it is not complete.
    pub(super) reason: Option<&'static str>,
}

impl End {
    /// By the choice's finish reason; a refusal is an answer.
    pub(super) fn of(choice: &Choice) -> Self {
        Self::by(choice.finish_reason.as_deref(), choice.delta.refusal.is_some())
    }

    pub(super) fn by(finish_reason: Option<&str>, refused: bool) -> Self {
        let reason = match finish_reason {
            Some("length") => Some("max_output_tokens"),
            Some("content_filter") if !refused => Some("content_filter"),
            _ => None,
        };
        Self { status: if reason.is_some() { "incomplete" } else { "completed" }, reason }
    }
}

/// The id of a response whose answer has this one.
pub(super) fn response_id(id: &str) -> String {
    if id.starts_with("resp_") {
        return id.to_owned();
    }
    let own: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if own.is_empty() { ids::fresh("resp_") } else { format!("resp_{own}") }
}

/// The response with what it repeats of its request.
pub(super) fn response(head: &Head, echo: Option<&Map<String, Value>>, state: &State<'_>) -> Value {
    let said = |name: &str| echo.and_then(|echo| echo.get(name)).cloned();
    let or = |name: &str, standard: Value| said(name).unwrap_or(standard);
    let details = state.end.and_then(|end| end.reason).map(|reason| json!({ "reason": reason }));
    json!({
        "id": head.id,
        "object": "response",
        "created_at": head.created,
        "status": state.status,
        "background": false,
        "error": null,
        "incomplete_details": details,
        "instructions": said("instructions"),
        "max_output_tokens": said("max_output_tokens"),
        "max_tool_calls": said("max_tool_calls"),
        "metadata": or("metadata", json!({})),
        "model": head.model,
        "output": state.items,
        "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "previous_response_id": null,
        "prompt_cache_key": said("prompt_cache_key"),
        "reasoning": or("reasoning", json!({ "effort": null, "summary": null })),
        "safety_identifier": said("safety_identifier"),
        "service_tier": or("service_tier", json!("default")),
        "store": false,
        "temperature": or("temperature", json!(1.0)),
        "text": or("text", json!({ "format": { "type": "text" } })),
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_logprobs": or("top_logprobs", json!(0)),
        "top_p": or("top_p", json!(1.0)),
        "truncation": or("truncation", json!("disabled")),
        "usage": state.usage.map(usage),
    })
}

/// The items of a whole choice, in the order in which a model thinks, speaks and calls.
fn items(choice: Choice, end: &End) -> Vec<Value> {
    let Delta { content, refusal, tool_calls, mut rest, .. } = choice.delta;
    let mut items = Vec::new();
    let thoughts = rest.remove("reasoning_content").and_then(|text| text.as_str().map(str::to_owned));
    let blocks = rest.remove("thinking_blocks");
    if thoughts.is_some() || blocks.is_some() {
        items.push(reasoning(&ids::fresh("rs_"), thoughts.as_deref(), blocks));
    }
    let mut parts = Vec::new();
    if let Some(text) = content.filter(|text| !text.is_empty()) {
        parts.push(text_part(&text, &logprobs(&choice.rest), &annotations(&rest)));
    }
    if let Some(refusal) = refusal.filter(|text| !text.is_empty()) {
        parts.push(json!({ "type": "refusal", "refusal": refusal }));
    }
    if !parts.is_empty() || tool_calls.is_empty() {
        items.push(message(&ids::fresh("msg_"), end.status, &parts));
    }
    items.extend(tool_calls.iter().map(|called| Called::of(called).item(end.status)));
    items
}

/// An item of what the model thought. What others signed goes along, sealed.
pub(super) fn reasoning(id: &str, thoughts: Option<&str>, blocks: Option<Value>) -> Value {
    let text = thoughts.map(str::to_owned).or_else(|| {
        let blocks = blocks.as_ref()?.as_array()?.iter().filter_map(|block| block["thinking"].as_str());
        Some(blocks.collect::<String>())
    });
    let text = text.filter(|text| !text.is_empty());
    let summary: Vec<Value> =
        text.iter().map(|text| json!({ "type": "summary_text", "text": text })).collect();
    let mut item = json!({ "id": id, "type": "reasoning", "summary": summary });
    let signed = |block: &Value| block["signature"].is_string() || block["data"].is_string();
    if let Some(Value::Array(mut blocks)) = blocks
        && blocks.iter().any(signed)
    {
        for block in &mut blocks {
            if let Value::Object(block) = block {
                block.remove("index");
            }
        }
        item["encrypted_content"] = json!(seal(&Value::Array(blocks)));
    }
    item
}
