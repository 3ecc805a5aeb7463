//! Which folder holds a model, and what it lacks.

use super::error::WeightsError;
use super::store;
use crate::registry::{FileSpec, ModelSpec, Source};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Begins the name of everything unfinished in a model's folder.
pub(super) const UNFINISHED: &str = ".pull-";

/// A model's folder.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Whether the operator named it. What lies there was put there on purpose, so we never replace it.
    named: bool,
}

/// The folder a model's files are looked for in and fetched into.
///
/// With `SLUICE_MODEL_DIR` set: that folder itself if it holds a file of the model's, else `<model name>` inside it;
/// always the latter for a model whose hashes are not known, since nothing would tell its files from another's.
/// Otherwise `sluice/models/<model name>` in the user's cache folder (on Linux under `XDG_CACHE_HOME` or `~/.cache`).
/// A local folder's model is in that folder.
///
/// # Errors
/// [`WeightsError::NoFolder`] when the variable is not set and the user has no home.
pub fn model_dir(spec: &ModelSpec) -> Result<PathBuf, WeightsError> {
    Folder::find(spec, None).map(|folder| folder.path)
}

impl Folder {
    /// The folder of `spec`: in `dir` if given, else in `SLUICE_MODEL_DIR`, else in the user's cache.
    pub(super) fn find(spec: &ModelSpec, dir: Option<&Path>) -> Result<Self, WeightsError> {
        Self::choose(spec, dir, std::env::var_os("SLUICE_MODEL_DIR"))
    }

    fn choose(
        spec: &ModelSpec,
        dir: Option<&Path>,
        variable: Option<OsString>,
    ) -> Result<Self, WeightsError> {
        if let Source::Folder(path) = &spec.source {
            return Ok(Self { path: path.clone(), named: true });
        }
        let variable = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(root) = dir.map(Path::to_path_buf).or(variable) {
            let own = root.join(&*spec.name);
            let flat = !own.is_dir()
                && spec.hashes_known()
                && spec.files.iter().any(|file| root.join(file.name).is_file());
            return Ok(Self { path: if flat { root } else { own }, named: true });
        }
        let user = directories::ProjectDirs::from("", "", "sluice").ok_or(WeightsError::NoFolder)?;
        Ok(Self { path: user.cache_dir().join("models").join(&*spec.name), named: false })
    }

    #[cfg(test)]
    pub(super) fn cache(path: &Path) -> Self {
        Self { path: path.to_path_buf(), named: false }
    }

    /// The files that have to be fetched. A file with a wrong hash is an error in a folder the operator named, and
    /// where the hash is only our own record; otherwise, in our cache, it counts as missing and is fetched again.
    pub(super) fn missing<'a>(&self, spec: &'a ModelSpec) -> Result<Vec<&'a FileSpec>, WeightsError> {
        let mut missing = Vec::new();
        for file in spec.files.iter() {
            match store::verify(&self.path, file) {
                Ok(true) => {}
                Ok(false) => missing.push(file),
                Err(spoilt @ WeightsError::WrongHash { recorded: false, .. }) if !self.named => {
                    tracing::warn!(error = %spoilt, "a file in the model cache is spoilt and will be fetched again");
                    missing.push(file);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// Makes the folder if need be and waits until no other process fetches into it. Held until dropped.
    pub(super) fn lock(&self) -> Result<File, WeightsError> {
        let io = |error| WeightsError::Io { path: self.path.clone(), error };
        std::fs::create_dir_all(&self.path).map_err(io)?;
        let mut options = File::options();
        let lock =
            options.create(true).truncate(false).write(true).open(self.path.join(".lock")).map_err(io)?;
        let locked = match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                tracing::info!(folder = %self.path.display(), "waiting for another process that fetches the model");
                lock.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        match locked {
            Ok(()) => self.sweep(),
            // Some network file systems have no locks. Files still take their names whole, only work may be doubled.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!(folder = %self.path.display(), "this file system has no locks; going on without");
            }
            Err(error) => return Err(io(error)),
        }
        Ok(lock)
    }

    /// Removes what a killed process left behind; under the lock nobody can still be writing it.
    fn sweep(&self) {
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let path = entry.path();
                // Nothing depends on its success.
                let _ =
                    if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{one_file_model, scratch};
    use super::*;

    #[test]
    fn a_named_folder_holds_a_folder_per_model() {
        let spec = one_file_model(b"content", None);
        let root = scratch();
        let folder = Folder::choose(spec, Some(root.path()), None).unwrap();
        assert_eq!(folder.path, root.path().join(&*spec.name));
        assert!(folder.named);
    }

    #[test]
    fn a_named_folder_may_hold_the_files_themselves() {
        let spec = one_file_model(b"content", None);
        let root = scratch();
        std::fs::write(root.path().join(spec.files[0].name), b"content").unwrap();
        let folder = Folder::choose(spec, None, Some(root.path().into())).unwrap();
        assert_eq!(folder.path, root.path());
    }

    #[test]
    fn the_option_goes_before_the_variable_and_both_before_the_cache() {
        let spec = one_file_model(b"content", None);
        let (one, two) = (scratch(), scratch());
        let folder = Folder::choose(spec, Some(one.path()), Some(two.path().into())).unwrap();
        assert!(folder.path.starts_with(one.path()));
        let folder = Folder::choose(spec, None, Some(two.path().into())).unwrap();
        assert!(folder.path.starts_with(two.path()));
    }

    #[test]
    fn an_empty_variable_counts_as_none() {
        let spec = one_file_model(b"content", None);
        if let Ok(folder) = Folder::choose(spec, None, Some(OsString::new())) {
            assert!(!folder.named);
            assert!(folder.path.ends_with(format!("models/{}", spec.name)));
        }
    }

    #[test]
    fn leftovers_of_a_killed_pull_are_swept_under_the_lock() {
        let root = scratch();
        let folder = Folder::cache(root.path());
        std::fs::write(root.path().join(".pull-abc"), b"half").unwrap();
        std::fs::create_dir(root.path().join(".pull-def")).unwrap();
        std::fs::write(root.path().join("kept"), b"whole").unwrap();
        let _lock = folder.lock().unwrap();
        assert!(!root.path().join(".pull-abc").exists());
        assert!(!root.path().join(".pull-def").exists());
        assert!(root.path().join("kept").exists());
    }
}
