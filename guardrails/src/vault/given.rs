//! What others found: replaced like what our own rules find.

use super::Vault;
use crate::channel::Reading;
use crate::guard::{Finding, Guard};
use crate::vault::Blocked;
use crate::{json, placeholder};
use serde_json::Value;
use std::collections::HashMap;

impl Vault {
    /// Replaces what others found in texts of a JSON value that was redacted already, and the same values wherever else they
    /// stand. `found` has it by the texts as [`crate::each_text`] gives them. What stands in a placeholder is left, and so is what the policy
    /// allows. Whatever the policy says of an entity that is not its own, it gets a placeholder, unless the policy has a mark for it or is only tried.
    ///
    /// # Errors
    /// [`Blocked`] if what stands there after that shows something that the policy blocks.
    pub fn redact_found(
        &mut self,
        guard: &Guard,
        value: &mut Value,
        mut found: HashMap<String, Vec<Finding>>,
        reading: &Reading<'_>,
    ) -> Result<bool, Blocked> {
        self.begin(guard, reading);
        for (text, findings) in &mut found {
            let whole = |finding: &Finding| text.get(finding.span.clone()).is_some();
            findings.retain(whole);
            guard.plan.allowed.apply(text, findings);
            let marks = placeholder::marks(text);
            let outside = std::mem::take(findings);
            *findings = outside.into_iter().flat_map(|finding| beside(&finding, text, &marks)).collect();
            self.foreign.extend(findings.iter().map(|finding| finding.entity));
        }
        self.given = Some(found);
        let changed = json::redact(self, guard, value, &[], reading);
        self.given = None;
        Ok(changed? && {
            self.spread(guard, value, reading)?;
            true
        })
    }
}

/// The parts of a finding that stand in no mark and say something.
fn beside(finding: &Finding, text: &str, marks: &[std::ops::Range<usize>]) -> Vec<Finding> {
    let (mut parts, mut from) = (Vec::new(), finding.span.start);
    for mark in marks.iter().filter(|mark| mark.start < finding.span.end && finding.span.start < mark.end) {
        parts.push(from..mark.start.max(from));
        from = mark.end.max(from);
    }
    let is_cut = !parts.is_empty();
    parts.push(from..finding.span.end.max(from));
    let says = |c: char| c.is_alphanumeric();
    let trimmed = parts.into_iter().filter_map(|part| {
        let within = text.get(part.clone())?;
        let start = if is_cut { within.find(says)? } else { 0 };
        let end =
            within.rfind(says).map(|last| last + within[last..].chars().next().map_or(0, char::len_utf8))?;
        let end = if is_cut { end } else { within.len() };
        Some(Finding { span: part.start + start..part.start + end, ..finding.clone() })
    });
    trimmed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::guard::Class;
    use crate::policy::{Action, Allow, Policy, Rules};
    use crate::{Form, pii};
    use serde_json::json;

    fn person(text: &str, value: &str) -> Finding {
        let start = text.find(value).unwrap();
        Finding {
            entity: pii::know("NICKNAME"),
            rule: "presidio",
            class: Class::Pii,
            span: start..start + value.len(),
            score: 0.85,
        }
    }

    /// Redacts `value`, then what somebody else finds in its first text: these values.
    fn redacted(guard: &Guard, value: &mut Value, values: &[&str]) -> Vault {
        let mut vault = Vault::new();
        vault.keep_decisions();
        vault.reserve_json(value);
        vault.redact_json(guard, value, &|_, _| false).unwrap();
        let text = value[0].as_str().unwrap().to_owned();
        let found = values.iter().map(|value| person(&text, value)).collect();
        let reading = Reading { skip: &|_, _| false, channel: &|_, _| None, standard: Channel::User };
        vault.redact_found(guard, value, HashMap::from([(text, found)]), &reading).unwrap();
        vault
    }

    #[test]
    fn what_others_found_gets_placeholders_wherever_it_stands_and_comes_back() {
        let guard = Guard::new(&Policy::default());
        let mut value =
            json!(["I am Zoe Quill, z@example.org.", { "note": "{\"by\": \"Zoe Quill\"}" }, "[NICKNAME_1]"]);
        pii::know("NICKNAME");
        let vault = redacted(&guard, &mut value, &["Zoe Quill"]);
        assert_eq!(
            value,
            json!(["I am [NICKNAME_2], [EMAIL_ADDRESS_1].", { "note": "{\"by\": \"[NICKNAME_2]\"}" }, "[NICKNAME_1]"]),
            "and one that the caller wrote is not restored"
        );
        assert_eq!(vault.rehydrate("[NICKNAME_1], [NICKNAME_2]", Form::Text), "[NICKNAME_1], Zoe Quill");
        let proof = vault.proof().unwrap();
        assert!(
            proof.check(b"Zoe Quill").is_err()
                && proof.check_json(value.to_string().as_bytes(), &|_| false).is_ok()
        );
    }

    #[test]
    fn a_decision_says_where_the_value_stood_in_the_text_as_it_came() {
        let guard = Guard::new(&Policy::default());
        let came = "Mail zoe.quill@example.org to Zoe Quill";
        let mut vault = redacted(&guard, &mut json!([came]), &["Zoe Quill"]);
        let decisions = vault.decisions();
        let told: Vec<_> =
            decisions.iter().map(|d| (d.entity, &came[d.bytes.clone()], d.action.name())).collect();
        assert_eq!(
            told,
            [("EMAIL_ADDRESS", "zoe.quill@example.org", "tokenise"), ("NICKNAME", "Zoe Quill", "tokenise")]
        );
    }

    #[test]
    fn placeholders_are_no_names_and_what_stands_beside_them_is_replaced() {
        let guard = Guard::new(&Policy::default());
        let mut value = json!(["From Zoe z@example.org (Quill)."]);
        redacted(&guard, &mut value, &["Zoe [EMAIL_ADDRESS_1] (Quill"]);
        assert_eq!(value, json!(["From [NICKNAME_1] [EMAIL_ADDRESS_1] ([NICKNAME_2])."]));
        let mut value = json!(["From z@example.org."]);
        let vault = redacted(&guard, &mut value, &["EMAIL_ADDRESS_1"]);
        assert_eq!((value, vault.counts().len()), (json!(["From [EMAIL_ADDRESS_1]."]), 1));
    }

    #[test]
    fn what_the_policy_allows_stays_and_what_it_only_logs_or_blocks_of_its_own_is_replaced_all_the_same() {
        let allow = Allow { values: vec!["Acme Rivers".to_owned()], ..Allow::default() };
        let guard = Guard::compile(&Rules { allow, ..Rules::default() }, &|_| Ok(Vec::new())).unwrap();
        let mut value = json!(["Zoe of Acme Rivers"]);
        redacted(&guard, &mut value, &["Zoe", "Acme Rivers"]);
        assert_eq!(value, json!(["[NICKNAME_1] of Acme Rivers"]));
        for pii in [Action::Block, Action::Log, Action::Off] {
            let guard = Guard::new(&Policy { pii, ..Policy::default() });
            let mut value = json!(["Zoe Quill is here.", "Zoe Quill"]);
            let mut vault = redacted(&guard, &mut value, &["Zoe Quill"]);
            assert_eq!(value, json!(["[NICKNAME_1] is here.", "[NICKNAME_1]"]));
            assert!(vault.decisions().iter().all(|decision| decision.action.name() == "tokenise"));
        }
    }
}
