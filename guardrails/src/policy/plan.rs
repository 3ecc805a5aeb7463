//! Rules, ready to be applied to findings.

use super::allow::Allowed;
use super::hash::{HashKey, hex};
use super::{EntityRule, InjectionAction, Operator, Policy, PolicyError, Rules};
use crate::guard::{Class, Finding};
use crate::pii::{self, DefaultAction, Engine, Pack, Row, Selection};
use crate::score::Band;
use crate::{answers, placeholder, secrets};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What is done with findings, by entity.
pub(crate) struct Plan {
    entities: HashMap<&'static str, Treatment>,
    pii: Treatment,
    secrets: Treatment,
    /// For what is dangerous in answers.
    content: Treatment,
    pub(crate) allowed: Allowed,
    key: Option<HashKey>,
    /// The least score at which anything is acted on.
    pub(crate) least: Band,
    /// Says all of this, for a name that changes with it.
    pub(crate) source: String,
}

/// What is done with a finding.
#[derive(Clone, Copy, Debug)]
struct Treatment {
    operator: Operator,
    min: Band,
    keep_last: usize,
    mask: char,
}

impl Treatment {
    fn of(operator: Operator) -> Treatment {
        Treatment { operator, min: Band::Likely, keep_last: 0, mask: '*' }
    }
}

impl Plan {
    /// One that tells classes apart and nothing else.
    pub(crate) fn of_classes(policy: &Policy) -> Plan {
        let Policy { pii, secrets, injection: _, restore: _ } = policy;
        Plan {
            entities: HashMap::new(),
            pii: Treatment::of((*pii).into()),
            secrets: Treatment::of((*secrets).into()),
            content: Treatment::of(Operator::Off),
            allowed: Allowed::default(),
            key: None,
            least: Band::Likely,
            source: format!("{pii:?} {secrets:?}"),
        }
    }

    /// What these rules say, and the recognisers for it; `secret` reads `env:NAME` or `file:PATH`.
    pub(crate) fn compile(
        rules: &Rules,
        secret: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<(Plan, Option<Arc<Engine>>), PolicyError> {
        let own = own_pack(rules)?;
        check_packs(&rules.packs)?;
        check_entities(rules)?;
        let key = match &rules.hash_key {
            Some(source) => {
                let key = secret(source).and_then(|key| HashKey::new(&key));
                Some(key.map_err(|problem| PolicyError::new("hash_key", problem))?)
            }
            None => None,
        };
        let mut plan =
            Plan { key, allowed: Allowed::compile(&rules.allow)?, ..Plan::of_classes(&rules.policy()) };
        let rows = || pii::built_in().iter().flat_map(|pack| &pack.rows).chain(&rules.custom);
        let defaults = rows().fold(HashMap::<&str, bool>::new(), |mut logged, row| {
            *logged.entry(&row.entity).or_insert(true) &= row.action == DefaultAction::Log;
            logged
        });
        for (name, rule) in &rules.entities {
            let class = match name.as_str() {
                secrets::ENTITY => rules.secrets,
                name if answers::ENTITIES.contains(&name) => rules.output.content,
                _ => rules.pii,
            };
            let logged = defaults.get(name.as_str()).copied().unwrap_or(false);
            let standard = if logged && class != super::Action::Off { Operator::Log } else { class.into() };
            let treatment = plan.treatment(name, rule, standard)?;
            plan.least = plan.least.min(treatment.min);
            plan.entities.insert(pii::names::intern(name), treatment);
        }
        if rules.of_answers {
            plan.set_content(rules.output.content, !rules.allow.domains.is_empty());
        }
        // Rows of one's own that are only to be reported.
        for row in rules.custom.iter().filter(|row| defaults.get(row.entity.as_str()) == Some(&true)) {
            let entity = pii::names::intern(&row.entity);
            plan.entities.entry(entity).or_insert(Treatment::of(Operator::Log));
        }
        let said = Rules { file: None, injection: InjectionAction::Off, ..rules.clone() };
        // A mark of the key, which decides what hashes are; nobody learns the key from it.
        let key = plan.key.as_ref().map(|key| hex(&key.mac(&[b"sluice policy"])));
        plan.source = format!("{said:?} {key:?}");
        let engine = plan.engine(rules, &own)?;
        Ok((plan, engine))
    }

    fn treatment(&self, name: &str, rule: &EntityRule, standard: Operator) -> Result<Treatment, PolicyError> {
        let error =
            |field: &str, problem: &str| Err(PolicyError::new(format!("entities.{name}.{field}"), problem));
        let operator = rule.action.unwrap_or(standard);
        if operator == Operator::Hash && self.key.is_none() {
            return error("action", "`hash` needs `hash_key`, so that nobody can try out values");
        }
        for (field, is_said) in [("keep_last", rule.keep_last.is_some()), ("char", rule.mask.is_some())] {
            if is_said && operator != Operator::Mask {
                return error(field, "only `action: mask` has it");
            }
        }
        let mask = rule.mask.unwrap_or('*');
        if mask.is_alphanumeric() || mask.is_whitespace() || mask.is_control() || "[]\"\\".contains(mask) {
            return error(
                "char",
                "expected a sign such as `*`, no letter, digit, space, quote, backslash or bracket",
            );
        }
        let keep_last = rule.keep_last.unwrap_or(0);
        Ok(Treatment { operator, min: rule.min.unwrap_or(Band::Likely), keep_last, mask })
    }

    /// The rows that are needed.
    fn engine(&self, rules: &Rules, own: &Pack) -> Result<Option<Arc<Engine>>, PolicyError> {
        let is_pii = |name: &&str| **name != *secrets::ENTITY && !answers::ENTITIES.contains(name);
        let wanted = self.entities.iter().any(|(name, t)| is_pii(name) && t.operator != Operator::Off);
        if self.pii.operator == Operator::Off && !wanted {
            return Ok(None);
        }
        let mut selection = Selection { packs: rules.packs.clone(), named: Vec::new(), logged: false };
        let on: BTreeSet<&str> = selection.rows().map(|row| row.entity.as_str()).collect();
        let missing = |(name, treatment): &(&&'static str, &Treatment)| {
            treatment.operator != Operator::Off && is_pii(name) && !on.contains(**name)
        };
        let mut named: Vec<_> =
            self.entities.iter().filter(missing).map(|(name, _)| (*name).to_owned()).collect();
        named.sort_unstable();
        selection.named = named;
        if own.rows.is_empty() {
            return Ok(Some(selection.engine()));
        }
        let engine = selection.engine_with(std::slice::from_ref(own));
        engine.map(|engine| Some(Arc::new(engine))).map_err(|error| row_error(&own.rows, error))
    }

    fn treat(&self, finding: &Finding) -> &Treatment {
        let of_class = match finding.class {
            Class::Pii => &self.pii,
            Class::Secret => &self.secrets,
            Class::Content => &self.content,
        };
        self.entities.get(finding.entity).unwrap_or(of_class)
    }

    /// What is done with a finding.
    pub(crate) fn decide(&self, finding: &Finding) -> Operator {
        self.treat(finding).operator
    }

    /// Whether it is likely enough to do anything.
    pub(crate) fn is_enough(&self, finding: &Finding) -> bool {
        let treatment = self.treat(finding);
        treatment.operator != Operator::Off && finding.score >= treatment.min.least()
    }

    /// Whether anything is for in-house targets alone.
    pub(crate) fn routes(&self) -> bool {
        let treatments = self.entities.values().chain([&self.pii, &self.secrets]);
        treatments.into_iter().any(|treatment| treatment.operator == Operator::Route)
    }

    /// Whether secrets are looked for.
    pub(crate) fn wants_secrets(&self) -> bool {
        self.entities.get(secrets::ENTITY).unwrap_or(&self.secrets).operator != Operator::Off
    }

    /// Whether it refuses the request, and whether it is a secret: what gives way to nothing else.
    pub(crate) fn is_urgent(&self, finding: &Finding) -> (bool, bool) {
        (self.decide(finding) == Operator::Block, finding.class == Class::Secret)
    }

    /// Which of two findings that overlap decides: what blocks, then secrets, then what tells less of the value, then the
    /// longer one.
    pub(crate) fn rank(&self, finding: &Finding) -> impl Ord {
        let treatment = self.treat(finding);
        let severity = match treatment.operator {
            Operator::Block => 5,
            Operator::Redact => 4,
            Operator::Tokenise => 3,
            Operator::Hash => 2,
            Operator::Mask => 1,
            Operator::Route | Operator::Log | Operator::Off => 0,
        };
        let hidden = std::cmp::Reverse(treatment.keep_last);
        (self.is_urgent(finding), severity, hidden, finding.span.len())
    }

    /// What stands for a value instead of it, unless that is a placeholder.
    pub(crate) fn mark(&self, finding: &Finding, value: &str) -> Option<String> {
        let (treatment, entity) = (self.treat(finding), finding.entity);
        match (treatment.operator, &self.key) {
            (Operator::Redact, _) => Some(format!("[{entity}]")),
            (Operator::Mask, _) => Some(masked(value, treatment.keep_last, treatment.mask)),
            (Operator::Hash, Some(key)) => {
                Some(placeholder::write_hash(entity, &key.letters(entity, &pii::normalised(entity, value))))
            }
            _ => None,
        }
    }

    /// What is done with what is dangerous in an answer, where nothing is said about its entity; addresses that only may be
    /// followed or loaded stay where no domain is allowed, since then all are alike.
    fn set_content(&mut self, action: super::Action, has_domains: bool) {
        self.content = Treatment::of(action.into());
        for entity in [answers::IMAGE_LINK, answers::LINK] {
            if !has_domains {
                self.entities.entry(entity).or_insert(Treatment::of(Operator::Off));
            }
        }
    }

    /// Whether anything is changed or refused.
    pub(crate) fn acts(&self) -> bool {
        let of_entities = self.entities.values();
        of_entities
            .chain([&self.pii, &self.secrets, &self.content])
            .any(|treatment| treatment.operator.acts())
    }

    /// Whether marks with hashes are written.
    pub(crate) fn hashes(&self) -> bool {
        self.key.is_some()
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

/// The operator's own rows, which do what their examples say.
fn own_pack(rules: &Rules) -> Result<Pack, PolicyError> {
    let own = Pack { pack: "custom".to_owned(), rows: rules.custom.clone(), ..Pack::default() };
    own.check().map_err(|error| row_error(&own.rows, error))?;
    Ok(own)
}

fn row_error(rows: &[Row], error: pii::RowError) -> PolicyError {
    let index = rows.iter().rposition(|row| row.id == error.row).unwrap_or(0);
    PolicyError::new(format!("custom[{index}] (`{}`)", error.row), error.problem)
}

fn check_packs(packs: &[String]) -> Result<(), PolicyError> {
    let known = || pii::built_in().iter().map(|pack| pack.pack.as_str()).chain(["all"]);
    for (index, pack) in packs.iter().enumerate() {
        if !known().any(|name| name == pack) {
            let problem = format!("no pack is called `{pack}`{}", suggestion(pack, known()));
            return Err(PolicyError::new(format!("packs[{index}]"), problem));
        }
    }
    Ok(())
}

fn check_entities(rules: &Rules) -> Result<(), PolicyError> {
    let rows = || pii::built_in().iter().flat_map(|pack| &pack.rows).chain(&rules.custom);
    let of_answers = rules.of_answers.then_some(answers::ENTITIES).into_iter().flatten().copied();
    let known = || rows().map(|row| row.entity.as_str()).chain([secrets::ENTITY]).chain(of_answers.clone());
    for name in rules.entities.keys() {
        if !known().any(|entity| entity == name) {
            let problem = format!("no entity is called `{name}`{}", suggestion(name, known()));
            return Err(PolicyError::new(format!("entities.{name}"), problem));
        }
    }
    Ok(())
}

/// What was probably meant.
fn suggestion<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let near = names
        .map(|name| (strsim::jaro_winkler(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    near.map_or_else(String::new, |(_, name)| format!(": did you mean `{name}`?"))
}
