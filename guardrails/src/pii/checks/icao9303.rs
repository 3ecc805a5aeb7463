//! Weights 7, 3, 1 over digits and letters from 10 (ICAO Doc 9303, part 3, 4.9): identity cards and passports.

use super::{Check, Verdict, compact};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "icao9303", random: 0.1, run: icao9303 },
    Check { name: "pl_id_card", random: 0.1, run: pl_id_card },
    Check { name: "pl_passport", random: 0.1, run: pl_passport },
];

fn value_of(byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        _ => u32::from(byte - b'A') + 10,
    }
}

/// A document number of nine characters, alone (no check) or with its check digit as the tenth.
fn icao9303(value: &str) -> Verdict {
    let text = compact(value);
    match text.len() {
        10 => {
            let sum: u32 =
                text.bytes().take(9).zip([7, 3, 1].iter().cycle()).map(|(b, w)| value_of(b) * w).sum();
            Verdict::of(text.bytes().last() == u8::try_from(sum % 10).ok().map(|digit| b'0' + digit))
        }
        9 => Verdict::Unknown,
        _ => Verdict::Invalid,
    }
}

/// Polish identity card: three letters, a check digit and five digits. All weighted by 7, 3, 1, 9, 7, 3, 1, 7, 3 are a
/// multiple of ten (rozporządzenie of 29 January 2015 on identity cards; pl.wikipedia "Dowód osobisty").
fn pl_id_card(value: &str) -> Verdict {
    multiple_of_ten(value, [7, 3, 1, 9, 7, 3, 1, 7, 3])
}

/// Polish passport: two letters, a check digit and six digits, weighted by 7, 3, 9, 1, 7, 3, 1, 7, 3.
fn pl_passport(value: &str) -> Verdict {
    multiple_of_ten(value, [7, 3, 9, 1, 7, 3, 1, 7, 3])
}

fn multiple_of_ten(value: &str, weights: [u32; 9]) -> Verdict {
    let text = compact(value);
    let sum: u32 = text.bytes().zip(weights).map(|(byte, weight)| value_of(byte) * weight).sum();
    Verdict::of(text.len() == 9 && sum.is_multiple_of(10))
}

#[cfg(test)]
mod tests {
    use super::super::proof::{Case, prove};
    use super::*;

    #[test]
    fn published_numbers_pass_mistyped_ones_do_not_and_random_ones_as_often_as_stated() {
        // A letter is caught unless it stands ten or twenty letters away.
        let case = |name, published, form| Case { name, published, form, errors: 0.9, swaps: 0.8 };
        prove(&[
            // Specimens of Doc 9303 parts 3 and 4, and of the German identity card and passport.
            case("icao9303", &["D231458907", "L898902C36", "T220001293", "C01X00T478"], "lxxxxxxxxd"),
            case("pl_id_card", &["ABA300000", "ABS123456"], "lll dddddd"),
            case("pl_passport", &["ZS0000177"], "ll ddddddd"),
        ]);
    }

    #[test]
    fn a_number_without_its_check_digit_tells_nothing() {
        assert_eq!(icao9303("L01X00T47"), Verdict::Unknown);
        assert_eq!(icao9303("L01X00T472"), Verdict::Invalid);
    }
}
