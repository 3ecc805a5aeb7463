//! The policy in force: what the configuration says, or a file that is read again when it changes.
//!
//! A new policy is compiled and tried out beside the old one and takes its place in one step. A request is guarded by the
//! policy that was in force when it came, to its end. A file that is wrong changes nothing but a counter and the log. Exceptions
//! from a policy end by the clock: what is in force then is compiled with the rest.

mod timetable;

pub use timetable::Notes;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use sluice_engine::{Clock, SystemClock};
use sluice_guardrails::policy::suggestion;
use sluice_guardrails::{Guard, Guards, Policy, Rules};

use crate::config::{self, ConfigError};
use crate::keys::Keys;
use crate::route::Routes;
use crate::secret::SecretSource;
use timetable::Timetable;

/// Looks up environment variables.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A compiled policy and what it is called.
#[derive(Debug)]
pub struct InForce {
    guards: Guards,
    /// For people: the SHA-256 of the policy file's bytes, in hexadecimal, or of what the configuration says.
    pub name: String,
}

impl InForce {
    /// One that tells classes apart and nothing else.
    pub fn of_classes(policy: &Policy) -> Self {
        let guards = Guards::from(Guard::new(policy));
        Self { name: guards.fingerprint().to_owned(), guards }
    }

    /// What these rules say, for tests.
    #[cfg(test)]
    pub fn of_rules(rules: &Rules) -> Self {
        let guards = compile(rules, None, &|_| None, SystemTime::UNIX_EPOCH).unwrap().remove(0);
        Self { name: guards.fingerprint().to_owned(), guards }
    }

    /// What reads the requests of this tenant to this route (what clients write into `model`), and the answers to them. Its
    /// fingerprint is part of every key in the cache.
    pub fn guard(&self, tenant: &str, route: &str) -> &Arc<Guard> {
        self.guards.of(tenant, route)
    }

    /// How many exceptions hold, for whomever.
    pub fn exceptions(&self) -> usize {
        self.guards.exceptions()
    }

    /// Changes with everything that decides what becomes of a text, of whatever tenant and route.
    pub fn fingerprint(&self) -> &str {
        self.guards.fingerprint()
    }
}

/// The tenants and routes that there are, of which a policy may say something.
#[derive(Clone, Copy)]
pub struct Names<'g> {
    /// Whose names are the tenants'.
    pub keys: &'g Keys,
    /// What can be asked for.
    pub routes: &'g Routes,
}

impl Names<'_> {
    fn check(&self, rules: &Rules) -> Result<(), String> {
        let exceptions = || rules.exceptions.iter().enumerate();
        let excepted = exceptions().filter_map(|(at, exception)| {
            Some((format!("exceptions[{at}].tenant"), exception.tenant.as_ref()?))
        });
        let named = rules.tenants.keys().map(|name| (format!("tenants.{name}"), name));
        let tenants = self.keys.tenants();
        if let Some((field, name)) = named.chain(excepted).find(|(_, name)| !tenants.contains(name.as_str()))
        {
            let suggestion = suggestion(name, tenants.iter().copied());
            return Err(format!("{field}: no key is of a tenant `{name}`{suggestion}"));
        }
        let excepted = exceptions().filter_map(|(at, exception)| {
            Some((format!("exceptions[{at}].route"), exception.route.as_ref()?))
        });
        let named = rules.routes.keys().map(|name| (format!("routes.{name}"), name));
        if let Some((field, name)) =
            named.chain(excepted).find(|(_, name)| self.routes.resolve(name).is_err())
        {
            let known = self.routes.list();
            let suggestion = suggestion(name, known.iter().map(|(model, _)| model.as_str()));
            return Err(format!("{field}: there is no route or PROVIDER/MODEL `{name}`{suggestion}"));
        }
        Ok(())
    }
}

/// The policy in force, and where it comes from.
pub struct LivePolicy {
    current: RwLock<Timetable>,
    file: Option<Watched>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// What the file looked like when it was read last.
    seen: Mutex<Option<Stamp>>,
}

/// Time and length: a file with the same ones is taken for the same.
type Stamp = (SystemTime, u64);

/// What became of a look at the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    /// There is none, or it looks as it did.
    Same,
    /// It was read; this is the new policy's name.
    New(String),
    /// It can't be used, for this reason; the old one stays in force.
    Wrong(String),
}

impl LivePolicy {
    /// Compiles what the configuration says, or the file that it names. `names`: what tenants and routes there are, where that is
    /// known.
    ///
    /// # Errors
    /// What is wrong with which field.
    pub fn open(rules: &Rules, names: Option<Names<'_>>, env: Env<'_>) -> Result<Self, String> {
        Self::open_by(Arc::new(SystemClock), rules, names, env)
    }

    /// [`LivePolicy::open`] by another clock than the machine's.
    ///
    /// # Errors
    /// As [`LivePolicy::open`].
    pub fn open_by(
        clock: Arc<dyn Clock>,
        rules: &Rules,
        names: Option<Names<'_>>,
        env: Env<'_>,
    ) -> Result<Self, String> {
        let now = clock.now();
        let Some(path) = &rules.file else {
            let compiled =
                compile(rules, names, env, now).map_err(|problem| format!("guardrails.{problem}"))?;
            let current = RwLock::new(Timetable::new(rules, compiled, None, now));
            return Ok(Self { current, file: None, clock });
        };
        if !rules.is_elsewhere() {
            return Err("guardrails.file: everything else stands in that file, or here and no file is named"
                .to_owned());
        }
        let seen = Mutex::new(stamp(path));
        let current = read(path, names, env, now).map_err(|problem| format!("guardrails.file: {problem}"))?;
        let file = Some(Watched { path: path.clone(), seen });
        Ok(Self { current: RwLock::new(current), file, clock })
    }

    /// The policy in force now.
    pub fn current(&self) -> Arc<InForce> {
        Arc::clone(self.current.read().unwrap_or_else(PoisonError::into_inner).at(&*self.clock))
    }

    /// Whether it leaves something to in-house targets, of whatever tenant and at whatever time.
    pub fn routes(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).all().any(|policy| policy.guards.routes())
    }

    /// What operators are to be told of it.
    pub fn notes(&self) -> Notes {
        self.current.read().unwrap_or_else(PoisonError::into_inner).notes().clone()
    }

    /// The file it comes from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Reads the file again if it changed since, or `anyway`. It may wait for a disk and takes milliseconds.
    pub fn reload(&self, anyway: bool, names: Option<Names<'_>>, env: Env<'_>) -> Reload {
        let Some(file) = &self.file else { return Reload::Same };
        // Held to the end, so that of two readings the later one is in force.
        let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&file.path);
        if *seen == now && !anyway {
            return Reload::Same;
        }
        *seen = now;
        match read(&file.path, names, env, self.clock.now()) {
            Ok(policy) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = policy;
                Reload::New(self.current().name.clone())
            }
            Err(problem) => Reload::Wrong(problem),
        }
    }
}

impl std::fmt::Debug for LivePolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LivePolicy").field("file", &self.file).finish_non_exhaustive()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

fn read(path: &Path, names: Option<Names<'_>>, env: Env<'_>, now: SystemTime) -> Result<Timetable, String> {
    let place = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("{place}: {error}"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{place}: expected text in UTF-8"))?;
    let rules: Rules = config::parse_as(text, &place).map_err(|error: ConfigError| error.to_string())?;
    if rules.file.is_some() {
        return Err(format!("{place}: file: a policy file names no other"));
    }
    let compiled = compile(&rules, names, env, now).map_err(|problem| format!("{place}: {problem}"))?;
    let name = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Timetable::new(&rules, compiled, Some(name), now))
}

/// The guards of now, and of each time after an exception ends.
fn compile(
    rules: &Rules,
    names: Option<Names<'_>>,
    env: Env<'_>,
    now: SystemTime,
) -> Result<Vec<Guards>, String> {
    names.map_or(Ok(()), |names| names.check(rules))?;
    let secret = |source: &str| match SecretSource::of(source) {
        SecretSource::Literal(_) => Err("expected env:NAME or file:PATH".to_owned()),
        named => named.read(env).map(|secret| secret.expose().as_bytes().to_vec()),
    };
    Guards::compile(rules, &secret, now).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
