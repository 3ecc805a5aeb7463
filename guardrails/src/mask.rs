//! Masks in an answer what the policy would not let out in a question: a text that arrives in pieces is read word by
//! word, and only what may still become part of a value waits.
//!
//! Words of letters alone go out as they come. A word with digits, signs or great length begins a run; the run ends with
//! the second word of letters behind it (the fifth, if they are capitalised, as in an address), and then the guard reads
//! it together with what came before. All of this is decided character by character, so however a text is cut into
//! pieces, the result is that of the whole.

use crate::channel::Channel;
use crate::guard::{Class, Finding, Guard};
use crate::policy::Operator;
use crate::text::floor_boundary;
use crate::trail::Decision;
use crate::vault::{Blocked, Form};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How much of what went out is read again as context.
const CONTEXT: usize = 256;
/// How long a run of several words may grow before its beginning is decided.
const LONGEST_RUN: usize = 256;
/// The same where a value may be of letters alone, so that every word belongs to the run.
const LONGEST_WORDY_RUN: usize = 160;
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
    /// How much of the text is decided, in bytes and in code points.
    passed: (usize, usize),
    decisions: Vec<Decision>,
    blocked: Option<Blocked>,
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
    /// A masker for one text of an answer, by a guard of answers ([`Guard::answers`]).
    pub fn new(guard: Arc<Guard>, form: Form) -> Masker {
        let patience = longest_run(&guard);
        Masker {
            guard,
            json: form == Form::Json,
            before: String::new(),
            held: String::new(),
            word: 0,
            hot: false,
            cold: 0,
            announced: false,
            patience,
            key: Key::No,
            quoted: false,
            masked: false,
            passed: (0, 0),
            decisions: Vec::new(),
            blocked: None,
        }
    }

    /// Takes the next piece and returns what is certain by now.
    ///
    /// # Errors
    /// What the policy blocks, from then on; what came before it may have gone out.
    pub fn push(&mut self, chunk: &str) -> Result<String, Blocked> {
        let mut out = String::with_capacity(chunk.len());
        for c in chunk.chars() {
            self.take(c, &mut out);
            if let Some(blocked) = &self.blocked {
                return Err(blocked.clone());
            }
        }
        Ok(out)
    }

    /// Returns what was still held back, at the end of the text.
    ///
    /// # Errors
    /// As for [`Masker::push`].
    pub fn finish(&mut self) -> Result<String, Blocked> {
        let mut out = String::new();
        if self.key != Key::Dropped {
            // The last word has no end, and may be anything.
            self.hot = true;
            self.decide(&mut out);
        }
        self.held.clear();
        self.blocked.clone().map_or(Ok(out), Err)
    }

    /// How many bytes wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// What was decided so far, with empty paths.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    fn take(&mut self, c: char, out: &mut String) {
        self.held.push(c);
        if c == '-' && self.held.ends_with("-----") && self.rule_of_key(out) {
            return;
        }
        match self.key {
            Key::Dropped => {
                if self.held.len() > 2 * CONTEXT {
                    self.pass(floor_boundary(&self.held, CONTEXT));
                }
                return;
            }
            Key::Held if self.held.len() > LONGEST_KEY => {
                self.mark(&self.whole_key(), out);
                self.pass(self.held.len());
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
            (Key::No, Some(at), None) => {
                // What came before it need not wait for its end.
                self.release_before(at, out);
                self.key = Key::Held;
            }
            (Key::Held, _, Some(_)) => {
                self.decide(out);
                return true;
            }
            (Key::Dropped, _, Some(_)) => {
                self.pass(self.held.len());
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
        } else if self.guard.is_wordy() {
            self.hot = true;
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
        self.release_before(self.held.len(), out);
    }

    fn release_before(&mut self, at: usize, out: &mut String) {
        let found = if self.hot || self.key == Key::Held { self.find() } else { Vec::new() };
        self.release(at, &found, out);
    }

    /// What is in the run, by its own places.
    fn find(&self) -> Vec<Finding> {
        let text = [self.before.as_str(), &self.held].concat();
        let begin = self.before.len();
        let mut found = self.guard.inspect_in(Channel::Assistant, &text, "");
        found.retain(|finding| finding.span.end > begin);
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
                self.mark(&Finding { span: span.clone(), ..finding.clone() }, out);
                if bare {
                    out.push('"');
                }
            }
            if self.blocked.is_some() {
                return;
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

    /// A private key of which only the beginning is known.
    fn whole_key(&self) -> Finding {
        let (entity, rule) = (crate::secrets::ENTITY, crate::secrets::PRIVATE_KEY_RULE);
        Finding { entity, rule, class: Class::Secret, span: 0..self.held.len(), score: 1.0 }
    }

    /// Writes what stands for a finding, and notes that it was found.
    fn mark(&mut self, finding: &Finding, out: &mut String) {
        let Finding { entity, rule, class, span, .. } = finding.clone();
        let treatment = *self.guard.plan.verdicts(Channel::Assistant, &self.held, None).of(finding);
        let how = self.guard.answered(&treatment);
        let action = how.action;
        let chars = |upto: usize| self.passed.1 + self.held[..upto].chars().count();
        let (bytes, chars) =
            (self.passed.0 + span.start..self.passed.0 + span.end, chars(span.start)..chars(span.end));
        self.decisions.push(Decision::placed(finding, how, bytes, chars));
        match (action, self.guard.plan.mark(entity, &treatment, &self.held[span])) {
            (Operator::Block, _) => self.blocked = Some(Blocked { class, entity, rule }),
            (Operator::Mask | Operator::Hash, Some(mark)) => out.push_str(&mark),
            _ => {
                // In no spelling a placeholder, so that nothing is put back for it.
                out.push_str("[REDACTED_");
                out.push_str(entity);
                out.push(']');
            }
        }
    }

    /// So much of what is held is decided, and goes.
    fn pass(&mut self, end: usize) {
        self.passed.0 += end;
        self.passed.1 += self.held[..end].chars().count();
        self.held.drain(..end);
    }

    /// What is held up to `end` has gone out.
    fn reset(&mut self, end: usize) {
        self.quoted = self.quoted_at(end);
        self.before.push_str(&self.held[..end]);
        self.pass(end);
        if self.before.len() > CONTEXT {
            let keep = floor_boundary(&self.before, self.before.len() - CONTEXT);
            self.before.drain(..keep);
        }
        self.word = self.word.saturating_sub(end);
        if self.held.is_empty() {
            (self.hot, self.cold, self.word) = (false, 0, 0);
        }
        self.key = Key::No;
        self.patience = longest_run(&self.guard);
    }
}

fn longest_run(guard: &Guard) -> usize {
    if guard.is_wordy() { LONGEST_WORDY_RUN } else { LONGEST_RUN }
}

/// Whether the guard finds values in these texts, as an answer would hold them, that a masker lets out.
pub(crate) fn lets_out<'t>(guard: &Arc<Guard>, mut texts: impl Iterator<Item = &'t str>) -> bool {
    texts.any(|text| {
        let found = guard.inspect_in(Channel::Assistant, text, "");
        let mut masker = Masker::new(Arc::clone(guard), Form::Text);
        let masked = masker.push(text).and_then(|begun| Ok(begun + &masker.finish()?));
        let kept = |masked: &str| found.iter().any(|finding| masked.contains(&text[finding.span.clone()]));
        masked.is_ok_and(|masked| kept(&masked))
    })
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
