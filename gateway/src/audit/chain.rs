//! The file: JSON lines, each with its number and the SHA-256 of the line before it. The first line of a file names the
//! chain; when a file is full the next one goes on with the chain.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::event::timestamp;

/// The form of the file, of which its first line speaks.
pub(super) const VERSION: u32 = 1;
/// Longest line that is looked for at the end of a file.
const LONGEST: u64 = 1 << 20;

/// What the first line of a file says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) sluice_audit: u32,
    pub(super) chain: String,
    /// The number of the file in its chain, from 1.
    pub(super) file: u64,
}

/// What every line has.
#[derive(Serialize, Deserialize)]
pub(super) struct Link<T> {
    pub(super) seq: u64,
    pub(super) prev: String,
    #[serde(flatten)]
    pub(super) rest: T,
}

/// The first line, with the time.
#[derive(Serialize)]
struct Opening<'a> {
    ts: String,
    #[serde(flatten)]
    head: &'a Head,
}

/// A word of the log about itself.
#[derive(Serialize)]
pub(super) struct Remark {
    pub(super) ts: String,
    /// `gap`: so many events were lost. `torn`: so many bytes of a line that was not finished were cut off.
    pub(super) kind: &'static str,
    pub(super) count: u64,
}

impl Remark {
    pub(super) fn new(kind: &'static str, count: u64) -> Self {
        Self { ts: timestamp(SystemTime::now()), kind, count }
    }
}

/// The end of a chain, to which lines are appended.
pub(super) struct Chain {
    path: PathBuf,
    /// None between two files.
    file: Option<File>,
    length: u64,
    max_bytes: u64,
    head: Head,
    end: End,
    /// Held as long as this process appends.
    _lock: File,
}

/// The last line of a chain.
#[derive(Clone)]
pub(super) struct End {
    pub(super) seq: u64,
    pub(super) hash: String,
}

impl End {
    /// Before the first line.
    pub(super) fn none() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }

    /// Appends a line about `rest` to `bytes`, and moves on.
    pub(super) fn append<T: Serialize>(&mut self, rest: T, bytes: &mut Vec<u8>) {
        let from = bytes.len();
        let line = Link { seq: self.seq + 1, prev: self.hash.clone(), rest };
        // These types have no way to fail to be written, and neither has memory.
        let written = serde_json::to_writer(&mut *bytes, &line);
        debug_assert!(written.is_ok());
        self.seq += 1;
        self.hash = hash(&bytes[from..]);
        bytes.push(b'\n');
    }
}

/// The hash of a line, without its end.
pub(super) fn hash(line: &[u8]) -> String {
    let digest = Sha256::digest(line);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was found of a chain.
struct Found {
    head: Head,
    end: End,
    /// Bytes of an unfinished last line, which were cut off.
    torn: u64,
}

impl Chain {
    /// Goes on where the file ends, or the last one of its chain; or begins a chain.
    pub(super) fn open(path: &Path, max_bytes: u64) -> Result<Self, String> {
        let wrong = |error: io::Error| format!("'{}' can't be opened: {error}", path.display());
        let lock = private().create(true).open(beside(path, "lock")).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("'{}' is in use by another process", path.display()));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let found = found(path).map_err(wrong)?.map_err(|what| format!("'{}': {what}", path.display()))?;
        let mut chain = Self {
            path: path.to_owned(),
            file: None,
            length: 0,
            max_bytes,
            head: Head { sluice_audit: VERSION, chain: fresh_name(), file: 0 },
            end: End::none(),
            _lock: lock,
        };
        match found {
            Some(Found { head, end, torn }) if path.exists() => {
                let file = private().open(path).map_err(wrong)?;
                chain.length = file.metadata().map_err(wrong)?.len();
                (chain.file, chain.head, chain.end) = (Some(file), head, end);
                if torn > 0 {
                    tracing::warn!(file = %path.display(), bytes = torn,
                        "the audit log ended in an unfinished line, which is cut off; the log says so itself");
                    let mut bytes = Vec::new();
                    let mut end = chain.end.clone();
                    end.append(Remark::new("torn", torn), &mut bytes);
                    chain.write(&bytes, end).map_err(wrong)?;
                }
            }
            found => {
                if let Some(Found { head, end, .. }) = found {
                    (chain.head, chain.end) = (head, end);
                }
                chain.next_file().map_err(wrong)?;
            }
        }
        chain.tell("the audit log is open");
        Ok(chain)
    }

    /// The last line that is in the file.
    pub(super) fn end(&self) -> End {
        self.end.clone()
    }

    /// Makes the next file if this one is full. Lines of one file are appended to it or to none.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        if self.file.is_some() && self.length >= self.max_bytes {
            let full = beside(&self.path, &format!("{:06}", self.head.file));
            match fs::rename(&self.path, &full) {
                // Somebody moved it away already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
            self.file = None;
            self.tell("the audit log goes on in a new file");
        }
        if self.file.is_none() { self.next_file() } else { Ok(()) }
    }

    fn next_file(&mut self) -> io::Result<()> {
        let head = Head { file: self.head.file + 1, ..self.head.clone() };
        let (mut bytes, mut end) = (Vec::new(), self.end.clone());
        end.append(Opening { ts: timestamp(SystemTime::now()), head: &head }, &mut bytes);
        self.file = Some(private().create(true).open(&self.path)?);
        self.length = 0;
        if let Err(error) = self.write(&bytes, end) {
            self.file = None;
            return Err(error);
        }
        self.head = head;
        if cfg!(unix) {
            File::open(folder(&self.path))?.sync_all()?;
        }
        Ok(())
    }

    /// Appends lines of which `end` is the last, so that they last; or nothing.
    pub(super) fn write(&mut self, bytes: &[u8], end: End) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::Error::other("there is no file")) };
        let written = file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| file.write_all(bytes))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half a line would end the chain for whoever reads it.
            drop(file.set_len(self.length));
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.end = end;
        Ok(())
    }

    /// Says in the gateway's own log, which is kept elsewhere, how far the chain goes: against that a cut tail shows.
    pub(super) fn tell(&self, what: &str) {
        let End { seq, hash } = &self.end;
        tracing::info!(file = %self.path.display(), chain = self.head.chain, lines = seq, head = hash, "{what}");
    }
}

/// What there is of a chain at this path: in the file itself, or in the last full one before it.
fn found(path: &Path) -> io::Result<Result<Option<Found>, String>> {
    if path.exists() {
        let mut file = private().open(path)?;
        let torn = cut_unfinished(&mut file)?;
        if file.metadata()?.len() > 0 {
            return Ok(read_ends(&mut file)?.map(|(head, end)| Some(Found { head, end, torn })));
        }
        // The gateway was ended while it made the file: there is nothing in it.
        drop(file);
        fs::remove_file(path)?;
    }
    let Some(last) = last_full(path)? else { return Ok(Ok(None)) };
    let mut file = File::open(last)?;
    Ok(read_ends(&mut file)?.map(|(head, end)| Some(Found { head, end, torn: 0 })))
}

/// The full file with the highest number.
fn last_full(path: &Path) -> io::Result<Option<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut last: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(folder(path))? {
        let entry = entry?;
        let other = entry.file_name().to_string_lossy().into_owned();
        let number = other.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
        let digits = |number: &&str| number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.filter(digits).and_then(|number| number.parse().ok());
        if let Some(number) = number
            && last.as_ref().is_none_or(|(highest, _)| number > *highest)
        {
            last = Some((number, entry.path()));
        }
    }
    Ok(last.map(|(_, path)| path))
}

/// Cuts off what stands behind the last line's end; returns how many bytes.
fn cut_unfinished(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let tail = tail(file, length)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = (tail.len() - whole) as u64;
    if torn > 0 {
        file.set_len(length - torn)?;
        file.sync_data()?;
    }
    Ok(torn)
}

/// What the first and the last line say, of a file that ends with a line's end.
fn read_ends(file: &mut File) -> io::Result<Result<(Head, End), String>> {
    let length = file.metadata()?.len();
    let tail = tail(file, length)?;
    let lines = tail.strip_suffix(b"\n").unwrap_or(&tail);
    let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut first = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(file).take(LONGEST).read_to_end(&mut first)?;
    let first = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let other = "it is no audit log of this version: move it away, and a new chain begins";
    let head = serde_json::from_slice::<Link<Head>>(first).ok().map(|line| line.rest);
    let Some(head) = head.filter(|head| head.sluice_audit == VERSION) else {
        return Ok(Err(other.to_owned()));
    };
    let Ok(line) = serde_json::from_slice::<Link<serde_json::Value>>(last) else {
        let broken = "its last line is none of an audit log: look at it with 'sluice audit verify', then move it away, and a new chain begins";
        return Ok(Err(broken.to_owned()));
    };
    Ok(Ok((head, End { seq: line.seq, hash: hash(last) })))
}

fn tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
    file.read_to_end(&mut tail)?;
    Ok(tail)
}

/// For files that belong to their owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name for a chain that no other has.
fn fresh_name() -> String {
    crate::ids::fresh("")
}
