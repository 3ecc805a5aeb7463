//! Who is guarded by what, where a policy tells tenants and routes apart.

use super::rules_tests::{rules, secret};
use super::*;
use crate::{Guard, MediaAction, SignedThinking};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

fn guards(yaml: &str) -> Guards {
    Guards::compile(&rules(yaml), &secret, UNIX_EPOCH).unwrap().remove(0)
}

fn problem(yaml: &str) -> String {
    Guards::compile(&rules(yaml), &secret, UNIX_EPOCH)
        .err()
        .map_or_else(String::new, |error| error.to_string())
}

/// What becomes of a text.
fn sent(guards: &Guards, tenant: &str, route: &str) -> String {
    let text = "ada@example.org 4111 1111 1111 1111";
    let sent = crate::Vault::new().redact(guards.of(tenant, route), text);
    sent.map_or_else(
        |blocked| format!("blocked {}", blocked.entity),
        |sent| sent.unwrap_or_else(|| text.to_owned()),
    )
}

const BOTH: &str = "
entities: {CREDIT_CARD: {action: mask, keep_last: 4}}
tenants:
  acme: {pii: log, entities: {CREDIT_CARD: {action: redact}}}
  lab: {allow: {domains: [example.org]}}
routes:
  inhouse: {pii: log, entities: {CREDIT_CARD: {action: log}}}
  strict: {pii: block}
  own: {entities: {EMAIL_ADDRESS: {action: redact}}}
";

#[test]
fn a_tenant_decides_before_all_and_a_route_before_a_tenant_field_by_field() {
    let guards = guards(BOTH);
    let (email, card) = ("ada@example.org", "4111 1111 1111 1111");
    for (tenant, route, wanted) in [
        ("", "", "[EMAIL_ADDRESS_1] **** **** **** 1111"),
        ("else", "chat", "[EMAIL_ADDRESS_1] **** **** **** 1111"),
        ("acme", "chat", &format!("{email} [CREDIT_CARD]")),
        ("lab", "chat", &format!("{email} **** **** **** 1111")),
        ("else", "inhouse", &format!("{email} {card}")),
        ("acme", "inhouse", &format!("{email} {card}")),
        ("else", "strict", "blocked EMAIL_ADDRESS"),
        ("acme", "strict", "blocked EMAIL_ADDRESS"),
        ("lab", "strict", &format!("{email} **** **** **** 1111")),
        ("else", "own", "[EMAIL_ADDRESS] **** **** **** 1111"),
        ("acme", "own", "[EMAIL_ADDRESS] [CREDIT_CARD]"),
    ] {
        assert_eq!(sent(&guards, tenant, route), wanted, "{tenant} asks {route}");
    }
}

#[test]
fn a_tenant_or_route_says_what_is_done_about_injection_denied_words_and_answers() {
    use crate::{Action, Channel, InjectionAction};
    let guards = guards(
        "
channels: {tool: {injection: strict}}
deny: [{name: rivals, words: [hooli]}]
tenants:
  acme: {injection: block, deny: []}
  lab: {injection: off, channels: {tool: {injection: off}}, output: {secrets: redact}}
routes:
  agent: {injection: strict, deny: [{name: plans, words: [falcon], action: log}]}
",
    );
    for (tenant, route, user, tool) in [
        ("", "", InjectionAction::Report, InjectionAction::Strict),
        ("acme", "", InjectionAction::Block, InjectionAction::Strict),
        ("lab", "", InjectionAction::Off, InjectionAction::Off),
        ("", "agent", InjectionAction::Strict, InjectionAction::Strict),
        ("lab", "agent", InjectionAction::Strict, InjectionAction::Off),
    ] {
        let guard = guards.of(tenant, route);
        let done = [Channel::User, Channel::Tool].map(|channel| guard.injection_in(channel));
        assert_eq!(done, [user, tool], "{tenant} {route}");
        assert_eq!(guard.looks_for_injection(), (tenant, route) != ("lab", ""));
    }
    let denied = |tenant, route| {
        let mut vault = crate::Vault::new();
        vault.redact(guards.of(tenant, route), "hooli or falcon").err().map(|blocked| blocked.entity)
    };
    assert_eq!(denied("", ""), Some("RIVALS"));
    assert_eq!([denied("acme", ""), denied("", "agent")], [None, None]);
    let secrets = |tenant| guards.of(tenant, "").answers().unwrap().output().secrets;
    assert_eq!([secrets(""), secrets("lab")], [Action::Log, Action::Redact]);
}

#[test]
fn what_is_wrong_is_told_with_the_tenant_or_route() {
    for (yaml, words) in [
        ("{tenants: {acme: {packs: [core, dee]}}}", "tenants.acme.packs[1]: no pack is called `dee`"),
        (
            "{routes: {chat: {entities: {US_SSN: {keep_last: 4}}}}}",
            "routes.chat.entities.US_SSN.keep_last: only `action: mask` has it",
        ),
        (
            "{tenants: {acme: {output: {system_prompt: redact}}}}",
            "tenants.acme.output.system_prompt: there is nothing to put in its place",
        ),
        ("{routes: {chat: {deny: [{name: plans, patterns: ['(']}]}}}", "routes.chat.deny[0].patterns[0]: "),
        ("{tenants: {a: {}}, routes: {chat: {allow: {domains: [com]}}}}", "routes.chat.allow.domains[0]: "),
    ] {
        let told = problem(yaml);
        assert!(told.starts_with(words), "{yaml} gave {told}");
    }
}

#[test]
fn each_guard_has_a_fingerprint_and_what_is_said_of_others_is_no_part_of_it() {
    let (one, other) = (guards(BOTH), guards(&BOTH.replace("pii: block", "secrets: off")));
    let same = |tenant, route| one.of(tenant, route).fingerprint() == other.of(tenant, route).fingerprint();
    assert!(same("", "") && same("acme", "inhouse") && !same("", "strict") && !same("acme", "strict"));
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert_ne!(one.of("acme", "").fingerprint(), one.of("lab", "").fingerprint());
    let all = guards("{pii: redact}");
    assert_eq!(all.fingerprint(), all.of("any", "any").fingerprint(), "where there is one, it is that one's");
}

#[test]
fn guards_share_the_recognisers_that_they_have_in_common() {
    let guards = guards(&format!("{BOTH}\ncustom: [{}]", rules_tests::BADGE_ROW));
    let engine = |tenant, route| guards.of(tenant, route).engine().unwrap();
    assert!(Arc::ptr_eq(engine("", ""), engine("acme", "strict")));
}

#[test]
fn what_reads_answers_is_one_for_all_of_whom_the_policy_says_the_same_about_answers() {
    let yaml = "{output: {pii: redact}, media: {image: block}, signed_thinking: keep, tenants: {acme: {pii: block}, \
                lab: {shadow: true}, works: {entities: {US_SSN: {action: route}}}}}";
    let guards = guards(yaml);
    let [common, acme, lab, works] = ["", "acme", "lab", "works"].map(|tenant| guards.of(tenant, ""));
    let answers = |guard: &Arc<Guard>| Arc::clone(guard.answers().unwrap());
    assert!(Arc::ptr_eq(&answers(common), &answers(acme)) && Arc::ptr_eq(&answers(common), &answers(works)));
    assert!(answers(common).acts() && !answers(lab).acts());
    assert!(guards.routes() && works.routes() && !common.routes());
    for guard in [common, acme, lab, works] {
        assert_eq!(
            (guard.media().image, guard.signed_thinking()),
            (MediaAction::Block, SignedThinking::Keep)
        );
    }
    let of = |yaml: &str| Guard::compile(&rules(yaml), &secret).unwrap().fingerprint().to_owned();
    let all = ["{}", "{media: {image: block}}", "{signed_thinking: keep}", "{output: {pii: redact}}"].map(of);
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}
