//! Policies that tell channels apart: what comes before what, and what becomes of a value that stands in several.

use super::rules_tests::{rules, secret};
use super::*;
use crate::{Blocked, Channel, Decision, Guard, Reading, Vault};
use serde_json::{Value, json};

fn guard(yaml: &str) -> Guard {
    Guard::compile(&rules(yaml), &secret).unwrap()
}

/// Each member of the value is a channel's.
fn speaker(path: &[&str], _: &Value) -> Option<Channel> {
    let [name] = path else { return None };
    Channel::ALL.into_iter().find(|channel| channel.name() == *name)
}

fn read(guard: &Guard, mut value: Value) -> (Result<Value, Blocked>, Vec<Decision>, Vault) {
    let mut vault = Vault::new();
    vault.keep_decisions();
    vault.reserve_json(&value);
    let reading = Reading { skip: &|_, _| false, channel: &speaker, standard: Channel::Parameters };
    let done = vault.read_json(guard, &mut value, &reading).map(|_| value);
    let decisions = vault.decisions();
    (done, decisions, vault)
}

fn sent(yaml: &str, value: Value) -> Value {
    read(&guard(yaml), value).0.unwrap_or_else(|blocked| json!(format!("blocked {}", blocked.entity)))
}

/// The action for an e-mail address in a channel.
fn action(guard: &Guard, channel: Channel) -> Operator {
    let (_, decisions, _) = read(guard, json!({ channel.name(): "ada@example.org" }));
    decisions.first().map_or(Operator::Off, |decision| decision.action)
}

#[test]
fn entity_and_channel_come_before_entity_before_the_channel_s_class_before_the_class() {
    use Operator::{Block, Log, Mask, Off, Redact, Tokenise};
    let class = "pii: redact";
    let channel = "channels: {tool: {pii: block}, system: {pii: log}, user: {secrets: block}}";
    let entity = "EMAIL_ADDRESS: {action: mask}";
    let both = "EMAIL_ADDRESS: {action: mask, channels: {tool: redact, document: {action: 'off'}}}";
    let only = "EMAIL_ADDRESS: {channels: {tool: redact, document: {action: block}}}";
    let user = "EMAIL_ADDRESS: {channels: {user: log}}";
    let last = "EMAIL_ADDRESS: {channels: {user: log, parameters: redact}}";
    for (yaml, [system, person, tool, document, assistant, parameters]) in [
        (format!("{{{class}}}"), [Tokenise; 6]),
        (format!("{{{class}, {channel}}}"), [Log, Tokenise, Block, Tokenise, Tokenise, Tokenise]),
        (format!("{{{class}, {channel}, entities: {{{entity}}}}}"), [Mask; 6]),
        (format!("{{{class}, {channel}, entities: {{{both}}}}}"), [Mask, Mask, Redact, Off, Mask, Mask]),
        (
            format!("{{{class}, {channel}, entities: {{{only}}}}}"),
            [Log, Tokenise, Redact, Block, Tokenise, Tokenise],
        ),
        (format!("{{{class}, entities: {{{user}}}}}"), [Tokenise, Log, Tokenise, Tokenise, Tokenise, Log]),
        (format!("{{{class}, entities: {{{last}}}}}"), [Tokenise, Log, Tokenise, Tokenise, Tokenise, Redact]),
        ("{pii: off, channels: {tool: {pii: block}}}".to_owned(), [Off, Off, Block, Off, Off, Off]),
        ("{pii: off, channels: {user: {pii: block}}}".to_owned(), [Off, Block, Off, Off, Off, Block]),
    ] {
        let guard = guard(&yaml);
        let told = Channel::ALL.map(|channel| action(&guard, channel));
        assert_eq!(told, [system, person, tool, document, assistant, parameters], "{yaml}");
    }
}

#[test]
fn a_channel_may_have_another_least_score_and_another_mask() {
    let yaml = "{entities: {US_SSN: {action: mask, keep_last: 4, channels: {tool: {min: possible, keep_last: 0, char: '#'}, \
                user: log, document: {min: certain}}}}}";
    let table = guard(yaml);
    let masked = |channel: Channel, text: &str| {
        read(&table, json!({ channel.name(): text })).0.unwrap()[channel.name()].clone()
    };
    assert_eq!(masked(Channel::System, "ssn 536-22-8143"), "ssn ***-**-8143");
    assert_eq!(masked(Channel::Tool, "ssn 536-22-8143"), "ssn ###-##-####");
    assert_eq!(masked(Channel::User, "ssn 536-22-8143"), "ssn 536-22-8143");
    let found = |channel, score: f32| {
        let finding =
            crate::Finding { entity: "US_SSN", rule: "r", class: crate::Class::Pii, span: 0..1, score };
        table.plan.verdicts(channel, "x", None).is_enough(&finding)
    };
    let wanted = [
        (Channel::Tool, [true, true, true]),
        (Channel::System, [false, true, true]),
        (Channel::Document, [false, false, true]),
    ];
    for (channel, enough) in wanted {
        assert_eq!([0.3, 0.6, 0.9].map(|score| found(channel, score)), enough, "{channel:?}");
    }
}

const ONE: &str =
    "{entities: {US_SSN: {action: tokenise, channels: {system: log, tool: redact, document: block}}}}";

#[test]
fn what_only_stands_where_it_is_logged_stays() {
    let value = json!({ "system": "ssn 536-22-8143" });
    let (done, decisions, vault) = read(&guard(ONE), value.clone());
    assert_eq!(done.unwrap(), value);
    assert!(vault.is_empty() && vault.proof().is_none());
    assert_eq!(vault.logged().get("US_SSN"), Some(&1));
    assert_eq!((decisions[0].action, decisions[0].channel), (Operator::Log, Channel::System));
}

#[test]
fn the_strictest_channel_in_which_a_value_stands_decides_for_all_of_it() {
    let (known, bare) = ("ssn 536-22-8143", "no. 536228143");
    for (system, user, tool, wanted) in [
        (known, known, "", json!({"system": "ssn [US_SSN_1]", "user": "ssn [US_SSN_1]", "tool": ""})),
        (known, bare, "", json!({"system": "ssn [US_SSN_1]", "user": "no. [US_SSN_1]", "tool": ""})),
        (
            known,
            known,
            known,
            json!({"system": "ssn [US_SSN]", "user": "ssn [US_SSN]", "tool": "ssn [US_SSN]"}),
        ),
        (
            bare,
            known,
            bare,
            json!({"system": "no. [US_SSN]", "user": "ssn [US_SSN]", "tool": "no. [US_SSN]"}),
        ),
        (bare, "", "", json!({"system": bare, "user": "", "tool": ""})),
    ] {
        let value = json!({ "system": system, "user": user, "tool": tool });
        assert_eq!(sent(ONE, value.clone()), wanted, "{value}");
    }
    // In whatever order they come.
    let value = json!({ "tool": bare, "user": known, "system": known });
    assert_eq!(
        sent(ONE, value),
        json!({"tool": "no. [US_SSN]", "user": "ssn [US_SSN]", "system": "ssn [US_SSN]"})
    );
}

#[test]
fn a_value_that_is_blocked_in_one_channel_blocks_also_where_only_another_tells_what_it_is() {
    for value in [
        json!({ "user": "ssn 536-22-8143", "document": "no. 536228143" }),
        json!({ "document": "no. 536228143", "system": "ssn 536-22-8143" }),
        json!({ "system": "ssn 536-22-8143", "document": { "n": 536_228_143 } }),
        json!({ "system": "ssn 536-22-8143", "document": "{\"536228143\": [1]}" }),
    ] {
        assert_eq!(sent(ONE, value.clone()), "blocked US_SSN", "{value}");
    }
    let other = json!({ "user": "ssn 536-22-8143", "document": "no. 536228144" });
    assert_eq!(sent(ONE, other)["user"], "ssn [US_SSN_1]");
}

#[test]
fn nothing_that_is_replaced_anywhere_stands_in_what_is_sent() {
    let yaml = "{pii: redact, channels: {system: {pii: log}, assistant: {pii: off}}}";
    let value = json!({
        "system": "Write to ada@example.org or bob@example.org", "assistant": "ADA@example.org, bob@example.org",
        "user": "I am ada@example.org",
    });
    let (done, decisions, vault) = read(&guard(yaml), value);
    let done = done.unwrap();
    assert_eq!(
        done,
        json!({"system": "Write to [EMAIL_ADDRESS_1] or bob@example.org", "assistant": "[EMAIL_ADDRESS_2], bob@example.org",
            "user": "I am [EMAIL_ADDRESS_1]"})
    );
    assert!(vault.proof().unwrap().check(done.to_string().as_bytes()).is_ok());
    let told: Vec<_> = decisions.iter().map(|d| (d.channel, d.action)).collect();
    let (log, tokenise) = (Operator::Log, Operator::Tokenise);
    assert_eq!(
        told,
        [
            (Channel::System, log),
            (Channel::System, tokenise),
            (Channel::Assistant, tokenise),
            (Channel::User, tokenise)
        ],
        "each place once"
    );
}

#[test]
fn a_policy_without_channels_reads_a_request_once() {
    assert!(!guard("{pii: block, entities: {US_SSN: {action: mask}}}").plan.has_channels());
    assert!(!guard("{channels: {tool: {pii: redact}}}").plan.has_channels(), "that is what all have");
    assert!(guard("{channels: {tool: {pii: block}}}").plan.has_channels());
}

#[test]
fn what_is_wrong_in_a_channel_is_named() {
    for (yaml, words) in [
        (
            "{entities: {US_SSN: {channels: {tool: hash}}}}",
            "entities.US_SSN.channels.tool.action: `hash` needs `hash_key`",
        ),
        (
            "{entities: {US_SSN: {channels: {tool: {action: redact, keep_last: 4}}}}}",
            "entities.US_SSN.channels.tool.keep_last: only `action: mask`",
        ),
        (
            "{entities: {US_SSN: {channels: {tool: {action: mask, char: x}}}}}",
            "entities.US_SSN.channels.tool.char: expected a sign",
        ),
        ("{entities: {US_SSN: {keep_last: 4, channels: {tool: redact}}}}", "entities.US_SSN.keep_last: only"),
    ] {
        let told = Guard::compile(&rules(yaml), &secret).err().map_or_else(String::new, |e| e.to_string());
        assert!(told.starts_with(words), "{yaml} gave {told}");
    }
    assert!(
        Guard::compile(&rules("{entities: {US_SSN: {keep_last: 4, channels: {tool: mask}}}}"), &secret)
            .is_ok()
    );
    for (yaml, words) in [
        ("{channels: {tools: {pii: block}}}", "unknown variant `tools`, expected one of system, user"),
        ("{entities: {US_SSN: {channels: {tool: blok}}}}", "unknown variant `blok`"),
        ("{entities: {US_SSN: {channels: {tool: 3}}}}", "an action such as `block`"),
        ("{entities: {US_SSN: {channels: {tool: {keep: 3}}}}}", "unknown field `keep`"),
    ] {
        let told = serde_saphyr::from_str::<Rules>(yaml).err().map_or_else(String::new, |e| e.to_string());
        assert!(told.contains(words), "{yaml} gave {told}");
    }
}

#[test]
fn a_blocked_value_blocks_also_where_it_is_found_within_something_else() {
    let yaml = "{entities: {URL: {action: redact}, US_SSN: {channels: {document: block}}}}";
    let user = "see https://shop.example.com/?ssn=536-22-8143 now";
    assert_eq!(sent(yaml, json!({ "user": user }))["user"], "see [URL] now");
    let value = json!({ "user": user, "document": "no. 536228143" });
    assert_eq!(sent(yaml, value), "blocked US_SSN");
}

#[test]
fn what_stays_in_the_house_in_one_channel_does_so_in_all_unless_another_one_replaces_it() {
    let value = || json!({ "user": "ada@example.org", "system": "ask ada@example.org" });
    let of = |system: &str| {
        let yaml =
            format!("{{entities: {{EMAIL_ADDRESS: {{action: route, channels: {{system: {system}}}}}}}}}");
        let (sent, _, vault) = read(&guard(&yaml), value());
        (sent, vault.routed().get("EMAIL_ADDRESS").copied())
    };
    for laxer in ["log", "'off'"] {
        let (sent, routed) = of(laxer);
        assert_eq!((sent.unwrap(), routed), (value(), Some(2)), "{laxer}");
    }
    let (sent, routed) = of("mask");
    let masked = json!({ "user": "***@*******.***", "system": "ask ***@*******.***" });
    assert_eq!((sent.unwrap(), routed), (masked, None));
    assert_eq!(of("block").0.unwrap_err().entity, "EMAIL_ADDRESS");
}
