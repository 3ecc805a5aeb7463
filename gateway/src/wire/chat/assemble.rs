//! From the chunks of an answer back to the whole of it.

use serde_json::{Map, Value};

use super::{Choice, Chunk, ToolCall};

/// Puts the chunks of an answer together again, in the form of one chunk that holds all of it.
#[derive(Clone, Default)]
pub struct Assembler {
    whole: Chunk,
}

impl Assembler {
    /// Adds a chunk.
    pub fn push(&mut self, chunk: &Chunk) {
        let whole = &mut self.whole;
        first(&mut whole.id, &chunk.id);
        first(&mut whole.model, &chunk.model);
        if whole.created == 0 {
            whole.created = chunk.created;
        }
        for choice in &chunk.choices {
            let at = match whole.choices.iter().position(|c| c.index == choice.index) {
                Some(at) => at,
                None => {
                    whole.choices.push(Choice { index: choice.index, ..Choice::default() });
                    whole.choices.len() - 1
                }
            };
            add_choice(&mut whole.choices[at], choice);
        }
        if chunk.usage.is_some() {
            whole.usage.clone_from(&chunk.usage);
        }
        add_rest(&mut whole.rest, &chunk.rest, Rule::Replace);
    }

    /// How many bytes of text there are so far.
    pub fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let of = |choice: &Choice| {
            let calls = choice.delta.tool_calls.iter().filter_map(|call| call.function.as_ref());
            let arguments: usize = calls.map(|function| text(&function.arguments)).sum();
            text(&choice.delta.content) + arguments
        };
        self.whole.choices.iter().map(of).sum()
    }

    /// The whole answer so far, choices in their order.
    pub fn finish(mut self) -> Chunk {
        self.whole.choices.sort_by_key(|choice| choice.index);
        self.whole
    }
}

fn add_choice(whole: &mut Choice, part: &Choice) {
    if part.finish_reason.is_some() {
        whole.finish_reason.clone_from(&part.finish_reason);
    }
    first_some(&mut whole.delta.role, part.delta.role.as_ref());
    add_text(&mut whole.delta.content, part.delta.content.as_ref());
    add_text(&mut whole.delta.refusal, part.delta.refusal.as_ref());
    for (position, call) in part.delta.tool_calls.iter().enumerate() {
        let index = call.index.unwrap_or(u32::try_from(position).unwrap_or(u32::MAX));
        let calls = &mut whole.delta.tool_calls;
        let at = match calls.iter().position(|c| c.index == Some(index)) {
            Some(at) => at,
            None => {
                calls.push(ToolCall { index: Some(index), ..ToolCall::default() });
                calls.len() - 1
            }
        };
        add_call(&mut calls[at], call);
    }
    add_rest(&mut whole.delta.rest, &part.delta.rest, Rule::Delta);
    add_rest(&mut whole.rest, &part.rest, Rule::Choice);
}

fn add_call(whole: &mut ToolCall, part: &ToolCall) {
    first_some(&mut whole.id, part.id.as_ref());
    first_some(&mut whole.kind, part.kind.as_ref());
    if let Some(function) = &part.function {
        let target = whole.function.get_or_insert_default();
        // Some repeat it in every chunk.
        first_some(&mut target.name, function.name.as_ref());
        add_text(&mut target.arguments, function.arguments.as_ref());
        add_rest(&mut target.rest, &function.rest, Rule::Nested);
    }
    add_rest(&mut whole.rest, &part.rest, Rule::Nested);
}

fn first(whole: &mut String, part: &String) {
    if whole.is_empty() {
        whole.clone_from(part);
    }
}

fn first_some(whole: &mut Option<String>, part: Option<&String>) {
    if let Some(part) = part {
        first(whole.get_or_insert_default(), part);
    }
}

fn add_text(whole: &mut Option<String>, part: Option<&String>) {
    if let Some(part) = part {
        whole.get_or_insert_default().push_str(part);
    }
}

/// What becomes of an unknown field that comes again. Objects merge, and `null` takes nothing back.
#[derive(Clone, Copy)]
enum Rule {
    /// It is a statement: the last one counts.
    Replace,
    /// Beside a delta: as [`Rule::Replace`], but the log probabilities grow with the text.
    Choice,
    /// The log probabilities: lists are continued.
    Logprobs,
    /// In a delta: texts and lists are continued.
    Delta,
    /// Deeper in a delta: lists are continued, and of the texts those that are known to come in pieces.
    Nested,
}

impl Rule {
    fn below(self, key: &str) -> Rule {
        match self {
            Rule::Choice if key == "logprobs" => Rule::Logprobs,
            Rule::Replace | Rule::Choice => Rule::Replace,
            Rule::Logprobs => Rule::Logprobs,
            Rule::Delta | Rule::Nested => Rule::Nested,
        }
    }

    fn text_grows(self, key: &str) -> bool {
        match self {
            Rule::Delta => !matches!(key, "id" | "type" | "name" | "object"),
            // function_call, custom tools, reasoning_details, thinking_blocks and audio.
            Rule::Nested => {
                matches!(key, "arguments" | "input" | "text" | "summary" | "thinking" | "transcript" | "data")
            }
            _ => false,
        }
    }
}

fn add_rest(whole: &mut Map<String, Value>, part: &Map<String, Value>, rule: Rule) {
    for (key, value) in part {
        match (whole.get_mut(key), value) {
            (Some(Value::String(text)), Value::String(more)) if rule.text_grows(key) => text.push_str(more),
            (Some(Value::Object(object)), Value::Object(more)) => add_rest(object, more, rule.below(key)),
            (Some(Value::Array(items)), Value::Array(more)) => match rule {
                Rule::Logprobs => items.extend_from_slice(more),
                Rule::Delta | Rule::Nested => more.iter().for_each(|item| add_item(items, item)),
                Rule::Replace | Rule::Choice => items.clone_from(more),
            },
            (Some(_), Value::Null) => {}
            _ => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Items that say which one they are continue that one, if it is of their type.
fn add_item(items: &mut Vec<Value>, part: &Value) {
    let same = |item: &&mut Value| {
        part["index"].is_u64()
            && item["index"] == part["index"]
            && (part["type"].is_null() || item["type"] == part["type"])
    };
    match (items.iter_mut().find(same), part) {
        (Some(Value::Object(item)), Value::Object(part)) => add_rest(item, part, Rule::Nested),
        _ => items.push(part.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn assemble(chunks: &[&str]) -> Value {
        let mut assembler = Assembler::default();
        for chunk in chunks {
            assembler.push(&serde_json::from_str(chunk).unwrap());
        }
        serde_json::to_value(assembler.finish()).unwrap()
    }

    #[test]
    fn chunks_of_text_calls_and_reasoning_come_together() {
        let whole = assemble(&[
            r#"{"id":"a","object":"chat.completion.chunk","created":5,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"id":"a","object":"chat.completion.chunk","created":5,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"reasoning_content":"hm"}},{"index":1,"delta":{"content":"B"}}]}"#,
            r#"{"id":"a","choices":[{"index":0,"delta":{"reasoning_content":"m","content":"He","tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\""}}]}}]}"#,
            r#"{"id":"a","choices":[{"index":0,"delta":{"content":"llo","tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"stop"}]}"#,
            r#"{"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"cost":0.5}}"#,
        ]);
        let first = &whole["choices"][0];
        assert_eq!(first["delta"]["content"], "Hello");
        assert_eq!(first["delta"]["reasoning_content"], "hmm");
        assert_eq!(first["delta"]["tool_calls"][0]["function"]["arguments"], "{\"x\":1}");
        assert_eq!(first["finish_reason"], "stop");
        assert_eq!(whole["choices"][1]["delta"]["content"], "B");
        assert_eq!((whole["usage"]["cost"].as_f64(), &whole["system_fingerprint"]), (Some(0.5), &"f".into()));
    }

    /// The whole of chunks with one choice, of which these are the members.
    fn assemble_choices(choices: &[&str]) -> Value {
        let chunks: Vec<String> = choices.iter().map(|c| format!(r#"{{"choices":[{{{c}}}]}}"#)).collect();
        assemble(&chunks.iter().map(String::as_str).collect::<Vec<_>>())["choices"][0].take()
    }

    #[test]
    fn what_a_provider_says_of_the_answer_is_not_said_twice() {
        let chunk = r#"{"citations":["a"],"tier":"x","x":{"id":"r"},
            "choices":[{"content_filter_results":{"hate":{"severity":"safe"}},"delta":{"content":"a"}}]}"#;
        let whole = assemble(&[chunk, chunk, r#"{"tier":null,"x":{"n":1}}"#]);
        assert_eq!((&whole["citations"], &whole["tier"]), (&json!(["a"]), &json!("x")));
        assert_eq!(whole["x"], json!({ "id": "r", "n": 1 }));
        let choice = &whole["choices"][0];
        assert_eq!(choice["content_filter_results"]["hate"]["severity"], "safe");
        assert_eq!(choice["delta"]["content"], "aa");
    }

    #[test]
    fn log_probabilities_grow_with_the_text() {
        let part =
            |token: &str| format!(r#""logprobs":{{"content":[{{"token":"{token}"}}],"refusal":null}}"#);
        let whole = assemble_choices(&[&part("a"), &part("b"), r#""logprobs":null"#]);
        assert_eq!(
            whole["logprobs"],
            json!({ "content": [{ "token": "a" }, { "token": "b" }], "refusal": null })
        );
    }

    #[test]
    fn custom_tools_legacy_calls_and_reasoning_details_come_together() {
        let whole = assemble_choices(&[
            r#""delta":{"tool_calls":[{"index":0,"id":"c","type":"custom","custom":{"name":"sh","input":"l"}}],
                "function_call":{"name":"f","arguments":"{"},
                "reasoning_details":[{"index":0,"type":"reasoning.text","format":"v1","text":"h"}]}"#,
            r#""delta":{"tool_calls":[{"index":0,"id":"c","type":"custom","custom":{"input":"s"}}],
                "function_call":{"arguments":"}"},
                "reasoning_details":[{"index":0,"type":"reasoning.text","format":"v1","text":"m"},
                {"index":0,"type":"reasoning.encrypted","data":"x"}]}"#,
        ]);
        let delta = &whole["delta"];
        assert_eq!(delta["tool_calls"][0]["custom"], json!({ "name": "sh", "input": "ls" }));
        assert_eq!(delta["tool_calls"][0]["id"], "c");
        assert_eq!(delta["function_call"], json!({ "name": "f", "arguments": "{}" }));
        let details = json!([
            { "index": 0, "type": "reasoning.text", "format": "v1", "text": "hm" },
            { "index": 0, "type": "reasoning.encrypted", "data": "x" },
        ]);
        assert_eq!(delta["reasoning_details"], details);
    }

    #[test]
    fn a_name_that_is_repeated_stands_once() {
        let call = r#""delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"1"}}]}"#;
        let whole = assemble_choices(&[call, call]);
        assert_eq!(whole["delta"]["tool_calls"][0]["function"], json!({ "name": "f", "arguments": "11" }));
    }
}
