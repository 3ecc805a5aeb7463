//! The words of Converse: what stands in requests whoever writes them, and says nothing of anybody.

use sluice_guardrails::proof::{Kind, Spot};

use super::super::openai::words as openai;

/// Names of fields; sorted. Those of JSON Schema, and of fields that a route passes on, are OpenAI's.
const FIELDS: &[&str] = &[
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "any",
    "audio",
    "auto",
    "budget_tokens",
    "bytes",
    "cachePoint",
    "content",
    "document",
    "effort",
    "format",
    "guardrailConfig",
    "guardrailIdentifier",
    "guardrailVersion",
    "image",
    "inferenceConfig",
    "input",
    "inputSchema",
    "json",
    "jsonSchema",
    "latency",
    "maxTokens",
    "messages",
    "name",
    "outputConfig",
    "output_config",
    "performanceConfig",
    "reasoningContent",
    "reasoningText",
    "redactedContent",
    "requestMetadata",
    "role",
    "schema",
    "serviceTier",
    "signature",
    "source",
    "status",
    "stopSequences",
    "streamProcessingMode",
    "structure",
    "system",
    "temperature",
    "text",
    "textFormat",
    "thinking",
    "tool",
    "toolChoice",
    "toolConfig",
    "toolResult",
    "toolSpec",
    "toolUse",
    "toolUseId",
    "tools",
    "topK",
    "topP",
    "top_k",
    "trace",
    "ttl",
    "type",
];

/// Fields whose texts are words of the format, and those; both sorted.
const ENUMERATIONS: &[&str] = &["effort", "format", "role", "status", "ttl", "type"];
const WORDS: &[&str] = &[
    "1h",
    "5m",
    "aac",
    "adaptive",
    "array",
    "assistant",
    "boolean",
    "csv",
    "default",
    "doc",
    "docx",
    "enabled",
    "error",
    "flac",
    "gif",
    "high",
    "html",
    "integer",
    "jpeg",
    "json_schema",
    "low",
    "md",
    "medium",
    "mp3",
    "null",
    "number",
    "object",
    "opus",
    "pdf",
    "png",
    "string",
    "txt",
    "user",
    "wav",
    "webp",
    "xls",
    "xlsx",
];

/// Fields with numbers for machines, inside an object at the top; sorted.
const NUMBERS: &[&str] = &["maxTokens", "temperature", "topP", "top_k"];

/// Whether this is a word of the format, or one of its numbers.
pub(super) fn is_protocol(spot: &Spot<'_>) -> bool {
    let holds = |words: &[&str], word: &str| words.binary_search(&word).is_ok();
    match spot.kind {
        Kind::Key => holds(FIELDS, spot.text) || holds(openai::FIELDS, spot.text),
        Kind::Text => holds(ENUMERATIONS, spot.key) && holds(WORDS, spot.text),
        Kind::Number => match spot.key {
            "budget_tokens" => spot.depth == 3,
            key => spot.depth == 2 && holds(NUMBERS, key),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_since_they_are_searched_so() {
        for list in [FIELDS, ENUMERATIONS, WORDS, NUMBERS] {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]), "{list:?}");
        }
    }
}
