//! From rules to plans. What the guards of one policy have in common is read, tried out and compiled once.

use super::allow::Allowed;
use super::deny::Denied;
use super::hash::{HashKey, hex};
use super::plan::{Plan, Table, Treatment};
use super::{
    Action, Allow, ChannelRule, ClassRule, EntityRule, Exception, InjectionAction, Operator, PolicyError,
    Rules, exceptions,
};
use crate::channel::Channel;
use crate::guard::{Guard, Recogniser};
use crate::injection::Detector;
use crate::pii::{self, DefaultAction, Engine, Pack, Row, RowError, Selection};
use crate::score::Band;
use crate::{answers, secrets};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

const NO_KEY: &str = "`hash` needs `hash_key`, so that nobody can try out values";

/// Reads what `env:NAME` or `file:PATH` stand for.
pub type Secrets<'s> = &'s dyn Fn(&str) -> Result<Vec<u8>, String>;

/// What all guards of a policy share, and what was compiled for one of them.
pub(crate) struct Compiler {
    key: Option<Arc<HashKey>>,
    own: Pack,
    /// By entity of a row: whether all its rows are only to be reported.
    logged: HashMap<String, bool>,
    engines: Vec<(Selection, Arc<Engine>)>,
    allowed: Vec<(Allow, Arc<Allowed>)>,
    injection: Option<Arc<Detector>>,
    /// Those that read answers, by all that they do.
    answers: HashMap<String, Arc<Guard>>,
}

impl Compiler {
    /// Reads the key, and tries out the operator's own rows.
    pub(crate) fn new(rules: &Rules, secret: Secrets<'_>) -> Result<Compiler, PolicyError> {
        exceptions::check(&rules.exceptions)?;
        let own = own_pack(rules)?;
        let key = match &rules.hash_key {
            Some(source) => {
                let key = secret(source).and_then(|key| HashKey::new(&key));
                Some(Arc::new(key.map_err(|problem| PolicyError::new("hash_key", problem))?))
            }
            None => None,
        };
        let mut logged = HashMap::new();
        for row in pii::built_in().iter().flat_map(|pack| &pack.rows).chain(&own.rows) {
            *logged.entry(row.entity.clone()).or_insert(true) &= row.action == DefaultAction::Log;
        }
        let (engines, allowed, injection, answers) = (Vec::new(), Vec::new(), None, HashMap::new());
        Ok(Compiler { key, own, logged, engines, allowed, injection, answers })
    }

    /// What looks for injection, if these rules want it.
    pub(crate) fn injection(&mut self, rules: &Rules) -> Option<Arc<Detector>> {
        let detector = || Arc::clone(self.injection.get_or_insert_with(Detector::shared));
        rules.injection_by_channel().iter().any(|action| *action != InjectionAction::Off).then(detector)
    }

    /// What these rules say where these of their exceptions hold, and the recognisers for it. Their key and their own rows are
    /// those of [`Compiler::new`].
    pub(crate) fn plan(
        &mut self,
        rules: &Rules,
        holding: &[usize],
    ) -> Result<(Plan, Option<Arc<Engine>>), PolicyError> {
        check_packs(&rules.packs)?;
        self.check_entities(rules)?;
        let (key, allowed) = (self.key.clone(), self.allowed(&rules.allow)?);
        let mut plan = Plan { key, allowed, ..Plan::of_classes(&rules.policy()) };
        let named = |at: &usize| Some((*at, rules.exceptions.get(*at)?));
        let holding: Vec<(usize, &Exception)> = holding.iter().filter_map(named).collect();
        plan.exceptions = holding.iter().map(|(at, exception)| exception.name(*at).into()).collect();
        plan.common = self.table(rules, None, &holding)?;
        let tables = Channel::ALL.map(|channel| self.table(rules, Some(channel), &holding));
        let tables = tables.into_iter().collect::<Result<Vec<_>, _>>()?;
        if tables.iter().any(|table| *table != plan.common) {
            let own = tables.into_iter().map(|table| Some(table).filter(|table| *table != plan.common));
            plan.channels = own.collect();
        }
        plan.least = plan.min();
        plan.source = self.source(rules, &holding);
        let engine = self.engine(&plan, rules)?;
        Ok((plan, engine))
    }

    /// What reads answers by these rules, which are for answers.
    pub(crate) fn answers(&mut self, rules: &Rules, holding: &[usize]) -> Result<Arc<Guard>, PolicyError> {
        let (plan, pii) = self.plan(rules, holding)?;
        let source = plan.source.clone();
        if let Some(guard) = self.answers.get(&source) {
            return Ok(Arc::clone(guard));
        }
        let injection = self.injection(rules);
        let denied = self.denied(rules)?;
        let guard = Arc::new(Guard::of_answers(rules, (plan, pii, injection), denied)?);
        self.answers.insert(source, Arc::clone(&guard));
        Ok(guard)
    }

    /// What finds what these rules deny.
    pub(crate) fn denied(&self, rules: &Rules) -> Result<Vec<Box<dyn Recogniser>>, PolicyError> {
        let taken = |name: &str| {
            self.logged.contains_key(name) || name == secrets::ENTITY || answers::ENTITIES.contains(&name)
        };
        let lists = Denied::compile(&rules.deny, taken)?.into_iter();
        Ok(lists.map(|list| Box::new(list) as Box<dyn Recogniser>).collect())
    }

    fn is_logged(&self, entity: &str) -> bool {
        self.logged.get(entity).copied().unwrap_or(false)
    }

    /// All that decides what becomes of texts.
    fn source(&self, rules: &Rules, holding: &[(usize, &Exception)]) -> String {
        let (tenants, routes, exceptions) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let injection = InjectionAction::Off;
        let said = Rules { file: None, injection, tenants, routes, exceptions, ..rules.clone() };
        let holding: Vec<_> =
            holding.iter().map(|(at, e)| (e.name(*at), &e.entity, e.channel, e.action)).collect();
        // A mark of the key, which decides what hashes are; nobody learns the key from it.
        let key = self.key.as_ref().map(|key| hex(&key.mac(&[b"sluice policy"])));
        format!("{said:?} {key:?} {holding:?}")
    }

    /// What is done in a channel; none: where nothing is said of it.
    fn table(
        &self,
        rules: &Rules,
        channel: Option<Channel>,
        holding: &[(usize, &Exception)],
    ) -> Result<Table, PolicyError> {
        let class = |of: fn(&ClassRule) -> Option<Action>| said(&rules.channels, channel, of);
        let pii = class(|classes| classes.pii).unwrap_or(rules.pii);
        let secrets = class(|classes| classes.secrets).unwrap_or(rules.secrets);
        let of = |operator| Treatment { shadow: rules.shadow, ..Treatment::of(operator) };
        let mut entities = HashMap::new();
        for (name, rule) in &rules.entities {
            let class = match name.as_str() {
                secrets::ENTITY => secrets,
                name if answers::ENTITIES.contains(&name) => rules.output.content,
                _ => pii,
            };
            let treatment = self.treatment(name, rule, channel, class)?;
            let shadow = rules.shadow || rule.shadow;
            entities.insert(pii::names::intern(name), Treatment { shadow, ..treatment });
        }
        // Rows of one's own that are only to be reported.
        for row in self.own.rows.iter().filter(|row| self.is_logged(&row.entity)) {
            let entity = pii::names::intern(&row.entity);
            entities.entry(entity).or_insert(of(Operator::Log));
        }
        for list in &rules.deny {
            let action = if rules.of_answers { list.output } else { list.action };
            entities.insert(list.entity(), of(action.into()));
        }
        let content = if rules.of_answers { rules.output.content } else { Action::Off };
        // Addresses that only may be followed or loaded stay where no domain is allowed, since then all are alike.
        if rules.of_answers && rules.allow.domains.is_empty() {
            for entity in [answers::IMAGE_LINK, answers::LINK] {
                entities.entry(entity).or_insert(of(Operator::Off));
            }
        }
        let (pii, secrets, content) = (of(pii.into()), of(secrets.into()), of(content.into()));
        let mut table = Table { entities, pii, secrets, content };
        // Of several the first decides.
        for (number, (at, exception)) in holding.iter().enumerate().rev() {
            if exception.action == Operator::Hash && self.key.is_none() {
                return Err(PolicyError::new(format!("exceptions[{at}].action"), NO_KEY));
            }
            if exception.channel.is_none() || exception.channel == channel {
                // An answer is there already, and goes nowhere else.
                let is_late = rules.of_answers && exception.action == Operator::Route;
                let action = if is_late { Operator::Log } else { exception.action };
                table.except(pii::names::intern(&exception.entity), action, number);
            }
        }
        Ok(table)
    }

    /// The treatment of an entity in a channel. What its rule says of the channel comes first, then what it says, then the class.
    fn treatment(
        &self,
        name: &str,
        rule: &EntityRule,
        channel: Option<Channel>,
        class: Action,
    ) -> Result<Treatment, PolicyError> {
        let standard =
            if self.is_logged(name) && class != Action::Off { Operator::Log } else { class.into() };
        let action = said(&rule.channels, channel, |own| own.action);
        let operator = action.or(rule.action).unwrap_or(standard);
        // Errors name the field that is read; of what holds in a channel and is said for all, all are told.
        let own = |of: fn(&ChannelRule) -> bool| channel.filter(|c| rule.channels.get(c).is_some_and(of));
        let error = |field: &str, channel: Option<Channel>, problem: &str| {
            let channel = channel.map_or_else(String::new, |c| format!("channels.{}.", c.name()));
            Err(PolicyError::new(format!("entities.{name}.{channel}{field}"), problem))
        };
        if operator == Operator::Hash && self.key.is_none() {
            return error("action", own(|own| own.action.is_some()), NO_KEY);
        }
        let (keep_here, mask_here) = (own(|own| own.keep_last.is_some()), own(|own| own.mask.is_some()));
        let is_common = channel.is_none();
        for (field, here, is_said) in
            [("keep_last", keep_here, rule.keep_last.is_some()), ("char", mask_here, rule.mask.is_some())]
        {
            // Said for all, it is for the channels that mask.
            let elsewhere = || rule.channels.values().any(|own| own.action == Some(Operator::Mask));
            let is_idle = here.is_some() || (is_common && is_said && !elsewhere());
            if is_idle && operator != Operator::Mask {
                return error(field, here, "only `action: mask` has it");
            }
        }
        let mask = said(&rule.channels, channel, |own| own.mask).or(rule.mask).unwrap_or('*');
        if mask.is_alphanumeric() || mask.is_whitespace() || mask.is_control() || "[]\"\\".contains(mask) {
            let expected =
                "expected a sign such as `*`, no letter, digit, space, quote, backslash or bracket";
            return error("char", mask_here, expected);
        }
        let keep_last = said(&rule.channels, channel, |own| own.keep_last).or(rule.keep_last);
        let min = said(&rule.channels, channel, |own| own.min).or(rule.min);
        let (keep_last, mask) =
            if operator == Operator::Mask { (keep_last.unwrap_or(0), mask) } else { (0, '*') };
        let min = min.unwrap_or(Band::Likely);
        Ok(Treatment { min, keep_last, mask, ..Treatment::of(operator) })
    }

    fn allowed(&mut self, allow: &Allow) -> Result<Arc<Allowed>, PolicyError> {
        if let Some((_, allowed)) = self.allowed.iter().find(|(same, _)| same == allow) {
            return Ok(Arc::clone(allowed));
        }
        let allowed = Arc::new(Allowed::compile(allow)?);
        self.allowed.push((allow.clone(), Arc::clone(&allowed)));
        Ok(allowed)
    }

    /// The rows that are needed.
    fn engine(&mut self, plan: &Plan, rules: &Rules) -> Result<Option<Arc<Engine>>, PolicyError> {
        let wanted = plan.wanted();
        if !plan.wants_pii() && wanted.is_empty() {
            return Ok(None);
        }
        let mut selection = Selection { packs: rules.packs.clone(), named: Vec::new(), logged: false };
        let on: BTreeSet<&str> = selection.rows().map(|row| row.entity.as_str()).collect();
        let missing = wanted.into_iter().filter(|name| !on.contains(name) && self.logged.contains_key(*name));
        selection.named = missing.map(str::to_owned).collect();
        if self.own.rows.is_empty() {
            return Ok(Some(selection.engine()));
        }
        if let Some((_, engine)) = self.engines.iter().find(|(same, _)| *same == selection) {
            return Ok(Some(Arc::clone(engine)));
        }
        let engine = selection.engine_with(std::slice::from_ref(&self.own));
        let engine = Arc::new(engine.map_err(|error| row_error(&self.own.rows, error))?);
        self.engines.push((selection, Arc::clone(&engine)));
        Ok(Some(engine))
    }

    fn check_entities(&self, rules: &Rules) -> Result<(), PolicyError> {
        let of_answers = rules.of_answers.then_some(answers::ENTITIES).into_iter().flatten().copied();
        let known = || {
            let entities = self.logged.keys().map(String::as_str).chain([secrets::ENTITY]);
            entities.chain(of_answers.clone())
        };
        let excepted = rules.exceptions.iter().enumerate();
        let excepted =
            excepted.map(|(at, exception)| (format!("exceptions[{at}].entity"), &exception.entity));
        let named = rules.entities.keys().map(|name| (format!("entities.{name}"), name));
        match named.chain(excepted).find(|(_, name)| !known().any(|entity| entity == *name)) {
            Some((field, name)) => {
                let problem = format!("no entity is called `{name}`{}", suggestion(name, known()));
                Err(PolicyError::new(field, problem))
            }
            None => Ok(()),
        }
    }
}

/// What is said of a channel. What is said of `user` holds for `parameters`, too.
fn said<R, T>(
    rules: &BTreeMap<Channel, R>,
    channel: Option<Channel>,
    of: impl Fn(&R) -> Option<T>,
) -> Option<T> {
    let own = rules.get(&channel?).and_then(&of);
    let people_s = || rules.get(&Channel::User).filter(|_| channel == Some(Channel::Parameters));
    own.or_else(|| people_s().and_then(&of))
}

/// The operator's own rows, which do what their examples say.
fn own_pack(rules: &Rules) -> Result<Pack, PolicyError> {
    let own = Pack { pack: "custom".to_owned(), rows: rules.custom.clone(), ..Pack::default() };
    own.check().map_err(|error| row_error(&own.rows, error))?;
    Ok(own)
}

fn row_error(rows: &[Row], error: RowError) -> PolicyError {
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

/// What was probably meant; empty, or begins with a colon.
pub fn suggestion<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let near = names
        .map(|name| (strsim::jaro_winkler(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.75)
        // Of equals the first by name, in whatever order they come.
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)));
    near.map_or_else(String::new, |(_, name)| format!(": did you mean `{name}`?"))
}
