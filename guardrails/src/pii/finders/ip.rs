//! Network addresses: public ones, which lead to somebody, and all others.

use super::Candidate;
use crate::text::Scan;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// IPv4 and IPv6 addresses that are globally reachable, read by the standard library's parser.
pub(super) fn public(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    find(scan, true, out);
}

/// Loopback, private, documentation and other addresses that name nobody.
pub(super) fn other(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    find(scan, false, out);
}

fn find(scan: &Scan<'_>, reachable: bool, out: &mut Vec<Candidate>) {
    out.extend((0..scan.digits.len()).filter_map(|first| v4(scan, first, reachable)));
    out.extend(scan.colons.iter().filter_map(|run| v6(scan, run, reachable)));
}

fn v4(scan: &Scan<'_>, first: usize, reachable: bool) -> Option<Candidate> {
    let dotted = (first..first + 3).all(|i| scan.gap(i) == Some("."));
    if !dotted {
        return None;
    }
    let span = scan.digits[first].start..scan.digits[first + 3].end;
    // `1.2.3.4.5`, `x1.2.3.4`, `~=1.2.3.4`, `Chrome/1.2.3.4` are versions of something.
    let mut back = scan.text[..span.start].chars().rev();
    let (last, earlier) = (back.next(), back.next());
    let requirement = matches!((last, earlier), (Some('='), Some('=' | '<' | '>' | '~' | '!' | '^')))
        || matches!(last, Some('^' | '~' | '<' | '>' | '#' | '-' | '.'));
    let product = last == Some('/') && earlier.is_some_and(char::is_alphanumeric);
    if !scan.starts_token(span.start)
        || !scan.ends_token(span.end)
        || requirement
        || product
        || scan.goes_on(span.end, ".-")
    {
        return None;
    }
    let address: Ipv4Addr = scan.text[span.clone()].parse().ok()?;
    if reachable_v4(address) != reachable {
        return None;
    }
    // Four single digits are a section or a version unless the text says address.
    let short = address.octets().iter().all(|octet| *octet < 10);
    Some(Candidate { span, odds: 0.0, bare: short })
}

fn v6(scan: &Scan<'_>, run: &Range<usize>, reachable: bool) -> Option<Candidate> {
    let text = scan.text[run.clone()].trim_end_matches(['.', ':']);
    let text = if scan.text[run.start + text.len()..].starts_with("::") {
        &scan.text[run.start..run.start + text.len() + 2]
    } else {
        text
    };
    let span = run.start..run.start + text.len();
    if !scan.starts_token(span.start) || !scan.ends_token(span.end) {
        return None;
    }
    let address: Ipv6Addr = text.parse().ok()?;
    if !text.bytes().any(|byte| byte.is_ascii_digit()) && text.len() < 12 {
        // `a::b` is somebody's name in a program.
        return None;
    }
    (reachable_v6(address) == reachable).then(|| Candidate::new(span, 0.6))
}

/// Globally reachable by the IANA IPv4 special-purpose address registry (RFC 6890 and its updates).
fn reachable_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18))
}

/// Within global unicast (2000::/3) and no documentation prefix (RFC 3849, RFC 9637); an IPv4 address that is
/// mapped (RFC 4291) or translated (64:ff9b::/96, RFC 6052) counts as itself.
fn reachable_v6(address: Ipv6Addr) -> bool {
    let [first, second, rest @ .., high, low] = address.segments();
    if let Some(inner) = address.to_ipv4_mapped() {
        return reachable_v4(inner);
    }
    if (first, second) == (0x64, 0xff9b) && rest == [0; 4] {
        return reachable_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    }
    let documentation = (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    (first & 0xe000) == 0x2000 && !documentation
}

#[cfg(test)]
mod tests {

    fn found(text: &str) -> Vec<String> {
        crate::pii::found("IP_ADDRESS", text)
    }

    #[test]
    fn public_addresses_are_found_with_their_neighbours_left_alone() {
        assert_eq!(found("from 91.198.174.192:443, port 443"), ["91.198.174.192"]);
        assert_eq!(found("http://91.198.174.192/x and 91.198.174.0/24."), ["91.198.174.192", "91.198.174.0"]);
        assert_eq!(found("ssh root@91.198.174.192."), ["91.198.174.192"]);
        assert_eq!(found("[2a02:ec80:300:ed1a::1]:443"), ["2a02:ec80:300:ed1a::1"]);
        assert_eq!(found("64:ff9b::91.198.174.192").len(), 2);
        assert_eq!(found("prefix 2a02:ec80:300::."), ["2a02:ec80:300::"]);
    }

    #[test]
    fn addresses_of_nobody_are_left_alone() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.10",
            "203.0.113.7",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "2001:db8::7",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn versions_times_and_paths_are_no_addresses() {
        for text in [
            "v91.198.174.192",
            "version 91.198.17.4",
            "numpy==91.198.17.4",
            "Chrome/119.0.60.7",
            "1.2.3.4",
            "91.198.174.192.5",
            "91.198.174.999",
            "12:34:56",
            "std::vec",
            "a::b",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
        assert_eq!(found("my ip is 1.2.3.4"), ["1.2.3.4"]);
    }
}
