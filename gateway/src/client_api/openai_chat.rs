//! OpenAI's chat completions: parse a request, write an answer whole or as server-sent events.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{AnswerEncoder, ClientApi};
use crate::chat::request::{ChatRequest, Delivery};
use crate::error::ApiError;
use crate::ids;
use crate::wire::chat::{Choice, Chunk, ToolCall, forget_native};
use crate::wire::usage::Usage;
use crate::wire::{json as strict, sse};

/// `POST /v1/chat/completions`.
pub struct OpenAiChat;

impl ClientApi for OpenAiChat {
    fn parse(&self, body: &Bytes) -> Result<ChatRequest, ApiError> {
        parse(body)
    }

    fn as_chat(&self, said: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
        Ok(said.clone())
    }

    fn fresh_id(&self) -> String {
        ids::fresh("chatcmpl-")
    }

    fn encode_whole(&self, whole: Chunk, _delivery: &Delivery) -> Bytes {
        encode_whole(whole)
    }

    fn stream(&self, delivery: &Delivery) -> Box<dyn AnswerEncoder> {
        Box::new(StreamEncoder::new(delivery.include_usage))
    }

    fn error(&self, error: &ApiError, _id: &str) -> Value {
        error.body()
    }
}

/// Reads a request body, checking the fields that the gateway itself looks at. What it does not know it leaves to the
/// provider.
///
/// # Errors
/// [`ApiError::Json`] and [`ApiError::Invalid`] with the path of the field.
pub fn parse(body: &Bytes) -> Result<ChatRequest, ApiError> {
    let Value::Object(fields) = strict::parse(body).map_err(ApiError::Json)? else {
        return Err(ApiError::Json("expected an object".to_owned()));
    };
    let model = match fields.get("model") {
        Some(Value::String(model)) if !model.is_empty() => model.clone(),
        Some(_) => return Err(ApiError::invalid("model", "'model' must be a non-empty string")),
        None => {
            return Err(ApiError::invalid("model", "'model' is missing: name the model that is to answer"));
        }
    };
    let stream = flag(&fields, "stream")?;
    let include_usage = match fields.get("stream_options") {
        None | Some(Value::Null) => false,
        Some(Value::Object(options)) => flag(options, "include_usage")?,
        Some(_) => return Err(ApiError::invalid("stream_options", "'stream_options' must be an object")),
    };
    if let Some(n) = fields.get("n").filter(|n| !n.is_null()) {
        n.as_u64()
            .filter(|n| *n > 0)
            .ok_or_else(|| ApiError::invalid("n", "'n' must be a positive integer"))?;
    }
    check_messages(&fields)?;
    Ok(ChatRequest::new(fields, body.clone(), model, stream, include_usage))
}

fn flag(fields: &Map<String, Value>, name: &str) -> Result<bool, ApiError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(set)) => Ok(*set),
        Some(_) => Err(ApiError::invalid(name, format!("'{name}' must be true or false"))),
    }
}

fn check_messages(fields: &Map<String, Value>) -> Result<(), ApiError> {
    let messages = match fields.get("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(_) => return Err(ApiError::invalid("messages", "'messages' must be a non-empty array")),
        None => return Err(ApiError::invalid("messages", "'messages' is missing")),
    };
    for (at, message) in messages.iter().enumerate() {
        let path = || format!("messages[{at}]");
        let Value::Object(message) = message else {
            let path = path();
            return Err(ApiError::invalid(
                &path,
                format!("'{path}' must be an object with 'role' and 'content'"),
            ));
        };
        if !message.get("role").is_some_and(Value::is_string) {
            let path = format!("{}.role", path());
            return Err(ApiError::invalid(&path, format!("'{path}' must be a string")));
        }
        match message.get("content") {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(Value::Array(parts)) => {
                if let Some(part) = parts.iter().position(|p| !p.get("type").is_some_and(Value::is_string)) {
                    let path = format!("{}.content[{part}]", path());
                    return Err(ApiError::invalid(
                        &path,
                        format!("'{path}' must be an object with a 'type'"),
                    ));
                }
            }
            Some(_) => {
                let path = format!("{}.content", path());
                return Err(ApiError::invalid(
                    &path,
                    format!("'{path}' must be a string or an array of parts"),
                ));
            }
        }
    }
    Ok(())
}

/// Writes a whole answer.
pub fn encode_whole(whole: Chunk) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    head(&mut out, &whole.id, whole.created);
    let at = out.len();
    encode_lasting(whole, &mut out);
    join(&mut out, at);
    Bytes::from(out)
}

/// Writes what of a whole answer lasts: an object of all but its id, kind and time.
pub fn encode_lasting(mut whole: Chunk, out: &mut Vec<u8>) {
    forget_native(&mut whole);
    // In a whole answer the place in the list says it.
    let calls = whole.choices.iter_mut().flat_map(|choice| &mut choice.delta.tool_calls);
    calls.for_each(|call| call.index = None);
    let completion = Completion {
        model: &whole.model,
        choices: whole.choices.iter().map(CompletionChoice::of).collect(),
        usage: whole.usage.as_ref(),
        rest: &whole.rest,
    };
    // These types have no way to fail to be written, and neither has memory.
    let written = serde_json::to_writer(out, &completion);
    debug_assert!(written.is_ok());
}

/// The whole answer of which [`encode_lasting`] wrote the lasting part.
pub fn complete(lasting: &[u8], id: &str, created: u64) -> Bytes {
    let mut out = Vec::with_capacity(HEAD_BYTES + id.len() + lasting.len());
    head(&mut out, id, created);
    let at = out.len();
    out.extend_from_slice(lasting);
    join(&mut out, at);
    Bytes::from(out)
}

/// About as many bytes as the beginning of an answer has beside its id.
const HEAD_BYTES: usize = 80;

/// The beginning of a whole answer, left open.
fn head(out: &mut Vec<u8>, id: &str, created: u64) {
    out.extend_from_slice(b"{\"id\":");
    let written = serde_json::to_writer(&mut *out, id);
    debug_assert!(written.is_ok());
    out.extend_from_slice(b",\"object\":\"chat.completion\",\"created\":");
    out.extend_from_slice(created.to_string().as_bytes());
}

/// Makes the object that begins at `at` a continuation of the one before it.
fn join(out: &mut [u8], at: usize) {
    if let Some(brace) = out.get_mut(at) {
        *brace = b',';
    }
}

/// The lasting part of a whole answer as OpenAI spells it. No `rest` holds the name of a field: reading took those out.
#[derive(Serialize)]
struct Completion<'a> {
    model: &'a str,
    choices: Vec<CompletionChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Usage>,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct CompletionChoice<'a> {
    index: u32,
    message: Message<'a>,
    finish_reason: Option<&'a str>,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

/// Other than in a delta, what is not there is `null`.
#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "<[ToolCall]>::is_empty")]
    tool_calls: &'a [ToolCall],
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

impl<'a> CompletionChoice<'a> {
    fn of(choice: &'a Choice) -> Self {
        let delta = &choice.delta;
        let message = Message {
            role: delta.role.as_deref().unwrap_or("assistant"),
            content: delta.content.as_deref(),
            refusal: delta.refusal.as_deref(),
            tool_calls: &delta.tool_calls,
            rest: &delta.rest,
        };
        let finish_reason = choice.finish_reason.as_deref();
        Self { index: choice.index, message, finish_reason, rest: &choice.rest }
    }
}

/// Writes an answer as server-sent events.
pub struct StreamEncoder {
    include_usage: bool,
}

impl StreamEncoder {
    /// `include_usage`: the client asked for the token counts.
    pub fn new(include_usage: bool) -> Self {
        Self { include_usage }
    }
}

impl AnswerEncoder for StreamEncoder {
    /// The event of one chunk; none for a chunk that holds nothing but token counts nobody asked for.
    fn push(&mut self, mut chunk: Chunk) -> Option<Bytes> {
        if !self.include_usage && chunk.usage.take().is_some() && chunk.choices.is_empty() {
            return None;
        }
        forget_native(&mut chunk);
        let mut body = json!({ "id": "", "object": "chat.completion.chunk" });
        if let (Value::Object(fields), Value::Object(more)) = (&mut body, json!(chunk)) {
            fields.extend(more);
        }
        Some(sse::event(body.to_string().as_bytes()))
    }

    fn finish(self: Box<Self>) -> Bytes {
        sse::event(b"[DONE]")
    }

    fn fail(self: Box<Self>, error: &ApiError) -> Bytes {
        sse::event(error.body().to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param_of(body: &str) -> String {
        match parse(&Bytes::copy_from_slice(body.as_bytes())).err() {
            Some(ApiError::Invalid { param, .. }) => param,
            Some(ApiError::Json(_)) => "json".to_owned(),
            other => panic!("{body} gave {other:?}"),
        }
    }

    #[test]
    fn a_bad_field_is_named_by_its_path() {
        let cases = [
            ("[]", "json"),
            ("{", "json"),
            ("{}", "model"),
            (r#"{"model":""}"#, "model"),
            (r#"{"model":"m"}"#, "messages"),
            (r#"{"model":"m","messages":[]}"#, "messages"),
            (r#"{"model":"m","messages":["hi"]}"#, "messages[0]"),
            (
                r#"{"model":"m","messages":[{"role":"user","content":"a"},{"content":"b"}]}"#,
                "messages[1].role",
            ),
            (r#"{"model":"m","messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
            (r#"{"model":"m","messages":[{"role":"user","content":["a"]}]}"#, "messages[0].content[0]"),
            (r#"{"model":"m","messages":[{"role":"user"}],"stream":"yes"}"#, "stream"),
            (r#"{"model":"m","messages":[{"role":"user"}],"stream_options":1}"#, "stream_options"),
            (r#"{"model":"m","messages":[{"role":"user"}],"n":0}"#, "n"),
        ];
        for (body, param) in cases {
            assert_eq!(param_of(body), param, "{body}");
        }
    }

    #[test]
    fn a_whole_answer_keeps_what_we_do_not_know() {
        let text = r#"{"id":"c","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}],"annotations":[1]},"finish_reason":"tool_calls","logprobs":null}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"service_tier":"x"}"#;
        let out: Value = serde_json::from_slice(&encode_whole(serde_json::from_str(text).unwrap())).unwrap();
        let message = &out["choices"][0]["message"];
        assert_eq!(out["object"], "chat.completion");
        assert_eq!((&message["content"], &message["annotations"]), (&Value::Null, &json!([1])));
        assert_eq!(
            message["tool_calls"][0],
            json!({"id":"t","type":"function","function":{"name":"f","arguments":"{}"}})
        );
        assert_eq!((&out["service_tier"], &out["usage"]["total_tokens"]), (&json!("x"), &json!(2)));
        assert!(out["choices"][0].as_object().unwrap().contains_key("logprobs"));
    }

    #[test]
    fn token_counts_go_only_to_those_who_asked() {
        let counts: Chunk = serde_json::from_str(r#"{"choices":[],"usage":{"total_tokens":2}}"#).unwrap();
        assert!(StreamEncoder::new(false).push(counts.clone()).is_none());
        let event = StreamEncoder::new(true).push(counts).unwrap();
        assert!(std::str::from_utf8(&event).unwrap().contains("\"total_tokens\":2"));
    }
}
