//! The growing texts of one choice of an answer, in whatever fields of its deltas they stand: each is worked on by itself,
//! since what is looked for may be split over its pieces.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sluice_guardrails::Form;

use crate::wire::anthropic;
use crate::wire::chat::{Delta, NATIVE};

/// One step of the way to a text within a delta.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into the member of an object.
    Key(String),
    /// Into the item of a list whose `index` says this; in a stream that is how items are told apart.
    Index(u64),
    /// Into the item at this place of a list.
    At(usize),
}

/// What is done to a text that comes in pieces.
pub(super) trait Work {
    /// What works on one text.
    type Piecewise;
    /// Why a text may not go on.
    type Refusal;

    /// For a text that begins at `path`; none if it stays as it is.
    fn begin(&self, path: &[Step], form: Form) -> Option<Self::Piecewise>;
    /// Takes the next piece and gives what is certain by now.
    fn push(
        &mut self,
        path: &[Step],
        text: &mut Self::Piecewise,
        piece: &str,
    ) -> Result<String, Self::Refusal>;
    /// Gives what still waited, at the text's end.
    fn finish(&mut self, path: &[Step], text: Self::Piecewise) -> Result<String, Self::Refusal>;
}

/// The growing texts of one choice.
pub(super) struct Growing<P>(BTreeMap<Vec<Step>, Option<P>>);

impl<P> Default for Growing<P> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<P> Growing<P> {
    /// The delta as it goes on. An end about which more text decides waits for the next delta, or, if this is the `last`,
    /// is in it.
    pub(super) fn push<W>(&mut self, work: &mut W, delta: &mut Delta, last: bool) -> Result<(), W::Refusal>
    where
        W: Work<Piecewise = P>,
    {
        // A delta can always be written as JSON and read again.
        let Ok(mut tree) = serde_json::to_value(&*delta) else { return Ok(()) };
        self.walk(work, &mut tree, &mut Vec::new())?;
        if last {
            self.flush(work, &mut tree)?;
        } else {
            for block in anthropic::ended(&tree) {
                // Its client is told that nothing more of it comes.
                self.flush_block(work, &mut tree, block)?;
            }
        }
        if let Ok(done) = serde_json::from_value(tree) {
            *delta = done;
        }
        Ok(())
    }

    /// What still waits.
    pub(super) fn finish<W>(mut self, work: &mut W) -> Result<Delta, W::Refusal>
    where
        W: Work<Piecewise = P>,
    {
        let mut tree = json!({});
        self.flush(work, &mut tree)?;
        Ok(serde_json::from_value(tree).unwrap_or_default())
    }

    fn walk<W>(&mut self, work: &mut W, value: &mut Value, path: &mut Vec<Step>) -> Result<(), W::Refusal>
    where
        W: Work<Piecewise = P>,
    {
        match value {
            Value::String(text) => self.text(work, text, path),
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    path.push(item["index"].as_u64().map_or(Step::At(at), Step::Index));
                    self.walk(work, item, path)?;
                    path.pop();
                }
                Ok(())
            }
            Value::Object(object) => {
                for (key, member) in object {
                    path.push(Step::Key(key.clone()));
                    self.walk(work, member, path)?;
                    path.pop();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn text<W>(&mut self, work: &mut W, text: &mut String, path: &[Step]) -> Result<(), W::Refusal>
    where
        W: Work<Piecewise = P>,
    {
        // From its first character: what comes before decides, too.
        let growing = self.0.entry(path.to_vec()).or_insert_with(|| work.begin(path, form(path)));
        if let Some(growing) = growing {
            *text = work.push(path, growing, text)?;
        }
        Ok(())
    }

    fn flush_block<W>(&mut self, work: &mut W, tree: &mut Value, block: u64) -> Result<(), W::Refusal>
    where
        W: Work<Piecewise = P>,
    {
        let key = |name: &str| Step::Key(name.to_owned());
        let way = [key(NATIVE), key(anthropic::BLOCKS), Step::Index(block)];
        let (of_block, others) =
            std::mem::take(&mut self.0).into_iter().partition(|(path, _)| path.starts_with(&way));
        let mut of_block = Self(of_block);
        self.0 = others;
        of_block.flush(work, tree)
    }

    fn flush<W>(&mut self, work: &mut W, tree: &mut Value) -> Result<(), W::Refusal>
    where
        W: Work<Piecewise = P>,
    {
        for (path, growing) in std::mem::take(&mut self.0) {
            let Some(growing) = growing else { continue };
            let text = work.finish(&path, growing)?;
            if !text.is_empty() {
                append(tree, &path, &text);
            }
        }
        Ok(())
    }
}

/// A call's arguments are a JSON text, whichever call they belong to; what else belongs to one is plain.
fn form(path: &[Step]) -> Form {
    let is = |step: &Step, names: &[&str]| matches!(step, Step::Key(key) if names.contains(&key.as_str()));
    let calls = ["tool_calls", "function_call", "arguments"];
    // What the provider's own tools are given, in its items and events.
    let hosted = ["action", "operation", "commands", "command", "env", "code", "diff"];
    let is_native = path.first().is_some_and(|first| is(first, &[NATIVE]));
    match path.last() {
        Some(last) if is(last, &["arguments", "partial_json"]) => Form::Json,
        // A custom tool's, in an event of the provider's.
        Some(last) if is_native && is(last, &["input"]) => Form::Tool,
        _ if is_native && path.iter().any(|step| is(step, &hosted)) => Form::Tool,
        _ if path.iter().any(|step| is(step, &calls)) => Form::Tool,
        _ => Form::Text,
    }
}

/// Whether a text is a word of the protocol in what a provider tells a client of its own format, such as the kind or the id of an
/// item.
pub(super) fn is_native_word(path: &[Step]) -> bool {
    let is = |step: Option<&Step>, names: &[&str]| matches!(step, Some(Step::Key(key)) if names.contains(&key.as_str()));
    let words = ["type", "id", "item_id", "call_id", "object", "status", "role", "encrypted_content", "data"];
    is(path.first(), &[NATIVE]) && is(path.get(1), &[anthropic::BLOCKS]) && is(path.last(), &words)
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
    fn what_a_provider_s_own_tools_are_given_is_a_tool_s() {
        use crate::wire::responses::grows;

        let native = |rest: &[Step]| {
            let block = [key(NATIVE), key(anthropic::BLOCKS), Step::Index(0)];
            form(&[&block, rest].concat())
        };
        for way in [
            vec![key("item"), key("action"), key("query")],
            vec![key("item"), key("action"), key("commands"), Step::At(0)],
            vec![key("item"), key("action"), key("env"), key("HOME")],
            vec![key("item"), key("operation"), key("diff")],
            vec![key("item"), key("code")],
            vec![key("command")],
            vec![key("diff")],
            vec![key("response"), key("output"), Step::At(0), key("action"), key("query")],
        ] {
            assert!(matches!(native(&way), Form::Tool));
            assert!(matches!(form(&way), Form::Text), "other fields of this name say something else");
        }
        for kind in ["shell_call_command", "apply_patch_call_operation_diff", "code_interpreter_call_code"] {
            let field = grows(&format!("response.{kind}.delta")).unwrap();
            assert!(matches!(native(&[key(field)]), Form::Tool), "{kind}");
        }
        assert!(matches!(native(&[key(grows("response.output_text.delta").unwrap())]), Form::Text));
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
