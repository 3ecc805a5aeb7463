//! `sluice config check|schema`: is this file right, and what may stand in one.

use std::path::PathBuf;

use clap::Subcommand;

use super::env;
use crate::config;
use crate::gateway::{Gateway, Parts};

/// Look at configurations without serving.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Reads a configuration and everything it refers to, and says what is wrong with it.
    Check {
        /// The file; by default ./sluice.yaml, else the defaults.
        file: Option<PathBuf>,
    },
    /// Prints the JSON Schema of the configuration file, for editors.
    Schema,
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What is wrong with the configuration.
pub fn run(command: &ConfigCommand) -> Result<String, String> {
    match command {
        ConfigCommand::Schema => Ok(config::schema()),
        ConfigCommand::Check { file } => {
            let (config, path) = config::load(file.as_deref()).map_err(|e| e.to_string())?;
            // The mock is not started for a check: any address stands for it.
            let parts = Parts { mock: Some("http://127.0.0.1:1/v1"), ..Parts::default() };
            Gateway::build(&config, parts, &env).map_err(|e| e.to_string())?;
            let name = path.map_or("the defaults".to_owned(), |p| p.display().to_string());
            Ok(format!("{name}: good\n"))
        }
    }
}
