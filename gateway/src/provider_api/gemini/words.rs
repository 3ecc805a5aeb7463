//! The words of the Gemini API: what stands in requests whoever writes them, and says nothing of anybody.

use sluice_guardrails::proof::{Kind, Spot};

use crate::provider_api::openai;

/// Names of fields that OpenAI's API does not have; sorted.
const FIELDS: &[&str] = &[
    "allowedFunctionNames",
    "args",
    "cachedContent",
    "candidateCount",
    "category",
    "codeExecution",
    "contents",
    "error",
    "fileData",
    "fileUri",
    "frequencyPenalty",
    "functionCall",
    "functionCallingConfig",
    "functionDeclarations",
    "functionResponse",
    "generationConfig",
    "googleMaps",
    "googleSearch",
    "googleSearchRetrieval",
    "includeThoughts",
    "inlineData",
    "maxOutputTokens",
    "mimeType",
    "output",
    "parametersJsonSchema",
    "parts",
    "presencePenalty",
    "response",
    "responseJsonSchema",
    "responseLogprobs",
    "responseMimeType",
    "responseModalities",
    "safetySettings",
    "stopSequences",
    "systemInstruction",
    "thinkingBudget",
    "thinkingConfig",
    "thinkingLevel",
    "thoughtSignature",
    "threshold",
    "toolConfig",
    "topK",
    "topP",
    "urlContext",
];

/// Fields whose texts are words of the API, and what stands in them; sorted by field.
const WORDS: &[(&str, &[&str])] = &[
    ("mode", &["ANY", "AUTO", "NONE"]),
    ("responseMimeType", &["application/json"]),
    ("role", &["model", "user"]),
    ("thinkingLevel", &["high", "low", "medium", "minimal"]),
    ("thoughtSignature", &["skip_thought_signature_validator"]),
    ("type", &["array", "boolean", "integer", "null", "number", "object", "string"]),
];

/// Fields of `generationConfig` with numbers for machines; sorted.
const NUMBERS: &[&str] = &[
    "candidateCount",
    "frequencyPenalty",
    "logprobs",
    "maxOutputTokens",
    "presencePenalty",
    "seed",
    "temperature",
    "thinkingBudget",
    "topK",
    "topP",
];

/// The depth at which the fields of `generationConfig` stand.
const CONFIG: usize = 2;

/// Whether this is a word of the API, or one of its numbers.
pub fn is_protocol(spot: &Spot<'_>) -> bool {
    let holds = |words: &[&str], word: &str| words.binary_search(&word).is_ok();
    match spot.kind {
        Kind::Key => holds(FIELDS, spot.text) || holds(openai::words::FIELDS, spot.text),
        // Random letters of the provider's, in which anything short may seem to stand.
        Kind::Text if spot.key == "thoughtSignature" && spot.by_chance => true,
        Kind::Text => WORDS.iter().any(|(key, words)| *key == spot.key && holds(words, spot.text)),
        Kind::Number => (CONFIG..=CONFIG + 1).contains(&spot.depth) && holds(NUMBERS, spot.key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_since_they_are_searched_so() {
        let words = WORDS.iter().map(|(_, words)| *words);
        for list in [FIELDS, NUMBERS].into_iter().chain(words) {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]), "{list:?}");
        }
    }

    #[test]
    fn a_number_counts_only_where_the_gateway_wrote_it() {
        let spot = |depth, key| Spot { kind: Kind::Number, depth, key, text: "1234", by_chance: true };
        assert!(is_protocol(&spot(2, "maxOutputTokens")));
        assert!(!is_protocol(&spot(6, "maxOutputTokens")), "an argument of a call may be called so");
    }
}
