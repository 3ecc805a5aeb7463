//! `guardrails:`, and in it `external:`

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use sluice_guardrails::Rules;

use super::{BankSection, ByteSize, OnError, Span, TopicSection};
use crate::breaker::Settings;
use crate::secret::SecretSource;

/// `guardrails:` What our own rules look for, what may be talked about, and who else is asked.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(default, extend("additionalProperties" = false))]
pub struct GuardrailSection {
    /// What our own rules look for.
    #[schemars(flatten)]
    pub rules: Rules,
    /// Systems of others that judge or change a request after our own rules. It stands here, also where the rules are in a file.
    pub external: Vec<ExternalSection>,
    /// What people may talk about, or may not. It stands here, also where the rules are in a file.
    pub topics: Vec<TopicSection>,
    /// Attacks that you know, beside what the detector knows of itself. It stands here, also where the rules are in a file.
    pub injection_bank: BankSection,
}

/// A system that is asked about requests.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalSection {
    /// Names it in errors, metrics and the audit log: small letters, digits, `-` and `_`.
    pub name: String,
    /// How it is spoken to.
    pub kind: ExternalKind,
    /// Where it is: the whole address to post to. For `presidio` the analyzer's address, with or without `/analyze`; for
    /// `openai_moderation` by default OpenAI's.
    #[serde(default)]
    pub url: Option<String>,
    /// Sent as `Authorization: Bearer`.
    #[serde(default)]
    pub api_key: Option<SecretSource>,
    /// `webhook`: signs what is sent, at least 16 bytes.
    #[serde(default)]
    pub secret: Option<SecretSource>,
    /// When it is asked: `input`, before a request goes anywhere; `output`, before anybody has anything of an answer, for which a
    /// stream waits until it is whole. By default `input`.
    #[serde(default = "ExternalSection::phases")]
    pub phase: Vec<Phase>,
    /// What is done with what it says. `block`: refuse the request; `redact`: replace what it finds; `report`: count and audit it.
    /// By default `redact` for `presidio`, else `block`.
    #[serde(default)]
    pub mode: Option<ExternalMode>,
    /// What happens if it can't be asked or its answer can't be used. `closed`: the request is refused with 503; `open`: it goes on.
    #[serde(default = "ExternalSection::closed")]
    pub on_error: OnError,
    /// How long it may take, from the connection to the end of its answer.
    #[serde(default = "ExternalSection::timeout")]
    pub timeout: Span,
    /// What it gets to see: `redacted`, or `original`, which only a system that is `in_house` may.
    #[serde(default)]
    pub sees: Sees,
    /// True: whoever may see the originals runs it.
    #[serde(default)]
    pub in_house: bool,
    /// Largest answer that is read.
    #[serde(default = "ExternalSection::max_answer")]
    pub max_answer: ByteSize,
    /// When it is left alone after failures.
    #[serde(default)]
    pub breaker: BreakerSection,
    /// `presidio`: the texts' language. By default `en`.
    #[serde(default)]
    pub language: Option<String>,
    /// `presidio`: what it looks for. By default what takes more than rules: `PERSON`, `LOCATION` and `NRP`.
    #[serde(default)]
    pub entities: Option<Vec<String>>,
    /// `presidio`: how likely a finding must be, from 0 to 1. By default 0.5.
    #[serde(default)]
    pub score_threshold: Option<f64>,
    /// `openai_moderation`: its model. By default `omni-moderation-latest`.
    #[serde(default)]
    pub model: Option<String>,
    /// `openai_moderation`: by category the score, from 0 to 1, that is too much. Of all others, what the model itself flags is.
    #[serde(default)]
    pub categories: BTreeMap<String, f64>,
}

/// How an external guard is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExternalKind {
    /// A service of your own, by the JSON that the README describes.
    Webhook,
    /// Presidio's analyzer.
    Presidio,
    /// OpenAI's moderation endpoint, or one like it.
    OpenaiModeration,
}

/// When an external guard is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before a request goes anywhere.
    Input,
    /// Before anybody has anything of an answer: a stream waits until it is whole.
    Output,
}

impl Phase {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// What is done with what an external guard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExternalMode {
    /// Refuse the request.
    Block,
    /// Replace what it finds.
    Redact,
    /// Count it, and write it into the audit log.
    Report,
}

/// What an external guard gets to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sees {
    /// The request as a provider would get it.
    #[default]
    Redacted,
    /// The request as it came.
    Original,
}

/// When an external guard is left alone after failures.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSection {
    /// So many failures in a row, and `on_error` applies at once, without asking.
    pub failures: u32,
    /// After this one request asks again, and if that fails, too, after twice as long, and so on.
    pub pause: Span,
    /// The longest of these pauses.
    pub max_pause: Span,
}

impl Default for BreakerSection {
    fn default() -> Self {
        Self { failures: 5, pause: Span::seconds(1), max_pause: Span::seconds(60) }
    }
}

impl BreakerSection {
    /// The same for a breaker.
    pub(crate) fn settings(&self) -> Settings {
        let Self { failures, pause, max_pause } = self;
        Settings { failures: *failures, rate: None, pause: pause.0, longest: max_pause.0 }
    }
}

impl ExternalSection {
    fn phases() -> Vec<Phase> {
        vec![Phase::Input]
    }

    fn closed() -> OnError {
        OnError::Closed
    }

    fn timeout() -> Span {
        Span::seconds(1)
    }

    fn max_answer() -> ByteSize {
        ByteSize::mebibytes(4)
    }

    /// What is done with what it says.
    pub fn mode(&self) -> ExternalMode {
        let standard = match self.kind {
            ExternalKind::Presidio => ExternalMode::Redact,
            ExternalKind::Webhook | ExternalKind::OpenaiModeration => ExternalMode::Block,
        };
        self.mode.unwrap_or(standard)
    }

    /// What is wrong with it, by field.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut expect = |holds: bool, field: &'static str, problem: &str| {
            if !holds {
                problems.push((field, problem.to_owned()));
            }
        };
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_".contains(&c);
        let named = (1..=64).contains(&self.name.len()) && self.name.bytes().all(is_name);
        expect(named, "name", "expected small letters, digits, '-' and '_', at most 64");
        expect(!self.phase.is_empty(), "phase", "name at least one");
        expect(!self.timeout.0.is_zero(), "timeout", "must be longer than 0");
        expect(self.max_answer.0 > 0, "max_answer", "must be larger than 0");
        expect(self.breaker.failures > 0, "breaker.failures", "at least 1");
        expect(!self.breaker.pause.0.is_zero(), "breaker.pause", "must be longer than 0");
        let grows = self.breaker.max_pause.0 >= self.breaker.pause.0;
        expect(grows, "breaker.max_pause", "must not be shorter than 'pause'");
        let original = self.sees == Sees::Original;
        expect(
            !(original && self.phase.contains(&Phase::Output)),
            "sees",
            "an answer has no other form than the redacted one: 'phase: [output]' takes 'sees: redacted'",
        );
        expect(
            !original || self.in_house,
            "sees",
            "what was redacted leaves for a system in-house alone: say 'in_house: true' if it is one",
        );
        let redacts = self.mode() == ExternalMode::Redact;
        expect(
            !(original && redacts),
            "sees",
            "what it is to redact it must see as it goes out: 'mode: redact' takes 'sees: redacted'",
        );
        expect(
            !(redacts && self.kind == ExternalKind::OpenaiModeration),
            "mode",
            "a moderation finds nothing to redact: expected block or report",
        );
        self.own_problems(&mut expect);
        problems
    }

    /// What is wrong with the fields that one kind alone has.
    fn own_problems(&self, expect: &mut impl FnMut(bool, &'static str, &str)) {
        let only = |kind, name: &str| (self.kind == kind, format!("only 'kind: {name}' has it"));
        let (presidio, of_presidio) = only(ExternalKind::Presidio, "presidio");
        let (moderation, of_moderation) = only(ExternalKind::OpenaiModeration, "openai_moderation");
        let (webhook, of_webhook) = only(ExternalKind::Webhook, "webhook");
        expect(presidio || self.language.is_none(), "language", &of_presidio);
        expect(presidio || self.entities.is_none(), "entities", &of_presidio);
        expect(presidio || self.score_threshold.is_none(), "score_threshold", &of_presidio);
        expect(moderation || self.model.is_none(), "model", &of_moderation);
        expect(moderation || self.categories.is_empty(), "categories", &of_moderation);
        expect(webhook || self.secret.is_none(), "secret", &of_webhook);
        expect(moderation || self.url.is_some(), "url", "missing: say where it is");
        let share = |score: &f64| (0.0..=1.0).contains(score);
        let expected = "expected a number from 0 to 1";
        expect(self.score_threshold.as_ref().is_none_or(share), "score_threshold", expected);
        expect(self.categories.values().all(share), "categories", expected);
        let is_entity = |name: &String| {
            let ends = |c: u8| c.is_ascii_uppercase();
            let inner = |c: u8| ends(c) || c == b'_';
            let bytes = name.as_bytes();
            bytes.len() <= 40
                && bytes.first().copied().is_some_and(ends)
                && bytes.last().copied().is_some_and(ends)
                && bytes.iter().copied().all(inner)
        };
        let entities = self.entities.as_deref().unwrap_or_default();
        let some = self.entities.as_ref().is_none_or(|named| !named.is_empty());
        expect(
            some && entities.iter().all(is_entity),
            "entities",
            "expected names in capitals, such as PERSON; at least one",
        );
    }
}

/// The fields that are none of the rules'.
#[derive(Default)]
struct Own {
    external: Option<Vec<ExternalSection>>,
    topics: Option<Vec<TopicSection>>,
    bank: Option<BankSection>,
}

/// Their names in the configuration.
#[derive(Clone, Copy)]
enum OwnField {
    External,
    Topics,
    Bank,
}

impl OwnField {
    fn of(name: &str) -> Option<Self> {
        match name {
            "external" => Some(Self::External),
            "topics" => Some(Self::Topics),
            "injection_bank" => Some(Self::Bank),
            _ => None,
        }
    }
}

/// Reads these by themselves, and the rules from all other fields, so that mistakes in them are told as everywhere.
impl<'de> Deserialize<'de> for GuardrailSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Section;
        impl<'de> Visitor<'de> for Section {
            type Value = GuardrailSection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GuardrailSection, A::Error> {
                let mut own = Own::default();
                let rules = Rules::deserialize(MapAccessDeserializer::new(Others { map, own: &mut own }))?;
                Ok(GuardrailSection {
                    rules,
                    external: own.external.unwrap_or_default(),
                    topics: own.topics.unwrap_or_default(),
                    injection_bank: own.bank.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_map(Section)
    }
}

/// The fields beside our own, which are put aside.
struct Others<'o, A> {
    map: A,
    own: &'o mut Own,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Others<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, mut seed: K) -> Result<Option<K::Value>, A::Error> {
        loop {
            match self.map.next_key_seed(Key(seed))? {
                None => return Ok(None),
                Some(Named::Other(key)) => return Ok(Some(key)),
                Some(Named::Own(field, back)) => {
                    match field {
                        OwnField::External => {
                            once(&mut self.own.external, self.map.next_value()?, "external")
                        }
                        OwnField::Topics => once(&mut self.own.topics, self.map.next_value()?, "topics"),
                        OwnField::Bank => once(&mut self.own.bank, self.map.next_value()?, "injection_bank"),
                    }?;
                    seed = back;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

fn once<T, E: de::Error>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), E> {
    if place.replace(value).is_some() { Err(E::duplicate_field(name)) } else { Ok(()) }
}

/// A key that is read by `K`, unless it is one of our own.
struct Key<K>(K);

enum Named<K, V> {
    Own(OwnField, K),
    Other(V),
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<K> {
    type Value = Named<K, K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for Key<K> {
    type Value = Named<K, K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if let Some(field) = OwnField::of(name) {
            return Ok(Named::Own(field, self.0));
        }
        self.0.deserialize(name.into_deserializer()).map(Named::Other)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn external_guards_stand_among_the_rules_and_mistakes_in_either_are_told_with_their_place() {
        let text = "guardrails:\n  pii: block\n  external:\n    - {name: a, kind: webhook, url: 'http://h/'}\n  secrets: off\n";
        let section = parse(text, "f").unwrap().guardrails;
        assert_eq!((section.external.len(), section.rules.pii), (1, sluice_guardrails::Action::Block));
        assert_eq!(section.rules.secrets, sluice_guardrails::Action::Off);
        for (text, words) in [
            ("guardrails:\n  piii: block\n", "f:2:3: unknown field 'piii': did you mean 'pii'?"),
            (
                "guardrails:\n  external:\n    - {name: a, kin: webhook}\n",
                "f:3:17: unknown field 'kin': did you mean 'kind'?",
            ),
            (
                "guardrails:\n  external:\n    - {name: a, kind: webhok}\n",
                "f:3:23: 'webhok' is not possible here: did you mean 'webhook'?",
            ),
            ("guardrails:\n  pii: blok\n", "f:2:8: 'blok' is not possible here: did you mean 'block'?"),
            ("guardrails:\n  external: []\n  external: []\n", "f:3:3: "),
        ] {
            let told = parse(text, "f").unwrap_err().to_string();
            assert!(told.starts_with(words), "{text} gave {told}");
        }
    }
}
