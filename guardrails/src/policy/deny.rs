//! Words and patterns that an operator does not want said, whoever says them.

use super::{Action, PolicyError};
use crate::guard::{Class, Finding, Recogniser};
use crate::pii;
use crate::text::Scan;
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

/// Words and patterns that are not to be said, and what is done where one is.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// Names it in errors, metrics and the audit log, in capitals: `competitors` is told as `COMPETITORS`.
    pub name: String,
    /// Words, or several with blanks between, in any case and by themselves: `pass` is not found in `passport`.
    #[serde(default)]
    pub words: Vec<String>,
    /// Regular expressions (syntax of Rust's `regex`), also within words.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// What is done where one stands in a request: `block` (the default), `redact`, `log` or `off`.
    #[serde(default = "block")]
    pub action: Action,
    /// The same for answers.
    #[serde(default = "block")]
    pub output: Action,
}

fn block() -> Action {
    Action::Block
}

impl Deny {
    /// How findings are called.
    pub(crate) fn entity(&self) -> &'static str {
        pii::names::intern(&self.name.to_ascii_uppercase())
    }
}

/// Finds what one list denies.
pub(crate) struct Denied {
    entity: &'static str,
    words: Option<Regex>,
    patterns: Option<Regex>,
}

impl Denied {
    /// The lists, ready to be used. `taken`: names that entities have.
    pub(crate) fn compile(deny: &[Deny], taken: impl Fn(&str) -> bool) -> Result<Vec<Denied>, PolicyError> {
        let each = deny.iter().enumerate();
        each.map(|(at, list)| {
            let error =
                |field: String, problem: &str| PolicyError::new(format!("deny[{at}].{field}"), problem);
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            let starts = list.name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
            if !starts || list.name.len() > 40 || !list.name.bytes().all(plain) {
                return Err(error(
                    "name".to_owned(),
                    "expected small letters, digits and `_`, a letter first",
                ));
            }
            if taken(list.entity()) || deny[..at].iter().any(|other| other.name == list.name) {
                return Err(error("name".to_owned(), "something else is called so"));
            }
            if list.words.is_empty() && list.patterns.is_empty() {
                return Err(error("words".to_owned(), "name at least one word or pattern"));
            }
            if let Some(empty) = list.words.iter().position(|word| word.trim().is_empty()) {
                return Err(error(format!("words[{empty}]"), "expected a word"));
            }
            for (field, action) in [("action", list.action), ("output", list.output)] {
                if action == Action::Route {
                    return Err(error(field.to_owned(), "expected `block`, `redact`, `log` or `off`"));
                }
            }
            let mut patterns = Vec::new();
            for (number, pattern) in list.patterns.iter().enumerate() {
                let field = || format!("patterns[{number}]");
                let compiled = Regex::new(pattern).map_err(|problem| {
                    let told = problem.to_string();
                    let last = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    error(field(), last)
                })?;
                if compiled.is_match("") {
                    return Err(error(field(), "it is found in every text"));
                }
                patterns.push(format!("(?:{pattern})"));
            }
            let words: Vec<String> = list.words.iter().map(|word| as_pattern(word)).collect();
            let joined = |all: &[String], field: &str| {
                let regex = (!all.is_empty()).then(|| RegexBuilder::new(&all.join("|")).build()).transpose();
                regex.map_err(|_| error(field.to_owned(), "too large together"))
            };
            let words = joined(&words, "words")?;
            Ok(Denied { entity: list.entity(), words, patterns: joined(&patterns, "patterns")? })
        })
        .collect()
    }
}

/// A word in any case, its blanks as any.
fn as_pattern(word: &str) -> String {
    let parts: Vec<String> = word.split_whitespace().map(regex::escape).collect();
    format!("(?i:{})", parts.join(r"\s+"))
}

impl Recogniser for Denied {
    fn entity(&self) -> &'static str {
        self.entity
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        let finding =
            |rule, span| Finding { entity: self.entity, rule, class: Class::Content, span, score: 1.0 };
        let alone = |at: Option<char>| !at.is_some_and(char::is_alphanumeric);
        let words = self.words.iter().flat_map(|words| words.find_iter(scan.text)).map(|found| found.range());
        let words = words.filter(|span| alone(scan.before(span.start)) && alone(scan.after(span.end)));
        out.extend(words.map(|span| finding("denied-word", span)));
        let patterns = self.patterns.iter().flat_map(|patterns| patterns.find_iter(scan.text));
        let spans = patterns.map(|found| found.range()).filter(|span| !span.is_empty());
        out.extend(spans.map(|span| finding("denied-pattern", span)));
    }
}

#[cfg(test)]
mod tests {
    use crate::{Form, Guard, Masker, Rules, Vault};
    use std::sync::Arc;

    const LISTS: &str = r"
deny:
  - { name: competitors, words: [Globex, 'Initech  Systems', 'C++'], action: redact, output: redact }
  - { name: plans, patterns: ['(?i)project\s+\w+fish'] }
  - { name: watched, words: [weather], action: log, output: 'off' }
";

    fn guard(policy: &str) -> Result<Guard, crate::PolicyError> {
        let rules: Rules = serde_saphyr::from_str(policy).unwrap();
        Guard::compile(&rules, &|_| Ok(Vec::new()))
    }

    #[test]
    fn words_stand_by_themselves_in_any_case_and_patterns_anywhere() {
        let guard = guard(LISTS).unwrap();
        let mut vault = Vault::new();
        let text = "Ask GLOBEX, not globexes; initech\nsystems or c++ and the weather";
        let redacted = vault.redact(&guard, text).unwrap().unwrap();
        let expected =
            "Ask [COMPETITORS_1], not globexes; [COMPETITORS_2] or [COMPETITORS_3] and the weather";
        assert_eq!(redacted, expected);
        assert_eq!(vault.rehydrate(&redacted, Form::Text), redacted, "what is denied does not come back");
        assert_eq!(vault.logged().get("WATCHED"), Some(&1));
        let blocked = Vault::new().redact(&guard, "It is Project Swordfish.").unwrap_err();
        assert_eq!((blocked.entity, blocked.rule), ("PLANS", "denied-pattern"));
        assert!(Vault::new().redact(&guard, "The project is a success, fish or not").unwrap().is_none());
    }

    #[test]
    fn answers_are_held_to_it_as_they_come() {
        let guard = guard(LISTS).unwrap();
        let answers = guard.answers().unwrap();
        let masked = |text: &str| {
            let mut masker = Masker::new(Arc::clone(answers), Form::Text);
            let mut out = String::new();
            for piece in text.split("").filter(|piece| !piece.is_empty()) {
                out += &masker.push(piece)?;
            }
            Ok::<_, crate::Blocked>(out + &masker.finish()?)
        };
        let text = format!(
            "{} better than globex and initech systems {}",
            "it is so ".repeat(30),
            "and so on ".repeat(30)
        );
        let expected = text
            .replace("globex", "[REDACTED_COMPETITORS]")
            .replace("initech systems", "[REDACTED_COMPETITORS]");
        assert_eq!(masked(&text).unwrap(), expected);
        assert_eq!(masked("we call it project swordfish in the house").unwrap_err().entity, "PLANS");
        assert_eq!(masked("fine weather").unwrap(), "fine weather");
    }

    #[test]
    fn a_list_that_can_not_be_is_told_by_its_field() {
        for (policy, field) in [
            ("deny: [{ name: Bad-Name, words: [a] }]", "deny[0].name"),
            ("deny: [{ name: us_ssn, words: [a] }]", "deny[0].name"),
            ("deny: [{ name: a, words: [x] }, { name: a, words: [y] }]", "deny[1].name"),
            ("deny: [{ name: a }]", "deny[0].words"),
            ("deny: [{ name: a, words: [x, ' '] }]", "deny[0].words[1]"),
            ("deny: [{ name: a, patterns: ['('] }]", "deny[0].patterns[0]"),
            ("deny: [{ name: a, patterns: ['x*'] }]", "deny[0].patterns[0]"),
            ("deny: [{ name: a, words: [x], action: route }]", "deny[0].action"),
        ] {
            assert_eq!(guard(policy).unwrap_err().field, field, "{policy}");
        }
    }
}
