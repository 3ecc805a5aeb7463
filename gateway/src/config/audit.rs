//! `audit:`

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ByteSize;
use crate::audit;

/// `audit:` What the guards decided, for those who have to prove it: a line for each finding, never with its value.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSection {
    /// The file, in a folder that exists; each line of it holds the hash of the line before. Without one nothing is written.
    /// Two gateways can't share it.
    pub path: Option<PathBuf>,
    /// What happens while it can't be written. `open`: requests go on, and the log says how many events are missing.
    /// `closed`: requests are refused with 503.
    pub on_error: OnError,
    /// From this size on the file is renamed to `PATH.000001` and so on, and the chain goes on in a new one. None of them is
    /// ever removed.
    pub max_bytes: ByteSize,
    /// Events that may wait to be written.
    pub queue: usize,
}

/// What happens while something that requests need can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Requests go on.
    Open,
    /// Requests are refused.
    Closed,
}

impl Default for AuditSection {
    fn default() -> Self {
        Self { path: None, on_error: OnError::Open, max_bytes: ByteSize::mebibytes(64), queue: 10_000 }
    }
}

impl AuditSection {
    /// What is wrong with it, one sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(path) = &self.path {
            let folder = audit::folder_of(path);
            if path.file_name().is_none() || path.is_dir() {
                problems.push(format!("audit.path: expected the path of a file, found '{}'", path.display()));
            } else if !folder.is_dir() {
                problems.push(format!("audit.path: the folder '{}' is not there", folder.display()));
            }
        }
        if self.max_bytes.0 == 0 {
            problems.push("audit.max_bytes: must be larger than 0".to_owned());
        }
        if self.queue == 0 {
            problems.push("audit.queue: at least 1".to_owned());
        }
        problems
    }
}
