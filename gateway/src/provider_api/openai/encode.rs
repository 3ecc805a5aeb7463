//! A request for one member of the OpenAI family: the client's own bytes, but for what this provider calls or takes otherwise.

use serde_json::{Map, Value, json};

use super::foreign;
use super::{EncodeError, Encoded, Encoding, Sent};
use crate::chat::request::ChatRequest;
use crate::client_api::Format;

/// What a chat completion request has beside what is translated below; as OpenAI's reference lists it.
const CHAT_FIELDS: [&str; 29] = [
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// The request's body.
pub(super) fn encode(request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
    let quirks = how.quirks;
    let (mut more, mut gone, mut dropped) = (Map::new(), Vec::new(), Vec::new());
    for (name, value) in request.fields().iter().filter(|(_, value)| !value.is_null()) {
        if quirks.unsupported.contains(name) && !how.leave_out(name, &mut dropped)? {
            gone.push(name.as_str());
        } else if let Some(other) = quirks.rename.get(name) {
            gone.push(name.as_str());
            if !request.fields().contains_key(other) {
                more.insert(other.clone(), value.clone());
            }
        }
    }
    for (name, value) in &quirks.defaults {
        let said = |name: &str| request.fields().get(name).is_some_and(|value| !value.is_null());
        if !said(name) && !more.contains_key(name) {
            more.insert(name.clone(), value.clone());
        }
    }
    if request.format != Format::OpenAiChat {
        translated(request, how, &mut more, &mut gone, &mut dropped)?;
    }
    let body = request.chat_body(how.model, quirks.stream_usage, more, &|name| !gone.contains(&name));
    let sent = Sent { reasoning_apart: quirks.reasoning_apart, ..Sent::default() };
    Ok(Encoded { body, sent, dropped, ..Encoded::default() })
}

/// What a request of another format has beside what OpenAI knows.
fn translated<'r>(
    request: &'r ChatRequest,
    how: &Encoding<'_>,
    more: &mut Map<String, Value>,
    gone: &mut Vec<&'r str>,
    dropped: &mut Vec<String>,
) -> Result<(), EncodeError> {
    let fields = request.fields();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "thinking" => {
                gone.push("thinking");
                match effort(value).filter(|_| takes_effort(how)) {
                    Some(effort) if !fields.contains_key("reasoning_effort") => {
                        more.insert("reasoning_effort".to_owned(), json!(effort));
                    }
                    None if value["type"] != "disabled" => drop(how.leave_out("thinking", dropped)?),
                    _ => {}
                }
            }
            "reasoning_effort" if !takes_effort(how) => {
                if !how.leave_out(name, dropped)? {
                    gone.push("reasoning_effort");
                }
            }
            "max_tokens" => {
                if let Some(other) = &how.quirks.output_limit {
                    gone.push("max_tokens");
                    more.insert(other.clone(), value.clone());
                }
            }
            "top_k" => {
                // Servers of one's own take it, OpenAI does not.
                if how.quirks.output_limit.is_some() && !how.leave_out(name, dropped)? {
                    gone.push("top_k");
                }
            }
            "messages" => drop(more.insert(name.clone(), foreign::messages(value)?)),
            "tools" => {
                gone.push("tools");
                if let Some(tools) = foreign::tools(value, how, dropped)? {
                    more.insert(name.clone(), tools);
                }
            }
            _ if CHAT_FIELDS.contains(&name.as_str()) => {}
            _ => {
                if !how.leave_out(name, dropped)? {
                    gone.push(name.as_str());
                }
            }
        }
    }
    Ok(())
}

/// Whether the model is one of those that are known to take `reasoning_effort`.
pub(in crate::provider_api) fn takes_effort(how: &Encoding<'_>) -> bool {
    how.quirks.reasoning_models.iter().any(|prefix| how.model.starts_with(prefix.as_str()))
}

/// OpenAI's word for a budget of tokens for thinking, by the halves of what such models think at most.
pub(in crate::provider_api) fn effort(thinking: &Value) -> Option<&'static str> {
    match (thinking["type"].as_str()?, thinking["budget_tokens"].as_u64()) {
        ("enabled", Some(..=2048)) => Some("low"),
        ("enabled", Some(..=8192)) | ("adaptive", _) => Some("medium"),
        ("enabled", _) => Some("high"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_api::openai_chat::parse;
    use crate::config::DropParams;
    use crate::provider_api::Quirks;
    use bytes::Bytes;

    fn encoded(
        quirks: &str,
        drop_params: DropParams,
        body: &Value,
    ) -> Result<(Value, Vec<String>), EncodeError> {
        let quirks: Quirks = serde_saphyr::from_str(quirks).unwrap();
        let request = parse(&Bytes::from(body.to_string())).ok().unwrap();
        let settings = std::collections::BTreeMap::new();
        let how = Encoding { model: "x", stream: false, quirks: &quirks, settings: &settings, drop_params };
        encode(&request, &how).map(|e| (serde_json::from_slice(&e.body).unwrap(), e.dropped))
    }

    #[test]
    fn fields_are_renamed_dropped_and_given_as_the_catalogue_says() {
        let quirks = "{rename: {seed: random_seed}, unsupported: [logprobs], defaults: {safe_prompt: false, top_p: 0.5}}";
        let messages = json!([{ "role": "user", "content": "Hi" }]);
        let body = json!({ "model": "m", "messages": messages, "seed": 7, "logprobs": true, "top_p": 1, "extra": {} });
        let (sent, dropped) = encoded(quirks, DropParams::Drop, &body).unwrap();
        let expected = json!({ "model": "x", "messages": messages, "random_seed": 7, "top_p": 1, "extra": {}, "safe_prompt": false });
        assert_eq!((sent, dropped), (expected, vec!["logprobs".to_owned()]));
        let (sent, dropped) = encoded(quirks, DropParams::Pass, &body).unwrap();
        assert_eq!((&sent["logprobs"], dropped.len()), (&json!(true), 0));
        assert_eq!(encoded(quirks, DropParams::Strict, &body), Err(EncodeError::unsupported("logprobs")));
    }

    #[test]
    fn thinking_is_said_as_effort() {
        for (thinking, word) in [
            (json!({ "type": "enabled", "budget_tokens": 1024 }), Some("low")),
            (json!({ "type": "enabled", "budget_tokens": 4096 }), Some("medium")),
            (json!({ "type": "enabled", "budget_tokens": 32000 }), Some("high")),
            (json!({ "type": "adaptive" }), Some("medium")),
            (json!({ "type": "disabled" }), None),
        ] {
            assert_eq!(effort(&thinking), word, "{thinking}");
        }
    }
}
