//! `POST /v1/guardrails/inspect`: what the guards would find in texts or in a chat request, and what they would make of it.
//! A dry run: nothing is sent, kept, counted as redacted or written into the audit log.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;
use serde_json::{Map, Value};
use sluice_guardrails::{Channel, Class, Decision, Guard, InjectionReport, Operator, Step, Vault};

use crate::body::Body;
use crate::chat::{Attack, Call, Fate, LARGE_BODY, judge_attacks, scan};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::known::KnownAttacks;
use crate::raw::Raw;
use crate::wire::json as strict;

/// More findings than this are not told at once: each takes more room than what was found.
pub(crate) const MOST_FINDINGS: usize = 100_000;

const EXPECTED: &str = "name one of 'text' (a string), 'texts' (an array of strings) and 'messages' (an array; the other fields of a chat request may stand beside it)";

/// What the policy would do with a text or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// It would go on as it is.
    Allow,
    /// It would go on redacted.
    Redact,
    /// It would go on to in-house targets alone.
    Route,
    /// It would be refused.
    Block,
}

/// The answer.
#[derive(Serialize)]
struct Report {
    /// The strictest of the results' actions.
    action: Outcome,
    /// One for each text, or for each field in which something was found.
    results: Vec<Inspected>,
    /// Of a chat request: all of it as it would go on, unless it would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<Value>,
    /// Of a chat request: what looks most like an injection in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    injection: Option<Injection>,
}

/// What there is to say of one text.
#[derive(Serialize)]
struct Inspected {
    /// Where it stands: `texts[0]`, `messages[2].content`.
    field: String,
    /// Of a field of a chat request: who speaks there.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Channel>,
    action: Outcome,
    findings: Vec<Found>,
    /// The text as it would go on, unless it would be refused. Fields of a chat request have it in the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    injection: Option<Injection>,
}

/// A finding, with its place in code points and in bytes.
#[derive(Serialize)]
struct Found {
    entity: &'static str,
    rule: &'static str,
    class: &'static str,
    start: usize,
    end: usize,
    start_byte: usize,
    end_byte: usize,
    score: f64,
    action: Operator,
    /// It is not done: the policy is only tried.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shadow: bool,
    /// The exception that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<Arc<str>>,
}

#[derive(Serialize)]
struct Injection {
    score: f64,
    signals: Vec<&'static str>,
    /// Of a chat request: where it stands, who speaks there, and what is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Channel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
}

/// Inspects a body off the I/O thread where it is large.
///
/// # Errors
/// [`ApiError::Json`], and [`ApiError::Invalid`] that names the field.
pub(crate) async fn inspect(
    gateway: &Arc<Gateway>,
    call: &Arc<Call>,
    body: Raw<Bytes>,
) -> Result<Response<Body>, ApiError> {
    let written = if body.len() < LARGE_BODY {
        answer(&gateway.attacks, call, body.expose())?
    } else {
        let (gateway, call) = (Arc::clone(gateway), Arc::clone(call));
        let reading = tokio::task::spawn_blocking(move || answer(&gateway.attacks, &call, body.expose()));
        reading.await.map_err(|_| ApiError::Internal)??
    };
    let mut response = Response::new(Body::Full(Bytes::from(written)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What the guard says that the call would have: its tenant's, and that of the route that a chat request names.
fn answer(attacks: &KnownAttacks, call: &Call, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let Value::Object(fields) = strict::parse(body).map_err(ApiError::Json)? else {
        return Err(ApiError::Json("expected an object".to_owned()));
    };
    let guard = call.guard(fields.get("model").and_then(Value::as_str).unwrap_or_default());
    let report = if fields.contains_key("messages") {
        request(attacks, guard, fields)?
    } else {
        texts(guard, &fields)?
    };
    serde_json::to_vec(&report).map_err(|_| ApiError::Internal)
}

/// Each text by itself, as if it were a request's only one.
fn texts(guard: &Guard, fields: &Map<String, Value>) -> Result<Report, ApiError> {
    let named: Vec<(&String, &Value)> = fields.iter().collect();
    let texts: Vec<(String, &str)> = match named.as_slice() {
        [(name, Value::String(text))] if *name == "text" => vec![("text".to_owned(), text.as_str())],
        [(name, Value::Array(items))] if *name == "texts" => {
            let one =
                |(at, item): (usize, &'_ Value)| (format!("texts[{at}]"), item.as_str().map(str::to_owned));
            if let Some((field, _)) = items.iter().enumerate().map(one).find(|(_, text)| text.is_none()) {
                return Err(ApiError::invalid(field, "'texts' must be an array of strings"));
            }
            let texts = items.iter().enumerate();
            texts.filter_map(|(at, item)| Some((format!("texts[{at}]"), item.as_str()?))).collect()
        }
        [(name, _)] if ["text", "texts"].contains(&name.as_str()) => {
            return Err(ApiError::invalid(name.as_str(), format!("'{name}' has another form: {EXPECTED}")));
        }
        _ => {
            let unknown = fields.keys().find(|name| !["text", "texts"].contains(&name.as_str()));
            let name: String = unknown.map_or("text", String::as_str).chars().take(40).collect();
            return Err(ApiError::invalid(name, EXPECTED));
        }
    };
    let mut results = Vec::with_capacity(texts.len());
    let mut count = 0;
    for (field, text) in texts {
        let result = inspected(guard, field, text);
        count += result.findings.len();
        bounded(count)?;
        results.push(result);
    }
    let action = results.iter().map(|result| result.action).max().unwrap_or(Outcome::Allow);
    Ok(Report { action, results, redacted: None, injection: None })
}

fn inspected(guard: &Guard, field: String, text: &str) -> Inspected {
    let mut vault = Vault::new();
    vault.keep_decisions();
    let (action, redacted) = match vault.redact(guard, text) {
        Ok(None) => (Outcome::Allow, Some(text.to_owned())),
        Ok(Some(redacted)) => (Outcome::Redact, Some(redacted)),
        Err(_) => (Outcome::Block, None),
    };
    let action = if vault.routed().is_empty() { action } else { action.max(Outcome::Route) };
    let findings = vault.decisions().iter().map(Found::new).collect();
    Inspected {
        field,
        channel: None,
        action,
        findings,
        redacted,
        injection: guard.injection(text).map(Injection::new),
    }
}

/// A chat request, read as the chat endpoint reads it. One that would be refused is read up to the text for which it is.
fn request(attacks: &KnownAttacks, guard: &Guard, fields: Map<String, Value>) -> Result<Report, ApiError> {
    if !fields.get("messages").is_some_and(Value::is_array) {
        return Err(ApiError::invalid("messages", format!("'messages' must be an array: {EXPECTED}")));
    }
    if let Some(name) = ["text", "texts"].into_iter().find(|name| fields.contains_key(*name)) {
        return Err(ApiError::invalid(name, EXPECTED));
    }
    let mut value = Value::Object(fields);
    let attack = judge_attacks(attacks, guard, &mut value, false).worst;
    let scanned = scan(guard, &mut value, true);
    let action = match scanned.redacted {
        _ if scanned.refusal().is_some() || attack.as_ref().is_some_and(|attack| attack.blocks) => {
            Outcome::Block
        }
        _ if scanned.in_house().is_some() => Outcome::Route,
        Ok(true) => Outcome::Redact,
        _ => Outcome::Allow,
    };
    let decisions = &scanned.decisions;
    bounded(decisions.len() + scanned.parts().count())?;
    let mut results: Vec<Inspected> = Vec::new();
    for same in decisions.chunk_by(|a, b| a.path == b.path) {
        let field = written(&same[0].path);
        let action = same.iter().map(Outcome::of).max().unwrap_or(Outcome::Allow);
        let findings = same.iter().map(Found::new);
        // What was found in another field may be found here again, later.
        match results.iter_mut().find(|result| result.field == field) {
            Some(result) => {
                result.findings.extend(findings);
                result.findings.sort_by_key(|found| found.start);
            }
            None => results.push(Inspected {
                field,
                channel: Some(same[0].channel),
                action,
                findings: findings.collect(),
                redacted: None,
                injection: None,
            }),
        }
    }
    // Parts about which the policy decides as a whole have no findings.
    for part in scanned.parts() {
        let (field, findings, channel) = (written(&part.path), Vec::new(), Some(part.channel));
        let action = if part.shadow { Outcome::Allow } else { part.fate.into() };
        results.push(Inspected { field, channel, action, findings, redacted: None, injection: None });
    }
    let redacted = (action != Outcome::Block).then_some(value);
    Ok(Report { action, results, redacted, injection: attack.map(Injection::of) })
}

/// Refuses what would be answered by many times its own size.
fn bounded(findings: usize) -> Result<(), ApiError> {
    if findings <= MOST_FINDINGS {
        return Ok(());
    }
    Err(ApiError::invalid("text", format!("more than {MOST_FINDINGS} findings: ask in smaller parts")))
}

/// `messages[2].content[0].text`; `#` leads into a JSON document in a text, of which the number counts the texts and
/// numbers; `@` names a name.
fn written(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        // Writing into a String has no way to fail.
        let done = match step {
            Step::Key(name) if !plain(name) => write!(out, "[{}]", Value::from(name.as_str())),
            Step::Key(name) if out.is_empty() => write!(out, "{name}"),
            Step::Key(name) => write!(out, ".{name}"),
            Step::Item(number) => write!(out, "[{number}]"),
            Step::Name(number) => write!(out, "@{number}"),
            Step::Document => write!(out, "#"),
        };
        debug_assert!(done.is_ok());
    }
    out
}

/// A score as people read it.
pub(crate) fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1000.0).round() / 1000.0
}

impl Found {
    fn new(decision: &Decision) -> Self {
        let class = match decision.class {
            Class::Pii => "pii",
            Class::Secret => "secret",
            Class::Content => "content",
        };
        Self {
            entity: decision.entity,
            rule: decision.rule,
            class,
            start: decision.chars.start,
            end: decision.chars.end,
            start_byte: decision.bytes.start,
            end_byte: decision.bytes.end,
            score: rounded(decision.score),
            action: decision.action,
            shadow: decision.shadow,
            exception: decision.exception.clone(),
        }
    }
}

impl Outcome {
    /// What a decision makes of a text.
    fn of(decision: &Decision) -> Self {
        match decision.action {
            _ if decision.shadow => Self::Allow,
            Operator::Block => Self::Block,
            Operator::Route => Self::Route,
            operator if operator.acts() => Self::Redact,
            _ => Self::Allow,
        }
    }
}

impl From<Fate> for Outcome {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Kept => Self::Allow,
            Fate::Routed => Self::Route,
            Fate::Blocked => Self::Block,
        }
    }
}

impl Injection {
    fn new(report: InjectionReport) -> Self {
        let (field, channel, action) = (None, None, None);
        Self { score: rounded(report.score), signals: report.signals, field, channel, action }
    }

    fn of(attack: Attack) -> Self {
        let action = Some(if attack.shadow { "report" } else { attack.action() });
        let (field, channel) = (Some(attack.field), Some(attack.channel));
        Self { score: rounded(attack.score), signals: attack.signals, field, channel, action }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Caller;
    use crate::policy::InForce;
    use serde_json::json;
    use sluice_guardrails::Policy;

    fn told(body: &Value) -> Result<Value, ApiError> {
        let caller = Caller { key: String::new(), tenant: String::new(), shares_tenant: false, models: None };
        let call = Call {
            caller: Arc::new(caller),
            id: String::new(),
            headers: http::HeaderMap::new(),
            format: crate::client_api::Format::OpenAiChat,
            called: None,
            started: std::time::Instant::now(),
            policy: Arc::new(InForce::of_classes(&Policy::default())),
        };
        let attacks = KnownAttacks::build(&crate::config::BankSection::default(), None).unwrap();
        let written = answer(&attacks, &call, body.to_string().as_bytes())?;
        Ok(serde_json::from_slice(&written).unwrap())
    }

    #[test]
    fn a_body_of_another_form_is_refused_by_the_field() {
        for (body, field) in [
            (json!({}), "text"),
            (json!({ "text": 1 }), "text"),
            (json!({ "texts": "a" }), "texts"),
            (json!({ "texts": ["a", 2] }), "texts[1]"),
            (json!({ "text": "a", "texts": [] }), "text"),
            (json!({ "text": "a", "txt": "b" }), "txt"),
            (json!({ "messages": "a" }), "messages"),
            (json!({ "messages": [], "text": "a" }), "text"),
        ] {
            match told(&body) {
                Err(ApiError::Invalid { param, .. }) => assert_eq!(param, field, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_value_that_is_found_in_another_field_is_told_in_both() {
        let body = json!({ "messages": [
            { "role": "user", "content": "Is 624108837 taken?" },
            { "role": "user", "content": "My SSN is 624-10-8837." },
        ]});
        let told = told(&body).unwrap();
        let fields: Vec<_> =
            told["results"].as_array().unwrap().iter().map(|result| &result["field"]).collect();
        assert_eq!(fields, ["messages[1].content", "messages[0].content"]);
        assert_eq!(told["redacted"]["messages"][0]["content"], "Is [US_SSN_1] taken?");
    }

    #[test]
    fn more_findings_than_can_be_told_are_refused() {
        assert!(bounded(MOST_FINDINGS).is_ok() && bounded(MOST_FINDINGS + 1).is_err());
    }
}
