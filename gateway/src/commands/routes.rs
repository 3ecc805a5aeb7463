//! `sluice routes explain`: who would be asked about a request, in which order, and why.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::env;
use crate::config;
use crate::gateway::{Gateway, Parts};
use crate::route::Facts;

/// Look at routes without serving.
#[derive(Subcommand)]
pub enum RoutesCommand {
    /// Prints the targets that a request would be sent to, in order, and why.
    Explain(ExplainArgs),
}

/// What is known of the request.
#[derive(Args, Default)]
pub struct ExplainArgs {
    /// The model asked for.
    #[arg(long)]
    model: String,
    /// The configuration file; by default ./sluice.yaml, else the defaults.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A header of the request; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// A field of its metadata; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    metadata: Vec<String>,
    /// The tenant whose key it comes with.
    #[arg(long, default_value = "")]
    tenant: String,
    /// The name of its virtual key.
    #[arg(long, default_value = "")]
    key: String,
    /// Characters of its texts.
    #[arg(long, default_value_t = 0)]
    prompt_characters: u64,
    /// An entity that the guardrails found in it and redacted, such as `EMAIL_ADDRESS`; may be given several times.
    #[arg(long)]
    entity: Vec<String>,
    /// Its answer is to be streamed.
    #[arg(long)]
    stream: bool,
    /// The model is offered tools.
    #[arg(long)]
    tools: bool,
    /// There are images in it.
    #[arg(long)]
    images: bool,
    /// It looks like a prompt injection.
    #[arg(long)]
    injection: bool,
    /// It is for in-house targets alone.
    #[arg(long)]
    in_house: bool,
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What is wrong with the configuration, or that there is no such model.
pub fn run(command: &RoutesCommand) -> Result<String, String> {
    let RoutesCommand::Explain(args) = command;
    let facts = args.facts()?;
    let (config, _) = config::load(args.config.as_deref()).map_err(|e| e.to_string())?;
    // As for a check, any address stands for the mock.
    let parts = Parts { mock: Some("http://127.0.0.1:1/v1"), ..Parts::default() };
    let (gateway, _) = Gateway::build(&config, parts, &env).map_err(|e| e.to_string())?;
    gateway.routes.explain(&args.model, &facts).map_err(|e| e.to_string())
}

impl ExplainArgs {
    fn facts(&self) -> Result<Facts, String> {
        let headers = pairs("--header", &self.header)?;
        Ok(Facts {
            tenant: self.tenant.clone(),
            key: self.key.clone(),
            headers: headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
            metadata: pairs("--metadata", &self.metadata)?,
            characters: self.prompt_characters,
            stream: self.stream,
            tools: self.tools,
            images: self.images,
            entities: self.entity.iter().cloned().map(Cow::Owned).collect(),
            redacted: !self.entity.is_empty(),
            injection: self.injection,
            in_house: self.in_house,
        })
    }
}

fn pairs(option: &str, given: &[String]) -> Result<BTreeMap<String, String>, String> {
    let pair = |text: &String| {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("{option}: expected NAME=VALUE, not '{text}'"))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    given.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_metadata_are_read_as_names_with_values() {
        let args = ExplainArgs {
            header: vec!["X-Tier=gold".to_owned()],
            metadata: vec!["plan = a=b".to_owned()],
            entity: vec!["US_SSN".to_owned()],
            ..ExplainArgs::default()
        };
        let facts = args.facts().unwrap();
        assert_eq!((facts.headers["x-tier"].as_str(), facts.metadata["plan"].as_str()), ("gold", "a=b"));
        assert!(facts.redacted && facts.entities.contains("US_SSN"));
        let wrong = ExplainArgs { header: vec!["x-tier".to_owned()], ..ExplainArgs::default() };
        assert_eq!(wrong.facts().unwrap_err(), "--header: expected NAME=VALUE, not 'x-tier'");
    }
}
