//! Keys made of requests: what must be equal before two may share an answer, and what answers are found by otherwise.

use std::collections::HashSet;

use http::HeaderMap;
use serde_json::Value;
use sluice_engine::{ExactKey, KeyHasher, PartitionKey};

use super::remember::Asked;
use super::request::ChatRequest;
use crate::client_api::Format;
use crate::wire::json::{canonical, canonical_object};

/// Fields that say who asks or how the answer travels, and nothing about what it says.
pub(super) const NOT_PART_OF_THE_QUESTION: [&str; 8] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
];

/// Everything that must be equal before two requests may share an answer: all of the request but the last turn's
/// words. Fields we do not know are part of it, and so are the names of the gateway's embedding model and policy.
pub(super) fn partition(
    secret: &[u8; 32],
    of_gateway: [&str; 2],
    asked: &Asked<'_>,
    has_text: bool,
) -> PartitionKey {
    let (Asked { call, request, wishes, .. }, [embedding, policy]) = (asked, of_gateway);
    let mut hasher = KeyHasher::new(secret);
    hasher.field("tenant", call.caller.tenant.as_bytes());
    if let Some(namespace) = &wishes.namespace {
        // Between tenant and model, where nothing else stands.
        hasher.field("cache namespace", namespace.as_bytes());
    }
    hasher.field("model", request.model.as_bytes());
    if !request.branch().is_empty() {
        // Whom one branch of a route asks says nothing about what another one's would answer.
        hasher.field("branch", request.branch().as_bytes());
    }
    hasher.field("embedding", embedding.as_bytes());
    hasher.field("policy", policy.as_bytes());
    for beta in betas(&request.passed) {
        hasher.field("beta", beta.as_bytes());
    }
    for unusual in unusual(request) {
        hasher.field("responses", unusual.as_bytes());
    }
    let mut spelled = Vec::new();
    let mut fields: Vec<_> = request
        .fields()
        .iter()
        .filter(|(key, value)| !NOT_PART_OF_THE_QUESTION.contains(&key.as_str()) && !value.is_null())
        .collect();
    fields.sort_unstable_by_key(|(key, _)| *key);
    for (key, value) in fields {
        spelled.clear();
        canonical(value, &mut spelled);
        hasher.field(key, &spelled);
    }
    let messages = request.fields().get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (at, message) in messages.iter().enumerate() {
        spelled.clear();
        let is_last_turn = has_text && at + 1 == messages.len();
        spell_frame(message, is_last_turn, &mut spelled);
        hasher.field("messages", &spelled);
    }
    hasher.partition()
}

/// What only a client of Responses says that makes its provider's own items others; nothing where it says what is usual.
fn unusual(request: &ChatRequest) -> Vec<&'static str> {
    if request.format != Format::OpenAiResponses {
        return Vec::new();
    }
    let said = request.said();
    let includes = said.get("include").and_then(Value::as_array);
    let encrypted =
        includes.is_some_and(|names| names.iter().any(|name| name == "reasoning.encrypted_content"));
    let unkept = said.get("store") == Some(&Value::Bool(false));
    let all = [(encrypted, "encrypted reasoning"), (unkept, "not stored")];
    all.into_iter().filter_map(|(is, name)| is.then_some(name)).collect()
}

/// What a request asks for in its headers, in order: it may change the answer.
fn betas(passed: &HeaderMap) -> Vec<&str> {
    let values = passed.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
    let mut betas: Vec<&str> =
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|beta| !beta.is_empty()).collect();
    betas.sort_unstable();
    betas.dedup();
    betas
}

/// Stands for a question and for the placeholders its answer may name.
pub(super) fn flight_key(partition: &PartitionKey, text: Option<&str>, issued: &HashSet<&str>) -> ExactKey {
    let mut issued: Vec<&str> = issued.iter().copied().collect();
    issued.sort_unstable();
    let mut parts = vec![&b"flight"[..], text.unwrap_or_default().as_bytes()];
    parts.extend(issued.into_iter().map(str::as_bytes));
    partition.exact(&parts)
}

/// Stands for a value of this kind, as 128 bits of a keyed digest.
pub(super) fn label(key: &[u8; 32], kind: &str, value: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in ["sluice label v1", kind, value] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Stands for a tenant where its share of the memory is counted.
pub(super) fn owner(key: &[u8; 32], tenant: &str) -> u64 {
    let digest = label(key, "owner", tenant);
    digest
        .bytes()
        .take(16)
        .fold(0, |all, digit| all << 4 | u64::from(char::from(digit).to_digit(16).unwrap_or(0)))
}

/// Spells a message without members that are null (to providers that is as good as absent) and, of the last turn, without
/// the user's words: what else its parts hold stays.
fn spell_frame(message: &Value, without_words: bool, out: &mut Vec<u8>) {
    let Value::Object(members) = message else { return canonical(message, out) };
    let said =
        members.iter().filter(|(_, member)| !member.is_null()).map(|(key, member)| (key.as_str(), member));
    if without_words {
        let beside = members.get("content").and_then(beside_words);
        let rest = said.filter(|(key, _)| *key != "content");
        canonical_object(rest.chain(beside.as_ref().map(|parts| ("content", parts))), out);
    } else {
        canonical_object(said, out);
    }
}

/// What the parts of a content hold beside the words. Parts with nothing but words say the same as one text.
fn beside_words(content: &Value) -> Option<Value> {
    let without_text = |part: &Value| {
        let mut part = part.clone();
        let members = part.as_object_mut()?;
        members.remove("text");
        (members.len() > 1).then_some(part)
    };
    let more: Vec<Value> = content.as_array()?.iter().filter_map(without_text).collect();
    (!more.is_empty()).then_some(Value::Array(more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn what_changes_the_items_of_responses_is_part_of_the_question_and_what_is_usual_is_not() {
        let of = |format: Format, more: Value| {
            let mut body =
                json!({ "model": "m", "input": "Hi", "messages": [{ "role": "user", "content": "Hi" }] });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            unusual(&format.api().parse(&Bytes::from(body.to_string())).ok().unwrap())
        };
        let encrypted = json!({ "include": ["reasoning.encrypted_content"] });
        assert_eq!(of(Format::OpenAiResponses, encrypted.clone()), ["encrypted reasoning"]);
        assert_eq!(of(Format::OpenAiResponses, json!({ "store": false })), ["not stored"]);
        for usual in [json!({}), json!({ "store": true, "include": [] }), json!({ "store": null })] {
            assert!(of(Format::OpenAiResponses, usual).is_empty());
        }
        assert!(of(Format::OpenAiChat, encrypted).is_empty());
    }
}
