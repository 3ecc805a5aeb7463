//! Payment cards and bank accounts.

use super::{checksum, finding};
use crate::guard::{Finding, Recogniser};
use crate::score::Evidence;
use crate::text::{Scan, separator};

/// Payment card numbers of 12 to 19 digits: issuer range, Luhn and a plausible print.
pub(super) struct CreditCard;

const CARD_WORDS: &[&str] = &[
    "card",
    "cards",
    "credit",
    "debit",
    "visa",
    "mastercard",
    "maestro",
    "amex",
    "american express",
    "discover",
    "diners",
    "jcb",
    "unionpay",
    "pan",
    "ccn",
    "cc",
    "creditcard",
    "karte",
    "kreditkarte",
    "kartennummer",
    "carte",
    "bancaire",
    "bleue",
    "tarjeta",
    "crédito",
    "credito",
    "carta",
];
const NO_CARD_WORDS: &[&str] = &[
    "order",
    "tracking",
    "isbn",
    "ean",
    "gtin",
    "sku",
    "imei",
    "iccid",
    "timestamp",
    "parcel",
    "shipment",
    "invoice",
    "commit",
    "serial",
    "epoch",
    "bestellung",
    "sendungsnummer",
    "commande",
    "pedido",
];

impl Recogniser for CreditCard {
    fn entity(&self) -> &'static str {
        "CREDIT_CARD"
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        let (mut first, mut free) = (0, 0);
        while first < scan.digits.len() {
            let card = card_at(scan, first, free);
            if let Some((_, last)) = card {
                free = last + 1;
            }
            first = card.as_ref().map_or(first, |(_, last)| *last) + 1;
            out.extend(card.map(|(finding, _)| finding));
        }
    }
}

/// The likeliest card whose first group is digit run `first`, and the index of its last group. Runs before
/// `free` belong to other cards.
fn card_at(scan: &Scan<'_>, first: usize, free: usize) -> Option<(Finding, usize)> {
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
    let mut best: Option<(Finding, usize)> = None;
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
            best = found.map(|finding| (finding, last)).or(best);
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
    span: std::ops::Range<usize>,
    number: &[u8],
    sizes: &[usize],
    rest: bool,
) -> Option<Finding> {
    let grouped = sizes.len() > 1;
    if (grouped && !printed_as_card(sizes)) || !checksum::luhn(number) {
        return None;
    }
    let network = network(number);
    let context = scan.context(&span);
    // Store, fuel and gift cards have ranges in no table; then the text must say card.
    if network == Range::Unlisted && !context.close(CARD_WORDS) {
        return None;
    }
    // An identifier in dashes (a UUID's end, a part number) is no card by its digits alone.
    let in_token = scan.before(span.start) == Some('-') || scan.after(span.end) == Some('-');
    let score = Evidence::prior(-0.5)
        .checksum(0.1)
        .when(network == Range::Assigned, 0.5)
        .when(network == Range::Pool, -0.5)
        .when(network == Range::Unlisted, -0.9)
        .when(number.len() < 14, -0.3)
        .when(grouped, 0.3)
        .when(in_token || rest, -1.0)
        .when(context.near(CARD_WORDS), 1.0)
        .when(context.close(NO_CARD_WORDS), -1.0)
        .likely()?;
    Some(finding("CREDIT_CARD", if grouped { "card-grouped" } else { "card-compact" }, span, score))
}

/// How issuers print: fours with a shorter end, 4-6-5 and 4-6-4 (American Express, Diners), 6-13, 8-8.
fn printed_as_card(sizes: &[usize]) -> bool {
    let (last, front) = sizes.split_last().unwrap_or((&0, &[]));
    (front.len() > 1 && front.iter().all(|size| *size == 4) && *last <= 5)
        || matches!(sizes, [4, 6, 4 | 5] | [6, 10 | 13] | [8, 8] | [4, 4, 4, 7])
}

#[derive(Clone, Copy, PartialEq)]
enum Range {
    /// A network's own range at a length it issues.
    Assigned,
    /// Maestro's wide pool (50, 56–69), which also holds much that is no card.
    Pool,
    /// No network's that is listed here.
    Unlisted,
}

/// The issuer range of a number, by the networks' published tables (ISO/IEC 7812-1 issuer identification).
fn network(number: &[u8]) -> Range {
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
        _ if assigned => Range::Assigned,
        50 | 56..=69 => Range::Pool,
        _ => Range::Unlisted,
    }
}

/// International bank account numbers: country, length, check digits.
pub(super) struct Iban;

impl Recogniser for Iban {
    fn entity(&self) -> &'static str {
        "IBAN_CODE"
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        let mut free = 0;
        // The check digits are the anchor: two letters stand directly before them.
        for group in &scan.digits {
            if let Some(found) = (group.start >= free).then(|| iban_at(scan, group.start)).flatten() {
                free = found.span.end;
                out.push(found);
            }
        }
    }
}

fn iban_at(scan: &Scan<'_>, check_digits: usize) -> Option<Finding> {
    let start = check_digits.checked_sub(2)?;
    let (ahead, country) = scan.text.as_bytes().get(..check_digits)?.split_at(start);
    let length = iban_length([country[0].to_ascii_uppercase(), country[1].to_ascii_uppercase()])?;
    let named = ahead.last_chunk::<4>().is_some_and(|name| name.eq_ignore_ascii_case(b"IBAN"));
    if !(scan.starts_token(start) || named) {
        return None;
    }
    let mut iban = Vec::with_capacity(length);
    let mut end = start;
    let mut grouped = false;
    let mut chars = scan.text[start..].char_indices().peekable();
    while iban.len() < length {
        let (at, c) = chars.next()?;
        if c.is_ascii_alphanumeric() {
            iban.push(c.to_ascii_uppercase() as u8);
            end = start + at + 1;
        } else {
            // One separator, between two characters of the number.
            separator(c.encode_utf8(&mut [0; 4]))?;
            chars.peek().filter(|(_, next)| next.is_ascii_alphanumeric())?;
            grouped = true;
        }
    }
    if !iban[2..4].iter().all(u8::is_ascii_digit) || !scan.ends_token(end) || !checksum::iban_mod97(&iban) {
        return None;
    }
    let rule = if grouped { "iban-grouped" } else { "iban-compact" };
    let score = Evidence::prior(0.0).checksum(1.0 / 97.0).likely()?;
    Some(finding("IBAN_CODE", rule, start..end, score))
}

/// Length of an IBAN by country (upper case), from the SWIFT IBAN registry.
fn iban_length(country: [u8; 2]) -> Option<usize> {
    const LENGTHS: &[(usize, &[u8])] = &[
        (15, b"NO"),
        (16, b"BE"),
        (18, b"DKFIFKFOGLNLSD"),
        (19, b"MKSI"),
        (20, b"ATBAEEKZLTLUMNXK"),
        (21, b"CHHRLILV"),
        (22, b"BGBHCRDEGBGEIEMERSVA"),
        (23, b"AEGIILIQOMSOTL"),
        (24, b"ADCZESMDPKROSASESKTNVG"),
        (25, b"LYPTST"),
        (26, b"ISTR"),
        (27, b"BIDJFRGRITMCMRSM"),
        (28, b"ALAZBYCYDOGTHNHULBNIPLSV"),
        (29, b"BREGPSQAUA"),
        (30, b"JOKWMUYE"),
        (31, b"MTSC"),
        (32, b"LC"),
        (33, b"RU"),
    ];
    LENGTHS.iter().find(|(_, codes)| codes.chunks(2).any(|code| code == country)).map(|(length, _)| *length)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            assert_eq!(found(&CreditCard, &format!("Paid 2 × with {card}, thanks")), [card]);
        }
    }

    #[test]
    fn a_number_that_goes_on_is_no_card() {
        for text in ["0.4111111111111111", "4111111111111111-2", "x4111111111111111", "41111111111111115555"]
        {
            assert!(found(&CreditCard, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn an_epoch_in_milliseconds_is_no_card() {
        let hits = (1_700_000_000_000u64..1_700_000_000_100)
            .filter(|epoch| !found(&CreditCard, &epoch.to_string()).is_empty());
        assert_eq!(hits.count(), 0);
    }

    #[test]
    fn an_order_number_needs_more_than_luhn() {
        assert!(found(&CreditCard, "order 4111111111111111").is_empty());
        assert_eq!(found(&CreditCard, "order paid with card 4111111111111111").len(), 1);
    }

    #[test]
    fn an_iban_ends_where_its_country_says() {
        for iban in ["DE89370400440532013000", "de89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19"] {
            assert_eq!(found(&Iban, &format!("Send it to {iban} 2 days ago")), [iban]);
        }
        assert!(found(&Iban, "DE89370400440532013001 and XX89370400440532013000").is_empty());
        assert_eq!(found(&Iban, "IBANDE89370400440532013000"), ["DE89370400440532013000"]);
    }
}
