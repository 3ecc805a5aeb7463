//! Addresses of other hosts than allowed, and addresses that run.

use super::url::{self, Kind};
use super::{ACTIVE_URL, IMAGE_LINK, LINK};
use crate::guard::{Class, Finding, Recogniser};
use crate::text::{Scan, floor_boundary};
use std::ops::Range;

/// How far back the beginning of a tag or of an image's description is looked for.
const BACK: usize = 512;
/// Elements whose addresses are loaded without being asked for.
const LOADING: &[&str] = &[
    "img", "image", "picture", "source", "video", "audio", "track", "iframe", "frame", "embed", "object",
    "script", "link", "input", "body", "table", "td", "th", "style", "svg", "use", "base", "meta",
];

/// Finds addresses.
pub(super) struct Links {
    domains: Vec<String>,
}

impl Links {
    /// Addresses within these domains are none.
    pub(super) fn new(domains: &[String]) -> Links {
        Links { domains: domains.iter().map(|name| name.trim_start_matches('@').to_lowercase()).collect() }
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.domains.iter().any(|domain| {
            host.strip_suffix(domain.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
    }

    fn judge(&self, text: &str, span: Range<usize>, kind: Kind, out: &mut Vec<Finding>) {
        let (entity, rule) = match kind {
            Kind::Active => (ACTIVE_URL, "active-url"),
            Kind::Host(host) if self.is_allowed(&host) => return,
            Kind::Host(_) => match loaded(text, span.start) {
                Some(rule) => (IMAGE_LINK, rule),
                None => (LINK, "link"),
            },
        };
        out.push(Finding { entity, rule, class: Class::Content, span, score: 0.95 });
    }
}

impl Recogniser for Links {
    fn entity(&self) -> &'static str {
        LINK
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        let (text, bytes) = (scan.text, scan.text.as_bytes());
        let mut from = 0;
        for at in memchr::memchr3_iter(b':', b'/', b'\\', bytes) {
            if at < from {
                continue;
            }
            let found = match bytes[at] {
                b':' => url::with_scheme(text, at),
                slash if bytes.get(at + 1) == Some(&slash) && begins(&bytes[..at]) => {
                    url::without_scheme(text, at)
                }
                _ => None,
            };
            if let Some((span, kind)) = found {
                from = span.end.max(at + 1);
                self.judge(text, span, kind, out);
            }
        }
    }
}

/// Whether an address without a scheme may begin here: a comment of a program does not.
fn begins(before: &[u8]) -> bool {
    let blanks = before.iter().rev().take_while(|byte| **byte == b' ').count();
    match before[..before.len() - blanks] {
        [.., b']', b'('] | [.., b']', b':'] | [.., b'u', b'r', b'l', b'('] => true,
        [.., b'=', b'"' | b'\''] | [.., b'(', b'<' | b'"' | b'\''] => blanks == 0,
        [.., b'='] => true,
        _ => false,
    }
}

/// How an address that begins at `start` is loaded by itself, if it is.
fn loaded(text: &str, start: usize) -> Option<&'static str> {
    let from = floor_boundary(text, start.saturating_sub(BACK));
    let before = text[from..start].trim_end_matches([' ', '\n', '<', '"', '\'']);
    if let Some(label) = before.strip_suffix('(') {
        if label.ends_with("url") {
            return Some("style");
        }
        return (label.ends_with(']') && opening(label).is_some_and(|open| label[..open].ends_with('!')))
            .then_some("image");
    }
    // What a label stands for may be an image as well.
    if before.strip_suffix(':').is_some_and(|label| label.ends_with(']')) {
        return Some("definition");
    }
    let tag = before.rfind('<').filter(|at| !before[*at..].contains('>'))?;
    let name = before[tag + 1..].trim_start_matches('/');
    let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
    LOADING.iter().any(|element| name.eq_ignore_ascii_case(element)).then_some("element")
}

/// Where the bracket opens that the text's end closes.
fn opening(label: &str) -> Option<usize> {
    let mut open = 0_u32;
    for (at, byte) in label.bytes().enumerate().rev() {
        match byte {
            b']' => open += 1,
            b'[' if open == 1 => return Some(at),
            b'[' => open -= 1,
            _ => {}
        }
    }
    None
}
