//! What people mean with what they said last, held against known attacks and against what may be talked about.

use serde_json::Value;

use super::request::ChatRequest;
use super::{Call, known, topics};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::route::Target;

/// What a user said last, and where it stands.
pub(super) struct Turn {
    /// Its texts, joined by blank lines as the cache joins them.
    pub(super) text: String,
    /// The place of its first message.
    pub(super) first: usize,
    /// The last message of it, as the audit log spells its place.
    pub(super) field: String,
}

/// The messages of people behind the last answer to any of them.
pub(super) fn turn(request: &ChatRequest) -> Turn {
    let messages = request.fields().get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let role = |at: usize| messages[at].get("role").and_then(Value::as_str).unwrap_or_default();
    // What the model said, called and was given since does not make it another turn.
    let last = (0..messages.len()).rev().find(|at| role(*at) == "user").unwrap_or_default();
    let first = (0..last).rev().find(|at| role(*at) == "assistant").map_or(0, |at| at + 1);
    let turn = messages.iter().take(last + 1).skip(first);
    let people = turn.filter(|message| message.get("role").and_then(Value::as_str) == Some("user"));
    let texts: Vec<&str> = people.filter_map(|message| message.get("content")).flat_map(of_content).collect();
    Turn { text: texts.join("\n\n"), first, field: format!("messages[{last}].content") }
}

fn of_content(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text.as_str()],
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// Whether nobody wants to know.
pub(super) fn is_unasked(gateway: &Gateway) -> bool {
    gateway.topics.is_empty() && gateway.attacks.by_meaning().is_none()
}

/// Compares the last turn, in its redacted form, with known attacks and topics. Says whether there is nothing to say of it, and would not
/// be if the same came again.
///
/// # Errors
/// [`ApiError::InjectionBlocked`], [`ApiError::TopicDenied`]; [`ApiError::TopicsUnavailable`] where it can't be compared;
/// [`ApiError::AuditUnavailable`].
pub(super) async fn input(
    gateway: &Gateway,
    call: &Call,
    request: &mut ChatRequest,
    targets: &[Target],
) -> Result<bool, ApiError> {
    let attacks = known::input(gateway, call, request, targets).await?;
    Ok(topics::input(gateway, call, request, targets).await? && attacks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_api::openai_chat::parse;
    use bytes::Bytes;
    use serde_json::json;

    fn last(messages: &Value) -> (String, usize, String) {
        let body = json!({ "model": "m", "messages": messages }).to_string();
        let turn = turn(&parse(&Bytes::from(body)).ok().unwrap());
        (turn.text, turn.first, turn.field)
    }

    #[test]
    fn the_last_turn_is_what_people_said_since_the_model_spoke() {
        let said = |role: &str, text: &str| json!({ "role": role, "content": text });
        let told = last(&json!([said("user", "a"), said("assistant", "b"), said("user", "c")]));
        assert_eq!(told, ("c".to_owned(), 2, "messages[2].content".to_owned()));
        let two = last(&json!([said("system", "s"), said("user", "a"), said("user", "b")]));
        assert_eq!(two.0, "a\n\nb", "a second message does not hide the first");
        let tool = last(&json!([said("user", "a"), said("assistant", ""), said("tool", "t")]));
        assert_eq!(tool, ("a".to_owned(), 0, "messages[0].content".to_owned()));
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": { "url": "x" } }, { "type": "text", "text": "b" }]);
        assert_eq!(last(&json!([{ "role": "user", "content": parts }])).0, "a\n\nb");
        assert_eq!(last(&json!([said("system", "s")])).0, "");
    }
}
