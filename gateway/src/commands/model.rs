//! `sluice model`: embedding models, where their weights are, and what they cost.

pub mod bench;

use std::fmt::Write;

use clap::Subcommand;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use sluice_models::{DEFAULT_MODEL, ModelFiles, ModelSpec, Pooling, PullOptions, Source};

use super::Bar;

/// Local embedding models.
#[derive(Subcommand)]
pub enum ModelCommand {
    /// Fetches a model's weights into the cache folder (SLUICE_MODEL_DIR, else the platform's) and verifies them.
    Pull {
        /// A model of `sluice model list`, or a folder with a model of the BERT family, which is looked at only.
        #[arg(default_value = DEFAULT_MODEL)]
        name: String,
    },
    /// Lists the models that can be pulled by name.
    List,
    /// Measures what embedding costs on this machine, on one thread, beside candle as released. Takes about a minute.
    Bench {
        /// The model, as for `pull`.
        #[arg(default_value = DEFAULT_MODEL)]
        name: String,
        /// One JSON object a line instead of a table.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What every source said.
pub fn run(command: &ModelCommand) -> Result<String, String> {
    match command {
        ModelCommand::Pull { name } => pull(name),
        ModelCommand::List => Ok(list()),
        ModelCommand::Bench { name, json } => bench::run(name, *json),
    }
}

fn pull(name: &str) -> Result<String, String> {
    let spec = sluice_models::resolve(name).map_err(|e| e.to_string())?;
    let files =
        sluice_models::pull(&spec, &PullOptions::default(), &Bar::default()).map_err(|e| e.to_string())?;
    told(&spec, &files)
}

/// What is known of the files, and from where.
fn told(spec: &ModelSpec, files: &ModelFiles) -> Result<String, String> {
    let dir = files.dir.display();
    if let Source::Folder(_) = spec.source {
        let ModelSpec { name, dimensions, max_tokens, prefix, .. } = spec;
        let pooling = pooling(spec.pooling);
        return Ok(format!(
            "{name}: read in {dir}, not verified against a known hash\n  \
             {dimensions} dimensions, {max_tokens} tokens, pooling {pooling}, prefix {prefix:?}\n"
        ));
    }
    if spec.hashes_known() {
        return Ok(format!("{}: verified in {dir}\n", spec.name));
    }
    let mut text = format!("{}: in {dir}\n", spec.name);
    for (file, record) in files.unverified(spec).map_err(|e| e.to_string())? {
        let known = match record {
            Some(r) => format!(
                "recorded on first download, not verified against a known hash: SHA-256 {}, {} bytes, {}, {}",
                r.sha256, r.bytes, r.date, r.source
            ),
            None => "put there by hand, neither recorded nor verified".to_owned(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {file}: {known}");
    }
    Ok(text)
}

/// The registry as a table.
fn list() -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["model", "dimensions", "tokens", "pooling", "prefix", "hashes", "on disk"]);
    for spec in sluice_models::known() {
        table.add_row([
            spec.name.to_string(),
            spec.dimensions.to_string(),
            spec.max_tokens.to_string(),
            pooling(spec.pooling).to_owned(),
            if spec.prefix.is_empty() { "none".to_owned() } else { format!("{:?}", spec.prefix) },
            if spec.hashes_known() { "known" } else { "recorded on first download" }.to_owned(),
            if on_disk(spec) { "yes" } else { "no" }.to_owned(),
        ]);
    }
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!(
        "{table}\nAny folder with a model of the BERT family will do as well: embedding.model: ./path/to/folder\n"
    )
}

/// Whether every file is there; whether they are right is seen when they are loaded.
fn on_disk(spec: &ModelSpec) -> bool {
    sluice_models::model_dir(spec)
        .is_ok_and(|dir| spec.files.iter().all(|file| dir.join(file.name).is_file()))
}

fn pooling(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "CLS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_models::Origin;
    use std::path::Path;

    #[test]
    fn the_list_has_every_model_with_what_it_needs() {
        let list = list();
        for spec in sluice_models::known() {
            assert!(list.contains(&*spec.name), "{list}");
        }
        for cell in ["CLS", "\"query: \"", "768", "128", "recorded on first download"] {
            assert!(list.contains(cell), "{cell} is not in {list}");
        }
        assert_eq!(list.matches(" known ").count(), 1, "{list}");
    }

    #[test]
    fn a_file_nobody_verified_is_told_as_such() {
        let spec = sluice_models::find("gte-small").unwrap();
        let dir = std::env::temp_dir().join("no-such-folder-of-sluice");
        let files = ModelFiles { dir, origin: Origin::Folder };
        let told = told(spec, &files).unwrap();
        assert_eq!(told.matches("put there by hand, neither recorded nor verified").count(), 3, "{told}");
        assert!(!told.contains(": verified"), "{told}");
    }

    #[test]
    fn a_folder_that_holds_no_model_is_refused_with_the_file_it_lacks() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let error = pull(folder.to_str().unwrap()).unwrap_err();
        assert!(error.contains("config.json not found"), "{error}");
        let error = pull("./no/such/folder").unwrap_err();
        assert!(error.contains("all-MiniLM-L12-v2"), "{error}");
    }
}
