//! Google's Gemini API, `generateContent`, as Google AI Studio and Vertex AI speak it.
//!
//! Reference: <https://ai.google.dev/api/generate-content> and
//! <https://cloud.google.com/vertex-ai/docs/reference/rest/v1/GenerateContentResponse>.

mod config;
mod decode;
mod encode;
mod error;
mod media;
mod names;
mod schema;
mod stream;
mod tools;
mod turns;
pub mod words;

#[cfg(test)]
mod tests;

use serde_json::Value;
use sluice_guardrails::proof::Spot;

use super::vertex_anthropic::VertexAnthropic;
use super::{
    DecodeError, EncodeError, Encoded, Encoding, ErrorAnswer, ProviderApi, Sent, StreamDecoder, segment,
};
use crate::chat::request::ChatRequest;
use crate::wire::chat::Chunk;

/// `POST {base}/models/{model}:generateContent` and `:streamGenerateContent`, on Vertex AI below `/publishers/google`.
pub struct Gemini {
    name: &'static str,
    /// Whether calls and their results have a place for an id: in Vertex's `v1` they have not, order and name tell them.
    ids: bool,
}

impl Gemini {
    /// Google AI Studio.
    pub const STUDIO: Self = Self { name: "gemini", ids: true };
    /// Vertex AI.
    pub const VERTEX: Self = Self { name: "vertex", ids: false };

    fn is_vertex(&self) -> bool {
        self.name == Self::VERTEX.name
    }
}

impl ProviderApi for Gemini {
    fn name(&self) -> &'static str {
        self.name
    }

    fn path(&self, how: &Encoding<'_>) -> Result<String, EncodeError> {
        let model = model(how.model);
        // What follows a colon is what to do.
        if model.contains(':') {
            return Err(EncodeError::Model);
        }
        let model = segment(model)?;
        let method = if how.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let publisher = if self.is_vertex() { "/publishers/google" } else { "" };
        Ok(format!("{publisher}/models/{model}:{method}"))
    }

    fn of_model(&self, model: &str) -> Option<&'static dyn ProviderApi> {
        (self.is_vertex() && VertexAnthropic::makes(model)).then_some(&VertexAnthropic)
    }

    fn encode(&self, request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
        encode::encode(request, how, self.ids)
    }

    fn is_protocol(&self, spot: &Spot<'_>) -> bool {
        words::is_protocol(spot)
    }

    fn decode_whole(&self, body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
        decode::whole(body, sent)
    }

    fn stream(&self, sent: Sent) -> Box<dyn StreamDecoder> {
        Box::new(stream::GeminiStream::new(sent))
    }

    fn decode_error(&self, answer: &ErrorAnswer<'_>) -> Option<Value> {
        let body = serde_json::from_slice(answer.body).ok()?;
        error_of(&body).or_else(|| error::refused_prompt(&body))
    }
}

/// The error that a body of Google's reports.
pub(super) fn error_of(body: &Value) -> Option<Value> {
    error::reported(body)
}

/// The model's name as it stands in the path: lists of models spell it with a prefix.
fn model(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

/// The generation of models that a name says, such as 3 of `gemini-3.1-pro`; none where it says none.
fn generation(name: &str) -> Option<u32> {
    let after = model(name).strip_prefix("gemini-")?;
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..end].parse().ok()
}
