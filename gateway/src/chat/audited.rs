//! What the guards decided about a request, as events of the audit log.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value};
use sluice_guardrails::{Decision, InjectionReport, Step};

use super::Call;
use super::scan::Scanned;
use crate::audit::{Event, Place, Subject};
use crate::provider_api::openai::words::FIELDS;
use crate::route::Target;

/// Whom the events of a request are about.
pub(super) fn subject(call: &Call, route: &str, targets: &[Target]) -> Arc<Subject> {
    Arc::new(Subject {
        request_id: call.id.clone(),
        tenant: call.caller.tenant.clone(),
        key: call.caller.key.clone(),
        route: route.to_owned(),
        model: targets.first().map(Target::name).unwrap_or_default(),
        policy: call.policy.name.clone(),
    })
}

/// One event for each decision. `fields`: the request as it was redacted.
pub(super) fn events(
    subject: &Arc<Subject>,
    fields: &Map<String, Value>,
    scanned: &Scanned,
    injection: Option<&InjectionReport>,
    exempt: usize,
) -> Vec<Event> {
    let place = |decision: &Decision| Place {
        channel: channel(fields, &decision.path),
        field: field(&decision.path),
        ..Place::default()
    };
    let decided = scanned.decisions.iter().map(|decision| Event::decided(subject, decision, place(decision)));
    let parts = scanned.parts().map(|part| {
        let (channel, field) = (channel(fields, &part.path), field(&part.path));
        let what = (part.setting.name(), part.entity);
        Event::of_part(subject, what, part.fate.name(), Place { channel, field, ..Place::default() })
    });
    let injection = injection.map(|report| Event::injection(subject, report.score, &report.signals));
    let exempt = (exempt > 0).then(|| Event::exempt(subject, exempt));
    decided.chain(parts).chain(injection).chain(exempt).collect()
}

/// One event for each decision about an answer.
pub(super) fn answer_events(subject: &Arc<Subject>, decisions: &[Decision]) -> Vec<Event> {
    let event = |decision: &Decision| {
        let (choice, rest) = match decision.path.split_first() {
            Some((Step::Item(choice), rest)) => (*choice, rest),
            _ => (0, decision.path.as_slice()),
        };
        let field = format!("choices[{choice}].message.{}", field(rest));
        Event::answered(subject, decision, Place { channel: "assistant", field, ..Place::default() })
    };
    decisions.iter().map(event).collect()
}

/// Who speaks there.
fn channel(fields: &Map<String, Value>, path: &[Step]) -> &'static str {
    let Some(number) = message(path) else { return "parameters" };
    fields.get("messages").and_then(|messages| messages.get(number)).map_or("user", role)
}

/// The number of the message that a way leads into.
pub(super) fn message(path: &[Step]) -> Option<usize> {
    match path {
        [Step::Key(first), Step::Item(number), ..] if first == "messages" => Some(*number),
        _ => None,
    }
}

/// Who speaks in a message.
pub(super) fn role(message: &Value) -> &'static str {
    match message.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => "system",
        Some("assistant") => "assistant",
        Some("tool" | "function") => "tool",
        _ => "user",
    }
}

/// `messages[2].content[0].text`. Names that the API does not have are the client's own, and may say anything: they are `*`.
/// `#` leads into a JSON document in a text, of which the number counts the texts and numbers; `@` names a name.
pub(super) fn field(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        let known = |name: &str| FIELDS.binary_search(&name).is_ok();
        // Writing into a String has no way to fail.
        let written = match step {
            Step::Key(name) if known(name) && out.is_empty() => write!(out, "{name}"),
            Step::Key(name) if known(name) => write!(out, ".{name}"),
            Step::Key(_) if out.is_empty() => write!(out, "*"),
            Step::Key(_) => write!(out, ".*"),
            Step::Item(number) => write!(out, "[{number}]"),
            Step::Name(number) => write!(out, "@{number}"),
            Step::Document => write!(out, "#"),
        };
        debug_assert!(written.is_ok());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_is_named_by_the_words_of_the_api_and_no_others() {
        let key = |name: &str| Step::Key(name.to_owned());
        let path = [key("messages"), Step::Item(2), key("content"), Step::Item(0), key("text")];
        assert_eq!(field(&path), "messages[2].content[0].text");
        assert_eq!(field(&[key("metadata"), key("Zoe Quill")]), "metadata.*");
        assert_eq!(field(&[key("zoe"), Step::Name(3)]), "*@3");
        assert_eq!(field(&[key("arguments"), Step::Document, Step::Item(4)]), "arguments#[4]");
    }

    #[test]
    fn the_channel_is_that_of_the_message_s_role() {
        let roles = ["developer", "user", "assistant", "tool", "else"].map(|role| json!({ "role": role }));
        let Value::Object(fields) = json!({ "messages": roles }) else { panic!("an object") };
        let channels: Vec<_> = (0..5)
            .map(|number| channel(&fields, &[Step::Key("messages".to_owned()), Step::Item(number)]))
            .collect();
        assert_eq!(channels, ["system", "user", "assistant", "tool", "user"]);
        assert_eq!(channel(&fields, &[Step::Key("tools".to_owned()), Step::Item(0)]), "parameters");
    }
}
