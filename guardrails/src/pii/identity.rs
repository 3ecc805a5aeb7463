//! Numbers by which a state knows a person.

use super::finding;
use crate::guard::{Finding, Recogniser};
use crate::score::Evidence;
use crate::text::{Scan, is_dash, separator};
use std::ops::Range;

/// US social security numbers. They carry no check digit: form, number ranges and context decide.
pub(super) struct UsSsn;

const SSN_WORDS: &[&str] = &[
    "ssn",
    "ssns",
    "social security",
    "socialsecurity",
    "soc sec",
    "taxpayer",
    "itin",
    "w9",
    "ss number",
    "seguro social",
    "sozialversicherungsnummer",
];
const NO_SSN_WORDS: &[&str] = &[
    "order", "part", "sku", "serial", "model", "ticket", "case", "isbn", "invoice", "tracking", "zip",
    "version", "catalog", "item", "ref", "phone", "tel", "fax",
];

impl Recogniser for UsSsn {
    fn entity(&self) -> &'static str {
        "US_SSN"
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        for (first, group) in scan.digits.iter().enumerate() {
            out.extend(match group.len() {
                3 => separated(scan, first),
                9 => judge(scan, group.clone(), "ssn-compact", -0.7),
                _ => None,
            });
        }
    }
}

/// `AAA-GG-SSSS` with the same dash, space or dot twice.
fn separated(scan: &Scan<'_>, first: usize) -> Option<Finding> {
    let area = &scan.digits[first];
    let (group, serial) = (scan.digits.get(first + 1)?, scan.digits.get(first + 2)?);
    let joiner = separator(scan.gap(first)?)?;
    if group.len() != 2 || serial.len() != 4 || separator(scan.gap(first + 1)?) != Some(joiner) {
        return None;
    }
    let span = area.start..serial.end;
    if is_dash(joiner) { judge(scan, span, "ssn-dashed", 0.6) } else { judge(scan, span, "ssn-spaced", -0.3) }
}

fn judge(scan: &Scan<'_>, span: Range<usize>, rule: &'static str, prior: f32) -> Option<Finding> {
    let joined = "-./\u{2011}";
    if !scan.starts_token(span.start)
        || !scan.ends_token(span.end)
        || scan.before(span.start).is_some_and(|c| joined.contains(c) || c == '+' || c == '#')
        || scan.began_earlier(span.start, ",")
        || scan.goes_on(span.end, joined)
    {
        return None;
    }
    let digits: String = scan.text[span.clone()].chars().filter(char::is_ascii_digit).collect();
    if !issuable(&digits) {
        return None;
    }
    let context = scan.context(&span);
    let score = Evidence::prior(prior)
        .when(specimen(&digits), -1.0)
        .when(context.near(SSN_WORDS), 1.2)
        .when(context.close(NO_SSN_WORDS), -1.0)
        .likely()?;
    Some(finding("US_SSN", rule, span, score))
}

/// Whether the Social Security Administration can issue the number: no area 000, 666 or 900–999, no group 00,
/// no serial 0000. (Areas above 772 exist since the randomisation of 2011.)
fn issuable(digits: &str) -> bool {
    let (area, group, serial) = (&digits[..3], &digits[3..5], &digits[5..]);
    !matches!(area, "000" | "666") && !area.starts_with('9') && group != "00" && serial != "0000"
}

/// Numbers known from advertisements and forms; real only where a text says so.
fn specimen(digits: &str) -> bool {
    matches!(digits, "078051120" | "219099999" | "123456789" | "111111111" | "333333333" | "555555555")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        UsSsn.find(&Scan::new(text, ""), &mut out);
        out.into_iter().map(|finding| text[finding.span].to_owned()).collect()
    }

    #[test]
    fn a_dashed_number_stands_for_itself_and_others_need_context() {
        assert_eq!(found("It is 536-22-8143."), ["536-22-8143"]);
        assert!(found("It is 536 22 8143.").is_empty());
        assert_eq!(found("SSN 536 22 8143."), ["536 22 8143"]);
        assert!(found("It is 536228143.").is_empty());
        assert_eq!(found("social security: 536228143"), ["536228143"]);
    }

    #[test]
    fn numbers_never_issued_are_none() {
        for text in
            ["ssn 000-12-3456", "ssn 666-12-3456", "ssn 912-12-3456", "ssn 536-00-3456", "ssn 536-12-0000"]
        {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn part_of_a_longer_number_is_none() {
        for text in ["1-536-22-8143", "536-22-8143-77", "A536-22-8143", "part 536-22-8143"] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_specimen_counts_only_where_the_text_says_so() {
        assert!(found("Format: 123-45-6789").is_empty());
        assert_eq!(found("My SSN is 123-45-6789"), ["123-45-6789"]);
    }
}
