//! Token counts of one answer, as OpenAI spells them; what a provider adds survives in `rest`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chat::tolerant::number;

/// Tokens that an answer took. Input includes what the provider read from its own prompt cache, output includes
/// reasoning.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    #[serde(default, deserialize_with = "number")]
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    #[serde(default, deserialize_with = "number")]
    pub completion_tokens: u64,
    /// Sum of both.
    #[serde(default, deserialize_with = "number")]
    pub total_tokens: u64,
    /// Details we do not interpret.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Usage {
    /// Tokens of the request that the provider read from its own prompt cache, where it says so.
    pub fn cached_tokens(&self) -> u64 {
        let details = self.rest.get("prompt_tokens_details").and_then(|d| d.get("cached_tokens"));
        details.and_then(Value::as_u64).unwrap_or(0)
    }
}
