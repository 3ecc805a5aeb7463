//! Exceptions that end, and rules that are only tried.

use super::rules_tests::{rules, secret};
use super::*;
use crate::{Channel, Class, Decision, Finding, Form, Guard, Masker, Reading, Vault};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const EXCEPT: &str = "
exceptions:
  - {id: migration, until: 2027-01-31, reason: 'the old desk moves', entity: EMAIL_ADDRESS, channel: tool, tenant: acme, route: chat, action: log}
  - {until: 2027-03-31, reason: 'asked for by the press office', entity: EMAIL_ADDRESS, tenant: acme, action: redact}
  - {until: 2027-01-31, reason: 'a bug in the shop', entity: SECRET, action: log}
";
/// Seconds of 2027-02-01 and 2027-04-01, from `date -u +%s`.
const FEBRUARY: u64 = 1_801_440_000;
const APRIL: u64 = 1_806_537_600;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn compiled(yaml: &str, now: SystemTime) -> Vec<Guards> {
    Guards::compile(&rules(yaml), &secret, now).unwrap()
}

/// What becomes of an address in a channel, and by which exception.
fn decided(guard: &Guard, channel: Channel) -> (Operator, Option<String>) {
    let decision = &read(guard, channel, json!("ada@example.org")).1[0];
    (decision.action, decision.exception.as_deref().map(str::to_owned))
}

fn read(guard: &Guard, channel: Channel, mut value: Value) -> (Value, Vec<Decision>, Vault) {
    let mut vault = Vault::new();
    vault.keep_decisions();
    let reading = Reading { skip: &|_, _| false, channel: &|_, _| None, standard: channel };
    vault.read_json(guard, &mut value, &reading).unwrap();
    let decisions = vault.decisions();
    (value, decisions, vault)
}

#[test]
fn an_exception_is_for_its_tenant_route_and_channel_and_the_first_that_fits_decides() {
    let all = compiled(EXCEPT, at(FEBRUARY - 1));
    assert_eq!(all[0].exceptions(), 3);
    let named = |name: &str| Some(name.to_owned());
    let (log, redact, tokenise) = (Operator::Log, Operator::Redact, Operator::Tokenise);
    for (tenant, route, channel, wanted) in [
        ("acme", "chat", Channel::Tool, (log, named("migration"))),
        ("acme", "chat", Channel::User, (redact, named("exceptions[1]"))),
        ("acme", "else", Channel::Tool, (redact, named("exceptions[1]"))),
        ("lab", "chat", Channel::Tool, (tokenise, None)),
        ("", "", Channel::User, (tokenise, None)),
    ] {
        assert_eq!(decided(all[0].of(tenant, route), channel), wanted, "{tenant} {route} {channel:?}");
    }
    let key = ["sk_live_", "51H8xq2eZvKYlo2C", "9Pq7Rs3Tu"].concat();
    let (sent, decisions, vault) = read(all[0].of("lab", "x"), Channel::User, json!(format!("key {key}")));
    assert_eq!((sent, decisions[0].action), (json!(format!("key {key}")), log));
    assert!(vault.is_empty() && decisions[0].exception.as_deref() == Some("exceptions[2]"));
}

#[test]
fn an_exception_ends_with_the_last_second_of_its_day_in_utc() {
    let all = compiled(EXCEPT, at(0));
    let ends: Vec<_> = all.iter().map(Guards::until).collect();
    assert_eq!(ends, [Some(at(FEBRUARY)), Some(at(APRIL)), None]);
    assert_eq!(all.iter().map(Guards::exceptions).collect::<Vec<_>>(), [3, 1, 0]);
    let of = |guards: &Guards| decided(guards.of("acme", "chat"), Channel::Tool).0;
    assert_eq!(all.iter().map(of).collect::<Vec<_>>(), [Operator::Log, Operator::Redact, Operator::Tokenise]);
    // Those that begin at the very second are the ones without it, and one that is over is none.
    for (now, wanted) in
        [(at(FEBRUARY - 1), Operator::Log), (at(FEBRUARY), Operator::Redact), (at(APRIL), Operator::Tokenise)]
    {
        assert_eq!(of(&compiled(EXCEPT, now)[0]), wanted);
    }
    assert_eq!(compiled(EXCEPT, at(APRIL)).len(), 1);
}

#[test]
fn guards_differ_where_an_exception_makes_them_and_are_shared_where_it_does_not() {
    let all = compiled(EXCEPT, at(0));
    let mark = |number: usize, tenant: &str| all[number].of(tenant, "chat").fingerprint();
    assert_ne!(mark(0, "acme"), mark(1, "acme"));
    assert_ne!(mark(1, "acme"), mark(2, "acme"));
    assert_ne!(mark(0, ""), mark(1, ""), "the one about secrets is for all");
    assert_eq!(mark(1, ""), mark(2, ""));
    assert!(Arc::ptr_eq(all[1].of("", ""), all[2].of("acme", "chat")));
    assert_ne!(all[1].fingerprint(), all[2].fingerprint());
    let longer = EXCEPT.replace("2027-03-31", "2027-05-31");
    assert_eq!(
        compiled(&longer, at(0))[0].fingerprint(),
        all[0].fingerprint(),
        "until when is no part of it"
    );
}

#[test]
fn an_exception_in_one_channel_does_not_let_a_value_out_that_stands_in_a_stricter_one() {
    let guards = compiled(&EXCEPT.replace("tenant: acme, route: chat, ", ""), at(0));
    let channel = |path: &[&str], _: &Value| (path == ["tool"]).then_some(Channel::Tool);
    let reading = Reading { skip: &|_, _| false, channel: &channel, standard: Channel::User };
    for (user, wanted) in [("hi", "ada@example.org"), ("I am ada@example.org", "[EMAIL_ADDRESS_1]")] {
        let mut value = json!({ "tool": "ada@example.org", "user": user });
        Vault::new().read_json(guards[0].of("", ""), &mut value, &reading).unwrap();
        assert_eq!(value["tool"], wanted);
    }
}

#[test]
fn what_is_wrong_with_an_exception_is_named() {
    let with = |what: &str, instead: &str| EXCEPT.replacen(what, instead, 1);
    for (yaml, words) in [
        (
            with("EMAIL_ADDRESS", "EMAIL_ADRESS"),
            "exceptions[0].entity: no entity is called `EMAIL_ADRESS`: did you mean `EMAIL_ADDRESS`?",
        ),
        (with("'the old desk moves'", "' '"), "exceptions[0].reason: expected why"),
        (
            with("action: log", "action: 'off'"),
            "exceptions[0].action: expected another action, such as `log`",
        ),
        (with("action: log", "action: hash"), "exceptions[0].action: `hash` needs `hash_key`"),
        (with("id: migration", "id: 'exceptions[2]'"), "exceptions[2].id: another exception has the same"),
        (with("id: migration", "id: ''"), "exceptions[0].id: expected a name"),
    ] {
        let told =
            Guards::compile(&rules(&yaml), &secret, at(0)).err().map_or_else(String::new, |e| e.to_string());
        assert!(told.starts_with(words), "{yaml} gave {told}");
    }
    for (yaml, words) in [
        (with("until: 2027-01-31, ", ""), "missing field `until`"),
        (with("reason: 'the old desk moves', ", ""), "missing field `reason`"),
        (with("2027-01-31", "2027-02-30"), "expected a day such as 2027-01-31"),
        (with("action: log", "action: log, util: x"), "unknown field `util`"),
    ] {
        let told = serde_saphyr::from_str::<Rules>(&yaml).err().map_or_else(String::new, |e| e.to_string());
        assert!(told.contains(words), "{yaml} gave {told}");
    }
}

#[test]
fn what_is_only_tried_changes_no_byte_and_says_what_it_would_do() {
    let yaml = "{pii: redact, secrets: block, shadow: true, entities: {CREDIT_CARD: {action: block}, DATE_TIME: {action: log}}}";
    let text =
        ["ada@example.org 4111 1111 1111 1111 on 2024-05-06, sk_live_", "51H8xq2eZvKYlo2C9Pq7Rs3Tu"].concat();
    let value = json!({ "text": text, "arguments": "{ \"to\": \"ada@example.org\", \"n\":4111111111111111 }", "ada@example.org": 1 });
    let (guards, tried) = (compiled(yaml, at(0)), rules(yaml).tried());
    let (sent, decisions, vault) = read(guards[0].of("", ""), Channel::User, value.clone());
    assert_eq!(sent, value);
    assert!(vault.is_empty() && vault.logged().is_empty() && vault.proof().is_none());
    assert!(guards[0].of("", "").inspect(&text).is_empty());
    let told: Vec<_> =
        vault.shadowed().iter().map(|((entity, action), times)| (*entity, *action, *times)).collect();
    let (block, log, tokenise) = (Operator::Block, Operator::Log, Operator::Tokenise);
    assert_eq!(
        told,
        [
            ("CREDIT_CARD", block, 2),
            ("DATE_TIME", log, 1),
            ("EMAIL_ADDRESS", tokenise, 3),
            ("SECRET", block, 1)
        ]
    );
    assert!(decisions.len() == 7 && decisions.iter().all(|decision| decision.shadow));
    assert_eq!(tried, ["shadow"]);
}

#[test]
fn one_entity_may_be_tried_beside_others_that_are_in_force() {
    let yaml = "{secrets: block, entities: {EMAIL_ADDRESS: {action: block, shadow: true}}, \
                tenants: {acme: {shadow: true}, lab: {entities: {US_SSN: {shadow: true}}}}, routes: {r: {shadow: false}}}";
    let guards = compiled(yaml, at(0));
    let text = json!("ada@example.org 4111 1111 1111 1111");
    let sent = |tenant, route| read(guards[0].of(tenant, route), Channel::User, text.clone());
    let (value, decisions, vault) = sent("", "");
    assert_eq!(value, "ada@example.org [CREDIT_CARD_1]");
    assert_eq!(vault.shadowed().iter().next(), Some((&("EMAIL_ADDRESS", Operator::Block), &1)));
    assert_eq!(decisions.iter().map(|decision| decision.shadow).collect::<Vec<_>>(), [true, false]);
    assert_eq!(sent("acme", "").0, text);
    assert_eq!(sent("acme", "r").0, "ada@example.org [CREDIT_CARD_1]", "a route has the last word");
    assert_eq!(
        rules(yaml).tried(),
        ["entities.EMAIL_ADDRESS.shadow", "tenants.acme.shadow", "tenants.lab.entities.US_SSN.shadow"]
    );
}

/// What a masker makes of an answer with an address, and what is told of the address.
fn answered(guard: &Guard) -> (String, Vec<Decision>) {
    let (answers, text) = (guard.answers().unwrap(), "Ask ada@example.org about it.");
    let mut masker = Masker::new(Arc::clone(answers), Form::Text);
    let masked = masker.push(text).and_then(|begun| Ok(begun + &masker.finish()?));
    let masked = masked.unwrap_or_else(|blocked| blocked.entity.to_owned());
    (masked, masker.decisions().iter().cloned().chain(answers.logged(text)).collect())
}

#[test]
fn what_is_only_tried_keeps_nothing_in_the_house_and_lets_answers_and_what_others_find_be() {
    let rest = "pii: route, media: {image: route}, output: {pii: block}";
    let [real, tried] = ["false", "true"].map(|shadow| {
        let yaml = format!("{{shadow: {shadow}, {rest}}}");
        compiled(&yaml, at(FEBRUARY)).remove(0)
    });
    assert!(real.routes() && !tried.routes());
    let tried = tried.of("", "");
    assert!(tried.is_tried() && !tried.confines(Channel::User, "ada@example.org"));
    let (sent, decisions, vault) = read(tried, Channel::User, json!("ada@example.org"));
    assert_eq!((sent, vault.routed().len()), (json!("ada@example.org"), 0));
    assert_eq!(vault.shadowed().get(&("EMAIL_ADDRESS", Operator::Route)), Some(&1));
    assert!(decisions[0].shadow && decisions[0].action == Operator::Route);
    let (text, decisions) = answered(tried);
    assert_eq!(text, "Ask ada@example.org about it.");
    assert_eq!(decisions.len(), 1);
    assert!(decisions[0].shadow && decisions[0].action == Operator::Block);
    assert_eq!(answered(real.of("", "")).0, "EMAIL_ADDRESS");

    let (mut vault, mut value) = (Vault::new(), json!("Zoe Quill was here"));
    vault.keep_decisions();
    let (entity, class) = (crate::pii::know("NICKNAME"), Class::Pii);
    let found = Finding { entity, rule: "others", class, span: 0..9, score: 0.9 };
    let found = HashMap::from([("Zoe Quill was here".to_owned(), vec![found])]);
    let reading = Reading { skip: &|_, _| false, channel: &|_, _| None, standard: Channel::User };
    vault.redact_found(tried, &mut value, found, &reading).unwrap();
    assert_eq!((value, vault.is_empty()), (json!("Zoe Quill was here"), true));
    assert_eq!(
        vault.shadowed().iter().map(|((entity, _), n)| (*entity, *n)).collect::<Vec<_>>(),
        [(entity, 1)]
    );
    assert!(vault.decisions().iter().all(|decision| decision.shadow));
}

#[test]
fn an_exception_is_for_answers_too_unless_it_is_for_another_channel() {
    let of = |exception: &str| {
        let yaml = format!(
            "{{output: {{pii: block}}, exceptions: [{{id: x, until: 2027-01-31, reason: r, entity: EMAIL_ADDRESS, {exception}}}]}}"
        );
        let all = compiled(&yaml, at(FEBRUARY - 1));
        let (text, decisions) = answered(all[0].of("", ""));
        assert_eq!(answered(all[1].of("", "")).0, "EMAIL_ADDRESS", "it ended: {exception}");
        let told: Vec<_> =
            decisions.iter().map(|d| (d.action, d.exception.as_deref().map(str::to_owned))).collect();
        (text, told)
    };
    let by = |action: Operator| vec![(action, Some("x".to_owned()))];
    let as_it_is = "Ask ada@example.org about it.".to_owned();
    assert_eq!(of("action: log"), (as_it_is.clone(), by(Operator::Log)));
    assert_eq!(of("action: log, channel: assistant"), (as_it_is.clone(), by(Operator::Log)));
    assert_eq!(of("action: route"), (as_it_is, by(Operator::Log)), "an answer goes nowhere else");
    let masked = "Ask [REDACTED_EMAIL_ADDRESS] about it.".to_owned();
    assert_eq!(of("action: tokenise"), (masked, by(Operator::Redact)));
    assert_eq!(of("action: log, channel: user"), ("EMAIL_ADDRESS".to_owned(), vec![(Operator::Block, None)]));
}
