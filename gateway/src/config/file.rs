//! From a file's text to a [`Config`], with errors that name line, column and what was probably meant.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::Config;

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is no configuration.
    #[error("{name}:{line}:{column}: {message}")]
    Parse {
        /// The file.
        name: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What was expected.
        message: String,
    },
    /// The values do not fit together; every problem is listed.
    #[error("{}", .0.join("\n"))]
    Values(Vec<String>),
}

/// Reads the file, or `./sluice.yaml` where none is named and it exists, or takes the defaults. The second value is the
/// file that was read.
///
/// # Errors
/// [`ConfigError::Read`] and [`ConfigError::Parse`].
pub fn load(file: Option<&Path>) -> Result<(Config, Option<PathBuf>), ConfigError> {
    let standard = Path::new("sluice.yaml");
    let path = match file {
        Some(path) => path,
        None if standard.exists() => standard,
        None => return Ok((Config::default(), None)),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    Ok((parse(&text, &path.display().to_string())?, Some(path.to_owned())))
}

/// Reads a configuration from YAML; `name` stands for the file in errors.
///
/// # Errors
/// [`ConfigError::Parse`] with the place of the mistake.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
    parse_as(text, name)
}

/// Reads anything that may stand in a configuration from YAML; `name` stands for the file in errors.
///
/// # Errors
/// [`ConfigError::Parse`] with the place of the mistake.
pub fn parse_as<T: DeserializeOwned + Default>(text: &str, name: &str) -> Result<T, ConfigError> {
    // An empty file is a file of defaults; so is one that holds comments alone.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        ConfigError::Parse { name: name.to_owned(), line, column, message: describe(error) }
    })
}

/// The configuration's JSON Schema, as kept in `config.schema.json`.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(Config)).unwrap_or_default();
    text.push('\n');
    text
}

/// Says what is wrong without quoting values, which may be secrets: only names of fields and variants are repeated.
fn describe(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    match error {
        E::SerdeUnknownField { field, expected, .. } => {
            format!("unknown field '{field}'{}", suggestion(field, expected))
        }
        E::SerdeUnknownVariant { variant, expected, .. } => {
            format!("'{variant}' is not possible here{}", suggestion(variant, expected))
        }
        E::SerdeMissingField { field, .. } => format!("the field '{field}' is missing"),
        E::SerdeInvalidType { expected, .. } | E::SerdeInvalidValue { expected, .. } => {
            format!("expected {expected}")
        }
        E::DuplicateMappingKey { key: Some(key), .. } => format!("the key '{key}' stands here twice"),
        // The standard library's words for a wrong address do not say what would be right.
        E::Message { msg, .. } if msg.contains("socket address") => {
            "expected an address with a port, such as 127.0.0.1:8080".to_owned()
        }
        E::Message { msg, .. } => msg.clone(),
        other => {
            // One sentence of it, without the place, which stands in front already.
            let text = other.to_string();
            let first = text.lines().next().unwrap_or("not valid YAML");
            first.split(" at line ").next().unwrap_or(first).to_owned()
        }
    }
}

fn suggestion(word: &str, expected: &[&str]) -> String {
    let near = expected
        .iter()
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let list = expected.join(", ");
    match near {
        Some((_, name)) => format!(": did you mean '{name}'? (possible: {list})"),
        None => format!(" (possible: {list})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ByteSize, Span};

    #[test]
    fn every_documented_field_is_read() {
        let text = include_str!("../../../fixtures/configs/good/full.yaml");
        let config = parse(text, "full.yaml").unwrap();
        assert_eq!(config.cache.ttl, Span::seconds(3600));
        assert_eq!(config.cache.max_bytes, ByteSize::mebibytes(64));
        let target = |name: &str| crate::config::TargetNode::Target(name.to_owned());
        assert_eq!(config.routes[0].targets, ["primary/model-a", "backup/model-b"].map(target));
        assert_eq!(config.keys[0].tenant.as_deref(), Some("support"));
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(parse("# nothing yet\n\n", "x").unwrap(), Config::default());
    }

    #[test]
    fn a_mistake_is_named_with_its_place_and_what_was_meant() {
        let cases = [
            ("lisen: 127.0.0.1:1\n", "1:1", "did you mean 'listen'"),
            ("cache:\n  similarty: 0.9\n", "2:3", "did you mean 'similarity'"),
            ("cache:\n  index: hsnw\n", "2:10", "did you mean 'hnsw'"),
            ("cache:\n  ttl: 24\n", "2:8", "expected a duration"),
            ("cache:\n  max_bytes: lots\n", "2:14", "expected a size"),
            ("listen: localhost\n", "1:9", ""),
            ("routes:\n  - model: x\n", "2:", "'targets' is missing"),
            ("keys:\n  - [a\n", "", ""),
            ("cache: {similarity: high}\n", "1:21", "invalid floating point"),
            ("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", "2:1", "twice"),
        ];
        for (text, place, words) in cases {
            let error = parse(text, "sluice.yaml").unwrap_err().to_string();
            assert!(error.starts_with(&format!("sluice.yaml:{place}")), "{text:?} gave {error}");
            assert!(error.contains(words), "{text:?} gave {error}");
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated_by_the_error() {
        for text in [
            "keys: hunter2\n",
            "listen: hunter2\n",
            "providers: {a: hunter2}\n",
            "keys:\n - name: a\n   secret: [hunter2]\n",
        ] {
            let error = parse(text, "f").unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
