//! `sluice cache import|export`: answers into a running gateway's cache and out of it, over its admin address.

mod admin;
mod export;
mod import;
mod lines;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config;
use admin::Admin;

/// The variable that holds the key for the admin address.
const KEY_VARIABLE: &str = "SLUICE_ADMIN_KEY";

/// What can be done with a running gateway's cache.
#[derive(Subcommand)]
pub enum CacheCommand {
    /// Stores the answers of a file as if clients had asked and providers had answered. One JSON object a line: {"prompt" or
    /// "messages", "answer", "model", "system"?, "parameters"?, "tenant"?, "namespace"?, "tags"?, "ttl"?}.
    Import(FileArgs),
    /// Writes the answers whose requests were kept (cache.keep_prompts: true) to a file that an import takes.
    Export(FileArgs),
}

/// Which file, and which gateway.
#[derive(Args)]
pub struct FileArgs {
    /// The file.
    #[arg(value_name = "FILE.jsonl")]
    file: PathBuf,
    /// The gateway's admin address; by default the configuration's.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// The configuration; by default ./sluice.yaml, else the defaults.
    #[arg(long, value_name = "FILE.yaml")]
    config: Option<PathBuf>,
    /// A virtual key, where the admin address asks for one; by default what SLUICE_ADMIN_KEY holds.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Runs it; the text is for standard output, `notes` takes a line for each line of the file that is not simply stored.
///
/// # Errors
/// What went wrong with file or gateway, and how many lines could not be imported.
pub fn run(command: &CacheCommand, notes: &mut dyn Write) -> Result<String, String> {
    let (CacheCommand::Import(args) | CacheCommand::Export(args)) = command;
    let (config, _) = config::load(args.config.as_deref()).map_err(|e| e.to_string())?;
    let key = args.key.clone().or_else(|| super::env(KEY_VARIABLE));
    let admin = Admin::new(args.admin.as_deref(), config.admin, key.as_deref())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    match command {
        CacheCommand::Import(_) => {
            // What the gateway takes at most in one go is told by its own configuration, which may be this one.
            let most = usize::try_from(config.limits.max_body.0).unwrap_or(usize::MAX);
            runtime.block_on(import::import(&args.file, &admin, most, notes))
        }
        CacheCommand::Export(_) => runtime.block_on(export::export(&args.file, &admin)),
    }
}
