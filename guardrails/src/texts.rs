//! The texts of a JSON value, for somebody else to read or to write anew: the same ones in which redaction looks.

use crate::json::{DEEPEST, is_document, number_len, string_len};
use crate::media::is_media;
use crate::text_file::TextFile;
use crate::trail::Step;
use serde_json::Value;

/// Gives every text of a JSON value to `each`, with the way to it; what `each` gives back takes its place. Tells whether
/// anything did.
///
/// A string that is itself a JSON object or array (a tool call's arguments) is read inside, its layout kept. Left alone are
/// keys, empty texts, `data:` URLs with images, audio or video in base64, and what `skip` says, which is asked as by
/// [`crate::Vault::redact_json`].
pub fn each_text(
    value: &mut Value,
    skip: &dyn Fn(&[&str], &str) -> bool,
    each: &mut dyn FnMut(&[Step], &str) -> Option<String>,
) -> bool {
    Walk { path: Vec::new(), skip, each }.value(value, &[])
}

/// Gives the same texts to `each`, only to read.
pub fn read_texts(value: &Value, skip: &dyn Fn(&[&str], &str) -> bool, each: &mut dyn FnMut(&[Step], &str)) {
    let mut each = |path: &[Step], text: &str| {
        each(path, text);
        None
    };
    Walk { path: Vec::new(), skip, each: &mut each }.read(value, &[]);
}

struct Walk<'w> {
    path: Vec<Step>,
    skip: &'w dyn Fn(&[&str], &str) -> bool,
    each: &'w mut dyn FnMut(&[Step], &str) -> Option<String>,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, keys: &[&str]) -> bool {
        match value {
            Value::String(text) => {
                if is_media(text) || (self.skip)(keys, text) {
                    return false;
                }
                let new = self.text(text, 0);
                new.map(|new| *text = new).is_some()
            }
            Value::Array(items) => items.iter_mut().enumerate().fold(false, |changed, (number, item)| {
                changed | self.within(Step::Item(number), |walk| walk.value(item, keys))
            }),
            Value::Object(map) => map.iter_mut().fold(false, |changed, (key, item)| {
                let keys: Vec<&str> = keys.iter().copied().chain([key.as_str()]).collect();
                changed | self.within(Step::Key(key.clone()), |walk| walk.value(item, &keys))
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    fn read(&mut self, value: &Value, keys: &[&str]) {
        match value {
            Value::String(text) => {
                if !is_media(text) && !(self.skip)(keys, text) {
                    self.text(text, 0);
                }
            }
            Value::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.within(Step::Item(number), |walk| walk.read(item, keys));
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    let keys: Vec<&str> = keys.iter().copied().chain([key.as_str()]).collect();
                    self.within(Step::Key(key.clone()), |walk| walk.read(item, &keys));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn within<T>(&mut self, step: Step, visit: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let seen = visit(self);
        self.path.pop();
        seen
    }

    fn text(&mut self, text: &str, depth: usize) -> Option<String> {
        if text.trim().is_empty() {
            None
        } else if depth < DEEPEST
            && let Some(file) = TextFile::read(text)
        {
            let new = self.within(Step::Document, |walk| walk.text(&file.text, depth + 1));
            new.map(|text| file.with(&text))
        } else if is_document(text, depth) {
            self.within(Step::Document, |walk| walk.document(text, depth))
        } else {
            (self.each)(&self.path, text).filter(|new| new != text)
        }
    }

    /// The strings of a document that are no keys; all other bytes are kept.
    fn document(&mut self, text: &str, depth: usize) -> Option<String> {
        let (mut out, mut copied, mut at, mut number) = (String::new(), 0, 0, 0);
        while let Some(&byte) = text.as_bytes().get(at) {
            let start = at;
            at += match byte {
                b'"' => string_len(&text[at..]),
                b'-' | b'0'..=b'9' => number_len(&text[at..]),
                _ => {
                    at += 1;
                    continue;
                }
            };
            let step = Step::Item(number);
            number += 1;
            if byte != b'"' || text[at..].trim_start().starts_with(':') {
                continue;
            }
            let token = &text[start..at];
            let inner = serde_json::from_str(token).unwrap_or_else(|_| token[1..token.len() - 1].to_owned());
            if is_media(&inner) {
                continue;
            }
            if let Some(new) = self.within(step, |walk| walk.text(&inner, depth + 1)) {
                out.push_str(&text[copied..start]);
                out.push_str(&Value::String(new).to_string());
                copied = at;
            }
        }
        (copied > 0).then(|| out + &text[copied..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The texts that are given, with their ways.
    fn given(value: &Value) -> Vec<(Vec<Step>, String)> {
        let mut seen = Vec::new();
        let skip = |keys: &[&str], _: &str| keys == ["role"];
        each_text(&mut value.clone(), &skip, &mut |path, text| {
            seen.push((path.to_vec(), text.to_owned()));
            None
        });
        let mut read = Vec::new();
        read_texts(value, &skip, &mut |path, text| read.push((path.to_vec(), text.to_owned())));
        assert_eq!(read, seen);
        seen
    }

    #[test]
    fn every_text_is_given_once_with_its_way_and_none_that_is_skipped_or_is_no_text() {
        let value = json!({
            "role": "user", "n": 12, "blank": " ",
            "content": [{ "text": "one" }, "two"],
            "picture": "data:image/png;base64,QUJD",
            "arguments": r#"{"to": "three \"x\"", "n": 4, "in": "{\"a\":\"four\"}"}"#,
        });
        let key = |name: &str| Step::Key(name.to_owned());
        let seen = given(&value);
        let texts: Vec<&str> = seen.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "three \"x\"", "four"]);
        assert_eq!(seen[0].0, [key("content"), Step::Item(0), key("text")]);
        assert_eq!(seen[2].0, [key("arguments"), Step::Document, Step::Item(1)]);
    }

    #[test]
    fn a_text_that_is_given_back_takes_the_place_of_the_old_one_and_all_else_keeps_its_bytes() {
        let arguments = r#"{ "to" : "three \"x\"",  "n": 4.50, "same": "\u00e9" }"#;
        let mut value = json!({ "content": "one", "arguments": arguments });
        let upper = |_: &[Step], text: &str| text.contains('e').then(|| format!("<{text}>"));
        assert!(each_text(&mut value, &|_, _| false, &mut { upper }));
        let arguments = r#"{ "to" : "<three \"x\">",  "n": 4.50, "same": "\u00e9" }"#;
        assert_eq!(value, json!({ "content": "<one>", "arguments": arguments }));
        assert!(!each_text(&mut value, &|_, _| false, &mut |_, text| Some(text.to_owned())));
    }
}
