//! Tools and the choice among them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::encode::passes;
use crate::provider_api::{EncodeError, Encoding, is_hosted};

/// No longer name is taken.
const LONGEST_NAME: usize = 64;

/// The tools of a request, and what they are called here.
pub(super) struct Names<'a> {
    tools: Option<&'a Value>,
    functions: Option<&'a Value>,
    /// By the client's name, where it can't be said here.
    other: BTreeMap<String, String>,
}

impl<'a> Names<'a> {
    pub(super) fn new(tools: Option<&'a Value>, functions: Option<&'a Value>) -> Self {
        let mut names = Self { tools, functions, other: BTreeMap::new() };
        let defined = names.defined().filter_map(|(_, _, function)| function?.get("name")?.as_str());
        let defined: Vec<&str> = defined.collect();
        for name in &defined {
            if is_name(name) {
                continue;
            }
            let word = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
            let base: String = name.chars().map(word).take(LONGEST_NAME - 4).collect();
            let taken = |new: &str| defined.contains(&new) || names.other.values().any(|other| other == new);
            let numbered = (2..).map(|n| format!("{base}_{n}"));
            let first = std::iter::once(base.clone()).filter(|base| !base.is_empty());
            if let Some(new) = first.chain(numbered).find(|new| !taken(new)) {
                names.other.insert((*name).to_owned(), new);
            }
        }
        names
    }

    /// Every tool with its field, and the function where it is one.
    fn defined(&self) -> impl Iterator<Item = (String, &'a Value, Option<&'a Value>)> + use<'a> {
        let list =
            |value: Option<&'a Value>| value.and_then(Value::as_array).into_iter().flatten().enumerate();
        let tools = list(self.tools).map(|(at, tool)| {
            let function =
                tool.get("function").filter(|_| tool.get("type").is_none_or(|kind| kind == "function"));
            (format!("tools[{at}]"), tool, function)
        });
        let functions =
            list(self.functions).map(|(at, function)| (format!("functions[{at}]"), function, Some(function)));
        tools.chain(functions)
    }

    /// What a tool is called here.
    pub(super) fn here<'n>(&'n self, name: &'n str) -> &'n str {
        self.other.get(name).map_or(name, String::as_str)
    }

    /// The names that had to differ, and the client's.
    pub(super) fn changed(&self) -> BTreeMap<String, String> {
        self.other.iter().map(|(client, here)| (here.clone(), client.clone())).collect()
    }

    /// The tools in this format. `strict`: the model can keep to their schemas.
    pub(super) fn encode(
        &self,
        how: &Encoding<'_>,
        strict: bool,
        dropped: &mut Vec<String>,
    ) -> Result<Vec<Value>, EncodeError> {
        let mut all = Vec::new();
        for (field, tool, function) in self.defined() {
            match function {
                Some(function) => {
                    all.push(self.function(&field, (tool, function), (how, strict), dropped)?);
                }
                None if !is_own(tool) && is_hosted(tool) => {
                    if how.leave_out(&field, dropped)? {
                        all.push(tool.clone());
                    }
                }
                None => all.push(own_tool(&field, tool)?),
            }
        }
        Ok(all)
    }

    fn function(
        &self,
        field: &str,
        (tool, function): (&Value, &Value),
        (how, strict): (&Encoding<'_>, bool),
        dropped: &mut Vec<String>,
    ) -> Result<Value, EncodeError> {
        let Some(name) = function.get("name").and_then(Value::as_str) else {
            let field = format!("{field}.function.name");
            return Err(EncodeError::invalid(&field, format!("'{field}' must be a string")));
        };
        let mut out = Map::from_iter([("name".to_owned(), json!(self.here(name)))]);
        if let Some(description) = function.get("description").filter(|text| text.is_string()) {
            out.insert("description".to_owned(), description.clone());
        }
        let parameters = function.get("parameters").filter(|schema| schema.is_object());
        let schema = parameters.cloned().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
        out.insert("input_schema".to_owned(), schema);
        if function.get("strict") == Some(&Value::Bool(true))
            && (strict || how.leave_out(&format!("{field}.function.strict"), dropped)?)
        {
            out.insert("strict".to_owned(), json!(true));
        }
        // What only this API has stands beside the function.
        let beside = tool.as_object().into_iter().flatten();
        let beside = beside.filter(|(name, _)| !["type", "function"].contains(&name.as_str()));
        if tool.get("function").is_some() {
            out.extend(beside.map(|(name, value)| (name.clone(), value.clone())));
        } else if let Some(cached) = tool.get("cache_control") {
            out.insert("cache_control".to_owned(), cached.clone());
        }
        Ok(Value::Object(out))
    }
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Whether it is one of this API's own: a client's, or one of those that have their version's date in their names.
fn is_own(tool: &Value) -> bool {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_dated = kind.rsplit_once('_').is_some_and(|(_, date)| {
        date.len() == "20250305".len() && date.bytes().all(|byte| byte.is_ascii_digit())
    });
    kind == "mcp_toolset" || (tool.get("name").is_some() && (is_dated || kind == "custom"))
}

/// A tool that is no function: this API's own go as they are.
fn own_tool(field: &str, tool: &Value) -> Result<Value, EncodeError> {
    if is_own(tool) {
        return Ok(tool.clone());
    }
    let param = format!("{field}.type");
    let message = format!("'{param}' is a kind of tool that this target does not have");
    Err(EncodeError::Unsupported { param, message })
}

/// The choice among tools; none where nothing is to be said.
pub(super) fn choice(
    choice: &Value,
    names: &Names<'_>,
    how: &Encoding<'_>,
    dropped: &mut Vec<String>,
) -> Result<Option<Value>, EncodeError> {
    let named = choice.pointer("/function/name").or_else(|| choice.get("name")).and_then(Value::as_str);
    Ok(match (choice.as_str(), named) {
        (Some("auto"), _) => Some(json!({ "type": "auto" })),
        (Some("required"), _) => Some(json!({ "type": "any" })),
        (Some("none"), _) => Some(json!({ "type": "none" })),
        (None, Some(name)) => Some(json!({ "type": "tool", "name": names.here(name) })),
        _ => {
            let sent = how.leave_out("tool_choice", dropped)? && passes(how);
            sent.then(|| choice.clone())
        }
    })
}
