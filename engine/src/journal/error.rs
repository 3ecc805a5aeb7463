//! What can go wrong with the journal, for its caller, and how redb's errors are told apart.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the journal can't be opened, read or written. None of them is a reason not to serve.
#[derive(Clone, Debug)]
pub enum JournalError {
    /// Another process, or another journal of this one, has the file.
    InUse {
        /// The journal's file.
        path: PathBuf,
    },
    /// The operating system refused something.
    Io {
        /// The journal's file.
        path: PathBuf,
        /// What was tried, to be read after "can't".
        doing: &'static str,
        /// Its reason.
        source: Arc<io::Error>,
    },
    /// While reading, the file turned out to be damaged. It was set aside, and a new one begun.
    Damaged {
        /// Where the damaged file is now; `None` if another caller found the damage first and moved it.
        moved_to: Option<PathBuf>,
        /// How the damage showed.
        why: String,
    },
    /// The writing thread is gone: nothing is written any more in this process.
    Stopped {
        /// The journal's file.
        path: PathBuf,
    },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => {
                write!(f, "{} is in use: is another sluice using it?", path.display())
            }
            Self::Io { path, doing, source } => write!(f, "can't {doing} {}: {source}", path.display()),
            Self::Damaged { moved_to: Some(moved_to), why } => {
                write!(f, "the journal is damaged ({why}) and was moved to {}", moved_to.display())
            }
            Self::Damaged { moved_to: None, why } => {
                write!(f, "the journal is damaged ({why}) and was set aside already")
            }
            Self::Stopped { path } => {
                write!(f, "nothing is written to {} any more: its thread ended", path.display())
            }
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl JournalError {
    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source: Arc::new(source) }
    }
}

/// What redb reports, sorted by what is to be done about it.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file's content is not what was written: set it aside.
    Damaged(String),
    /// The operating system refused; the file itself may be good. Open it anew and try again.
    Io(io::Error),
}

impl Fault {
    pub(super) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged(why.into())
    }

    /// The fault as an error that says what was tried with which file.
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Damaged(why) => io::Error::new(io::ErrorKind::InvalidData, why),
            Self::Io(error) => error,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        match error.into() {
            // A file that ends too early, and one that begins like no database.
            redb::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
            {
                Self::Damaged(error.to_string())
            }
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo => Self::Io(io::Error::other("an earlier write failed")),
            redb::Error::DatabaseClosed => Self::Io(io::Error::other("the file was closed")),
            // All that is left tells of a file that this code has not written so.
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Runs `work`, and takes a panic in it for damage: redb asserts what only a damaged file can violate.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    // What a panic leaves behind is not used on: whoever sees the fault gives the database up.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        forget(panic);
        Err(Fault::damaged("reading it ended in a panic"))
    })
}

/// Drops what a panic carried. That may be a value whose own drop panics; it is worth a leak.
fn forget(panic: Box<dyn Any + Send>) {
    if panic.is::<&'static str>() || panic.is::<String>() {
        drop(panic);
    } else {
        std::mem::forget(panic);
    }
}
