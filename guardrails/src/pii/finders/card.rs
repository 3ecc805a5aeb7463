//! Payment card numbers of 12 to 19 digits: issuer range, Luhn and a plausible print.

use super::Candidate;
use crate::pii::checksum;
use crate::text::{Scan, separator};
use std::ops::Range;

pub(super) fn find(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    let (mut first, mut free) = (0, 0);
    while first < scan.digits.len() {
        let card = card_at(scan, first, free);
        if let Some((_, last)) = card {
            free = last + 1;
        }
        first = card.as_ref().map_or(first, |(_, last)| *last) + 1;
        out.extend(card.map(|(candidate, _)| candidate));
    }
}

/// The likeliest card whose first group is digit run `first`, and the index of its last group. Runs before
/// `free` belong to other cards.
fn card_at(scan: &Scan<'_>, first: usize, free: usize) -> Option<(Candidate, usize)> {
    let start = scan.digits[first].start;
    if scan.digits[first].len() < 4 {
        // No issuer prints a shorter first group.
        return None;
    }
    let prefixed = scan.before(start).is_some_and(|c| c == '+' || c == '$' || c == '€');
    if !scan.starts_token(start) || prefixed || scan.began_earlier(start, "-.,\u{2011}") {
        return None;
    }
    let mut number: Vec<u8> = Vec::new();
    let mut sizes = Vec::new();
    let mut joiner = None;
    let mut best: Option<(Candidate, usize)> = None;
    for (last, group) in scan.digits.iter().enumerate().skip(first) {
        number.extend_from_slice(&scan.text.as_bytes()[group.clone()]);
        sizes.push(group.len());
        if number.len() > 19 {
            break;
        }
        if number.len() >= 12 && scan.ends_token(group.end) && !scan.goes_on(group.end, "-.,\u{2011}") {
            // Fours before with the same separator: this may be the rest of a longer number.
            let before = (free..first).next_back().filter(|before| scan.digits[*before].len() == 4);
            let rest = joiner.is_some() && before.and_then(|before| separator(scan.gap(before)?)) == joiner;
            let found = judge(scan, start..group.end, &number, &sizes, rest);
            best = found.map(|candidate| (candidate, last)).or(best);
            if best.is_some() && number.len() == 16 {
                break;
            }
        }
        let gap = scan.gap(last).and_then(separator);
        if gap.is_none() || joiner.is_some_and(|joiner| Some(joiner) != gap) {
            break;
        }
        joiner = gap;
    }
    best
}

fn judge(
    scan: &Scan<'_>,
    span: Range<usize>,
    number: &[u8],
    sizes: &[usize],
    rest: bool,
) -> Option<Candidate> {
    let grouped = sizes.len() > 1;
    if (grouped && !printed_as_card(sizes)) || !checksum::luhn(number) {
        return None;
    }
    let range = match network(number) {
        Issuer::Assigned => 0.5,
        Issuer::Pool => -0.5,
        Issuer::Unlisted => -0.8,
    };
    // An identifier in dashes (a UUID's end, a part number) is no card by its digits alone.
    let in_token = scan.before(span.start) == Some('-') || scan.after(span.end) == Some('-');
    let doubts = [(number.len() < 14, -0.3), (grouped, 0.3), (in_token || rest, -1.0)];
    let doubts: f32 = doubts.iter().filter(|(seen, _)| *seen).map(|(_, weight)| weight).sum();
    // One number in ten passes the check.
    Some(Candidate::new(span, 1.0 + range + doubts))
}

/// How issuers print: fours with a shorter end, 4-6-5 and 4-6-4 (American Express, Diners), 6-13, 8-8.
fn printed_as_card(sizes: &[usize]) -> bool {
    let (last, front) = sizes.split_last().unwrap_or((&0, &[]));
    (front.len() > 1 && front.iter().all(|size| *size == 4) && *last <= 5)
        || matches!(sizes, [4, 6, 4 | 5] | [6, 10 | 13] | [8, 8] | [4, 4, 4, 7])
}

#[derive(Clone, Copy, PartialEq)]
enum Issuer {
    /// A network's own range at a length it issues.
    Assigned,
    /// Maestro's wide pool (50, 56–69), which also holds much that is no card.
    Pool,
    /// No network's that is listed here.
    Unlisted,
}

/// The issuer range of a number, by the networks' published tables (ISO/IEC 7812-1 issuer identification).
fn network(number: &[u8]) -> Issuer {
    let head = |n: usize| number[..n].iter().fold(0u32, |value, byte| value * 10 + u32::from(byte - b'0'));
    let (two, three, four, six) = (head(2), head(3), head(4), head(6));
    let assigned = match number.len() {
        // Mastercard, 2-series included; Mir; RuPay.
        16 if matches!(four, 5100..=5599 | 2221..=2720 | 2200..=2204) || matches!(two, 60 | 65 | 81 | 82) => {
            true
        }
        // American Express.
        15 if matches!(two, 34 | 37) => true,
        // JCB, the older ranges.
        15 if matches!(four, 1800 | 2131) => true,
        // Visa.
        13 | 16 | 18 | 19 if two / 10 == 4 => true,
        // Diners Club.
        14..=19 if matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39) => true,
        // JCB; Discover; UnionPay.
        16..=19
            if matches!(four, 3528..=3589 | 6011)
                || matches!(three, 644..=659)
                || matches!(six, 622_126..=622_925)
                || matches!(two, 62 | 81) =>
        {
            true
        }
        // Maestro's issuing ranges.
        12..=19
            if matches!(four, 5018 | 5020 | 5038 | 5893 | 6304 | 6390 | 6759 | 6761..=6763 | 604)
                || matches!(two, 56..=58) =>
        {
            true
        }
        _ => false,
    };
    match two {
        _ if assigned => Issuer::Assigned,
        50 | 56..=69 => Issuer::Pool,
        _ => Issuer::Unlisted,
    }
}

#[cfg(test)]
mod tests {
    use crate::pii::found;

    #[test]
    fn a_card_is_found_in_every_usual_print() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111.1111.1111.1111",
            "4111\u{a0}1111\u{a0}1111\u{a0}1111",
            "3782 822463 10005",
            "2223000048400011",
        ] {
            assert_eq!(found("CREDIT_CARD", &format!("Paid 2 × with {card}, thanks")), [card]);
        }
    }

    #[test]
    fn a_number_that_goes_on_is_no_card() {
        for text in ["0.4111111111111111", "4111111111111111-2", "x4111111111111111", "41111111111111115555"]
        {
            assert!(found("CREDIT_CARD", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn an_epoch_in_milliseconds_is_no_card() {
        let hits = (1_700_000_000_000u64..1_700_000_000_100)
            .filter(|epoch| !found("CREDIT_CARD", &epoch.to_string()).is_empty());
        assert_eq!(hits.count(), 0);
    }

    #[test]
    fn an_order_number_needs_more_than_luhn() {
        assert!(found("CREDIT_CARD", "order 4111111111111111").is_empty());
        assert_eq!(found("CREDIT_CARD", "order paid with card 4111111111111111").len(), 1);
    }
}
