//! The bytes below redb: a plain file that can be retired, so that a database which was given up writes no more.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// A file as redb sees it. Who may open it is settled before, by the lock file.
#[derive(Debug)]
pub(super) struct Backing {
    file: FileBackend,
    switches: Switches,
}

/// What others say to a [`Backing`] that redb owns.
#[derive(Clone, Debug, Default)]
pub(super) struct Switches {
    /// The database was given up: nothing is written any more, not even on closing.
    retired: Arc<AtomicBool>,
    /// Plays a full disk.
    #[cfg(test)]
    full: Arc<AtomicBool>,
}

impl Switches {
    /// With a disk that is full as long as this says so.
    #[cfg(test)]
    pub(super) fn with_full(full: Arc<AtomicBool>) -> Self {
        Self { full, ..Self::default() }
    }

    /// From now on whatever would change the file fails.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn may_write(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.full.load(Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.retired.load(Ordering::Acquire) {
            return Err(io::Error::other("the file was given up"));
        }
        Ok(())
    }
}

impl Backing {
    pub(super) fn new(file: File, switches: Switches) -> Result<Self, redb::DatabaseError> {
        Ok(Self { file: FileBackend::new(file)?, switches })
    }
}

impl StorageBackend for Backing {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.switches.may_write()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.switches.may_write()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.switches.may_write()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
