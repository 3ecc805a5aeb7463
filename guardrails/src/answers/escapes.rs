//! Control sequences of terminals (ECMA-48, and xterm's): they recolour, overwrite what stands there, set titles and clipboards,
//! and hide links.

use super::ANSI_ESCAPE;
use crate::guard::{Class, Finding, Recogniser};
use crate::text::{Scan, ceil_boundary};

/// No sequence is longer.
const LONGEST: usize = 4 * 1024;

/// Finds sequences, whole or cut off.
pub(super) struct Escapes;

impl Recogniser for Escapes {
    fn entity(&self) -> &'static str {
        ANSI_ESCAPE
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        let text = scan.text;
        let mut from = 0;
        // ESC, and the first bytes of the controls U+0080 to U+009F in UTF-8.
        for start in memchr::memchr2_iter(0x1b, 0xc2, text.as_bytes()) {
            if start < from {
                continue;
            }
            if let Some(end) = sequence(text, start) {
                from = end;
                let (entity, rule, class) = (ANSI_ESCAPE, "terminal-sequence", Class::Content);
                out.push(Finding { entity, rule, class, span: start..end, score: 0.99 });
            }
        }
    }
}

/// Where the sequence that begins at `start` ends.
fn sequence(text: &str, start: usize) -> Option<usize> {
    let mut rest = text[start..].char_indices();
    let (_, first) = rest.next()?;
    let kind = match first {
        '\u{1b}' => match rest.next() {
            Some((_, kind)) => kind,
            None => return Some(text.len()),
        },
        '\u{9b}' => '[',
        '\u{90}' => 'P',
        '\u{9d}' => ']',
        '\u{98}' | '\u{9e}' | '\u{9f}' => '^',
        _ => return None,
    };
    let at = |rest: &mut std::str::CharIndices<'_>| start + rest.offset();
    match kind {
        // Parameters, then one final letter.
        '[' => {
            let end = rest.find(|(_, c)| !matches!(c, ' '..='?'));
            Some(end.map_or(text.len(), |(at, c)| {
                start + at + if matches!(c, '@'..='~') { c.len_utf8() } else { 0 }
            }))
        }
        // A string, up to its terminator.
        ']' | 'P' | '^' | '_' | 'X' => {
            let mut last = '\0';
            for (offset, c) in rest {
                if c == '\u{7}' || c == '\u{9c}' || (last == '\u{1b}' && c == '\\') {
                    return Some(start + offset + c.len_utf8());
                }
                if offset > LONGEST {
                    return Some(ceil_boundary(text, start + 2));
                }
                last = c;
            }
            Some(text.len())
        }
        ' '..='/' => {
            rest.next();
            Some(at(&mut rest))
        }
        '0'..='~' => Some(at(&mut rest)),
        // An ESC by itself is one, too.
        _ => Some(start + 1),
    }
}
