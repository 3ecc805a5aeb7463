//! `guardrails.topics:`

use schemars::JsonSchema;
use serde::Deserialize;
use sluice_guardrails::topics::LEAST_EXAMPLES;

use super::OnError;

/// What is told of a text that is about none of the allowed topics, where others have their names.
pub(crate) const OFF_TOPIC: &str = "off_topic";

/// Something that people may or may not talk about with a model, told by examples of what they would say.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicSection {
    /// Names it in errors, metrics and the audit log: small letters, digits, `-` and `_`.
    pub name: String,
    /// What people say who talk about it, at least three sentences; better ten, each put differently. They are compared by the
    /// local embedding model.
    pub examples: Vec<String>,
    /// `deny`: nobody may talk about it. `allow`: of what is near none of the topics that are allowed, nobody may talk.
    #[serde(default)]
    pub mode: TopicMode,
    /// `block`: refuse the request; `report`: count and audit it. All topics that are allowed have the same.
    #[serde(default)]
    pub action: TopicAction,
    /// How similar to an example a text must be to be about it, from 0 to 1. By default fitted to the examples.
    #[serde(default)]
    pub similarity: Option<f32>,
    /// What happens to requests while the embedding model can't be used. `closed`: they are refused with 503, if they would be for
    /// the topic; `open`: they go on.
    #[serde(default = "closed")]
    pub on_error: OnError,
}

fn closed() -> OnError {
    OnError::Closed
}

/// Whether people may talk about a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TopicMode {
    /// They may not.
    #[default]
    Deny,
    /// They may, and of nothing else but what is allowed.
    Allow,
}

/// What is done with a request for the sake of its topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TopicAction {
    /// Refuse it.
    #[default]
    Block,
    /// Count it, and write it into the audit log.
    Report,
}

impl TopicAction {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Report => "report",
        }
    }
}

/// What is wrong with some topics, with the field of each.
pub(crate) fn problems(topics: &[TopicSection]) -> Vec<String> {
    let mut problems = Vec::new();
    let first_allowed = topics.iter().find(|topic| topic.mode == TopicMode::Allow);
    for (at, topic) in topics.iter().enumerate() {
        let mut expect = |holds: bool, field: &str, problem: String| {
            if !holds {
                problems.push(format!("guardrails.topics[{at}].{field}: {problem}"));
            }
        };
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_".contains(&c);
        let named = (1..=64).contains(&topic.name.len()) && topic.name.bytes().all(is_name);
        expect(named, "name", "expected small letters, digits, '-' and '_', at most 64".to_owned());
        let taken = topic.name == OFF_TOPIC || topics[..at].iter().any(|other| other.name == topic.name);
        expect(!taken, "name", format!("'{}' is taken already", topic.name));
        let examples = topic.examples.len();
        let enough = examples >= LEAST_EXAMPLES;
        expect(
            enough,
            "examples",
            format!("at least {LEAST_EXAMPLES} say what a topic is, found {examples}"),
        );
        for (number, example) in topic.examples.iter().enumerate() {
            let words = example.contains(char::is_alphanumeric);
            expect(words, &format!("examples[{number}]"), "expected a sentence".to_owned());
            let again = topic.examples[..number].contains(example);
            expect(!again, &format!("examples[{number}]"), "the same example stands here twice".to_owned());
        }
        let similar = topic.similarity.is_none_or(|least| (0.0..=1.0).contains(&least));
        expect(similar, "similarity", "expected a number from 0 to 1".to_owned());
        let alike = first_allowed.filter(|_| topic.mode == TopicMode::Allow);
        let alike =
            alike.is_none_or(|first| (first.action, first.on_error) == (topic.action, topic.on_error));
        expect(
            alike,
            "action",
            "a text that is near no allowed topic is for all of them: give them the same 'action' and 'on_error'"
                .to_owned(),
        );
    }
    problems
}
