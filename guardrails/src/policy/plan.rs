//! Rules, ready to be applied to findings.

use super::allow::Allowed;
use super::hash::HashKey;
use super::strictest::Strictest;
use super::{Operator, Policy};
use crate::channel::Channel;
use crate::guard::{Class, Finding};
use crate::score::Band;
use crate::trail::How;
use crate::{answers, pii, placeholder, secrets};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What is done with findings, by channel and entity.
pub(crate) struct Plan {
    /// Where nothing is said of the channel.
    pub(super) common: Table,
    /// By a channel's number, where something else is said of it. Empty if nothing is said of any.
    pub(super) channels: Vec<Option<Table>>,
    pub(crate) allowed: Arc<Allowed>,
    pub(super) key: Option<Arc<HashKey>>,
    /// The names of the exceptions that hold.
    pub(super) exceptions: Vec<Arc<str>>,
    /// The least score at which anything is acted on.
    pub(crate) least: Band,
    /// Says all of this, for a name that changes with it.
    pub(crate) source: String,
}

/// What is done with findings, by entity.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) entities: HashMap<&'static str, Treatment>,
    pub(super) pii: Treatment,
    pub(super) secrets: Treatment,
    /// For what is dangerous in answers.
    pub(super) content: Treatment,
}

/// What is done with a finding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Treatment {
    pub(crate) operator: Operator,
    pub(super) min: Band,
    pub(super) keep_last: usize,
    pub(super) mask: char,
    /// It is only written down what would be done.
    pub(crate) shadow: bool,
    /// The exception that says so, by its place among those that hold.
    pub(super) exception: Option<usize>,
}

impl Treatment {
    pub(crate) fn of(operator: Operator) -> Treatment {
        Treatment { operator, min: Band::Likely, keep_last: 0, mask: '*', shadow: false, exception: None }
    }

    /// The same with another operator.
    pub(crate) fn with(self, operator: Operator) -> Treatment {
        Treatment { operator, ..self }
    }

    /// Whether a value does not leave as it is.
    pub(crate) fn acts(&self) -> bool {
        self.operator.acts() && !self.shadow
    }

    /// Whether the request is refused.
    pub(crate) fn blocks(&self) -> bool {
        self.operator == Operator::Block && !self.shadow
    }

    /// Whether a value stays, and the request goes to in-house targets alone.
    pub(crate) fn routes(&self) -> bool {
        self.operator == Operator::Route && !self.shadow
    }

    /// How strict it is: what blocks, then what tells less of the value.
    pub(super) fn strictness(&self) -> impl Ord + Copy + use<> {
        let severity = match self.operator {
            _ if self.shadow => 0,
            Operator::Block => 6,
            Operator::Redact => 5,
            Operator::Tokenise => 4,
            Operator::Hash => 3,
            Operator::Mask => 2,
            Operator::Route => 1,
            Operator::Log | Operator::Off => 0,
        };
        (severity, std::cmp::Reverse(self.keep_last))
    }

    fn is_enough(&self, score: f32) -> bool {
        self.operator != Operator::Off && score >= self.min.least()
    }
}

impl Table {
    fn treat(&self, finding: &Finding) -> &Treatment {
        let of_class = match finding.class {
            Class::Pii => &self.pii,
            Class::Secret => &self.secrets,
            Class::Content => &self.content,
        };
        self.entities.get(finding.entity).unwrap_or(of_class)
    }

    /// Lets an exception decide about an entity; how likely it must be, and whether that is only tried, stays.
    pub(super) fn except(&mut self, entity: &'static str, operator: Operator, exception: usize) {
        let of_class = if entity == secrets::ENTITY { self.secrets } else { self.pii };
        let Treatment { min, shadow, .. } = *self.entities.get(entity).unwrap_or(&of_class);
        let exception = Some(exception);
        self.entities.insert(entity, Treatment { min, shadow, exception, ..Treatment::of(operator) });
    }

    fn treatments(&self) -> impl Iterator<Item = &Treatment> {
        self.entities.values().chain([&self.pii, &self.secrets, &self.content])
    }

    fn wants_secrets(&self) -> bool {
        self.entities.get(secrets::ENTITY).unwrap_or(&self.secrets).operator != Operator::Off
    }
}

impl Plan {
    /// One that tells classes apart and nothing else.
    pub(crate) fn of_classes(policy: &Policy) -> Plan {
        let Policy { pii, secrets, injection: _, restore: _ } = policy;
        let (pii_is, secrets_are) = (Treatment::of((*pii).into()), Treatment::of((*secrets).into()));
        Plan {
            common: Table {
                entities: HashMap::new(),
                pii: pii_is,
                secrets: secrets_are,
                content: Treatment::of(Operator::Off),
            },
            channels: Vec::new(),
            allowed: Arc::default(),
            key: None,
            exceptions: Vec::new(),
            least: Band::Likely,
            source: format!("{pii:?} {secrets:?}"),
        }
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.common).chain(self.channels.iter().flatten())
    }

    fn table(&self, channel: Channel) -> &Table {
        self.channels.get(channel as usize).and_then(Option::as_ref).unwrap_or(&self.common)
    }

    /// Whether it tells channels apart.
    pub(crate) fn has_channels(&self) -> bool {
        !self.channels.is_empty()
    }

    /// The entities of personal data that are named to be looked for, sorted.
    pub(super) fn wanted(&self) -> Vec<&'static str> {
        let named = self.tables().flat_map(|table| &table.entities);
        let named = named.filter(|(_, treatment)| treatment.operator != Operator::Off);
        let is_pii = |name: &&str| **name != *secrets::ENTITY && !answers::ENTITIES.contains(name);
        let wanted: BTreeSet<_> = named.map(|(name, _)| *name).filter(is_pii).collect();
        wanted.into_iter().collect()
    }

    /// The least score at which anything is acted on.
    pub(super) fn min(&self) -> Band {
        let entities = self.tables().flat_map(|table| table.entities.values());
        entities.map(|treatment| treatment.min).fold(Band::Likely, Band::min)
    }

    /// Whether personal data is looked for of which nothing is said.
    pub(super) fn wants_pii(&self) -> bool {
        self.tables().any(|table| table.pii.operator != Operator::Off)
    }

    /// Whether anything is for in-house targets alone.
    pub(crate) fn routes(&self) -> bool {
        self.tables().flat_map(Table::treatments).any(Treatment::routes)
    }

    /// Whether anything is replaced or refused.
    pub(crate) fn acts(&self) -> bool {
        self.tables().flat_map(Table::treatments).any(Treatment::acts)
    }

    /// Whether all of it is only tried.
    pub(crate) fn is_tried(&self) -> bool {
        self.common.pii.shadow
    }

    /// Whether secrets are looked for.
    pub(crate) fn wants_secrets(&self) -> bool {
        self.tables().any(Table::wants_secrets)
    }

    /// What it says of findings in a text of a channel.
    pub(crate) fn verdicts<'t>(
        &'t self,
        channel: Channel,
        text: &'t str,
        strictest: Option<&'t Strictest>,
    ) -> Verdicts<'t> {
        Verdicts { plan: self, table: self.table(channel), text, strictest }
    }

    /// What stands for a value instead of it, unless that is a placeholder.
    pub(crate) fn mark(&self, entity: &'static str, treatment: &Treatment, value: &str) -> Option<String> {
        match (treatment.operator, self.key.as_deref()) {
            (Operator::Redact, _) => Some(format!("[{entity}]")),
            (Operator::Mask, _) => Some(masked(value, treatment.keep_last, treatment.mask)),
            (Operator::Hash, Some(key)) => {
                Some(placeholder::write_hash(entity, &key.letters(entity, &pii::normalised(entity, value))))
            }
            _ => None,
        }
    }

    /// What is written down of a decision about a finding in a channel.
    pub(crate) fn how(&self, channel: Channel, treatment: &Treatment) -> How {
        let Treatment { operator: action, shadow, exception, .. } = *treatment;
        let exception = exception.and_then(|at| self.exceptions.get(at).cloned());
        How { channel, action, shadow, exception }
    }

    /// Whether marks with hashes are written.
    pub(crate) fn hashes(&self) -> bool {
        self.key.is_some()
    }
}

/// What a plan says of the findings in one text.
#[derive(Clone, Copy)]
pub(crate) struct Verdicts<'t> {
    plan: &'t Plan,
    table: &'t Table,
    text: &'t str,
    /// What is said of values that stand in other channels, too.
    strictest: Option<&'t Strictest>,
}

impl<'t> Verdicts<'t> {
    /// What is done with a finding: what its channel says, or what is stricter in another channel in which the value stands.
    pub(crate) fn of(&self, finding: &Finding) -> &'t Treatment {
        let own = self.table.treat(finding);
        let value = || self.text.get(finding.span.clone());
        match self.strictest.and_then(|strictest| strictest.of(finding.entity, value()?)) {
            Some(other) if other.strictness() > own.strictness() => other,
            _ => own,
        }
    }

    /// Whether it is likely enough to do anything.
    pub(crate) fn is_enough(&self, finding: &Finding) -> bool {
        self.of(finding).is_enough(finding.score)
    }

    /// What its channel says of a finding, if it is likely enough to do anything, and whether another channel says otherwise.
    pub(super) fn own(&self, finding: &Finding) -> (Option<&'t Treatment>, bool) {
        let own = self.table.treat(finding);
        let differs = self.plan.tables().any(|table| table.treat(finding) != own);
        (Some(own).filter(|own| own.is_enough(finding.score)), differs)
    }

    /// Whether it refuses the request, and whether it is a secret: what gives way to nothing else.
    pub(crate) fn is_urgent(&self, finding: &Finding) -> (bool, bool) {
        (self.of(finding).blocks(), finding.class == Class::Secret)
    }

    /// Which of two findings that overlap decides: what blocks, then secrets, then what tells less of the value, then the
    /// longer one.
    pub(crate) fn rank(&self, finding: &Finding) -> impl Ord + use<> {
        (self.is_urgent(finding), self.of(finding).strictness(), finding.span.len())
    }
}

/// Letters and digits as `mask`, but for the last `keep`; all of them if fewer than that would be hidden.
fn masked(value: &str, keep: usize, mask: char) -> String {
    let count = value.chars().filter(|c| c.is_alphanumeric()).count();
    let hidden = if keep.saturating_mul(2) > count { count } else { count - keep };
    let mut seen = 0;
    let each = value.chars().map(|c| {
        seen += usize::from(c.is_alphanumeric());
        if c.is_alphanumeric() && seen <= hidden { mask } else { c }
    });
    each.collect()
}
