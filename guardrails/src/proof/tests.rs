//! What a proof sees, and what it excuses, by example and by property.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const EMAIL: &str = "zoë.o'quill/\"x\"@example.org";
const CARD: &str = "4539 1488 0343 6467";
const PHONE: &str = "+1 (212) 555-0142";
const IBAN: &str = "GB29 NWBK 6016 1331 9268 19";

fn proof(originals: &[(&'static str, &str)]) -> Proof {
    let issued = ["[US_SSN_1234]", "[EMAIL_ADDRESS_1]", "[SECRET_2]"].map(str::to_owned).to_vec();
    Proof::new(originals.iter().map(|(entity, text)| (*entity, *text)), issued)
}

fn of(entity: &'static str, text: &str) -> Proof {
    proof(&[(entity, text)])
}

fn no_word(_: &Spot<'_>) -> bool {
    false
}

/// Whether the proof stops a body with this in a text of it.
fn stops(proof: &Proof, text: &str) -> bool {
    let body = json!({ "messages": [{ "content": format!("Before {text} after") }] }).to_string();
    proof.check_json(body.as_bytes(), &no_word).is_err()
}

/// Every character as `\u`, in small or capital digits.
fn escaped(text: &str, capitals: bool) -> String {
    text.encode_utf16()
        .map(|unit| if capitals { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") })
        .collect()
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn originals_in_a_text_give_way_to_their_placeholders() {
    let originals = [("EMAIL_ADDRESS", "ada@example.org"), ("US_SSN", "536-22-8143")];
    let issued = ["[EMAIL_ADDRESS_1]", "[US_SSN_1]"].map(str::to_owned).to_vec();
    let proof = Proof::new(originals.into_iter(), issued);
    let hidden = proof.hide("é: 536228143, ada@example.org and 536-22-8143.");
    assert_eq!(hidden.as_deref(), Some("é: [US_SSN_1], [EMAIL_ADDRESS_1] and [US_SSN_1]."));
    assert_eq!(proof.hide("nothing of it"), None);
}

#[test]
fn a_value_is_seen_in_whatever_way_it_is_written() {
    for value in [EMAIL, CARD, "🙂 smile@example.org", "C:\\keys\\zoe"] {
        let proof = of("EMAIL_ADDRESS", value);
        let quoted = Value::from(value).to_string();
        let once = &quoted[1..quoted.len() - 1];
        let mut spelled = vec![
            once.to_owned(),
            escaped(value, false),
            escaped(value, true),
            once.replace('/', "\\/"),
            percent(value),
            percent(value).to_lowercase(),
            percent(&percent(value)),
        ];
        for _ in 0..4 {
            let last = spelled.last().cloned().unwrap_or_default();
            let quoted = Value::from(last).to_string();
            spelled.push(quoted[1..quoted.len() - 1].to_owned());
            let inside = [&spelled[0], &spelled[1], &spelled[2]].map(|s| Value::from(s.as_str()).to_string());
            let inside = inside.map(|s| s[1..s.len() - 1].to_owned());
            spelled.splice(0..3, inside);
        }
        spelled.extend([once.to_owned(), escaped(value, false)]);
        for spelling in spelled {
            let body = format!("{{\"a\":[\"x {spelling} y\"]}}");
            assert!(serde_json::from_str::<Value>(&body).is_ok(), "{body}");
            assert_eq!(
                proof.check_json(body.as_bytes(), &no_word),
                Err(Leak { entity: "EMAIL_ADDRESS" }),
                "{value} in {body}"
            );
        }
    }
}

#[test]
fn a_path_and_a_header_are_read_too() {
    let proof = proof(&[("EMAIL_ADDRESS", "zoe@example.org"), ("PERSON", "Zoe Quill")]);
    for found in
        ["/v1/zoe@example.org", "/v1?to=zoe%40example.org", "/v1?to=zoe%2540example.org", "q=Zoe+Quill"]
    {
        assert!(proof.check(found.as_bytes()).is_err(), "{found}");
    }
    assert_eq!(proof.check(b"/v1/chat/completions?zoe=%40&q=50%"), Ok(()));
}

#[test]
fn numbers_and_ids_are_seen_with_other_separators_and_with_none() {
    let numbers = [
        (
            "CREDIT_CARD",
            CARD,
            ["4539-1488-0343-6467", "4539148803436467", "4539.1488/0343 6467", "x4539148803436467y"],
        ),
        (
            "CREDIT_CARD",
            "4539148803436467",
            [
                CARD,
                "4,539,148,803,436,467",
                "4539\u{a0}1488\u{2013}0343\u{200b}6467",
                "４５３９ 1488 0343 6467",
            ],
        ),
        ("PHONE_NUMBER", PHONE, ["12125550142", "1-212-555-0142", "1.212.555.0142", "1 (212)\n555 0142"]),
        (
            "IBAN_CODE",
            IBAN,
            [
                "GB29NWBK60161331926819",
                "gb29 nwbk 6016 1331 9268 19",
                "GB29-NWBK-6016-1331-9268-19",
                "iban:gb29nwbk60161331926819",
            ],
        ),
        ("UK_NINO", "QQ123456C", ["QQ 12 34 56 C", "qq-12-34-56-c", "no. QQ 123456 C.", "QQ123456C"]),
        ("PHONE_NUMBER", "555-0142", ["5550142", "17 5550142", "555 0142", "17 555.0142"]),
    ];
    for (entity, original, others) in numbers {
        let proof = of(entity, original);
        for other in others {
            // A line's end is no separator: here it is one of JSON's escapes.
            let other = other.replace('\n', " ");
            assert!(stops(&proof, &other), "{original} as {other}");
        }
        assert!(
            !stops(&proof, "GB28 NWBK 6016 1331 9268 18, 4539 1488 0343 6468 and 212 555 0143"),
            "{original}"
        );
    }
    let body = r#"{"n": 4539148803436467}"#;
    assert!(of("CREDIT_CARD", CARD).check_json(body.as_bytes(), &|_| true).is_err(), "a bare number");
}

#[test]
fn separators_of_what_is_no_number_mean_something() {
    for (entity, original, other) in [
        ("DATE_TIME", "2024-08-06", "order 20240806"),
        ("IP_ADDRESS", "192.168.10.25", "192168 10 25"),
        ("EMAIL_ADDRESS", "j1234567@example.org", "j 1234567"),
        ("SECRET", "abc1234567890", "abc 1234567890"),
    ] {
        assert!(!stops(&of(entity, original), other), "{original} in {other}");
        assert!(stops(&of(entity, original), original));
    }
}

#[test]
fn short_values_count_by_themselves_and_short_numbers_not_within_longer_ones() {
    for (original, found, other) in [
        (
            "1234",
            &["1234", "(1234)", "pin_1234", "pin:1234.", "12 1234", "é 1234"][..],
            &["12345", "91234", "A1234", "1234b", "é1234"][..],
        ),
        ("Anna", &["Anna", "Anna's", "_Anna_", "¡Anna!"], &["Annas", "JoAnna", "Annaß", "anna"]),
        ("90210", &["90210", "zip90210", "90210-1", "$90210"], &["1690210443", "902101", "٣90210"]),
        ("Smith", &["Smith", "Blacksmith Smith", "Smithsonian", "xSmithx"], &["smith", "Smit"]),
        ("536228143", &["536228143", "9953622814300", "x536228143"], &["536228144"]),
    ] {
        let proof = of("CUSTOM", original);
        found.iter().for_each(|text| assert!(stops(&proof, text), "{original} in {text}"));
        other.iter().for_each(|text| assert!(!stops(&proof, text), "{original} is not in {text}"));
    }
}

#[test]
fn a_longer_value_that_is_excused_hides_no_shorter_one() {
    let proof = proof(&[("CUSTOM", "1234-56"), ("PIN", "1234")]);
    assert!(stops(&proof, "1234-567"), "the first is part of a longer number, the second is not");
    assert!(!stops(&proof, "12345-67"));
}

#[test]
fn only_placeholders_that_were_issued_are_ours() {
    let proof = of("CUSTOM", "1234");
    assert!(!stops(&proof, "[US_SSN_1234]"));
    assert!(stops(&proof, "[US_SSN_1234] 1234"));
    assert!(stops(&proof, "[US_ITIN_1234]"), "of the user's own");
    assert!(stops(&proof, "US_SSN_1234]"));
    assert!(!stops(&of("CUSTOM", "EMAIL_ADDRESS"), "[EMAIL_ADDRESS_1]"));
    assert!(stops(&of("CUSTOM", "EMAIL_ADDRESS"), "EMAIL_ADDRESS_1"));
}

#[test]
fn words_of_the_protocol_are_excused_where_they_stand_as_such_and_nowhere_else() {
    let protocol = |spot: &Spot<'_>| match spot.kind {
        Kind::Key => spot.text == "content",
        Kind::Text => spot.key == "role" && spot.text == "assistant",
        Kind::Number => spot.depth == 1 && spot.key == "max_tokens",
    };
    let check = |original: &str, body: &str| {
        assert!(serde_json::from_str::<Value>(body).is_ok(), "{body}");
        of("CUSTOM", original).check_json(body.as_bytes(), &protocol).is_ok()
    };
    assert!(check("content", r#"{"content": "hello"}"#));
    assert!(check("tent", r#"{"content": "hello"}"#));
    assert!(!check("content", r#"{"content": "the content"}"#));
    assert!(!check("content", r#"{"content_": 1}"#));
    assert!(!check("content", r#"{"a": "\"content\": 1"}"#), "within a text it is no key");
    assert!(check("assistant", r#"{"content":"x","role":"assistant"}"#));
    assert!(!check("assistant", r#"{"role":"an assistant"}"#));
    assert!(!check("assistant", r#"{"name":"assistant"}"#));
    assert!(check("1024", r#"{"max_tokens":1024}"#));
    assert!(check("1024", r#"{"temperature":0.1024,"x":1024.5}"#), "another number");
    assert!(!check("1024", r#"{"x":{"max_tokens":1024}}"#));
    assert!(!check("1024", r#"{"seed":1024}"#));
    assert!(!check("453914880", r#"{"max_tokens":453914880}"#), "such a number is no coincidence");
}

#[test]
fn what_is_too_short_is_exempt_and_counted() {
    let proof = proof(&[("AGE", "41"), ("AGE", "é41"), ("PIN", "1234")]);
    assert_eq!(proof.exempt(), 2);
    assert!(!stops(&proof, "41 é41"));
    assert!(stops(&proof, "1234"));
    assert_eq!(format!("{proof:?}"), "Proof { originals: 1, exempt: 2, .. }");
}

#[test]
fn a_leak_names_the_entity_and_no_value() {
    let leak = of("CREDIT_CARD", CARD).check(CARD.as_bytes()).unwrap_err();
    let told = format!("{leak} {leak:?}");
    assert!(told.contains("CREDIT_CARD") && !told.contains("4539"), "{told}");
}

#[test]
fn many_values_are_seen_as_well_as_few() {
    let values: Vec<String> = (0..500).map(|n| format!("user{n:03}.quill@example.org")).collect();
    let proof = Proof::new(values.iter().map(|value| ("EMAIL_ADDRESS", value.as_str())), Vec::new());
    for value in values.iter().step_by(97) {
        assert!(stops(&proof, value));
    }
    assert!(!stops(&proof, "user500.quill@example.org"));
}

#[test]
fn broken_documents_and_escapes_neither_panic_nor_hide_what_is_before_them() {
    let proof = of("EMAIL_ADDRESS", "zoe@example.org");
    for tail in ["\\", "\\u", "\\u00", "\\ud83d", "\\ud83d\\u", "%", "%4", "%zz", "\"", "\u{e9}", "\\\""] {
        for head in ["{\"a\":\"", "", "\\u007a", "["] {
            let whole = |value: &str| format!("{head} {value} {tail}");
            assert_eq!(proof.check(whole("x").as_bytes()), Ok(()));
            assert_eq!(proof.check_json(whole("x").as_bytes(), &no_word), Ok(()));
            assert!(proof.check(whole("zoe@example.org").as_bytes()).is_err());
            assert!(proof.check_json(whole("zoe@example.org").as_bytes(), &no_word).is_err());
        }
    }
    assert_eq!(proof.check(b"\xff\xfe 12 \xff 34"), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_in_any_mixture_of_escapes_is_seen(
        before in "[ a-z\"\\\\/é🙂]{0,40}", after in "[ a-z\"\\\\/é🙂]{0,40}",
        ways in prop::collection::vec(0u8..4, 15), layers in 0usize..4,
    ) {
        let value = "zoe@example.org";
        let mut inner: String = value.chars().zip(&ways).map(|(c, way)| match way {
            0 => format!("\\u{:04x}", u32::from(c)),
            1 => format!("\\u{:04X}", u32::from(c)),
            _ => c.to_string(),
        }).collect();
        let quote = |text: &str| { let q = Value::from(text).to_string(); q[1..q.len() - 1].to_owned() };
        inner = format!("{}{inner}{}", quote(&before), quote(&after));
        for _ in 0..layers {
            inner = quote(&format!("{{\"a\":\"{inner}\"}}"));
        }
        let body = format!("{{\"x\":\"{inner}\"}}");
        prop_assert!(serde_json::from_str::<Value>(&body).is_ok());
        prop_assert!(of("EMAIL_ADDRESS", value).check_json(body.as_bytes(), &no_word).is_err());
    }

    #[test]
    fn a_number_grouped_in_any_way_is_seen(
        gaps in prop::collection::vec(prop_oneof![Just(""), Just(" "), Just("-"), Just(". "), Just("\u{a0}"), Just(") ")], 16),
        before in "[a-z ,;]{0,80}", after in "[a-z ,;]{0,80}",
    ) {
        let value: String = "4539148803436467".chars().zip(&gaps).map(|(c, gap)| format!("{c}{gap}")).collect();
        let number = of("CREDIT_CARD", CARD);
        let text = format!("{before}{value}{after}");
        prop_assert!(stops(&number, &text));
    }

    #[test]
    fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let proof = proof(&[("CREDIT_CARD", CARD), ("IBAN_CODE", IBAN), ("PIN", "1234"), ("EMAIL_ADDRESS", EMAIL)]);
        let (whole, json) = (proof.check(&bytes), proof.check_json(&bytes, &no_word));
        prop_assert!(whole.is_ok() && json.is_ok());
    }
}
