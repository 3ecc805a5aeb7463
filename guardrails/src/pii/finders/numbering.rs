//! The world's telephone numbering as far as a pattern needs it: country codes and lengths.

use std::ops::RangeInclusive;

/// Lengths of a national significant number by country code, from ITU-T E.164 and the national numbering plans
/// filed with it; rounded outwards where a plan is irregular.
const PLANS: &[(&str, RangeInclusive<usize>)] = &[
    ("1", 10..=10),
    ("7", 10..=10),
    ("20", 8..=10),
    ("27", 9..=9),
    ("30", 10..=10),
    ("31", 9..=9),
    ("32", 8..=9),
    ("33", 9..=9),
    ("34", 9..=9),
    ("36", 8..=9),
    ("39", 6..=11),
    ("40", 9..=9),
    ("41", 9..=9),
    ("43", 6..=13),
    ("44", 9..=10),
    ("45", 8..=8),
    ("46", 7..=10),
    ("47", 8..=8),
    ("48", 9..=9),
    ("49", 6..=12),
    ("51", 8..=9),
    ("52", 10..=11),
    ("53", 6..=8),
    ("54", 10..=11),
    ("55", 10..=11),
    ("56", 9..=9),
    ("57", 8..=10),
    ("58", 10..=10),
    ("60", 8..=10),
    ("61", 9..=9),
    ("62", 7..=12),
    ("63", 8..=10),
    ("64", 8..=10),
    ("65", 8..=8),
    ("66", 8..=9),
    ("81", 9..=10),
    ("82", 8..=10),
    ("84", 9..=10),
    ("86", 9..=11),
    ("90", 10..=10),
    ("91", 10..=10),
    ("92", 9..=10),
    ("93", 9..=9),
    ("94", 9..=9),
    ("95", 7..=10),
    ("98", 10..=10),
    ("351", 9..=9),
    ("352", 6..=11),
    ("353", 7..=9),
    ("354", 7..=7),
    ("356", 8..=8),
    ("357", 8..=8),
    ("358", 6..=11),
    ("359", 7..=9),
    ("370", 8..=8),
    ("371", 8..=8),
    ("372", 7..=8),
    ("380", 9..=9),
    ("385", 8..=9),
    ("386", 8..=8),
    ("420", 9..=9),
    ("421", 9..=9),
    ("852", 8..=8),
    ("886", 8..=9),
    ("966", 8..=9),
    ("971", 8..=9),
    ("972", 8..=9),
];

/// Three-digit country codes that are assigned and not in [`PLANS`], by their first two digits.
const OTHERS: &[(&str, &str)] = &[
    ("21", "12368"),
    ("22", "0123456789"),
    ("23", "0123456789"),
    ("24", "0123456789"),
    ("25", "012345678"),
    ("26", "0123456789"),
    ("29", "01789"),
    ("35", "05"),
    ("37", "3456789"),
    ("38", "12379"),
    ("42", "3"),
    ("50", "0123456789"),
    ("59", "0123456789"),
    ("67", "02345679"),
    ("68", "012356789"),
    ("69", "012"),
    ("80", "08"),
    ("85", "0356"),
    ("87", "0"),
    ("88", "0123"),
    ("96", "01234578"),
    ("97", "034567"),
    ("99", "234568"),
];

/// Where a country code is not in the table, its numbers have some length that occurs.
const ANY_PLAN: RangeInclusive<usize> = 4..=12;

/// The length of the country code at the start of `digits` (which follow a `+` or a `00`), and the lengths its
/// national numbers have. `None` if no country has the code.
pub(super) fn country(digits: &str) -> Option<(usize, RangeInclusive<usize>)> {
    let known = |len: usize| {
        let code = digits.get(..len)?;
        PLANS.iter().find(|(known, _)| *known == code).map(|(_, plan)| (len, plan.clone()))
    };
    known(1).or_else(|| known(2)).or_else(|| known(3)).or_else(|| {
        let (head, last) = (digits.get(..2)?, digits.get(2..3)?);
        OTHERS.iter().find(|(known, lasts)| *known == head && lasts.contains(last)).map(|_| (3, ANY_PLAN))
    })
}

/// Whether `national` starts with an area code of the North American plan: `NXX`, N from 2 to 9, and no service
/// code (`N11`).
pub(super) fn area_code(national: &str) -> bool {
    national.len() > 2 && national.as_bytes()[0] >= b'2' && &national[1..3] != "11"
}

/// Whether ten digits are a number of the North American plan: area code and exchange are both `NXX`.
pub(super) fn north_american(national: &str) -> bool {
    national.len() == 10 && area_code(national) && area_code(&national[3..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_by_their_own_length() {
        assert_eq!(country("4930123456"), Some((2, 6..=12)));
        assert_eq!(country("12125550142"), Some((1, 10..=10)));
        assert_eq!(country("3531234567"), Some((3, 7..=9)));
        assert_eq!(country("5911234567"), Some((3, ANY_PLAN)));
        assert_eq!(country("2101234567"), None);
        assert_eq!(country("0301234567"), None);
    }

    #[test]
    fn service_codes_are_no_area_codes() {
        assert!(north_american("2125550142"));
        assert!(
            !north_american("1125550142") && !north_american("9115550142") && !north_american("2120550142")
        );
    }
}
