//! Events of a chain's files, chosen and written for other programs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// What is written of each event as CSV.
const COLUMNS: [&str; 23] = [
    "ts",
    "seq",
    "request_id",
    "tenant",
    "key",
    "route",
    "model",
    "policy",
    "direction",
    "channel",
    "field",
    "detector",
    "entity",
    "action",
    "band",
    "score",
    "start",
    "end",
    "start_char",
    "end_char",
    "count",
    "shadow",
    "exception",
];

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As they are in the file.
    Jsonl,
    /// RFC 4180, with a first line of names.
    Csv,
}

/// Which events are wanted.
#[derive(Debug, Default)]
pub struct Selection {
    /// Not before this time.
    pub from: Option<String>,
    /// Before this time.
    pub to: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this entity.
    pub entity: Option<String>,
}

/// A day or a time in UTC, in the form that the log has: `2026-03-01`, `2026-03-01T10:30Z`, `2026-03-01T10:30:15.250Z`.
///
/// # Errors
/// What was expected.
pub fn time(text: &str) -> Result<String, String> {
    const FULL: &str = "0000-00-00T00:00:00.000Z";
    let wrong =
        || format!("'{text}': expected a day or a time in UTC, such as 2026-03-01 or 2026-03-01T10:30:00Z");
    let bare = text.strip_suffix('Z').unwrap_or(text);
    let fits = |(given, form): (char, char)| if form == '0' { given.is_ascii_digit() } else { given == form };
    let whole = [10, 16, 19, 23].contains(&bare.len()) && (bare.len() > 10 || bare.len() == text.len());
    if whole && bare.chars().zip(FULL.chars()).all(fits) {
        Ok(format!("{bare}{}", &FULL[bare.len()..]))
    } else {
        Err(wrong())
    }
}

/// Writes the events of these files that are wanted, in the order of the files; returns how many.
///
/// # Errors
/// A file can't be read, or a line of it is none of an audit log.
pub fn export(
    files: &[PathBuf],
    wanted: &Selection,
    format: Format,
    out: &mut dyn Write,
) -> Result<u64, String> {
    let told = |error: io::Error| format!("the events can't be written: {error}");
    let mut count = 0;
    if format == Format::Csv {
        writeln!(out, "{}\r", COLUMNS.join(",")).map_err(told)?;
    }
    for path in files {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        for (line, number) in BufReader::new(file).split(b'\n').zip(1..) {
            let line = line.map_err(|error| format!("{}: {error}", path.display()))?;
            let event = event(path, number, &line)?;
            if !wanted.holds(&event) {
                continue;
            }
            count += 1;
            match format {
                Format::Jsonl => out.write_all(&line).and_then(|()| out.write_all(b"\n")),
                Format::Csv => out.write_all(row(&event).as_bytes()),
            }
            .map_err(told)?;
        }
    }
    Ok(count)
}

fn event(path: &Path, number: usize, line: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(event)) if event.contains_key("seq") => Ok(event),
        _ => Err(format!("{}: line {number}: it is no line of an audit log", path.display())),
    }
}

impl Selection {
    /// First lines and remarks of the log about itself are no events.
    fn holds(&self, event: &Map<String, Value>) -> bool {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let same = |wanted: &Option<String>, name| wanted.as_deref().is_none_or(|w| text(name) == Some(w));
        let ts = text("ts").unwrap_or_default();
        event.contains_key("action")
            && self.from.as_deref().is_none_or(|from| from <= ts)
            && self.to.as_deref().is_none_or(|to| ts < to)
            && same(&self.tenant, "tenant")
            && same(&self.entity, "entity")
    }
}

fn row(event: &Map<String, Value>) -> String {
    let cell = |name: &&str| match event.get(*name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => quoted(text),
        Some(other) => other.to_string(),
    };
    COLUMNS.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n"
}

fn quoted(text: &str) -> String {
    // Spreadsheets take a text that begins like this for a formula.
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read_in_the_form_of_the_log() {
        assert_eq!(time("2026-03-01").unwrap(), "2026-03-01T00:00:00.000Z");
        assert_eq!(time("2026-03-01T10:30Z").unwrap(), "2026-03-01T10:30:00.000Z");
        assert_eq!(time("2026-03-01T10:30:15").unwrap(), "2026-03-01T10:30:15.000Z");
        assert_eq!(time("2026-03-01T10:30:15.250Z").unwrap(), "2026-03-01T10:30:15.250Z");
        for wrong in [
            "",
            "yesterday",
            "2026-3-1",
            "2026-03-01Z",
            "2026-03-01 10:30",
            "2026-03-01T10:30:00+02:00",
            "2026-03-ü1",
        ] {
            assert!(time(wrong).unwrap_err().contains("2026-03-01T10:30:00Z"), "{wrong}");
        }
    }

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("=1+1"), "'=1+1");
    }
}
