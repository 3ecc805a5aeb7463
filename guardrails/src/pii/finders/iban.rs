//! International bank account numbers: country, structure, check digits (ISO 13616-1).

use super::Candidate;
use crate::pii::checksum;
use crate::text::{Scan, separator};
use std::ops::Range;

pub(super) fn find(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    let mut free = 0;
    // The check digits are the anchor: two letters stand directly before them.
    for group in &scan.digits {
        if let Some(found) = (group.start >= free).then(|| iban_at(scan, group.start)).flatten() {
            free = found.span.end;
            out.push(found);
        }
    }
}

fn iban_at(scan: &Scan<'_>, check_digits: usize) -> Option<Candidate> {
    let start = check_digits.checked_sub(2)?;
    let (ahead, country) = scan.text.as_bytes().get(..check_digits)?.split_at(start);
    if !country.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    let structure = structure([country[0].to_ascii_uppercase(), country[1].to_ascii_uppercase()])?;
    let length = 4 + runs(structure).map(|(count, _)| count).sum::<usize>();
    let named = ahead.last_chunk::<4>().is_some_and(|name| name.eq_ignore_ascii_case(b"IBAN"));
    if !(scan.starts_token(start) || named) {
        return None;
    }
    let mut iban = Vec::with_capacity(length);
    let mut end = start;
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
        }
    }
    let valid = iban[2..4].iter().all(u8::is_ascii_digit)
        && scan.ends_token(end)
        && has_structure(&iban[4..], structure)
        && checksum::iban_mod97(&iban);
    // One number in 97 passes the check.
    valid.then(|| Candidate::new(start..end, 97f32.log10()))
}

/// Whether the part of an IBAN behind its check digits is made as its country says.
fn has_structure(account: &[u8], structure: &str) -> bool {
    let mut rest = account;
    runs(structure).all(|(count, kind)| {
        let (run, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        run.iter().all(|byte| match kind {
            b'n' => byte.is_ascii_digit(),
            b'a' => byte.is_ascii_uppercase(),
            _ => true,
        })
    })
}

/// The runs of a structure such as `4a14n`: how many characters of which kind.
fn runs(structure: &str) -> impl Iterator<Item = (usize, u8)> {
    structure.split_inclusive(|c: char| c.is_ascii_lowercase()).map(|run| {
        let (count, kind) = run.split_at(run.len() - 1);
        (count.parse().unwrap_or(0), kind.as_bytes()[0])
    })
}

/// How a country's accounts are made, from the SWIFT IBAN registry: `n` digits, `a` letters, `c` either.
fn structure(country: [u8; 2]) -> Option<&'static str> {
    const STRUCTURES: &[(&str, &[u8])] = &[
        ("11n", b"NO"),
        ("12n", b"BE"),
        ("14n", b"DKFIFOGLSD"),
        ("2a12n", b"FK"),
        ("4a10n", b"NL"),
        ("3n10c2n", b"MK"),
        ("15n", b"SI"),
        ("16n", b"ATBAEELTMNXK"),
        ("3n13c", b"KZLU"),
        ("17n", b"HR"),
        ("5n12c", b"CHLI"),
        ("4a13c", b"LV"),
        ("18n", b"CRDEMERSVA"),
        ("4a14n", b"GBIE"),
        ("4a6n8c", b"BG"),
        ("4a14c", b"BH"),
        ("2a16n", b"GE"),
        ("19n", b"AEILSOTL"),
        ("4a15c", b"GI"),
        ("4a15n", b"IQ"),
        ("3n16c", b"OM"),
        ("20n", b"CZESSESKTN"),
        ("8n12c", b"AD"),
        ("20c", b"MD"),
        ("4a16c", b"PKRO"),
        ("2n18c", b"SA"),
        ("4a16n", b"VG"),
        ("21n", b"LYPTST"),
        ("22n", b"IS"),
        ("5n17c", b"TR"),
        ("23n", b"BIDJMR"),
        ("10n11c2n", b"FRMC"),
        ("7n16c", b"GR"),
        ("1a10n12c", b"ITSM"),
        ("24n", b"HUPL"),
        ("8n16c", b"ALCY"),
        ("4a20c", b"AZ"),
        ("4c4n16c", b"BY"),
        ("4c20n", b"DO"),
        ("24c", b"GT"),
        ("4a20n", b"HNNISV"),
        ("4n20c", b"LB"),
        ("23n1a1c", b"BR"),
        ("25n", b"EG"),
        ("4a21c", b"PSQA"),
        ("6n19c", b"UA"),
        ("4a4n18c", b"JOYE"),
        ("4a22c", b"KW"),
        ("4a19n3a", b"MU"),
        ("4a5n18c", b"MT"),
        ("4a20n3a", b"SC"),
        ("4a24c", b"LC"),
        ("14n15c", b"RU"),
    ];
    STRUCTURES.iter().find(|(_, codes)| codes.chunks(2).any(|code| code == country)).map(|(is, _)| *is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pii::found;

    #[test]
    fn an_iban_ends_where_its_country_says() {
        for iban in ["DE89370400440532013000", "de89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19"] {
            assert_eq!(found("IBAN_CODE", &format!("Send it to {iban} 2 days ago")), [iban]);
        }
        assert!(found("IBAN_CODE", "DE89370400440532013001 and XX89370400440532013000").is_empty());
        assert_eq!(found("IBAN_CODE", "IBANDE89370400440532013000"), ["DE89370400440532013000"]);
    }

    #[test]
    fn letters_stand_only_where_the_country_has_them() {
        assert!(
            has_structure(b"NWBK60161331926819", "4a14n") && !has_structure(b"1WBK60161331926819", "4a14n")
        );
        assert_eq!(runs("4a14n").collect::<Vec<_>>(), [(4, b'a'), (14, b'n')]);
        // The registry's longest and shortest.
        assert_eq!(structure(*b"RU").map(|is| runs(is).map(|run| run.0).sum()), Some(29));
        assert_eq!(structure(*b"NO").map(|is| runs(is).map(|run| run.0).sum()), Some(11));
    }
}
