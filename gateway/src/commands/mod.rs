//! The subcommands, one file each.

pub mod bench;
pub mod config;
pub mod demo;
pub mod mock;
pub mod model;
pub mod serve;

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use sluice_models::{BertEmbedder, EmbedPool, PoolOptions, Progress, PullOptions};

use crate::config::EmbeddingSection;

/// Looks up an environment variable.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
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
