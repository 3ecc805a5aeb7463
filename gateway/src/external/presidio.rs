//! Presidio's analyzer: `POST /analyze` with all texts at once, answered by a list of findings for each.
//!
//! Its places are in code points. What it finds becomes a finding like our own.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};
use sluice_guardrails::{Class, Finding, pii};

use super::{Failure, Question, Verdict};
use crate::config::ExternalSection;

/// What takes more than rules.
const ENTITIES: &[&str] = &["PERSON", "LOCATION", "NRP"];
/// The rule of its findings.
const RULE: &str = "presidio";
const PATH: &str = "/analyze";

#[derive(Clone)]
pub(super) struct Analyzer {
    language: String,
    entities: Vec<&'static str>,
    threshold: f64,
}

#[derive(Deserialize)]
struct Found {
    entity_type: String,
    start: usize,
    end: usize,
    score: f64,
}

/// Where texts are posted to, with the path or without.
pub(super) fn address(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with(PATH) { url.to_owned() } else { format!("{url}{PATH}") }
}

/// What it reads: each text once, and no names for programs.
pub(super) fn texts(question: &Question) -> Vec<&str> {
    let mut seen = HashSet::new();
    let said = question.passages.iter().filter(|passage| !passage.is_name);
    said.map(|passage| passage.text.as_str()).filter(|text| seen.insert(*text)).collect()
}

impl Analyzer {
    pub(super) fn new(section: &ExternalSection) -> Self {
        let named = section.entities.as_ref();
        let entities = named.map_or_else(
            || ENTITIES.iter().map(|name| pii::know(name)).collect(),
            |named| named.iter().map(|name| pii::know(name)).collect(),
        );
        Self {
            language: section.language.clone().unwrap_or_else(|| "en".to_owned()),
            entities,
            threshold: section.score_threshold.unwrap_or(0.5),
        }
    }

    pub(super) fn encode(&self, question: &Question) -> Value {
        json!({
            "text": texts(question),
            "language": self.language,
            "entities": self.entities,
            "score_threshold": self.threshold,
        })
    }

    pub(super) fn decode(&self, answer: &[u8], question: &Question) -> Result<Verdict, Failure> {
        let answered: Vec<Vec<Found>> = serde_json::from_slice(answer)
            .map_err(|_| Failure::Malformed("expected a list of findings for each text"))?;
        let texts = texts(question);
        if answered.len() != texts.len() {
            return Err(Failure::Malformed("expected as many lists as texts"));
        }
        let mut all = HashMap::new();
        for (text, found) in texts.into_iter().zip(answered) {
            let places = Places::of(text);
            let mut findings = Vec::new();
            for Found { entity_type, start, end, score } in found {
                let span = places.bytes(start)..places.bytes(end);
                let (Some(start), Some(end), true) = (span.start, span.end, start < end) else {
                    return Err(Failure::Malformed("a finding lies outside of its text"));
                };
                // What nobody asked for is nothing to be acted on.
                let asked = self.entities.iter().copied().find(|entity| *entity == entity_type);
                if let (Some(entity), true) = (asked, score >= self.threshold) {
                    let score = score as f32;
                    findings.push(Finding { entity, rule: RULE, class: Class::Pii, span: start..end, score });
                }
            }
            if !findings.is_empty() {
                all.insert(text.to_owned(), findings);
            }
        }
        Ok(if all.is_empty() { Verdict::Allow } else { Verdict::Found(all) })
    }
}

/// From code points to bytes.
enum Places {
    /// They are the same.
    Ascii(usize),
    /// Where each begins, and the end.
    Any(Vec<usize>),
}

impl Places {
    fn of(text: &str) -> Self {
        if text.is_ascii() {
            return Self::Ascii(text.len());
        }
        Self::Any(text.char_indices().map(|(at, _)| at).chain([text.len()]).collect())
    }

    fn bytes(&self, point: usize) -> Option<usize> {
        match self {
            Self::Ascii(length) => (point <= *length).then_some(point),
            Self::Any(starts) => starts.get(point).copied(),
        }
    }
}
