//! The guards on the way in: every string of the request, before anything else sees it.

use serde_json::{Map, Value};
use sluice_guardrails::{Channel, Proof, Reading, Step, Vault};

use super::attack::{Attack, Doubt, Judged};
use super::request::{ChatRequest, Secured};
use super::scan::{Scanned, scan};
use super::{Call, audited, known, signed};
use crate::audit::{Audit, Event};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::provider_api::openai::words;
use crate::route::Target;

/// Less than this in base64 is not a hundredth of a second of sound.
const SHORTEST_SOUND: usize = 64;
/// OpenAI's are longer.
const SHORTEST_ID: usize = 24;

/// What the guards made of a request.
pub(super) struct Inspected {
    /// The originals, for the way back.
    pub(super) vault: Vault,
    /// Nothing was found, nothing changed: for the same bytes there is nothing to do, to count or to tell.
    pub(super) clean: bool,
    /// The fields as they came, if an external guard is to see them.
    pub(super) original: Option<Map<String, Value>>,
    /// It looks like a prompt injection.
    pub(super) injection: bool,
    /// Texts whose words leave it open whether they do, for [`meant::settle`].
    pub(super) doubts: Vec<Doubt>,
}

/// [`input_with_doubts`] for who can't wait: words settle everything.
///
/// # Errors
/// The same.
pub(super) fn input(
    gateway: &Gateway,
    call: &Call,
    request: &mut ChatRequest,
    targets: &mut Vec<Target>,
) -> Result<Inspected, ApiError> {
    inspect(gateway, call, (request, targets), false)
}

/// Redacts the request in place, writes down what was decided, ties the request to the proof that it worked, and takes away
/// the targets that it may not go to.
///
/// # Errors
/// [`ApiError::Blocked`], [`ApiError::PartBlocked`] and [`ApiError::NoInHouseTarget`] where the policy says so;
/// [`ApiError::AuditUnavailable`].
pub(super) fn input_with_doubts(
    gateway: &Gateway,
    call: &Call,
    request: &mut ChatRequest,
    targets: &mut Vec<Target>,
) -> Result<Inspected, ApiError> {
    inspect(gateway, call, (request, targets), gateway.weighs_meaning())
}

fn inspect(
    gateway: &Gateway,
    call: &Call,
    (request, targets): (&mut ChatRequest, &mut Vec<Target>),
    doubts: bool,
) -> Result<Inspected, ApiError> {
    let (guard, audit) = (call.guard(&request.model), gateway.audit.as_deref());
    audit.map_or(Ok(()), Audit::ready)?;
    let mut judged = Judged::default();
    let looked: Result<bool, ApiError> = request.rewrite(|fields| {
        judged = known::judge(&gateway.attacks, guard, fields, doubts);
        Ok(false)
    });
    looked?;
    let Judged { worst: injection, doubts } = judged;
    injection.iter().for_each(|attack| attack.tell(gateway, call));
    let (channel, model) = (Channel::Parameters, &request.model);
    if !guard.inspect_in(channel, model, "").is_empty() || guard.confines(channel, model) {
        // It goes to the provider and into the log as it is.
        return Err(ApiError::invalid("model", "'model' holds what looks like personal data or a secret"));
    }
    for (name, value) in &request.passed {
        // They go to the provider as they are, too.
        let value = value.to_str().unwrap_or_default();
        if !guard.inspect_in(channel, value, "").is_empty() || guard.confines(channel, value) {
            let message = format!("'{name}' holds what looks like personal data or a secret");
            return Err(ApiError::invalid(name.as_str(), message));
        }
    }
    let original = gateway.external.sees_originals().then(|| request.said().clone());
    let mut scanned = Scanned::default();
    let changed = request.rewrite(|fields| {
        scanned = scan(guard, fields, audit.is_some());
        scanned.redacted.clone()
    });
    if !request.is_intact() {
        return Err(ApiError::Internal);
    }
    let (proof, in_house) = (scanned.vault.proof(), scanned.in_house());
    let inside = |target: &Target| target.provider.in_house;
    // Who refuses a request is told to whom it would have gone.
    let homeless = in_house.filter(|_| !targets.iter().any(inside));
    if in_house.is_some() && homeless.is_none() {
        targets.retain(inside);
    }
    let matters = proof.is_some() || in_house.is_some() || !scanned.signed.kept.is_empty();
    let subject = (audit.is_some() || matters).then(|| audited::subject(call, &request.model, targets));
    if let (Some(audit), Some(subject)) = (audit, &subject) {
        let exempt = proof.as_ref().map_or(0, Proof::exempt);
        let mut events = audited::events(subject, &scanned, injection.as_ref(), exempt);
        events.extend(homeless.map(|entity| Event::no_in_house_target(subject, entity)));
        audit.record(events)?;
    }
    scanned.count(&gateway.metrics);
    let homeless = homeless.map(|what| ApiError::NoInHouseTarget { what, model: request.model.clone() });
    let attacked = injection.as_ref().and_then(Attack::refusal);
    if let Some(refusal) = attacked.or(scanned.refusal()).or(homeless) {
        gateway.metrics.refused(refusal.code());
        return Err(refusal);
    }
    let clean = injection.is_none() && changed == Ok(false) && scanned.found_nothing();
    if let Some(subject) = subject.filter(|_| matters) {
        request.secure(Secured { proof, in_house, kept: scanned.signed.kept, subject });
    }
    Ok(Inspected { vault: scanned.vault, clean, original, injection: injection.is_some(), doubts })
}

/// Whether a text is long and of base64's characters alone, as sound is; random digits in it would look like anything.
fn is_sound(text: &str) -> bool {
    text.len() >= SHORTEST_SOUND
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Whether a text is an id that OpenAI gave an item: what it is, and a long number in random letters.
fn is_item_id(text: &str) -> bool {
    text.split_once('_').is_some_and(|(kind, number)| {
        (2..=5).contains(&kind.len())
            && kind.bytes().all(|b| b.is_ascii_lowercase())
            && number.len() >= SHORTEST_ID
            && number.bytes().all(|b| b.is_ascii_alphanumeric())
            && number.bytes().any(|b| b.is_ascii_alphabetic())
    })
}

/// How chat requests are read.
pub(crate) const READING: Reading<'static> =
    Reading { skip: &is_structure, channel: &speaker, standard: Channel::Parameters };

/// Who speaks in a value of a chat request; none: whoever speaks around it. Roles say it, and kinds of parts: what tools gave back
/// and documents may stand in anybody's message. Documents may also stand beside the messages, as `documents`.
fn speaker(path: &[&str], value: &Value) -> Option<Channel> {
    let word = |name: &str| value.get(name).and_then(Value::as_str);
    match path {
        ["messages"] if value.is_array() => None,
        ["messages"] => Some(match word("role") {
            Some("system" | "developer") => Channel::System,
            Some("assistant") => Channel::Assistant,
            Some("tool" | "function") => Channel::Tool,
            _ => Channel::User,
        }),
        // As Bedrock writes what tools gave back.
        ["messages", "content"] if value.get("toolResult").is_some() => Some(Channel::Tool),
        ["messages", "content"] | ["messages", "content", "content"] => match word("type")? {
            "document" | "file" | "search_result" => Some(Channel::Document),
            "tool_result" => Some(Channel::Tool),
            // What tools of the provider gave back, such as `web_search_tool_result`.
            kind if kind.ends_with("_tool_result") => Some(Channel::Tool),
            _ => None,
        },
        ["system"] => Some(Channel::System),
        ["documents"] => Some(Channel::Document),
        _ => item_speaker(path, value),
    }
}

/// Who speaks in a value of a request to the Responses API, whose messages are items among others.
fn item_speaker(path: &[&str], value: &Value) -> Option<Channel> {
    let word = |name: &str| value.get(name).and_then(Value::as_str);
    match path {
        ["instructions"] => Some(Channel::System),
        ["input"] if value.is_array() => None,
        ["input"] => Some(match (word("type"), word("role")) {
            (_, Some("system" | "developer")) => Channel::System,
            (_, Some("assistant")) => Channel::Assistant,
            (Some("reasoning"), _) => Channel::Assistant,
            (Some("mcp_list_tools"), _) => Channel::Tool,
            (Some(kind), _) if kind.ends_with("_output") => Channel::Tool,
            (Some(kind), _) if kind.ends_with("_call") => Channel::Assistant,
            _ => Channel::User,
        }),
        ["input", "content" | "output"] if value.is_object() => match word("type")? {
            "input_file" => Some(Channel::Document),
            _ => None,
        },
        // What tools of the provider gave back.
        ["input", "output" | "outputs" | "results"] => Some(Channel::Tool),
        _ => gemini_speaker(path, value),
    }
}

/// Who speaks in a value of a request to Google's own API, and in what it counts or embeds.
fn gemini_speaker(path: &[&str], value: &Value) -> Option<Channel> {
    let has = |names: [&str; 2]| names.iter().any(|name| value.get(name).is_some());
    match path {
        ["generateContentRequest" | "generate_content_request", inner @ ..] if !inner.is_empty() => {
            gemini_speaker(inner, value)
        }
        ["contents"] if value.is_array() => None,
        ["contents"] => Some(match value.get("role").and_then(Value::as_str) {
            Some("model") => Channel::Assistant,
            Some("function" | "tool") => Channel::Tool,
            Some("system") => Channel::System,
            _ => Channel::User,
        }),
        ["contents", "parts"] if value.is_object() => {
            let given = has(["functionResponse", "function_response"]);
            let given = given || has(["codeExecutionResult", "code_execution_result"]);
            given.then_some(Channel::Tool)
        }
        ["systemInstruction" | "system_instruction"] => Some(Channel::System),
        ["content"] | ["requests", "content"] => Some(Channel::User),
        _ => None,
    }
}

/// Who speaks at a place of a chat request.
pub(super) fn channel(request: &Value, path: &[Step]) -> Channel {
    let (mut channel, mut value, mut keys) = (READING.standard, request, Vec::new());
    for step in path {
        let inner = match step {
            Step::Key(name) => {
                keys.push(name.as_str());
                value.get(name)
            }
            Step::Item(number) => value.get(*number),
            Step::Name(_) | Step::Document => None,
        };
        let Some(inner) = inner else { break };
        value = inner;
        channel = speaker(&keys, value).unwrap_or(channel);
    }
    channel
}

/// What is a word of the API and not of people: the model's name, the roles and kinds of messages and parts (where they
/// are words, so that nothing hides there), a number as seed, and sound, pictures, files and signatures in base64.
pub(super) fn is_structure(path: &[&str], text: &str) -> bool {
    match path {
        ["messages" | "input", "role" | "type" | "status"]
        | ["messages" | "input", "content" | "output", "type"] => {
            text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        }
        ["seed"] => text.bytes().all(|b| b.is_ascii_digit() || b == b'-'),
        ["model"] => true,
        ["messages" | "input", "content", "input_audio", "data"]
        | ["input", "result"]
        | ["messages", "content", "source", "data"]
        | ["messages", "content", "content", "source", "data"]
        | ["messages", "content", .., "encrypted_content" | "encrypted_index"] => is_sound(text),
        ["input", "encrypted_content" | "fingerprint"] => signed::is_opaque(text),
        ["input", "id" | "call_id" | "approval_request_id"] => is_item_id(text),
        ["contents", "role"] => text.bytes().all(|b| b.is_ascii_lowercase()),
        ["contents", .., "inlineData" | "inline_data", "data"] => is_sound(text),
        ["contents", "parts", "thoughtSignature" | "thought_signature"] => signed::is_opaque(text),
        // What a provider signed and wants back as it was: of a call, or of a text.
        ["messages", .., "extra_content", "google", "thought_signature"] => signed::is_opaque(text),
        _ => words::is_value(path, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sluice_guardrails::Guard;

    /// The channels in which a word stands, in their order.
    fn channels(request: Value) -> Vec<&'static str> {
        let policy = sluice_guardrails::Policy::default();
        let (guard, mut vault, mut request) = (Guard::new(&policy), Vault::new(), request);
        vault.keep_decisions();
        vault.read_json(&guard, &mut request, &READING).unwrap();
        vault.decisions().iter().map(|decision| decision.channel.name()).collect()
    }

    #[test]
    fn the_channel_is_that_of_the_message_s_role() {
        let text = "ada@example.org";
        let roles = ["system", "developer", "user", "assistant", "tool", "function", "else"];
        let messages = roles.map(|role| json!({ "role": role, "content": text }));
        let told = channels(json!({ "messages": messages, "metadata": { "x": text } }));
        let wanted = ["system", "system", "user", "assistant", "tool", "tool", "user", "parameters"];
        assert_eq!(told, wanted);
        let arguments = json!({ "to": text }).to_string();
        let call = json!({ "role": "assistant", "tool_calls": [{ "function": { "arguments": arguments } }] });
        assert_eq!(channels(json!({ "messages": [call, text, [text]] })), ["assistant", "user", "user"]);
        assert_eq!(channels(json!({ "tools": [{ "function": { "description": text } }] })), ["parameters"]);
    }

    #[test]
    fn items_are_read_by_who_speaks_in_them_and_their_ids_are_no_text() {
        let text = "ada@example.org";
        let number = "67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b";
        let said = json!({ "instructions": text, "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": text }, { "type": "input_file", "filename": text }] },
            { "type": "reasoning", "id": format!("rs_{number}"), "summary": [{ "type": "summary_text", "text": text }], "encrypted_content": "gAAAAABo-x_4716220830166139".repeat(4) },
            { "type": "mcp_list_tools", "tools": [{ "name": "n", "description": text }] },
            { "type": "mcp_call", "arguments": json!({ "to": text }).to_string(), "output": text },
            { "type": "code_interpreter_call", "code": text, "outputs": [{ "type": "logs", "logs": text }] },
            { "type": "file_search_call", "queries": [text], "results": [{ "text": text }] },
            { "type": "image_generation_call", "result": "QUJD".repeat(40) },
            { "type": "function_call_output", "call_id": format!("call_{number}"), "output": text },
            { "role": "assistant", "content": [{ "type": "output_text", "text": text }] },
        ] });
        let wanted = [
            "system",
            "user",
            "document",
            "assistant",
            "tool",
            "assistant",
            "tool",
            "assistant",
            "tool",
            "assistant",
            "tool",
            "tool",
            "assistant",
        ];
        assert_eq!(channels(said), wanted);
        assert!(is_item_id(&format!("msg_{number}")) && is_item_id("call_Zk3mQ9xT1bV7nR5pL2dS8hWc"));
        for other in [
            "ada_lovelace",
            "call_1",
            "fc_536228143",
            "tel_41791234567890123456789012",
            number,
            "my own id_abcdefghijklmnopqrstuvwxyz",
        ] {
            assert!(!is_item_id(other), "{other}");
        }
    }

    #[test]
    fn google_s_own_bodies_are_read_by_who_speaks_in_them() {
        let text = "ada@example.org";
        let given = json!({ "functionResponse": { "name": "f", "response": { "mail": text } } });
        let said = json!({
            "systemInstruction": { "parts": [{ "text": text }] },
            "contents": [
                { "role": "user", "parts": [{ "text": text }, given] },
                { "role": "model", "parts": [{ "text": text }] },
            ],
            "labels": { "a": text },
        });
        assert_eq!(channels(said.clone()), ["system", "user", "tool", "assistant", "parameters"]);
        let counted = json!({ "generateContentRequest": { "contents": said["contents"] } });
        assert_eq!(channels(counted), ["user", "tool", "assistant"]);
        let picture = "QUJD".repeat(40);
        let inline = json!({ "inlineData": { "mimeType": "image/png", "data": picture } });
        assert_eq!(channels(json!({ "contents": [{ "parts": [inline] }] })), [""; 0]);
    }

    #[test]
    fn documents_and_what_tools_gave_back_are_that_wherever_they_stand() {
        let text = "ada@example.org";
        let source = json!({ "type": "text", "media_type": "text/plain", "data": text });
        let parts = json!([
            { "type": "text", "text": text },
            { "type": "document", "source": source, "title": text },
            { "type": "document", "document": { "id": "1", "data": { "snippet": text } } },
            { "type": "file", "file": { "file_data": text } },
            { "type": "search_result", "content": [{ "type": "text", "text": text }] },
            { "type": "tool_result", "content": [{ "type": "text", "text": text }, { "type": "document", "title": text }] },
            { "type": "text", "text": text },
        ]);
        assert_eq!(
            channels(json!({ "messages": [{ "role": "user", "content": parts }] })),
            ["user", "document", "document", "document", "document", "document", "tool", "document", "user"]
        );
        let documents = json!([text, { "title": text, "text": text, "data": { "x": text } }]);
        assert_eq!(channels(json!({ "documents": documents })), ["document"; 4]);
    }
}
