//! OpenAI's moderation endpoint: all texts at once, answered by categories and scores for each.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Question, Refusal, Verdict};
use crate::config::ExternalSection;

/// Where OpenAI's is.
pub(super) const ADDRESS: &str = "https://api.openai.com/v1/moderations";
const MODEL: &str = "omni-moderation-latest";

#[derive(Clone)]
pub(super) struct Moderation {
    model: String,
    /// What is too much, by category; of all others the flag counts.
    thresholds: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Judged>,
}

#[derive(Deserialize)]
struct Judged {
    flagged: bool,
    #[serde(default)]
    categories: BTreeMap<String, Option<bool>>,
    #[serde(default)]
    category_scores: BTreeMap<String, Option<f64>>,
}

impl Moderation {
    pub(super) fn new(section: &ExternalSection) -> Self {
        let model = section.model.clone().unwrap_or_else(|| MODEL.to_owned());
        Self { model, thresholds: section.categories.clone() }
    }

    pub(super) fn encode(&self, question: &Question) -> Value {
        let texts: Vec<&str> = question.passages.iter().map(|passage| passage.text.as_str()).collect();
        json!({ "model": self.model, "input": texts })
    }

    pub(super) fn decode(&self, answer: &[u8], question: &Question) -> Result<Verdict, Failure> {
        let Answer { results } =
            serde_json::from_slice(answer).map_err(|_| Failure::Malformed("expected results with flags"))?;
        if results.len() != question.passages.len() {
            return Err(Failure::Malformed("expected as many results as texts"));
        }
        let mut flagged = BTreeSet::new();
        for judged in results {
            self.judge(judged, &mut flagged)?;
        }
        if flagged.is_empty() {
            return Ok(Verdict::Allow);
        }
        Ok(Verdict::Refused(Refusal { what: flagged.into_iter().collect(), code: None, reason: None }))
    }

    fn judge(&self, judged: Judged, flagged: &mut BTreeSet<String>) -> Result<(), Failure> {
        for (category, least) in &self.thresholds {
            // A category that is not there would never be too much, and nobody would know.
            let score = judged.category_scores.get(category).copied().flatten();
            let score = score.ok_or(Failure::Malformed("a category of 'categories' has no score"))?;
            if score >= *least {
                flagged.insert(category.clone());
            }
        }
        let mut is_told = false;
        for (category, is_flagged) in judged.categories {
            is_told |= is_flagged == Some(true);
            if is_flagged == Some(true) && !self.thresholds.contains_key(&category) && is_word(&category) {
                flagged.insert(category);
            }
        }
        if judged.flagged && !is_told {
            flagged.insert("flagged".to_owned());
        }
        Ok(())
    }
}

/// Whether it can be told on: a category's name, and no sentence.
fn is_word(category: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
    (1..=64).contains(&category.len()) && category.bytes().all(plain)
}
