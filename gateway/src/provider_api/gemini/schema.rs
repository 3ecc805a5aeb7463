//! JSON Schemas as Gemini reads them.
//!
//! `parametersJsonSchema` and `responseJsonSchema` take JSON Schema itself, of which Google documents the keywords that have an effect
//! (<https://ai.google.dev/api/generate-content#generationconfig>). What has an effect elsewhere under another keyword is said by
//! one of these; references are resolved, since beside one no other keyword may stand, and only those that lead into themselves stay.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// So many parts a schema may have with its references resolved; beyond that they stay references.
const MOST_PARTS: usize = 4096;
/// Deeper ones are left as they are: no schema that people write is.
const DEEPEST: usize = 128;

/// The schema as it is sent.
pub(super) fn schema(schema: &Value) -> Value {
    let mut reader = Reader { root: schema, open: Vec::new(), kept: BTreeSet::new(), parts: 0 };
    let mut out = reader.part(schema, 0);
    let mut done = BTreeSet::new();
    let mut definitions = Map::new();
    // A definition that stays may name others.
    while let Some(name) = reader.kept.iter().find(|name| !done.contains(*name)).cloned() {
        if let Some(definition) = definition(schema, &name) {
            reader.open.push(name.clone());
            definitions.insert(name.clone(), reader.part(definition, 0));
            reader.open.pop();
        }
        done.insert(name);
    }
    if let (Value::Object(out), false) = (&mut out, definitions.is_empty()) {
        out.insert("$defs".to_owned(), Value::Object(definitions));
    }
    out
}

struct Reader<'s> {
    root: &'s Value,
    /// The definitions within which this part stands.
    open: Vec<String>,
    /// Definitions to which references stay.
    kept: BTreeSet<String>,
    parts: usize,
}

/// The name of a definition that a reference names.
fn named(reference: &str) -> Option<String> {
    let name = reference.strip_prefix("#/$defs/").or_else(|| reference.strip_prefix("#/definitions/"))?;
    Some(name.replace("~1", "/").replace("~0", "~"))
}

fn definition<'s>(root: &'s Value, name: &str) -> Option<&'s Value> {
    ["$defs", "definitions"].into_iter().find_map(|list| root.get(list)?.get(name))
}

impl Reader<'_> {
    fn part(&mut self, part: &Value, depth: usize) -> Value {
        let Value::Object(object) = part else { return part.clone() };
        self.parts += 1;
        if depth > DEEPEST {
            return part.clone();
        }
        if let Some(reference) = object.get("$ref").and_then(Value::as_str)
            && let Some(name) = named(reference)
            && let Some(target) = definition(self.root, &name)
        {
            return self.reference(object, &name, target, depth);
        }
        let mut out = Map::new();
        for (key, value) in object {
            self.member(&mut out, key, value, depth);
        }
        if out.remove("nullable") == Some(Value::Bool(true))
            && let Some(Value::String(kind)) = out.get("type").cloned()
        {
            out.insert("type".to_owned(), json!([kind, "null"]));
        }
        Value::Object(out)
    }

    /// What a reference leads to, with what stands beside the reference.
    fn reference(&mut self, object: &Map<String, Value>, name: &str, target: &Value, depth: usize) -> Value {
        if self.open.iter().any(|open| open == name) || self.parts > MOST_PARTS {
            self.kept.insert(name.to_owned());
            return json!({ "$ref": format!("#/$defs/{}", name.replace('~', "~0").replace('/', "~1")) });
        }
        self.open.push(name.to_owned());
        let mut resolved = self.part(target, depth + 1);
        self.open.pop();
        if let Value::Object(resolved) = &mut resolved
            && !resolved.contains_key("$ref")
        {
            for (key, value) in object.iter().filter(|(key, _)| *key != "$ref") {
                self.member(resolved, key, value, depth);
            }
        }
        resolved
    }

    fn member(&mut self, out: &mut Map<String, Value>, key: &str, value: &Value, depth: usize) {
        match (key, value) {
            ("$schema" | "$defs" | "definitions", _) => {}
            // `enum` is for texts and numbers.
            ("const", Value::String(_) | Value::Number(_)) => {
                out.insert("enum".to_owned(), json!([value]));
            }
            ("const", Value::Bool(_)) => {
                out.entry("type").or_insert(json!("boolean"));
            }
            ("const", Value::Null) => {
                out.entry("type").or_insert(json!("null"));
            }
            ("allOf", Value::Array(all)) if all.len() == 1 => {
                if let Value::Object(only) = self.part(&all[0], depth + 1) {
                    for (key, value) in only {
                        out.entry(key).or_insert(value);
                    }
                }
            }
            // Names of properties are no keywords.
            ("properties" | "patternProperties", Value::Object(properties)) => {
                let parts = properties.iter().map(|(name, part)| (name.clone(), self.part(part, depth + 1)));
                let parts: Map<String, Value> = parts.collect();
                out.insert(key.to_owned(), Value::Object(parts));
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(parts)) => {
                let parts: Vec<Value> = parts.iter().map(|part| self.part(part, depth + 1)).collect();
                out.insert(key.to_owned(), Value::Array(parts));
            }
            ("items" | "additionalProperties" | "not", Value::Object(_)) => {
                let part = self.part(value, depth + 1);
                out.insert(key.to_owned(), part);
            }
            _ => {
                out.insert(key.to_owned(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_and_what_stands_beside_them_stays() {
        let given = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": {
                "from": { "$ref": "#/$defs/City", "description": "Where it begins" },
                "to": { "allOf": [{ "$ref": "#/$defs/City" }], "description": "Where it ends" },
                "kind": { "const": "train" }, "$schema": { "type": "string" },
                "seat": { "type": "string", "nullable": true },
            },
            "required": ["from"], "additionalProperties": false,
            "$defs": { "City": { "type": "string", "description": "A city" } },
        });
        let sent = json!({
            "type": "object",
            "properties": {
                "from": { "type": "string", "description": "Where it begins" },
                "to": { "type": "string", "description": "Where it ends" },
                "kind": { "enum": ["train"] }, "$schema": { "type": "string" },
                "seat": { "type": ["string", "null"] },
            },
            "required": ["from"], "additionalProperties": false,
        });
        assert_eq!(schema(&given), sent);
    }

    #[test]
    fn what_leads_into_itself_stays_a_reference() {
        let given = json!({
            "type": "object", "properties": { "tree": { "$ref": "#/definitions/Node" } },
            "definitions": {
                "Node": { "type": "object", "properties": {
                    "label": { "$ref": "#/definitions/Label" },
                    "children": { "type": "array", "items": { "$ref": "#/definitions/Node", "description": "x" } },
                } },
                "Label": { "type": "string" },
            },
        });
        let node = json!({ "type": "object", "properties": {
            "label": { "type": "string" },
            "children": { "type": "array", "items": { "$ref": "#/$defs/Node" } },
        } });
        let sent = json!({ "type": "object", "properties": { "tree": node }, "$defs": { "Node": node } });
        assert_eq!(schema(&given), sent);
    }

    #[test]
    fn references_that_double_at_each_step_end() {
        let mut definitions = Map::new();
        for n in 0..40 {
            let next = json!({ "$ref": format!("#/$defs/D{}", n + 1) });
            let part = json!({ "type": "object", "properties": { "a": next, "b": next } });
            definitions.insert(format!("D{n}"), part);
        }
        definitions.insert("D40".to_owned(), json!({ "type": "string" }));
        let given = json!({ "$ref": "#/$defs/D0", "$defs": definitions });
        let sent = schema(&given).to_string();
        assert!(sent.len() < 4_000_000 && sent.contains("\"$defs\""), "{}", sent.len());
    }
}
