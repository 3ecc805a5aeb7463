//! What the policy makes of a chat request: of its texts, of what is no text, and of texts that must not change. The same for
//! a request that is sent and for a dry run.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_guardrails::{Blocked, Decision, Guard, Vault};

use super::guards::READING;
use super::parts::{Fate, Part, Setting};
use super::tokens::{self, Tokens};
use super::{audited, media, signed};
use crate::error::ApiError;
use crate::telemetry::metrics::Metrics;

/// What came of it.
pub(crate) struct Scanned {
    /// The originals.
    pub(crate) vault: Vault,
    /// Whether anything was replaced, or why the request is refused.
    pub(crate) redacted: Result<bool, Blocked>,
    /// What was decided about findings, if that was to be kept.
    pub(crate) decisions: Vec<Decision>,
    /// Images, sound and files that are not simply allowed.
    pub(crate) media: Vec<Part>,
    /// What signed reasoning came to.
    pub(super) signed: signed::Outcome,
    /// Tokens of chat templates.
    pub(super) tokens: Tokens,
}

impl Default for Scanned {
    fn default() -> Self {
        let (vault, redacted, decisions, media) = (Vault::new(), Ok(false), Vec::new(), Vec::new());
        let (signed, tokens) = (signed::Outcome::default(), Tokens::default());
        Self { vault, redacted, decisions, media, signed, tokens }
    }
}

/// Redacts a request in place; if it is refused, in part. `decisions`: whether to keep what is decided.
pub(crate) fn scan(guard: &Guard, request: &mut Value, decisions: bool) -> Scanned {
    let mut vault = Vault::new();
    vault.restore_by(guard.policy().restore.clone());
    if decisions {
        vault.keep_decisions();
    }
    let media = media::find(guard, request);
    // What was signed has the placeholders of an earlier turn in it, which are ours and the same now: they are not the user's.
    let blocks = signed::take(request);
    vault.reserve_json(request);
    let mut redacted = vault.read_json(guard, request, &READING);
    let tokens = tokens::escape(guard, request);
    redacted = redacted.map(|changed| changed || tokens.changed);
    let mut signed = signed::look_into(guard, &vault, &blocks);
    signed::put_back(request, blocks);
    if let (Ok(_), Some(blocked)) = (&redacted, signed.blocked.take()) {
        redacted = Err(blocked);
    }
    let mut all = vault.decisions();
    if decisions {
        all.append(&mut signed.decisions);
        all.extend(tokens.decisions.iter().cloned());
    }
    Scanned { vault, redacted, decisions: all, media, signed, tokens }
}

impl Scanned {
    /// What was decided about whole parts.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.media.iter().chain(&self.signed.parts)
    }

    /// Those about which the policy is not only tried.
    fn decided(&self) -> impl Iterator<Item = &Part> {
        self.parts().filter(|part| !part.shadow)
    }

    /// What keeps the request in the house, if anything does: an entity.
    pub(crate) fn in_house(&self) -> Option<&'static str> {
        let entities = self.vault.routed().keys().chain(self.signed.routed.keys()).copied();
        let parts = self.decided().filter(|part| part.fate == Fate::Routed).map(|part| part.entity);
        entities.chain(parts).next()
    }

    /// Why the request is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<ApiError> {
        if let Err(blocked) = &self.redacted {
            return Some(blocked.clone().into());
        }
        if let Some(path) = &self.tokens.blocked {
            let (code, what) = ("template_token_blocked", "a token of a chat template".to_owned());
            let setting = "guardrails.template_tokens: block";
            return Some(ApiError::PartBlocked { code, param: audited::field(path), what, setting });
        }
        let part = self.decided().find(|part| part.fate == Fate::Blocked)?;
        let (code, what, setting) = match part.setting {
            Setting::Media => ("media_blocked", part.entity.to_owned(), "guardrails.media: block"),
            Setting::SignedThinking => (
                "signed_thinking_blocked",
                format!("{} in reasoning that its provider signed", part.entity),
                "guardrails.signed_thinking: block",
            ),
        };
        Some(ApiError::PartBlocked { code, param: audited::field(&part.path), what, setting })
    }

    /// Whether there is nothing to do, to count or to tell.
    pub(crate) fn found_nothing(&self) -> bool {
        let nothing = |counts: &BTreeMap<_, _>| counts.is_empty();
        self.vault.is_empty()
            && [self.vault.logged(), self.vault.routed(), &self.signed.logged, &self.signed.routed]
                .into_iter()
                .all(nothing)
            && self.vault.shadowed().is_empty()
            && self.signed.shadowed.is_empty()
            && self.parts().next().is_none()
            && self.tokens.decisions.is_empty()
    }

    /// Counts what was found in a request that is not refused for it.
    pub(crate) fn count(&self, metrics: &Metrics) {
        let routed = self.vault.routed().iter().chain(&self.signed.routed);
        routed.for_each(|(entity, times)| metrics.routed(entity, *times));
        let parts = self.decided().filter(|part| part.fate == Fate::Routed);
        parts.for_each(|part| metrics.routed(part.entity, 1));
        if self.refusal().is_some() {
            return;
        }
        self.tokens.count(metrics);
        for (entity, values) in self.vault.counts() {
            metrics.redacted(entity, values);
        }
        let logged = self.vault.logged().iter().chain(&self.signed.logged);
        logged.for_each(|(entity, times)| metrics.logged(entity, *times));
        let kept = self.decided().filter(|part| part.fate == Fate::Kept);
        kept.for_each(|part| metrics.logged(part.entity, 1));
        for ((entity, action), times) in self.vault.shadowed().iter().chain(&self.signed.shadowed) {
            metrics.shadowed(entity, action.name(), *times);
        }
        let tried = self.parts().filter(|part| part.shadow);
        tried.for_each(|part| metrics.shadowed(part.entity, part.fate.name(), 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sluice_guardrails::Rules;

    #[test]
    fn what_is_only_tried_refuses_nothing_and_keeps_nothing_in_the_house() {
        let thinking = json!({ "type": "thinking", "thinking": "Is it bob@example.org?", "signature": "s" });
        let picture =
            json!({ "type": "image_url", "image_url": { "url": "https://pictures.example/a.png" } });
        let request = json!({ "messages": [
            { "role": "user", "content": [picture, { "type": "text", "text": "I am ada@example.org" }] },
            { "role": "assistant", "content": [thinking] },
        ] });
        for media in ["block", "route"] {
            let scanned = |shadow: bool| {
                let rules = json!({ "shadow": shadow, "media": { "image": media }, "pii": "route" });
                let rules: Rules = serde_json::from_value(rules).unwrap();
                let guard = Guard::compile(&rules, &|_| Err("no secret".to_owned())).unwrap();
                let mut sent = request.clone();
                let scanned = scan(&guard, &mut sent, true);
                assert_eq!(sent, request);
                scanned
            };
            let real = scanned(false);
            assert_eq!((real.refusal().is_some(), real.in_house().is_some()), (media == "block", true));
            let tried = scanned(true);
            assert!(tried.refusal().is_none() && tried.in_house().is_none() && !tried.found_nothing());
            assert!(tried.parts().all(|part| part.shadow) && tried.parts().count() == 1);
            let told = tried.decisions.iter().map(|decision| (decision.channel.name(), decision.shadow));
            assert_eq!(told.collect::<Vec<_>>(), [("user", true), ("assistant", true)]);
        }
    }
}
