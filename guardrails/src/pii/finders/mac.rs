//! Addresses of network cards (IEEE 802) in the three usual prints, one separator throughout.

use super::Candidate;
use crate::text::Scan;
use std::ops::Range;

/// Addresses with a digit somewhere, which all but a few in a million have.
pub(super) fn find(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    let mut free = 0;
    for &token in &scan.tokens {
        // The first digit may stand as far behind the start as the last pair.
        let starts = token.saturating_sub(15).max(free)..=token;
        if let Some(span) = starts.into_iter().find_map(|start| mac_at(scan, start)) {
            free = span.end;
            out.push(Candidate::new(span, 0.0));
        }
    }
}

fn mac_at(scan: &Scan<'_>, start: usize) -> Option<Range<usize>> {
    let bytes = scan.text.as_bytes();
    let pairs = |text: &&[u8]| {
        let separator = text[2];
        matches!(separator, b':' | b'-')
            && text.iter().enumerate().all(|(at, byte)| match at % 3 {
                2 => *byte == separator,
                _ => byte.is_ascii_hexdigit(),
            })
    };
    let fours = |text: &&[u8]| {
        text.iter()
            .enumerate()
            .all(|(at, byte)| if at % 5 == 4 { *byte == b'.' } else { byte.is_ascii_hexdigit() })
    };
    if !bytes.get(start).is_some_and(u8::is_ascii_hexdigit) {
        return None;
    }
    let length = |length: usize| bytes.get(start..start + length);
    let found = length(17).filter(pairs).or_else(|| length(14).filter(fours))?;
    // Of a longer run of pairs (an IPv6 address, a fingerprint) no part is an address; "mac:" is no such run.
    let before = bytes[..start].strip_suffix(&found[2..3]).filter(|_| found.len() == 17).unwrap_or(b"");
    let word = before.iter().rev().take(5).take_while(|byte| byte.is_ascii_alphanumeric());
    let (length, plain) = word.fold((0, true), |(n, plain), byte| (n + 1, plain && byte.is_ascii_hexdigit()));
    let end = start + found.len();
    let goes_on = bytes.get(end) == Some(&found[2]) && bytes.get(end + 1).is_some_and(u8::is_ascii_hexdigit);
    let of_longer = goes_on || (length > 0 && plain);
    (!of_longer).then_some(start..end)
}
