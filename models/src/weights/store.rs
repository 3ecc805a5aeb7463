//! Files on disk: read and checked, or written so that only a whole and right file ever has its name.

use super::error::WeightsError;
use super::folder::UNFINISHED;
use super::progress::Running;
use super::record::{self, Record};
use crate::registry::FileSpec;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

/// Whether the file is in `dir`, checked by its hash.
pub(super) fn verify(dir: &Path, file: &FileSpec) -> Result<bool, WeightsError> {
    let path = dir.join(file.name);
    let io = |error| WeightsError::Io { path: path.clone(), error };
    let mut opened = match File::open(&path) {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        Err(error) => return Err(io(error)),
    };
    let hash = hash_of(&mut opened).map_err(io)?;
    expect(dir, file, hash)?;
    Ok(true)
}

/// The file's content, checked; `None` if it is not there.
pub(super) fn read(dir: &Path, file: &FileSpec) -> Result<Option<Vec<u8>>, WeightsError> {
    let path = dir.join(file.name);
    match std::fs::read(&path) {
        Ok(content) => {
            expect(dir, file, Sha256::new_with_prefix(&content))?;
            Ok(Some(content))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(WeightsError::Io { path, error }),
    }
}

/// Writes what `content` gives into `dir` under the file's name, if it is the right file; if nobody knows which that
/// is, its hash is recorded as coming from `source`. The error is a sentence for
/// [`SourceFailure`](super::SourceFailure); nothing is left behind by it.
pub(super) fn write(
    dir: &Path,
    file: &FileSpec,
    source: &str,
    content: &mut dyn Read,
    progress: &Running<'_>,
) -> Result<(), String> {
    let disk = |error: std::io::Error| format!("cannot write into {}: {error}", dir.display());
    let mut unfinished = unfinished_file(dir).map_err(disk)?;
    let mut hash = Sha256::new();
    let mut length = 0_u64;
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("broke off after {length} bytes: {error}")),
        };
        length += n as u64;
        if length > file.most_bytes() {
            return Err(format!("is longer than the {} bytes expected", file.most_bytes()));
        }
        hash.update(&buffer[..n]);
        unfinished.write_all(&buffer[..n]).map_err(disk)?;
        progress.advance(n);
    }
    let actual = hex(hash);
    unfinished.as_file().sync_all().map_err(disk)?;
    match expected(dir, file).map_err(|error| error.to_string())? {
        Expected::Nothing => {
            remember(dir, file, source, actual, length).map_err(|error| error.to_string())?;
        }
        Expected::Known(hash) if hash != actual => {
            return Err(format!("expected SHA-256 {hash}, got {actual} ({length} bytes); refused"));
        }
        Expected::Recorded(hash) if hash != actual => {
            return Err(format!(
                "expected SHA-256 {hash} (recorded on first download), got {actual} ({length} bytes); refused"
            ));
        }
        Expected::Known(_) | Expected::Recorded(_) => {}
    }
    unfinished.persist(dir.join(file.name)).map_err(|refused| disk(refused.error))?;
    Ok(())
}

const CHUNK: usize = 128 << 10;

/// Writes `content` into `dir` under `name`, whatever was there before, whole or not at all.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    let mut unfinished = unfinished_file(dir)?;
    unfinished.write_all(content)?;
    unfinished.as_file().sync_all()?;
    unfinished.persist(dir.join(name)).map_err(|refused| refused.error)?;
    Ok(())
}

/// What a file must hash to.
enum Expected {
    /// What the registry says.
    Known(String),
    /// What was recorded on first download.
    Recorded(String),
    /// Nobody knows: whatever is there.
    Nothing,
}

fn expected(dir: &Path, file: &FileSpec) -> Result<Expected, WeightsError> {
    if let Some(hash) = &file.sha256 {
        return Ok(Expected::Known(hash.to_string()));
    }
    Ok(record::of(dir, file.name)?.map_or(Expected::Nothing, |record| Expected::Recorded(record.sha256)))
}

fn remember(
    dir: &Path,
    file: &FileSpec,
    source: &str,
    sha256: String,
    bytes: u64,
) -> Result<(), WeightsError> {
    tracing::warn!(
        file = file.name,
        source,
        sha256,
        "recorded on first download, not verified against a known hash"
    );
    record::add(dir, file.name, &Record { sha256, bytes, source: source.to_owned(), date: record::today() })
}

fn unfinished_file(dir: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // Public files, often pulled by one user (building an image) and read by another.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    builder.tempfile_in(dir)
}

fn expect(dir: &Path, file: &FileSpec, hash: Sha256) -> Result<(), WeightsError> {
    let actual = hex(hash);
    let (expected, recorded) = match expected(dir, file)? {
        Expected::Known(hash) => (hash, false),
        Expected::Recorded(hash) => (hash, true),
        Expected::Nothing => return Ok(()),
    };
    if actual == expected {
        return Ok(());
    }
    Err(WeightsError::WrongHash { path: dir.join(file.name), expected, recorded, actual })
}

/// The SHA-256 of a file's content, in lower-case hex.
pub(crate) fn sha256_of(path: &Path) -> std::io::Result<String> {
    hash_of(&mut File::open(path)?).map(hex)
}

fn hash_of(opened: &mut File) -> std::io::Result<Sha256> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match opened.read(&mut buffer) {
            Ok(0) => return Ok(hash),
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::progress::NoProgress;
    use super::super::testing::{names_in, one_file_model, scratch, sha256};
    use super::*;

    fn put(dir: &Path, file: &FileSpec, content: &mut dyn Read) -> Result<(), String> {
        write(dir, file, "a test", content, &Running::start(&NoProgress, "test", None))
    }

    #[test]
    fn a_right_file_gets_its_name_and_reads_back() {
        let (dir, spec) = (scratch(), one_file_model(b"right", None));
        put(dir.path(), &spec.files[0], &mut &b"right"[..]).unwrap();
        assert!(verify(dir.path(), &spec.files[0]).unwrap());
        assert_eq!(read(dir.path(), &spec.files[0]).unwrap().unwrap(), b"right");
        assert_eq!(names_in(dir.path()), [spec.files[0].name]);
    }

    #[test]
    fn a_wrong_file_is_refused_with_both_hashes_and_leaves_nothing() {
        let (dir, spec) = (scratch(), one_file_model(b"right", None));
        let error = put(dir.path(), &spec.files[0], &mut &b"wrong"[..]).unwrap_err();
        assert!(error.contains(sha256(&spec.files[0])), "{error}");
        assert!(error.contains(&hex(Sha256::new_with_prefix(b"wrong"))), "{error}");
        assert!(names_in(dir.path()).is_empty());
    }

    #[test]
    fn a_source_which_never_ends_is_cut_off() {
        let (dir, spec) = (scratch(), one_file_model(b"right", None));
        let error = put(dir.path(), &spec.files[0], &mut std::io::repeat(b'x')).unwrap_err();
        assert!(error.contains("longer than the 5 bytes"), "{error}");
        assert!(names_in(dir.path()).is_empty());
    }

    #[test]
    fn a_missing_file_is_no_error() {
        let (dir, spec) = (scratch(), one_file_model(b"right", None));
        assert!(!verify(dir.path(), &spec.files[0]).unwrap());
        assert!(!verify(&dir.path().join("no/such"), &spec.files[0]).unwrap());
        assert!(read(dir.path(), &spec.files[0]).unwrap().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn another_user_can_read_what_was_pulled() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, spec) = (scratch(), one_file_model(b"right", None));
        put(dir.path(), &spec.files[0], &mut &b"right"[..]).unwrap();
        let mode = std::fs::metadata(dir.path().join(spec.files[0].name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o400, 0o400);
        assert_eq!(mode & 0o111, 0, "no file is executable");
    }
}
