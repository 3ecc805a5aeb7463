//! `presidio:`

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use sluice_guardrails::pii::{DEFAULT_PACKS, Selection};

/// `presidio:` Presidio's `/analyze` and `/anonymize` on an address of their own, for programs that speak its REST API.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PresidioSection {
    /// Where its clients connect. Without one it is off. On loopback it asks for no key, elsewhere for any of `keys`.
    pub listen: Option<SocketAddr>,
    /// Whose entities are found: names of packs, or `all`. Here those are told, too, which the gateway itself leaves alone (dates,
    /// URLs …).
    pub packs: Vec<String>,
    /// Least score of what is found, from 0 to 1, where a request has no `score_threshold`. Nothing under 0.3 is ever told.
    pub score_threshold: f32,
}

impl Default for PresidioSection {
    fn default() -> Self {
        let packs = DEFAULT_PACKS.iter().map(|&pack| pack.to_owned()).collect();
        Self { listen: None, packs, score_threshold: 0.6 }
    }
}

impl PresidioSection {
    /// What is wrong with it, one sentence each. `open`: there are no keys.
    pub(crate) fn problems(&self, open: bool, others: &[SocketAddr]) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(listen) = self.listen {
            if open && !listen.ip().is_loopback() {
                let needs = "needs at least one key under 'keys'";
                problems.push(format!("presidio.listen: an address that others can reach {needs}"));
            }
            if listen.port() != 0 && others.contains(&listen) {
                problems
                    .push("presidio.listen: must be another address than 'listen' and 'admin'".to_owned());
            }
        }
        if let Err(problem) = Selection::of(&self.packs) {
            problems.push(format!("presidio.packs: {problem}"));
        }
        if !(0.0..=1.0).contains(&self.score_threshold) {
            problems.push("presidio.score_threshold: expected a number from 0 to 1".to_owned());
        }
        problems
    }
}
