//! `POST /v1/embeddings`: vectors of the local model. Nothing leaves this process, so nothing is redacted.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Response};
use serde_json::{Map, Value, json};
use sluice_models::{EmbedError, EmbedPool};

use crate::body::Body;
use crate::chat::Call;
use crate::endpoints::json_response;
use crate::error::ApiError;
use crate::gateway::Core;
use crate::raw::Raw;
use crate::wire::json as strict;

/// Until a text of a list asks for a place in a full queue again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// As many inputs as OpenAI takes.
const MAX_INPUTS: usize = 2048;

/// The model's name without the space it embeds into: `all-MiniLM-L6-v2` of `all-MiniLM-L6-v2/f32`.
pub fn public_name(embedder: &EmbedPool) -> &str {
    embedder.id().split('/').next().unwrap_or_default()
}

/// Embeds one text or a list of them.
///
/// # Errors
/// An [`ApiError`] that names the field, or says that the model is not there or busy.
pub async fn embeddings(core: &Core, call: &Call, body: &Raw<Bytes>) -> Result<Response<Body>, ApiError> {
    let Value::Object(fields) = strict::parse(body.expose()).map_err(ApiError::Json)? else {
        return Err(ApiError::Json("expected an object".to_owned()));
    };
    let Some(model) = fields.get("model").and_then(Value::as_str) else {
        return Err(ApiError::invalid("model", "'model' must be a string: name the local embedding model"));
    };
    let embedder = loaded(core.gateway.embedder.as_ref(), model)?;
    if !call.caller.may_use(public_name(embedder)) {
        return Err(ApiError::ModelNotAllowed { model: public_name(embedder).to_owned() });
    }
    let inputs = inputs(&fields)?;
    let base64 = encoding(&fields)?;
    if let Some(dimensions) = fields.get("dimensions").filter(|d| !d.is_null())
        && dimensions.as_u64() != Some(embedder.dimensions() as u64)
    {
        let message = format!("'dimensions' must be {} for this model, or left out", embedder.dimensions());
        return Err(ApiError::invalid("dimensions", message));
    }
    let tenant = call.caller.tenant.as_str();
    let at_once = inputs.len() == 1;
    let embedding = |text: String| async move {
        loop {
            let done = embedder.embed_within(tenant, &text, None).await;
            // Within a list, what was computed would be lost: its later texts wait for a place in the queue.
            if !at_once && matches!(done, Err(EmbedError::Busy)) {
                tokio::time::sleep(BUSY_PAUSE).await;
                continue;
            }
            core.gateway.metrics.embedded(&done);
            return done.map(|embedded| embedded.embedding);
        }
    };
    let all = stream::iter(inputs).map(embedding).buffered(4).try_collect::<Vec<_>>();
    let done = tokio::time::timeout(core.gateway.timeouts.total.0, all).await;
    let vectors = done.unwrap_or(Err(EmbedError::Busy)).map_err(|e| refused(&e))?;
    let tokens: usize = vectors.iter().map(|e| e.tokens).sum();
    let truncated = vectors.iter().filter(|e| e.truncated).count();
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, e)| json!({ "object": "embedding", "index": index, "embedding": written(&e.vector, base64) }))
        .collect();
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    let mut response = json_response(
        &json!({ "object": "list", "data": data, "model": public_name(embedder), "usage": usage }),
    );
    if truncated > 0 {
        response.headers_mut().insert("x-sluice-truncated-inputs", HeaderValue::from(truncated));
    }
    Ok(response)
}

/// The loaded model, if it is the one asked for: by its public name, or by any name the registry has for it.
fn loaded<'a>(embedder: Option<&'a EmbedPool>, asked: &str) -> Result<&'a EmbedPool, ApiError> {
    let name = asked.strip_prefix("local/").unwrap_or(asked);
    let known = sluice_models::find(name).map(|spec| &*spec.name);
    if let Some(embedder) = embedder
        && known.unwrap_or(name) == public_name(embedder)
    {
        return Ok(embedder);
    }
    if let Some(known) = known {
        let message = format!("the model '{known}' is not loaded: see the log at start-up");
        return Err(ApiError::LocalModel { busy: false, message });
    }
    let mut names = sluice_models::names();
    names.extend(embedder.map(public_name).filter(|name| !names.contains(name)));
    let hint = format!("the local embedding models are {}", names.join(", "));
    Err(ApiError::ModelNotFound { model: asked.chars().take(100).collect(), hint })
}

fn inputs(fields: &Map<String, Value>) -> Result<Vec<String>, ApiError> {
    let expected = "'input' must be a string or an array of 1 to 2048 strings";
    match fields.get("input") {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(items)) if (1..=MAX_INPUTS).contains(&items.len()) => items
            .iter()
            .enumerate()
            .map(|(at, item)| {
                item.as_str().map(str::to_owned).ok_or_else(|| {
                    ApiError::invalid(
                        format!("input[{at}]"),
                        format!("{expected}; token arrays are not supported"),
                    )
                })
            })
            .collect(),
        _ => Err(ApiError::invalid("input", expected)),
    }
}

fn encoding(fields: &Map<String, Value>) -> Result<bool, ApiError> {
    match fields.get("encoding_format").filter(|v| !v.is_null()).map(Value::as_str) {
        None | Some(Some("float")) => Ok(false),
        Some(Some("base64")) => Ok(true),
        Some(_) => Err(ApiError::invalid("encoding_format", "'encoding_format' must be 'float' or 'base64'")),
    }
}

/// Base64 of little-endian floats, as OpenAI's SDKs ask for by default, or plain numbers.
fn written(vector: &[f32], base64: bool) -> Value {
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        Value::String(STANDARD.encode(bytes))
    } else {
        json!(vector)
    }
}

fn refused(error: &EmbedError) -> ApiError {
    let busy = matches!(error, EmbedError::Busy);
    ApiError::LocalModel { busy, message: format!("the embedding model did not answer: {error}") }
}
