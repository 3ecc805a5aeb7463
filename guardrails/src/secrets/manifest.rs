//! The values in a Kubernetes manifest of kind `Secret`, as YAML or JSON.

use crate::text::{ceil_boundary, floor_boundary};
use std::ops::Range;

/// How far a manifest reaches before and behind its kind.
const BEFORE: usize = 4 * 1024;
const BEHIND: usize = 32 * 1024;

/// The values of the manifest whose kind stands at `at`, and where the manifest ends.
pub(super) fn values(text: &str, at: usize) -> (Vec<Range<usize>>, usize) {
    let from = ceil_boundary(text, at.saturating_sub(BEFORE));
    let from = text[from..at].rfind("\n---").map_or(from, |found| from + found + 4);
    let to = floor_boundary(text, (at + BEHIND).min(text.len()));
    let to = text[at..to].find("\n---").map_or(to, |found| at + found);
    let document = &text[from..to];
    let mut found = yaml(document);
    found.extend(json(document));
    found.iter_mut().for_each(|span| *span = span.start + from..span.end + from);
    (found, to)
}

/// Names whose values are no secrets.
fn is_open(name: &str) -> bool {
    const OPEN: &[&str] = &[
        "username",
        "user",
        "host",
        "hostname",
        "port",
        "database",
        "dbname",
        "namespace",
        "ca.crt",
        "tls.crt",
    ];
    OPEN.iter().any(|open| open.eq_ignore_ascii_case(name))
}

fn yaml(document: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut block = None;
    let mut at = 0;
    for line in document.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        let bare = bare.trim_end();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        if block.is_some_and(|outer| indent <= outer) {
            block = None;
        }
        if matches!(bare, "data:" | "stringData:") {
            block = Some(indent);
        } else if let (Some(_), Some((name, value))) = (block, bare.split_once(':')) {
            let value = value.trim().trim_matches(['"', '\'']);
            let offset = value.as_ptr() as usize - line.as_ptr() as usize;
            if !is_open(name.trim_matches(['"', '\''])) {
                found.push(start + offset..start + offset + value.len());
            }
        }
    }
    found
}

fn json(document: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for name in ["\"data\"", "\"stringData\""] {
        let Some(at) = document.find(name).map(|at| at + name.len()) else { continue };
        let rest = &document[at..];
        let Some(open) = rest.find('{').filter(|open| rest[..*open].trim() == ":") else { continue };
        let inside = &rest[open + 1..];
        let inside = &inside[..inside.find('}').unwrap_or(inside.len())];
        let base = at + open + 1;
        // Names and values by turns, each between two quotes.
        let quotes: Vec<usize> = inside.match_indices('"').map(|(at, _)| at).collect();
        for pair in quotes.chunks_exact(4) {
            if !is_open(&inside[pair[0] + 1..pair[1]]) {
                found.push(base + pair[2] + 1..base + pair[3]);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        values(text, text.find("kind").unwrap()).0.into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn values_of_data_are_found_and_nothing_else_of_the_manifest() {
        let text = "a: b\n---\nkind: Secret\nmetadata:\n  name: x\ndata:\n  user: QWRh\n  pw: \"c2VjcmV0\"\ntype: Opaque\n---\nc: d";
        assert_eq!(found(text), ["c2VjcmV0"]);
        let text = "data:\n  a: Zm9v\n\n  b: YmFy\nkind: Secret\n";
        assert_eq!(found(text), ["Zm9v", "YmFy"]);
        let text = r#"{"kind":"Secret","metadata":{"name":"x"},"data":{"user":"QWRh","pw":"c2VjcmV0"},"type":"Opaque"}"#;
        assert_eq!(found(text), ["c2VjcmV0"]);
    }
}
