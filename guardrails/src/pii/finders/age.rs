//! Ages of people: a number with "years old" behind it, or "aged" before it.

use super::Candidate;
use crate::text::{Scan, ceil_boundary, floor_boundary};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// The oldest anybody has been is 122 years.
const OLDEST: u32 = 125;

static BEHIND: LazyLock<Regex> = LazyLock::new(|| {
    // Constant, and a test uses it.
    Regex::new(
        r"(?i)\A(?:[ -]?(?:years?|yrs?|months?|weeks?)\.?(?:[ -]old\b| of age\b)|[ -]?(?:yo\b|y/o\b|y\.o\.)|[ -](?:jahre alt|jährige|jahre jung|ans révolus|jaar oud|anos de idade|años de edad|anni di età))",
    )
    .expect("a constant expression compiles")
});
/// Words that mean years of life only beside a word of age.
static YEARS_BEHIND: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\A (?:ans|años|anni|anos|jahre|jaar)\b").expect("a constant expression compiles")
});
static BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)(?:\A|[^\p{L}])(?:age[ds]?(?: is| was| of|d)?"?[ :=]{1,3}|at (?:the )?age of |(?:just |has |had )?turn(?:ed|s|ing)? |when (?:he|she|i|they|we) (?:was|were|am|is|turned|turns) |alter(?: von)?[ :]{1,2}|edad(?: de)?[ :]{1,2}|âge[ :]{1,2}|età[ :]{1,2})\z"#,
    )
    .expect("a constant expression compiles")
});

/// "I'm 34" is an age where the sentence ends or goes on behind it.
static BEING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:\A|[^\p{L}])(?:i['’]m|i am|(?:he|she)(?:['’]s| is| was)) \z")
        .expect("a constant expression compiles")
});
static ENDING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\A(?:[.,;!?)]?(?:\s|\z)(?:and |but |now |\z|\P{L}|[A-Z])|[.,;!?] )")
        .expect("a constant expression compiles")
});

pub(super) fn find(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    for run in scan.digits.iter().filter(|run| run.len() <= 3) {
        let plausible = scan.text[run.clone()].parse::<u32>().is_ok_and(|age| age <= OLDEST);
        let joined = scan.began_earlier(run.start, "-./,:") || scan.goes_on(run.end, "./,:");
        let sign = scan.before(run.start).is_some_and(|c| "#$€£¥".contains(c));
        if !plausible || joined || sign || !scan.starts_token(run.start) {
            continue;
        }
        let from = ceil_boundary(scan.text, run.start.saturating_sub(28));
        let to = floor_boundary(scan.text, (run.end + 28).min(scan.text.len()));
        let (left, right) = (&scan.text[from..run.start], &scan.text[run.end..to]);
        let ends = scan.ends_token(run.end) && !right.starts_with(['%', '°', '€', '$']);
        let said = BEFORE.is_match(left) || (BEING.is_match(left) && ENDING.is_match(right));
        if BEHIND.is_match(right) || (ends && !scan.goes_on(run.end, "-") && said) {
            out.push(Candidate::new(run.clone(), 0.0));
        } else if YEARS_BEHIND.is_match(right) {
            out.push(Candidate { span: run.clone(), odds: -0.6, bare: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        find(&Scan::new(text, ""), &[], &mut out);
        out.into_iter().filter(|found| !found.bare).map(|found| text[found.span].to_owned()).collect()
    }

    #[test]
    fn an_age_is_said_before_or_behind() {
        for (text, age) in [
            ("a 65-year-old man", "65"),
            ("She is 7 years old.", "7"),
            ("72yo female", "72"),
            ("Age: 41", "41"),
            (r#"{"age": 41}"#, "41"),
            ("I just turned 47", "47"),
            ("died at the age of 93", "93"),
            ("Er ist 40 Jahre alt", "40"),
            ("I'm 34 and tired", "34"),
            ("she is 34.", "34"),
        ] {
            assert_eq!(found(text), [age], "{text}");
        }
    }

    #[test]
    fn durations_and_shares_are_no_ages() {
        for text in [
            "30 years later",
            "a 5-year plan",
            "turned 47%",
            "page: 41",
            "200 years old",
            "aged 1.5",
            "I am 34 miles away",
            "he is 5 feet tall",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
