//! What rules say, held against what becomes of texts.

use super::*;
use crate::{Form, Guard, Vault};
use proptest::prelude::*;

pub(super) fn rules(yaml: &str) -> Rules {
    serde_saphyr::from_str(yaml).unwrap()
}

pub(super) fn secret(source: &str) -> Result<Vec<u8>, String> {
    match source {
        "env:KEY" => Ok(b"sixteen bytes or more".to_vec()),
        "env:SHORT" => Ok(b"short".to_vec()),
        _ => Err("the environment variable is not set".to_owned()),
    }
}

fn guard(yaml: &str) -> Guard {
    Guard::compile(&rules(yaml), &secret).unwrap()
}

fn problem(yaml: &str) -> String {
    Guard::compile(&rules(yaml), &secret).err().map_or_else(String::new, |error| error.to_string())
}

/// What is sent, and what comes back if it is echoed.
fn sent(guard: &Guard, text: &str) -> (String, String) {
    let mut vault = Vault::new();
    let sent = vault.redact(guard, text).unwrap().unwrap_or_else(|| text.to_owned());
    let back = vault.rehydrate(&sent, Form::Text).into_owned();
    (sent, back)
}

#[test]
fn every_entity_has_an_operator_of_its_own() {
    let guard = guard(
        "{hash_key: 'env:KEY', entities: {EMAIL_ADDRESS: {action: redact}, CREDIT_CARD: {action: mask, keep_last: 4}, \
         US_SSN: {action: hash}, IP_ADDRESS: {action: off}, DATE_TIME: {action: log}}}",
    );
    let text = "ada@example.org, card 4111 1111 1111 1111, SSN 536-22-8143, host 93.184.216.34, \
                call +1 212 555 0142 on 2024-05-06";
    let (sent, back) = sent(&guard, text);
    let hash = sent.split("SSN ").nth(1).unwrap().split(',').next().unwrap();
    assert!(hash.starts_with("[US_SSN_HASH_") && hash.ends_with(']'), "{hash}");
    let wanted = |phone: &str| {
        format!(
            "[EMAIL_ADDRESS], card **** **** **** 1111, SSN {hash}, host 93.184.216.34, call {phone} on 2024-05-06"
        )
    };
    assert_eq!(sent, wanted("[PHONE_NUMBER_1]"));
    assert_eq!(back, wanted("+1 212 555 0142"), "what is no placeholder does not come back");
}

#[test]
fn what_is_logged_is_counted_and_stays() {
    let guard = guard("{entities: {DATE_TIME: {action: log}, EMAIL_ADDRESS: {action: log}}}");
    let mut vault = Vault::new();
    vault.keep_decisions();
    let text = "ada@example.org was here on 2024-05-06";
    assert_eq!(vault.redact(&guard, text).unwrap(), None);
    assert!(vault.is_empty() && guard.inspect(text).is_empty());
    let logged: Vec<_> = vault.logged().iter().map(|(entity, count)| (*entity, *count)).collect();
    assert_eq!(logged, [("DATE_TIME", 1), ("EMAIL_ADDRESS", 1)]);
    let decisions = vault.decisions();
    assert_eq!(decisions.len(), 2);
    assert!(decisions.iter().all(|decision| decision.action == Operator::Log));
}

#[test]
fn one_entity_blocks_where_its_class_is_replaced_and_outranks_what_it_overlaps() {
    let guard = guard("{entities: {EMAIL_ADDRESS: {action: block}, DOMAIN_NAME: {action: redact}}}");
    let blocked = Vault::new().redact(&guard, "to ada@example.org").unwrap_err();
    assert_eq!(blocked.entity, "EMAIL_ADDRESS");
    assert_eq!(sent(&guard, "card 4111 1111 1111 1111").0, "card [CREDIT_CARD_1]");
}

#[test]
fn an_entity_may_act_while_its_class_is_off() {
    let guard = guard("{pii: off, secrets: off, entities: {CREDIT_CARD: {action: redact}}}");
    assert_eq!(sent(&guard, "ada@example.org 4111 1111 1111 1111").0, "ada@example.org [CREDIT_CARD]");
}

#[test]
fn the_least_score_is_that_of_the_entity() {
    let text = "my number is 536-22-8143";
    let of_ssn =
        |found: Vec<crate::Finding>| found.into_iter().find(|f| f.entity == "US_SSN").map(|f| f.score);
    let score = of_ssn(Guard::new(&Policy::default()).inspect(text)).unwrap();
    let strict = guard("{entities: {US_SSN: {min: certain}}}");
    assert_eq!(of_ssn(strict.inspect(text)).is_none(), score < 0.9);
    let bare = "536228143";
    assert!(Guard::new(&Policy::default()).inspect(bare).is_empty());
    let lax = guard("{entities: {US_SSN: {min: possible}}}");
    let possible = lax.report(bare, crate::Band::Possible).iter().any(|f| f.entity == "US_SSN");
    assert_eq!(lax.inspect(bare).iter().any(|f| f.entity == "US_SSN"), possible);
    assert!(lax.inspect(bare).iter().all(|f| f.entity == "US_SSN"), "others still need to be likely");
}

#[test]
fn a_pack_is_turned_on_by_its_name_and_an_entity_of_any_pack_by_its_own() {
    let text = "Steuer-ID 86095742719";
    assert!(Guard::new(&Policy::default()).inspect(text).iter().all(|f| f.entity != "DE_TAX_ID"));
    for yaml in ["{packs: [core, de]}", "{packs: [all]}", "{entities: {DE_TAX_ID: {action: redact}}}"] {
        assert!(guard(yaml).inspect(text).iter().any(|f| f.entity == "DE_TAX_ID"), "{yaml}");
    }
}

#[test]
fn what_is_allowed_is_no_finding() {
    let guard = guard(
        r"{entities: {DOMAIN_NAME: {action: tokenise}, URL: {action: tokenise}},
           allow: {values: [help@example.net, '+1 (212) 555-0142'], patterns: ['.*@test\.example\.com'], domains: [acme.com],
                   test_cards: true, networks: [documentation, private]}}",
    );
    for text in [
        "write to help@example.net",
        "write to x1@test.example.com",
        "write to ada@acme.com or bob@mail.ACME.com, see https://docs.acme.com/a?b=1 at acme.com",
        "card 4242 4242 4242 4242",
        "hosts 192.0.2.7 and 10.0.0.1 and 2001:db8::7 and ::1",
    ] {
        assert_eq!(sent(&guard, text).0, text);
    }
    for (text, entity) in [
        ("write to help@example.netx.org", "EMAIL_ADDRESS"),
        ("write to ada@notacme.com", "EMAIL_ADDRESS"),
        ("write to ada@acme.com.evil.org", "EMAIL_ADDRESS"),
        ("see https://acme.com@evil.org/", "URL"),
        ("card 4000 0000 0000 0002", "CREDIT_CARD"),
        ("host 93.184.216.34", "IP_ADDRESS"),
    ] {
        assert!(guard.inspect(text).iter().any(|f| f.entity == entity), "{text} {:?}", guard.inspect(text));
    }
    let inside = "https://acme.com/?to=ada@example.org";
    assert!(!sent(&guard, inside).0.contains("ada@"), "another's address in an own URL is found");
}

pub(super) const BADGE_ROW: &str = r"{id: badge, entity: BADGE, pattern: 'EMP-\d{6}', start: keyword, keywords: [EMP-],
    prior: 1, examples: ['My badge is <<EMP-123456>>.'], others: ['TEMP-1234567']}";

const BADGE: &str = r"
entities: {EMPLOYEE_ID: {action: redact}}
custom:
  - {id: acme-badge, entity: EMPLOYEE_ID, pattern: 'EMP-\d{6}', start: keyword, keywords: [EMP-], prior: 1,
     examples: ['My badge is <<EMP-123456>>.'], others: ['TEMP-1234567']}
";

#[test]
fn an_entity_of_one_s_own_is_found_and_treated_like_any_other() {
    assert_eq!(sent(&guard(BADGE), "I am EMP-654321.").0, "I am [EMPLOYEE_ID].");
}

#[test]
fn what_is_wrong_is_named_with_its_field_and_what_was_meant() {
    for (yaml, words) in [
        ("{packs: [core, dee]}", "packs[1]: no pack is called `dee`: did you mean `de`?"),
        (
            "{entities: {CREDIT_CRD: {}}}",
            "entities.CREDIT_CRD: no entity is called `CREDIT_CRD`: did you mean `CREDIT_CARD`?",
        ),
        ("{entities: {US_SSN: {action: hash}}}", "entities.US_SSN.action: `hash` needs `hash_key`"),
        ("{hash_key: 'env:SHORT'}", "hash_key: expected a key of at least 16 bytes"),
        ("{hash_key: 'env:NONE'}", "hash_key: the environment variable is not set"),
        (
            "{entities: {US_SSN: {action: redact, keep_last: 4}}}",
            "entities.US_SSN.keep_last: only `action: mask`",
        ),
        ("{entities: {US_SSN: {action: mask, char: '7'}}}", "entities.US_SSN.char: expected a sign"),
        ("{allow: {patterns: [ok, '(']}}", "allow.patterns[1]: "),
        ("{allow: {patterns: ['a)|(b']}}", "allow.patterns[0]: "),
        ("{allow: {domains: [com]}}", "allow.domains[0]: expected a domain"),
        (
            &BADGE.replace("123456>>.", "123456>>7."),
            "custom[0] (`acme-badge`): examples[0]: expected every value",
        ),
        (&BADGE.replace("acme-badge", "email"), "custom[0] (`email`): id: another row has the same"),
    ] {
        let told = problem(yaml);
        assert!(told.starts_with(words), "{yaml} gave {told}");
    }
}

#[test]
fn the_fingerprint_changes_with_everything_that_replaces() {
    let of = |yaml: &str| guard(yaml).fingerprint().to_owned();
    let all = [
        of("{pii: redact}"),
        of("{pii: block}"),
        of("{packs: [core]}"),
        of("{entities: {US_SSN: {action: redact}}}"),
        of("{entities: {US_SSN: {action: mask}}}"),
        of("{hash_key: 'env:KEY', entities: {US_SSN: {action: hash}}}"),
        of("{allow: {test_cards: true}}"),
        of(BADGE),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(of("{injection: off}"), all[0]);
}

#[test]
fn a_mask_never_shows_more_than_it_hides_and_keeps_the_form() {
    let of = |keep: usize| {
        format!("{{entities: {{CREDIT_CARD: {{action: mask, keep_last: {keep}, char: '#'}}}}}}")
    };
    let text = "card 4111-1111-1111-1111";
    assert_eq!(sent(&guard(&of(4)), text).0, "card ####-####-####-1111");
    assert_eq!(sent(&guard(&of(9)), text).0, "card ####-####-####-####");
}

#[test]
fn values_found_once_are_replaced_everywhere_by_what_the_policy_says() {
    let guard = guard("{entities: {US_SSN: {action: redact}}}");
    let mut value = serde_json::json!({"ssn": "536228143", "note": "see 536228143 there"});
    let mut vault = Vault::new();
    vault.redact_json(&guard, &mut value, &|_, _| false).unwrap();
    assert_eq!(value, serde_json::json!({"ssn": "[US_SSN]", "note": "see [US_SSN] there"}));
    assert!(vault.proof().unwrap().check(value.to_string().as_bytes()).is_ok());
    assert!(vault.proof().unwrap().check(b"536-22-8143").is_err(), "what is marked is proved like the rest");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn redacting_again_changes_nothing_whatever_the_operator(
        which in 0usize..4, key in any::<u64>(), before in "[a-z .,:]{0,12}", after in "[a-z .,:]{0,12}"
    ) {
        let action = ["tokenise", "redact", "mask, keep_last: 4", "hash"][which];
        let each = ["EMAIL_ADDRESS", "CREDIT_CARD", "US_SSN", "PHONE_NUMBER", "SECRET"]
            .map(|entity| format!("{entity}: {{action: {action}}}")).join(", ");
        let rules = rules(&format!("{{hash_key: 'env:KEY', entities: {{{each}}}}}"));
        let guard = Guard::compile(&rules, &|_| Ok([key.to_le_bytes(); 4].concat())).unwrap();
        let text = format!(
            "{before} ada@example.org, 4111 1111 1111 1111, SSN 536-22-8143, tel. +1 212 555 0142, password = {}{} {after}",
            "q7Rz1mKw", "9Tb4Xv2L"
        );
        let once = sent(&guard, &text).0;
        for value in ["ada@", "4111 1111", "536-22", "212 555", "q7Rz1mKw"] {
            prop_assert!(!once.contains(value), "{}", once);
        }
        prop_assert_eq!(sent(&guard, &once).0, once);
    }
}
