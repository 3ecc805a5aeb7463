//! How clients speak to us: each client API parses its requests into ours and writes our chunks in its own form.

pub mod anthropic_messages;
pub mod openai_chat;
pub mod openai_responses;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::chat::request::{ChatRequest, Delivery};
use crate::error::ApiError;
use crate::wire::chat::Chunk;

/// A format in which clients ask. Where a provider speaks the same one, a request goes up as the client spelled it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenAI's chat completions, into which all others are translated for everything that has to understand a request.
    #[default]
    OpenAiChat,
    /// OpenAI's Responses.
    OpenAiResponses,
    /// Anthropic's messages.
    AnthropicMessages,
}

impl Format {
    /// All of them; a new one is a line here.
    pub const ALL: &[Self] = &[Self::OpenAiChat, Self::OpenAiResponses, Self::AnthropicMessages];

    /// Its name, in metrics and where formats are kept apart.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "chat_completions",
            Self::OpenAiResponses => "responses",
            Self::AnthropicMessages => "messages",
        }
    }

    /// What reads and writes it.
    pub fn api(self) -> &'static dyn ClientApi {
        match self {
            Self::OpenAiChat => &openai_chat::OpenAiChat,
            Self::OpenAiResponses => &openai_responses::OpenAiResponses,
            Self::AnthropicMessages => &anthropic_messages::AnthropicMessages,
        }
    }
}

/// A client's format. Plain functions of their input: no sockets here.
pub trait ClientApi: Send + Sync {
    /// Reads a request body, checking the fields that the gateway itself looks at.
    ///
    /// # Errors
    /// [`ApiError::Json`] and [`ApiError::Invalid`] with the path of the field.
    fn parse(&self, body: &Bytes) -> Result<ChatRequest, ApiError>;

    /// The same request as OpenAI's chat completions say it. Asked again after a guard changed texts in it, so it takes whatever
    /// [`ClientApi::parse`] took. What has no counterpart there keeps its own name: nothing of it may be lost, since what
    /// must be equal for the cache is told by this.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with the path of the field.
    fn as_chat(&self, said: &Map<String, Value>) -> Result<Map<String, Value>, ApiError>;

    /// Headers of a request that belong to its format: they go along to a provider that speaks the same one.
    fn headers(&self) -> &'static [&'static str] {
        &[]
    }

    /// A new id for an answer that comes from no provider.
    fn fresh_id(&self) -> String;

    /// Writes a whole answer.
    fn encode_whole(&self, whole: Chunk, delivery: &Delivery) -> Bytes;

    /// Writes an answer as server-sent events.
    fn stream(&self, delivery: &Delivery) -> Box<dyn AnswerEncoder>;

    /// The body of an error. `id`: the request's.
    fn error(&self, error: &ApiError, id: &str) -> Value;
}

/// Writes the events of one streamed answer.
pub trait AnswerEncoder: Send + Sync {
    /// The events of one chunk, if there are any.
    fn push(&mut self, chunk: Chunk) -> Option<Bytes>;

    /// The end.
    fn finish(self: Box<Self>) -> Bytes;

    /// The last event of a stream that failed after it began: an error, and no terminator.
    fn fail(self: Box<Self>, error: &ApiError) -> Bytes;

    /// What is sent into a silence, so that nothing on the way takes the connection for dead.
    fn keep_alive(&self) -> &'static [u8] {
        b": keep-alive\n\n"
    }
}
