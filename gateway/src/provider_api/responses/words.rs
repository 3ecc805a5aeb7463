//! The words of the Responses API: what stands in requests whoever writes them, and says nothing of anybody.

use sluice_guardrails::proof::{Kind, Spot};

use crate::provider_api::openai::words as openai;

/// Names of fields beside OpenAI's chat completions; sorted.
pub const FIELDS: &[&str] = &[
    "action",
    "allowed_domains",
    "allowed_tools",
    "annotations",
    "approval_request_id",
    "approve",
    "author",
    "authorization",
    "background",
    "call_id",
    "code",
    "command",
    "compact_threshold",
    "connector_id",
    "container",
    "container_id",
    "context_management",
    "defer_loading",
    "effort",
    "end_index",
    "environment",
    "error",
    "file_ids",
    "filters",
    "headers",
    "include",
    "include_obfuscation",
    "index",
    "item_id",
    "max_num_results",
    "max_output_tokens",
    "max_tool_calls",
    "outputs",
    "phase",
    "previous_response_id",
    "quality",
    "queries",
    "query",
    "ranking_options",
    "require_approval",
    "result",
    "results",
    "score",
    "score_threshold",
    "server_description",
    "server_label",
    "server_url",
    "size",
    "sources",
    "start_index",
    "status",
    "truncation",
    "variables",
    "vector_store_ids",
    "version",
];

/// Fields whose texts are words of the API.
const ENUMERATIONS: &[&str] = &["detail", "effort", "role", "status", "type"];

/// What stands in them beside OpenAI's words; sorted.
const WORDS: &[&str] = &[
    "auto",
    "code_interpreter",
    "code_interpreter_call",
    "completed",
    "custom_tool_call",
    "custom_tool_call_output",
    "file_citation",
    "file_search",
    "file_search_call",
    "function_call",
    "function_call_output",
    "high",
    "image_generation",
    "image_generation_call",
    "in_progress",
    "incomplete",
    "input_file",
    "input_image",
    "input_text",
    "low",
    "mcp",
    "mcp_call",
    "mcp_list_tools",
    "medium",
    "message",
    "minimal",
    "none",
    "output_text",
    "reasoning",
    "search",
    "summary_text",
    "url_citation",
    "web_search",
    "web_search_call",
    "web_search_preview",
];

/// Whether this is a word of the API, or one of its numbers.
pub fn is_protocol(spot: &Spot<'_>) -> bool {
    let holds = |words: &[&str], word: &str| words.binary_search(&word).is_ok();
    let own = match spot.kind {
        Kind::Key => holds(FIELDS, spot.text),
        Kind::Text => ENUMERATIONS.contains(&spot.key) && holds(WORDS, spot.text),
        Kind::Number => spot.depth == 1 && matches!(spot.key, "max_output_tokens" | "max_tool_calls"),
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
