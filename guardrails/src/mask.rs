//! Masks in an answer what the policy would not let out in a question: a text that arrives in pieces is read word by
//! word, and only what may still become part of a value waits.
//!
//! Words of letters alone go out as they come. A word with digits, signs or great length begins a run; the run ends with
//! the second word of letters behind it (the fifth, if they are capitalised, as in an address), and then the guard reads
//! it together with what came before. All of this is decided character by character, so however a text is cut into
//! pieces, the result is that of the whole.

use crate::guard::{Finding, Guard};
use crate::text::floor_boundary;
use crate::vault::{Form, Known};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How much of what went out is read again as context.
const CONTEXT: usize = 256;
/// How long a run of several words may grow before its beginning is decided.
const LONGEST_RUN: usize = 256;
/// What is kept of a run then: more than any value of several words.
const KEPT: usize = 96;
/// How long a word may grow; tokens of many kinds are longer than a run may be.
const LONGEST_WORD: usize = 8 * 1024;
/// How long a private key may be, as the rule for them has it.
const LONGEST_KEY: usize = 16 * 1024;
/// So many words of letters in a row are in no private key.
const PROSE: usize = 6;

/// Masks one text of an answer: a choice's content, or the arguments of one tool call.
pub struct Masker {
    guard: Arc<Guard>,
    known: Arc<Known>,
    json: bool,
    /// The end of what went out, as it was.
    before: String,
    held: String,
    /// Where the unfinished word begins in it.
    word: usize,
    /// Whether a word of the run is more than letters, and how many of letters came since.
    hot: bool,
    cold: usize,
    /// Whether the last word announces a value.
    announced: bool,
    /// How long the run must be to be looked at again.
    patience: usize,
    key: Key,
    /// Whether the place where `held` begins is within a JSON string, and whether what went out last was masked.
    quoted: bool,
    masked: bool,
    counts: BTreeMap<&'static str, usize>,
}

/// Whether a private key is under way.
#[derive(PartialEq, Eq)]
enum Key {
    No,
    /// It is held.
    Held,
    /// It is too long to be held and was masked; what follows is thrown away up to its end.
    Dropped,
}

impl Masker {
    /// A masker for one text of an answer to the request whose values are `known` ([`crate::Vault::known`]).
    pub fn new(guard: Arc<Guard>, known: Arc<Known>, form: Form) -> Masker {
        Masker {
            guard,
            known,
            json: form == Form::Json,
            before: String::new(),
            held: String::new(),
            word: 0,
            hot: false,
            cold: 0,
            announced: false,
            patience: LONGEST_RUN,
            key: Key::No,
            quoted: false,
            masked: false,
            counts: BTreeMap::new(),
        }
    }

    /// Takes the next piece and returns what is certain by now.
    pub fn push(&mut self, chunk: &str) -> String {
        let mut out = String::with_capacity(chunk.len());
        chunk.chars().for_each(|c| self.take(c, &mut out));
        out
    }

    /// Returns what was still held back, at the end of the text.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        if self.key != Key::Dropped {
            // The last word has no end, and may be anything.
            self.hot = true;
            self.decide(&mut out);
        }
        self.held.clear();
        out
    }

    /// How many bytes wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many values were found so far, by entity.
    pub fn counts(&self) -> &BTreeMap<&'static str, usize> {
        &self.counts
    }

    fn take(&mut self, c: char, out: &mut String) {
        self.held.push(c);
        if c == '-' && self.held.ends_with("-----") && self.rule_of_key(out) {
            return;
        }
        match self.key {
            Key::Dropped => {
                if self.held.len() > 2 * CONTEXT {
                    self.held.drain(..floor_boundary(&self.held, CONTEXT));
                }
                return;
            }
            Key::Held if self.held.len() > LONGEST_KEY => {
                self.mark(crate::secrets::ENTITY, out);
                self.held.clear();
                self.key = Key::Dropped;
                return;
            }
            Key::Held | Key::No => {}
        }
        let ends = c.is_whitespace()
            || (self.json && matches!(c, '"' | '{' | '}'))
            || (c.is_alphabetic() && !c.is_lowercase() && !c.is_uppercase());
        if ends {
            self.end_word(out);
        } else if self.key == Key::No && self.held.len() > self.patience {
            self.relieve(out);
        }
    }

    /// Looks whether this is the first or last line of a private key; whether all is decided that was held.
    fn rule_of_key(&mut self, out: &mut String) -> bool {
        if !(self.held.ends_with("KEY-----") || self.held.ends_with("BLOCK-----")) {
            return false;
        }
        match (&self.key, self.held.rfind("-----BEGIN "), self.held.rfind("-----END ")) {
            (Key::No, Some(_), None) => self.key = Key::Held,
            (Key::Held, _, Some(_)) => {
                self.decide(out);
                return true;
            }
            (Key::Dropped, _, Some(_)) => {
                self.held.clear();
                self.reset(0);
                return true;
            }
            _ => {}
        }
        false
    }

    fn end_word(&mut self, out: &mut String) {
        let word = self.held[self.word..].trim_end_matches(char::is_whitespace);
        if !word.chars().any(char::is_alphanumeric) && self.hot {
            // Signs and blanks join what stands at their sides.
            self.announced |= word.contains([':', '=']);
        } else if is_prose(word) && !(self.announced && word.len() >= 8) {
            self.announced = word.ends_with([':', '=']);
            let capital = word.chars().find(|c| c.is_alphanumeric()).is_some_and(char::is_uppercase);
            self.cold += 1;
            let most = match (self.hot, capital, &self.key) {
                (_, _, Key::Held) => PROSE,
                (true, true, _) => 5,
                (true, false, _) => 2,
                (false, true, _) => 3,
                (false, false, _) => 1,
            };
            if self.cold >= most {
                return self.decide(out);
            }
        } else {
            self.announced = word.ends_with([':', '=', '"']);
            (self.hot, self.cold) = (true, 0);
        }
        self.word = self.held.len();
        if self.key == Key::No && self.held.len() > self.patience {
            self.relieve(out);
        }
    }

    /// Lets the beginning of a long run go.
    fn relieve(&mut self, out: &mut String) {
        let end = if self.word > 0 {
            let end = floor_boundary(&self.held, self.word.min(self.held.len().saturating_sub(KEPT)));
            self.held[..end].rfind(char::is_whitespace).map_or(0, |at| at + 1)
        } else if self.held.len() > LONGEST_WORD {
            floor_boundary(&self.held, self.held.len() - CONTEXT)
        } else {
            0
        };
        let end = floor_boundary(&self.held, end);
        let found = if end > 0 { self.find() } else { Vec::new() };
        // A value is decided as a whole.
        let over = found.iter().find(|finding| finding.span.start < end && finding.span.end > end);
        let end = match over {
            Some(finding) if finding.span.start > 0 => finding.span.start,
            Some(finding) => finding.span.end,
            None => end,
        };
        if end == 0 {
            self.patience = self.held.len() + KEPT;
            return;
        }
        self.release(end, &found, out);
    }

    /// Decides about all that is held.
    fn decide(&mut self, out: &mut String) {
        let found = if self.hot || self.key == Key::Held { self.find() } else { Vec::new() };
        self.release(self.held.len(), &found, out);
    }

    /// What is in the run, by its own places.
    fn find(&self) -> Vec<Finding> {
        let text = [self.before.as_str(), &self.held].concat();
        let begin = self.before.len();
        let mut found = self.guard.inspect(&text);
        found.retain(|finding| {
            finding.span.end > begin && !self.known.has(finding.entity, &text[finding.span.clone()])
        });
        for finding in &mut found {
            finding.span = finding.span.start.saturating_sub(begin)..finding.span.end - begin;
        }
        found
    }

    fn release(&mut self, end: usize, found: &[Finding], out: &mut String) {
        let mut from = 0;
        for finding in found.iter().filter(|finding| finding.span.start < end) {
            let (span, bare) = self.widened(&finding.span);
            out.push_str(&self.held[from..span.start.max(from)]);
            if span.start > 0 || !self.masked {
                if bare {
                    out.push('"');
                }
                self.mark(finding.entity, out);
                if bare {
                    out.push('"');
                }
            }
            from = span.end.max(from);
        }
        let end = end.max(from);
        self.masked = from == end && from > 0;
        out.push_str(&self.held[from..end]);
        self.reset(end);
    }

    /// In JSON a number is replaced as a whole, and by a string.
    fn widened(&self, span: &Range<usize>) -> (Range<usize>, bool) {
        if !self.json || self.quoted_at(span.start) {
            return (span.clone(), false);
        }
        let number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let bytes = self.held.as_bytes();
        let before = bytes[..span.start].iter().rev().take_while(|byte| number(byte)).count();
        let behind = bytes[span.end..].iter().take_while(|byte| number(byte)).count();
        (span.start - before..span.end + behind, true)
    }

    fn quoted_at(&self, at: usize) -> bool {
        let (mut quoted, mut escaped) = (self.quoted, false);
        for byte in self.held.bytes().take(at) {
            quoted ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
        }
        quoted
    }

    fn mark(&mut self, entity: &'static str, out: &mut String) {
        *self.counts.entry(entity).or_default() += 1;
        // In no spelling a placeholder, so that nothing is put back for it.
        out.push_str("[REDACTED_");
        out.push_str(entity);
        out.push(']');
    }

    /// What is held up to `end` has gone out.
    fn reset(&mut self, end: usize) {
        self.quoted = self.quoted_at(end);
        self.before.push_str(&self.held[..end]);
        self.held.drain(..end);
        if self.before.len() > CONTEXT {
            let keep = floor_boundary(&self.before, self.before.len() - CONTEXT);
            self.before.drain(..keep);
        }
        self.word = self.word.saturating_sub(end);
        if self.held.is_empty() {
            (self.hot, self.cold, self.word) = (false, 0, 0);
        }
        self.key = Key::No;
        self.patience = LONGEST_RUN;
    }
}

/// Whether a word is of letters, with the signs that stand at words' ends, and no longer than words are.
fn is_prose(word: &str) -> bool {
    let inner = word.trim_matches(|c: char| ".,;:!?()*\"'“”„’…".contains(c));
    inner.len() <= 24
        && !inner.contains("--")
        && inner.chars().all(|c| c.is_alphabetic() || "'’-".contains(c))
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
