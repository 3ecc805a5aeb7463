//! `routes:` in its parts, and who is left alone when it fails: `breaker:`, `cooldown:` and `retry.budget:`

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

use super::Span;
use crate::secret::SecretSource;

/// One of several keys of a provider.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// The key.
    pub key: SecretSource,
    /// How often it is used, beside the weights of the others. 0: only if no other can be.
    #[serde(default = "ApiKeyConfig::one")]
    pub weight: u32,
}

impl ApiKeyConfig {
    fn one() -> u32 {
        1
    }
}

/// Whom a route asks: `PROVIDER/MODEL`, or how to choose among several: `{ordered: […]}`, `{weighted: […]}`, `{fastest: […]}`
/// or `{conditional: […]}`, in each other as deep as you like.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum TargetNode {
    /// `PROVIDER/MODEL`.
    Target(String),
    /// A way to choose.
    Strategy(Strategy),
}

/// How to choose among several. Exactly one of them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// In this order: the next one if the one before does not answer.
    Ordered(Vec<TargetNode>),
    /// By chance: each as often as its weight says; the others if it does not answer.
    Weighted(Vec<WeightedNode>),
    /// The one that begins to answer soonest, by what was measured lately, by how many requests are with it and by how often it
    /// fails; the others if it does not answer.
    Fastest(Vec<TargetNode>),
    /// The first whose conditions hold, and no other. The last entry says `else`.
    Conditional(Vec<Branch>),
}

/// A member of `weighted`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedNode {
    /// Who is asked.
    pub target: TargetNode,
    /// How often, beside the weights of the others. 0: only if no other answers.
    #[serde(default = "WeightedNode::one")]
    pub weight: u32,
}

impl WeightedNode {
    fn one() -> u32 {
        1
    }
}

/// An entry of `conditional`: `when` with `use`, or `else`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Branch {
    /// All of these must hold.
    pub when: Option<Conditions>,
    /// Who is asked then, in order.
    #[serde(rename = "use")]
    pub then: Vec<TargetNode>,
    /// Who is asked if no `when` holds, in order.
    #[serde(rename = "else")]
    pub otherwise: Vec<TargetNode>,
}

/// What must hold of a request. All that are given must; of several values one is enough. In texts `*` stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// Whose key it came with: the tenant.
    pub tenant: Words,
    /// The name of the virtual key.
    pub key: Words,
    /// The model asked for.
    pub model: Words,
    /// Fields of the request's `metadata` and of the header `x-sluice-metadata`, a JSON object, which has the last word.
    pub metadata: BTreeMap<String, Words>,
    /// Headers of the request. None that holds a key may be named.
    pub headers: BTreeMap<String, Words>,
    /// How many characters its texts have.
    pub prompt_characters: Between,
    /// About how many tokens these are: one for four characters.
    pub prompt_tokens: Between,
    /// Whether the answer is to be streamed.
    pub stream: Option<bool>,
    /// Whether the model is offered tools.
    pub tools: Option<bool>,
    /// Whether there are images in it.
    pub images: Option<bool>,
    /// Entities one of which the guardrails found in it, whatever they did about it: `EMAIL_ADDRESS`, or `*` for any.
    pub entities: Words,
    /// Whether anything in it was redacted.
    pub redacted: Option<bool>,
    /// Whether it looks like a prompt injection.
    pub injection: Option<bool>,
}

/// A word, or several of which one is enough.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum Words {
    /// Nothing is said.
    #[default]
    #[schemars(skip)]
    Any,
    /// This one.
    One(String),
    /// One of these.
    Several(Vec<String>),
}

impl Words {
    /// The words; none if nothing is said.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::Any => &[],
            Self::One(word) => std::slice::from_ref(word),
            Self::Several(words) => words,
        }
    }
}

/// A range of numbers; both ends are in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Between {
    /// No fewer.
    pub at_least: Option<u64>,
    /// No more.
    pub at_most: Option<u64>,
}

/// `fallbacks:` of a route: who is asked instead if a target refuses a request that others may take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FallbackSection {
    /// If the prompt is too long for the target.
    pub context_window: Vec<TargetNode>,
    /// If the target's vendor does not want to answer such a prompt.
    pub content_policy: Vec<TargetNode>,
}

/// `breaker:` When a target that fails is left alone.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerOfTargets {
    /// After so many failures in a row.
    pub failures: u32,
    /// Or if such a share of its requests fails, from 0 to 1.
    pub failure_rate: f64,
    /// Of fewer requests than these no share is taken.
    pub min_requests: u32,
    /// Over this time the share is taken.
    pub window: Span,
    /// After this one request tries it again, and if that fails, too, after twice as long, and so on.
    pub pause: Span,
    /// The longest of these pauses.
    pub max_pause: Span,
    /// How long it takes after that until it gets as many requests as before.
    pub slow_start: Span,
}

impl Default for BreakerOfTargets {
    fn default() -> Self {
        Self {
            failures: 5,
            failure_rate: 0.5,
            min_requests: 20,
            window: Span::seconds(30),
            pause: Span::seconds(1),
            max_pause: Span::seconds(60),
            slow_start: Span::seconds(10),
        }
    }
}

/// `cooldown:` For how long a provider's key is not used after the provider said no to it, where it does not say itself.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CooldownSection {
    /// Too many requests (429): with the model that was asked for. It doubles as long as that goes on.
    pub rate_limited: Span,
    /// The key is not accepted (401, 403).
    pub refused: Span,
    /// What the key may spend is spent (`insufficient_quota`).
    pub quota: Span,
    /// None of them is longer, whatever a provider says.
    pub max: Span,
}

impl Default for CooldownSection {
    fn default() -> Self {
        Self {
            rate_limited: Span::seconds(1),
            refused: Span::seconds(60),
            quota: Span::seconds(600),
            max: Span::seconds(3600),
        }
    }
}

/// `retry.budget:` How many attempts there may be beyond the first at each target, so that a provider in trouble is not asked
/// more and more. Asking a target that is well and was not asked yet is always free.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudgetSection {
    /// So many for each request of the route.
    pub ratio: f64,
    /// And so many each second.
    pub per_second: f64,
}

impl Default for RetryBudgetSection {
    fn default() -> Self {
        Self { ratio: 0.2, per_second: 3.0 }
    }
}

impl super::Config {
    /// What is wrong with the sections on failing targets, by field.
    pub(crate) fn routing_problems(&self) -> Vec<String> {
        let (breaker, cooldown, budget) = (&self.breaker, &self.cooldown, &self.retry.budget);
        let long = |span: Span| !span.0.is_zero();
        let amount = |number: f64| (0.0..=1e6).contains(&number);
        let checks = [
            (breaker.failures > 0, "breaker.failures: at least 1"),
            (
                breaker.failure_rate > 0.0 && breaker.failure_rate <= 1.0,
                "breaker.failure_rate: expected a number above 0 and up to 1",
            ),
            (breaker.min_requests > 0, "breaker.min_requests: at least 1"),
            (long(breaker.window), "breaker.window: must be longer than 0"),
            (long(breaker.pause), "breaker.pause: must be longer than 0"),
            (
                breaker.max_pause.0 >= breaker.pause.0,
                "breaker.max_pause: must be at least as long as breaker.pause",
            ),
            (long(cooldown.max), "cooldown.max: must be longer than 0"),
            (amount(budget.ratio), "retry.budget.ratio: expected a number of at least 0"),
            (amount(budget.per_second), "retry.budget.per_second: expected a number of at least 0"),
        ];
        checks.into_iter().filter(|(holds, _)| !holds).map(|(_, problem)| problem.to_owned()).collect()
    }
}

impl<'de> Deserialize<'de> for TargetNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Node;
        impl<'de> Visitor<'de> for Node {
            type Value = TargetNode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("PROVIDER/MODEL, or one of ordered, weighted, fastest, conditional with a list")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TargetNode, E> {
                Ok(TargetNode::Target(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetNode, A::Error> {
                Members::deserialize(MapAccessDeserializer::new(map))?.one().map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Node)
    }
}

/// The members of a node, of which exactly one may be there.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Members {
    ordered: Option<Vec<TargetNode>>,
    weighted: Option<Vec<WeightedNode>>,
    fastest: Option<Vec<TargetNode>>,
    conditional: Option<Vec<Branch>>,
}

impl Members {
    fn one(self) -> Result<TargetNode, &'static str> {
        let Self { ordered, weighted, fastest, conditional } = self;
        let mut all = [
            ordered.map(Strategy::Ordered),
            weighted.map(Strategy::Weighted),
            fastest.map(Strategy::Fastest),
            conditional.map(Strategy::Conditional),
        ]
        .into_iter()
        .flatten();
        match (all.next(), all.next()) {
            (Some(strategy), None) => Ok(TargetNode::Strategy(strategy)),
            _ => Err("expected exactly one of ordered, weighted, fastest, conditional"),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrSeveral;
        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word, or a list of words of which one is enough")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words::One(text.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                if words.is_empty() {
                    return Err(de::Error::custom("expected at least one word"));
                }
                Ok(Words::Several(words))
            }
        }
        deserializer.deserialize_any(OneOrSeveral)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn targets(yaml: &str) -> Result<Vec<TargetNode>, String> {
        let text = format!("routes:\n  - model: m\n    targets: {yaml}\n");
        let config = parse(&text, "f").map_err(|error| error.to_string())?;
        Ok(config.routes[0].targets.clone())
    }

    #[test]
    fn a_list_of_targets_may_hold_strategies_and_these_hold_others() {
        let read = targets("[a/x, {fastest: [b/y, {weighted: [{target: c/z, weight: 3}, {target: d/w}]}]}]");
        let target = |name: &str| TargetNode::Target(name.to_owned());
        let weighted = |name, weight| WeightedNode { target: target(name), weight };
        let inner = Strategy::Weighted(vec![weighted("c/z", 3), weighted("d/w", 1)]);
        let fastest = Strategy::Fastest(vec![target("b/y"), TargetNode::Strategy(inner)]);
        assert_eq!(read.unwrap(), [target("a/x"), TargetNode::Strategy(fastest)]);
    }

    #[test]
    fn a_misspelt_strategy_or_condition_is_named_with_what_was_meant() {
        let cases = [
            ("[{fastst: [a/x]}]", "did you mean 'fastest'"),
            ("[{ordered: [a/x], fastest: [b/y]}]", "exactly one of ordered, weighted"),
            ("[{}]", "exactly one of ordered, weighted"),
            ("[[a/x]]", "expected PROVIDER/MODEL, or one of"),
            ("[{conditional: [{when: {tenants: a}, use: [a/x]}]}]", "did you mean 'tenant'"),
            ("[{conditional: [{when: {tenant: []}, use: [a/x]}]}]", "at least one word"),
            ("[{weighted: [{target: a/x, weight: heavy}]}]", "invalid"),
        ];
        for (yaml, words) in cases {
            let told = targets(yaml).unwrap_err();
            assert!(told.contains(words), "{yaml} gave {told}");
        }
    }
}
