//! What an operator wants done: plain values, read from the configuration.

mod allow;
mod compile;
mod deny;
mod exceptions;
mod guards;
mod hash;
mod output;
mod plan;
mod rules;
mod strictest;

pub use allow::{Allow, Networks};
pub(crate) use compile::Compiler;
pub use compile::{Secrets, suggestion};
pub use deny::Deny;
pub use exceptions::{Day, Exception};
pub use guards::Guards;
pub use hash::hmac_sha256;
pub(crate) use hash::{are_letters as is_hash, hex};
pub use output::{OutputRules, ToolRules};
pub(crate) use plan::{Plan, Treatment, Verdicts};
pub use rules::{ChannelRule, ClassRule, EntityRule, Overrides, PolicyError, Rules};
pub(crate) use strictest::{Strictest, Survey};

use crate::restore::Restores;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the guard does with personal data, secrets and attempts at prompt injection.
///
/// The default redacts personal data and secrets, and reports injection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Personal data (e-mail addresses, card numbers, phone numbers …): `redact` replaces it by placeholders
    /// and restores it in answers.
    pub pii: Action,
    /// Credentials (API keys, private keys …): `redact` replaces them by placeholders for good.
    pub secrets: Action,
    /// Attempts to override instructions: `report` never changes or refuses a request.
    pub injection: InjectionAction,
    /// Into what the caller's own values are put back, by entity (`default` for all others): `text` (what people read), `tools`
    /// (also the arguments of tool calls) or `never`.
    pub restore: Restores,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            pii: Action::Redact,
            secrets: Action::Redact,
            injection: InjectionAction::Report,
            restore: Restores::default(),
        }
    }
}

/// What is done with a class of findings, where nothing is said about their entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Replace it by a placeholder.
    Redact,
    /// Refuse the request.
    Block,
    /// Leave it where it is, and send the request to in-house targets alone.
    Route,
    /// Count it, and write it into the audit log; it stays where it is.
    #[serde(alias = "report")]
    Log,
    /// Do not look for it.
    Off,
}

/// What is done with a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    /// Replace it by a placeholder such as `[EMAIL_ADDRESS_1]`; what is no secret comes back in the answer.
    Tokenise,
    /// Replace it by a mark such as `[EMAIL_ADDRESS]`, for good.
    Redact,
    /// Replace its letters and digits but for the last few, for good.
    Mask,
    /// Replace it by a mark with its keyed hash (HMAC-SHA256), for good: equal values have equal marks.
    Hash,
    /// Refuse the request.
    Block,
    /// Leave it where it is, and send the request to in-house targets alone.
    Route,
    /// Count it, and write it into the audit log; it stays where it is.
    Log,
    /// Do not look for it.
    Off,
}

impl Operator {
    /// Its name, as it is written in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Tokenise => "tokenise",
            Operator::Redact => "redact",
            Operator::Mask => "mask",
            Operator::Hash => "hash",
            Operator::Block => "block",
            Operator::Route => "route",
            Operator::Log => "log",
            Operator::Off => "off",
        }
    }

    /// Whether a value is sent nowhere as it is.
    pub fn acts(self) -> bool {
        !matches!(self, Operator::Route | Operator::Log | Operator::Off)
    }
}

impl From<Action> for Operator {
    fn from(action: Action) -> Operator {
        match action {
            Action::Redact => Operator::Tokenise,
            Action::Block => Operator::Block,
            Action::Route => Operator::Route,
            Action::Log => Operator::Log,
            Action::Off => Operator::Off,
        }
    }
}

/// What is done about prompt injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InjectionAction {
    /// Score it and name the signals; the request goes on unchanged.
    #[serde(alias = "flag")]
    Report,
    /// Refuse the request where it is nearly certain (one harmless text in a thousand is), and report it where it is likely.
    Block,
    /// Refuse the request where it is likely (one harmless text in a hundred is).
    Strict,
    /// Do not look for it.
    Off,
}

#[cfg(test)]
mod channels_tests;
#[cfg(test)]
mod exceptions_tests;
#[cfg(test)]
mod guards_tests;
#[cfg(test)]
mod rules_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_policy_redacts_and_reports() {
        let policy: Policy = serde_json::from_str("{}").unwrap();
        assert_eq!(policy, Policy::default());
        assert_eq!(
            policy,
            Policy {
                pii: Action::Redact,
                secrets: Action::Redact,
                injection: InjectionAction::Report,
                restore: Restores::default(),
            }
        );
    }

    #[test]
    fn actions_are_written_in_lower_case() {
        let policy: Policy =
            serde_json::from_str(r#"{"pii":"block","secrets":"off","injection":"off"}"#).unwrap();
        assert_eq!(policy.pii, Action::Block);
        assert_eq!(policy.secrets, Action::Off);
        assert_eq!(policy.injection, InjectionAction::Off);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<Policy>(r#"{"secret":"off"}"#).is_err());
    }
}
