//! What people mean with what they said last, held against known attacks and against what may be talked about.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::attack::{Attack, Doubt};
use super::request::ChatRequest;
use super::{Call, audited, known, topics};
use crate::audit::Event;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::meaning::{self, Meaning};
use crate::route::Target;

/// Longest that a request waits for its texts to be embedded; then it goes on.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

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

/// What came of texts that were in doubt.
#[derive(Default)]
pub(super) struct Settled {
    /// One of them looks like an injection.
    pub(super) injection: bool,
    /// There is nothing to say of them, and would not be if the same came again.
    pub(super) unremarkable: bool,
}

/// Settles what words left in doubt, by the vectors of these texts, the last one first as long as there is time. Those that came in an
/// earlier turn have theirs in the memo.
///
/// # Errors
/// [`ApiError::InjectionBlocked`], [`ApiError::AuditUnavailable`].
pub(super) async fn settle(
    gateway: &Gateway,
    call: &Call,
    doubts: &[Doubt],
    (model, targets): (&str, &[Target]),
) -> Result<Settled, ApiError> {
    let guard = call.guard(model);
    let (mut worst, mut unremarkable): (Option<Attack>, bool) = (None, true);
    let embedder = gateway.embedder.as_ref();
    let mut meaning = embedder.map(|embedder| Meaning {
        embedder,
        scope: &call.caller.tenant,
        end: Instant::now() + PATIENCE,
    });
    for doubt in doubts.iter().rev() {
        let mut vector = None;
        if let Some(asked) = &meaning {
            match asked.whole(&doubt.text).await {
                Ok(embedded) => vector = embedded,
                Err(error) => {
                    let why = meaning::reason(&error);
                    gateway.metrics.doubts_skipped(why);
                    tracing::warn!(
                        request_id = call.id,
                        why,
                        "what was in doubt was judged by its words alone"
                    );
                    unremarkable = false;
                    meaning = None;
                }
            }
        }
        let attack = doubt.settle(guard, vector.as_ref().map(|embedding| embedding.vector.as_slice()));
        if let Some(attack) = attack.filter(|one| worst.as_ref().is_none_or(|worst| one.is_worse_than(worst)))
        {
            worst = Some(attack);
        }
    }
    let Some(attack) = worst else { return Ok(Settled { injection: false, unremarkable }) };
    told(gateway, call, &attack, (model, targets))?;
    Ok(Settled { injection: true, unremarkable: false })
}

/// Tells an attack that was recognised by what it means, and refuses the request if it is refused for it.
///
/// # Errors
/// [`ApiError::InjectionBlocked`], [`ApiError::AuditUnavailable`].
pub(super) fn told(
    gateway: &Gateway,
    call: &Call,
    attack: &Attack,
    (model, targets): (&str, &[Target]),
) -> Result<(), ApiError> {
    attack.tell(gateway, call);
    if let Some(audit) = &gateway.audit {
        let subject = audited::subject(call, model, targets);
        audit.record(vec![Event::injection(&subject, attack)])?;
    }
    let Some(refusal) = attack.refusal() else { return Ok(()) };
    gateway.metrics.refused(refusal.code());
    Err(refusal)
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
