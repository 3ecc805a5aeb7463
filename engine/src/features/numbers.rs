//! Numbers as they are written: in digits, with groups and decimals, signs, scales, times of day, versions; in words.
//!
//! Equal values are equal however written: 1,000 = 1000 = 1k = "one thousand"; 5pm = 17:00; 1st = first. A hyphen is a sign
//! only at the start of a word, so that neither ranges nor compounds become negative.

use super::{tokens::Kind, tokens::Token, words};

/// A number in digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Written {
    /// Its value; for a time of day the minutes since midnight.
    pub(super) value: f64,
    pub(super) form: Form,
    /// A currency sign stood before it.
    pub(super) currency: Option<char>,
}

/// What kind of number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// A count, a measure, an ordinal.
    Plain,
    /// A time of day.
    Time,
    /// A version, a date, an address: digits between several separators, by their hash.
    Code(u64),
}

impl Written {
    fn plain(value: f64) -> Self {
        Self { value, form: Form::Plain, currency: None }
    }

    /// A hash of what it says.
    pub(super) fn surface(self) -> u64 {
        match self.form {
            Form::Plain => value_hash(self.value),
            Form::Time => words::chain(value_hash(self.value), 1),
            Form::Code(hash) => hash,
        }
    }
}

/// The hash of a value: equal for values that print alike to nine digits.
pub(super) fn value_hash(value: f64) -> u64 {
    // Rounding makes 0.1 × 3 and 0.3 the same; adding zero makes −0 the same as 0.
    let scale = 10f64.powi(8 - value.abs().max(1e-9).log10().floor() as i32);
    let rounded = if value.fract() == 0.0 { value } else { (value * scale).round() / scale };
    words::hash(&(rounded + 0.0).to_bits().to_le_bytes())
}

/// The number that begins at `at`, and where it ends. `fresh`: white space or a break stands before, so a sign is a sign.
pub(super) fn at(text: &str, at: usize, fresh: bool) -> Option<(Written, usize)> {
    let bytes = &text.as_bytes()[at..];
    let mut pos = 0;
    let mut negative = false;
    let mut currency = None;
    if fresh {
        let mut chars = text[at..].chars().peekable();
        if let Some(sign) = chars.next_if(|c| matches!(c, '-' | '−' | '+')) {
            negative = sign != '+';
            pos += sign.len_utf8();
        }
        if let Some(sign) = chars.next_if(|c| matches!(c, '$' | '€' | '£' | '¥' | '₹')) {
            currency = Some(sign);
            pos += sign.len_utf8();
        }
    }
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let point = fresh && bytes.get(pos) == Some(&b'.') && digit(pos + 1);
    if !digit(pos) && !point {
        return None;
    }
    let (mut written, length) = digits(&bytes[pos..]);
    pos += length;
    pos += suffix(&bytes[pos..], &mut written);
    if negative {
        written.value = -written.value;
    }
    written.currency = currency;
    Some((written, at + pos))
}

/// Reads digits with their separators. Returns the number and its length.
fn digits(bytes: &[u8]) -> (Written, usize) {
    let mut end = 0;
    while let Some(b) = bytes.get(end) {
        let inner = b".,:'-/".contains(b) && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !b.is_ascii_digit() && !inner {
            break;
        }
        end += 1;
    }
    let run = &bytes[..end];
    let first = run.iter().position(|b| !b.is_ascii_digit()).unwrap_or(end);
    let separators = run.iter().filter(|b| !b.is_ascii_digit()).count();
    match run.get(first) {
        None => (Written::plain(value_of(run)), end),
        Some(b':') if separators <= 2 => (time(run), end),
        Some(b'-' | b'/') if separators == 1 => (Written::plain(value_of(&run[..first])), first),
        Some(b'-' | b'/' | b':') => (Written { form: Form::Code(code(run)), ..Written::plain(0.0) }, end),
        Some(_) => decimals(run, first, separators),
    }
}

/// Commas, points and apostrophes: groups of thousands, decimals, or the parts of a version.
fn decimals(run: &[u8], first: usize, separators: usize) -> (Written, usize) {
    // A range or a second number in the run ("1,5-2") ends the first.
    let end = run.iter().position(|b| b"-/:".contains(b)).unwrap_or(run.len());
    let run = &run[..end];
    let sign = run[first];
    let last = run.iter().rposition(|b| !b.is_ascii_digit()).unwrap_or(first);
    let groups_of_three = run[first + 1..].split(|b| *b == sign).all(|group| group.len() == 3);
    if groups_of_three && (sign != b'.' || separators > 1) {
        return (Written::plain(value_of(run)), end);
    }
    if run[last] != sign || separators == 1 {
        // What comes last is the decimal sign; any other groups thousands.
        let fraction = value_of(&run[last + 1..]) / 10f64.powi((run.len() - last - 1) as i32);
        return (Written::plain(value_of(&run[..last]) + fraction), end);
    }
    if sign == b'.' {
        return (Written { form: Form::Code(code(run)), ..Written::plain(0.0) }, end);
    }
    (Written::plain(value_of(&run[..first])), first)
}

fn value_of(run: &[u8]) -> f64 {
    run.iter().filter(|b| b.is_ascii_digit()).fold(0.0, |value, b| value * 10.0 + f64::from(b - b'0'))
}

fn code(run: &[u8]) -> u64 {
    // 2024/01/05 and 2024-1-5 are the same date.
    run.split(|b| !b.is_ascii_digit()).fold(2, |hash, part| words::chain(hash, value_of(part).to_bits()))
}

fn time(run: &[u8]) -> Written {
    let mut parts = run.split(|b| *b == b':').map(value_of);
    let (hours, minutes) = (parts.next().unwrap_or(0.0), parts.next().unwrap_or(0.0));
    let seconds = parts.next().unwrap_or(0.0) / 60.0;
    Written { form: Form::Time, ..Written::plain(hours * 60.0 + minutes + seconds) }
}

/// Reads what is written onto the digits and changes their value: k, m, bn, am, pm, st, nd, rd, th. Returns its length.
fn suffix(bytes: &[u8], written: &mut Written) -> usize {
    let length = bytes.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let Some(letters) = bytes.get(..length).filter(|_| length <= 2) else { return 0 };
    let mut lower = [0u8; 2];
    lower[..length].copy_from_slice(letters);
    lower.make_ascii_lowercase();
    match &lower[..length] {
        b"k" => written.value *= 1e3,
        b"bn" => written.value *= 1e9,
        b"mn" => written.value *= 1e6,
        b"st" | b"nd" | b"rd" | b"th" => {}
        half @ (b"am" | b"pm") => to_day(written, half == b"pm"),
        _ => return 0,
    }
    length
}

/// Makes a number the time of day it says before "am" or "pm".
pub(super) fn to_day(written: &mut Written, afternoon: bool) {
    let minutes = if written.form == Form::Time { written.value } else { written.value * 60.0 };
    let morning = if minutes >= 720.0 { minutes - 720.0 } else { minutes };
    *written =
        Written { form: Form::Time, ..Written::plain(if afternoon { morning + 720.0 } else { morning }) };
}

/// A number word's part in a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Count {
    /// Adds itself: one to ninety.
    Add(u32),
    /// Multiplies what came before: hundred, thousand.
    Scale(f64),
    /// Ends the number: first to hundredth.
    Ordinal(u32),
}

/// Reads a number that begins at `tokens[0]`, in digits or words, with its scale ("1.5 million", "twenty-one", "five
/// hundred"). `counts` says what number words they are. Returns the number and how many tokens it takes.
pub(super) fn compose(
    tokens: &[Token],
    mut counts: impl Iterator<Item = Option<Count>>,
) -> Option<(Written, usize)> {
    let (mut total, mut part, mut used) = (0.0, 0.0, 0);
    let mut last_add = f64::INFINITY;
    match tokens.first()?.kind {
        Kind::Number(written) if written.form != Form::Plain => return Some((written, 1)),
        Kind::Number(written) => {
            let scale = tokens.get(1).filter(|t| !t.after_break).and_then(|_| counts.nth(1).flatten());
            return Some(match scale {
                Some(Count::Scale(by)) => (Written { value: written.value * by, ..written }, 2),
                _ => (written, 1),
            });
        }
        _ => {}
    }
    for (token, known) in tokens.iter().zip(counts) {
        if used > 0 && token.after_break {
            break;
        }
        match known {
            Some(Count::Add(value))
                if f64::from(value) < last_add && (last_add >= 20.0 || value >= 20 || used == 0) =>
            {
                part += f64::from(value);
                last_add = f64::from(value);
            }
            Some(Count::Ordinal(value)) if f64::from(value) < last_add => {
                return Some((Written::plain(total + part + f64::from(value)), used + 1));
            }
            Some(Count::Scale(by)) if by > 100.0 => {
                total += if used == 0 { by } else { part * by };
                (part, last_add) = (0.0, f64::INFINITY);
            }
            Some(Count::Scale(by)) => {
                part = if used == 0 { by } else { part * by };
                last_add = f64::INFINITY;
            }
            _ => break,
        }
        used += 1;
    }
    (used > 0).then_some((Written::plain(total + part), used))
}
