//! `sluice serve`: the gateway.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{env, load_embedder};
use crate::config::{self, Config};
use crate::gateway::{Gateway, Parts};
use crate::mock::{Mock, Script};
use crate::route::catalogue::Catalogue;
use crate::route::{RouteNotes, needs_mock};
use crate::serve::{Server, end_signal};

/// Serves the gateway.
#[derive(Args)]
pub struct ServeArgs {
    /// The configuration; by default ./sluice.yaml, else providers whose keys are in the environment, else a mock.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Serves until the process is asked to end, then lets answers under way finish.
///
/// # Errors
/// What is wrong with the configuration or the addresses.
pub fn run(args: &ServeArgs) -> Result<(), String> {
    let (config, path) = config::load(args.config.as_deref()).map_err(|e| e.to_string())?;
    let name = path.map_or("none, the defaults".to_owned(), |p| p.display().to_string());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = name, "starting");
    let mock = start_mock(&config)?;
    let mock_url = mock.as_ref().map(Mock::base_url);
    // Before the model is loaded, so that a mistake shows at once.
    let parts = Parts { mock: mock_url.as_deref(), ..Parts::default() };
    let (_, notes) = Gateway::build(&config, parts, &env).map_err(|e| e.to_string())?;
    say(&notes);
    let embedder = match load_embedder(&config.embedding) {
        Ok(embedder) => Some(embedder),
        Err(problem) => {
            tracing::warn!(
                problem,
                "the embedding model is not to be had: the cache answers exact and normalised matches only, and /v1/embeddings is off"
            );
            None
        }
    };
    let parts = Parts { embedder, mock: mock_url.as_deref(), serving: true };
    let (gateway, _) = Gateway::build(&config, parts, &env).map_err(|e| e.to_string())?;
    let server = Server::start(Arc::new(gateway), config.listen, config.admin).map_err(|e| e.to_string())?;
    tracing::info!(listen = %server.address, admin = %server.admin, "ready: point your OpenAI client at http://{}/v1", server.address);
    if let Some(address) = server.presidio {
        tracing::info!(presidio = %address, "Presidio's clients are answered, too");
    }
    block_on(end_signal())?;
    tracing::info!("stopping: no new connections, answers under way are sent (ask again to stop at once)");
    std::thread::spawn(|| {
        if block_on(end_signal()).is_ok() {
            std::process::exit(130);
        }
    });
    server.stop();
    Ok(())
}

fn start_mock(config: &Config) -> Result<Option<Mock>, String> {
    if !needs_mock(config, &Catalogue::shipped()?, &env) {
        return Ok(None);
    }
    Mock::start(([127, 0, 0, 1], 0).into(), Script::default()).map(Some).map_err(|e| e.to_string())
}

fn say(notes: &RouteNotes) {
    for (provider, variable) in &notes.from_environment {
        tracing::info!("provider '{provider}' is on, because {variable} is set");
    }
    for provider in &notes.literal_keys {
        tracing::warn!(
            "providers.{provider}.api_key stands in the file itself: env:NAME or file:PATH keeps it out of copies and backups"
        );
    }
    for provider in &notes.open_keys {
        tracing::warn!("providers.{provider}: its key travels without encryption, since base_url is http");
    }
    if notes.mock_alone {
        tracing::warn!(
            "no provider is configured and no key is in the environment: the built-in mock answers (model 'mock'), it only echoes"
        );
    }
}

/// Runs a future to its end on this thread.
///
/// # Errors
/// What the runtime or the future says.
pub fn block_on(future: impl Future<Output = io::Result<()>>) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(future).map_err(|e| e.to_string())
}
