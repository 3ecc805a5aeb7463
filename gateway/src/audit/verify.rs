//! Follows the chain through its files, line by line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::chain::{End, Head, Link, VERSION, hash};

/// What a whole chain is.
#[derive(Debug, PartialEq)]
pub struct Verified {
    /// Its name.
    pub chain: String,
    /// Its lines in these files, the first one of each among them.
    pub lines: u64,
    /// The number of its last line.
    pub last: u64,
    /// The hash of its last line.
    pub head: String,
    /// The number of the first file: from 2 on, what came before it was taken on trust.
    pub first_file: u64,
    /// Events that the gateway itself says were lost.
    pub gaps: u64,
    /// How many lines follow the one whose hash was asked for.
    pub behind_known: Option<u64>,
}

/// How far the chain was followed.
struct Walk {
    /// That of the file before.
    head: Option<Head>,
    first_file: u64,
    end: End,
    lines: u64,
    gaps: u64,
    known: Option<u64>,
}

/// Follows the chain through these files, in the order of the numbers that they have in it. `known`: the hash of a line that
/// was noted elsewhere, which has to be there.
///
/// # Errors
/// The first line that does not follow, with file and number; or what is wrong with a file.
pub fn verify(files: &[PathBuf], known: Option<&str>) -> Result<Verified, String> {
    let mut ordered = Vec::new();
    for path in files {
        ordered.push((number_of(path)?, path));
    }
    ordered.sort();
    let mut walk = Walk { head: None, first_file: 0, end: End::none(), lines: 0, gaps: 0, known: None };
    for (_, path) in ordered {
        walk.file(path, known)?;
    }
    let Walk { head: Some(head), first_file, end, lines, gaps, known: at } = walk else {
        return Err("there is no file to verify".to_owned());
    };
    if let Some(known) = known
        && at.is_none()
    {
        return Err(format!(
            "no line has the hash {known}: lines were cut off at the end, or this is another chain"
        ));
    }
    let behind_known = at.map(|at| end.seq - at);
    Ok(Verified { chain: head.chain, lines, last: end.seq, head: end.hash, first_file, gaps, behind_known })
}

/// The number of a file in its chain.
fn number_of(path: &Path) -> Result<u64, String> {
    let mut first = Vec::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| BufReader::new(file).read_until(b'\n', &mut first));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    match serde_json::from_slice::<Link<Head>>(&first) {
        Ok(line) if line.rest.sluice_audit == VERSION => Ok(line.rest.file),
        Ok(line) => Err(format!(
            "{}: line 1: form {} of an audit log is not known here, only {VERSION}",
            path.display(),
            line.rest.sluice_audit
        )),
        Err(_) => Err(format!("{}: line 1: expected the first line of an audit log", path.display())),
    }
}

impl Walk {
    fn file(&mut self, path: &Path, known: Option<&str>) -> Result<(), String> {
        let at = |number: usize, what: &str| Err(format!("{}: line {number}: {what}", path.display()));
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (mut reader, mut line, mut number) = (BufReader::new(file), Vec::new(), 0);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            if read.map_err(|error| format!("{}: {error}", path.display()))? == 0 {
                return Ok(());
            }
            number += 1;
            let Some(whole) = line.strip_suffix(b"\n") else {
                return at(number, "it has no end: it was cut, or is being written");
            };
            if let Err(what) = self.line(whole, number == 1) {
                return at(number, &what);
            }
            if known.is_some_and(|known| known.eq_ignore_ascii_case(&self.end.hash)) {
                self.known = Some(self.end.seq);
            }
        }
    }

    fn line(&mut self, line: &[u8], is_first: bool) -> Result<(), String> {
        let Ok(link) = serde_json::from_slice::<Link<Value>>(line) else {
            return Err("it is no line of an audit log".to_owned());
        };
        if is_first {
            self.begin(line, &link)?;
        }
        if link.seq != self.end.seq + 1 {
            return Err(format!(
                "its number is {} where {} was expected: lines are missing, or in another order",
                link.seq,
                self.end.seq + 1
            ));
        }
        if link.prev != self.end.hash {
            return Err("it does not hold the hash of the line before it: one of them was changed".to_owned());
        }
        if link.rest["kind"] == "gap" {
            self.gaps += link.rest["count"].as_u64().unwrap_or_default();
        }
        self.end = End { seq: link.seq, hash: hash(line) };
        self.lines += 1;
        Ok(())
    }

    /// The first line of a file goes on with the file before, or begins a chain, or is taken on trust.
    fn begin(&mut self, line: &[u8], link: &Link<Value>) -> Result<(), String> {
        let head = serde_json::from_slice::<Link<Head>>(line).map(|line| line.rest);
        let head = head.map_err(|_| "expected the first line of an audit log".to_owned())?;
        match &self.head {
            Some(before) if before.chain != head.chain => {
                return Err("it begins another chain than that of the file before it".to_owned());
            }
            Some(before) if head.file != before.file + 1 => {
                return Err(format!(
                    "it begins file {} of its chain where {} was expected: a file is missing, or given twice",
                    head.file,
                    before.file + 1
                ));
            }
            Some(_) => {}
            None => {
                self.first_file = head.file;
                if head.file > 1 {
                    self.end = End { seq: link.seq.saturating_sub(1), hash: link.prev.clone() };
                }
            }
        }
        self.head = Some(head);
        Ok(())
    }
}
