//! How we speak to providers: each provider API writes our request in its own form and reads its answers into chunks.

pub mod anthropic;
pub mod aws_auth;
pub mod bedrock;
pub mod credential;
pub mod entra_auth;
pub mod fields;
pub mod gemini;
#[cfg(test)]
mod goldens;
pub mod google_auth;
#[cfg(test)]
mod office;
pub mod openai;
pub mod responses;
pub mod tokens;
pub mod vertex_anthropic;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use sluice_guardrails::proof::Spot;

use crate::chat::request::ChatRequest;
use crate::client_api::Format;
use crate::config::DropParams;
use crate::wire::chat::Chunk;

/// A provider's format. Plain functions of their input: no sockets here.
pub trait ProviderApi: Send + Sync {
    /// Its name in the catalogue.
    fn name(&self) -> &'static str;

    /// The clients' format that is this one: their requests go up as they spelled them.
    fn format(&self) -> Option<Format> {
        None
    }

    /// What to append to the provider's base URL, with the query if there is one.
    ///
    /// # Errors
    /// [`EncodeError::Model`] if the model's name can't stand in an address.
    fn path(&self, how: &Encoding<'_>) -> Result<String, EncodeError>;

    /// The request in this format.
    ///
    /// # Errors
    /// [`EncodeError`] where it says something that this format can't.
    fn encode(&self, request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError>;

    /// The API by which a model is asked here, if it is not this one: some providers have models of others in their own formats.
    fn of_model(&self, _model: &str) -> Option<&'static dyn ProviderApi> {
        None
    }

    /// Where the tokens of a request are counted, below the provider's base URL, and what is sent there; none where nobody counts.
    /// The error is that of encoding.
    fn count(
        &self,
        _request: &ChatRequest,
        _how: &Encoding<'_>,
    ) -> Option<Result<(String, Encoded), EncodeError>> {
        None
    }

    /// Whether this in a body is a word of the format, or a number that means nothing to people, whoever asks.
    fn is_protocol(&self, spot: &Spot<'_>) -> bool;

    /// What a stream of it is called in `Content-Type`, in small letters.
    fn stream_type(&self) -> &'static str {
        "text/event-stream"
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// [`DecodeError`] where the body is no answer.
    fn decode_whole(&self, body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError>;

    /// A decoder for one stream.
    fn stream(&self, sent: Sent) -> Box<dyn StreamDecoder>;

    /// The error in the body of an answer, as OpenAI's error object: `message`, `type`, `param` and `code`, of which `code` is
    /// `context_length_exceeded` or `content_filter` where that is what it means. None if there is none.
    fn decode_error(&self, answer: &ErrorAnswer<'_>) -> Option<Value>;
}

/// An answer that may be an error.
pub struct ErrorAnswer<'a> {
    /// Its status; some report errors with 200.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, or the beginning of it.
    pub body: &'a [u8],
}

/// Where a request goes, and what is done about what can't be said there.
pub struct Encoding<'a> {
    /// What the provider calls the model.
    pub model: &'a str,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// In what the provider differs from others of its API.
    pub quirks: &'a Quirks,
    /// What the operator says of the provider beside its address, such as a region, by name.
    pub settings: &'a BTreeMap<String, String>,
    /// What becomes of fields that it does not take.
    pub drop_params: DropParams,
}

impl Encoding<'_> {
    /// The quirk's path, if there is one: with the model and the settings in place of their names in braces.
    ///
    /// # Errors
    /// [`EncodeError::Model`] if the model's name is more than a segment of a path.
    pub fn own_path(&self) -> Result<Option<String>, EncodeError> {
        let Some(path) = &self.quirks.path else { return Ok(None) };
        let mut path = path.clone();
        if path.contains("{model}") {
            path = path.replace("{model}", &segment(self.model)?);
        }
        Ok(Some(fill_in(&path, self.settings)))
    }

    /// Decides about a field that this format can't carry: noted in `dropped`, or an error. With `pass` it is the caller's to
    /// send it as it is, where that makes sense: true says so.
    ///
    /// # Errors
    /// [`EncodeError::Unsupported`] where the route is strict.
    pub fn leave_out(&self, field: &str, dropped: &mut Vec<String>) -> Result<bool, EncodeError> {
        match self.drop_params {
            DropParams::Strict => Err(EncodeError::unsupported(field)),
            DropParams::Drop => {
                dropped.push(field.to_owned());
                Ok(false)
            }
            DropParams::Pass => Ok(true),
        }
    }
}

/// Whether a tool is one that its vendor runs, such as a search of the web: neither a function nor one of the client's own.
pub(crate) fn is_hosted(tool: &Value) -> bool {
    let kind = tool.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| !["function", "custom"].contains(&kind))
}

/// A model's name as one segment of a path.
///
/// # Errors
/// [`EncodeError::Model`] if it would be more than that, or go elsewhere.
pub fn segment(model: &str) -> Result<String, EncodeError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte);
    let stays = !model.is_empty() && !model.starts_with('.') && model.bytes().all(plain);
    if stays { Ok(model.to_owned()) } else { Err(EncodeError::Model) }
}

/// A text with settings in place of their names in braces.
pub fn fill_in(text: &str, settings: &BTreeMap<String, String>) -> String {
    settings.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// In what a provider differs from others of its API, as the catalogue or the operator says.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// What is appended to the base URL instead of the API's own path, with `{model}` and settings in braces.
    pub path: Option<String>,
    /// Whether it takes `stream_options.include_usage`; those that do not send the counts unasked or never.
    pub stream_usage: bool,
    /// Top-level fields that it calls otherwise.
    pub rename: BTreeMap<String, String>,
    /// Top-level fields that it does not take.
    pub unsupported: Vec<String>,
    /// Top-level fields that it gets where the client says nothing.
    pub defaults: Map<String, Value>,
    /// What it calls `max_tokens` in requests that were translated, if not so: a client's own field is its own affair.
    pub output_limit: Option<String>,
    /// How the names of models begin that take `reasoning_effort`; others don't get one that was translated.
    pub reasoning_models: Vec<String>,
    /// How the names of models begin that answer by Responses alone, whatever the client's format: where it has that API.
    pub responses_models: Vec<String>,
    /// Its `completion_tokens` leave out the tokens of reasoning.
    pub reasoning_apart: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            path: None,
            stream_usage: true,
            rename: BTreeMap::new(),
            unsupported: Vec::new(),
            defaults: Map::new(),
            output_limit: None,
            reasoning_models: Vec::new(),
            responses_models: Vec::new(),
            reasoning_apart: false,
        }
    }
}

/// A request in a provider's format.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The body.
    pub body: Bytes,
    /// Headers that belong to it.
    pub headers: HeaderMap,
    /// What its answer is read with.
    pub sent: Sent,
    /// Fields of the client that were left out, by their paths.
    pub dropped: Vec<String>,
}

/// What has to be known of a request to read its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// Names of tools as they were sent, where they had to differ, and what the client calls them.
    pub tools: BTreeMap<String, String>,
    /// The answer comes as a call of this tool, which the client did not define: its arguments are the answer.
    pub answer_tool: Option<String>,
    /// The client speaks the provider's format: it is told also what no other format has.
    pub native: bool,
    /// The tokens of reasoning are not among those of the answer.
    pub reasoning_apart: bool,
    /// What the answer is called, where the provider does not say it.
    pub named: Option<Named>,
}

/// What an answer is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// When it was asked for, in seconds since 1970.
    pub created: u64,
    /// What the provider calls its model.
    pub model: String,
}

impl Named {
    /// Says it of a chunk.
    pub fn name(&self, chunk: &mut Chunk) {
        chunk.id.clone_from(&self.id);
        chunk.created = self.created;
        chunk.model.clone_from(&self.model);
    }
}

/// Why a request can't be said in a provider's format. Names fields, never their content.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// A field, or what stands in it, has no counterpart there.
    #[error("{message}")]
    Unsupported {
        /// Its path.
        param: String,
        /// What is wrong.
        message: String,
    },
    /// A field has the wrong form.
    #[error("{message}")]
    Invalid {
        /// Its path.
        param: String,
        /// What was expected.
        message: String,
    },
    /// The model's name can't stand in an address.
    #[error("the model's name can't stand in an address")]
    Model,
}

impl EncodeError {
    /// The target does not take this field.
    pub fn unsupported(field: &str) -> Self {
        let message = format!("'{field}' is not supported by the target (drop_params: strict)");
        Self::Unsupported { param: field.to_owned(), message }
    }

    /// The field can't be sent as it is.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { param: param.into(), message: message.into() }
    }
}

/// Takes one stream apart, however its bytes were cut.
pub trait StreamDecoder: Send {
    /// Adds bytes and appends what they complete to `events`.
    ///
    /// # Errors
    /// [`DecodeError`]; the stream is of no further use then.
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError>;

    /// The body ended: appends what that means, if it means anything. Without [`StreamEvent::Done`] the answer counts as cut.
    fn finish(&mut self, _events: &mut Vec<StreamEvent>) {}

    /// The same once more, as far as it has come: for the tests that go on from many places. None reads everything anew there.
    #[cfg(test)]
    fn fork(&self) -> Option<Box<dyn StreamDecoder>> {
        None
    }
}

/// What a stream says.
pub enum StreamEvent {
    /// A step of the answer.
    Chunk(Chunk),
    /// The answer is complete.
    Done,
    /// The provider gave up: as OpenAI's error object.
    Error(Value),
}

/// The bytes are not what this provider API sends. Names the trouble, never the content.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Reads JSON. What serde says of it may quote it, so only the place is told.
fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    serde_json::from_slice(bytes)
        .map_err(|e| DecodeError(format!("not JSON (at line {} column {})", e.line(), e.column())))
}

/// All provider APIs; a new one is a line here.
pub static APIS: &[&dyn ProviderApi] = &[
    &openai::OpenAi,
    &responses::Responses,
    &anthropic::Anthropic,
    &gemini::Gemini::STUDIO,
    &gemini::Gemini::VERTEX,
    &bedrock::Bedrock,
    &vertex_anthropic::VertexAnthropic,
];

/// The provider API of this name.
pub fn find(name: &str) -> Option<&'static dyn ProviderApi> {
    APIS.iter().copied().find(|api| api.name() == name)
}
