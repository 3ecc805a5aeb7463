//! What people may talk about, or may not: topics by example sentences, compared by the local embedding model.

use std::ops::ControlFlow;
use std::time::Duration;

use sluice_guardrails::topics::{Fit, NEUTRAL, Topic, fit};
use sluice_models::{EmbedError, EmbedPool};
use tokio::time::Instant;

use crate::config::topics::OFF_TOPIC;
use crate::config::{ConfigError, OnError, TopicAction, TopicMode, TopicSection};
use crate::meaning::{self, Meaning, Part, embed};

/// Longest that a request waits for all of its text to be compared.
const PATIENCE: Duration = Duration::from_secs(2);

/// All topics, in the order of the configuration.
#[derive(Default)]
pub struct Topics {
    rules: Vec<Rule>,
    /// Without one nothing can be compared.
    embedder: Option<EmbedPool>,
}

struct Rule {
    name: String,
    mode: TopicMode,
    action: TopicAction,
    on_error: OnError,
    /// None where the embedding model is not to be had.
    topic: Option<Topic>,
}

/// What is to be said of a text for the sake of its topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matter {
    /// The denied topic's name, or [`OFF_TOPIC`].
    pub(crate) topic: String,
    /// What is done.
    pub(crate) action: TopicAction,
    /// The similarity to the nearest example.
    pub(crate) similarity: f32,
    /// The topics that are allowed, where it is about none of them.
    pub(crate) allowed: Vec<String>,
}

/// Why a text could not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unable {
    /// `no_embedding_model`, `embedding_busy` or `embedding_failed`.
    pub(crate) why: &'static str,
    /// Whether the request is refused for it.
    pub(crate) closed: bool,
}

impl Topics {
    /// Embeds the examples and fits a threshold to those of each topic. Waits for the embedding model, if there is one.
    ///
    /// # Errors
    /// [`ConfigError::Values`]: examples that the model can't see whole.
    pub(crate) fn build(
        sections: &[TopicSection],
        embedder: Option<&EmbedPool>,
    ) -> Result<Self, ConfigError> {
        let topics = match embedder.filter(|_| !sections.is_empty()) {
            Some(embedder) => {
                fitted(sections, embedder).map_err(ConfigError::Values)?.into_iter().map(Some).collect()
            }
            None => vec![None; sections.len()],
        };
        let rule = |(section, topic): (&TopicSection, _)| Rule {
            name: section.name.clone(),
            mode: section.mode,
            action: section.action,
            on_error: section.on_error,
            topic,
        };
        let rules = sections.iter().zip(topics).map(rule).collect();
        Ok(Self { rules, embedder: embedder.cloned() })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is to be said of a text that a user wrote, the strictest first; `scope` as for [`EmbedPool::embed_within`].
    pub(crate) async fn judge(&self, scope: &str, text: &str) -> Result<Vec<Matter>, Unable> {
        self.compare(scope, text).await.map_err(|error| self.unable(meaning::reason(&error)))
    }

    fn unable(&self, why: &'static str) -> Unable {
        let closed = |rule: &Rule| rule.action == TopicAction::Block && rule.on_error == OnError::Closed;
        Unable { why, closed: self.rules.iter().any(closed) }
    }

    async fn compare(&self, scope: &str, text: &str) -> Result<Vec<Matter>, EmbedError> {
        let Some(embedder) = &self.embedder else { return Err(EmbedError::Closed) };
        let meaning = Meaning { embedder, scope, end: Instant::now() + PATIENCE };
        let denies = self.rules.iter().any(|rule| rule.mode == TopicMode::Deny);
        let mut near = vec![-1f32; self.rules.len()];
        // The piece that is farthest from everything allowed.
        let mut off: Option<f32> = None;
        let mut see = |part, vector: &[f32]| {
            let depth = self.note(vector, &mut near).filter(|_| part == Part::Piece);
            off = off.into_iter().chain(depth).min_by(f32::total_cmp);
            ControlFlow::Continue(())
        };
        meaning.each(text, denies, &mut see).await?;
        Ok(self.matters(&near, off))
    }

    /// Keeps how near the nearest part of a text came to each topic; says how deep this one is within the nearest allowed one.
    fn note(&self, vector: &[f32], near: &mut [f32]) -> Option<f32> {
        let mut deepest: Option<f32> = None;
        for (rule, near) in self.rules.iter().zip(near) {
            let Some(topic) = &rule.topic else { continue };
            let nearness = topic.nearness(vector);
            *near = near.max(nearness);
            if rule.mode == TopicMode::Allow {
                let depth = nearness - topic.threshold();
                deepest = Some(deepest.map_or(depth, |other| other.max(depth)));
            }
        }
        deepest
    }

    fn matters(&self, near: &[f32], off: Option<f32>) -> Vec<Matter> {
        let denied = self.rules.iter().zip(near).filter(|(rule, near)| {
            let threshold = rule.topic.as_ref().map_or(f32::INFINITY, Topic::threshold);
            rule.mode == TopicMode::Deny && **near >= threshold
        });
        let denied = denied.map(|(rule, near)| Matter {
            topic: rule.name.clone(),
            action: rule.action,
            similarity: *near,
            allowed: Vec::new(),
        });
        let allows = |rule: &&Rule| rule.mode == TopicMode::Allow;
        let off = off.filter(|depth| *depth < 0.0).and_then(|_| self.rules.iter().find(allows));
        let off = off.map(|first| Matter {
            topic: OFF_TOPIC.to_owned(),
            action: first.action,
            similarity: self
                .rules
                .iter()
                .zip(near)
                .filter(|(rule, _)| allows(rule))
                .fold(0.0, |m, (_, n)| n.max(m)),
            allowed: self.rules.iter().filter(allows).map(|rule| rule.name.clone()).collect(),
        });
        let mut matters: Vec<Matter> = denied.chain(off).collect();
        matters.sort_by_key(|matter| matter.action != TopicAction::Block);
        matters
    }
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics").field("topics", &self.rules.len()).finish_non_exhaustive()
    }
}

/// The topics as vectors; what was fitted is in the log.
fn fitted(sections: &[TopicSection], embedder: &EmbedPool) -> Result<Vec<Topic>, Vec<String>> {
    let mut problems = Vec::new();
    let mut examples = Vec::with_capacity(sections.len());
    for (at, section) in sections.iter().enumerate() {
        let texts: Vec<&str> = section.examples.iter().map(String::as_str).collect();
        let embedded = embed(embedder, &texts).map_err(|e| vec![format!("guardrails.topics: {e}")])?;
        for number in (0..embedded.len()).filter(|number| embedded[*number].truncated) {
            problems.push(format!(
                "guardrails.topics[{at}].examples[{number}]: longer than the embedding model looks at"
            ));
        }
        examples.push(embedded.iter().map(|embedding| embedding.vector.clone()).collect::<Vec<_>>());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let neutral = embed(embedder, NEUTRAL).map_err(|e| vec![format!("guardrails.topics: {e}")])?;
    let topic = |(at, section): (usize, &TopicSection)| {
        let others = examples.iter().enumerate().filter(|(other, _)| *other != at);
        let others = others.flat_map(|(_, vectors)| vectors.iter().map(Vec::as_slice));
        let others: Vec<&[f32]> = others.chain(neutral.iter().map(|e| e.vector.as_slice())).collect();
        let Fit { threshold, missed, taken } = fit(&examples[at], &others);
        let (of, threshold) = (section.examples.len(), section.similarity.unwrap_or(threshold));
        tracing::info!(
            topic = section.name,
            threshold,
            by_hand = section.similarity.is_some(),
            missed,
            of,
            taken,
            others = others.len(),
            "a topic's threshold, and what its examples say of it: of so many, left out one by one, it misses some, and of others it takes some for its own"
        );
        Topic::new(examples[at].clone(), threshold)
    };
    Ok(sections.iter().enumerate().map(topic).collect())
}
