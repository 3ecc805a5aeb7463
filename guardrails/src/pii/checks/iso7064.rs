//! ISO/IEC 7064 MOD 11,10: one check digit that catches every wrong digit.

use super::{Check, Digits, Verdict};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "de_tax_id", random: 0.0034, run: de_tax_id },
    Check { name: "de_vat", random: 0.09, run: de_vat },
];

/// The hybrid system of ISO/IEC 7064:2003, clause 9; the last digit is the check digit.
fn mod11_10(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else { return false };
    let product = body.iter().fold(10, |product, digit| {
        let sum = match (u32::from(*digit) + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    (product + u32::from(*check)) % 10 == 1
}

/// German tax identification number: eleven digits with MOD 11,10, not starting with 0 (§ 139b AO). Of the first ten,
/// one digit stands there twice, or (since 2016) three times, and all others at most once; ten different ones are only
/// found in specimens, which are let pass.
fn de_tax_id(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 11 || digits[0] == 0 {
        return Verdict::Invalid;
    }
    let mut counts = [0; 10];
    digits[..10].iter().for_each(|digit| counts[usize::from(*digit)] += 1);
    let repeated = counts.iter().filter(|count| **count > 1).count();
    let runs = digits[..10].windows(3).any(|three| three[0] == three[1] && three[1] == three[2]);
    Verdict::of(repeated <= 1 && counts.iter().all(|count| *count <= 3) && !runs && mod11_10(&digits))
}

/// German VAT number: `DE` and nine digits with MOD 11,10, not starting with 0 (§ 27a UStG).
fn de_vat(value: &str) -> Verdict {
    let digits = Digits::of(value);
    Verdict::of(digits.len() == 9 && digits[0] != 0 && mod11_10(&digits))
}

#[cfg(test)]
mod tests {
    use super::super::proof::{Case, prove};
    use super::*;

    #[test]
    fn the_scheme_gives_the_standards_example() {
        // ISO/IEC 7064:2003, clause 9.1: 0794 with the check digit 5.
        assert!(mod11_10(&[0, 7, 9, 4, 5]));
        assert!(!mod11_10(&[0, 7, 9, 4, 0]));
    }

    #[test]
    fn published_numbers_pass_mistyped_ones_do_not_and_random_ones_as_often_as_stated() {
        prove(&[
            // Specimens of the Federal Central Tax Office, as on de.wikipedia, one digit twice and one three times.
            Case {
                name: "de_tax_id",
                published: &["86 095 742 719", "36 574 261 809", "47 036 892 816"],
                form: "ddddddddddd",
                errors: 1.0,
                swaps: 0.9,
            },
            Case { name: "de_vat", published: &["136695976"], form: "DEddddddddd", errors: 1.0, swaps: 0.8 },
        ]);
    }

    #[test]
    fn digits_repeated_too_often_are_no_tax_id() {
        for number in ["11111111111", "36554266806", "11112345678"] {
            assert_eq!(de_tax_id(number), Verdict::Invalid, "{number}");
        }
    }
}
