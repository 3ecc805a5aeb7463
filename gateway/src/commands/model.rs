//! `sluice model pull`: fetch weights ahead of time.

use clap::Subcommand;
use sluice_models::{DEFAULT_MODEL, PullOptions};

use super::{Bar, model_spec};

/// Local embedding models.
#[derive(Subcommand)]
pub enum ModelCommand {
    /// Fetches a model's weights into the cache folder (SLUICE_MODEL_DIR, else the platform's) and verifies them.
    Pull {
        /// The model.
        #[arg(default_value = DEFAULT_MODEL)]
        name: String,
    },
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What every source said.
pub fn run(command: &ModelCommand) -> Result<String, String> {
    let ModelCommand::Pull { name } = command;
    let spec = model_spec(name)?;
    let files =
        sluice_models::pull(spec, &PullOptions::default(), &Bar::default()).map_err(|e| e.to_string())?;
    Ok(format!("{}: verified in {}\n", spec.name, files.dir.display()))
}
