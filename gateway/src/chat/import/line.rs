//! One line of an import: a question, asked as a client would ask it, and its answer.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::chat::keys::NOT_PART_OF_THE_QUESTION;
use crate::chat::request::ChatRequest;
use crate::chat::wishes::Wishes;
use crate::client_api::openai_chat;
use crate::error::ApiError;
use crate::wire::chat::{Choice, Chunk, Delta};
use crate::wire::json as strict;
use crate::wire::usage::Usage;

/// What may stand in a line.
const FIELDS: [&str; 10] =
    ["prompt", "messages", "system", "answer", "model", "tenant", "namespace", "tags", "ttl", "parameters"];

/// A line that was understood.
pub(super) struct Line {
    /// The question as a client would send it.
    pub(super) request: ChatRequest,
    /// The answer's words.
    pub(super) answer: String,
    /// Whose question it is.
    pub(super) tenant: Option<String>,
    /// What the client would say of the cache.
    pub(super) wishes: Wishes,
}

/// Reads a line.
///
/// # Errors
/// [`ApiError::Json`], and [`ApiError::Invalid`] with the field.
pub(super) fn read(bytes: &[u8]) -> Result<Line, ApiError> {
    let Value::Object(mut fields) = strict::parse(bytes).map_err(|problem| no_json(&problem))? else {
        return Err(no_json("expected an object"));
    };
    fields.retain(|_, value| !value.is_null());
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let name: String = unknown.chars().take(64).collect();
        let possible = FIELDS.join(", ");
        return Err(ApiError::invalid(&name, format!("unknown field '{name}' (possible: {possible})")));
    }
    let answer = text(&mut fields, "answer")?
        .ok_or_else(|| ApiError::invalid("answer", "'answer' is missing: expected a non-empty string"))?;
    let tenant = text(&mut fields, "tenant")?;
    let wishes = wishes(&mut fields)?;
    let request = request(fields)?;
    Ok(Line { request, answer, tenant, wishes })
}

fn no_json(problem: &str) -> ApiError {
    ApiError::invalid("", format!("no JSON object: {problem}"))
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
        Some(_) => Err(ApiError::invalid(name, format!("'{name}' must be a non-empty string"))),
    }
}

/// The chat request of these fields.
fn request(mut fields: Map<String, Value>) -> Result<ChatRequest, ApiError> {
    let parameters = match fields.remove("parameters") {
        None => Map::new(),
        Some(Value::Object(parameters)) => parameters,
        Some(_) => {
            let form = "'parameters' must be an object of the request's other fields, such as temperature";
            return Err(ApiError::invalid("parameters", form));
        }
    };
    let foreign = |name: &&String| NOT_PART_OF_THE_QUESTION.contains(&name.as_str());
    if let Some(name) = parameters.keys().find(foreign) {
        let message = format!("'parameters.{name}' does not belong here: it says nothing about the answer");
        return Err(ApiError::invalid(format!("parameters.{name}"), message));
    }
    if parameters.get("n").is_some_and(|n| n.as_u64() != Some(1)) {
        return Err(ApiError::invalid("parameters.n", "'parameters.n' must be 1: a line has one answer"));
    }
    let system = text(&mut fields, "system")?;
    let messages = match (text(&mut fields, "prompt")?, fields.remove("messages")) {
        (Some(prompt), None) => json!([{ "role": "user", "content": prompt }]),
        (None, Some(messages)) => messages,
        (None, None) => {
            return Err(ApiError::invalid("prompt", "'prompt' is missing: expected it or 'messages'"));
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("messages", "'messages' and 'prompt': expected one of the two"));
        }
    };
    let mut body = parameters;
    body.extend(fields.remove_entry("model"));
    body.insert("messages".to_owned(), messages);
    // Read as a client's body is, so that what is wrong is told in the same words.
    let mut request = openai_chat::parse(&Bytes::from(Value::Object(body).to_string()))?;
    if request.last_turn().is_none_or(|text| text.trim().is_empty()) {
        let form = "'messages' must end with a text of the role user, to which 'answer' is the answer";
        return Err(ApiError::invalid("messages", form));
    }
    if let Some(system) = system {
        lead(&mut request, &system)?;
    }
    Ok(request)
}

/// Puts a system prompt in front.
fn lead(request: &mut ChatRequest, system: &str) -> Result<(), ApiError> {
    let role = |message: &Value| message.get("role").and_then(Value::as_str).map(str::to_owned);
    request
        .rewrite(|fields| {
            let Some(Value::Array(messages)) = fields.get_mut("messages") else { return Ok(false) };
            let leads = |message| matches!(role(message).as_deref(), Some("system" | "developer"));
            if messages.iter().any(leads) {
                let message = "'system' and a message of that role in 'messages': expected one of the two";
                return Err(ApiError::invalid("system", message));
            }
            messages.insert(0, json!({ "role": "system", "content": system }));
            Ok(true)
        })
        .map(|_| ())
}

/// What a client would write into headers, read as such.
fn wishes(fields: &mut Map<String, Value>) -> Result<Wishes, ApiError> {
    let mut headers = HeaderMap::new();
    if let Some(namespace) = text(fields, "namespace")? {
        header(&mut headers, "namespace", &namespace)?;
    }
    match fields.remove("ttl") {
        None => {}
        Some(Value::String(text)) => header(&mut headers, "ttl", &text)?,
        Some(Value::Number(seconds)) => header(&mut headers, "ttl", &seconds.to_string())?,
        Some(_) => {
            let form = "'ttl' must be a time such as \"30s\" or \"2h\", or a number of seconds";
            return Err(ApiError::invalid("ttl", form));
        }
    }
    let tags = fields.remove("tags").unwrap_or_else(|| json!([]));
    let wrong = || ApiError::invalid("tags", "'tags' must be a list of non-empty words without commas");
    for tag in tags.as_array().ok_or_else(wrong)? {
        let tag = tag.as_str().filter(|tag| !tag.contains(',')).ok_or_else(wrong)?;
        header(&mut headers, "tags", tag)?;
    }
    Wishes::read(&headers).map_err(|error| match error {
        // In the words of a line, which has no headers.
        ApiError::Invalid { param, message } => {
            let field = param.trim_start_matches("x-sluice-cache-");
            ApiError::invalid(field, message.replace(&format!("the header '{param}'"), &format!("'{field}'")))
        }
        other => other,
    })
}

fn header(headers: &mut HeaderMap, field: &str, value: &str) -> Result<(), ApiError> {
    let name = HeaderName::try_from(format!("x-sluice-cache-{field}"));
    let value = HeaderValue::from_bytes(value.as_bytes());
    let (Ok(name), Ok(value)) = (name, value) else {
        return Err(ApiError::invalid(field, format!("'{field}' must not hold control characters")));
    };
    headers.append(name, value);
    Ok(())
}

/// The answer as a provider would have given it: whole, in words, and for nothing.
pub(super) fn answer(model: &str, words: String) -> Chunk {
    let delta = Delta { role: Some("assistant".to_owned()), content: Some(words), ..Delta::default() };
    let choice = Choice { delta, finish_reason: Some("stop".to_owned()), ..Choice::default() };
    Chunk {
        model: model.to_owned(),
        choices: vec![choice],
        usage: Some(Usage::default()),
        ..Chunk::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn line(text: &str) -> Result<Line, (String, String)> {
        read(text.as_bytes()).map_err(|error| match error {
            ApiError::Invalid { param, message } => (param, message),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_line_is_the_request_that_a_client_would_send() {
        for (text, body) in [
            (
                r#"{"prompt":"When?","answer":"At nine.","model":"m"}"#,
                json!({ "model": "m", "messages": [{ "role": "user", "content": "When?" }] }),
            ),
            (
                r#"{"system":"Be kind.","prompt":"When?","answer":"At nine.","model":"m","parameters":{"temperature":0,"n":1}}"#,
                json!({ "temperature": 0, "n": 1, "model": "m", "messages": [
                    { "role": "system", "content": "Be kind." }, { "role": "user", "content": "When?" } ] }),
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"When?"}]}],"answer":"At nine.","model":"m","ttl":null}"#,
                json!({ "model": "m", "messages": [{ "role": "user", "content": [{ "type": "text", "text": "When?" }] }] }),
            ),
        ] {
            let read = line(text).ok().unwrap();
            assert_eq!((&json!(read.request.fields()), read.answer.as_str()), (&body, "At nine."), "{text}");
            assert!(read.tenant.is_none() && read.wishes == Wishes::default());
        }
    }

    #[test]
    fn tenant_namespace_tags_and_time_are_those_of_a_clients_headers() {
        let text = r#"{"prompt":"a","answer":"b","model":"m","tenant":"key:x","namespace":" Größe 1","tags":["faq","hours"],"ttl":"2h"}"#;
        let read = line(text).ok().unwrap();
        assert_eq!(read.tenant.as_deref(), Some("key:x"));
        assert_eq!(read.wishes.namespace.as_deref(), Some("Größe 1"));
        assert_eq!(read.wishes.tags, ["faq", "hours"]);
        assert_eq!(read.wishes.ttl, Some(Duration::from_secs(7200)));
        let seconds = line(r#"{"prompt":"a","answer":"b","model":"m","ttl":90}"#).ok().unwrap();
        assert_eq!(seconds.wishes.ttl, Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_wrong_line_is_refused_by_field_and_quotes_nothing_of_what_it_holds() {
        let with = |more: &str| format!(r#"{{"prompt":"hunter2","answer":"hunter2","model":"m",{more}}}"#);
        let cases = [
            ("hunter2".to_owned(), ""),
            ("[]".to_owned(), ""),
            (r#"{"prompt":"hunter2","prompt":"b"}"#.to_owned(), ""),
            (r#"{"prompt":"hunter2","model":"m"}"#.to_owned(), "answer"),
            (r#"{"prompt":"hunter2","model":"m","answer":" "}"#.to_owned(), "answer"),
            (r#"{"answer":"hunter2","model":"m"}"#.to_owned(), "prompt"),
            (r#"{"prompt":7,"answer":"hunter2","model":"m"}"#.to_owned(), "prompt"),
            (r#"{"prompt":"hunter2","answer":"b"}"#.to_owned(), "model"),
            (with(r#""promt":"hunter2""#), "promt"),
            (with(r#""messages":[{"role":"user","content":"hunter2"}]"#), "messages"),
            (with(r#""tenant":["hunter2"]"#), "tenant"),
            (with(r#""namespace":"""#), "namespace"),
            (with(r#""namespace":"hunter2\n""#), "namespace"),
            (with(r#""tags":"hunter2""#), "tags"),
            (with(r#""tags":["hunter2,b"]"#), "tags"),
            (with(r#""tags":[""]"#), "tags"),
            (with(r#""ttl":"hunter2""#), "ttl"),
            (with(r#""ttl":-1"#), "ttl"),
            (with(r#""ttl":true"#), "ttl"),
            (with(r#""parameters":[]"#), "parameters"),
            (with(r#""parameters":{"model":"hunter2"}"#), "parameters.model"),
            (with(r#""parameters":{"stream":true}"#), "parameters.stream"),
            (with(r#""parameters":{"n":2}"#), "parameters.n"),
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"answer":"c","model":"m"}"#
                    .to_owned(),
                "messages",
            ),
            (r#"{"messages":[{"role":"user"},{"content":"a"}],"answer":"c","model":"m"}"#.to_owned(), "messages[1].role"),
            (
                r#"{"messages":[{"role":"system","content":"hunter2"},{"role":"user","content":"a"}],"system":"b","answer":"c","model":"m"}"#
                    .to_owned(),
                "system",
            ),
        ];
        for (text, field) in cases {
            let Err((told, message)) = line(&text) else { panic!("{text} was taken") };
            assert_eq!(told, field, "{text}: {message}");
            assert!(!message.contains("hunter2") && !message.contains("header"), "{text}: {message}");
        }
    }
}
