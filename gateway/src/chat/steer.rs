//! What a request's route may go by: who asks, what the client says about it, how long it is, and what the guards found.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};
use sluice_guardrails::Vault;

use super::Call;
use super::request::{ChatRequest, texts};
use crate::config::duration;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::route::Facts;

static METADATA: HeaderName = HeaderName::from_static("x-sluice-metadata");
static RETRIES: HeaderName = HeaderName::from_static("x-sluice-retries");
static TIMEOUT: HeaderName = HeaderName::from_static("x-sluice-timeout");

/// Tells the request what decides who is asked. To be called when all guards have seen it.
///
/// # Errors
/// [`ApiError::Invalid`] with the name of a header that has another form than it should.
pub(super) fn steer(
    gateway: &Gateway,
    call: &Call,
    request: &mut ChatRequest,
    (vault, injection): (&Vault, bool),
) -> Result<(), ApiError> {
    let (patience, metadata) = (patience(&call.headers)?, metadata(&call.headers)?);
    let mut facts = Facts { stream: request.stream, ..Facts::default() };
    if gateway.routes.is_conditional(&request.model) {
        let fields = request.fields();
        let redacted = vault.counts();
        let entities = redacted.keys().chain(vault.logged().keys()).chain(vault.routed().keys());
        facts = Facts {
            tenant: call.caller.tenant.clone(),
            key: call.caller.key.clone(),
            headers: headers(&call.headers, gateway.routes.headers(&request.model)),
            metadata: said(fields.get("metadata").and_then(Value::as_object), metadata.as_ref()),
            characters: texts(fields, |_| true).into_iter().map(|text| text.chars().count() as u64).sum(),
            stream: request.stream,
            tools: ["tools", "functions"].iter().any(|name| is_list(fields, name)),
            images: has_images(fields),
            entities: entities.map(|entity| Cow::Borrowed(*entity)).collect(),
            redacted: !redacted.is_empty(),
            injection,
            in_house: false,
        };
    }
    let branch = gateway.routes.branch(&request.model, &facts);
    request.steer(facts, branch, patience);
    request.limit_retries(retries(&call.headers)?);
    Ok(())
}

/// How long the client waits at most, and how often targets are to be asked again at most.
///
/// # Errors
/// As [`steer`].
pub(super) fn limits(headers: &HeaderMap) -> Result<(Option<Duration>, Option<u32>), ApiError> {
    Ok((patience(headers)?, retries(headers)?))
}

/// How long the client waits at most.
fn patience(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = headers.get(&TIMEOUT) else { return Ok(None) };
    let time = value.to_str().ok().and_then(|text| duration(text.trim())).filter(|time| !time.is_zero());
    let form = "must be a time longer than 0 with a unit, such as 500ms, 30s or 2m";
    time.map(Some).ok_or_else(|| ApiError::invalid(TIMEOUT.as_str(), format!("'{TIMEOUT}' {form}")))
}

/// How often targets are to be asked again at most.
fn retries(headers: &HeaderMap) -> Result<Option<u32>, ApiError> {
    let Some(value) = headers.get(&RETRIES) else { return Ok(None) };
    let count = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let form = "must be a number of rounds, such as 0 or 2";
    count.map(Some).ok_or_else(|| ApiError::invalid(RETRIES.as_str(), format!("'{RETRIES}' {form}")))
}

/// What the header says about the request.
fn metadata(headers: &HeaderMap) -> Result<Option<Map<String, Value>>, ApiError> {
    let Some(value) = headers.get(&METADATA) else { return Ok(None) };
    let read = serde_json::from_slice(value.as_bytes()).ok();
    let form = "must be a JSON object, such as {\"plan\": \"gold\"}";
    read.map(Some).ok_or_else(|| ApiError::invalid(METADATA.as_str(), format!("'{METADATA}' {form}")))
}

/// Both as texts; the header has the last word.
fn said(body: Option<&Map<String, Value>>, header: Option<&Map<String, Value>>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let both = body.into_iter().chain(header).flatten();
    both.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// The headers that the route goes by. One that is there twice counts as it came first.
fn headers(all: &HeaderMap, wanted: &[String]) -> BTreeMap<String, String> {
    let value = |name: &String| Some((name.clone(), all.get(name)?.to_str().ok()?.to_owned()));
    wanted.iter().filter_map(value).collect()
}

fn is_list(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

fn has_images(fields: &Map<String, Value>) -> bool {
    let messages = fields.get("messages").and_then(Value::as_array).into_iter().flatten();
    let parts = messages.filter_map(|message| message.get("content")?.as_array()).flatten();
    let kinds = parts.filter_map(|part| part.get("type")?.as_str());
    kinds.into_iter().any(|kind| matches!(kind, "image_url" | "image" | "input_image"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_client_says_how_long_it_waits_with_a_unit() {
        let read = |value: &str| patience(&with("x-sluice-timeout", value));
        assert_eq!(read("1500ms").unwrap(), Some(Duration::from_millis(1500)));
        assert_eq!(read(" 2m ").unwrap(), Some(Duration::from_secs(120)));
        for wrong in ["30", "0s", "soon", "-1s", ""] {
            let told = read(wrong).unwrap_err().to_string();
            assert!(told.contains("x-sluice-timeout") && told.contains("500ms"), "{wrong}: {told}");
        }
    }

    #[test]
    fn metadata_of_body_and_header_count_and_the_header_has_the_last_word() {
        let body = json!({ "plan": "free", "seats": 3, "deep": { "a": 1 } });
        let header = metadata(&with("x-sluice-metadata", r#"{"plan": "gold", "beta": true}"#)).unwrap();
        let all = said(body.as_object(), header.as_ref());
        let expected = [("beta", "true"), ("plan", "gold"), ("seats", "3")];
        assert!(all.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
        for wrong in ["plan=gold", "[1]", "\"gold\""] {
            let told = metadata(&with("x-sluice-metadata", wrong)).unwrap_err().to_string();
            assert!(told.contains("'x-sluice-metadata' must be a JSON object"), "{told}");
        }
    }

    #[test]
    fn images_are_seen_among_the_parts_of_any_message() {
        let seen = |content: Value| {
            let fields = json!({ "messages": [{ "role": "system", "content": "a" }, { "role": "user", "content": content }] });
            has_images(fields.as_object().unwrap())
        };
        assert!(seen(
            json!([{ "type": "text", "text": "x" }, { "type": "image_url", "image_url": { "url": "u" } }])
        ));
        assert!(!seen(json!([{ "type": "text", "text": "image_url" }])) && !seen(json!("image")));
    }
}
