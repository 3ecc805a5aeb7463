//! Puts a caller's values back into one choice, in whatever field of its deltas they stand.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sluice_guardrails::{Form, Rehydrator, Vault};

use crate::wire::chat::Delta;

/// One step of the way to a text within a delta.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Into the member of an object.
    Key(String),
    /// Into the item of a list whose `index` says this; in a stream that is how items are told apart.
    Index(u64),
    /// Into the item at this place of a list.
    At(usize),
}

/// The growing texts of one choice. Each is restored by itself, since a placeholder may be split over its pieces.
#[derive(Default)]
pub(super) struct Restorer {
    growing: BTreeMap<Vec<Step>, Rehydrator>,
}

impl Restorer {
    /// The delta with the originals. An end that may be the beginning of a placeholder waits for the next delta, or,
    /// if this is the `last`, is in it.
    pub(super) fn push(&mut self, vault: &Vault, delta: &mut Delta, last: bool) {
        let restored = serde_json::to_value(&*delta).and_then(|mut tree| {
            self.walk(vault, &mut tree, &mut Vec::new());
            if last {
                self.flush(&mut tree);
            }
            serde_json::from_value(tree)
        });
        // A delta can always be written as JSON and read again.
        if let Ok(restored) = restored {
            *delta = restored;
        }
    }

    /// What still waits.
    pub(super) fn finish(mut self) -> Delta {
        let mut tree = json!({});
        self.flush(&mut tree);
        serde_json::from_value(tree).unwrap_or_default()
    }

    fn walk(&mut self, vault: &Vault, value: &mut Value, path: &mut Vec<Step>) {
        match value {
            Value::String(text) => self.text(vault, text, path),
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    path.push(item["index"].as_u64().map_or(Step::At(at), Step::Index));
                    self.walk(vault, item, path);
                    path.pop();
                }
            }
            Value::Object(object) => {
                for (key, member) in object {
                    path.push(Step::Key(key.clone()));
                    self.walk(vault, member, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, vault: &Vault, text: &mut String, path: &[Step]) {
        // From its first character: what comes before a placeholder tells whether it stands in an address.
        let rehydrator = self.growing.entry(path.to_vec()).or_insert_with(|| vault.rehydrator(form(path)));
        *text = rehydrator.push(text);
    }

    fn flush(&mut self, tree: &mut Value) {
        for (path, mut rehydrator) in std::mem::take(&mut self.growing) {
            let text = rehydrator.finish();
            if !text.is_empty() {
                append(tree, &path, &text);
            }
        }
    }
}

/// A call's arguments are a JSON text, whichever call they belong to; what else belongs to one is plain.
fn form(path: &[Step]) -> Form {
    let is = |step: &Step, names: &[&str]| matches!(step, Step::Key(key) if names.contains(&key.as_str()));
    let calls = ["tool_calls", "function_call", "arguments"];
    match path.last() {
        Some(last) if is(last, &["arguments"]) => Form::Json,
        _ if path.iter().any(|step| is(step, &calls)) => Form::Tool,
        _ => Form::Text,
    }
}

/// Adds `text` to the one at the end of the path, making the way there where there is none.
fn append(value: &mut Value, path: &[Step], text: &str) {
    let Some((step, rest)) = path.split_first() else {
        let there = value.as_str().unwrap_or_default();
        *value = Value::String(there.to_owned() + text);
        return;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(object)) => {
            append(object.entry(key.as_str()).or_insert(Value::Null), rest, text);
        }
        (Step::Index(index), Value::Array(items)) => {
            let at = items.iter().position(|item| item["index"] == *index).unwrap_or_else(|| {
                items.push(json!({ "index": index }));
                items.len() - 1
            });
            append(&mut items[at], rest, text);
        }
        (Step::At(at), Value::Array(items)) => {
            let at = (*at).min(items.len());
            if at == items.len() {
                items.push(Value::Null);
            }
            append(&mut items[at], rest, text);
        }
        (Step::Key(_), value) => {
            *value = Value::Object(Map::new());
            append(value, path, text);
        }
        (_, value) => {
            *value = Value::Array(Vec::new());
            append(value, path, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> Step {
        Step::Key(key.to_owned())
    }

    #[test]
    fn originals_are_escaped_in_arguments_and_nowhere_else() {
        let call = [key("tool_calls"), Step::Index(0), key("function"), key("arguments")];
        assert!(matches!(form(&call), Form::Json));
        assert!(matches!(form(&[key("function_call"), key("arguments")]), Form::Json));
        let custom = [key("tool_calls"), Step::Index(0), key("custom"), key("input")];
        assert!(matches!(form(&custom), Form::Tool));
        // Inside an object the strings are escaped when it is written.
        assert!(matches!(form(&[key("arguments"), key("to")]), Form::Tool));
        assert!(matches!(form(&[key("content")]), Form::Text));
    }

    #[test]
    fn a_way_that_is_not_there_is_made() {
        let mut tree = json!({ "list": "in the way" });
        append(&mut tree, &[key("list"), Step::Index(4), key("text")], "a");
        append(&mut tree, &[key("list"), Step::Index(4), key("text")], "b");
        append(&mut tree, &[key("other"), Step::At(2)], "c");
        assert_eq!(tree, json!({ "list": [{ "index": 4, "text": "ab" }], "other": ["c"] }));
    }
}
