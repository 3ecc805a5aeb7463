//! How the semantic tier decides, as operators write it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use sluice_engine::decide::Policy;

use super::CacheSection;

/// The rule by which a similar prompt's answer may be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CachePolicy {
    /// From `similarity` on, whatever comes of it.
    Fixed,
    /// Where the answer is right with a probability that keeps the share of wrong hits below `max_false_hit_rate`; what
    /// is right is learnt from fresh answers.
    #[default]
    Calibrated,
    /// vCache's rule, for comparison: `max_false_hit_rate` of the requests may be answered wrongly.
    Verified,
    /// Not at all: only the same prompt's answer is served, but for case, spaces and marks. No vectors are computed.
    Exact,
}

/// For how long the semantic tier only learns: a number of candidates, or `always`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shadow(pub u64);

impl<'de> Deserialize<'de> for Shadow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Shadow;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of candidates, or always")
            }

            fn visit_u64<E>(self, candidates: u64) -> Result<Shadow, E> {
                Ok(Shadow(candidates))
            }

            fn visit_i64<E: de::Error>(self, candidates: i64) -> Result<Shadow, E> {
                u64::try_from(candidates)
                    .map(Shadow)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(candidates), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Shadow, E> {
                match text {
                    "always" => Ok(Shadow(u64::MAX)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Shadow {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Shadow".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a number of candidates, or always",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "always" }],
        })
    }
}

impl CacheSection {
    /// The engine's own words for the rule; none where prompts are not compared at all.
    #[must_use]
    pub fn rule(&self) -> Option<Policy> {
        match self.policy {
            CachePolicy::Fixed => Some(Policy::Fixed { similarity: self.similarity }),
            CachePolicy::Calibrated => {
                Some(Policy::Calibrated { max_false_hit_rate: self.max_false_hit_rate, strict: self.strict })
            }
            CachePolicy::Verified => Some(Policy::Verified { max_error_rate: self.max_false_hit_rate }),
            CachePolicy::Exact => None,
        }
    }
}
