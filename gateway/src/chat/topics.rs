//! What a user's turn is about, held against the topics that are allowed and denied.

use std::sync::Arc;

use super::request::ChatRequest;
use super::{Call, audited, meant};
use crate::audit::Event;
use crate::config::TopicAction;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::route::Target;
use crate::topics::Matter;

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
    let turn = meant::turn(request);
    if gateway.topics.is_empty() || turn.text.trim().is_empty() {
        return Ok(true);
    }
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
