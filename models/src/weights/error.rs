//! What can go wrong on a model's way into its folder.

use std::fmt;
use std::path::PathBuf;

/// Why a model's files are not there.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// This user has no cache folder and named none.
    #[error("no cache folder is known for this user; name one in SLUICE_MODEL_DIR")]
    NoFolder,
    /// Files are missing, and no source may be asked.
    #[error("model {model}: {files} not found in {}", dir.display())]
    Missing {
        /// The model's name.
        model: String,
        /// The folder that was looked in.
        dir: PathBuf,
        /// The names, separated by commas.
        files: String,
    },
    /// A file in the folder is not the one the registry names, or not the one that was first downloaded.
    #[error("{}: expected SHA-256 {expected}{}, found {actual}; {}", path.display(), whose(*recorded), remedy(*recorded))]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// What it should hash to, in hex.
        expected: String,
        /// Whether that is what was recorded on first download, and not what the registry says.
        recorded: bool,
        /// What it hashes to.
        actual: String,
    },
    /// The file of recorded hashes can't be understood.
    #[error("{}: {reason}; mend it, or remove it to take the files as they are", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Every source was asked and none gave the model.
    #[error("model {model}: no source gave its files{}", lines(said))]
    Exhausted {
        /// The model's name.
        model: String,
        /// What each source said, in the order they were asked.
        said: Vec<SourceFailure>,
    },
}

/// Why one source did not give a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFailure {
    /// The source: an address without credentials, or a package.
    pub origin: String,
    /// The file that was asked for when it failed.
    pub file: String,
    /// What went wrong; for a wrong hash, both hashes.
    pub reason: String,
}

impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}: {}", self.file, self.origin, self.reason)
    }
}

fn whose(recorded: bool) -> &'static str {
    if recorded { " (recorded on first download)" } else { "" }
}

fn remedy(recorded: bool) -> &'static str {
    if recorded {
        "put the first file back, or remove recorded-sha256.json to take the new one"
    } else {
        "replace the file or remove it"
    }
}

fn lines(said: &[SourceFailure]) -> String {
    said.iter().map(|failure| format!("\n  {failure}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_tells_what_every_source_said() {
        let failure = |origin: &str| SourceFailure {
            origin: origin.into(),
            file: "config.json".into(),
            reason: "host not found".into(),
        };
        let error =
            WeightsError::Exhausted { model: "m".into(), said: vec![failure("a hub"), failure("a package")] };
        assert_eq!(
            error.to_string(),
            "model m: no source gave its files\n  config.json from a hub: host not found\n  \
             config.json from a package: host not found"
        );
    }
}
