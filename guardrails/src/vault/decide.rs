//! What the policy says of what is found: for the channel in which it stands, and for a value that stands in several.

use super::{Blocked, Vault};
use crate::channel::Reading;
use crate::guard::{Finding, Guard};
use crate::policy::{Operator, Survey, Treatment, Verdicts};
use crate::trail::Origins;
use crate::{json, pipeline};
use serde_json::Value;

impl Vault {
    /// What the policy says of findings in a text of the present channel.
    pub(super) fn verdicts<'t>(&'t self, guard: &'t Guard, text: &'t str) -> Verdicts<'t> {
        guard.plan.verdicts(self.channel, text, self.strictest.as_ref())
    }

    /// Takes note of what stands in a text, and changes nothing.
    pub(super) fn look_over(&mut self, guard: &Guard, text: &str, label: &str) {
        let verdicts = guard.plan.verdicts(self.channel, text, None);
        let Some(survey) = &mut self.survey else { return };
        if survey.places().is_some() {
            survey.stands(verdicts, text);
        } else {
            let found = guard.candidates(text, label, &|finding| verdicts.is_enough(finding));
            survey.found(verdicts, text, &found);
        }
    }

    /// Keeps what is decided about these findings, where that is wanted. They stand in `text`, which `came` in another form.
    /// `acting`: they are replaced, or the request is refused.
    pub(super) fn note(
        &mut self,
        guard: &Guard,
        text: &str,
        (came, origins): (&str, &Origins),
        found: &[Finding],
        acting: bool,
    ) {
        let found = if self.trail.is_on() { found } else { &[] };
        for finding in found {
            let treatment = self.treatment(guard, text, finding);
            // Of what covers several findings the policy may say nothing.
            let treatment =
                if acting && !treatment.acts() { Treatment::of(Operator::Tokenise) } else { treatment };
            let how = guard.plan.how(self.channel, &treatment);
            self.trail.note(finding, how, came, origins.of(&finding.span));
        }
    }

    /// What is done with a finding. What others find is replaced, whatever is said of its entity, unless that is only tried.
    fn treatment(&self, guard: &Guard, text: &str, finding: &Finding) -> Treatment {
        let treatment = *self.verdicts(guard, text).of(finding);
        let stays = matches!(treatment.operator, Operator::Block | Operator::Log | Operator::Off);
        let is_replaced = stays && self.foreign.contains(finding.entity);
        if is_replaced { treatment.with(Operator::Tokenise) } else { treatment }
    }

    /// What of known findings, and of those of others, is replaced, resolved; and what stays, since the policy is only tried.
    pub(super) fn replaceable(
        &self,
        guard: &Guard,
        text: &str,
        found: Vec<Finding>,
    ) -> (Vec<Finding>, Vec<Finding>) {
        let verdicts = self.verdicts(guard, text);
        let is_tried = |finding: &Finding| self.given.is_some() && verdicts.of(finding).shadow;
        let (tried, acting) = found.into_iter().partition(is_tried);
        (pipeline::resolve(acting, verdicts), pipeline::report(tried))
    }

    /// What is blocked is not replaced. `again`: it has a placeholder already, or gets one whatever the policy says of its
    /// entity, since others found it; that refuses nothing.
    pub(super) fn refuse(
        &self,
        guard: &Guard,
        text: &str,
        found: &[Finding],
        again: bool,
    ) -> Result<(), Blocked> {
        let verdicts = self.verdicts(guard, text);
        let is_foreign = |finding: &Finding| again && self.foreign.contains(finding.entity);
        let blocks = |finding: &&Finding| verdicts.of(finding).blocks() && !is_foreign(finding);
        match found.iter().find(blocks) {
            Some(&Finding { entity, rule, class, .. }) => Err(Blocked { class, entity, rule }),
            None => Ok(()),
        }
    }

    /// Keeps in mind that these stay in the text. Where it is read again, what stayed is known already.
    pub(super) fn confine(&mut self, guard: &Guard, text: &str, came: (&str, &Origins), routed: &[Finding]) {
        for finding in routed {
            if !(self.is_repeating() && self.routed.contains_key(finding.entity)) {
                self.note(guard, text, came, std::slice::from_ref(finding), false);
                *self.routed.entry(finding.entity).or_default() += 1;
            }
        }
    }

    /// From now on texts are read like this.
    pub(super) fn begin(&mut self, guard: &Guard, reading: &Reading<'_>) {
        self.channel = reading.standard;
        self.tells_channels = guard.plan.has_channels() || self.trail.is_on();
    }

    /// Counts what is found and neither replaced nor refused.
    pub(super) fn count(&mut self, guard: &Guard, text: &str, found: &[Finding]) {
        for finding in found {
            let Treatment { operator, shadow, .. } = self.treatment(guard, text, finding);
            let count = if shadow {
                self.shadowed.entry((finding.entity, operator)).or_default()
            } else {
                self.logged.entry(finding.entity).or_default()
            };
            *count += 1;
        }
    }

    /// Learns which values stand in channels of which the policy says different things.
    pub(super) fn survey(
        &mut self,
        guard: &Guard,
        value: &mut Value,
        reading: &Reading<'_>,
    ) -> Result<(), Blocked> {
        self.survey = Some(Survey::default());
        json::redact(self, guard, value, &[], reading)?;
        if self.survey.as_mut().is_some_and(Survey::look_for_places) {
            json::redact(self, guard, value, &[], reading)?;
        }
        self.strictest = self.survey.take().map(Survey::finish);
        Ok(())
    }

    /// Whether it matters who speaks.
    pub(crate) fn tells_channels(&self) -> bool {
        self.tells_channels
    }
}
