//! How we speak to providers: each provider API writes our request in its own form and reads its answers into chunks.

pub mod openai;

use bytes::Bytes;
use serde_json::Value;
use sluice_guardrails::proof::Spot;

use crate::chat::request::ChatRequest;
use crate::wire::chat::Chunk;

/// A provider's format. Plain functions of their input: no sockets here.
pub trait ProviderApi: Send + Sync {
    /// What to append to the provider's base URL.
    fn path(&self) -> &'static str;

    /// The request's body for this model. `stream_usage`: the provider can be asked for token counts in a stream.
    fn encode(&self, request: &ChatRequest, model: &str, stream_usage: bool) -> Bytes;

    /// Whether this in a body is a word of the format, or a number that means nothing to people, whoever asks.
    fn is_protocol(&self, spot: &Spot<'_>) -> bool;

    /// Reads a whole answer.
    ///
    /// # Errors
    /// [`DecodeError`] where the body is no answer.
    fn decode_whole(&self, body: &[u8]) -> Result<Chunk, DecodeError>;

    /// A decoder for one stream.
    fn stream(&self) -> Box<dyn StreamDecoder>;

    /// The error object in the body of an answer with an error status, if there is one.
    fn decode_error(&self, body: &[u8]) -> Option<Value>;
}

/// Takes one stream apart, however its bytes were cut.
pub trait StreamDecoder: Send {
    /// Adds bytes and appends what they complete to `events`.
    ///
    /// # Errors
    /// [`DecodeError`]; the stream is of no further use then.
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError>;
}

/// What a stream says.
pub enum StreamEvent {
    /// A step of the answer.
    Chunk(Chunk),
    /// The answer is complete.
    Done,
    /// The provider gave up.
    Error(Value),
}

/// The bytes are not what this provider API sends. Names the trouble, never the content.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);
