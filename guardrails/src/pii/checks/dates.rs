//! Days in numbers: which of them exist.

/// Whether `day` is a day of `month` in `year`. A year below 100 stands for one of either century.
pub(super) fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap =
        year.is_multiple_of(4) && (year < 100 || !year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// The number that some digits write in base ten.
pub(super) fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(*digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn february_has_29_days_in_leap_years_and_in_years_of_unknown_century() {
        assert!(is_day(2000, 2, 29) && is_day(2024, 2, 29) && is_day(0, 2, 29) && is_day(24, 2, 29));
        assert!(!is_day(1900, 2, 29) && !is_day(2023, 2, 29) && !is_day(23, 2, 29));
        assert!(!is_day(2023, 4, 31) && !is_day(2023, 0, 1) && !is_day(2023, 13, 1) && !is_day(2023, 1, 0));
    }

    #[test]
    fn digits_are_read_from_the_left() {
        assert_eq!(number(&[0, 4, 2]), 42);
    }
}
