//! From a path to an open journal: what can't be used is set aside, what is mostly air is rewritten.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::aside::{self, Lock};
use super::error::{Fault, JournalError};
use super::file::{Contents, Identity, JournalFile};
use super::{Opened, Options};

/// How files set aside are called: one that is damaged, and a good one that is not for this process.
const CORRUPT: &str = "corrupt";
const OTHER: &str = "other";

/// An open journal, and how it came about.
pub(super) struct Begun {
    pub(super) file: JournalFile,
    pub(super) opened: Opened,
    pub(super) contents: Contents,
}

/// Opens the journal at `path` for the holder of the lock, whatever is there now.
pub(super) fn open(path: &Path, options: &Options, lock: &mut Lock) -> Result<Begun, JournalError> {
    let noting = |error| JournalError::io(path, "note the opening of", error);
    let begun = if lock.begin().map_err(noting)? || !path.exists() {
        match open_usable(path, options) {
            Ok(Usable::Yes(begun)) => Ok(begun),
            Ok(Usable::Other(why)) => replace(path, options, OTHER, why),
            Err(Fault::Damaged(why)) => replace(path, options, CORRUPT, why),
            Err(Fault::Io(error)) => Err(JournalError::io(path, "open", error)),
        }
    } else {
        replace(path, options, CORRUPT, "the last starts ended while it was being opened".to_owned())
    };
    lock.end().map_err(noting)?;
    begun
}

/// Opens the file again after the operating system refused something, for a journal that has it already.
pub(super) fn reopen(path: &Path, options: &Options) -> Result<JournalFile, Fault> {
    match identified(path, options)? {
        (file, Identity::Same | Identity::New) => Ok(file),
        (file, Identity::Other(why)) => {
            file.give_up();
            Err(Fault::Damaged(why))
        }
    }
}

/// Sets a damaged file aside and begins a new one.
pub(super) fn replace_damaged(
    path: &Path,
    options: &Options,
    why: &str,
) -> Result<(JournalFile, PathBuf), JournalError> {
    let moved_to = aside::set_aside(path, CORRUPT, options.keep_aside)?;
    tracing::error!(
        journal = %path.display(), moved_to = %moved_to.display(), why,
        "the journal is damaged and was set aside: what it remembered is lost"
    );
    Ok((create(path, options)?, moved_to))
}

fn replace(path: &Path, options: &Options, kind: &str, why: String) -> Result<Begun, JournalError> {
    let (file, moved_to) = if kind == CORRUPT {
        replace_damaged(path, options, &why)?
    } else {
        let moved_to = aside::set_aside(path, kind, options.keep_aside)?;
        tracing::warn!(
            journal = %path.display(), moved_to = %moved_to.display(), why,
            "the journal is not for this process and was set aside"
        );
        (create(path, options)?, moved_to)
    };
    Ok(Begun { file, opened: Opened::SetAside { moved_to, why }, contents: Contents::default() })
}

fn create(path: &Path, options: &Options) -> Result<JournalFile, JournalError> {
    reopen(path, options).map_err(|fault| JournalError::io(path, "create", fault.into_io()))
}

enum Usable {
    Yes(Begun),
    Other(String),
}

/// Opens what is there without setting it aside.
fn open_usable(path: &Path, options: &Options) -> Result<Usable, Fault> {
    let (file, identity) = identified(path, options)?;
    let contents = file.contents();
    match (identity, contents) {
        (Identity::Other(why), _) => {
            file.give_up();
            Ok(Usable::Other(why))
        }
        (_, Err(fault)) => {
            file.give_up();
            Err(fault)
        }
        (Identity::New, Ok(contents)) => Ok(Usable::Yes(Begun { file, opened: Opened::Created, contents })),
        (Identity::Same, Ok(contents)) => {
            let opened = Opened::Existing { answers: contents.answers, prompts: contents.prompts };
            let file = compacted(path, options, file, contents.live)?;
            Ok(Usable::Yes(Begun { file, opened, contents }))
        }
    }
}

fn identified(path: &Path, options: &Options) -> Result<(JournalFile, Identity), Fault> {
    let is_new = match fs::metadata(path) {
        Ok(file) => file.len() == 0,
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(Fault::Io(error)),
    };
    if is_new {
        found(path, options)?;
    }
    let file = JournalFile::open(path, options.switches())?;
    match file.identify(&options.fingerprint) {
        Ok(Identity::Same) if is_new => Ok((file, Identity::New)),
        Ok(identity) => Ok((file, identity)),
        Err(fault) => {
            file.give_up();
            Err(fault)
        }
    }
}

/// Makes an empty journal. It gets its name when it is whole: a process that is killed before leaves nothing under it.
fn found(path: &Path, options: &Options) -> Result<(), Fault> {
    let unfinished = aside::beside(path, ".new");
    // One that a process left behind when it was killed; mostly there is none.
    drop(fs::remove_file(&unfinished));
    let file = JournalFile::open(&unfinished, options.switches())?;
    let named = file.name(&options.fingerprint);
    drop(file);
    named?;
    fs::rename(&unfinished, path).and_then(|()| aside::sync_folder(path)).map_err(Fault::Io)
}

/// Rewrites the file if it is more than three times what is in it, and if that is done in time.
///
/// redb's own compaction moves pages, many times if need be, and can't be stopped; a copy can, and the old file is
/// whole until the new one takes its name.
fn compacted(path: &Path, options: &Options, file: JournalFile, live: u64) -> Result<JournalFile, Fault> {
    let copy = aside::beside(path, ".compacting");
    // One that a process left behind when it was killed; mostly there is none.
    drop(fs::remove_file(&copy));
    let size = fs::metadata(path).map_err(Fault::Io)?.len();
    if size < options.compact_from || size / 3 < live {
        return Ok(file);
    }
    let begun = Instant::now();
    match rewrite(&file, &copy, options, &|| begun.elapsed() < options.compact_within) {
        Ok(true) => {
            file.give_up();
            fs::rename(&copy, path).and_then(|()| aside::sync_folder(path)).map_err(Fault::Io)?;
            let file = reopen(path, options)?;
            let to = fs::metadata(path).map_err(Fault::Io)?.len();
            tracing::info!(journal = %path.display(), from = size, to, "the journal was compacted");
            Ok(file)
        }
        Ok(false) => {
            tracing::warn!(journal = %path.display(), bytes = size, "no time to compact the journal");
            drop(fs::remove_file(&copy));
            Ok(file)
        }
        Err(fault) => {
            drop(fs::remove_file(&copy));
            match fault {
                // The copy could not be written, perhaps for want of room. The journal itself is good.
                Fault::Io(error) => {
                    tracing::warn!(journal = %path.display(), %error, "the journal could not be compacted");
                    Ok(file)
                }
                damaged @ Fault::Damaged(_) => {
                    file.give_up();
                    Err(damaged)
                }
            }
        }
    }
}

/// Copies everything to a new file. `Ok(false)` if there was no time for all of it.
fn rewrite(
    file: &JournalFile,
    to: &Path,
    options: &Options,
    in_time: &dyn Fn() -> bool,
) -> Result<bool, Fault> {
    let (copy, _) = identified(to, options)?;
    let done = file.copy_to(&copy, in_time);
    if !matches!(done, Ok(true)) {
        copy.give_up();
    }
    done
}
