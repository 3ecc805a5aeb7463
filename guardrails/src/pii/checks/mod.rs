//! Checks by name: what distinguishes a number of one kind from any of its length.

pub(crate) mod common;
mod dates;
mod firms;
mod icao9303;
mod iso7064;
mod keccak;
mod letters;
mod luhns;
mod mod10;
mod mod11;
mod mod97;
#[cfg(test)]
mod proof;
mod structure;
pub(crate) mod us;
mod verhoeff;

/// What a check says of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Valid,
    /// Nothing is known: this print carries no check, or the check is not always kept.
    Unknown,
    /// It could be, but is known as a stand-in from forms and advertisements: ten to one against it.
    Doubtful,
    /// It can't be.
    Invalid,
}

impl Verdict {
    /// Valid or invalid.
    pub(crate) fn of(valid: bool) -> Verdict {
        if valid { Verdict::Valid } else { Verdict::Invalid }
    }
}

/// A check that rows name in `validate`.
pub struct Check {
    /// Its name in pack files.
    pub name: &'static str,
    /// The share of random candidates (such as match the rows' patterns) that pass, 1 if it only refuses.
    pub random: f32,
    /// Reads the value as matched: ASCII digits, separators as written.
    pub run: fn(&str) -> Verdict,
}

/// All checks, one table per family.
const TABLES: &[&[Check]] = &[
    common::CHECKS,
    firms::CHECKS,
    icao9303::CHECKS,
    iso7064::CHECKS,
    letters::CHECKS,
    luhns::CHECKS,
    mod10::CHECKS,
    mod11::CHECKS,
    mod97::CHECKS,
    structure::CHECKS,
    us::CHECKS,
    verhoeff::CHECKS,
];

/// The check called `name`.
pub(crate) fn by_name(name: &str) -> Option<&'static Check> {
    TABLES.iter().copied().flatten().find(|check| check.name == name)
}

/// The digits of a value, without whatever stands between them; at most 32.
pub(crate) struct Digits {
    values: [u8; 32],
    len: usize,
}

impl Digits {
    pub(crate) fn of(text: &str) -> Digits {
        let mut digits = Digits { values: [0; 32], len: 0 };
        for byte in text.bytes().filter(u8::is_ascii_digit).take(32) {
            digits.values[digits.len] = byte - b'0';
            digits.len += 1;
        }
        digits
    }

    /// Sum of each digit times the weight at its place.
    pub(crate) fn weighted(&self, weights: &[u32]) -> u32 {
        self.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
    }
}

impl std::ops::Deref for Digits {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.values[..self.len]
    }
}

/// The Luhn formula (ISO/IEC 7812-1, annex B); the last digit is the check digit.
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { 2 * u32::from(digit) - 9 } else { 2 * u32::from(digit) };
    let add = |(at, digit): (usize, &u8)| if at % 2 == 1 { doubled(*digit) } else { u32::from(*digit) };
    digits.iter().rev().enumerate().map(add).sum::<u32>().is_multiple_of(10)
}

/// The letters and digits of a value in upper case, without whatever stands between them.
pub(crate) fn compact(text: &str) -> String {
    text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_uppercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_checks_have_one_name() {
        let mut names: Vec<_> = TABLES.iter().copied().flatten().map(|check| check.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn luhn_knows_the_standard_example_and_every_single_digit_error() {
        // ISO/IEC 7812-1 annex B computes check digit 3 for 7992739871.
        let valid = Digits::of("7992-7398713");
        assert!(luhn(&valid));
        for at in 0..valid.len() {
            for digit in 0..10 {
                let mut other = valid.to_vec();
                other[at] = digit;
                assert_eq!(luhn(&other), other == *valid);
            }
        }
    }

    #[test]
    fn weights_are_applied_from_the_left() {
        assert_eq!(Digits::of("1 2 3").weighted(&[100, 10, 1]), 123);
    }
}
