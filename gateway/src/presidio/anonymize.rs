//! `POST /anonymize`: a text with other texts in place of what `/analyze` found.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Refusal;
use super::operators::Operators;
use crate::error::ApiError;
use crate::inspect::MOST_FINDINGS;

/// The answer; places are code points of the new text, and items stand from its end to its start, as Presidio's do.
#[derive(Serialize)]
struct Anonymized<'r> {
    text: String,
    items: Vec<Item<'r>>,
}

#[derive(Serialize)]
struct Item<'r> {
    start: usize,
    end: usize,
    entity_type: &'r str,
    text: String,
    operator: &'static str,
}

/// One of `analyzer_results`, in code points.
#[derive(Clone, Debug, PartialEq)]
struct Span<'r> {
    start: usize,
    end: usize,
    entity: &'r str,
    score: f64,
}

/// `limit`: how many bytes the answer's texts may have together.
pub(super) fn anonymize(fields: &Map<String, Value>, limit: u64) -> Result<String, Refusal> {
    let operators = Operators::read(fields.get("anonymizers"))?;
    let results = fields.get("analyzer_results").filter(|value| !value.is_null());
    let mut room = usize::try_from(limit).unwrap_or(usize::MAX);
    let written = match fields.get("text") {
        Some(Value::String(text)) if !text.is_empty() => {
            let results = results.ok_or_else(|| invalid("'analyzer_results' must be there"))?;
            serde_json::to_string(&one(text, results, &operators, &mut room)?)
        }
        Some(Value::Array(texts)) => {
            let lists = results.and_then(Value::as_array).filter(|lists| lists.len() == texts.len());
            let lists = lists.ok_or_else(|| invalid("'analyzer_results' must have a list for each text"))?;
            let mut all = Vec::with_capacity(texts.len());
            for (text, results) in texts.iter().zip(lists) {
                let text =
                    text.as_str().ok_or_else(|| invalid("'text' must be a string or an array of strings"))?;
                all.push(one(text, results, &operators, &mut room)?);
            }
            serde_json::to_string(&all)
        }
        _ => return Err(invalid("'text' must be a string that is not empty, or an array of strings")),
    };
    written.map_err(|_| ApiError::Internal.into())
}

fn one<'r>(
    text: &str,
    results: &'r Value,
    operators: &Operators<'_>,
    room: &mut usize,
) -> Result<Anonymized<'r>, Refusal> {
    // Where each code point starts, and the end.
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let spans = read(results, places.len() - 1)?;
    let spans = joined(resolved(spans), |from, to| {
        let gap = &text[places[from]..places[to]];
        !gap.is_empty() && gap.bytes().all(|byte| byte == b' ')
    });
    let (mut out, mut points, mut items) = (String::new(), 0, Vec::with_capacity(spans.len()));
    let mut from = 0;
    for (at, span) in spans.iter().enumerate() {
        out.push_str(&text[places[from]..places[span.start]]);
        points += span.start - from;
        let operator = operators.of(span.entity);
        let new = operator.operate(span.entity, &text[places[span.start]..places[span.end]])?;
        // It stands in the text and among the items.
        let left = room.checked_sub(2 * new.len());
        *room =
            left.ok_or_else(|| Refusal::unprocessable("the answer would be larger than limits.max_answer"))?;
        out.push_str(&new);
        let start = points;
        points += new.chars().count();
        items.push(Item {
            start,
            end: points,
            entity_type: span.entity,
            text: new,
            operator: operator.name(),
        });
        // Of two that overlap, the first is replaced up to the second.
        from = spans.get(at + 1).map_or(span.end, |next| span.end.min(next.start));
    }
    out.push_str(&text[places[from]..]);
    items.reverse();
    Ok(Anonymized { text: out, items })
}

fn read(results: &Value, length: usize) -> Result<Vec<Span<'_>>, Refusal> {
    let results = results.as_array().ok_or_else(|| invalid("'analyzer_results' must be an array"))?;
    if results.len() > MOST_FINDINGS {
        return Err(Refusal::unprocessable(format!("more than {MOST_FINDINGS} results: send smaller parts")));
    }
    let one = |(at, result): (usize, &'_ Value)| -> Result<(usize, usize, f64), Refusal> {
        let place = |name: &str| {
            let place =
                result.get(name).and_then(Value::as_u64).and_then(|place| usize::try_from(place).ok());
            place.ok_or_else(|| {
                invalid(&format!("analyzer_results[{at}].{name} must be a whole number from 0 on"))
            })
        };
        let (start, end) = (place("start")?, place("end")?);
        if start > end || end > length {
            return Err(invalid(&format!(
                "analyzer_results[{at}] goes from {start} to {end} in a text of {length} code points"
            )));
        }
        let score = result.get("score").and_then(Value::as_f64);
        let score =
            score.ok_or_else(|| invalid(&format!("analyzer_results[{at}].score must be a number")))?;
        Ok((start, end, score))
    };
    let mut spans = Vec::with_capacity(results.len());
    for (at, result) in results.iter().enumerate() {
        let (start, end, score) = one((at, result))?;
        let entity = result.get("entity_type").and_then(Value::as_str);
        let entity =
            entity.ok_or_else(|| invalid(&format!("analyzer_results[{at}].entity_type must be a string")))?;
        spans.push(Span { start, end, entity, score });
    }
    Ok(spans)
}

/// As Presidio does: what overlaps within an entity becomes its union, and what lies within another one is left out; of two
/// that are equal the likelier stays. Others may overlap.
fn resolved(mut spans: Vec<Span<'_>>) -> Vec<Span<'_>> {
    let order = |a: &Span<'_>, b: &Span<'_>| {
        let (first, last) = (a.start.cmp(&b.start), b.end.cmp(&a.end));
        first.then(last).then(b.score.total_cmp(&a.score))
    };
    spans.sort_by(order);
    let (mut unions, mut latest): (Vec<Span<'_>>, HashMap<&str, usize>) = (Vec::new(), HashMap::new());
    for span in spans {
        match latest.get(span.entity).map(|&at| &mut unions[at]) {
            Some(union) if span.start < union.end => {
                union.end = union.end.max(span.end);
                union.score = union.score.max(span.score);
            }
            _ => {
                latest.insert(span.entity, unions.len());
                unions.push(span);
            }
        }
    }
    unions.sort_by(order);
    let mut covered: Option<usize> = None;
    unions.retain(|span| {
        let within = covered.is_some_and(|end| span.end <= end);
        covered = covered.max(Some(span.end));
        !within
    });
    unions
}

/// Values of one entity with nothing but blanks between them are one value, as a name in two words is.
fn joined<'r>(spans: Vec<Span<'r>>, blank: impl Fn(usize, usize) -> bool) -> Vec<Span<'r>> {
    let mut out: Vec<Span<'r>> = Vec::with_capacity(spans.len());
    for span in spans {
        match out.last_mut() {
            Some(last)
                if last.entity == span.entity && last.end < span.start && blank(last.end, span.start) =>
            {
                last.end = span.end;
            }
            _ => out.push(span),
        }
    }
    out
}

fn invalid(message: &str) -> Refusal {
    Refusal::unprocessable(format!("Invalid input: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn done(body: &Value) -> Result<Value, String> {
        let Value::Object(fields) = body else { panic!("an object") };
        anonymize(fields, 1000)
            .map(|text| serde_json::from_str(&text).unwrap())
            .map_err(|Refusal(_, message)| message)
    }

    fn result(entity: &str, start: usize, end: usize) -> Value {
        json!({ "entity_type": entity, "start": start, "end": end, "score": 0.8 })
    }

    #[test]
    fn nothing_of_what_overlaps_is_left_over() {
        let text = |results: Value| {
            done(&json!({ "text": "é0123456789 x", "analyzer_results": results })).unwrap()["text"].take()
        };
        let a = |start, end| result("A", start, end);
        assert_eq!(text(json!([a(1, 6), a(4, 9)])), "é<A>89 x", "the union");
        assert_eq!(text(json!([a(1, 9), result("B", 4, 8)])), "é<A>89 x", "one within the other");
        assert_eq!(text(json!([result("B", 4, 9), a(1, 6)])), "é<A><B>89 x", "two that overlap");
        assert_eq!(text(json!([a(1, 11), a(12, 13)])), "é<A>", "a blank between two of an entity");
        assert_eq!(text(json!([a(1, 11), result("B", 12, 13)])), "é<A> <B>");
        assert_eq!(text(json!([])), "é0123456789 x");
    }

    #[test]
    fn of_two_results_for_one_place_the_likelier_counts() {
        let mut results = json!([result("A", 0, 3), result("B", 0, 3)]);
        results[1]["score"] = json!(0.9);
        assert_eq!(done(&json!({ "text": "abc", "analyzer_results": results })).unwrap()["text"], "<B>");
    }

    #[test]
    fn several_texts_are_answered_by_several() {
        let told =
            done(&json!({ "text": ["ab", "c"], "analyzer_results": [[result("A", 0, 1)], []] })).unwrap();
        assert_eq!((&told[0]["text"], &told[1]["text"]), (&json!("<A>b"), &json!("c")));
    }

    #[test]
    fn a_result_that_can_not_be_is_named_by_its_number() {
        for (results, words) in [
            (json!([result("A", 0, 1), result("A", 0, 4)]), "analyzer_results[1] goes from 0 to 4"),
            (json!([result("A", 2, 1)]), "analyzer_results[0] goes from 2 to 1"),
            (json!([{ "start": -1, "end": 1, "score": 1, "entity_type": "A" }]), "analyzer_results[0].start"),
            (json!([{ "start": 0, "end": 1, "entity_type": "A" }]), "analyzer_results[0].score"),
            (json!([{ "start": 0, "end": 1, "score": 1 }]), "analyzer_results[0].entity_type"),
            (json!({}), "'analyzer_results' must be an array"),
            (Value::Null, "'analyzer_results' must be there"),
        ] {
            let told = done(&json!({ "text": "abc", "analyzer_results": results })).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn an_answer_many_times_the_size_of_its_text_is_refused() {
        let results: Vec<_> =
            (0..10).map(|at| result(if at % 2 == 0 { "A" } else { "B" }, at, at + 1)).collect();
        let anonymizers = json!({ "DEFAULT": { "type": "replace", "new_value": "x".repeat(100) } });
        let body = json!({ "text": "0123456789", "analyzer_results": results, "anonymizers": anonymizers });
        assert!(done(&body).unwrap_err().contains("limits.max_answer"));
    }
}
