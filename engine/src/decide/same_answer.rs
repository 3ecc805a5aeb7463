//! Do two answers say the same? Cheap tests first; what they leave open is for the answers' vectors, and what these leave open
//! for whoever calls: to ask a judge, or to learn nothing.

use serde_json::Value;

use crate::features::{Differences, Profile};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They say the same.
    Same,
    /// They don't.
    Different,
    /// It can't be told: no label.
    Unsure,
}

impl Verdict {
    /// As a label: whether the remembered answer was right.
    pub fn right(self) -> Option<bool> {
        match self {
            Self::Same => Some(true),
            Self::Different => Some(false),
            Self::Unsure => None,
        }
    }
}

/// From this cosine similarity on two answers that don't contradict each other say the same.
const ALIKE: f32 = 0.95;
/// Below this one they don't.
const UNLIKE: f32 = 0.75;
/// Relative difference up to which two numbers are equal.
const ROUNDING: f64 = 1e-9;

/// Compares two answers: as JSON, as numbers, as normalised text; if that leaves it open, by the cosine similarity of their
/// vectors, which `similarity` computes, and by what contradicts in them.
pub fn compare(remembered: &str, fresh: &str, similarity: &mut dyn FnMut() -> Option<f32>) -> Verdict {
    if remembered == fresh || normal(remembered) == normal(fresh) {
        return Verdict::Same;
    }
    if let (Some(a), Some(b)) = (number(remembered), number(fresh)) {
        return verdict(equal_numbers(a, b));
    }
    if let (Some(a), Some(b)) = (json(remembered), json(fresh)) {
        return verdict(equal_json(&a, &b));
    }
    let differences = Differences::between(&Profile::of(fresh), &Profile::of(remembered));
    match similarity() {
        Some(s) if s < UNLIKE => Verdict::Different,
        Some(s) if differences.contradicts() => {
            // Long answers differ in some number or name easily; near ones that do are told apart by it.
            if s >= ALIKE { Verdict::Different } else { Verdict::Unsure }
        }
        Some(s) if s >= ALIKE => Verdict::Same,
        Some(_) | None => Verdict::Unsure,
    }
}

fn verdict(same: bool) -> Verdict {
    if same { Verdict::Same } else { Verdict::Different }
}

/// Words in lower case, one blank between them, no punctuation at the end.
fn normal(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").trim_end_matches(['.', '!', ' ']).to_owned()
}

/// A text that is nothing but a number.
fn number(text: &str) -> Option<f64> {
    let plain: String = text.trim().trim_end_matches('.').chars().filter(|c| *c != ',').collect();
    plain.parse().ok().filter(|x: &f64| x.is_finite())
}

fn equal_numbers(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING * a.abs().max(b.abs())
}

/// An object or an array; in a fence of Markdown too.
fn json(text: &str) -> Option<Value> {
    let text = text.trim();
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    let text = inner.and_then(|t| t.strip_suffix("```")).unwrap_or(text);
    serde_json::from_str(text).ok().filter(|v: &Value| v.is_object() || v.is_array())
}

fn equal_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || x.as_f64().zip(y.as_f64()).is_some_and(|(x, y)| equal_numbers(x, y))
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal_json(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| equal_json(x, y)))
        }
        (Value::String(x), Value::String(y)) => normal(x) == normal(y),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(a: &str, b: &str) -> Verdict {
        compare(a, b, &mut || None)
    }

    #[test]
    fn equal_text_numbers_and_json_are_the_same_answer() {
        for (a, b) in [
            ("Yes.", " yes"),
            ("1,000", "1000.0"),
            (r#"{"a": 1, "b": [2.0]}"#, "```json\n{\"b\":[2],\"a\":1.0}\n```"),
        ] {
            assert_eq!(plain(a, b), Verdict::Same, "{a} {b}");
        }
    }

    #[test]
    fn other_numbers_and_other_json_are_other_answers() {
        for (a, b) in [("15", "1.5"), ("-5", "5"), (r#"{"a":1}"#, r#"{"a":2}"#), ("[1,2]", "[1]")] {
            assert_eq!(plain(a, b), Verdict::Different, "{a} {b}");
        }
    }

    #[test]
    fn similar_answers_are_the_same_unless_they_contradict_each_other() {
        let (a, b) = ("The fee is 5 euros per month.", "You pay a monthly fee of 5 euros.");
        assert_eq!(compare(a, b, &mut || Some(0.97)), Verdict::Same);
        assert_eq!(compare(a, "The fee is 15 euros per month.", &mut || Some(0.98)), Verdict::Different);
        assert_eq!(compare(a, b, &mut || Some(0.5)), Verdict::Different);
        assert_eq!(compare(a, b, &mut || Some(0.85)), Verdict::Unsure);
        assert_eq!(plain(a, b), Verdict::Unsure);
    }
}
