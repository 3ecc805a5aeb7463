//! `guardrails.injection_bank:`

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Attacks that you know. A text in which the words of one stand is one, and so is a text that means the same, as far as the local
/// embedding model can tell; what is done then is what `injection` says of its channel.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BankSection {
    /// Their texts, of at most 8 KiB each.
    pub examples: Vec<String>,
    /// A file, in a folder that exists, in which those are kept that are added while the gateway runs; one JSON object a line,
    /// `{"text": …}`. It is read on start and written whole. Two gateways can't share it. Without one they are forgotten at the end.
    pub file: Option<PathBuf>,
    /// How similar a text must be to mean the same, from 0 to 1. By default fitted for each, to how near harmless prompts come to it.
    pub similarity: Option<f32>,
}
