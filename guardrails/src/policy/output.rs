//! What a policy says about answers.

use super::{Action, Compiler, EntityRule, Operator, PolicyError, Rules};
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
    /// What is dangerous whoever it is about: `ACTIVE_URL` (`javascript:`, `data:`), `ANSI_ESCAPE`, `CANARY`, and, where
    /// `allow.domains` names some, `IMAGE_LINK` and `LINK` to other hosts: the same.
    pub content: Action,
    /// The same for an entity, with all that can be said about it in a request but `tokenise`.
    pub entities: BTreeMap<String, EntityRule>,
    /// Marks that must never come out, such as one that stands in a system prompt: words of 8 bytes or more, in any case.
    pub canaries: Vec<String>,
    /// An answer that repeats its system prompt word for word, 24 words in a row or three in five of a short one: `log`, `block`
    /// or `off`.
    pub system_prompt: Action,
    /// Which tools a model may call.
    pub tools: Option<ToolRules>,
}

/// Which tools a model may call.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolRules {
    /// Names; `*` at the end of one stands for whatever follows.
    pub allow: Vec<String>,
    /// What becomes of an answer that calls another: `block` (the default), `log` or `off`.
    #[serde(default = "block")]
    pub action: Action,
}

fn block() -> Action {
    Action::Block
}

impl Default for OutputRules {
    fn default() -> OutputRules {
        OutputRules {
            pii: Action::Log,
            secrets: Action::Log,
            content: Action::Log,
            entities: BTreeMap::new(),
            canaries: Vec::new(),
            system_prompt: Action::Log,
            tools: None,
        }
    }
}

impl ToolRules {
    /// Whether a tool of this name may be called.
    pub fn allows(&self, name: &str) -> bool {
        self.allow.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == allowed,
        })
    }
}

impl OutputRules {
    /// The guard of answers where these exceptions hold, by their places; none if nothing is looked for.
    pub(crate) fn guard(
        compiler: &mut Compiler,
        rules: &Rules,
        holding: &[usize],
    ) -> Result<Option<Arc<Guard>>, PolicyError> {
        let output = &rules.output;
        let denies = rules.deny.iter().any(|list| list.output != Action::Off);
        if rules.of_answers || (output.is_off() && !denies) {
            return Ok(None);
        }
        output.check()?;
        let rules = Rules {
            pii: output.pii,
            secrets: output.secrets,
            entities: output.entities.clone(),
            channels: BTreeMap::new(),
            of_answers: true,
            ..rules.clone()
        };
        let guard =
            compiler.answers(&rules, holding).map_err(|error| match error.field.starts_with("entities.") {
                true => PolicyError::new(format!("output.{}", error.field), error.problem),
                false => error,
            });
        guard.map(Some)
    }

    fn is_off(&self) -> bool {
        let classes = [self.pii, self.secrets, self.content, self.system_prompt];
        classes.iter().all(|class| *class == Action::Off) && self.entities.is_empty() && self.tools.is_none()
    }

    fn check(&self) -> Result<(), PolicyError> {
        for (name, rule) in &self.entities {
            if let Some(channel) = rule.channels.keys().next() {
                let problem = "an answer is in no other channel: what holds for it stands in the rule itself";
                let field = format!("output.entities.{name}.channels.{}", channel.name());
                return Err(PolicyError::new(field, problem));
            }
            if rule.action == Some(Operator::Route) {
                let problem =
                    "an answer is there already; expected `redact`, `mask`, `hash`, `block`, `log` or `off`";
                return Err(PolicyError::new(format!("output.entities.{name}.action"), problem));
            }
            if rule.action == Some(Operator::Tokenise) {
                let problem = "a placeholder of an answer stands for nothing that could come back; expected `redact`, `mask`, \
                    `hash`, `block`, `log` or `off`";
                return Err(PolicyError::new(format!("output.entities.{name}.action"), problem));
            }
        }
        let tools = self.tools.as_ref().map(|tools| ("output.tools.action", tools.action));
        let classes =
            [("output.pii", self.pii), ("output.secrets", self.secrets), ("output.content", self.content)];
        for (field, action) in
            classes.into_iter().chain([("output.system_prompt", self.system_prompt)]).chain(tools)
        {
            if action == Action::Route {
                return Err(PolicyError::new(
                    field,
                    "an answer is there already: expected `block`, `log` or `off`",
                ));
            }
        }
        for (field, action) in
            [Some(("output.system_prompt", self.system_prompt)), tools].into_iter().flatten()
        {
            if action == Action::Redact {
                let problem = "there is nothing to put in its place: expected `block`, `log` or `off`";
                return Err(PolicyError::new(field, problem));
            }
        }
        Ok(())
    }
}
