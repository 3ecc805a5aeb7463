//! Everything that a policy can say: the section `guardrails:` of a configuration, or a policy file.

use super::{Action, Allow, Deny, Exception, InjectionAction, Operator, OutputRules, Policy};
use crate::channel::Channel;
use crate::media::{Media, SignedThinking};
use crate::pii::{DEFAULT_PACKS, Row};
use crate::restore::Restores;
use crate::score::Band;
use crate::template::TemplateAction;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What is looked for in requests, and what is done with it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// A file that says all of this instead (the same fields). It is read again when it changes and on SIGHUP; if it is wrong
    /// then, the last right one stays in force.
    pub file: Option<PathBuf>,
    /// True: nothing is replaced or refused, and what would be is counted and audited as `shadow`.
    pub shadow: bool,
    /// Personal data (e-mail addresses, card numbers, phone numbers …) of which `entities` says nothing: `redact` replaces it
    /// by placeholders and restores it in answers; `block` refuses the request; `route` leaves it and asks in-house targets
    /// alone; `log` only counts and audits it; `off`.
    pub pii: Action,
    /// Credentials (API keys, private keys …): `redact` replaces them by placeholders for good.
    pub secrets: Action,
    /// Attempts to override a model's instructions: `report` tells where one is likely; `block` also refuses the request where one is
    /// nearly certain, `strict` where one is likely.
    pub injection: InjectionAction,
    /// Tokens of chat templates, by which a text speaks as somebody else (`<|im_start|>`, `[INST]`, in documents also `Human:` behind a
    /// blank line): `escape` puts a space into each, `report` counts and audits them, `block` refuses the request, `off`. Where
    /// nothing is said, they are escaped in what tools and documents say and reported in what people say; the system's own
    /// and the model's words are looked into only where `channels` says so.
    pub template_tokens: Option<TemplateAction>,
    /// Into what the caller's own values are put back, by entity (`default` for all others): `text` (what people read), `tools`
    /// (also the arguments of tool calls) or `never`.
    pub restore: Restores,
    /// Which packs of recognisers look for personal data: `core`, `us`, `de` …, or `all`.
    pub packs: Vec<String>,
    /// What is done with an entity, by its name, such as `CREDIT_CARD`; `SECRET` stands for all credentials. An entity that is
    /// named here is looked for even if its pack is not on.
    pub entities: BTreeMap<String, EntityRule>,
    /// What is done with classes in a channel instead: `system`, `user`, `tool`, `document`, `assistant` or `parameters`.
    pub channels: BTreeMap<Channel, ClassRule>,
    /// The key for `hash`: `env:NAME` or `file:PATH`, at least 16 bytes.
    pub hash_key: Option<String>,
    /// What is no finding.
    pub allow: Allow,
    /// Recognisers of your own, with examples that are tried out whenever the policy is read.
    pub custom: Vec<Row>,
    /// Words and patterns that are not to be said, by people or by the model.
    pub deny: Vec<Deny>,
    /// What is done with what an answer holds, before the caller's own values are put back.
    pub output: OutputRules,
    /// Whether these are the rules for answers, made from `output`; no file says so.
    #[serde(skip)]
    pub of_answers: bool,
    /// What is done with images, sound and files, which are not looked into.
    pub media: Media,
    /// What is done with reasoning that a provider signed, if something stands in it that would be replaced elsewhere: `block`
    /// refuses the request, `keep` sends it as it is.
    pub signed_thinking: SignedThinking,
    /// What holds for a tenant instead, by its name.
    pub tenants: BTreeMap<String, Overrides>,
    /// What holds for requests to a route instead, by the name that clients write into `model`; where a tenant says something
    /// else, the route decides.
    pub routes: BTreeMap<String, Overrides>,
    /// What is done otherwise for a while, whatever else is said.
    pub exceptions: Vec<Exception>,
}

/// What holds for one tenant or route instead of what holds for all. Each field takes the place of the one with its name; of
/// `entities` only those that are named do, each with its whole rule, and of `channels` only the classes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// Instead of `shadow`.
    pub shadow: Option<bool>,
    /// Instead of `pii`.
    pub pii: Option<Action>,
    /// Instead of `secrets`.
    pub secrets: Option<Action>,
    /// Instead of `injection`.
    pub injection: Option<InjectionAction>,
    /// Instead of `template_tokens`.
    pub template_tokens: Option<TemplateAction>,
    /// Instead of all of `restore`.
    pub restore: Option<Restores>,
    /// Instead of all of `packs`.
    pub packs: Option<Vec<String>>,
    /// Rules for entities, each instead of the whole rule for the same entity.
    pub entities: BTreeMap<String, EntityRule>,
    /// What is done with classes in a channel, each instead of what is said of the same class and channel.
    pub channels: BTreeMap<Channel, ClassRule>,
    /// Instead of all of `allow`.
    pub allow: Option<Allow>,
    /// Instead of all of `deny`.
    pub deny: Option<Vec<Deny>>,
    /// Instead of all of `output`.
    pub output: Option<OutputRules>,
}

impl Overrides {
    /// `rules` with these in place of what they replace.
    pub(super) fn apply(&self, mut rules: Rules) -> Rules {
        let Overrides {
            shadow,
            pii,
            secrets,
            injection,
            template_tokens,
            restore,
            packs,
            entities,
            channels,
            allow,
            deny,
            output,
        } = self.clone();
        rules.shadow = shadow.unwrap_or(rules.shadow);
        rules.pii = pii.unwrap_or(rules.pii);
        rules.secrets = secrets.unwrap_or(rules.secrets);
        rules.injection = injection.unwrap_or(rules.injection);
        rules.template_tokens = template_tokens.or(rules.template_tokens);
        rules.restore = restore.unwrap_or(rules.restore);
        rules.packs = packs.unwrap_or(rules.packs);
        rules.allow = allow.unwrap_or(rules.allow);
        rules.deny = deny.unwrap_or(rules.deny);
        rules.output = output.unwrap_or(rules.output);
        rules.entities.extend(entities);
        for (channel, classes) in channels {
            let own = rules.channels.entry(channel).or_default();
            own.pii = classes.pii.or(own.pii);
            own.secrets = classes.secrets.or(own.secrets);
            own.injection = classes.injection.or(own.injection);
            own.template_tokens = classes.template_tokens.or(own.template_tokens);
        }
        rules
    }
}

/// What is done with one entity.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EntityRule {
    /// `tokenise`: a placeholder, restored in answers; `redact`: a mark such as `[EMAIL_ADDRESS]`, for good; `mask`; `hash`:
    /// a mark with a keyed hash; `block`: the request is refused; `route`: it stays, and the request goes to in-house targets
    /// alone; `log`: it stays, and is counted and audited; `off`. By default what its pack says.
    pub action: Option<Operator>,
    /// How likely it must be: `possible`, `likely` (default) or `certain`.
    pub min: Option<Band>,
    /// `mask`: how many letters and digits at the end stay, if no fewer are hidden. By default none.
    pub keep_last: Option<usize>,
    /// `mask`: what stands for a letter or digit. By default `*`.
    #[serde(rename = "char")]
    pub mask: Option<char>,
    /// True: nothing is done with it, and what would be is counted and audited as `shadow`.
    pub shadow: bool,
    /// What is done with it in a channel instead: an action, or a rule.
    pub channels: BTreeMap<Channel, ChannelRule>,
}

/// What is done with one entity in one channel. What is not said here is as in its rule.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(with = "Spelled")]
pub struct ChannelRule {
    /// Instead of `action`.
    pub action: Option<Operator>,
    /// Instead of `min`.
    pub min: Option<Band>,
    /// Instead of `keep_last`.
    pub keep_last: Option<usize>,
    /// Instead of `char`.
    pub mask: Option<char>,
}

/// How a [`ChannelRule`] is written.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum Spelled {
    /// The action alone.
    Action(Operator),
    /// A rule.
    Rule(Fields),
}

/// A rule for one channel.
#[derive(Default, Deserialize, JsonSchema)]
#[schemars(rename = "ChannelFields")]
#[serde(default, deny_unknown_fields)]
struct Fields {
    /// What is done there.
    action: Option<Operator>,
    /// How likely it must be there.
    min: Option<Band>,
    /// `mask`: how many letters and digits at the end stay.
    keep_last: Option<usize>,
    /// `mask`: what stands for a letter or digit.
    #[serde(rename = "char")]
    mask: Option<char>,
}

impl<'de> Deserialize<'de> for ChannelRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ChannelRule, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ChannelRule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an action such as `block`, or a rule such as {action: mask, keep_last: 4}")
            }

            fn visit_str<E: de::Error>(self, action: &str) -> Result<ChannelRule, E> {
                let action = Some(Operator::deserialize(action.into_deserializer())?);
                Ok(ChannelRule { action, ..ChannelRule::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ChannelRule, A::Error> {
                let Fields { action, min, keep_last, mask } =
                    Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ChannelRule { action, min, keep_last, mask })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What is done with classes of findings in one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassRule {
    /// Instead of `pii`, for what `entities` gives no action.
    pub pii: Option<Action>,
    /// Instead of `secrets`.
    pub secrets: Option<Action>,
    /// Instead of `injection`. `system` and `assistant` are looked into only where this says so.
    pub injection: Option<InjectionAction>,
    /// Instead of `template_tokens`; the same.
    pub template_tokens: Option<TemplateAction>,
}

impl Default for Rules {
    fn default() -> Rules {
        let Policy { pii, secrets, injection, restore } = Policy::default();
        Rules {
            file: None,
            shadow: false,
            pii,
            secrets,
            injection,
            template_tokens: None,
            restore,
            packs: DEFAULT_PACKS.iter().map(|&pack| pack.to_owned()).collect(),
            entities: BTreeMap::new(),
            channels: BTreeMap::new(),
            hash_key: None,
            allow: Allow::default(),
            custom: Vec::new(),
            deny: Vec::new(),
            output: OutputRules::default(),
            of_answers: false,
            media: Media::default(),
            signed_thinking: SignedThinking::default(),
            tenants: BTreeMap::new(),
            routes: BTreeMap::new(),
            exceptions: Vec::new(),
        }
    }
}

impl Rules {
    /// What is done about injection by who speaks. An operator's own words and the model's are not suspected unless they are named.
    pub(crate) fn injection_by_channel(&self) -> [InjectionAction; 6] {
        let said = |channel| self.channels.get(&channel).and_then(|classes: &ClassRule| classes.injection);
        Channel::ALL.map(|channel| {
            let standard = match channel {
                Channel::System | Channel::Assistant => Some(InjectionAction::Off),
                Channel::Parameters => said(Channel::User),
                _ => None,
            };
            said(channel).or(standard).unwrap_or(self.injection)
        })
    }

    /// What is done with tokens of chat templates by who speaks.
    pub(crate) fn template_tokens_by_channel(&self) -> [TemplateAction; 6] {
        let said =
            |channel| self.channels.get(&channel).and_then(|classes: &ClassRule| classes.template_tokens);
        Channel::ALL.map(|channel| {
            let standard = TemplateAction::standard(channel);
            let common = self.template_tokens.filter(|_| standard != TemplateAction::Off);
            let people_s = said(Channel::User).filter(|_| channel == Channel::Parameters);
            said(channel).or(people_s).or(common).unwrap_or(standard)
        })
    }

    /// What they say about the classes.
    pub fn policy(&self) -> Policy {
        let restore = self.restore.clone();
        Policy { pii: self.pii, secrets: self.secrets, injection: self.injection, restore }
    }

    /// The fields that let rules only be tried, such as `tenants.acme.shadow`.
    pub fn tried(&self) -> Vec<String> {
        let mut tried = Vec::new();
        let mut look = |place: String, shadow: bool, entities: &BTreeMap<String, EntityRule>| {
            let entities = entities.iter().filter(|(_, rule)| rule.shadow);
            tried.extend(shadow.then(|| format!("{place}shadow")));
            tried.extend(entities.map(|(name, _)| format!("{place}entities.{name}.shadow")));
        };
        look(String::new(), self.shadow, &self.entities);
        look("output.".to_owned(), false, &self.output.entities);
        for (kind, scopes) in [("tenants", &self.tenants), ("routes", &self.routes)] {
            for (name, own) in scopes {
                look(format!("{kind}.{name}."), own.shadow == Some(true), &own.entities);
                let output = own.output.iter();
                output.for_each(|own| look(format!("{kind}.{name}.output."), false, &own.entities));
            }
        }
        tried
    }

    /// Whether they say nothing but where the file is that says it.
    pub fn is_elsewhere(&self) -> bool {
        *self == Rules { file: self.file.clone(), ..Rules::default() }
    }
}

/// What a policy says that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PolicyError {
    /// The field, such as `entities.CREDIT_CARD.min`.
    pub field: String,
    /// What was expected; never holds an example's text.
    pub problem: String,
}

impl PolicyError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> PolicyError {
        PolicyError { field: field.into(), problem: problem.into() }
    }
}
