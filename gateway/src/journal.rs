//! The file in which the cache survives a restart, and the key beside it.
//!
//! Entries are found by keyed hashes, so what was kept is of use only as long as their key is. It lies in `PATH.key`: 32
//! bytes, for their owner alone. A journal whose key is lost is set aside.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use sluice_engine::cache::fingerprint;
use sluice_engine::journal::{Journal, Options};

/// A journal that is open, and the key to what is in it.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) key: [u8; 32],
}

/// Says what is wrong with a path for a journal, before anything is opened.
///
/// # Errors
/// What is wrong, with the field's name.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    if path.file_name().is_none() || path.is_dir() {
        return Err(format!("cache.journal: expected the path of a file, found '{}'", path.display()));
    }
    let folder = folder(path);
    if folder.is_dir() {
        Ok(())
    } else {
        Err(format!("cache.journal: the folder '{}' is not there", folder.display()))
    }
}

/// Opens the journal with its key, or creates both, with `fresh` as the key. `None` if that can't be: the log says why, and
/// the cache goes on in memory.
pub(crate) fn open(path: &Path, vector_space: &str, fresh: &[u8; 32]) -> Option<Opened> {
    let memory_only = |error: &dyn std::error::Error| {
        tracing::error!(
            journal = %path.display(), %error,
            "the cache goes on in memory alone: what is removed from it now may be back when the journal can be opened again"
        );
    };
    let key = match kept_key(path, fresh) {
        Ok(key) => key,
        Err(error) => {
            memory_only(&error);
            return None;
        }
    };
    let options = Options::new(fingerprint(vector_space, &id_of(&key)));
    // What was found there and is of no use is told in the log by the journal itself.
    match Journal::open(path, options) {
        Ok((journal, _)) => Some(Opened { journal, key }),
        Err(error) => {
            memory_only(&error);
            None
        }
    }
}

/// Tells one key from another, and nothing of either.
fn id_of(key: &[u8; 32]) -> String {
    blake3::Hasher::new_keyed(key).update(b"sluice journal key id v1").finalize().to_hex()[..16].to_owned()
}

/// The key that lies beside the journal. If there is none, or no usable one, `fresh` is put there.
fn kept_key(journal: &Path, fresh: &[u8; 32]) -> io::Result<[u8; 32]> {
    let path = beside(journal, ".key");
    let why = match fs::read(&path) {
        Ok(bytes) => match <[u8; 32]>::try_from(bytes) {
            Ok(key) => return Ok(key),
            Err(bytes) => format!("it has {} bytes instead of 32", bytes.len()),
        },
        Err(error) => error.to_string(),
    };
    let lost = path.exists() || journal.exists();
    if lost {
        tracing::error!(
            key = %path.display(), why,
            "the key of the cache's journal can't be read: what was kept can't be found again, and is set aside"
        );
    }
    create_key(&path, fresh)
}

/// Puts a key where none is that can be used. It gets its name when it is whole; if another process was faster, its key
/// counts.
fn create_key(path: &Path, fresh: &[u8; 32]) -> io::Result<[u8; 32]> {
    let unfinished = beside(path, ".new");
    // One that a process left behind when it was killed; mostly there is none.
    drop(fs::remove_file(&unfinished));
    let mut file = private().open(&unfinished)?;
    file.write_all(fresh)?;
    file.sync_all()?;
    let placed = if path.exists() {
        fs::rename(&unfinished, path).map(|()| *fresh)
    } else {
        match fs::hard_link(&unfinished, path) {
            Ok(()) => fs::remove_file(&unfinished).map(|()| *fresh),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let there = fs::read(path)?;
                there.try_into().map_err(|_| io::Error::other("two processes make the key at the same time"))
            }
            // A file system without hard links.
            Err(_) => fs::rename(&unfinished, path).map(|()| *fresh),
        }
    };
    if cfg!(unix) {
        File::open(folder(path))?.sync_all()?;
    }
    placed
}

/// For a new file that belongs to its owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(ending);
    path.with_file_name(name)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.redb");
        (folder, path)
    }

    /// Names of the files in the folder, without the numbers of those set aside.
    fn files(folder: &tempfile::TempDir) -> Vec<String> {
        let files = fs::read_dir(folder.path()).unwrap();
        let name = |file: io::Result<fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> =
            files.map(name).map(|name| name.split('-').next().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_first_key_is_kept_for_its_owner_alone() {
        let (folder, path) = place();
        assert_eq!(open(&path, "m/f32", &[1; 32]).unwrap().key, [1; 32]);
        assert_eq!(open(&path, "m/f32", &[2; 32]).unwrap().key, [1; 32]);
        assert_eq!(files(&folder), ["cache.redb", "cache.redb.key", "cache.redb.lock"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(beside(&path, ".key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_journal_whose_key_is_gone_or_broken_is_set_aside() {
        type Break = fn(&Path);
        let ways: [Break; 3] = [
            |key| fs::remove_file(key).unwrap(),
            |key| fs::write(key, [7; 31]).unwrap(),
            |key| fs::write(key, []).unwrap(),
        ];
        for break_key in ways {
            let (folder, path) = place();
            drop(open(&path, "m/f32", &[1; 32]).unwrap());
            break_key(&beside(&path, ".key"));
            assert_eq!(open(&path, "m/f32", &[2; 32]).unwrap().key, [2; 32]);
            let expected = ["cache.redb", "cache.redb.key", "cache.redb.lock", "cache.redb.other"];
            assert_eq!(files(&folder), expected);
            assert_eq!(open(&path, "m/f32", &[3; 32]).unwrap().key, [2; 32]);
            assert_eq!(files(&folder), expected, "the new journal and the new key belong together");
        }
    }

    #[test]
    fn vectors_of_another_space_are_set_aside_and_the_key_stays() {
        let (folder, path) = place();
        drop(open(&path, "m/f32", &[1; 32]).unwrap());
        assert_eq!(open(&path, "m/int8", &[2; 32]).unwrap().key, [1; 32]);
        assert!(files(&folder).contains(&"cache.redb.other".to_owned()));
    }

    #[test]
    fn a_journal_in_use_or_a_folder_that_is_gone_leaves_the_cache_in_memory() {
        let (_folder, path) = place();
        let first = open(&path, "m/f32", &[1; 32]).unwrap();
        assert!(open(&path, "m/f32", &[2; 32]).is_none());
        drop(first);
        assert!(open(&path, "m/f32", &[2; 32]).is_some());
        assert!(open(Path::new("/no/such/folder/cache.redb"), "m/f32", &[1; 32]).is_none());
    }

    #[test]
    fn a_path_that_can_be_none_is_told_by_its_field() {
        let (folder, path) = place();
        assert_eq!(check(&path), Ok(()));
        assert_eq!(check(Path::new("cache.redb")), Ok(()));
        for wrong in [folder.path(), Path::new(""), Path::new("/"), Path::new("/no/such/folder/c.redb")] {
            assert!(check(wrong).unwrap_err().starts_with("cache.journal: "), "{}", wrong.display());
        }
    }
}
