//! Tools, and which of them may or must be called.

use serde_json::{Map, Value, json};

use super::super::fields::Fields;
use super::super::{EncodeError, Encoding, is_hosted};
use super::names::Names;
use super::schema::schema;

/// Gemini's own tools, which a client may name as they are called there. Both spellings of JSON for protocol buffers count.
const OWN: &[&str] = &[
    "codeExecution",
    "code_execution",
    "googleMaps",
    "googleSearch",
    "googleSearchRetrieval",
    "google_maps",
    "google_search",
    "google_search_retrieval",
    "urlContext",
    "url_context",
];

/// `tools` and `toolConfig`, as far as there are any.
pub(super) fn tools(
    fields: &Fields<'_>,
    names: &mut Names,
    how: &Encoding<'_>,
    dropped: &mut Vec<String>,
) -> Result<Map<String, Value>, EncodeError> {
    let choice = choice(fields.take("tool_choice"), names)?;
    let (mut declared, mut list) = (Vec::new(), Vec::new());
    for (number, tool) in fields.take("tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
        match tool.as_object() {
            Some(own) if own.keys().all(|key| OWN.contains(&key.as_str())) => list.push(tool.clone()),
            _ if is_hosted(tool) => {
                if how.leave_out(&format!("tools[{number}]"), dropped)? {
                    list.push(tool.clone());
                }
            }
            _ => declared.push(declaration(tool, &format!("tools[{number}]"), names)?),
        }
    }
    if let Choice { only: Some(only), must: false, .. } = &choice {
        declared.retain(|tool| tool["name"].as_str().is_some_and(|name| only.iter().any(|o| o == name)));
    }
    if let Some(Value::Bool(false)) = fields.take("parallel_tool_calls")
        && !declared.is_empty()
    {
        // It has no word for it; a field of this name would be refused.
        how.leave_out("parallel_tool_calls", dropped)?;
    }
    if fields.take("web_search_options").is_some() {
        list.push(json!({ "googleSearch": {} }));
    }
    let mut out = Map::new();
    if !declared.is_empty() {
        list.insert(0, json!({ "functionDeclarations": declared }));
        if let Some(calling) = choice.calling() {
            out.insert("toolConfig".to_owned(), json!({ "functionCallingConfig": calling }));
        }
    }
    if !list.is_empty() {
        out.insert("tools".to_owned(), Value::Array(list));
    }
    Ok(out)
}

fn declaration(tool: &Value, at: &str, names: &mut Names) -> Result<Value, EncodeError> {
    let function = tool.get("function").filter(|_| tool["type"] == "function");
    let Some(function) = function else {
        return Err(EncodeError::Unsupported {
            param: at.to_owned(),
            message: format!("'{at}' is no function, and the target knows no such tool"),
        });
    };
    let name = function["name"].as_str().ok_or_else(|| {
        let at = format!("{at}.function.name");
        EncodeError::invalid(&at, format!("'{at}' must be a string"))
    })?;
    let mut declared = json!({ "name": names.of(name) });
    if let Some(description) = function.get("description").filter(|text| text.is_string()) {
        declared["description"] = description.clone();
    }
    match function.get("parameters") {
        // An object without properties is as good as no parameters, and is refused by some models.
        Some(Value::Object(parameters)) if has_properties(parameters) => {
            declared["parametersJsonSchema"] = schema(&Value::Object(parameters.clone()));
        }
        _ => {}
    }
    Ok(declared)
}

fn has_properties(schema: &Map<String, Value>) -> bool {
    let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    let says_nothing = |key: &str| {
        matches!(
            key,
            "type" | "properties" | "required" | "additionalProperties" | "$schema" | "title" | "description"
        )
    };
    !(schema.keys().all(|key| says_nothing(key)) && schema.get("properties").is_none_or(empty))
}

/// Which functions may be called.
#[derive(Default)]
struct Choice {
    mode: Option<&'static str>,
    /// One of them must be.
    must: bool,
    /// None but these.
    only: Option<Vec<String>>,
}

impl Choice {
    fn calling(&self) -> Option<Value> {
        let mut calling = json!({ "mode": self.mode? });
        if let Some(only) = self.only.as_ref().filter(|_| self.must) {
            calling["allowedFunctionNames"] = json!(only);
        }
        Some(calling)
    }
}

fn choice(choice: Option<&Value>, names: &mut Names) -> Result<Choice, EncodeError> {
    let wrong = || {
        EncodeError::invalid(
            "tool_choice",
            "'tool_choice' must be 'auto', 'none', 'required', a function or 'allowed_tools'",
        )
    };
    let Some(choice) = choice else { return Ok(Choice::default()) };
    let mode = |word: &str| match word {
        "auto" => Ok(("AUTO", false)),
        "none" => Ok(("NONE", false)),
        "required" | "any" => Ok(("ANY", true)),
        _ => Err(wrong()),
    };
    if let Some(word) = choice.as_str() {
        let (mode, must) = mode(word)?;
        return Ok(Choice { mode: Some(mode), must, only: None });
    }
    let mut name = |tool: &Value| {
        let name = tool["function"]["name"].as_str().or_else(|| tool["name"].as_str());
        name.map(|name| names.of(name)).ok_or_else(wrong)
    };
    match choice["type"].as_str() {
        Some("function") => Ok(Choice { mode: Some("ANY"), must: true, only: Some(vec![name(choice)?]) }),
        Some("allowed_tools") => {
            let allowed = &choice["allowed_tools"];
            let (mode, must) = mode(allowed["mode"].as_str().unwrap_or("auto"))?;
            let tools = allowed["tools"].as_array().ok_or_else(wrong)?;
            let only: Result<Vec<String>, EncodeError> = tools.iter().map(name).collect();
            Ok(Choice { mode: Some(mode), must, only: Some(only?) })
        }
        _ => Err(wrong()),
    }
}
