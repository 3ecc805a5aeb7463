//! The fixtures' promises: every true case is found where it stands, every look-alike is left alone.

#![forbid(unsafe_code)]

use serde::Deserialize;
use sluice_guardrails::injection::Segment;
use sluice_guardrails::{Guard, Policy};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PiiCase {
    text: String,
    spans: Vec<Span>,
    note: String,
}

/// In code points, end exclusive.
#[derive(Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretCase {
    parts: Vec<String>,
    secret: Option<(usize, usize)>,
    rule: Option<String>,
    note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InjectionCase {
    text: String,
    expected: bool,
    note: String,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// Every line of a file, with its place for messages.
fn lines<T: for<'de> Deserialize<'de>>(path: &Path) -> Vec<(String, T)> {
    let text = std::fs::read_to_string(path).expect("the fixture is readable");
    let place = |number: usize| format!("{}:{}", path.display(), number + 1);
    let parse = |(number, line)| (place(number), serde_json::from_str(line).expect("the line is a case"));
    text.lines().enumerate().map(parse).collect()
}

fn guard() -> Guard {
    Guard::new(&Policy::default())
}

#[test]
fn personal_data_is_found_exactly_where_it_stands_and_look_alikes_are_left_alone() {
    let guard = guard();
    let mut wrong = Vec::new();
    for file in std::fs::read_dir(folder("pii")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let entity = file.file_stem().unwrap().to_str().unwrap().to_uppercase();
        for (place, case) in lines::<PiiCase>(&file) {
            let code_points = |bytes: usize| case.text[..bytes].chars().count();
            let found: Vec<Span> = guard
                .inspect(&case.text)
                .into_iter()
                .filter(|finding| finding.entity == entity)
                .map(|f| Span { start: code_points(f.span.start), end: code_points(f.span.end) })
                .collect();
            if found != case.spans {
                wrong.push(format!("{place} ({}): expected {:?}, found {found:?}", case.note, case.spans));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn secrets_are_found_exactly_where_they_stand_and_stand_ins_are_left_alone() {
    let guard = guard();
    let mut wrong = Vec::new();
    for file in std::fs::read_dir(folder("secrets")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for (place, case) in lines::<SecretCase>(&file) {
            let before = |part: usize| case.parts[..part].concat().len();
            let expected = case.secret.map(|(from, to)| before(from)..before(to));
            let found: Vec<_> =
                guard.inspect(&case.parts.concat()).into_iter().filter(|f| f.entity == "SECRET").collect();
            let same = match (&expected, found.as_slice()) {
                (None, []) => true,
                (Some(span), [one]) => one.span == *span && Some(one.rule) == case.rule.as_deref(),
                _ => false,
            };
            if !same {
                wrong.push(format!("{place} ({}): expected {expected:?}, found {found:?}", case.note));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn usual_attacks_score_half_or_more_and_plain_requests_are_not_flagged() {
    let guard = guard();
    let mut wrong = Vec::new();
    for (place, case) in lines::<InjectionCase>(&folder("injection").join("phrases.jsonl")) {
        let segment = Segment { text: &case.text, ..Segment::default() };
        let verdict = guard.judge(&segment).unwrap();
        // What is expected is at least likelier than not; what is not must not bother anybody.
        let fits = if case.expected { verdict.score >= 0.5 } else { !verdict.flagged };
        if !fits {
            wrong.push(format!("{place} ({}): {verdict:?}", case.note));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
