//! OpenAI's Responses: a request whose `input` is a list of items, an answer whose `output` is one. Nothing is stored, so whoever
//! goes on with a conversation sends all of it.

mod answer;
mod native;
mod request;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{AnswerEncoder, ClientApi, Format};
use crate::chat::request::{ChatRequest, Delivery};
use crate::error::ApiError;
use crate::ids;
use crate::wire::chat::Chunk;
use crate::wire::json as strict;

/// `POST /v1/responses`.
pub struct OpenAiResponses;

/// What an answer repeats of its request.
const REPEATED: [&str; 17] = [
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

impl ClientApi for OpenAiResponses {
    fn parse(&self, body: &Bytes) -> Result<ChatRequest, ApiError> {
        let Value::Object(mut said) = strict::parse(body).map_err(ApiError::Json)? else {
            return Err(ApiError::Json("expected an object".to_owned()));
        };
        let (model, stream) = request::check(&said)?;
        request::open_reasoning(&mut said);
        let echo = said.iter().filter(|(name, value)| REPEATED.contains(&name.as_str()) && !value.is_null());
        let echo = echo.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut request = ChatRequest::in_format(Format::OpenAiResponses, said, body.clone(), model, stream)?;
        request.echo = Some(Arc::new(echo));
        Ok(request)
    }

    fn as_chat(&self, said: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
        request::as_chat(said)
    }

    fn fresh_id(&self) -> String {
        ids::fresh("resp_")
    }

    fn encode_whole(&self, whole: Chunk, delivery: &Delivery) -> Bytes {
        Bytes::from(answer::whole(whole, delivery.echo.as_deref()).to_string())
    }

    fn stream(&self, delivery: &Delivery) -> Box<dyn AnswerEncoder> {
        Box::new(stream::Events::new(delivery.echo.clone()))
    }

    fn error(&self, error: &ApiError, _id: &str) -> Value {
        error.body()
    }
}
