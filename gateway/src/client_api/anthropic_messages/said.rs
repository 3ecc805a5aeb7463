//! The fields of a request that the gateway itself looks at. What it does not know it leaves to the provider.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::wire::json as strict;

/// Reads and checks a request. `answered`: it has to say how long the answer may be.
pub(super) fn read(body: &Bytes, answered: bool) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(fields) = strict::parse(body).map_err(ApiError::Json)? else {
        return Err(ApiError::Json("expected an object".to_owned()));
    };
    match fields.get("model") {
        Some(Value::String(model)) if !model.is_empty() => {}
        Some(_) => return Err(ApiError::invalid("model", "'model' must be a non-empty string")),
        None => {
            return Err(ApiError::invalid("model", "'model' is missing: name the model that is to answer"));
        }
    }
    match fields.get("max_tokens") {
        Some(number) if number.is_u64() => {}
        None if !answered => {}
        Some(_) => return Err(ApiError::invalid("max_tokens", "'max_tokens' must be a whole number")),
        None => {
            let message = "'max_tokens' is missing: say how long the answer may be";
            return Err(ApiError::invalid("max_tokens", message));
        }
    }
    if fields.get("stream").is_some_and(|stream| !stream.is_boolean() && !stream.is_null()) {
        return Err(ApiError::invalid("stream", "'stream' must be true or false"));
    }
    if let Some(system) = fields.get("system").filter(|system| !system.is_null()) {
        content("system", system)?;
    }
    messages(&fields)?;
    Ok(fields)
}

fn messages(fields: &Map<String, Value>) -> Result<(), ApiError> {
    let messages = match fields.get("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(_) => return Err(ApiError::invalid("messages", "'messages' must be a non-empty array")),
        None => return Err(ApiError::invalid("messages", "'messages' is missing")),
    };
    for (at, message) in messages.iter().enumerate() {
        let path = format!("messages[{at}]");
        if !message.is_object() {
            let expected = format!("'{path}' must be an object with 'role' and 'content'");
            return Err(ApiError::invalid(&path, expected));
        }
        let role = message.get("role").and_then(Value::as_str);
        if !role.is_some_and(|role| ["user", "assistant", "system"].contains(&role)) {
            let path = format!("{path}.role");
            let expected =
                format!("'{path}' must be 'user' or 'assistant' (or 'system', where the model takes it)");
            return Err(ApiError::invalid(&path, expected));
        }
        let path = format!("{path}.content");
        content(&path, message.get("content").unwrap_or(&Value::Null))?;
    }
    Ok(())
}

/// A text, or blocks that say what they are.
fn content(path: &str, content: &Value) -> Result<(), ApiError> {
    let blocks = match content {
        Value::String(_) => return Ok(()),
        Value::Array(blocks) => blocks,
        _ => {
            let expected = format!("'{path}' must be a string or an array of content blocks");
            return Err(ApiError::invalid(path, expected));
        }
    };
    match blocks.iter().position(|block| !block.get("type").is_some_and(Value::is_string)) {
        Some(at) => {
            let path = format!("{path}[{at}]");
            Err(ApiError::invalid(&path, format!("'{path}' must be an object with a 'type'")))
        }
        None => Ok(()),
    }
}
