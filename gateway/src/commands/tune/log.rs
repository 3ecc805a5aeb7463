//! What `sluice tune` reads: a labelled stream, as `sluice eval cache` does, or a shadow log.
//!
//! A shadow log has one JSON object a line for each remembered answer that the cache, while it only watched, held against
//! a request:
//!
//! ```json
//! {"ts":1760000000.25,"id":"req-81","request":5120,"prompt":"Where is my parcel?","matched_prompt":"where's my package",
//!  "similarity":0.93,"confidence":0.991,"would_serve":true,"right":true}
//! ```
//!
//! | field | |
//! |---|---|
//! | `id` | the request's name; needed |
//! | `similarity` | cosine similarity to the nearest prompt that has the answer, from -1 to 1; needed |
//! | `confidence` | the probability that the answer is right, as the cache thought, from 0 to 1; needed |
//! | `right` | whether it was, by the provider's own answer; `null` or absent where that could not be told |
//! | `would_serve` | whether the policy would have served it; taken as `true` where absent |
//! | `request` | how many requests had asked the semantic tier when the line was written, this one included; it may begin anew after a restart. Without it, figures are shares of the lines |
//! | `ts` | when, in seconds since 1970 |
//! | `prompt`, `matched_prompt` | what was asked, now and then: only if the operator wants them written |

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use sluice_engine::replay::Line;

use crate::commands::eval::lines;

/// The fields of a shadow log that a line must have.
const SHADOW_FIELDS: &str = "\"id\", \"similarity\" (-1 to 1), \"confidence\" (0 to 1) and maybe \"right\", \"would_serve\", \
                             \"request\", \"ts\", \"prompt\", \"matched_prompt\"";

/// What the file holds.
pub(super) enum Input {
    /// Prompts and what was meant.
    Stream(Vec<Line>),
    /// What a watching cache would have done.
    Shadow(Vec<WouldBe>),
}

/// A line of a shadow log.
#[derive(Clone, Deserialize)]
pub(super) struct WouldBe {
    /// The request.
    #[serde(rename = "id")]
    pub(super) _id: String,
    /// When, in seconds since 1970.
    pub(super) ts: Option<f64>,
    /// Requests so far.
    pub(super) request: Option<u64>,
    /// What was asked.
    pub(super) prompt: Option<String>,
    /// What had been asked when the answer was remembered.
    pub(super) matched_prompt: Option<String>,
    /// Cosine similarity of both.
    pub(super) similarity: f64,
    /// The probability that the answer is right.
    pub(super) confidence: f64,
    /// Whether the policy would have served it.
    #[serde(default = "yes")]
    pub(super) would_serve: bool,
    /// Whether it was right, if that is known.
    pub(super) right: Option<bool>,
}

fn yes() -> bool {
    true
}

/// Reads either form; the first line tells which.
///
/// # Errors
/// The file can't be read, has no line, or a line that doesn't fit: with its number, what was expected, and none of its words.
pub(super) fn read(path: &Path) -> Result<Input, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    let first = text.lines().enumerate().find(|(_, line)| !line.trim().is_empty());
    let Some((at, first)) = first else {
        return Err(format!(
            "{name}: no line; expected a labelled stream or a shadow log, one JSON object a line"
        ));
    };
    let object: Option<Value> = serde_json::from_str(first).ok();
    let has = |field: &str| object.as_ref().is_some_and(|object| object.get(field).is_some());
    if has("intent") {
        return lines::stream(path).map(Input::Stream);
    }
    if has("similarity") || has("confidence") {
        return shadow(path).map(Input::Shadow);
    }
    Err(format!(
        "{name}:{}: neither a labelled stream nor a shadow log; expected an object with \"id\", \"prompt\", \"intent\" and maybe \
         \"shareable\", or one with {SHADOW_FIELDS}",
        at + 1
    ))
}

fn shadow(path: &Path) -> Result<Vec<WouldBe>, String> {
    let lines: Vec<(usize, WouldBe)> = lines::read(path, SHADOW_FIELDS)?;
    for (number, line) in &lines {
        let outside = |field: &str, low: i8| {
            Err(format!("{}:{number}: \"{field}\" is outside its range; expected {low} to 1", path.display()))
        };
        if !(-1.0..=1.0).contains(&line.similarity) {
            return outside("similarity", -1);
        }
        if !(0.0..=1.0).contains(&line.confidence) {
            return outside("confidence", 0);
        }
    }
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

/// How many requests a log is about. Its numbers rise from restart to restart; without numbers, each line is one.
pub(super) fn requests(lines: &[WouldBe]) -> u64 {
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line.request).collect();
    let least = lines.len() as u64;
    let Some(&first) = numbers.first() else { return least };
    let grown: u64 = numbers.windows(2).map(|pair| pair[1].checked_sub(pair[0]).unwrap_or(pair[1])).sum();
    least.max(if first == 0 { grown } else { grown.saturating_add(1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_text(text: &str) -> Result<Input, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path())
    }

    #[test]
    fn the_two_forms_are_told_apart_by_their_fields() {
        let stream = read_text("\n{\"id\":\"1\",\"prompt\":\"How?\",\"intent\":\"how\"}\n");
        assert!(matches!(stream, Ok(Input::Stream(lines)) if lines.len() == 1));
        let shadow = read_text("{\"id\":\"1\",\"similarity\":0.9,\"confidence\":0.99,\"right\":null}\n");
        assert!(
            matches!(shadow, Ok(Input::Shadow(lines)) if lines[0].right.is_none() && lines[0].would_serve)
        );
    }

    #[test]
    fn what_is_neither_is_refused_with_file_line_and_fields_but_not_its_words() {
        let shadow = "{\"id\":\"1\",\"similarity\":0.9,\"confidence\":0.99}\n";
        for (text, said) in [
            (String::new(), "no line"),
            ("{\"prompt\":\"a secret\"}".to_owned(), ":1: neither"),
            ("\n\"a secret\"".to_owned(), ":2: neither"),
            (format!("{shadow}{{\"id\":\"2\",\"prompt\":\"a secret\",\"intent\":\"x\"}}"), ":2: fields"),
            (format!("{shadow}\n{{\"id\":\"2\",\"similarity\":2,\"confidence\":0.9}}"), ":3: \"similarity\""),
            (format!("{shadow}{{\"id\":\"2\",\"similarity\":0.9,\"confidence\":-1}}"), ":2: \"confidence\""),
            (
                "{\"id\":\"1\",\"similarity\":0.9,\"prompt\":\"a secret\"}".to_owned(),
                "\"confidence\" (0 to 1)",
            ),
        ] {
            let error = read_text(&text).err().unwrap();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
        assert!(read(Path::new("not/there.jsonl")).err().unwrap().contains("not/there.jsonl"));
    }

    #[test]
    fn requests_are_counted_over_restarts() {
        let log = |numbers: &[Option<u64>]| -> Vec<WouldBe> {
            let line = |request: &Option<u64>| WouldBe {
                _id: String::new(),
                ts: None,
                request: *request,
                prompt: None,
                matched_prompt: None,
                similarity: 0.9,
                confidence: 0.9,
                would_serve: true,
                right: None,
            };
            numbers.iter().map(line).collect()
        };
        assert_eq!(requests(&log(&[None, None])), 2);
        assert_eq!(requests(&log(&[Some(11), Some(20)])), 10);
        assert_eq!(requests(&log(&[Some(11), Some(20), Some(5), Some(6)])), 16);
    }
}
