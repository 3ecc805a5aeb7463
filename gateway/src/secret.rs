//! Secrets in the configuration: where they come from, and a type that can't be printed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Where a secret is to be read from: `env:NAME` or `file:PATH`. Anything else is the secret itself, which only
/// `providers.*.api_key` accepts, because local model servers often want just any word.
#[derive(Clone, PartialEq, JsonSchema)]
#[schemars(with = "String", description = "env:NAME or file:PATH")]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; white space around its content is ignored.
    File(String),
    /// The value itself.
    Literal(Secret),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&String::deserialize(deserializer)?))
    }
}

/// Shows where the secret comes from, never the secret.
impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Literal(secret) => secret.fmt(f),
        }
    }
}

impl SecretSource {
    /// What these words name.
    pub fn of(text: &str) -> Self {
        match text.split_once(':') {
            Some(("env", name)) => Self::Env(name.trim().to_owned()),
            Some(("file", path)) => Self::File(path.trim().to_owned()),
            _ => Self::Literal(Secret::new(text.to_owned())),
        }
    }

    /// Reads the secret. `env` looks up environment variables (a parameter so that tests need not change the process).
    ///
    /// # Errors
    /// A sentence that names the variable or file.
    pub fn read(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, String> {
        let value = match self {
            Self::Env(name) => {
                env(name).ok_or_else(|| format!("the environment variable {name} is not set"))?
            }
            Self::File(path) => {
                std::fs::read_to_string(path).map_err(|e| format!("the file {path} can't be read: {e}"))?
            }
            Self::Literal(secret) => secret.expose().to_owned(),
        };
        let value = value.trim();
        if value.is_empty() {
            return Err(format!("{self:?} is empty"));
        }
        if !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("{self:?} holds characters that can't stand in an HTTP header"));
        }
        Ok(Secret::new(value.to_owned()))
    }
}

/// A value that must not be seen: no `Display`, no `Serialize`, and `Debug` hides it.
#[derive(Clone, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, to be put into a request or compared and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_it_is_said_to_be_and_never_printed() {
        let env = |name: &str| (name == "KEY").then(|| " s3cret\n".to_owned());
        let source = SecretSource::Env("KEY".to_owned());
        let secret = source.read(&env).unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(
            format!("{secret:?} {source:?} {:?}", SecretSource::Literal(secret.clone())),
            "[hidden] env:KEY [hidden]"
        );
        assert!(SecretSource::Env("NONE".to_owned()).read(&env).unwrap_err().contains("NONE is not set"));
        assert!(SecretSource::File("no/such".to_owned()).read(&env).unwrap_err().contains("no/such"));
    }
}
