//! What masking promises, on texts cut everywhere.

use super::*;
use crate::{Policy, Vault};
use std::sync::LazyLock;

static GUARD: LazyLock<Arc<Guard>> = LazyLock::new(|| Arc::new(Guard::new(&Policy::default())));

fn masker(form: Form) -> Masker {
    Masker::new(Arc::clone(&GUARD), Vault::new().known(), form)
}

fn whole(text: &str, form: Form) -> String {
    let mut masker = masker(form);
    masker.push(text) + &masker.finish()
}

fn pem(lines: usize) -> String {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    let kind = ["PRIVATE", "KEY"].join(" ");
    format!("-----BEGIN {kind}-----\n{}-----END {kind}-----", format!("{line}\n").repeat(lines))
}

fn token() -> String {
    ["AKIA", "Q3EGZ5ZL", "4XYJ2VWT"].concat()
}

/// Texts with what they hold that must not come out.
fn corpus() -> Vec<(String, Vec<String>)> {
    let held =
        |text: &str, values: &[&str]| (text.to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
    vec![
        held(
            "Write to ada@example.org, or bob@example.net. Thanks!",
            &["ada@example.org", "bob@example.net"],
        ),
        held("Paid with 4111 1111 1111 1111 in May.", &["4111 1111 1111 1111", "1111 1111"]),
        held("SSN: 536-22-8143 and ssn=624108837", &["536-22-8143", "624108837"]),
        held("IBAN DE89 3704 0044 0532 0130 00 belongs to her", &["3704 0044", "0130 00"]),
        held("Call (212) 555-0142 or +49 30 901820 today", &["555-0142", "901820"]),
        held("Grüße an jörg@müller.example – 4111111111111111 €", &["müller", "4111111111111111"]),
        (format!("Use {} as the key, then go on.", token()), vec![token()]),
        (format!("Here it is:\n{}\nKeep it safe.", pem(12)), vec!["MIIEvQIBADANBg".to_owned()]),
        (format!("Escaped: {} end", pem(12).replace('\n', "\\n")), vec!["MIIEvQIBADANBg".to_owned()]),
        (
            format!("Numbers: {}4111 1111 1111 1111 end", "12 345 67 ".repeat(60)),
            vec!["1111 1111".to_owned()],
        ),
        held("No values here: the weather is fine, 3 of 5 people say so. [EMAIL_ADDRESS_1] too.", &[]),
    ]
}

#[test]
fn a_stream_cut_anywhere_is_the_whole_and_nothing_leaks() {
    for (text, values) in corpus() {
        let expected = whole(&text, Form::Text);
        for value in &values {
            assert!(!expected.contains(value.as_str()), "a value is left in: {expected}");
        }
        if values.is_empty() {
            assert_eq!(expected, text);
        }
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let mut masker = masker(Form::Text);
            let out = masker.push(&text[..at]) + &masker.push(&text[at..]) + &masker.finish();
            assert_eq!(out, expected);
        }
        let mut masker = masker(Form::Text);
        let out: String = text.chars().map(|c| masker.push(c.encode_utf8(&mut [0; 4]))).collect();
        assert_eq!(out + &masker.finish(), expected);
    }
}

#[test]
fn what_the_guard_finds_in_the_whole_text_is_masked_too() {
    for (text, _) in corpus() {
        let masked = whole(&text, Form::Text);
        let kept: Vec<_> = GUARD.inspect(&text).into_iter().map(|finding| &text[finding.span]).collect();
        assert!(kept.iter().all(|value| !masked.contains(*value)), "{masked}");
        assert!(GUARD.inspect(&masked).is_empty(), "{masked}");
        assert_eq!(whole(&masked, Form::Text), masked, "a mark is not masked again");
    }
}

#[test]
fn marks_name_the_entity_and_the_rest_stays() {
    let text = "Write to ada@example.org, pay 4111 1111 1111 1111 there.";
    let mut masker = masker(Form::Text);
    let out = masker.push(text) + &masker.finish();
    assert_eq!(out, "Write to [REDACTED_EMAIL_ADDRESS], pay [REDACTED_CREDIT_CARD] there.");
    assert_eq!(masker.counts(), &BTreeMap::from([("CREDIT_CARD", 1), ("EMAIL_ADDRESS", 1)]));
}

#[test]
fn a_json_document_stays_one() {
    let text = r#"{"to":"ada@example.org","card":4111111111111111,"n":3,"a":["4111 1111 1111 1111"]}"#;
    let masked: serde_json::Value = serde_json::from_str(&whole(text, Form::Json)).unwrap();
    let expected = serde_json::json!({
        "to": "[REDACTED_EMAIL_ADDRESS]", "card": "[REDACTED_CREDIT_CARD]", "n": 3, "a": ["[REDACTED_CREDIT_CARD]"],
    });
    assert_eq!(masked, expected);
}

#[test]
fn what_the_request_held_is_no_news() {
    let mut vault = Vault::new();
    vault.redact(&GUARD, "I am ada@example.org").unwrap();
    let mut masker = Masker::new(Arc::clone(&GUARD), vault.known(), Form::Text);
    let out = masker.push("You are ADA@example.org, she is eve@example.org.") + &masker.finish();
    assert_eq!(out, "You are ADA@example.org, she is [REDACTED_EMAIL_ADDRESS].");
}

#[test]
fn a_key_without_an_end_is_thrown_away_and_talk_about_keys_is_not() {
    let endless = pem(600).replace("-----END", "-----NOT");
    let masked = whole(&endless, Form::Text);
    assert!(masked.len() < 64 && masked.contains("[REDACTED_SECRET]"), "{} bytes", masked.len());
    let after = whole(&format!("{} and so on", pem(600)), Form::Text);
    assert!(after.ends_with("and so on") && after.len() < 64, "{} bytes", after.len());
    let talk = "Such a file begins with -----BEGIN PRIVATE KEY----- and then come many lines in base64, and that is all.";
    assert_eq!(whole(talk, Form::Text), talk);
}

#[test]
fn in_prose_hardly_anything_waits() {
    let text = "The committee met in Geneva on a rainy morning, and Mrs Castle opened with the figures of 2023: sales had \
        grown by 12 per cent, to 3,500 units, while costs (mostly energy) stayed flat. \"We're well ahead,\" she said. \
        Nobody disagreed; the second half, however, would be harder. Version 2.1 of the plan, which Tom had written with \
        the team in Lyon, foresees 40 new people. ";
    let mut masker = masker(Form::Text);
    let mut waits: Vec<usize> = Vec::new();
    for c in text.repeat(8).chars() {
        masker.push(c.encode_utf8(&mut [0; 4]));
        waits.push(masker.held());
    }
    waits.sort_unstable();
    let (half, most) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    assert!(half <= 12, "half of the time at most {half} bytes");
    assert!(most <= 32, "99 of 100 times at most {most} bytes");
}

#[test]
fn long_texts_without_blanks_are_read_in_linear_steps() {
    let text = "a1b2".repeat(20_000) + "ada@example.org";
    let mut masker = masker(Form::Text);
    let mut most = 0;
    let mut out = String::new();
    for piece in text.as_bytes().chunks(100) {
        out += &masker.push(std::str::from_utf8(piece).unwrap());
        most = most.max(masker.held());
    }
    out += &masker.finish();
    assert!(most <= LONGEST_WORD + 200);
    assert!(out.len() >= 60_000);
}
