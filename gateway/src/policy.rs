//! The policy in force: what the configuration says, or a file that is read again when it changes.
//!
//! A new policy is compiled and tried out beside the old one and takes its place in one step. A request is guarded by the
//! policy that was in force when it came, to its end. A file that is wrong changes nothing but a counter and the log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use sluice_guardrails::{Guard, Policy, Rules};

use crate::config::{self, ConfigError};
use crate::secret::SecretSource;

/// Looks up environment variables.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A compiled policy and what it is called.
#[derive(Debug)]
pub struct InForce {
    /// What reads requests.
    pub guard: Guard,
    /// For people: the SHA-256 of the policy file's bytes, in hexadecimal, or of what the configuration says.
    pub name: String,
    /// Changes with everything that decides what becomes of a text: part of every key in the cache.
    pub fingerprint: String,
}

impl InForce {
    fn new(guard: Guard, name: Option<String>) -> Self {
        let fingerprint = guard.fingerprint().to_owned();
        Self { guard, name: name.unwrap_or_else(|| fingerprint.clone()), fingerprint }
    }

    /// One that tells classes apart and nothing else.
    pub fn of_classes(policy: &Policy) -> Self {
        Self::new(Guard::new(policy), None)
    }
}

/// The policy in force, and where it comes from.
#[derive(Debug)]
pub struct LivePolicy {
    current: RwLock<Arc<InForce>>,
    file: Option<Watched>,
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
    /// Compiles what the configuration says, or the file that it names.
    ///
    /// # Errors
    /// What is wrong with which field.
    pub fn open(rules: &Rules, env: Env<'_>) -> Result<Self, String> {
        let Some(path) = &rules.file else {
            let guard = compile(rules, env).map_err(|problem| format!("guardrails.{problem}"))?;
            return Ok(Self { current: RwLock::new(Arc::new(InForce::new(guard, None))), file: None });
        };
        if !rules.is_elsewhere() {
            return Err("guardrails.file: everything else stands in that file, or here and no file is named"
                .to_owned());
        }
        let seen = Mutex::new(stamp(path));
        let policy = read(path, env).map_err(|problem| format!("guardrails.file: {problem}"))?;
        let file = Some(Watched { path: path.clone(), seen });
        Ok(Self { current: RwLock::new(Arc::new(policy)), file })
    }

    /// The policy in force now.
    pub fn current(&self) -> Arc<InForce> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The file it comes from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Reads the file again if it changed since, or `anyway`. It may wait for a disk and takes milliseconds.
    pub fn reload(&self, anyway: bool, env: Env<'_>) -> Reload {
        let Some(file) = &self.file else { return Reload::Same };
        // Held to the end, so that of two readings the later one is in force.
        let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&file.path);
        if *seen == now && !anyway {
            return Reload::Same;
        }
        *seen = now;
        match read(&file.path, env) {
            Ok(policy) => {
                let name = policy.name.clone();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
                Reload::New(name)
            }
            Err(problem) => Reload::Wrong(problem),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

fn read(path: &Path, env: Env<'_>) -> Result<InForce, String> {
    let place = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| format!("{place}: {error}"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{place}: expected text in UTF-8"))?;
    let rules: Rules = config::parse_as(text, &place).map_err(|error: ConfigError| error.to_string())?;
    if rules.file.is_some() {
        return Err(format!("{place}: file: a policy file names no other"));
    }
    let guard = compile(&rules, env).map_err(|problem| format!("{place}: {problem}"))?;
    let name = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(InForce::new(guard, Some(name)))
}

fn compile(rules: &Rules, env: Env<'_>) -> Result<Guard, String> {
    let secret = |source: &str| match SecretSource::of(source) {
        SecretSource::Literal(_) => Err("expected env:NAME or file:PATH".to_owned()),
        named => named.read(env).map(|secret| secret.expose().as_bytes().to_vec()),
    };
    Guard::compile(rules, &secret).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
