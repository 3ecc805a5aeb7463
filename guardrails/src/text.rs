//! What recognisers read: the text, its anchors found in one pass, and the words around a place.
//!
//! The canonical form of a text (other scripts' digits, exotic spaces, invisible characters) belongs here too.

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
    /// Where the one or two short runs of letters start that stand directly before a token, with one character
    /// between: numbers printed in groups often begin so (`AB 12 34`, `B-AB 123`).
    pub leads: Vec<usize>,
    /// Byte positions of `@`.
    pub ats: Vec<usize>,
    /// Maximal runs of hexadecimal digits, dots and at least two colons.
    pub colons: Vec<Range<usize>>,
}

impl<'t> Scan<'t> {
    /// Finds all anchors of `text` in one pass.
    pub fn new(text: &'t str, label: &'t str) -> Scan<'t> {
        let bytes = text.as_bytes();
        let mut scan = Scan {
            text,
            label,
            digits: Vec::new(),
            tokens: Vec::new(),
            leads: Vec::new(),
            ats: Vec::new(),
            colons: Vec::new(),
        };
        // Where the next token, run of digits or run around colons may start at the earliest.
        let (mut at, mut token_free, mut colons_free) = (0, 0, 0);
        while let Some(next) =
            next_where(bytes, at, |byte| byte.is_ascii_digit() | (byte == b':') | (byte == b'@'))
        {
            at = next + 1;
            match bytes[next] {
                b'@' => scan.ats.push(next),
                b':' if next >= colons_free => {
                    let run = run_around(bytes, next, colons_free, |b| {
                        b.is_ascii_hexdigit() || matches!(b, b':' | b'.')
                    });
                    colons_free = run.end;
                    if bytes[next + 1..run.end].contains(&b':') {
                        scan.colons.push(run);
                    }
                }
                b':' => {}
                _ => {
                    at = next + bytes[next..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    scan.digits.push(next..at);
                    if next >= token_free {
                        let token = run_around(bytes, next, token_free, |b| b.is_ascii_alphanumeric());
                        token_free = token.end;
                        scan.tokens.push(token.start);
                        note_leads(bytes, token.start, &mut scan.leads);
                    }
                }
            }
        }
        scan
    }

    /// The character that ends at `at`.
    pub(crate) fn before(&self, at: usize) -> Option<char> {
        self.text[..at].chars().next_back()
    }

    /// The character that starts at `at`.
    pub(crate) fn after(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    /// Whether a token may start at `at`: no letter, digit or underscore directly before, but for those of scripts that
    /// put no spaces around foreign words.
    pub(crate) fn starts_token(&self, at: usize) -> bool {
        !self.before(at).is_some_and(|c| is_word(c) && !is_unspaced(c))
    }

    /// Whether a token may end at `at`: no letter, digit or underscore directly after, but for the same scripts, whose
    /// particles follow a number without a space.
    pub(crate) fn ends_token(&self, at: usize) -> bool {
        !self.after(at).is_some_and(|c| is_word(c) && !is_unspaced(c))
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
}

/// The first byte from `from` on for which `wanted` holds. It is asked of whole blocks first, which a compiler turns into
/// few instructions if it only compares.
#[inline]
pub(crate) fn next_where(bytes: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    const BLOCK: usize = 32;
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        if block.iter().fold(false, |any, byte| any | wanted(*byte)) {
            return block.iter().position(|byte| wanted(*byte)).map(|place| at + place);
        }
        at += BLOCK;
    }
    bytes.get(at..)?.iter().position(|byte| wanted(*byte)).map(|place| at + place)
}

/// The run of bytes for which `part` holds that includes `at`, from `free` on.
fn run_around(bytes: &[u8], at: usize, free: usize, part: impl Fn(u8) -> bool) -> Range<usize> {
    let before = bytes[free..at].iter().rev().take_while(|byte| part(**byte)).count();
    let after = bytes[at..].iter().take_while(|byte| part(**byte)).count();
    at - before..at + after
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

/// Whether a letter is of a script that puts no spaces between words, or appends particles to them: Thai and Lao, Hangul,
/// Kana, Han.
pub(crate) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1100}'..='\u{11ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
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

/// Appends where the runs of at most five letters (bytes, beyond ASCII) before `token` start, nearest first.
fn note_leads(bytes: &[u8], token: usize, leads: &mut Vec<usize>) {
    let letter = |at: usize| bytes[at].is_ascii_alphabetic() || !bytes[at].is_ascii();
    let mut before = token;
    for _ in 0..2 {
        if before < 2 || !matches!(bytes[before - 1], b' ' | b'-' | b'.' | b'/' | b':') {
            return;
        }
        let end = before - 1;
        let start = (end.saturating_sub(6)..end).rev().find(|at| !letter(*at)).map_or(0, |at| at + 1);
        if start == end
            || end - start > 5
            || (start > 0 && (letter(start - 1) || bytes[start - 1].is_ascii_digit()))
        {
            return;
        }
        leads.push(start);
        before = start;
    }
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
    fn a_particle_may_follow_a_number_and_a_letter_may_not() {
        let ends = |text| Scan::new(text, "").ends_token(3);
        assert!(ends("123\u{c785}\u{b2c8}\u{b2e4}") && ends("123 x") && ends("123"));
        assert!(!ends("123x") && !ends("123\u{fc}"));
    }

    #[test]
    fn short_words_before_a_token_are_where_a_printed_number_may_start() {
        let leads = |text| Scan::new(text, "").leads;
        assert_eq!(leads("my AB 12 34 C"), [3, 0]);
        assert_eq!(leads("M\u{dc}-X 1"), [4, 0]);
        assert_eq!(leads("number 1, A  2, X1 3, abcdefgh X 4"), [31]);
        assert_eq!(leads("1 2 a"), Vec::<usize>::new());
    }
}
