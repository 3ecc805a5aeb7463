//! The subcommands, one file each.

pub mod audit;
pub mod bench;
pub mod cache;
pub mod config;
pub mod demo;
pub mod eval;
pub mod mock;
pub mod model;
pub mod routes;
pub mod scan;
pub mod serve;
pub mod tune;

use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sluice_models::{BertEmbedder, EmbedPool, PoolOptions, Precision, Progress, PullOptions};

use crate::config::EmbeddingSection;

/// Looks up an environment variable.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Which embedding model a command works with that reads no configuration.
#[derive(Args)]
pub struct EmbeddingArgs {
    /// The embedding model: one of `sluice model list`, or a folder with a model of the BERT family.
    #[arg(long, default_value_t = EmbeddingSection::default().model)]
    model: String,
    /// What it computes in: auto, f32, bf16 or int8.
    #[arg(long, default_value_t = EmbeddingSection::default().precision)]
    precision: Precision,
}

impl EmbeddingArgs {
    /// The same as a configuration that says nothing else of it.
    #[must_use]
    pub fn section(&self) -> EmbeddingSection {
        EmbeddingSection {
            model: self.model.clone(),
            precision: self.precision,
            ..EmbeddingSection::default()
        }
    }
}

/// Loads the embedding model, fetching its weights if they are not there yet.
///
/// # Errors
/// What every source said.
pub fn load_embedder(config: &EmbeddingSection) -> Result<EmbedPool, String> {
    let spec = sluice_models::resolve(&config.model).map_err(|e| e.to_string())?;
    let files =
        sluice_models::pull(&spec, &PullOptions::default(), &Bar::default()).map_err(|e| e.to_string())?;
    let embedder = BertEmbedder::load(&spec, &files, config.precision).map_err(|e| e.to_string())?;
    tracing::info!(model = %spec.name, kernel = %embedder.kernel(), "the embedding model is loaded");
    let options = PoolOptions { workers: config.workers, queue: config.queue, ..PoolOptions::default() };
    EmbedPool::start(Arc::new(embedder), options).map_err(|e| e.to_string())
}

/// A progress bar for downloads; without a terminal it draws nothing.
#[derive(Default)]
pub struct Bar {
    bar: std::sync::Mutex<Option<ProgressBar>>,
}

impl Progress for Bar {
    fn start(&self, what: &str, total_bytes: Option<u64>) {
        let bar = ProgressBar::new(total_bytes.unwrap_or(0));
        let style = "{msg:28} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        self.replace(Some(bar));
    }

    fn advance(&self, bytes: u64) {
        if let Ok(bar) = self.bar.lock()
            && let Some(bar) = bar.as_ref()
        {
            bar.inc(bytes);
        }
    }

    fn finish(&self) {
        self.replace(None);
    }
}

impl Bar {
    fn replace(&self, next: Option<ProgressBar>) {
        if let Ok(mut bar) = self.bar.lock() {
            if let Some(old) = bar.take() {
                old.finish_and_clear();
            }
            *bar = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        embedding: EmbeddingArgs,
    }

    fn section(words: &[&str]) -> Result<EmbeddingSection, clap::Error> {
        let command = Command::try_parse_from(["command"].iter().chain(words))?;
        Ok(command.embedding.section())
    }

    #[test]
    fn without_words_the_model_is_that_of_a_configuration_without_words() {
        assert_eq!(section(&[]).unwrap(), EmbeddingSection::default());
    }

    #[test]
    fn model_and_precision_are_the_ones_that_were_named() {
        let named = section(&["--model", "./a/folder", "--precision", "int8"]).unwrap();
        assert_eq!((named.model.as_str(), named.precision), ("./a/folder", Precision::Int8));
        let refused = section(&["--precision", "fp8"]).unwrap_err().to_string();
        assert!(refused.contains("--precision") && refused.contains("f32, bf16 or int8"), "{refused}");
    }
}
