//! Where an address leads, as a browser reads it (WHATWG URL Standard, 4.4): what comes before an `@` is no host, a backslash is
//! a slash, blanks within a scheme are none.

use std::ops::Range;

/// Schemes with a host; a program that is given one of `file` or `smb` tells that host who asks.
const WITH_HOST: &[&str] = &["http", "https", "ws", "wss", "ftp", "file", "smb"];
/// Schemes that are programs or documents by themselves.
const ACTIVE: &[&str] = &["javascript", "vbscript", "data"];
const LONGEST_SCHEME: usize = 10;
const LONGEST_URL: usize = 8 * 1024;

/// What an address is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It leads to this host, in small letters.
    Host(String),
    /// It runs, or is a document.
    Active,
}

/// The address around the `:` at `colon`, or none.
pub(super) fn with_scheme(text: &str, colon: usize) -> Option<(Range<usize>, Kind)> {
    let bytes = text.as_bytes();
    let (mut start, mut scheme) = (colon, String::new());
    while start > 0 && scheme.len() <= LONGEST_SCHEME {
        let byte = bytes[start - 1];
        if byte.is_ascii_alphabetic() {
            scheme.insert(0, char::from(byte.to_ascii_lowercase()));
        } else if !(matches!(byte, b'\t' | b'\n' | b'\r')
            && !scheme.is_empty()
            && has_more(&bytes[..start - 1], &scheme))
        {
            break;
        }
        start -= 1;
    }
    let known = |schemes: &[&'static str]| {
        // What is glued to a scheme from the left is no part of it: `view-source:` is another, `xhttp` none.
        schemes.iter().copied().find(|known| scheme == *known)
    };
    if start > 0
        && (bytes[start - 1].is_ascii_alphanumeric() || matches!(bytes[start - 1], b'-' | b'+' | b'_'))
    {
        return None;
    }
    let rest = &text[colon + 1..];
    if known(WITH_HOST).is_some() {
        let slashes = rest.bytes().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
        let host = host(&rest[slashes..]);
        let span = start..extent(text, colon + 1 + slashes);
        return (slashes > 0 && !host.is_empty()).then_some((span, Kind::Host(host)));
    }
    let active = known(ACTIVE)?;
    let runs = match active {
        // `data:` is a word, too: its address has a comma after the kind.
        "data" => rest
            .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ')'))
            .next()
            .is_some_and(|word| {
                word.split_once(',').is_some_and(|(kind, _)| kind.contains('/') || kind.contains(';'))
            }),
        _ => rest.starts_with(|c: char| !c.is_whitespace()),
    };
    runs.then(|| (start..extent(text, colon + 1), Kind::Active))
}

/// Whether a scheme goes on before a blank within it.
fn has_more(before: &[u8], scheme: &str) -> bool {
    let letters = before.iter().rev().skip_while(|byte| matches!(byte, b'\t' | b'\n' | b'\r'));
    let letters: Vec<u8> =
        letters.take_while(|byte| byte.is_ascii_alphabetic()).take(LONGEST_SCHEME).copied().collect();
    let whole: String = letters
        .iter()
        .rev()
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .chain(scheme.chars())
        .collect();
    !letters.is_empty()
        && ["http", "https"].iter().chain(ACTIVE).any(|known| whole.ends_with(known) && scheme != *known)
}

/// The address that the two slashes at `at` begin, or none.
pub(super) fn without_scheme(text: &str, at: usize) -> Option<(Range<usize>, Kind)> {
    let rest = &text[at + 2..];
    let host = host(rest);
    let named = host.contains('.')
        && host.bytes().last().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte > 127);
    named.then(|| (at..extent(text, at + 2), Kind::Host(host)))
}

/// The host at the beginning of what follows the slashes.
fn host(rest: &str) -> String {
    let ends = |c: char| c.is_whitespace() || c.is_control() || "/\\?#\"'`<>)(|".contains(c);
    let end = rest.find(ends).unwrap_or(rest.len());
    let authority = &rest[..end];
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.trim_end_matches(|c: char| !c.is_alphanumeric());
    host.to_lowercase()
}

/// Where an address ends of which `from` is a part. What stands behind a sentence is none of it, nor a bracket it did not open.
fn extent(text: &str, from: usize) -> usize {
    let longest = crate::text::floor_boundary(text, (from + LONGEST_URL).min(text.len()));
    let (mut end, mut open) = (from, 0_u32);
    for (at, c) in text[from..longest].char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 0 => break,
            ')' => open -= 1,
            c if c.is_whitespace() || c.is_control() || "\"'`<>".contains(c) => break,
            _ => {}
        }
        end = from + at + c.len_utf8();
    }
    let kept = text[from..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_', '|', ']']);
    from + kept.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(&str, Kind)> {
        let colon = text.find(':').unwrap();
        with_scheme(text, colon).map(|(span, kind)| (&text[span], kind))
    }

    fn host_of(text: &str) -> Option<String> {
        match of(text)?.1 {
            Kind::Host(host) => Some(host),
            Kind::Active => None,
        }
    }

    #[test]
    fn the_host_is_what_a_browser_would_ask() {
        for (text, host) in [
            ("https://Evil.Example/a?b=c", "evil.example"),
            ("https://acme.com@evil.example/", "evil.example"),
            ("https://acme.com:secret@evil.example:8443/x", "evil.example"),
            (r"https:\\evil.example\acme.com", "evil.example"),
            ("http:/evil.example", "evil.example"),
            ("https:///evil.example", "evil.example"),
            ("https://evil.example.", "evil.example"),
            ("https://[2001:db8::1]:80/x", "2001:db8::1"),
            ("https://evil.example#@acme.com", "evil.example"),
            ("https://evil.example?@acme.com", "evil.example"),
            ("file://evil.example/share", "evil.example"),
            ("ht\ntps://evil.example/", "evil.example"),
        ] {
            assert_eq!(host_of(text).as_deref(), Some(host), "{text:?}");
        }
        for text in
            ["note: https", "xhttp://a.example", "http: //a.example", "https://", "time 12:30", "a::b"]
        {
            assert_eq!(of(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_ends_where_its_sentence_or_its_bracket_goes_on() {
        for (text, url) in [
            ("(https://a.example/x).", "https://a.example/x"),
            ("https://a.example/x_(y), and", "https://a.example/x_(y)"),
            ("<a href=\"https://a.example/?q=1&r=2\">", "https://a.example/?q=1&r=2"),
            ("**https://a.example**", "https://a.example"),
        ] {
            assert_eq!(of(text).map(|(found, _)| found), Some(url), "{text}");
        }
    }

    #[test]
    fn what_runs_is_told_from_words_that_look_alike() {
        for text in [
            "javascript:alert(1)",
            "JaVa\tScRiPt:alert(1)",
            "data:text/html;base64,PHA+",
            "data:text/html,<p>",
            "vbscript:x",
        ] {
            assert_eq!(of(text).map(|(_, kind)| kind), Some(Kind::Active), "{text:?}");
        }
        for text in [
            "the data: 3, 4 and 5",
            "JavaScript: the good parts",
            "data:3,4",
            "metadata:a/b,c",
            "personal-data:a/b,c",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
