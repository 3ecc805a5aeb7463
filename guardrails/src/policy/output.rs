//! What a policy says about answers.

use super::{Action, EntityRule, Operator, PolicyError, Rules};
use crate::guard::Guard;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is done with what stands in an answer of a model. A caller's own values are not among it: they come as placeholders.
///
/// By default findings are counted and audited, and stay: a telephone number in an answer is more often the shop's than a
/// leak.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutputRules {
    /// Personal data of which `entities` says nothing: `log` counts and audits it; `redact` replaces it by a mark such as
    /// `[REDACTED_EMAIL_ADDRESS]`, for good; `block` ends the answer with an error before it; `off`.
    pub pii: Action,
    /// Credentials: the same.
    pub secrets: Action,
    /// The same for an entity, with all that can be said about it in a request but `tokenise`.
    pub entities: BTreeMap<String, EntityRule>,
}

impl Default for OutputRules {
    fn default() -> OutputRules {
        OutputRules { pii: Action::Log, secrets: Action::Log, entities: BTreeMap::new() }
    }
}

impl OutputRules {
    /// The guard of answers; none if nothing is looked for.
    pub(crate) fn guard(
        rules: &Rules,
        secret: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Option<Arc<Guard>>, PolicyError> {
        let OutputRules { pii, secrets, entities } = &rules.output;
        let error = |field: &str, problem: String| PolicyError::new(format!("output.{field}"), problem);
        for (name, rule) in entities {
            if rule.action == Some(Operator::Tokenise) {
                let problem = "a placeholder of an answer stands for nothing that could come back; expected `redact`, `mask`, \
                    `hash`, `block`, `log` or `off`";
                return Err(error(&format!("entities.{name}.action"), problem.to_owned()));
            }
        }
        let off = OutputRules { pii: Action::Off, secrets: Action::Off, entities: BTreeMap::new() };
        if rules.output == off {
            return Ok(None);
        }
        let rules =
            Rules { pii: *pii, secrets: *secrets, entities: entities.clone(), output: off, ..rules.clone() };
        let guard = Guard::compile(&rules, secret).map_err(|e| match e.field.starts_with("entities.") {
            true => error(&e.field, e.problem),
            false => e,
        })?;
        Ok(Some(Arc::new(guard.of_answers(&rules))))
    }
}
