//! Counts what an answer took, in whatever words its provider says it.

use serde_json::{Map, Value, json};

use crate::wire::usage::Usage;

/// Where token counts stand: in an answer or event, or in what is in these.
const PLACES: [&str; 2] = ["message", "response"];

/// What was said so far.
#[derive(Default)]
pub(super) struct Tally {
    said: Map<String, Value>,
}

impl Tally {
    /// Reads an answer or an event of one. What is said later counts.
    pub(super) fn read(&mut self, said: &Value) {
        if let Value::Array(items) = said {
            items.iter().for_each(|item| self.read(item));
        }
        for place in [Some(said)].into_iter().chain(PLACES.map(|name| said.get(name))).flatten() {
            for name in ["usage", "usageMetadata"] {
                let counts = place.get(name).and_then(Value::as_object).into_iter().flatten();
                for (key, count) in counts.filter(|(_, count)| !count.is_null()) {
                    self.said.insert(key.clone(), count.clone());
                }
            }
        }
    }

    /// The counts, if any were said: input with what was read from and written to the provider's cache, output with reasoning.
    pub(super) fn finish(mut self) -> Option<Usage> {
        let says = |name: &str| self.said.contains_key(name);
        let count = |name: &str| self.said.get(name).and_then(Value::as_u64).unwrap_or_default();
        if says("prompt_tokens") || says("completion_tokens") {
            return serde_json::from_value(Value::Object(std::mem::take(&mut self.said))).ok();
        }
        let inner = |name: &str, key: &str| {
            self.said.get(name).and_then(|details| details.get(key)?.as_u64()).unwrap_or_default()
        };
        let (input, output, cached, written, reasoning) = if says("promptTokenCount") {
            let thoughts = count("thoughtsTokenCount");
            let input = count("promptTokenCount") + count("toolUsePromptTokenCount");
            (input, count("candidatesTokenCount") + thoughts, count("cachedContentTokenCount"), 0, thoughts)
        } else if says("inputTokens") {
            let (cached, written) = (count("cacheReadInputTokens"), count("cacheWriteInputTokens"));
            (count("inputTokens") + cached + written, count("outputTokens"), cached, written, 0)
        } else if says("cache_read_input_tokens") || says("cache_creation_input_tokens") {
            let (cached, written) = (count("cache_read_input_tokens"), count("cache_creation_input_tokens"));
            (count("input_tokens") + cached + written, count("output_tokens"), cached, written, 0)
        } else if says("input_tokens") {
            let cached = inner("input_tokens_details", "cached_tokens");
            let reasoning = inner("output_tokens_details", "reasoning_tokens");
            (count("input_tokens"), count("output_tokens"), cached, 0, reasoning)
        } else {
            return None;
        };
        let mut rest = Map::new();
        let details = [("cached_tokens", cached), ("cache_creation_tokens", written)];
        let details: Map<String, Value> = details
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), json!(count)))
            .collect();
        if !details.is_empty() {
            rest.insert("prompt_tokens_details".to_owned(), Value::Object(details));
        }
        if reasoning > 0 {
            rest.insert("completion_tokens_details".to_owned(), json!({ "reasoning_tokens": reasoning }));
        }
        Some(Usage { prompt_tokens: input, completion_tokens: output, total_tokens: input + output, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(events: &[Value]) -> Option<(u64, u64, u64)> {
        let mut tally = Tally::default();
        events.iter().for_each(|event| tally.read(event));
        tally.finish().map(|usage| (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens()))
    }

    #[test]
    fn every_provider_s_words_are_counted_alike() {
        let openai = json!({ "usage": { "prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": { "cached_tokens": 2 } } });
        assert_eq!(counted(&[openai]), Some((9, 4, 2)));
        let responses = json!({ "type": "response.completed", "response": { "usage": { "input_tokens": 9, "output_tokens": 4,
            "input_tokens_details": { "cached_tokens": 2 } } } });
        assert_eq!(counted(&[json!({ "response": { "usage": null } }), responses]), Some((9, 4, 2)));
        let start = json!({ "message": { "usage": { "input_tokens": 6, "cache_read_input_tokens": 2,
            "cache_creation_input_tokens": 1, "output_tokens": 1 } } });
        assert_eq!(counted(&[start, json!({ "usage": { "output_tokens": 4 } })]), Some((9, 4, 2)));
        let gemini = |thoughts: u64| {
            json!({ "usageMetadata": { "promptTokenCount": 8, "toolUsePromptTokenCount": 1,
            "candidatesTokenCount": 1, "thoughtsTokenCount": thoughts, "cachedContentTokenCount": 2 } })
        };
        assert_eq!(counted(&[gemini(1), gemini(3)]), Some((9, 4, 2)));
        assert_eq!(counted(&[json!([gemini(1), gemini(3)])]), Some((9, 4, 2)), "a list is a stream, too");
        let bedrock = json!({ "usage": { "inputTokens": 6, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1, "outputTokens": 4 } });
        assert_eq!(counted(&[bedrock]), Some((9, 4, 2)));
        assert_eq!(counted(&[json!({ "text": "usage" })]), None);
    }
}
