//! Items of an answer and what they are in chat completions, in both directions: messages, calls, annotations, token counts.

use serde_json::{Map, Value, json};

use crate::ids;
use crate::wire::chat::{Function, ToolCall};
use crate::wire::usage::Usage;

/// A message of the model.
pub fn message(id: &str, status: &str, parts: &[Value]) -> Value {
    json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": parts })
}

/// A text in it.
pub fn text_part(text: &str, logprobs: &[Value], annotations: &[Value]) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs })
}

/// What is known of the probabilities of a text's tokens.
pub fn logprobs(of_choice: &Map<String, Value>) -> Vec<Value> {
    let content = of_choice.get("logprobs").and_then(|logprobs| logprobs.get("content"));
    content.and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Here an annotation's fields stand beside its kind, there within it.
pub fn annotations(of_delta: &Map<String, Value>) -> Vec<Value> {
    let all = of_delta.get("annotations").and_then(Value::as_array).into_iter().flatten();
    let flat = |annotation: &Value| {
        let kind = annotation["type"].as_str()?;
        let mut fields = annotation.get(kind).and_then(Value::as_object).cloned()?;
        fields.insert("type".to_owned(), json!(kind));
        Some(Value::Object(fields))
    };
    all.map(|annotation| flat(annotation).unwrap_or_else(|| annotation.clone())).collect()
}

/// The other way round.
pub fn nested(annotation: &Value) -> Value {
    let Value::Object(mut fields) = annotation.clone() else { return annotation.clone() };
    match fields.remove("type") {
        Some(Value::String(kind)) => json!({ "type": &kind, kind: fields }),
        _ => annotation.clone(),
    }
}

/// A call of a tool, whole or under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Called {
    /// The item's own id.
    pub id: String,
    /// What the result names.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// Arguments, or the input of a custom tool.
    pub given: String,
    /// It is a tool that takes a text.
    pub custom: bool,
}

impl Called {
    /// A call as chat completions say it.
    pub fn of(call: &ToolCall) -> Self {
        let mut called = Self::default();
        called.add(call);
        called
    }

    /// The call that an item is; none if it is no call of a client's tool.
    pub fn of_item(item: &Value) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let custom = match item.get("type").and_then(Value::as_str)? {
            "function_call" => false,
            "custom_tool_call" => true,
            _ => return None,
        };
        let given = text(if custom { "input" } else { "arguments" });
        Some(Self { id: text("id"), call_id: text("call_id"), name: text("name"), given, custom })
    }

    /// Adds what a delta says of the call, and gives what it adds to the arguments.
    pub fn add(&mut self, call: &ToolCall) -> String {
        let own = call.rest.get("custom");
        if self.id.is_empty() {
            self.custom = own.is_some() || call.kind.as_deref() == Some("custom");
            self.id = ids::fresh(if self.custom { "ctc_" } else { "fc_" });
        }
        let text = |name: &str| own.and_then(|own| own.get(name)).and_then(Value::as_str);
        let function = call.function.as_ref();
        let name = function.and_then(|function| function.name.as_deref()).or_else(|| text("name"));
        if self.name.is_empty() {
            name.unwrap_or_default().clone_into(&mut self.name);
        }
        if self.call_id.is_empty() {
            call.id.as_deref().unwrap_or_default().clone_into(&mut self.call_id);
        }
        let more = function.and_then(|function| function.arguments.as_deref()).or_else(|| text("input"));
        let more = more.unwrap_or_default().to_owned();
        self.given.push_str(&more);
        more
    }

    /// As an item of an answer.
    pub fn item(&self, status: &str) -> Value {
        let Self { id, call_id, name, given, custom } = self;
        let mut item = json!({ "id": id, "status": status, "call_id": call_id, "name": name });
        item["type"] = json!(if *custom { "custom_tool_call" } else { "function_call" });
        item[self.field()] = json!(given);
        item
    }

    /// The field of what is given to the tool.
    pub fn field(&self) -> &'static str {
        if self.custom { "input" } else { "arguments" }
    }

    /// As chat completions say it.
    pub fn call(self, index: u32) -> ToolCall {
        let Self { call_id, name, given, custom, .. } = self;
        let kind = if custom { "custom" } else { "function" };
        let mut call = Self::more(index, given, custom);
        (call.id, call.kind) = (Some(call_id), Some(kind.to_owned()));
        match &mut call.function {
            Some(function) => function.name = Some(name),
            None => call.rest["custom"]["name"] = json!(name),
        }
        call
    }

    /// More of what is given to a tool.
    pub fn more(index: u32, given: String, custom: bool) -> ToolCall {
        let mut call = ToolCall { index: Some(index), ..ToolCall::default() };
        if custom {
            call.rest.insert("custom".to_owned(), json!({ "input": given }));
        } else {
            call.function = Some(Function { arguments: Some(given), ..Function::default() });
        }
        call
    }
}

/// Token counts as this API tells them.
pub fn usage(usage: &Usage) -> Value {
    let detail = |list: &str, name: &str| usage.rest.get(list).and_then(|list| list.get(name)?.as_u64());
    let written = detail("prompt_tokens_details", "cache_creation_tokens");
    let reasoning = detail("completion_tokens_details", "reasoning_tokens");
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_tokens(), "cache_write_tokens": written.unwrap_or(0) },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": reasoning.unwrap_or(0) },
        "total_tokens": usage.total_tokens.max(usage.prompt_tokens + usage.completion_tokens),
    })
}

/// Token counts as chat completions tell them.
pub fn usage_of(told: &Value) -> Usage {
    let count = |at: &str| told.pointer(at).and_then(Value::as_u64);
    let (input, output) = (count("/input_tokens").unwrap_or(0), count("/output_tokens").unwrap_or(0));
    let mut read = Map::new();
    for (at, name) in [
        ("/input_tokens_details/cached_tokens", "cached_tokens"),
        ("/input_tokens_details/cache_write_tokens", "cache_creation_tokens"),
    ] {
        read.extend(count(at).map(|count| (name.to_owned(), json!(count))));
    }
    let mut rest = Map::from_iter([("prompt_tokens_details".to_owned(), Value::Object(read))]);
    if let Some(reasoning) = count("/output_tokens_details/reasoning_tokens") {
        rest.insert("completion_tokens_details".to_owned(), json!({ "reasoning_tokens": reasoning }));
    }
    let total_tokens = count("/total_tokens").unwrap_or(0).max(input + output);
    Usage { prompt_tokens: input, completion_tokens: output, total_tokens, rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_the_same_in_both_apis() {
        for item in [
            json!({ "id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}" }),
            json!({ "id": "ctc_1", "type": "custom_tool_call", "status": "completed", "call_id": "c", "name": "sh", "input": "ls" }),
        ] {
            let called = Called::of_item(&item).unwrap();
            let again = Called { id: called.id.clone(), ..Called::of(&called.clone().call(0)) };
            assert_eq!(again, called);
            assert_eq!(again.item("completed"), item);
        }
        assert_eq!(Called::of_item(&json!({ "type": "web_search_call" })), None);
    }

    #[test]
    fn annotations_and_counts_say_the_same_in_both_apis() {
        let flat = json!({ "type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 3 });
        let of_delta = Map::from_iter([("annotations".to_owned(), json!([nested(&flat)]))]);
        assert_eq!(annotations(&of_delta), [flat]);
        let told = json!({
            "input_tokens": 30, "input_tokens_details": { "cached_tokens": 20, "cache_write_tokens": 4 },
            "output_tokens": 7, "output_tokens_details": { "reasoning_tokens": 5 }, "total_tokens": 37,
        });
        assert_eq!(usage(&usage_of(&told)), told);
        assert_eq!(usage_of(&json!({ "input_tokens": 2, "output_tokens": 3 })).total_tokens, 5);
    }
}
