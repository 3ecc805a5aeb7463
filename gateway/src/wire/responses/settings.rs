//! Settings of a request that this API and chat completions spell otherwise, in both directions: tools, which of them is to be called,
//! the form of the answer.

use serde_json::{Map, Value, json};

/// Whether tools of this kind are the client's own.
fn is_client_s(kind: &str) -> bool {
    matches!(kind, "function" | "custom")
}

/// A tool as chat completions define it, from one with a `type`. The provider's own tools have no counterpart there and stay as they
/// are.
pub fn tool_in_chat(tool: &Map<String, Value>) -> Value {
    let mut definition = tool.clone();
    match definition.remove("type").as_ref().and_then(Value::as_str) {
        Some("function") => {
            definition.retain(|_, value| !value.is_null());
            json!({ "type": "function", "function": definition })
        }
        Some("custom") => {
            if let Some(Value::Object(grammar)) = definition.get_mut("format")
                && grammar.get("type").is_some_and(|kind| kind == "grammar")
            {
                grammar.remove("type");
                let format = json!({ "type": "grammar", "grammar": grammar });
                definition.insert("format".to_owned(), format);
            }
            json!({ "type": "custom", "custom": definition })
        }
        _ => Value::Object(tool.clone()),
    }
}

/// The other way round. A schema that nobody called strict is not meant so, which here has to be said.
pub fn tool(of_chat: &Value) -> Value {
    let kind = of_chat["type"].as_str().unwrap_or_default();
    let Some(Value::Object(definition)) = of_chat.get(kind).filter(|_| is_client_s(kind)) else {
        return of_chat.clone();
    };
    let mut tool = definition.clone();
    tool.insert("type".to_owned(), json!(kind));
    if kind == "function" {
        if tool.get("strict").is_none_or(Value::is_null) {
            tool.insert("strict".to_owned(), json!(false));
        }
        tool.entry("parameters").or_insert(Value::Null);
    } else if let Some(Value::Object(grammar)) = tool.get("format").and_then(|format| format.get("grammar")) {
        let mut format = grammar.clone();
        format.insert("type".to_owned(), json!("grammar"));
        tool.insert("format".to_owned(), Value::Object(format));
    }
    Value::Object(tool)
}

/// Which tool is to be called, as chat completions say it.
pub fn choice_in_chat(choice: &Value) -> Value {
    let named = |tool: &Value| match (tool["type"].as_str(), tool["name"].as_str()) {
        (Some(kind), Some(name)) if is_client_s(kind) => json!({ "type": kind, kind: { "name": name } }),
        _ => tool.clone(),
    };
    if choice["type"] == "allowed_tools" {
        let tools = choice["tools"].as_array().into_iter().flatten();
        let allowed = json!({ "mode": choice["mode"], "tools": tools.map(named).collect::<Vec<_>>() });
        return json!({ "type": "allowed_tools", "allowed_tools": allowed });
    }
    named(choice)
}

/// The other way round.
pub fn choice(of_chat: &Value) -> Value {
    let flat = |tool: &Value| {
        let kind = tool["type"].as_str().filter(|kind| is_client_s(kind))?;
        Some(json!({ "type": kind, "name": tool[kind].get("name")? }))
    };
    if let Some(allowed) = of_chat.get("allowed_tools").filter(|_| of_chat["type"] == "allowed_tools") {
        let tools = allowed["tools"].as_array().into_iter().flatten();
        let tools: Vec<Value> = tools.map(|tool| flat(tool).unwrap_or_else(|| tool.clone())).collect();
        return json!({ "type": "allowed_tools", "mode": allowed["mode"], "tools": tools });
    }
    flat(of_chat).unwrap_or_else(|| of_chat.clone())
}

/// The form of the answer, as chat completions say it: the schema stands within `json_schema`.
pub fn format_in_chat(format: Value) -> Value {
    match format {
        Value::Object(mut format) if format.get("type").is_some_and(|kind| kind == "json_schema") => {
            format.remove("type");
            json!({ "type": "json_schema", "json_schema": format })
        }
        other => other,
    }
}

/// The other way round: the schema stands beside its name.
pub fn format(of_chat: &Value) -> Value {
    match of_chat.get("json_schema") {
        Some(Value::Object(schema)) if of_chat["type"] == "json_schema" => {
            let mut format = schema.clone();
            format.insert("type".to_owned(), json!("json_schema"));
            format.entry("name").or_insert_with(|| json!("answer"));
            Value::Object(format)
        }
        _ => of_chat.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_and_choices_say_the_same_in_both_apis() {
        for one in [
            json!({ "type": "function", "name": "f", "description": "d", "parameters": {}, "strict": true }),
            json!({ "type": "custom", "name": "g", "format": { "type": "grammar", "syntax": "lark", "definition": "x" } }),
            json!({ "type": "custom", "name": "g", "format": { "type": "text" } }),
            json!({ "type": "web_search", "search_context_size": "low" }),
        ] {
            assert_eq!(tool(&tool_in_chat(one.as_object().unwrap())), one);
        }
        for one in [
            json!("auto"),
            json!({ "type": "function", "name": "f" }),
            json!({ "type": "file_search" }),
            json!({ "type": "allowed_tools", "mode": "auto", "tools": [{ "type": "custom", "name": "g" }, { "type": "web_search" }] }),
        ] {
            assert_eq!(choice(&choice_in_chat(&one)), one);
        }
        for one in
            [json!({ "type": "json_schema", "name": "a", "schema": {} }), json!({ "type": "json_object" })]
        {
            assert_eq!(format(&format_in_chat(one.clone())), one);
        }
    }

    #[test]
    fn a_schema_that_nobody_called_strict_is_not_made_so() {
        let bare = json!({ "type": "function", "function": { "name": "f" } });
        assert_eq!(
            tool(&bare),
            json!({ "type": "function", "name": "f", "strict": false, "parameters": null })
        );
    }
}
