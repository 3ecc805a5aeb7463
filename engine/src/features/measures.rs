//! Units and dates: what a number counts, and when.

use super::lexicon::{LEXICON, Lexeme};
use super::numbers::{self, Form, Written};
use super::tokens::Token;
use super::words;

const AM: u64 = words::hash(b"am");
const PM: u64 = words::hash(b"pm");

/// A number with its unit, 0 for none: the value's hash above, the unit in the lowest byte.
pub(super) fn measured(number: Written, unit: u8) -> u64 {
    number.surface() & !0xff | u64::from(unit)
}

/// What stands after a number and belongs to it.
pub(super) enum After {
    /// A unit.
    Unit(u8),
    /// "am" or "pm".
    HalfDay {
        /// It was "pm".
        afternoon: bool,
    },
    /// Nothing of that kind.
    Nothing,
}

/// Reads the token after a number.
pub(super) fn after(token: Option<&Token>) -> After {
    let Some(token) = token.filter(|t| !t.after_break) else { return After::Nothing };
    if token.surface == PM || token.surface == AM {
        return After::HalfDay { afternoon: token.surface == PM };
    }
    match LEXICON.surface(token.surface).and_then(|l| l.unit) {
        Some(unit) => After::Unit(unit),
        None if token.joined => After::Unit(letter_unit(token.surface)),
        None => After::Nothing,
    }
}

/// Units of one letter, written onto the number.
fn letter_unit(surface: u64) -> u8 {
    [
        (b"m", 3),
        (b"g", 11),
        (b"l", 20),
        (b"h", 53),
        (b"s", 51),
        (b"c", 30),
        (b"f", 31),
        (b"w", 72),
        (b"v", 73),
    ]
    .into_iter()
    .find_map(|(letter, unit)| (words::hash(letter) == surface).then_some(unit))
    .unwrap_or(0)
}

/// The unit of a currency sign before a number.
pub(super) fn of_sign(sign: Option<char>) -> u8 {
    let hash = |c: char| words::hash(c.encode_utf8(&mut [0; 4]).as_bytes());
    sign.and_then(|c| LEXICON.surface(hash(c))).and_then(|l| l.unit).unwrap_or(0)
}

/// The time of day that a number and "am" or "pm" say.
pub(super) fn at_time(mut number: Written, afternoon: bool) -> Written {
    if number.form != Form::Time || number.value < 780.0 {
        numbers::to_day(&mut number, afternoon);
    }
    number
}

/// The date a word says: words such as "May" only with a capital inside a sentence, or beside a number.
pub(super) fn date(token: &Token, known: &Lexeme, beside_number: bool) -> Option<u16> {
    let sure = !known.weak || beside_number || (token.shape.capital && !token.shape.starts);
    known.date.filter(|_| sure)
}
