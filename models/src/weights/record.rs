//! Hashes we wrote down ourselves: of files whose right hash nobody told us, as they were when first downloaded. They
//! tell that a file is still the one that came first, not that the first was the right one.

use super::error::WeightsError;
use super::store;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file beside the weights which holds the records, by file name.
pub(super) const FILE: &str = "recorded-sha256.json";

/// What was written down about a file on its first download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// SHA-256 of its content, in lower-case hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Where it came from: an address without credentials.
    pub source: String,
    /// The day it came, UTC, as `2026-01-31`.
    pub date: String,
}

/// What is on record about the file `name` in `dir`. A record that can't be read is an error: were it passed over, a
/// changed file would count as a first one.
pub(super) fn of(dir: &Path, name: &str) -> Result<Option<Record>, WeightsError> {
    let Some(mut records) = load(dir)? else { return Ok(None) };
    let Some(found) = records.remove(name) else { return Ok(None) };
    let text = |field: &str| found.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let sha256 = text("sha256");
    if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        let reason = format!("{name}: sha256 is not 64 lower-case hex digits");
        return Err(WeightsError::Record { path: dir.join(FILE), reason });
    }
    let bytes = found.get("bytes").and_then(Value::as_u64).unwrap_or_default();
    Ok(Some(Record { sha256, bytes, source: text("source"), date: text("date") }))
}

/// Writes down what came. Called under the folder's lock, before the file itself takes its name: a file that a pull
/// brought is never without its record.
pub(super) fn add(dir: &Path, name: &str, record: &Record) -> Result<(), WeightsError> {
    let mut records = load(dir)?.unwrap_or_default();
    let Record { sha256, bytes, source, date } = record;
    let value = json!({ "sha256": sha256, "bytes": bytes, "source": source, "date": date });
    records.insert(name.to_owned(), value);
    let text = format!("{:#}\n", Value::Object(records));
    let io = |error| WeightsError::Io { path: dir.join(FILE), error };
    store::replace(dir, FILE, text.as_bytes()).map_err(io)
}

/// Today's date in UTC.
pub(super) fn today() -> String {
    date(Timestamp::now())
}

fn date(at: Timestamp) -> String {
    at.strftime("%F").to_string()
}

fn load(dir: &Path) -> Result<Option<Map<String, Value>>, WeightsError> {
    let path: PathBuf = dir.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(WeightsError::Io { path, error }),
    };
    let records = serde_json::from_slice(&text).map_err(|error| error.to_string());
    records.map(Some).map_err(|reason| WeightsError::Record { path, reason })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{names_in, scratch};
    use super::*;

    fn record(digit: char) -> Record {
        let sha256 = String::from(digit).repeat(64);
        Record { sha256, bytes: 7, source: "a hub".into(), date: "2026-01-31".into() }
    }

    #[test]
    fn a_record_reads_back_and_leaves_others_as_they_were() {
        let dir = scratch();
        assert_eq!(of(dir.path(), "a").unwrap(), None);
        add(dir.path(), "a", &record('a')).unwrap();
        add(dir.path(), "b", &record('b')).unwrap();
        assert_eq!(of(dir.path(), "a").unwrap(), Some(record('a')));
        assert_eq!(of(dir.path(), "b").unwrap(), Some(record('b')));
        assert_eq!(of(dir.path(), "c").unwrap(), None);
        assert_eq!(names_in(dir.path()), [FILE]);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
        let dir = scratch();
        for (text, reason) in [("{", "EOF"), (r#"{"a": {"sha256": "short"}}"#, "a: sha256 is not 64")] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            let error = of(dir.path(), "a").unwrap_err().to_string();
            assert!(error.contains(FILE) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn dates_are_right_over_leap_years() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_513, "2026-03-01"),
            (47_541, "2100-03-01"),
        ] {
            for second in [0, 86_399] {
                assert_eq!(date(Timestamp::from_second(days * 86_400 + second).unwrap()), expected);
            }
        }
    }
}
