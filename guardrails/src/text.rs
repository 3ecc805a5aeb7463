//! What recognisers read: the text, its anchors found in one pass, and the words around a place.
//!
//! The canonical form of a text (other scripts' digits, exotic spaces, invisible characters) belongs here too.

use crate::placeholder;
use std::ops::Range;

/// A text and the places where something may start, so that recognisers need not read it all again.
pub struct Scan<'t> {
    /// The text as it came.
    pub text: &'t str,
    /// What the text is the value of (a JSON key, a form's label), or empty. Counts as context, is not scanned.
    pub label: &'t str,
    /// Maximal runs of ASCII digits, in order.
    pub digits: Vec<Range<usize>>,
    /// Where a run of ASCII letters and digits that holds a digit starts.
    pub tokens: Vec<usize>,
    /// Byte positions of `@`.
    pub ats: Vec<usize>,
    /// Maximal runs of hexadecimal digits, dots and at least two colons.
    pub colons: Vec<Range<usize>>,
}

impl<'t> Scan<'t> {
    /// Finds all anchors of `text` in one pass.
    pub fn new(text: &'t str, label: &'t str) -> Scan<'t> {
        let (mut digits, mut ats, mut colons) = (Vec::new(), Vec::new(), Vec::new());
        let mut tokens = Vec::new();
        let (mut digits_from, mut hex_from, mut colons_seen) = (None, 0, 0);
        // Where the current run of letters and digits starts, and whether it is in `tokens` already.
        let (mut token_from, mut noted) = (0, false);
        for (at, byte) in text.bytes().enumerate() {
            if byte.is_ascii_digit() {
                digits_from.get_or_insert(at);
                if !noted {
                    tokens.push(token_from);
                    noted = true;
                }
                continue;
            }
            if !byte.is_ascii_alphabetic() {
                (token_from, noted) = (at + 1, false);
            }
            if let Some(from) = digits_from.take() {
                digits.push(from..at);
            }
            match byte {
                b':' => colons_seen += 1,
                b'.' | b'a'..=b'f' | b'A'..=b'F' => {}
                _ => {
                    if colons_seen > 1 {
                        colons.push(hex_from..at);
                    }
                    (hex_from, colons_seen) = (at + 1, 0);
                    if byte == b'@' {
                        ats.push(at);
                    }
                }
            }
        }
        if let Some(from) = digits_from {
            digits.push(from..text.len());
        }
        if colons_seen > 1 {
            colons.push(hex_from..text.len());
        }
        Scan { text, label, digits, tokens, ats, colons }
    }

    /// The character that ends at `at`.
    pub(crate) fn before(&self, at: usize) -> Option<char> {
        self.text[..at].chars().next_back()
    }

    /// The character that starts at `at`.
    pub(crate) fn after(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    /// Whether a token may start at `at`: no letter, digit or underscore directly before.
    pub(crate) fn starts_token(&self, at: usize) -> bool {
        !self.before(at).is_some_and(is_word)
    }

    /// Whether a token may end at `at`: no letter, digit or underscore directly after.
    pub(crate) fn ends_token(&self, at: usize) -> bool {
        !self.after(at).is_some_and(is_word)
    }

    /// Whether a digit follows `at` behind one of `joiners`, so that a number ending at `at` goes on.
    pub(crate) fn goes_on(&self, at: usize, joiners: &str) -> bool {
        let mut rest = self.text[at..].chars();
        rest.next().is_some_and(|c| joiners.contains(c)) && rest.next().is_some_and(|c| c.is_ascii_digit())
    }

    /// Whether a digit precedes `at` before one of `joiners`, so that a number starting at `at` began earlier.
    pub(crate) fn began_earlier(&self, at: usize, joiners: &str) -> bool {
        let mut back = self.text[..at].chars().rev();
        back.next().is_some_and(|c| joiners.contains(c)) && back.next().is_some_and(|c| c.is_ascii_digit())
    }

    /// The text between digit runs `i` and `i + 1`, or `None` after the last.
    pub(crate) fn gap(&self, i: usize) -> Option<&'t str> {
        let next = self.digits.get(i + 1)?;
        Some(&self.text[self.digits[i].end..next.start])
    }

    /// The words around `span`.
    pub(crate) fn context(&self, span: &Range<usize>) -> Context {
        Context::around(self, span)
    }
}

/// The one character that `gap` consists of, if it separates the groups of one number: a space of any width,
/// a dash of any width, or a dot.
pub(crate) fn separator(gap: &str) -> Option<char> {
    let mut chars = gap.chars();
    let only = chars.next()?;
    (chars.next().is_none() && (is_space(only) || is_dash(only) || only == '.')).then_some(only)
}

/// Spaces that occur within printed numbers (plain, no-break, figure, thin, narrow no-break).
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}')
}

/// Dashes that occur within printed numbers (hyphen-minus, hyphen, no-break hyphen, figure and en dash).
pub(crate) fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2013}')
}

/// Letters and digits of any script, and the underscore.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many bytes and words of context are read on each side.
const BEFORE: (usize, usize) = (72, 6);
const AFTER: (usize, usize) = (40, 4);
/// How many words before a value count as its label ("my mobile number is …").
const CLOSE: usize = 3;

/// Lower-case words around a place, whole ones, in reading order. Numbers and placeholders are no words.
pub(crate) struct Context {
    before: Vec<String>,
    after: Vec<String>,
    label: Vec<String>,
}

impl Context {
    fn around(scan: &Scan<'_>, span: &Range<usize>) -> Context {
        let text = scan.text;
        let from = ceil_boundary(text, span.start.saturating_sub(BEFORE.0));
        let to = floor_boundary(text, (span.end + AFTER.0).min(text.len()));
        // A word cut by the window's edge is no whole word.
        let left = &text[from..span.start];
        let left = if from == 0 { left } else { left.trim_start_matches(is_word) };
        let right = &text[span.end..to];
        let right = if to == text.len() { right } else { right.trim_end_matches(is_word) };
        let mut before = words(left);
        before.drain(..before.len().saturating_sub(BEFORE.1));
        let mut after = words(right);
        after.truncate(AFTER.1);
        Context { before, after, label: words(scan.label) }
    }

    /// Whether one of `entries` (words, or two words with a space) stands near, on either side or in the label.
    pub(crate) fn near(&self, entries: &[&str]) -> bool {
        [&self.before, &self.after, &self.label].into_iter().any(|words| contains(words, entries))
    }

    /// Whether one of `entries` stands directly before (at most two words between) or in the label.
    pub(crate) fn close(&self, entries: &[&str]) -> bool {
        let close = &self.before[self.before.len().saturating_sub(CLOSE)..];
        contains(close, entries) || contains(&self.label, entries)
    }
}

fn contains(words: &[String], entries: &[&str]) -> bool {
    entries.iter().any(|entry| match entry.split_once(' ') {
        None => words.iter().any(|word| word == entry),
        Some((first, second)) => words.windows(2).any(|pair| pair[0] == first && pair[1] == second),
    })
}

/// Splits at everything that is no letter, and where lower case turns to upper case (`cardNumber`).
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for token in text.split(|c| !is_word(c)).filter(|token| !placeholder::is_name(token)) {
        let mut word = String::new();
        let mut lower = false;
        for c in token.chars() {
            let breaks = !c.is_alphabetic() || (lower && c.is_uppercase());
            if breaks && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            lower = c.is_lowercase();
            if c.is_alphabetic() {
                word.extend(c.to_lowercase());
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
    }
    words
}

/// The last character boundary at or before `at`.
pub(crate) fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first character boundary at or after `at`.
pub(crate) fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_finds_digits_ats_and_colon_runs() {
        let scan = Scan::new("a@b 12, 2600::1 7", "");
        assert_eq!(scan.tokens, [4, 8, 14, 16]);
        assert_eq!(scan.ats, [1]);
        assert_eq!(scan.digits, [4..6, 8..12, 14..15, 16..17]);
        assert_eq!((scan.colons.len(), scan.colons[0].clone()), (1, 8..15));
    }

    #[test]
    fn context_words_are_whole_and_known_on_both_sides() {
        let scan = Scan::new("my phoneNumber (mobile): 123 is the public one", "");
        let context = scan.context(&(25..28));
        assert!(context.near(&["mobile"]) && context.near(&["phone"]) && context.near(&["the public"]));
        assert!(!context.near(&["mob"]) && !context.near(&["lic"]));
        assert!(context.close(&["number"]) && !context.close(&["my"]));
    }

    #[test]
    fn a_placeholder_is_no_context() {
        let scan = Scan::new("[PHONE_NUMBER_1] order 123", "");
        let context = scan.context(&(23..26));
        assert!(context.near(&["order"]) && !context.near(&["phone"]));
    }

    #[test]
    fn a_label_is_context() {
        let scan = Scan::new("123456789", "socialSecurityNo");
        assert!(scan.context(&(0..9)).close(&["social security"]));
    }
}
