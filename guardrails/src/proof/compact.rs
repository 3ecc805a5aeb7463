//! Numbers without the separators that people put between their digits.

use std::ops::Range;

/// Bytes looked at together for one that may matter; the compiler makes vector instructions of it.
const STRIDE: usize = 32;
/// Longest run of separators within a number, in characters.
const GAP: usize = 3;
/// The same in bytes, for any characters, and the one behind them.
const GAP_BYTES: usize = GAP * 4 + 1;
/// Stands where two things do not belong together.
const BREAK: u8 = 0;

/// The letters and digits in the neighbourhood of digits, in capitals, and where each stood.
pub(super) struct Compact {
    pub(super) bytes: Vec<u8>,
    at: Vec<usize>,
}

/// Between the digits of a number.
const SEPARATOR: u8 = 1;
/// What each character of ASCII is to a number: itself in capitals, a separator, or a break.
const ROLES: [u8; 128] = {
    let (mut roles, mut byte) = ([BREAK; 128], 0);
    while byte < 128 {
        roles[byte as usize] = match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => byte.to_ascii_uppercase(),
            b' ' | b'-' | b'.' | b',' | b'/' | b'(' | b')' | b'+' | b'_' | b':' | b'\t' | b'\\' => SEPARATOR,
            _ => BREAK,
        };
        byte += 1;
    }
    roles
};

impl Compact {
    /// The part of `text` in this range, as far as one of the ids of this form may stand there.
    pub(super) fn of(text: &[u8], range: Range<usize>, form: &Form) -> Compact {
        let mut compact = Compact { bytes: Vec::new(), at: Vec::new() };
        let text = &text[..range.end];
        let (mut done, mut from) = (range.start, range.start);
        while let Some(digit) = next_digit(text, from) {
            let window = &text[digit..text.len().min(digit.saturating_add(form.window))];
            // Without letters a region ends soon by itself.
            if form.reach > 0 && count_digits(window) < form.digits {
                // No id has its first digit here, since it would have more of them. Whatever is further in one has it before.
                from = digit + 1;
                continue;
            }
            done = compact.region(text, digit, digit.saturating_sub(form.reach).max(done), form.reach);
            from = done;
        }
        compact
    }

    /// Takes characters from `start` on until the last digit, of which `digit` is the first, is too far behind; returns where
    /// that is.
    fn region(&mut self, text: &[u8], digit: usize, start: usize, reach: usize) -> usize {
        self.push(BREAK, start);
        let (mut at, mut gap, beyond) = (start, 0, reach.max(GAP_BYTES));
        let mut until = digit + beyond;
        while at < text.len() && at < until {
            let byte = text[at];
            let (role, length) = match ROLES.get(usize::from(byte)) {
                Some(role) => (*role, 1),
                None => wide(&text[at..]),
            };
            if is_digit_like(byte) {
                until = at + length + beyond;
            }
            if role == SEPARATOR && gap < GAP {
                gap += 1;
            } else if role > SEPARATOR && (reach > 0 || role.is_ascii_digit()) {
                self.push(role, at);
                gap = 0;
            } else {
                self.push(BREAK, at);
                if reach == 0 {
                    return at + length;
                }
            }
            at += length;
        }
        at
    }

    fn push(&mut self, byte: u8, at: usize) {
        if byte != BREAK || self.bytes.last().is_some_and(|last| *last != BREAK) {
            self.bytes.push(byte);
            self.at.push(at);
        }
    }

    /// Where a part of it stood in the text.
    pub(super) fn place(&self, part: Range<usize>) -> Range<usize> {
        let last = part.end.saturating_sub(1).max(part.start);
        // Digits of full width have three bytes, but their neighbours are none of theirs either way.
        self.at[part.start]..self.at[last] + 1
    }
}

/// A whole value without separators; `None` if it holds more than letters, digits and separators.
pub(super) fn whole(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        let (role, length) = match ROLES.get(usize::from(text[at])) {
            Some(role) => (*role, 1),
            None => wide(&text[at..]),
        };
        match role {
            BREAK => return None,
            SEPARATOR => {}
            part => out.push(part),
        }
        at += length;
    }
    Some(out)
}

/// What ids without separators have in common, so that most places need not be looked at.
pub(super) struct Form {
    /// How many bytes before, between and behind digits may belong to one, with a separator for each letter and more around
    /// them; 0: there are no letters in any.
    reach: usize,
    /// The fewest digits of one.
    digits: usize,
    /// The most bytes that one may take, with separators everywhere.
    window: usize,
}

impl Form {
    pub(super) fn of(ids: &[&Vec<u8>]) -> Form {
        let letters =
            |id: &&&Vec<u8>| id.split(u8::is_ascii_digit).map(<[u8]>::len).max().unwrap_or_default();
        let longest = ids.iter().map(|id| letters(&id)).max().unwrap_or_default();
        let digits = |id: &&Vec<u8>| id.iter().filter(|byte| byte.is_ascii_digit()).count();
        let most = ids.iter().map(|id| id.len()).max().unwrap_or_default();
        Form {
            reach: if longest == 0 { 0 } else { longest * 2 + 2 * GAP_BYTES },
            digits: ids.iter().map(digits).min().unwrap_or_default(),
            window: most * (1 + GAP_BYTES),
        }
    }
}

/// The first digit from `from` on, or what begins like one of full width.
fn next_digit(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    // Without a branch for each byte the compiler makes vector instructions of it.
    let any = |stride: &[u8]| stride.iter().fold(0, |any, byte| any | u8::from(is_digit_like(*byte))) != 0;
    let whole = rest.chunks_exact(STRIDE).take_while(|stride| !any(stride)).count() * STRIDE;
    rest[whole..].iter().position(|byte| is_digit_like(*byte)).map(|place| from + whole + place)
}

fn count_digits(text: &[u8]) -> usize {
    // In bytes, of which vector instructions take many at once.
    let count =
        |stride: &[u8]| stride.iter().fold(0_u8, |n, byte| n.wrapping_add(u8::from(is_digit_like(*byte))));
    text.chunks(usize::from(u8::MAX)).map(|stride| usize::from(count(stride))).sum()
}

/// A digit, or the first byte of one of full width.
fn is_digit_like(byte: u8) -> bool {
    (byte.wrapping_sub(b'0') < 10) | (byte == 0xef)
}

/// What a character beyond ASCII is to a number, and its length; what is no UTF-8 is a break of one byte.
fn wide(bytes: &[u8]) -> (u8, usize) {
    let Some(character) = first_char(bytes) else { return (BREAK, 1) };
    let role = match character {
        '\u{ff10}'..='\u{ff19}' => b'0' + (u32::from(character) - 0xff10) as u8,
        // Soft hyphen, exotic spaces, nothings, dashes.
        '\u{a0}' | '\u{ad}' | '\u{2000}'..='\u{2015}' | '\u{202f}' | '\u{205f}'..='\u{2064}' => SEPARATOR,
        '\u{2212}' | '\u{3000}' | '\u{feff}' | '\u{ff0d}' | '\u{fe63}' => SEPARATOR,
        _ => BREAK,
    };
    (role, character.len_utf8())
}

/// The first character, if the bytes begin with one.
pub(super) fn first_char(bytes: &[u8]) -> Option<char> {
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next()
}

/// The last character, if the bytes end with one.
pub(super) fn last_char(bytes: &[u8]) -> Option<char> {
    let from = bytes.len().saturating_sub(4);
    (from..bytes.len()).find_map(|at| std::str::from_utf8(&bytes[at..]).ok()?.chars().next_back())
}
