//! What a vault promises, by example and by property.

use super::*;
use crate::trail::Step;
use crate::{Action, Policy};
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;

fn guard() -> &'static Guard {
    static GUARD: LazyLock<Guard> = LazyLock::new(|| Guard::new(&Policy::default()));
    &GUARD
}

fn redact(vault: &mut Vault, text: &str) -> String {
    vault.redact(guard(), text).unwrap().unwrap_or_else(|| text.to_owned())
}

/// A token of AWS's form, assembled so that none stands in the source.
fn aws_key() -> String {
    ["AKIA", "Q3EGZ5ZL", "4XYJ2VWT"].concat()
}

#[test]
fn values_are_numbered_by_first_appearance_and_a_value_keeps_its_number() {
    let mut vault = Vault::new();
    assert_eq!(redact(&mut vault, "b@example.org, a@example.org"), "[EMAIL_ADDRESS_1], [EMAIL_ADDRESS_2]");
    assert_eq!(redact(&mut vault, "a@example.org"), "[EMAIL_ADDRESS_2]");
    assert_eq!(
        redact(&mut vault, "4111 1111 1111 1111 = 4111111111111111"),
        "[CREDIT_CARD_1] = [CREDIT_CARD_1]"
    );
    assert_eq!(vault.counts(), BTreeMap::from([("CREDIT_CARD", 1), ("EMAIL_ADDRESS", 2)]));
    assert_eq!(
        vault.issued().collect::<Vec<_>>(),
        ["[EMAIL_ADDRESS_1]", "[EMAIL_ADDRESS_2]", "[CREDIT_CARD_1]"]
    );
}

#[test]
fn in_an_answer_only_what_the_question_held_is_hidden_however_it_is_printed() {
    let mut vault = Vault::new();
    assert_eq!(vault.hide_known(guard(), "Write to help@example.org"), "Write to help@example.org");
    let question = redact(&mut vault, "Is ada@example.org paying with 4111 1111 1111 1111?");
    assert_eq!(question, "Is [EMAIL_ADDRESS_1] paying with [CREDIT_CARD_1]?");
    let answer =
        "Yes, ADA@example.org does, by 4111111111111111 (or 4111 1111 1111 1111); ask help@example.org.";
    assert_eq!(
        vault.hide_known(guard(), answer),
        "Yes, [EMAIL_ADDRESS_1] does, by [CREDIT_CARD_1] (or [CREDIT_CARD_1]); ask help@example.org."
    );
    assert_eq!(vault.issued().count(), 2, "nothing is issued for an answer");
}

#[test]
fn a_value_that_needs_words_around_it_is_hidden_without_them_too() {
    let mut vault = Vault::new();
    assert_eq!(redact(&mut vault, "ssn=624108837"), "ssn=[US_SSN_1]");
    assert_eq!(vault.hide_known(guard(), "624108837 is taken"), "[US_SSN_1] is taken");
}

#[test]
fn a_placeholder_the_user_wrote_is_neither_issued_nor_restored() {
    let mut vault = Vault::new();
    let request = json!(["What is [EMAIL_ADDRESS_3]?", {"[EMAIL_ADDRESS_7]": "I am ada@example.org"}]);
    vault.reserve_json(&request);
    assert_eq!(redact(&mut vault, "I am ada@example.org"), "I am [EMAIL_ADDRESS_8]");
    let answer = "[EMAIL_ADDRESS_3] [EMAIL_ADDRESS_7] [EMAIL_ADDRESS_8]";
    assert_eq!(vault.rehydrate(answer, Form::Text), "[EMAIL_ADDRESS_3] [EMAIL_ADDRESS_7] ada@example.org");
}

#[test]
fn a_placeholder_without_a_number_is_restored_if_it_can_mean_one_value_only() {
    let mut vault = Vault::new();
    redact(&mut vault, "ada@example.org");
    assert_eq!(vault.rehydrate("to [Email Address]", Form::Text), "to ada@example.org");
    redact(&mut vault, "bob@example.org");
    assert_eq!(vault.rehydrate("to [EMAIL_ADDRESS]", Form::Text), "to [EMAIL_ADDRESS]");
    let mut vault = Vault::new();
    vault.reserve("Fill in [EMAIL_ADDRESS] and [email address 6]");
    assert_eq!(redact(&mut vault, "ada@example.org"), "[EMAIL_ADDRESS_7]");
    let answer = "[EMAIL_ADDRESS] [Email Address 6]";
    assert_eq!(vault.rehydrate(answer, Form::Text), answer);
}

#[test]
fn a_secret_is_replaced_for_good() {
    let mut vault = Vault::new();
    let sent = redact(&mut vault, &format!("key {} and ada@example.org", aws_key()));
    assert_eq!(sent, "key [SECRET_1] and [EMAIL_ADDRESS_1]");
    assert_eq!(vault.rehydrate(&sent, Form::Text), "key [SECRET_1] and ada@example.org");
    let mut stream = vault.rehydrator(Form::Text);
    assert_eq!(stream.push(&sent) + &stream.finish(), "key [SECRET_1] and ada@example.org");
}

#[test]
fn a_blocked_class_refuses_the_text_without_telling_the_value() {
    let guard = Guard::new(&Policy { secrets: Action::Block, ..Policy::default() });
    let mut vault = Vault::new();
    let error = vault.redact(&guard, &format!("ada@example.org {}", aws_key())).unwrap_err();
    assert_eq!((error.class, error.entity, error.rule), (Class::Secret, "SECRET", "aws-access-key-id"));
    assert_eq!(error.to_string(), "found SECRET (rule aws-access-key-id), which the policy blocks");
    assert!(vault.is_empty());
}

#[test]
fn originals_are_escaped_inside_json() {
    let mut vault = Vault::new();
    vault.entries.push(Entry {
        entity: "EMAIL_ADDRESS",
        restored: true,
        class: Class::Pii,
        placeholder: "[EMAIL_ADDRESS_1]".to_owned(),
        original: "\"a\\b\"@example.org".to_owned(),
        rule: "email",
        score: 1.0,
    });
    let arguments = r#"{"to":"[EMAIL_ADDRESS_1]"}"#;
    assert_eq!(vault.rehydrate(arguments, Form::Json), arguments, "text alone by default");
    let tools = |restore| {
        let mut restores = Restores::default();
        restores.set("EMAIL_ADDRESS", restore);
        restores
    };
    vault.restore_by(tools(Restore::Never));
    assert_eq!(vault.rehydrate(arguments, Form::Text), arguments);
    vault.restore_by(tools(Restore::Tools));
    let restored = vault.rehydrate(arguments, Form::Json);
    let parsed: Value = serde_json::from_str(&restored).unwrap();
    assert_eq!(parsed["to"], "\"a\\b\"@example.org");
}

#[test]
fn a_text_without_placeholders_is_not_copied() {
    let mut vault = Vault::new();
    redact(&mut vault, "ada@example.org");
    for text in ["plain", "[1]", "[EMAIL_ADDRESS_2]"] {
        assert!(matches!(vault.rehydrate(text, Form::Text), Cow::Borrowed(_)));
    }
}

#[test]
fn what_a_vault_shows_of_itself_are_counts() {
    let mut vault = Vault::new();
    redact(&mut vault, "ada@example.org");
    assert_eq!(format!("{vault:?}"), r#"Vault { counts: {"EMAIL_ADDRESS": 1}, .. }"#);
    assert!(!format!("{:?}", vault.rehydrator(Form::Text)).contains("ada"));
}

#[test]
fn text_beyond_ascii_is_cut_at_characters() {
    let mut vault = Vault::new();
    let text = "Grüße an jörg@müller.example – 4111 1111 1111 1111 €";
    let sent = redact(&mut vault, text);
    assert_eq!(sent, "Grüße an [EMAIL_ADDRESS_1] – [CREDIT_CARD_1] €");
    assert_eq!(vault.rehydrate(&sent, Form::Text), text);
}

/// Pieces of text in which values, look-alikes and joints meet in any order.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("ada@example.org".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
        Just("DE89370400440532013000".to_owned()),
        Just("536-22-8143".to_owned()),
        Just("+49 30 901820".to_owned()),
        Just("(212) 555-0142".to_owned()),
        Just("91.198.174.192".to_owned()),
        Just("2a02:ec80:300::1".to_owned()),
        Just("call 030 901820".to_owned()),
        prop_oneof![
            Just(" "),
            Just("-"),
            Just("."),
            Just(", "),
            Just("@"),
            Just("["),
            Just("]"),
            Just("+"),
            Just("ü")
        ]
        .prop_map(str::to_owned),
        "[0-9]{1,12}",
        "[a-z]{1,8}",
        "[ -~]{0,12}",
        "\\PC{0,4}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redacting_twice_is_redacting_once(text in texts()) {
        let once = Vault::new().redact(guard(), &text).unwrap().unwrap_or(text);
        prop_assert!(guard().inspect(&once).is_empty());
        prop_assert_eq!(Vault::new().redact(guard(), &once).unwrap(), None);
    }

    #[test]
    fn what_was_redacted_is_restored(text in texts()) {
        // Within what may be an address nothing is.
        let address = text.contains(['<', '/', '?', '#', '\\']) || text.contains("](") || text.contains("]:");
        prop_assume!(!address);
        let mut vault = Vault::new();
        let Some(sent) = vault.redact(guard(), &text).unwrap() else { return Ok(()) };
        prop_assume!(!vault.counts().contains_key("SECRET"));
        // A value printed in two ways comes back as it stood first; compare without separators then.
        let plain = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_uppercase();
        prop_assert_eq!(plain(&vault.rehydrate(&sent, Form::Text)), plain(&text));
        let values = vault.index.len();
        let mut prints: Vec<&str> = vault.entries.iter().map(|entry| entry.original.as_str()).collect();
        prints.dedup();
        if values == prints.len() && placeholder::placeholders(&sent).count() == values {
            prop_assert_eq!(vault.rehydrate(&sent, Form::Text), text);
        }
    }

    #[test]
    fn no_byte_of_a_found_value_stays_at_its_place(
        text in "\\PC{1,80}",
        spans in prop::collection::vec((0usize..80, 1usize..30, any::<bool>()), 1..10),
    ) {
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let found: Vec<Finding> = spans.iter().map(|&(start, len, secret)| {
            let start = start.min(starts.len() - 2);
            let end = (start + len).min(starts.len() - 1);
            let (entity, class) = if secret { ("SECRET", Class::Secret) } else { ("IP_ADDRESS", Class::Pii) };
            Finding { entity, rule: "random", class, span: starts[start]..starts[end], score: 0.9 }
        }).collect();
        let resolved = crate::pipeline::resolve(found.clone(), guard().plan.verdicts(Channel::User, &text, None));
        let mut vault = Vault::new();
        let sent = vault.operate(guard(), &text, &resolved);
        // What is left of the text are exactly the characters outside all findings, in order, between placeholders.
        let mut rest = sent.as_str();
        let mut at = 0;
        while at < text.len() {
            if let Some(union) = resolved.iter().find(|finding| finding.span.start == at) {
                let token = vault.issued().find(|token| rest.starts_with(token));
                prop_assert!(token.is_some());
                rest = &rest[token.unwrap_or("").len()..];
                at = union.span.end;
            } else {
                prop_assert!(!found.iter().any(|finding| finding.span.contains(&at)));
                let c = text[at..].chars().next().unwrap();
                prop_assert!(rest.starts_with(c));
                rest = &rest[c.len_utf8()..];
                at += c.len_utf8();
            }
        }
        prop_assert!(rest.is_empty());
    }
}

#[test]
fn decisions_say_where_and_what_and_never_the_value() {
    let guard = Guard::new(&Policy::default());
    let mut vault = Vault::new();
    vault.keep_decisions();
    let mut value = serde_json::json!({
        "messages": [{"content": "hi"}, {"content": "é to ada@example.org and 4111 1111 1111 1111"}],
        "arguments": "{\"a\": 1, \"to\": \"ada@example.org\"}",
        "bob@example.org": 1,
    });
    vault.reserve_json(&value);
    vault.redact_json(&guard, &mut value, &|_, _| false).unwrap();
    let decisions = vault.decisions();
    let seen: Vec<_> =
        decisions.iter().map(|d| (d.entity, d.path.clone(), d.bytes.clone(), d.chars.clone())).collect();
    let key = |name: &str| Step::Key(name.to_owned());
    let content = [key("messages"), Step::Item(1), key("content")];
    let arguments = [key("arguments"), Step::Document, Step::Item(3)];
    assert_eq!(
        seen,
        [
            ("EMAIL_ADDRESS", vec![Step::Name(2)], 0..15, 0..15),
            ("EMAIL_ADDRESS", content.to_vec(), 6..21, 5..20),
            ("CREDIT_CARD", content.to_vec(), 26..45, 25..44),
            ("EMAIL_ADDRESS", arguments.to_vec(), 0..15, 0..15),
        ]
    );
    assert!(!format!("{decisions:?}").contains("ada"));
    assert!(vault.decisions().is_empty());
}

#[test]
fn what_is_refused_is_a_decision_too_and_nothing_is_kept_unasked() {
    let guard = Guard::new(&Policy { pii: Action::Block, ..Policy::default() });
    let mut vault = Vault::new();
    assert!(vault.redact(&guard, "ada@example.org").is_err());
    assert!(vault.decisions().is_empty());
    vault.keep_decisions();
    assert!(vault.redact(&guard, "ada@example.org").is_err());
    assert_eq!(vault.decisions()[0].action, Operator::Block);
}

#[test]
fn a_proof_holds_what_was_replaced() {
    let guard = Guard::new(&Policy::default());
    let mut vault = Vault::new();
    assert!(vault.proof().is_none());
    let sent = vault.redact(&guard, "I am ada@example.org").unwrap().unwrap();
    let proof = vault.proof().unwrap();
    assert!(proof.check(sent.as_bytes()).is_ok() && proof.check(b"x=ada%40example.org").is_err());
}

/// Redacts a request and gives it back with the vault.
fn request(mut value: Value) -> (Value, Vault) {
    let mut vault = Vault::new();
    vault.keep_decisions();
    vault.reserve_json(&value);
    vault.redact_json(guard(), &mut value, &|path, _| path == ["max_tokens"]).unwrap();
    (value, vault)
}

#[test]
fn a_value_found_in_one_place_is_replaced_wherever_it_stands() {
    let (value, vault) = request(json!({
        "first": "Is 624108837 taken? Or 624-10-8837, or x624108837y?",
        "key": { "624108837": { "name": "n" } },
        "number": 624108837,
        "arguments": "{\"id\": 624108837, \"624108837\": [\"a 624108837\"]}",
        "last": "ssn=624108837",
        "max_tokens": 624108837,
        "other": "1624108838 and 62410883",
    }));
    assert_eq!(
        value,
        json!({
            "first": "Is [US_SSN_1] taken? Or [US_SSN_1], or x[US_SSN_1]y?",
            "key": { "[US_SSN_1]": { "name": "n" } },
            "number": "[US_SSN_1]",
            "arguments": "{\"id\": \"[US_SSN_1]\", \"[US_SSN_1]\": [\"a [US_SSN_1]\"]}",
            "last": "ssn=[US_SSN_1]",
            "max_tokens": 624108837,
            "other": "1624108838 and 62410883",
        })
    );
    let mut sent = value;
    sent["max_tokens"] = json!(1);
    let proof = vault.proof().unwrap();
    assert_eq!(proof.check_json(sent.to_string().as_bytes(), &|_| false), Ok(()));
}

#[test]
fn a_known_value_that_is_short_must_stand_by_itself_and_a_word_as_key_is_left() {
    let mut vault = Vault::new();
    for (at, original) in ["1234", "90210", "content", "né4"].into_iter().enumerate() {
        let finding =
            Finding { entity: "US_SSN", rule: "r", class: Class::Pii, span: 0..original.len(), score: 0.9 };
        assert_eq!(vault.issue(guard(), &finding, original), format!("[US_SSN_{}]", at + 1));
    }
    let mut value = json!({
        "content": "My content: 1234, 12345, A1234, x90210, 902101, né4",
        "n": [1234, 12345, 1234.5, 90210.0, -90210],
    });
    vault.redact_json(guard(), &mut value, &|_, _| false).unwrap();
    assert_eq!(
        value,
        json!({
            "content": "My [US_SSN_3]: [US_SSN_1], 12345, A1234, x[US_SSN_2], 902101, né4",
            "n": ["[US_SSN_1]", 12345, 1234.5, "[US_SSN_2]", -90210],
        })
    );
}

#[test]
fn decisions_about_repeated_values_say_where_they_stood_at_first() {
    let text = "é ada@example.org 624108837 bob@example.org";
    let (value, mut vault) = request(json!({ "a": text, "b": "ssn 624108837" }));
    assert_eq!(value["a"], "é [EMAIL_ADDRESS_1] [US_SSN_1] [EMAIL_ADDRESS_2]");
    let decisions = vault.decisions();
    let repeated = decisions.iter().find(|d| d.entity == "US_SSN" && d.path == [Step::Key("a".to_owned())]);
    let repeated = repeated.unwrap();
    assert_eq!(&text[repeated.bytes.clone()], "624108837");
    assert_eq!((repeated.chars.start, decisions.len()), (repeated.bytes.start - 1, 4));
}
