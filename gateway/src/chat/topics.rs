//! What a user's turn is about, held against the topics that are allowed and denied.

use std::sync::Arc;

use serde_json::Value;

use super::request::ChatRequest;
use super::{Call, audited};
use crate::audit::Event;
use crate::config::TopicAction;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::route::Target;
use crate::topics::Matter;

/// What a user said last, and where it stands.
pub(super) struct Turn {
    /// Its texts, joined by blank lines as the cache joins them.
    pub(super) text: String,
    /// The last message of it, as the audit log spells its place.
    pub(super) field: String,
}

/// The messages of people behind the last answer to any of them; none without text.
pub(super) fn turn(request: &ChatRequest) -> Option<Turn> {
    let messages = request.fields().get("messages")?.as_array()?;
    let role = |at: usize| messages[at].get("role").and_then(Value::as_str).unwrap_or_default();
    // What the model said, called and was given since does not make it another turn.
    let last = (0..messages.len()).rev().find(|at| role(*at) == "user")?;
    let first = (0..last).rev().find(|at| role(*at) == "assistant").map_or(0, |at| at + 1);
    let people = (first..=last).filter(|at| role(*at) == "user").map(|at| &messages[at]);
    let texts: Vec<&str> = people.filter_map(|message| message.get("content")).flat_map(of_content).collect();
    let text = texts.join("\n\n");
    (!text.trim().is_empty()).then(|| Turn { text, field: format!("messages[{last}].content") })
}

fn of_content(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text.as_str()],
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// Compares the user's last turn, in its redacted form, with the topics. Says whether there is nothing to say of it, and would not be
/// if the same came again.
///
/// # Errors
/// [`ApiError::TopicDenied`]; [`ApiError::TopicsUnavailable`] where they can't be compared; [`ApiError::AuditUnavailable`].
pub(super) async fn input(
    gateway: &Gateway,
    call: &Call,
    request: &ChatRequest,
    targets: &[Target],
) -> Result<bool, ApiError> {
    let Some(turn) = turn(request).filter(|_| !gateway.topics.is_empty()) else { return Ok(true) };
    let tried = call.guard(&request.model).is_tried();
    let refuse = |error: ApiError| {
        gateway.metrics.refused(error.code());
        Err(error)
    };
    let subject = || audited::subject(call, &request.model, targets);
    let matters = match gateway.topics.judge(&call.caller.tenant, &turn.text).await {
        Ok(matters) => matters,
        Err(unable) => {
            let closed = unable.closed && !tried;
            gateway.metrics.topics_skipped(unable.why);
            tracing::warn!(
                request_id = call.id,
                why = unable.why,
                refused = closed,
                "topics could not be compared"
            );
            if let Some(audit) = &gateway.audit {
                audit.record(vec![Event::topics_skipped(&subject(), unable.why, closed)])?;
            }
            return if closed { refuse(ApiError::TopicsUnavailable) } else { Ok(false) };
        }
    };
    for Matter { topic, action, similarity, .. } in &matters {
        gateway.metrics.topic(topic, action.name());
        tracing::warn!(
            request_id = call.id,
            key = call.caller.key,
            topic,
            action = action.name(),
            similarity,
            shadow = tried,
            "the request is about a topic that the policy names"
        );
    }
    if let Some(audit) = gateway.audit.as_ref().filter(|_| !matters.is_empty()) {
        let subject = subject();
        let events = matters.iter().map(|matter| Event::topic(&subject, matter, &turn.field, tried));
        audit.record(events.collect())?;
    }
    let clean = matters.is_empty();
    match matters.into_iter().find(|matter| matter.action == TopicAction::Block && !tried) {
        Some(Matter { topic, allowed, .. }) => {
            refuse(ApiError::TopicDenied { param: turn.field, topic, allowed: Arc::from(allowed) })
        }
        None => Ok(clean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_api::openai_chat::parse;
    use bytes::Bytes;
    use serde_json::json;

    fn last(messages: &Value) -> Option<(String, String)> {
        let body = json!({ "model": "m", "messages": messages }).to_string();
        turn(&parse(&Bytes::from(body)).ok().unwrap()).map(|turn| (turn.text, turn.field))
    }

    #[test]
    fn the_last_turn_is_what_people_said_since_the_model_spoke() {
        let said = |role: &str, text: &str| json!({ "role": role, "content": text });
        let told = last(&json!([said("user", "a"), said("assistant", "b"), said("user", "c")])).unwrap();
        assert_eq!(told, ("c".to_owned(), "messages[2].content".to_owned()));
        let two = last(&json!([said("system", "s"), said("user", "a"), said("user", "b")])).unwrap();
        assert_eq!(two.0, "a\n\nb", "a second message does not hide the first");
        let tool = last(&json!([said("user", "a"), said("assistant", ""), said("tool", "t")])).unwrap();
        assert_eq!(tool, ("a".to_owned(), "messages[0].content".to_owned()));
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": { "url": "x" } }, { "type": "text", "text": "b" }]);
        assert_eq!(last(&json!([{ "role": "user", "content": parts }])).unwrap().0, "a\n\nb");
        assert_eq!(last(&json!([said("system", "s")])), None);
        assert_eq!(last(&json!([said("user", "  ")])), None);
    }
}
