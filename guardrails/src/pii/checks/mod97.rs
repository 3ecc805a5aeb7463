//! National numbers with a remainder of 89, 97 or 511: two or three check digits, or nearly.

use super::dates::{is_day, number};
use super::{Check, Digits, Verdict, compact};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "au_abn", random: 0.0101, run: au_abn },
    Check { name: "be_national_number", random: 0.0024, run: be_national_number },
    Check { name: "be_enterprise", random: 0.002, run: be_enterprise },
    Check { name: "fr_nir", random: 0.00515, run: fr_nir },
    Check { name: "fr_tax_id", random: 0.0004, run: fr_tax_id },
    Check { name: "uk_vat", random: 0.0206, run: uk_vat },
];

/// Australian business number: eleven digits; with 1 taken from the first, the sum weighted by 10, 1, 3, 5 … 19 is a
/// multiple of 89 (Australian Business Register, "Format of the ABN").
fn au_abn(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 11 || digits[0] == 0 {
        return Verdict::Invalid;
    }
    let sum = digits.weighted(&[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) - 10;
    Verdict::of(sum.is_multiple_of(89))
}

/// Belgian national register number: day of birth, three digits of order and 97 minus the remainder of those nine by
/// 97, with a 2 put before them for births from 2000 (arrêté royal of 3 April 1984). A BIS number has 20 or 40 added to
/// the month; unknown days and months are 0.
fn be_national_number(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 11 {
        return Verdict::Invalid;
    }
    let (year, month, day) = (number(&digits[..2]), number(&digits[2..4]), number(&digits[4..6]));
    let month = month % 20;
    let born = (day == 0 && month <= 12) || (month == 0 && day <= 31) || is_day(year, month, day);
    let (body, check) = (u64::from(number(&digits[..9])), u64::from(number(&digits[9..])));
    let fits = |body: u64| 97 - body % 97 == check;
    Verdict::of(
        number(&digits[2..4]) <= 52 && born && body != 0 && (fits(body) || fits(body + 2_000_000_000)),
    )
}

/// Belgian enterprise and VAT number: ten digits that start with 0 or 1, the last two 97 minus the remainder of the
/// first eight by 97 (arrêté royal of 24 June 2003 on the numbers of the Crossroads Bank for Enterprises).
fn be_enterprise(value: &str) -> Verdict {
    let digits = Digits::of(value);
    Verdict::of(
        digits.len() == 10
            && digits[0] <= 1
            && number(&digits[..8]) != 0
            && 97 - number(&digits[..8]) % 97 == number(&digits[8..]),
    )
}

/// French NIR: sex, year and month of birth, commune, order and 97 minus the remainder by 97; Corsica's 2A and 2B count
/// as 19 and 18 (décret 82-103; INSEE). Months 20 to 42 and from 50 stand for unknown ones.
fn fr_nir(value: &str) -> Verdict {
    let text = compact(value);
    if text.len() != 15 {
        return Verdict::Invalid;
    }
    let numeric = match &text[5..7] {
        "2A" => format!("{}19{}", &text[..5], &text[7..]),
        "2B" => format!("{}18{}", &text[..5], &text[7..]),
        _ => text,
    };
    if !numeric.bytes().all(|byte| byte.is_ascii_digit()) {
        return Verdict::Invalid;
    }
    let digits = Digits::of(&numeric);
    let month = number(&digits[3..5]);
    let body = digits[..13].iter().fold(0u64, |value, digit| value * 10 + u64::from(*digit));
    Verdict::of(
        matches!(digits[0], 1..=4 | 7 | 8)
            && matches!(month, 1..=12 | 20..=42 | 50..=99)
            && 97 - body % 97 == u64::from(number(&digits[13..])),
    )
}

/// French tax number of a person (numéro fiscal, SPI): thirteen digits that start with 0 to 3, the last three the
/// remainder of the first ten by 511 (European Commission, "TIN algorithms", France).
fn fr_tax_id(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 13 || digits[0] > 3 {
        return Verdict::Invalid;
    }
    let body = digits[..10].iter().fold(0u64, |value, digit| value * 10 + u64::from(*digit));
    Verdict::of(body != 0 && body % 511 == u64::from(number(&digits[10..])))
}

/// British VAT number: seven digits weighted by 8 to 2 and two check digits add up to a multiple of 97, or with 55 more
/// for numbers from 2010 (HMRC, "VAT registration numbers: modulus 97 and 9755").
fn uk_vat(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if !matches!(digits.len(), 9 | 12) || number(&digits[..7]) == 0 {
        return Verdict::Invalid;
    }
    let sum = digits.weighted(&[8, 7, 6, 5, 4, 3, 2]) + number(&digits[7..9]);
    Verdict::of(sum.is_multiple_of(97) || (sum + 55).is_multiple_of(97))
}

#[cfg(test)]
mod tests {
    use super::super::proof::{Case, prove};

    #[test]
    fn published_numbers_pass_mistyped_ones_do_not_and_random_ones_as_often_as_stated() {
        let case = |name, published, form| Case { name, published, form, errors: 1.0, swaps: 1.0 };
        prove(&[
            // The register works through the first.
            case("au_abn", &["51 824 753 556", "83 914 571 673"], "ddddddddddd"),
            // Wikipedia "National identification number", Belgium.
            case("be_national_number", &["85.07.30-033.28"], "dd.dd.dd-ddd.dd"),
            case("be_enterprise", &["0202.239.951"], "dddddddddd"),
            // fr.wikipedia on the NIR; the Corsican ones are python-stdnum's.
            case("fr_nir", &["2 55 08 14 168 025 38", "253072B07300470"], "ddddddddddddddd"),
            // The Commission's example of a French TIN.
            case("fr_tax_id", &["30 23 217 600 053"], "ddddddddddddd"),
            Case { name: "uk_vat", published: &["980 7806 84"], form: "ddddddddd", errors: 0.95, swaps: 0.8 },
        ]);
    }
}
