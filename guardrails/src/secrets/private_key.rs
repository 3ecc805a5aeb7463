//! Private key blocks (PEM, RFC 7468, and OpenPGP's armour): whole, cut off at either end, on one line, or inside a string
//! with `\n` written out.

use super::ENTITY;
use crate::guard::{Class, Finding, Recogniser};
use crate::text::{Scan, floor_boundary};
use regex::Regex;
use std::ops::Range;

/// The rule's name.
pub(crate) const RULE: &str = "private-key";
/// How long a block may be: an RSA key of 16,384 bits has some 13 KB.
const LONGEST: usize = 16 * 1024;
/// How much key material makes a key of a block.
const LEAST: usize = 32;

pub(super) struct PrivateKey {
    begin: Regex,
    end: Regex,
}

impl PrivateKey {
    pub(super) fn new() -> PrivateKey {
        // Constant expressions, compiled by every test of this file.
        let compile = |pattern| Regex::new(pattern).expect("a constant expression compiles");
        PrivateKey {
            begin: compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
            end: compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
        }
    }

    /// Where the block ends whose first line ends at `from`, if key material follows that line.
    fn extent(&self, text: &str, from: usize) -> Option<usize> {
        let rest = &text[from..floor_boundary(text, (from + LONGEST).min(text.len()))];
        // No block holds another; looking no further also keeps a text of many beginnings linear.
        let rest = &rest[..self.begin.find(rest).map_or(rest.len(), |next| next.start())];
        if let Some(end) = self.end.find(rest) {
            // Brackets are in no block; they would be a placeholder's.
            let body = &rest[..end.start()];
            return (material(body) >= LEAST && !body.contains(['[', ']'])).then_some(from + end.end());
        }
        // No end: as many lines as look like key material.
        let mut end = 0;
        let mut seen = 0;
        for line in lines(rest) {
            let long = line.len() >= 16 && line.bytes().all(is_material);
            let tail = seen >= LEAST
                && line.len() > 3
                && line.bytes().all(is_material)
                && !line.bytes().all(|b| b.is_ascii_lowercase());
            let header = line.contains(": ") && seen == 0 && !line.contains(['[', ']']);
            if !(long || tail || header) {
                break;
            }
            seen += if header { 0 } else { line.len() };
            end = (line.as_ptr() as usize - rest.as_ptr() as usize) + line.len();
        }
        (seen >= LEAST).then_some(from + end)
    }

    /// Blocks of which only the end is left within `stretch`, which holds no whole one.
    fn tails(&self, text: &str, stretch: Range<usize>, out: &mut Vec<Finding>) {
        let mut from = stretch.start;
        for end in self.end.find_iter(&text[stretch.clone()]) {
            let end = stretch.start + end.start()..stretch.start + end.end();
            let body = &text[from..end.start];
            let (mut start, mut seen) = (body.len(), 0);
            for line in lines(body).collect::<Vec<_>>().into_iter().rev() {
                let full = line.len() >= 16 || seen == 0;
                if !full || !line.bytes().all(is_material) {
                    break;
                }
                seen += line.len();
                start = line.as_ptr() as usize - body.as_ptr() as usize;
            }
            if seen >= LEAST {
                out.push(finding(from + start..end.end));
            }
            from = end.end;
        }
    }
}

fn finding(span: Range<usize>) -> Finding {
    Finding { entity: ENTITY, rule: RULE, class: Class::Secret, span, score: 0.99 }
}

impl Recogniser for PrivateKey {
    fn entity(&self) -> &'static str {
        ENTITY
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        let (mut from, mut done) = (0, 0);
        while let Some(begin) = self.begin.find_at(scan.text, from) {
            from = begin.end();
            if let Some(end) = self.extent(scan.text, from) {
                self.tails(scan.text, done..begin.start(), out);
                out.push(finding(begin.start()..end));
                (from, done) = (end, end);
            }
        }
        self.tails(scan.text, done..scan.text.len(), out);
    }
}

fn is_material(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Bytes of key material, headers and escapes left out. Blanks may stand for the ends of lines.
fn material(body: &str) -> usize {
    let pieces = lines(body).flat_map(str::split_ascii_whitespace);
    pieces.filter(|piece| piece.len() >= 16 && piece.bytes().all(is_material)).map(str::len).sum()
}

/// The lines of a block, whether they end in line feeds or in `\n` and `\r` written out; blanks around and
/// empty lines are dropped.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r'])
        .flat_map(|line| line.split("\\n"))
        .flat_map(|line| line.split("\\r"))
        .map(|line| line.trim_matches([' ', '\t', '"', '\'', '\\', ',']))
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "aGVyZSBzdGFuZHMgbm8ga2V5IGF0IGFsbCBvbmx5IHRleHQgaW4gYmFzZSA2NCA0";

    fn found(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        PrivateKey::new().find(&Scan::new(text, ""), &mut out);
        out.into_iter().map(|finding| text[finding.span].to_owned()).collect()
    }

    fn block(kind: &str, newline: &str) -> String {
        let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
        [begin.as_str(), LINE, LINE, "dGhlIGVuZA==", &end].join(newline)
    }

    #[test]
    fn a_block_is_found_whole_in_every_writing() {
        for kind in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "PGP PRIVATE KEY BLOCK",
            "EC PRIVATE KEY",
        ] {
            for newline in ["\n", "\r\n", "\\n", "\\r\\n"] {
                let block = block(kind, newline);
                assert_eq!(found(&format!("key: \"{block}\" ok")), [block]);
            }
        }
    }

    #[test]
    fn a_block_that_is_cut_off_is_found_and_prose_behind_it_is_not() {
        let cut = format!("-----BEGIN {}-----\nProc-Type: 4,ENCRYPTED\n\n{LINE}\n{LINE}", "RSA PRIVATE KEY");
        assert_eq!(found(&format!("{cut}\n\nWhat is wrong with this key?")), [cut]);
    }

    #[test]
    fn a_block_is_found_on_one_line_and_without_its_beginning() {
        let flat = block("PRIVATE KEY", " ");
        assert_eq!(found(&format!("KEY='{flat}'")), [flat]);
        for newline in ["\n", "\\n"] {
            let whole = block("RSA PRIVATE KEY", newline);
            let tail = &whole[whole.find(LINE).unwrap()..];
            assert_eq!(found(&format!("the rest of it:\n{tail}\nthanks")), [tail]);
            assert_eq!(found(&format!("{whole}\n{tail}")), [whole.as_str(), tail]);
        }
        assert!(found("It ends in -----END PRIVATE KEY----- as everybody knows.").is_empty());
    }

    #[test]
    fn public_keys_and_blocks_without_a_key_are_none() {
        for text in [
            format!("-----BEGIN PUBLIC KEY-----\n{LINE}\n-----END PUBLIC KEY-----"),
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----".to_owned(),
            "A file starts with -----BEGIN PRIVATE KEY----- and then come the bytes.".to_owned(),
        ] {
            assert!(found(&text).is_empty(), "{text}");
        }
    }
}
