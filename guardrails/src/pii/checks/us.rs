//! Checks of numbers that the United States issue.

use super::{Check, Digits, Verdict, luhn};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "us_ssn", random: 1.0, run: us_ssn },
    Check { name: "us_ein", random: 1.0, run: us_ein },
    Check { name: "us_npi", random: 0.1, run: us_npi },
    Check { name: "us_dea", random: 0.1, run: us_dea },
    Check { name: "us_aba", random: 0.07, run: us_aba },
];

/// Whether the Social Security Administration can issue the number: no area 000, 666 or 900-999, no group 00, no serial
/// 0000. (Areas above 772 exist since the randomisation of 2011.) Some numbers are known from advertisements
/// and forms.
fn us_ssn(value: &str) -> Verdict {
    let number = Digits::of(value);
    let part = |range: std::ops::Range<usize>| {
        number[range].iter().fold(0u32, |sum, digit| sum * 10 + u32::from(*digit))
    };
    if number.len() != 9 {
        return Verdict::Invalid;
    }
    let (area, group, serial) = (part(0..3), part(3..5), part(5..9));
    let specimen = matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999) | (123, 45, 6789));
    let filler = number.iter().all(|digit| *digit == number[0]);
    match Verdict::of(!matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0) {
        Verdict::Valid if specimen || filler => Verdict::Doubtful,
        verdict => verdict,
    }
}

/// Employer identification number: prefixes that no campus of the IRS has used are none.
fn us_ein(value: &str) -> Verdict {
    let number = Digits::of(value);
    let prefix = number.iter().take(2).fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
    let never = [0, 7, 8, 9, 17, 18, 19, 28, 29, 49, 69, 70, 78, 79, 89, 96, 97];
    Verdict::of(number.len() == 9 && !never.contains(&prefix))
}

/// National Provider Identifier: Luhn over the number behind the prefix 80840 (45 CFR 162.406, ISO/IEC 7812-1).
fn us_npi(value: &str) -> Verdict {
    let number = Digits::of(value);
    let prefixed: Vec<u8> = [8, 0, 8, 4, 0].iter().chain(number.iter()).copied().collect();
    Verdict::of(number.len() == 10 && luhn(&prefixed))
}

/// DEA registration: digits one, three and five, and twice the others, end in the seventh.
fn us_dea(value: &str) -> Verdict {
    let number = Digits::of(value.get(2..).unwrap_or(""));
    Verdict::of(number.len() == 7 && number.weighted(&[1, 2, 1, 2, 1, 2]) % 10 == u32::from(number[6]))
}

/// Routing number of a bank: prefix of a Federal Reserve district, thrift or traveller's cheque; weights 3 7 1.
fn us_aba(value: &str) -> Verdict {
    let number = Digits::of(value);
    let prefix = number.iter().take(2).fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
    let district = matches!(prefix, 1..=12 | 21..=32 | 61..=72 | 80);
    Verdict::of(
        number.len() == 9 && district && number.weighted(&[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_npi_standard_passes_and_no_other_check_digit() {
        // "NPI: Requirements for check digit" (CMS, 2004) computes 1234567893.
        let valid = (0..10).filter(|digit| us_npi(&format!("123456789{digit}")) == Verdict::Valid);
        assert_eq!(valid.collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn numbers_never_issued_are_no_social_security_numbers() {
        for number in ["000-12-3456", "666-12-3456", "912-12-3456", "536-00-3456", "536-12-0000"] {
            assert_eq!(us_ssn(number), Verdict::Invalid, "{number}");
        }
        assert_eq!((us_ssn("853-12-3456"), us_ssn("078-05-1120")), (Verdict::Valid, Verdict::Doubtful));
    }

    #[test]
    fn published_dea_and_routing_numbers_pass_and_no_other_check_digit() {
        // The usual DEA example, and the Federal Reserve's own routing number at Boston.
        let dea = (0..10).filter(|digit| us_dea(&format!("AB123456{digit}")) == Verdict::Valid);
        assert_eq!(dea.collect::<Vec<_>>(), [3]);
        let aba = (0..10).filter(|digit| us_aba(&format!("01100001{digit}")) == Verdict::Valid);
        assert_eq!(aba.collect::<Vec<_>>(), [5]);
        assert_eq!(us_aba("421042111"), Verdict::Invalid);
    }
}
