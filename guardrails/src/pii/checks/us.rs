//! Checks of numbers that the United States issue.

use super::{Check, Digits, Verdict, luhn};

pub(crate) const CHECKS: &[Check] = &[Check { name: "us_npi", random: 0.1, run: us_npi }];

/// National Provider Identifier: Luhn over the number behind the prefix 80840 (45 CFR 162.406, ISO/IEC 7812-1).
fn us_npi(value: &str) -> Verdict {
    let number = Digits::of(value);
    let prefixed: Vec<u8> = [8, 0, 8, 4, 0].iter().chain(number.iter()).copied().collect();
    Verdict::of(number.len() == 10 && luhn(&prefixed))
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
}
