//! The files beside the journal: the lock, and journals that were set aside.
//!
//! `NAME.lock` is locked as long as somebody has the journal. It holds one digit: how many openings began and did not
//! end. A file that ends the process each time it is opened is so found out at the third start, whatever it does.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::JournalError;

/// After so many openings in a row that did not end, the file is not opened again.
const ATTEMPTS: u8 = 3;

/// Files made with these options belong to their owner alone.
pub(super) fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

/// `NAME` with something appended, in the same folder.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(ending);
    path.with_file_name(name)
}

/// Makes the folder's list of names durable, after a file came or was renamed.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Held as long as the journal is open.
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being started shares it until it runs its own program.
        drop(self.file.unlock());
    }
}

impl Lock {
    /// Takes the lock, or says who may have it.
    pub(super) fn take(path: &Path) -> Result<Self, JournalError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        private(&mut options);
        let fail = |error| JournalError::io(path, "lock", error);
        let file = options.open(beside(path, ".lock")).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }

    /// An opening begins. `false` if too many before it did not end.
    pub(super) fn begin(&mut self) -> io::Result<bool> {
        let mut digit = [b'0'];
        self.file.rewind()?;
        // An empty file: this is the first opening.
        let read = self.file.read(&mut digit)?;
        let before = if read == 1 { digit[0].saturating_sub(b'0') } else { 0 };
        self.note(if before < ATTEMPTS { before + 1 } else { 1 })?;
        Ok(before < ATTEMPTS)
    }

    /// The opening ended, well or with an error.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.note(0)
    }

    fn note(&mut self, openings: u8) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(&[b'0' + openings.min(9)])
    }
}

/// Renames the file to `NAME.KIND-<unix time>` and deletes the oldest such files, so that `keep` are left.
pub(super) fn set_aside(path: &Path, kind: &str, keep: usize) -> Result<PathBuf, JournalError> {
    let fail = |error| JournalError::io(path, "set aside", error);
    let before = set_aside_before(path, kind).map_err(fail)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Several within a second, or a clock that was set back: the latest has the highest number all the same.
    let second = before.last().map_or(now, |(last, _)| now.max(last.saturating_add(1)));
    let moved_to = beside(path, &format!(".{kind}-{second}"));
    fs::rename(path, &moved_to).map_err(fail)?;
    sync_folder(path).map_err(fail)?;
    let outdated = (before.len() + 1).saturating_sub(keep.max(1));
    for (_, old) in before.iter().take(outdated) {
        fs::remove_file(old).map_err(fail)?;
    }
    Ok(moved_to)
}

/// Files set aside of this kind with their numbers, the oldest first.
pub(super) fn set_aside_before(path: &Path, kind: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let begin = beside(path, &format!(".{kind}-"));
    let (Some(folder), Some(begin)) = (begin.parent(), begin.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for file in fs::read_dir(folder)? {
        let name = file?.file_name();
        let second = name.to_str().and_then(|name| name.strip_prefix(begin)?.parse::<u64>().ok());
        found.extend(second.map(|second| (second, folder.join(&name))));
    }
    found.sort_unstable();
    Ok(found)
}
