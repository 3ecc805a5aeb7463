//! Tools, which of them may be called, and the tool that stands in for a JSON Schema of the answer.

use serde_json::{Map, Value, json};

use super::super::{EncodeError, Encoding, is_hosted};
use super::content::{cache_point, unsupported};
use super::model::Family;
use super::names::ToolNames;

/// What tools a request has, and how its answer is to look.
pub(super) struct Tooling<'v, 'a> {
    pub(super) tools: Option<&'v Value>,
    pub(super) tool_choice: Option<&'v Value>,
    pub(super) response_format: Option<&'v Value>,
    pub(super) how: &'a Encoding<'a>,
    pub(super) family: Family,
    pub(super) names: &'a mut ToolNames,
    pub(super) dropped: &'a mut Vec<String>,
}

/// What is said of them.
#[derive(Default)]
pub(super) struct Tools {
    /// `toolConfig`, if there is one.
    pub(super) config: Option<Value>,
    /// `outputConfig`, if there is one.
    pub(super) output: Option<Value>,
    /// The tool whose arguments are the answer.
    pub(super) answer: Option<String>,
    /// Whether some tool has to be called.
    pub(super) forced: bool,
}

/// Which tools may be called.
#[derive(Clone, PartialEq)]
enum Choice {
    Unsaid,
    Auto,
    Any,
    Never,
    Named(String),
}

/// A JSON Schema that the answer is to follow.
struct Schema<'a> {
    name: &'a str,
    description: Option<&'a Value>,
    schema: &'a Value,
    strict: bool,
}

impl<'v> Tooling<'v, '_> {
    /// Reads `tools`, `tool_choice` and `response_format`. `called`: the tools that were called before.
    pub(super) fn read(&mut self, called: &[String]) -> Result<Tools, EncodeError> {
        let (mut choice, allowed) = self.choice()?;
        let mut list = self.list(allowed.as_deref())?;
        let has_own = !list.is_empty();
        if choice == Choice::Never && has_own && !called.is_empty() {
            // A conversation with calls does not go without tools, and there is no way to forbid them.
            self.how.leave_out("tool_choice", self.dropped)?;
        } else if choice == Choice::Never {
            list.clear();
        }
        if list.is_empty() {
            // Their names are all that is known of them, and all that is wanted.
            list = called.iter().map(|name| stand_in(name)).collect();
            if choice != Choice::Never {
                choice = Choice::Unsaid;
            }
        }
        let mut tools = Tools::default();
        if let Some(schema) = self.schema()? {
            self.answer_in(&schema, &mut tools, &mut list, &mut choice, has_own);
        }
        if !list.is_empty() {
            let mut config = Map::new();
            config.insert("tools".to_owned(), Value::Array(list));
            let choice = match choice {
                Choice::Unsaid | Choice::Never => None,
                Choice::Auto => Some(json!({ "auto": {} })),
                Choice::Any => Some(json!({ "any": {} })),
                Choice::Named(name) => Some(json!({ "tool": { "name": name } })),
            };
            tools.forced = choice.as_ref().is_some_and(|choice| choice.get("auto").is_none());
            config.extend(choice.map(|choice| ("toolChoice".to_owned(), choice)));
            tools.config = Some(Value::Object(config));
        }
        Ok(tools)
    }

    fn list(&mut self, allowed: Option<&[String]>) -> Result<Vec<Value>, EncodeError> {
        let mut list = Vec::new();
        for (at, tool) in self.tools.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let path = format!("tools[{at}]");
            if is_hosted(tool) {
                if self.how.leave_out(&path, self.dropped)? {
                    list.push(tool.clone());
                }
                continue;
            }
            if tool.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "function") {
                return Err(unsupported(&format!("{path}.type"), "expected function"));
            }
            let function = &tool["function"];
            let name = function.get("name").and_then(Value::as_str).ok_or_else(|| {
                let path = format!("{path}.function.name");
                EncodeError::invalid(&path, format!("'{path}' must be a string"))
            })?;
            if allowed.is_some_and(|allowed| !allowed.iter().any(|other| other == name)) {
                continue;
            }
            let mut spec = Map::new();
            spec.insert("name".to_owned(), json!(self.names.sent(name)));
            let description =
                function.get("description").filter(|text| text.as_str().is_some_and(|t| !t.is_empty()));
            spec.extend(description.map(|text| ("description".to_owned(), text.clone())));
            let parameters = function.get("parameters").filter(|schema| schema.is_object());
            let schema = parameters.cloned().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
            spec.insert("inputSchema".to_owned(), json!({ "json": schema }));
            if function.get("strict") == Some(&Value::Bool(true)) {
                let passed = self.family.takes_schemas()
                    || self.how.leave_out(&format!("{path}.function.strict"), self.dropped)?;
                if passed {
                    spec.insert("strict".to_owned(), json!(true));
                }
            }
            list.push(json!({ "toolSpec": spec }));
            list.extend(cache_point(tool).or_else(|| cache_point(function)));
        }
        Ok(list)
    }

    /// Which tools may be called, and the names of those among which that is.
    fn choice(&mut self) -> Result<(Choice, Option<Vec<String>>), EncodeError> {
        let expected = "expected auto, none, required, a function's name or allowed_tools";
        let of_word = |word: &str| match word {
            "auto" => Some(Choice::Auto),
            "none" => Some(Choice::Never),
            "required" => Some(Choice::Any),
            _ => None,
        };
        let Some(said) = self.tool_choice else { return Ok((Choice::Unsaid, None)) };
        if let Some(choice) = said.as_str().and_then(of_word) {
            return Ok((choice, None));
        }
        match said.get("type").and_then(Value::as_str) {
            Some("function") => {
                if let Some(name) = said["function"].get("name").and_then(Value::as_str) {
                    return Ok((Choice::Named(self.names.sent(name)), None));
                }
            }
            Some("allowed_tools") => {
                let allowed = &said["allowed_tools"];
                let tools = allowed.get("tools").and_then(Value::as_array).into_iter().flatten();
                let name =
                    |tool: &Value| tool["function"].get("name").and_then(Value::as_str).map(str::to_owned);
                let names = tools.filter_map(name).collect();
                if let Some(choice) = allowed.get("mode").and_then(Value::as_str).and_then(of_word) {
                    return Ok((choice, Some(names)));
                }
            }
            _ => {}
        }
        Err(EncodeError::invalid("tool_choice", format!("'tool_choice' can't be read: {expected}")))
    }

    /// The schema that the answer is to follow. That it is to be any JSON at all can't be said.
    fn schema(&mut self) -> Result<Option<Schema<'v>>, EncodeError> {
        let Some(format) = self.response_format else { return Ok(None) };
        match format.get("type").and_then(Value::as_str) {
            Some("text") => Ok(None),
            Some("json_schema") => {
                let said = &format["json_schema"];
                let schema = said.get("schema").filter(|schema| schema.is_object()).ok_or_else(|| {
                    let path = "response_format.json_schema.schema";
                    EncodeError::invalid(path, format!("'{path}' must be an object"))
                })?;
                let name = said.get("name").and_then(Value::as_str).unwrap_or("answer");
                let description =
                    said.get("description").filter(|text| text.as_str().is_some_and(|t| !t.is_empty()));
                let strict = said.get("strict") == Some(&Value::Bool(true));
                Ok(Some(Schema { name, description, schema, strict }))
            }
            _ => {
                self.how.leave_out("response_format", self.dropped)?;
                Ok(None)
            }
        }
    }

    /// Says how the answer is to look: by what the model has for it, else by a tool that takes it. Where a tool has to be
    /// called anyhow, that call is the answer.
    fn answer_in(
        &mut self,
        schema: &Schema<'_>,
        tools: &mut Tools,
        list: &mut Vec<Value>,
        choice: &mut Choice,
        has_own: bool,
    ) {
        if self.family.takes_schemas() && schema.strict && is_closed(schema.schema) {
            let mut said = Map::new();
            said.insert("schema".to_owned(), json!(schema.schema.to_string()));
            said.insert("name".to_owned(), json!(schema.name));
            said.extend(schema.description.map(|text| ("description".to_owned(), text.clone())));
            let structure = json!({ "jsonSchema": said });
            tools.output = Some(json!({ "textFormat": { "type": "json_schema", "structure": structure } }));
            return;
        }
        let may_call = has_own && *choice != Choice::Never;
        if may_call && matches!(choice, Choice::Any | Choice::Named(_)) {
            return;
        }
        let name = self.names.own(schema.name);
        let description = schema.description.cloned().unwrap_or_else(|| json!(ANSWER));
        list.push(json!({ "toolSpec": {
            "name": name, "description": description, "inputSchema": { "json": schema.schema },
        } }));
        *choice = if may_call { Choice::Any } else { Choice::Named(name.clone()) };
        tools.answer = Some(name);
    }
}

/// What the model is told of the tool that takes its answer, where the client says nothing of the schema.
const ANSWER: &str = "Takes the final answer.";

/// A tool of which only its name is known.
fn stand_in(name: &str) -> Value {
    json!({ "toolSpec": { "name": name, "inputSchema": { "json": { "type": "object", "properties": {} } } } })
}

/// Whether a schema is one that models themselves are held to: objects that name all they have, and nothing that stands
/// elsewhere, since that may be what it stands in.
fn is_closed(schema: &Value) -> bool {
    match schema {
        Value::Object(said) => {
            let properties = said.get("properties").and_then(Value::as_object);
            let required = said.get("required").and_then(Value::as_array);
            let is_required = |name: &String| required.is_some_and(|names| names.iter().any(|n| n == name));
            let is_object = properties.is_some() || said.get("type").is_some_and(|kind| kind == "object");
            let closed = said.get("additionalProperties") == Some(&Value::Bool(false))
                && properties.is_none_or(|properties| properties.keys().all(is_required));
            !said.contains_key("$ref") && (!is_object || closed) && said.values().all(is_closed)
        }
        Value::Array(schemas) => schemas.iter().all(is_closed),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_closed_if_every_object_in_it_names_all_it_has() {
        let closed = |properties: Value, required: Value| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
        let inner = closed(json!({ "b": { "type": "string" } }), json!(["b"]));
        assert!(is_closed(&closed(json!({ "a": inner }), json!(["a"]))));
        assert!(!is_closed(&closed(json!({ "a": inner }), json!([]))), "one that may be missing");
        assert!(
            !is_closed(&closed(json!({ "a": { "type": "object" } }), json!(["a"]))),
            "an open one inside"
        );
        assert!(!is_closed(&closed(json!({ "a": { "$ref": "#" } }), json!(["a"]))), "itself");
        assert!(!is_closed(&json!({ "properties": {} })));
    }
}
