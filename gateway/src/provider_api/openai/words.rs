//! The words of the OpenAI API: what stands in requests whoever writes them, and says nothing of anybody.

use sluice_guardrails::proof::{Kind, Spot};

/// Names of fields, of chat completions, embeddings and JSON Schema; sorted.
pub const FIELDS: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "allowed_tools",
    "anyOf",
    "approximate",
    "arguments",
    "audio",
    "city",
    "content",
    "country",
    "custom",
    "data",
    "default",
    "definition",
    "description",
    "detail",
    "dimensions",
    "encoding_format",
    "encrypted_content",
    "enum",
    "file",
    "file_data",
    "file_id",
    "file_url",
    "filename",
    "format",
    "frequency_penalty",
    "function",
    "function_call",
    "functions",
    "grammar",
    "id",
    "image_url",
    "include_usage",
    "input",
    "input_audio",
    "instructions",
    "items",
    "json_schema",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "mode",
    "model",
    "n",
    "name",
    "parallel_tool_calls",
    "parameters",
    "prediction",
    "presence_penalty",
    "prompt",
    "prompt_cache_key",
    "properties",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "reasoning_effort",
    "refusal",
    "region",
    "required",
    "response_format",
    "role",
    "safety_identifier",
    "schema",
    "search_context_size",
    "seed",
    "service_tier",
    "signature",
    "stop",
    "store",
    "stream",
    "stream_options",
    "strict",
    "summary",
    "syntax",
    "temperature",
    "text",
    "thinking",
    "thinking_blocks",
    "timezone",
    "title",
    "tool_call_id",
    "tool_calls",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "type",
    "url",
    "user",
    "user_location",
    "verbosity",
    "voice",
    "web_search_options",
];

/// Fields whose texts are words of the API.
const ENUMERATIONS: &[&str] = &["role", "type"];

/// What stands in them; sorted.
const WORDS: &[&str] = &[
    "allowed_tools",
    "approximate",
    "array",
    "assistant",
    "audio",
    "boolean",
    "content",
    "custom",
    "developer",
    "file",
    "function",
    "grammar",
    "image_url",
    "input_audio",
    "integer",
    "json_object",
    "json_schema",
    "null",
    "number",
    "object",
    "refusal",
    "string",
    "system",
    "text",
    "tool",
    "user",
];

/// Fields with numbers for machines, at the top; sorted.
const NUMBERS: &[&str] = &[
    "dimensions",
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "temperature",
    "top_k",
    "top_logprobs",
    "top_p",
];

/// Whether what stands under the last of these keys is a word of the API, or one of its numbers.
pub fn is_value(path: &[&str], text: &str) -> bool {
    let holds = |words: &[&str], word: &str| words.binary_search(&word).is_ok();
    match path {
        [key] if holds(NUMBERS, key) => text.bytes().filter(u8::is_ascii_digit).count() < 9,
        [.., key] => ENUMERATIONS.contains(key) && holds(WORDS, text),
        [] => false,
    }
}

/// Whether this is a word of the API, or one of its numbers.
pub fn is_protocol(spot: &Spot<'_>) -> bool {
    let holds = |words: &[&str], word: &str| words.binary_search(&word).is_ok();
    match spot.kind {
        Kind::Key => holds(FIELDS, spot.text),
        // Models are named after dates and sizes; the guards look into what clients write there.
        Kind::Text if spot.depth == 1 && spot.key == "model" => spot.by_chance,
        Kind::Text => ENUMERATIONS.contains(&spot.key) && holds(WORDS, spot.text),
        Kind::Number => spot.depth == 1 && holds(NUMBERS, spot.key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_since_they_are_searched_so() {
        for list in [FIELDS, WORDS, NUMBERS] {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
