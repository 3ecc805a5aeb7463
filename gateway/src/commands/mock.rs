//! `sluice mock`: the scripted provider by itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::mock::{Mock, Script};
use crate::serve::end_signal;

/// An OpenAI-compatible provider that answers by script: POST /v1/chat/completions, GET /requests (the raw bytes it got),
/// DELETE /requests, PUT /script.
#[derive(Args)]
pub struct MockArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// A YAML script; by default every question is echoed.
    #[arg(long)]
    script: Option<PathBuf>,
}

/// Serves until the process is asked to end.
///
/// # Errors
/// What is wrong with the script or the address.
pub fn run(args: &MockArgs) -> Result<(), String> {
    let script = match &args.script {
        None => Script::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Script::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?
        }
    };
    let mock = Mock::start(args.listen, script).map_err(|e| e.to_string())?;
    tracing::info!(base_url = mock.base_url(), "the mock provider is ready");
    super::serve::block_on(end_signal())
}
