//! Everything that a policy can say: the section `guardrails:` of a configuration, or a policy file.

use super::{Action, Allow, InjectionAction, Operator, OutputRules, Policy};
use crate::media::{Media, SignedThinking};
use crate::pii::{DEFAULT_PACKS, Row};
use crate::restore::Restores;
use crate::score::Band;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is looked for in requests, and what is done with it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// A file that says all of this instead (the same fields). It is read again when it changes and on SIGHUP; if it is wrong
    /// then, the last right one stays in force.
    pub file: Option<PathBuf>,
    /// Personal data (e-mail addresses, card numbers, phone numbers …) of which `entities` says nothing: `redact` replaces it
    /// by placeholders and restores it in answers; `block` refuses the request; `route` leaves it and asks in-house targets
    /// alone; `log` only counts and audits it; `off`.
    pub pii: Action,
    /// Credentials (API keys, private keys …): `redact` replaces them by placeholders for good.
    pub secrets: Action,
    /// Attempts to override instructions: `report` never changes or refuses a request.
    pub injection: InjectionAction,
    /// Into what the caller's own values are put back, by entity (`default` for all others): `text` (what people read), `tools`
    /// (also the arguments of tool calls) or `never`.
    pub restore: Restores,
    /// Which packs of recognisers look for personal data: `core`, `us`, `de` …, or `all`.
    pub packs: Vec<String>,
    /// What is done with an entity, by its name, such as `CREDIT_CARD`; `SECRET` stands for all credentials. An entity that is
    /// named here is looked for even if its pack is not on.
    pub entities: BTreeMap<String, EntityRule>,
    /// The key for `hash`: `env:NAME` or `file:PATH`, at least 16 bytes.
    pub hash_key: Option<String>,
    /// What is no finding.
    pub allow: Allow,
    /// Recognisers of your own, with examples that are tried out whenever the policy is read.
    pub custom: Vec<Row>,
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
}

impl Default for Rules {
    fn default() -> Rules {
        let Policy { pii, secrets, injection, restore } = Policy::default();
        Rules {
            file: None,
            pii,
            secrets,
            injection,
            restore,
            packs: DEFAULT_PACKS.iter().map(|&pack| pack.to_owned()).collect(),
            entities: BTreeMap::new(),
            hash_key: None,
            allow: Allow::default(),
            custom: Vec::new(),
            output: OutputRules::default(),
            of_answers: false,
            media: Media::default(),
            signed_thinking: SignedThinking::default(),
        }
    }
}

impl Rules {
    /// What they say about the classes.
    pub fn policy(&self) -> Policy {
        let restore = self.restore.clone();
        Policy { pii: self.pii, secrets: self.secrets, injection: self.injection, restore }
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
