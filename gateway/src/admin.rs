//! What operators may do on the admin address beside looking.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use serde_json::{Map, Value, json};
use sluice_engine::Unavailable;

use crate::body::Body;
use crate::chat::import;
use crate::chat::remember::Selector;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::keys::Caller;
use crate::wire::json as strict;

/// By what answers can be chosen.
const SELECTORS: [&str; 5] = ["entry", "tag", "namespace", "model", "tenant"];
/// How many answers an export has.
pub const EXPORTED: &str = "x-sluice-cache-exported";
/// How many it does not have, since their requests were not kept.
pub const LEFT_OUT: &str = "x-sluice-cache-left-out";
/// Counts what would go, and leaves it.
const DRY_RUN: &str = "dry_run";

/// `POST /admin/v1/cache/invalidate`: forgets the answers that one selector chooses, or counts them. The answer is
/// `{"matched": n, "removed": n}`.
///
/// # Errors
/// [`ApiError::Json`], and [`ApiError::Invalid`] that names a field which is unknown, or has another form than it should;
/// [`ApiError::CacheUnavailable`].
pub async fn invalidate(gateway: &Gateway, body: &[u8]) -> Result<Value, ApiError> {
    let Value::Object(fields) = strict::parse(body).map_err(ApiError::Json)? else {
        return Err(ApiError::Json("expected an object".to_owned()));
    };
    let (selector, dry_run) = read(&fields)?;
    let matched = match &gateway.memory {
        Some(memory) => memory.forget(&selector, dry_run).await,
        None => Ok(0),
    };
    let matched = matched.map_err(|Unavailable| ApiError::CacheUnavailable)?;
    if !dry_run {
        // Whoever is told that it is gone will not find it again, whatever happens next.
        gateway.flush();
    }
    tracing::info!(by = selector.kind, matched, dry_run, "the cache was invalidated by an operator");
    Ok(json!({ "matched": matched, "removed": if dry_run { 0 } else { matched } }))
}

/// `POST /admin/v1/cache/import`: keeps the answers of a body in JSON Lines, and says what became of them:
/// `{"stored", "skipped", "failed", "notes": [{"line", "outcome", "field"?, "message"}]}`. `only`: whose key it was that the
/// address asked for; it brings answers to its own tenant.
///
/// # Errors
/// [`ApiError::CacheOff`]; a wrong line is no error, but in the notes.
pub async fn import(
    gateway: &Gateway,
    id: &str,
    only: Option<&Caller>,
    body: &Bytes,
) -> Result<Value, ApiError> {
    import::import(gateway, id, only, body).await.map(|report| json!(report))
}

/// `GET /admin/v1/cache/export`: the answers that can be imported elsewhere, in JSON Lines. Headers say how many there are, and
/// how many others whose requests were not kept. `only`: as with [`import`], it sees what is its own tenant's.
///
/// # Errors
/// [`ApiError::CacheOff`], [`ApiError::CacheUnavailable`].
pub async fn export(gateway: &Arc<Gateway>, only: Option<&Caller>) -> Result<Response<Body>, ApiError> {
    let (body, count, others) = import::export(gateway, only).await?;
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl; charset=utf-8"));
    headers.insert(HeaderName::from_static(EXPORTED), HeaderValue::from(count));
    headers.insert(HeaderName::from_static(LEFT_OUT), HeaderValue::from(others));
    Ok(response)
}

/// `GET /admin/v1/guardrails/attacks`: the attacks that the operator knows, with their names.
pub fn attacks(gateway: &Gateway) -> Value {
    let known = gateway.attacks.all();
    json!({ "count": known.len(), "attacks": *known })
}

/// `POST /admin/v1/guardrails/attacks`: adds `{"text": …}` or `{"texts": […]}`, and says how many are new and what all are called:
/// `{"added", "attacks"}`. It waits for the embedding model and the disk.
///
/// # Errors
/// [`ApiError::Json`], [`ApiError::Invalid`] that names a field, [`ApiError::AttacksNotKept`].
pub fn add_attacks(gateway: &Gateway, body: &[u8]) -> Result<Value, ApiError> {
    const EXPECTED: &str = "expected 'text' (a string) or 'texts' (an array of strings)";
    let Value::Object(fields) = strict::parse(body).map_err(ApiError::Json)? else {
        return Err(ApiError::Json("expected an object".to_owned()));
    };
    let mut named = fields.into_iter();
    let texts = match (named.next(), named.next()) {
        (Some((name, Value::String(text))), None) if name == "text" => vec![text],
        (Some((name, Value::Array(texts))), None) if name == "texts" && !texts.is_empty() => {
            let text = |(at, text)| match text {
                Value::String(text) => Ok(text),
                _ => Err(ApiError::invalid(format!("texts[{at}]"), EXPECTED)),
            };
            texts.into_iter().enumerate().map(text).collect::<Result<_, _>>()?
        }
        _ => return Err(ApiError::invalid("text", EXPECTED)),
    };
    let (added, known) = gateway.attacks.add(texts)?;
    tracing::info!(added, "an operator added known attacks");
    Ok(json!({ "added": added, "attacks": known }))
}

/// `DELETE /admin/v1/guardrails/attacks/{id}`: removes one. It waits for the disk.
///
/// # Errors
/// [`ApiError::AttackUnknown`], [`ApiError::Invalid`], [`ApiError::AttacksNotKept`].
pub fn remove_attack(gateway: &Gateway, name: &str) -> Result<Value, ApiError> {
    gateway.attacks.remove(name)?;
    tracing::info!(attack = name, "an operator removed a known attack");
    Ok(json!({ "removed": 1 }))
}

fn read(fields: &Map<String, Value>) -> Result<(Selector<'_>, bool), ApiError> {
    let possible = || format!("{} and {DRY_RUN}", SELECTORS.join(", "));
    let (mut chosen, mut dry_run) = (None, false);
    for (name, value) in fields {
        if name == DRY_RUN {
            let wrong = || ApiError::invalid(DRY_RUN, format!("'{DRY_RUN}' must be true or false"));
            dry_run = value.as_bool().ok_or_else(wrong)?;
            continue;
        }
        let Some(kind) = SELECTORS.into_iter().find(|kind| kind == name) else {
            let name: String = name.chars().take(64).collect();
            return Err(ApiError::invalid(
                &name,
                format!("unknown field '{name}' (possible: {})", possible()),
            ));
        };
        let wrong = || ApiError::invalid(kind, format!("'{kind}' must be a non-empty string"));
        let value = value.as_str().filter(|value| !value.is_empty()).ok_or_else(wrong)?;
        if chosen.replace(Selector { kind, value }).is_some() {
            return Err(ApiError::invalid(kind, format!("name one of {} only", SELECTORS.join(", "))));
        }
    }
    let missing = || ApiError::invalid("entry", format!("name one of {}", SELECTORS.join(", ")));
    Ok((chosen.ok_or_else(missing)?, dry_run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_selector_is_taken_and_a_wrong_field_is_named() {
        let told = |value: Value| match read(value.as_object().unwrap()) {
            Ok((selector, dry_run)) => format!("{}={} {dry_run}", selector.kind, selector.value),
            Err(ApiError::Invalid { param, .. }) => param,
            Err(other) => panic!("{other}"),
        };
        for (value, expected) in [
            (json!({ "tag": "faq" }), "tag=faq false"),
            (json!({ "dry_run": true, "tenant": "key:a" }), "tenant=key:a true"),
            (json!({}), "entry"),
            (json!({ "dry_run": true }), "entry"),
            (json!({ "tag": "a", "model": "b" }), "model"),
            (json!({ "tags": "a" }), "tags"),
            (json!({ "tag": ["a"] }), "tag"),
            (json!({ "entry": "" }), "entry"),
            (json!({ "tag": "a", "dry_run": 1 }), "dry_run"),
        ] {
            assert_eq!(told(value.clone()), expected, "{value}");
        }
    }
}
