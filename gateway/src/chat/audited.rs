//! What the guards decided about a request, as events of the audit log.

use std::fmt::Write;
use std::sync::Arc;

use sluice_guardrails::{Decision, Step};

use super::Call;
use super::attack::Attack;
use super::scan::Scanned;
use crate::audit::{Event, Place, Subject};
use crate::provider_api::anthropic::words::FIELDS as ANTHROPIC_FIELDS;
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

/// One event for each decision.
pub(super) fn events(
    subject: &Arc<Subject>,
    scanned: &Scanned,
    injection: Option<&Attack>,
    exempt: usize,
) -> Vec<Event> {
    let place = |decision: &Decision| Place {
        channel: decision.channel.name(),
        field: field(&decision.path),
        ..Place::default()
    };
    let decided = scanned.decisions.iter().map(|decision| Event::decided(subject, decision, place(decision)));
    let parts = scanned.parts().map(|part| {
        let (channel, field) = (part.channel.name(), field(&part.path));
        let what = (part.setting.name(), part.entity);
        let place = Place { channel, field, ..Place::default() };
        Event::of_part(subject, what, (part.fate.name(), part.shadow), place)
    });
    let injection = injection.map(|attack| Event::injection(subject, attack));
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

/// `messages[2].content[0].text`. Names that the API does not have are the client's own, and may say anything: they are `*`.
/// `#` leads into a JSON document in a text, of which the number counts the texts and numbers; `@` names a name.
pub(super) fn field(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        let known =
            |name: &str| [FIELDS, ANTHROPIC_FIELDS].iter().any(|all| all.binary_search(&name).is_ok());
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

    #[test]
    fn a_field_is_named_by_the_words_of_the_api_and_no_others() {
        let key = |name: &str| Step::Key(name.to_owned());
        let path = [key("messages"), Step::Item(2), key("content"), Step::Item(0), key("text")];
        assert_eq!(field(&path), "messages[2].content[0].text");
        assert_eq!(field(&[key("metadata"), key("Zoe Quill")]), "metadata.*");
        assert_eq!(field(&[key("zoe"), Step::Name(3)]), "*@3");
        assert_eq!(field(&[key("arguments"), Step::Document, Step::Item(4)]), "arguments#[4]");
    }
}
