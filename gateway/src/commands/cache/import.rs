//! `sluice cache import`: a file's lines to a gateway, and what became of each.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;

use super::admin::{Admin, Refused};
use super::lines::{Batches, Line};

const PATH: &str = "/admin/v1/cache/import";

/// What became of all lines so far.
#[derive(Default)]
struct Total {
    stored: u64,
    skipped: u64,
    failed: u64,
}

/// The import of one file.
struct Import<'a> {
    name: String,
    admin: &'a Admin,
    notes: &'a mut dyn Write,
    total: Total,
}

/// Imports the file, of which no line may be longer than `most` bytes; the text says how it went.
pub(super) async fn import(
    file: &Path,
    admin: &Admin,
    most: usize,
    notes: &mut dyn Write,
) -> Result<String, String> {
    let name = file.display().to_string();
    let trouble = |e: std::io::Error| format!("{}: {e}", file.display());
    let mut batches = Batches::new(BufReader::new(File::open(file).map_err(trouble)?), most);
    let mut import = Import { name, admin, notes, total: Total::default() };
    loop {
        let batch = batches.next().map_err(trouble)?;
        if batch.is_empty() {
            return import.summary();
        }
        let told = import.send(batch).await;
        told.map_err(|problem| format!("{problem}\nuntil then {}", import.total.in_words()))?;
    }
}

impl Import<'_> {
    /// Sends lines; those that are too much for the gateway at once in smaller parts.
    async fn send(&mut self, lines: Vec<Line>) -> Result<(), String> {
        let mut open = vec![lines];
        while let Some(mut lines) = open.pop() {
            for line in lines.iter().filter(|line| line.bytes.is_none()) {
                self.too_long(line.number);
            }
            lines.retain(|line| line.bytes.is_some());
            if lines.is_empty() {
                continue;
            }
            let body = lines.iter().flat_map(|line| [line.bytes.as_deref().unwrap_or_default(), b"\n"]);
            match self.admin.post(PATH, Bytes::from(body.collect::<Vec<_>>().concat())).await {
                Ok(report) => self.count(&lines, &report),
                Err(Refused::TooLarge) if lines.len() == 1 => self.too_long(lines[0].number),
                Err(Refused::TooLarge) => {
                    let rest = lines.split_off(lines.len() / 2);
                    open.extend([rest, lines]);
                }
                Err(Refused::Otherwise(problem)) => return Err(problem),
            }
        }
        Ok(())
    }

    fn too_long(&mut self, number: usize) {
        self.total.failed += 1;
        self.note(number, "failed: the line is longer than the gateway takes (limits.max_body)");
    }

    fn count(&mut self, lines: &[Line], report: &Value) {
        let number = |name: &str| report[name].as_u64().unwrap_or(0);
        self.total.stored += number("stored");
        self.total.skipped += number("skipped");
        self.total.failed += number("failed");
        for note in report["notes"].as_array().into_iter().flatten() {
            let word = |name: &str| note[name].as_str().unwrap_or_default();
            let at = note["line"].as_u64().and_then(|at| usize::try_from(at).ok()?.checked_sub(1));
            let at = at.and_then(|at| lines.get(at)).map_or(0, |line| line.number);
            let field = if word("field").is_empty() { String::new() } else { format!("{}: ", word("field")) };
            self.note(at, &format!("{}: {field}{}", word("outcome"), word("message")));
        }
    }

    fn note(&mut self, number: usize, words: &str) {
        // Nobody reading is no reason to stop.
        drop(writeln!(self.notes, "{}:{number}: {words}", self.name));
    }

    fn summary(self) -> Result<String, String> {
        let words = format!("{}: {}", self.name, self.total.in_words());
        if self.total.failed > 0 { Err(words) } else { Ok(format!("{words}\n")) }
    }
}

impl Total {
    fn in_words(&self) -> String {
        format!("{} stored, {} skipped, {} failed", self.stored, self.skipped, self.failed)
    }
}
