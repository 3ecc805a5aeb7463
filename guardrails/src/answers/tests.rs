//! What answers hold that is dangerous, and what only looks so.

use super::*;
use crate::guard::Finding;
use crate::text::Scan;

fn found(text: &str) -> Vec<(&'static str, String)> {
    let domains = ["acme.com".to_owned()];
    let canaries = ["zx81-Heron-7Q".to_owned()];
    let mut out: Vec<Finding> = Vec::new();
    for recogniser in recognisers(&domains, &canaries).unwrap() {
        recogniser.find(&Scan::new(text, ""), &mut out);
    }
    out.into_iter().map(|finding| (finding.entity, text[finding.span].to_owned())).collect()
}

#[test]
fn what_is_loaded_by_itself_is_told_from_what_is_followed() {
    for (text, entity, value) in [
        ("![a](https://evil.example/?q=secret) end", IMAGE_LINK, "https://evil.example/?q=secret"),
        ("![a [b] c]( <https://evil.example/x y>)", IMAGE_LINK, "https://evil.example/x"),
        ("[![a](https://acme.com/a.png)](https://evil.example/b)", LINK, "https://evil.example/b"),
        ("[a](//evil.example/b)", LINK, "//evil.example/b"),
        ("[x]: https://evil.example/i.png", IMAGE_LINK, "https://evil.example/i.png"),
        ("<img alt='x' src=https://evil.example/i>", IMAGE_LINK, "https://evil.example/i"),
        ("<img src=\"//evil.example/i\">", IMAGE_LINK, "//evil.example/i"),
        ("<a class=b href='https://evil.example/i'>go</a>", LINK, "https://evil.example/i"),
        ("<p style=\"background:url(//evil.example/i)\">", IMAGE_LINK, "//evil.example/i"),
        ("see https://evil.example/i, or not", LINK, "https://evil.example/i"),
        ("<https://evil.example>", LINK, "https://evil.example"),
        ("[go](https://acme.com@evil.example)", LINK, "https://acme.com@evil.example"),
        ("[go](https://acme.com.evil.example)", LINK, "https://acme.com.evil.example"),
        ("[go](https://notacme.com)", LINK, "https://notacme.com"),
        ("[go](javascript:alert(document.cookie))", ACTIVE_URL, "javascript:alert(document.cookie)"),
        ("<a href=\"JavaScript:x()\">", ACTIVE_URL, "JavaScript:x()"),
        ("![x](data:image/svg+xml;base64,PHN2Zz4=)", ACTIVE_URL, "data:image/svg+xml;base64,PHN2Zz4="),
        ("code ZX81-heron-7q came", CANARY, "ZX81-heron-7q"),
    ] {
        assert_eq!(found(text), [(entity, value.to_owned())], "{text}");
    }
}

#[test]
fn allowed_hosts_comments_and_words_are_left_alone() {
    for text in [
        "![a](https://acme.com/a.png) [b](https://shop.ACME.com:8443/x?y#z) <https://acme.com>",
        "let x = 1; // example.com is not asked here",
        "JavaScript: a language. The data: 1, 2. Ratio 3:4, path a/b//c, C:\\Users\\x",
        "std::vec, 10:30, mailto:ada, key: value",
        "zx81-heron-7",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn terminal_sequences_are_found_whole() {
    for (text, value) in [
        ("a\u{1b}[31;1mred", "\u{1b}[31;1m"),
        ("a\u{1b}]8;;https://acme.com\u{1b}\\b", "\u{1b}]8;;https://acme.com\u{1b}\\"),
        ("a\u{1b}]52;c;aGk=\u{7}b", "\u{1b}]52;c;aGk=\u{7}"),
        ("a\u{9b}2Kb", "\u{9b}2K"),
        ("a\u{1b}cb", "\u{1b}c"),
        ("a\u{1b}(0b", "\u{1b}(0"),
        ("a\u{1b}", "\u{1b}"),
        ("a\u{1b}[12", "\u{1b}[12"),
    ] {
        assert_eq!(found(text), [(ANSI_ESCAPE, value.to_owned())], "{text:?}");
    }
    assert_eq!(found("Grüße © ä, \\u001b[31m and \\x1b[0m in code"), []);
}

#[test]
fn a_canary_is_a_word_of_some_length() {
    for wrong in ["short", "two words here", " padded-canary"] {
        let error = recognisers(&[], &[wrong.to_owned()]).err().unwrap();
        assert_eq!(error.field, "output.canaries[0]", "{wrong}");
    }
}
