//! One open database file: its tables, the seal on each record, and a batch as one transaction.
//!
//! A value is 16 bytes of BLAKE3 over table, key and content, then the content. redb has checksums of its own, per page;
//! ours says that a record is the one that was put under this key, whatever happened below.

use std::fs::{File, OpenOptions};
use std::path::Path;

use redb::{
    Builder, Database, Key, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, TableDefinition,
};

use super::backing::{Backing, Switches};
use super::error::{Fault, guarded};
use super::queue::Pending;
use super::{Table, aside};

const ANSWERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("answers");
const PROMPTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("prompts");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// What kind of file this is.
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");

/// Changes whenever an older program could not read what a newer one wrote, or the other way round.
const VERSION: u64 = 1;
/// redb keeps pages in memory up to this size. What is read is kept by the cache itself, and what is written by the
/// operating system.
const PAGES_IN_MEMORY: usize = 16 << 20;
const SEAL: usize = 16;
/// The number that stands for the table of named blobs in a seal.
const STATE_TAG: u8 = 2;

impl Table {
    fn definition(self) -> TableDefinition<'static, u64, &'static [u8]> {
        match self {
            Self::Answers => ANSWERS,
            Self::Prompts => PROMPTS,
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::Answers => 0,
            Self::Prompts => 1,
        }
    }
}

/// What an open file turned out to be.
pub(super) enum Identity {
    /// There was none, and it is an empty journal now.
    New,
    /// It is a journal with this fingerprint.
    Same,
    /// It is none that this program can go on with.
    Other(String),
}

/// How much is in a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contents {
    pub(super) answers: u64,
    pub(super) prompts: u64,
    /// The highest keys of answers and prompts.
    pub(super) highest: [Option<u64>; 2],
    /// Bytes of all records with their seals and keys.
    pub(super) live: u64,
}

/// An open database.
pub(super) struct JournalFile {
    /// `None` only while it is dropped.
    db: Option<Database>,
    switches: Switches,
}

impl Drop for JournalFile {
    fn drop(&mut self) {
        // redb writes a last time on closing. If that fails, the next start takes longer.
        let db = self.db.take();
        drop(guarded(|| {
            drop(db);
            Ok(())
        }));
    }
}

impl JournalFile {
    /// Opens or creates the file, readable for its owner alone. Every page is checked, which makes reading safe.
    pub(super) fn open(path: &Path, switches: Switches) -> Result<Self, Fault> {
        guarded(|| {
            let file = private_file(path).map_err(Fault::Io)?;
            let db = Builder::new()
                .set_cache_size(PAGES_IN_MEMORY)
                .set_check_integrity_on_open(true)
                .create_with_backend(Backing::new(file, switches.clone())?)?;
            Ok(Self { db: Some(db), switches })
        })
    }

    /// Gives the database up: whoever still holds it can't change the file any more.
    pub(super) fn retire(&self) {
        self.switches.retire();
    }

    /// Closes the database without changing the file any more.
    pub(super) fn give_up(self) {
        self.retire();
    }

    fn db(&self) -> Result<&Database, Fault> {
        self.db.as_ref().ok_or_else(|| Fault::Io(std::io::Error::other("the file was closed")))
    }

    /// Reads what kind of file it is.
    pub(super) fn identify(&self, fingerprint: &str) -> Result<Identity, Fault> {
        guarded(|| {
            let read = self.db()?.begin_read()?;
            let about = match read.open_table(ABOUT) {
                Ok(about) => about,
                Err(redb::TableError::TableDoesNotExist(_)) => {
                    return Err(Fault::damaged("it does not say what it is"));
                }
                Err(error) => return Err(error.into()),
            };
            let version = number(&about, "version")?;
            if version != VERSION {
                let why = format!("it has format {version}, and this sluice reads and writes {VERSION}");
                return Ok(Identity::Other(why));
            }
            let same = about.get("fingerprint")?.is_some_and(|found| found.value() == fingerprint.as_bytes());
            let other = || Identity::Other("it was written under another fingerprint".to_owned());
            Ok(if same { Identity::Same } else { other() })
        })
    }

    /// Makes an empty database a journal with this fingerprint.
    pub(super) fn name(&self, fingerprint: &str) -> Result<(), Fault> {
        guarded(|| {
            let write = self.db()?.begin_write()?;
            {
                let mut about = write.open_table(ABOUT)?;
                about.insert("version", VERSION.to_le_bytes().as_slice())?;
                about.insert("fingerprint", fingerprint.as_bytes())?;
                about.insert("live", 0_u64.to_le_bytes().as_slice())?;
                write.open_table(ANSWERS)?;
                write.open_table(PROMPTS)?;
                write.open_table(STATE)?;
            }
            Ok(write.commit()?)
        })
    }

    /// How much is in the file.
    pub(super) fn contents(&self) -> Result<Contents, Fault> {
        guarded(|| {
            let read = self.db()?.begin_read()?;
            let (answers, prompts) = (read.open_table(ANSWERS)?, read.open_table(PROMPTS)?);
            let highest = [highest(&answers)?, highest(&prompts)?];
            let live = number(&read.open_table(ABOUT)?, "live")?;
            Ok(Contents { answers: answers.len()?, prompts: prompts.len()?, highest, live })
        })
    }

    /// Writes all of a batch, or nothing of it.
    pub(super) fn commit(&self, batch: &Pending) -> Result<(), Fault> {
        guarded(|| {
            let write = self.db()?.begin_write()?;
            let mut live = number(&write.open_table(ABOUT)?, "live")?;
            if batch.clear {
                write.delete_table(ANSWERS)?;
                write.delete_table(PROMPTS)?;
                live = 0;
                for blob in write.open_table(STATE)?.iter()? {
                    let (name, value) = blob?;
                    live += weight(name.value().as_bytes(), value.value());
                }
            }
            let mut sealed = Vec::new();
            for table in [Table::Answers, Table::Prompts] {
                let mut open = write.open_table(table.definition())?;
                // In order, so that neighbours are written into the same pages.
                let mut records: Vec<_> = batch.records[table.index()].iter().collect();
                records.sort_unstable_by_key(|(key, _)| **key);
                for (&key, value) in records {
                    let bytes = key.to_le_bytes();
                    let value =
                        value.as_deref().map(|content| seal(&mut sealed, table.tag(), &bytes, content));
                    live = replace(&mut open, key, &bytes, value, live)?;
                }
            }
            {
                let mut open = write.open_table(STATE)?;
                for (name, value) in &batch.state {
                    let bytes = name.as_bytes();
                    let value = value.as_deref().map(|content| seal(&mut sealed, STATE_TAG, bytes, content));
                    live = replace(&mut open, name.as_ref(), bytes, value, live)?;
                }
            }
            write.open_table(ABOUT)?.insert("live", live.to_le_bytes().as_slice())?;
            Ok(write.commit()?)
        })
    }

    /// Hands out every record of a table, in the order of its keys, as it was at the moment of the call.
    pub(super) fn read_all(&self, table: Table, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Fault> {
        let records = guarded(|| Ok(self.db()?.begin_read()?.open_table(table.definition())?))?;
        let mut records = guarded(|| Ok(records.iter()?))?;
        // One step at a time is guarded, and the caller's own code is not: a panic of its own is no damage.
        while let Some(record) = guarded(|| Ok(records.next().transpose()?))? {
            let (key, value) = (record.0.value(), record.1.value());
            each(key, unseal(table.tag(), &key.to_le_bytes(), value)?);
        }
        Ok(())
    }

    /// Hands out every named blob.
    pub(super) fn read_state(&self, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), Fault> {
        let blobs = guarded(|| Ok(self.db()?.begin_read()?.open_table(STATE)?))?;
        let mut blobs = guarded(|| Ok(blobs.iter()?))?;
        while let Some(blob) = guarded(|| Ok(blobs.next().transpose()?))? {
            let (name, value) = (blob.0.value(), blob.1.value());
            each(name, unseal(STATE_TAG, name.as_bytes(), value)?);
        }
        Ok(())
    }

    /// Copies everything into `to`, an empty journal, in one transaction. `Ok(false)`, and nothing copied, if
    /// `go_on` said no.
    pub(super) fn copy_to(&self, to: &Self, go_on: &dyn Fn() -> bool) -> Result<bool, Fault> {
        guarded(|| {
            let (read, write) = (self.db()?.begin_read()?, to.db()?.begin_write()?);
            for table in [Table::Answers, Table::Prompts] {
                let mut target = write.open_table(table.definition())?;
                for record in read.open_table(table.definition())?.iter()? {
                    let (key, value) = record?;
                    unseal(table.tag(), &key.value().to_le_bytes(), value.value())?;
                    target.insert(key.value(), value.value())?;
                    if !go_on() {
                        return Ok(false);
                    }
                }
            }
            for definition in [STATE, ABOUT] {
                let mut target = write.open_table(definition)?;
                for blob in read.open_table(definition)?.iter()? {
                    let (name, value) = blob?;
                    target.insert(name.value(), value.value())?;
                }
            }
            write.commit()?;
            Ok(true)
        })
    }
}

/// Opens for reading and writing; a new file belongs to its owner alone.
fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    aside::private(&mut options);
    options.open(path)
}

fn number(about: &impl ReadableTable<&'static str, &'static [u8]>, name: &str) -> Result<u64, Fault> {
    let found = about.get(name)?.and_then(|value| Some(u64::from_le_bytes(value.value().try_into().ok()?)));
    found.ok_or_else(|| Fault::damaged(format!("it does not say its {name}")))
}

fn highest(records: &impl ReadableTable<u64, &'static [u8]>) -> Result<Option<u64>, Fault> {
    Ok(records.last()?.map(|(key, _)| key.value()))
}

/// Puts or removes one record, and returns what `live` is then.
fn replace<'k, K: Key + 'static>(
    table: &mut redb::Table<'_, K, &'static [u8]>,
    key: K::SelfType<'k>,
    bytes: &[u8],
    value: Option<&[u8]>,
    live: u64,
) -> Result<u64, Fault> {
    let old = match value {
        Some(value) => table.insert(key, value)?,
        None => table.remove(key)?,
    };
    let gone = old.map_or(0, |old| weight(bytes, old.value()));
    Ok(live.saturating_sub(gone) + value.map_or(0, |value| weight(bytes, value)))
}

fn weight(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

fn checksum(tag: u8, key: &[u8], content: &[u8]) -> [u8; SEAL] {
    let mut hasher = blake3::Hasher::new();
    // The length keeps a key's end apart from its content's beginning.
    hasher.update(&[tag]).update(&(key.len() as u64).to_le_bytes()).update(key).update(content);
    let mut sum = [0; SEAL];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// Writes the record's value into `buffer`.
fn seal<'b>(buffer: &'b mut Vec<u8>, tag: u8, key: &[u8], content: &[u8]) -> &'b [u8] {
    buffer.clear();
    buffer.extend_from_slice(&checksum(tag, key, content));
    buffer.extend_from_slice(content);
    buffer
}

fn unseal<'v>(tag: u8, key: &[u8], value: &'v [u8]) -> Result<&'v [u8], Fault> {
    match value.split_first_chunk::<SEAL>() {
        Some((sum, content)) if *sum == checksum(tag, key, content) => Ok(content),
        _ => Err(Fault::damaged("a record is not what was written")),
    }
}
