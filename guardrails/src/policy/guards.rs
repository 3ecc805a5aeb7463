//! The guards of one policy: one for everybody, and others for the tenants and routes of which it says something.

use super::hash::hex;
use super::{Compiler, InjectionAction, PolicyError, Rules, Secrets};
use crate::channel::Channel;
use crate::guard::Guard;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

/// A guard for each tenant and route. A tenant's rules take the place of the common ones field by field, and a route's that of the
/// tenant's.
#[derive(Debug)]
pub struct Guards {
    common: ByRoute,
    tenants: BTreeMap<String, ByRoute>,
    until: Option<SystemTime>,
    exceptions: usize,
    fingerprint: String,
}

/// The guards of one tenant.
#[derive(Debug)]
struct ByRoute {
    any: Arc<Guard>,
    routes: BTreeMap<String, Arc<Guard>>,
}

impl Guards {
    /// Compiles everything that `rules` say for the time from `now` on, and tries their own recognisers out: the guards of now,
    /// and those of each time after an exception ends, in their order.
    ///
    /// # Errors
    /// The first thing that can't be, with its field.
    pub fn compile(rules: &Rules, secret: Secrets<'_>, now: SystemTime) -> Result<Vec<Guards>, PolicyError> {
        let mut compiling =
            Compiling { compiler: Compiler::new(rules, secret)?, rules, made: HashMap::new(), from: now };
        let ends: BTreeSet<SystemTime> =
            rules.exceptions.iter().map(|exception| exception.until.end()).collect();
        let ends = ends.into_iter().filter(|end| *end > now).map(Some).chain([None]);
        let each = ends.map(|until| {
            let guards = compiling.guards(until);
            compiling.from = until.unwrap_or(compiling.from);
            guards
        });
        each.collect()
    }

    /// When an exception ends and the next ones take over; none: never.
    pub fn until(&self) -> Option<SystemTime> {
        self.until
    }

    /// How many exceptions hold, for whomever.
    pub fn exceptions(&self) -> usize {
        self.exceptions
    }

    /// What guards the requests of this tenant to this route.
    pub fn of(&self, tenant: &str, route: &str) -> &Arc<Guard> {
        let ByRoute { any, routes } = self.tenants.get(tenant).unwrap_or(&self.common);
        routes.get(route).unwrap_or(any)
    }

    /// Whether any of them leaves something to in-house targets.
    pub fn routes(&self) -> bool {
        let all = std::iter::once(&self.common).chain(self.tenants.values());
        all.flat_map(|guards| std::iter::once(&guards.any).chain(guards.routes.values()))
            .any(|guard| guard.routes())
    }

    /// A SHA-256 in hexadecimal that changes with what any of the guards does to texts.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn marked(&self) -> String {
        // Where there is one for all, it is that one's.
        if self.tenants.is_empty() && self.common.routes.is_empty() {
            return self.common.any.fingerprint().to_owned();
        }
        let mut hash = Sha256::new();
        let mut write = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        let tenants = self.tenants.iter().map(|(name, guards)| (Some(name), guards));
        for (tenant, ByRoute { any, routes }) in std::iter::once((None, &self.common)).chain(tenants) {
            write(tenant.map_or("", String::as_str));
            write(any.fingerprint());
            for (route, guard) in routes {
                write(route);
                write(guard.fingerprint());
            }
        }
        hex(&hash.finalize())
    }
}

impl From<Guard> for Guards {
    /// One guard for all, at all times.
    fn from(guard: Guard) -> Guards {
        let common = ByRoute { any: Arc::new(guard), routes: BTreeMap::new() };
        let fingerprint = common.any.fingerprint().to_owned();
        Guards { common, tenants: BTreeMap::new(), until: None, exceptions: 0, fingerprint }
    }
}

/// Guards in the making, from some time on.
struct Compiling<'r> {
    compiler: Compiler,
    rules: &'r Rules,
    /// Those that are there already, by their fingerprint and what they do about injection, which changes no text: most differ
    /// in nothing.
    made: HashMap<(String, [InjectionAction; 6]), Arc<Guard>>,
    from: SystemTime,
}

impl Compiling<'_> {
    fn guards(&mut self, until: Option<SystemTime>) -> Result<Guards, PolicyError> {
        let exceptions = &self.rules.exceptions;
        let named = exceptions.iter().filter_map(|exception| exception.tenant.as_ref());
        let names: BTreeSet<&String> = self.rules.tenants.keys().chain(named).collect();
        let holding = exceptions.iter().filter(|exception| exception.until.end() > self.from).count();
        let common = self.by_route(None)?;
        let mut tenants = BTreeMap::new();
        for name in names {
            tenants.insert(name.clone(), self.by_route(Some(name))?);
        }
        let guards = Guards { common, tenants, until, exceptions: holding, fingerprint: String::new() };
        Ok(Guards { fingerprint: guards.marked(), ..guards })
    }

    fn by_route(&mut self, tenant: Option<&str>) -> Result<ByRoute, PolicyError> {
        let exceptions = &self.rules.exceptions;
        let named = exceptions.iter().filter_map(|exception| exception.route.as_ref());
        let names: BTreeSet<&String> = self.rules.routes.keys().chain(named).collect();
        let any = self.guard(tenant, None)?;
        let mut routes = BTreeMap::new();
        for name in names {
            routes.insert(name.clone(), self.guard(tenant, Some(name))?);
        }
        Ok(ByRoute { any, routes })
    }

    /// The tenant's rules take the place of those for all, and the route's of both.
    fn guard(&mut self, tenant: Option<&str>, route: Option<&str>) -> Result<Arc<Guard>, PolicyError> {
        let (mut rules, mut field) = (self.rules.clone(), String::new());
        let scopes = [("tenants", &self.rules.tenants, tenant), ("routes", &self.rules.routes, route)];
        for (kind, overrides, name) in scopes {
            if let Some((name, overrides)) = name.and_then(|name| overrides.get_key_value(name)) {
                rules = overrides.apply(rules);
                field = format!("{kind}.{name}.");
            }
        }
        let holds = |at: &usize| {
            let exception = &self.rules.exceptions[*at];
            exception.until.end() > self.from && exception.fits(tenant, route)
        };
        let holding: Vec<usize> = (0..self.rules.exceptions.len()).filter(holds).collect();
        let guard = Guard::compile_with(&mut self.compiler, &rules, &holding).map_err(|error| {
            let own = if error.field.starts_with("exceptions[") { "" } else { field.as_str() };
            PolicyError { field: format!("{own}{}", error.field), ..error }
        })?;
        let injections = Channel::ALL.map(|channel| guard.injection_in(channel));
        let made = self.made.entry((guard.fingerprint().to_owned(), injections));
        Ok(Arc::clone(made.or_insert_with(|| Arc::new(guard))))
    }
}
