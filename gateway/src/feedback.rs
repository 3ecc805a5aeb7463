//! `POST /v1/cache/feedback`: what a user says about an answer out of the cache. A wrong one is not served again to
//! prompts like that, and the cache learns from either verdict.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::body::Body;
use crate::chat::Call;
use crate::endpoints::json_response;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::wire::json as strict;

/// Takes `{"id", "verdict"}`: the id from the hit's header `x-sluice-cache-id`, the verdict `right` or `wrong`.
///
/// # Errors
/// [`ApiError::Invalid`] that names the field; [`ApiError::HitUnknown`] if there was no such hit of this tenant, or it was
/// judged already, or too many came since.
pub(crate) fn feedback(gateway: &Gateway, call: &Call, body: &Bytes) -> Result<Response<Body>, ApiError> {
    let Value::Object(fields) = strict::parse(body).map_err(ApiError::Json)? else {
        return Err(ApiError::Json("expected an object".to_owned()));
    };
    if let Some(unknown) = fields.keys().find(|name| !["id", "verdict"].contains(&name.as_str())) {
        let name: String = unknown.chars().take(40).collect();
        return Err(ApiError::invalid(
            name.clone(),
            format!("'{name}' is not known: expected 'id' and 'verdict'"),
        ));
    }
    let Some(id) = fields.get("id").and_then(Value::as_str) else {
        return Err(ApiError::invalid("id", "'id' must be a string: what x-sluice-cache-id said of the hit"));
    };
    let right = match fields.get("verdict").and_then(Value::as_str) {
        Some("right") => true,
        Some("wrong") => false,
        _ => return Err(ApiError::invalid("verdict", "'verdict' must be \"right\" or \"wrong\"")),
    };
    let memory = gateway.memory.as_ref().ok_or(ApiError::HitUnknown)?;
    if !memory.judged(&call.caller.tenant, id, right) {
        return Err(ApiError::HitUnknown);
    }
    gateway.metrics.label(if right { "right" } else { "wrong" });
    Ok(json_response(&json!({ "id": id, "verdict": if right { "right" } else { "wrong" } })))
}
