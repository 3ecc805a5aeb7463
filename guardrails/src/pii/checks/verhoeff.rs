//! The Verhoeff scheme (J. Verhoeff, "Error detecting decimal codes", Mathematical Centre Tract 29, 1969): it catches
//! every wrong digit and every swap of neighbours.

use super::{Check, Digits, Verdict};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "in_aadhaar", random: 0.08, run: in_aadhaar },
    Check { name: "ng_nin", random: 0.1, run: ng_nin },
];

/// Multiplication in the dihedral group of order ten.
const TIMES: [[u8; 10]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];

/// The permutation that is applied once more at each place from the right.
const PERMUTED: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

fn verhoeff(digits: &[u8]) -> bool {
    let mut state = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        let permuted = (0..place % 8).fold(*digit, |digit, _| PERMUTED[usize::from(digit)]);
        state = TIMES[usize::from(state)][usize::from(permuted)];
    }
    state == 0
}

/// Indian Aadhaar: twelve digits with Verhoeff, not starting with 0 or 1 and no palindrome (UIDAI, "A UID numbering
/// scheme", 2010).
fn in_aadhaar(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 12 || digits[0] < 2 || digits.iter().eq(digits.iter().rev()) {
        return Verdict::Invalid;
    }
    Verdict::of(verhoeff(&digits))
}

/// Nigerian national identification number: eleven digits. That the last is Verhoeff's is what users report; the
/// commission prints no rule, so a wrong one proves nothing.
fn ng_nin(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 11 || digits.iter().all(|digit| *digit == digits[0]) {
        return Verdict::Invalid;
    }
    if verhoeff(&digits) { Verdict::Valid } else { Verdict::Unknown }
}

#[cfg(test)]
mod tests {
    use super::super::proof::{Case, prove};
    use super::*;

    #[test]
    fn the_scheme_gives_the_published_check_digits() {
        // Wikipedia "Verhoeff algorithm" computes 3 for 236.
        assert!(verhoeff(&[2, 3, 6, 3]));
    }

    #[test]
    fn published_numbers_pass_mistyped_ones_do_not_and_random_ones_as_often_as_stated() {
        prove(&[
            // Numbers that UIDAI publishes for tests of its authentication service.
            Case {
                name: "in_aadhaar",
                published: &["9999 4105 7058", "999971658847"],
                form: "dddd dddd dddd",
                errors: 1.0,
                swaps: 1.0,
            },
            Case { name: "ng_nin", published: &[], form: "ddddddddddd", errors: 0.0, swaps: 0.0 },
        ]);
    }

    #[test]
    fn a_palindrome_and_a_leading_one_are_no_aadhaar() {
        assert_eq!(in_aadhaar("222222222222"), Verdict::Invalid);
        assert_eq!(in_aadhaar("123412341234"), Verdict::Invalid);
    }
}
