//! Labelled traffic, read line by line: what is wrong is told with its file and line.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sluice_engine::replay::{Different, Line};

/// The prompts of a stream, in the order of the file.
pub(in crate::commands) fn stream(path: &Path) -> Result<Vec<Line>, String> {
    let lines: Vec<(usize, Line)> = read(path, "\"id\", \"prompt\", \"intent\" and maybe \"shareable\"")?;
    if lines.is_empty() {
        return Err(format!("{}: no line; expected one JSON object a line", path.display()));
    }
    let mut seen = HashSet::new();
    if let Some((number, line)) = lines.iter().find(|(_, line)| !seen.insert(line.id.as_str())) {
        return Err(format!(
            "{}:{number}: the id {:?} stands on an earlier line as well",
            path.display(),
            line.id
        ));
    }
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

/// The pairs of all files.
pub(super) fn different(paths: &[PathBuf]) -> Result<Vec<Different>, String> {
    let mut pairs = Vec::new();
    for path in paths {
        pairs.extend(
            read::<Different>(path, "\"a_id\", \"b_id\" and \"kind\"")?.into_iter().map(|(_, pair)| pair),
        );
    }
    Ok(pairs)
}

/// Objects of a file with the numbers of their lines; `fields` says in an error what each should have.
pub(in crate::commands) fn read<T: DeserializeOwned>(
    path: &Path,
    fields: &str,
) -> Result<Vec<(usize, T)>, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            // Of serde's message only what names no value: a line may hold somebody's words.
            let parsed = serde_json::from_str(line).map_err(|e| {
                let what = if e.is_data() { "fields that don't fit" } else { "no JSON" };
                format!("{name}:{}: {what} (column {}); expected an object with {fields}", at + 1, e.column())
            });
            parsed.map(|value| (at + 1, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_stream_keeps_the_order_of_its_file() {
        let file = file(
            "{\"id\":\"2\",\"prompt\":\"How?\",\"intent\":\"how\"}\n\n{\"id\":\"1\",\"prompt\":\"Who?\",\"intent\":\"who\",\"shareable\":false}\n",
        );
        let lines = stream(file.path()).unwrap();
        let read: Vec<_> = lines.iter().map(|line| (line.id.as_str(), line.shareable)).collect();
        assert_eq!(read, [("2", true), ("1", false)]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_not_quoted() {
        for (text, line, said) in [
            ("{\"id\":\"1\",\"prompt\":\"a secret\",\"intent\":\"x\"}\n{\"id\":", 2, "no JSON"),
            ("{\"id\":\"1\",\"prompt\":\"a secret\"}", 1, "\"intent\""),
            (
                "{\"id\":\"1\",\"prompt\":\"s\",\"intent\":\"x\"}\n{\"id\":\"1\",\"prompt\":\"s\",\"intent\":\"x\"}",
                2,
                "earlier",
            ),
        ] {
            let file = file(text);
            let error = stream(file.path()).err().unwrap();
            assert!(error.contains(&format!(":{line}:")) && error.contains(said), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_empty_stream_is_refused() {
        assert!(stream(file("\n").path()).err().unwrap().contains("no line"));
    }
}
