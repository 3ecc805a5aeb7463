//! What an operator wants done: a plain value, read from the configuration.

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
}

impl Default for Policy {
    fn default() -> Self {
        Policy { pii: Action::Redact, secrets: Action::Redact, injection: InjectionAction::Report }
    }
}

/// What is done with a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Replace it by a placeholder.
    Redact,
    /// Refuse the request.
    Block,
    /// Do not look for it.
    Off,
}

/// What is done about prompt injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InjectionAction {
    /// Score it and name the signals; the request goes on unchanged.
    Report,
    /// Do not look for it.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_policy_redacts_and_reports() {
        let policy: Policy = serde_json::from_str("{}").unwrap();
        assert_eq!(policy, Policy::default());
        assert_eq!(
            policy,
            Policy { pii: Action::Redact, secrets: Action::Redact, injection: InjectionAction::Report }
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
