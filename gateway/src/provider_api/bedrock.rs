//! Converse, the API of AWS Bedrock that is the same for every model there: whole answers as JSON, streams as binary frames.

mod content;
mod decode;
mod encode;
mod errors;
mod messages;
mod model;
mod names;
mod stream;
#[cfg(test)]
mod tests;
mod tools;
mod words;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sluice_guardrails::proof::Spot;

use super::{DecodeError, EncodeError, Encoded, Encoding, ErrorAnswer, ProviderApi, Sent, StreamDecoder};
use crate::chat::request::ChatRequest;
use crate::wire::chat::Chunk;

/// `POST {base}/model/{id}/converse` and `/converse-stream`.
pub struct Bedrock;

/// What stands in a path as it is (RFC 3986, section 2.3). Of a model's id that leaves no `:` and no `/`.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl ProviderApi for Bedrock {
    fn name(&self) -> &'static str {
        "bedrock"
    }

    fn path(&self, how: &Encoding<'_>) -> Result<String, EncodeError> {
        // A path of dots means another one.
        if matches!(how.model, "" | "." | "..") {
            return Err(EncodeError::Model);
        }
        let verb = if how.stream { "converse-stream" } else { "converse" };
        Ok(format!("/model/{}/{verb}", utf8_percent_encode(how.model, UNRESERVED)))
    }

    fn encode(&self, request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
        encode::encode(request.fields(), how)
    }

    fn is_protocol(&self, spot: &Spot<'_>) -> bool {
        words::is_protocol(spot)
    }

    fn stream_type(&self) -> &'static str {
        "application/vnd.amazon.eventstream"
    }

    fn decode_whole(&self, body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
        decode::whole(body, sent)
    }

    fn stream(&self, sent: Sent) -> Box<dyn StreamDecoder> {
        Box::new(stream::ConverseStream::new(sent))
    }

    fn decode_error(&self, answer: &ErrorAnswer<'_>) -> Option<Value> {
        errors::of_answer(answer)
    }
}
