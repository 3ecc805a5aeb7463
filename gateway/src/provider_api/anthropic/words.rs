//! The words of Anthropic's API: what stands in requests whoever writes them, and says nothing of anybody.

use sluice_guardrails::proof::{Kind, Spot};

use crate::provider_api::openai::words as openai;

/// Names of fields beside OpenAI's; sorted.
const FIELDS: &[&str] = &[
    "allowed_callers",
    "allowed_domains",
    "blocked_domains",
    "budget_tokens",
    "cache_control",
    "caller",
    "citations",
    "cited_text",
    "container",
    "context",
    "context_management",
    "defer_loading",
    "diagnostics",
    "disable_parallel_tool_use",
    "display",
    "edits",
    "effort",
    "enabled",
    "inference_geo",
    "input_schema",
    "is_error",
    "max_uses",
    "mcp_servers",
    "media_type",
    "output_config",
    "output_format",
    "source",
    "speed",
    "stop_sequences",
    "system",
    "tool_use_id",
    "ttl",
    "user_id",
];

/// Fields whose texts are words of the API.
const ENUMERATIONS: &[&str] = &["effort", "media_type", "role", "ttl", "type"];

/// What stands in them beside OpenAI's words; sorted.
const WORDS: &[&str] = &[
    "1h",
    "5m",
    "adaptive",
    "any",
    "application/pdf",
    "auto",
    "base64",
    "disabled",
    "document",
    "enabled",
    "ephemeral",
    "high",
    "image",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "low",
    "max",
    "medium",
    "none",
    "redacted_thinking",
    "search_result",
    "server_tool_use",
    "text/plain",
    "thinking",
    "tool_result",
    "tool_use",
    "url",
    "xhigh",
];

/// Whether this is a word of the API, or one of its numbers.
pub fn is_protocol(spot: &Spot<'_>) -> bool {
    let holds = |words: &[&str], word: &str| words.binary_search(&word).is_ok();
    let own = match spot.kind {
        Kind::Key => holds(FIELDS, spot.text),
        Kind::Text => ENUMERATIONS.contains(&spot.key) && holds(WORDS, spot.text),
        Kind::Number => spot.depth == 2 && spot.key == "budget_tokens",
    };
    own || openai::is_protocol(spot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_since_they_are_searched_so() {
        for list in [FIELDS, WORDS, ENUMERATIONS] {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
