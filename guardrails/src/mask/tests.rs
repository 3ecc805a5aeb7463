//! What masking promises, on texts cut everywhere.

use super::*;
use crate::{Action, EntityRule, OutputRules, Rules, pii};
use std::sync::LazyLock;

fn answers(output: OutputRules, packs: &[&str]) -> Arc<Guard> {
    let packs = packs.iter().map(|&pack| pack.to_owned()).collect();
    let rules = Rules { output, packs, hash_key: Some("env:KEY".to_owned()), ..Rules::default() };
    let guard = Guard::compile(&rules, &|_| Ok(b"sixteen bytes or more".to_vec())).unwrap();
    Arc::clone(guard.answers().unwrap())
}

fn redacting() -> OutputRules {
    OutputRules { pii: Action::Redact, secrets: Action::Redact, ..OutputRules::default() }
}

static GUARD: LazyLock<Arc<Guard>> = LazyLock::new(|| answers(redacting(), &["core", "us"]));

fn masker(form: Form) -> Masker {
    Masker::new(Arc::clone(&GUARD), form)
}

/// All pieces, one after the other.
fn masked<'t>(mut masker: Masker, pieces: impl IntoIterator<Item = &'t str>) -> Result<String, Blocked> {
    let mut out = String::new();
    for piece in pieces {
        out += &masker.push(piece)?;
    }
    Ok(out + &masker.finish()?)
}

fn whole(text: &str, form: Form) -> String {
    masked(masker(form), [text]).unwrap()
}

/// A text's characters, as pieces of it.
fn letters(text: &str) -> impl Iterator<Item = &str> {
    text.split("").filter(|piece| !piece.is_empty())
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
            let out = masked(masker(Form::Text), [&text[..at], &text[at..]]).unwrap();
            assert_eq!(out, expected);
        }
        assert_eq!(masked(masker(Form::Text), letters(&text)).unwrap(), expected);
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
    let out = masker.push(text).unwrap() + &masker.finish().unwrap();
    assert_eq!(out, "Write to [REDACTED_EMAIL_ADDRESS], pay [REDACTED_CREDIT_CARD] there.");
}

#[test]
fn every_decision_says_where_in_the_text_it_was() {
    let text =
        format!("Grüße an ada@example.org, und 4111 1111 1111 1111 dort. {} ist {}!", pem(600), token());
    let values = ["ada@example.org", "4111 1111 1111 1111"].map(|value| text.find(value).unwrap());
    let mut masker = masker(Form::Text);
    letters(&text).for_each(|piece| drop(masker.push(piece).unwrap()));
    masker.finish().unwrap();
    let told: Vec<_> = masker.decisions().iter().map(|d| (d.entity, d.action, d.bytes.start)).collect();
    let (key, last) = (text.find("-----BEGIN").unwrap(), text.find(&token()).unwrap());
    assert_eq!(
        told,
        [
            ("EMAIL_ADDRESS", Operator::Redact, values[0]),
            ("CREDIT_CARD", Operator::Redact, values[1]),
            ("SECRET", Operator::Redact, key),
            ("SECRET", Operator::Redact, last),
        ]
    );
    let Decision { bytes, chars, .. } = &masker.decisions()[1];
    assert_eq!((bytes.len(), chars.len(), bytes.start - chars.start), (19, 19, 2));
    let end = &masker.decisions()[3].chars;
    assert_eq!(end.start, text[..last].chars().count());
}

#[test]
fn each_entity_has_its_own_action() {
    let rule = |action| EntityRule { action: Some(action), ..EntityRule::default() };
    let masking = EntityRule { keep_last: Some(4), ..rule(Operator::Mask) };
    let entities = [
        ("CREDIT_CARD", masking),
        ("EMAIL_ADDRESS", rule(Operator::Hash)),
        ("US_SSN", rule(Operator::Log)),
        ("IBAN_CODE", rule(Operator::Block)),
    ];
    let entities = entities.map(|(name, rule)| (name.to_owned(), rule)).into();
    let guard = answers(OutputRules { entities, ..redacting() }, &["core", "us"]);
    let text =
        "Card 4111 1111 1111 1111, mail ada@example.org, SSN 536-22-8143, call (212) 555-0142 today. IBAN";
    let out = masked(Masker::new(Arc::clone(&guard), Form::Text), letters(text)).unwrap();
    assert!(out.starts_with("Card **** **** **** 1111, mail [EMAIL_ADDRESS_HASH_"), "{out}");
    assert!(out.ends_with("], SSN 536-22-8143, call [REDACTED_PHONE_NUMBER] today. IBAN"), "{out}");
    assert_eq!(masked(Masker::new(Arc::clone(&guard), Form::Text), [out.as_str()]).unwrap(), out);
    let mut masker = Masker::new(guard, Form::Text);
    let mut seen = String::new();
    let blocked = letters("Pay DE89 3704 0044 0532 0130 00 now and then go.")
        .find_map(|piece| masker.push(piece).map(|out| seen += &out).err());
    assert_eq!(blocked.map(|blocked| blocked.entity), Some("IBAN_CODE"));
    assert!("Pay ".starts_with(&seen), "{seen}");
    assert!(masker.push("more").is_err() && masker.finish().is_err(), "it stays blocked");
}

#[test]
fn a_placeholder_can_not_be_asked_for() {
    let rule = EntityRule { action: Some(Operator::Tokenise), ..EntityRule::default() };
    let output = OutputRules { entities: [("US_SSN".to_owned(), rule)].into(), ..redacting() };
    let error = Guard::compile(&Rules { output, ..Rules::default() }, &|_| Ok(Vec::new())).unwrap_err();
    assert_eq!(error.field, "output.entities.US_SSN.action");
}

#[test]
fn what_the_recognisers_name_as_examples_is_masked() {
    let guard = answers(redacting(), &["all"]);
    let texts: Vec<String> = pii::built_in()
        .iter()
        .flat_map(|pack| &pack.rows)
        .flat_map(|row| row.examples.iter().map(|text| text.replace("<<", "").replace(">>", "")))
        .collect();
    let mut left = Vec::new();
    for text in &texts {
        let masked = masked(Masker::new(Arc::clone(&guard), Form::Text), letters(text)).unwrap();
        let found = guard.inspect(text);
        if found.iter().any(|finding| masked.contains(&text[finding.span.clone()])) {
            left.push((text, masked));
        }
    }
    assert!(left.is_empty(), "{left:#?} of {}", texts.len());
    assert!(!GUARD.is_wordy());
}

#[test]
fn values_of_letters_alone_are_masked_where_the_policy_knows_some() {
    let row = r"{ id: acme-plans, entity: CODE_NAME, pattern: '(?i)project (?:blue heron|quiet harbour)', start: anywhere,
        edges: word, prior: 2, examples: ['We call it <<Project Blue Heron>> here'], others: ['project blue'] }";
    let custom = vec![serde_saphyr::from_str(row).unwrap()];
    let rules = Rules { output: redacting(), custom, ..Rules::default() };
    let guard = Guard::compile(&rules, &|_| Ok(Vec::new())).unwrap();
    let guard = guard.answers().unwrap();
    assert!(guard.is_wordy());
    let text =
        format!("{} the project quiet harbour {}", "so we said ".repeat(40), "and went on ".repeat(40));
    let out = masked(Masker::new(Arc::clone(guard), Form::Text), letters(&text)).unwrap();
    assert_eq!(out, text.replace("project quiet harbour", "[REDACTED_CODE_NAME]"));
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
        masker.push(c.encode_utf8(&mut [0; 4])).unwrap();
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
        out += &masker.push(std::str::from_utf8(piece).unwrap()).unwrap();
        most = most.max(masker.held());
    }
    out += &masker.finish().unwrap();
    assert!(most <= LONGEST_WORD + 200);
    assert!(out.len() >= 60_000);
}
