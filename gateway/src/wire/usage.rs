//! Token counts of one answer, as OpenAI spells them; what a provider adds survives in `rest`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Tokens that an answer took. Input includes what the provider read from its own prompt cache, output includes
/// reasoning.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
    /// Sum of both.
    #[serde(default)]
    pub total_tokens: u64,
    /// Details we do not interpret.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}
