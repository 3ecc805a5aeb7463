//! Reasoning that a provider signed and wants back as it was: a changed word makes it invalid, so redaction has no part in it.
//!
//! Such blocks stand in the messages of the assistant: as Anthropic writes them (`thinking` with a `signature`,
//! `redacted_thinking`), as OpenRouter does (`reasoning_details`), and as others pass either on (`thinking_blocks`). They are
//! taken out before anything is scanned, looked into by themselves, and put back.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sluice_guardrails::{Blocked, Channel, Decision, Guard, Operator, Reading, SignedThinking, Step, Vault};

use super::parts::{Fate, Part, Setting};
use crate::provider_api::openai::words;

/// The lists of a message in which such blocks stand.
const LISTS: [&str; 3] = ["content", "reasoning_details", "thinking_blocks"];
/// Their fields that hold no words; sorted.
const OPAQUE: [&str; 3] = ["data", "encrypted_content", "signature"];
/// Shorter ones may be words, or numbers.
const SHORTEST_OPAQUE: usize = 64;

/// Where they stand: messages, and in the Responses API items.
const PLACES: [&str; 2] = ["messages", "input"];

/// A block that was taken out of a request.
pub(super) struct Block {
    place: &'static str,
    message: usize,
    list: &'static str,
    item: usize,
    value: Value,
}

/// What looking into blocks came to.
#[derive(Default)]
pub(super) struct Outcome {
    /// Blocks in which something stands that would be replaced elsewhere, once for each thing.
    pub(super) parts: Vec<Part>,
    /// What else was decided.
    pub(super) decisions: Vec<Decision>,
    /// Something for which the request is refused anyhow.
    pub(super) blocked: Option<Blocked>,
    /// What stays and is for in-house targets alone, and what is only logged, by entity.
    pub(super) routed: BTreeMap<&'static str, usize>,
    pub(super) logged: BTreeMap<&'static str, usize>,
    /// Of what it is only tried what the policy says, by entity and that.
    pub(super) shadowed: BTreeMap<(&'static str, Operator), usize>,
    /// The blocks that are kept although something stands in them, as they are spelled in the body.
    pub(super) kept: Vec<Vec<u8>>,
}

/// Takes the signed blocks out of a request; nothing is left in their places.
pub(super) fn take(request: &mut Value) -> Vec<Block> {
    let mut blocks = Vec::new();
    for place in PLACES {
        let messages = request.get_mut(place).and_then(Value::as_array_mut).into_iter().flatten();
        for (number, message) in messages.enumerate() {
            let word = |name: &str| message.get(name).and_then(Value::as_str);
            if word("role") != Some("assistant") && word("type") != Some("reasoning") {
                continue;
            }
            for list in LISTS {
                let items = message.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
                for (item, value) in items.enumerate() {
                    if value.as_object().is_some_and(is_signed) {
                        blocks.push(Block { place, message: number, list, item, value: value.take() });
                    }
                }
            }
        }
    }
    blocks
}

/// Puts them back where they were.
pub(super) fn put_back(request: &mut Value, blocks: Vec<Block>) {
    for Block { place, message, list, item, value } in blocks {
        let place = request.get_mut(place).and_then(|messages| messages.get_mut(message));
        if let Some(place) = place.and_then(|message| message.get_mut(list)?.get_mut(item)) {
            *place = value;
        }
    }
}

/// Looks into the blocks of a request whose other values `vault` has.
pub(super) fn look_into(guard: &Guard, vault: &Vault, blocks: &[Block]) -> Outcome {
    let mut outcome = Outcome::default();
    if blocks.is_empty() {
        return outcome;
    }
    let known = vault.proof();
    let fate = match guard.signed_thinking() {
        SignedThinking::Keep => Fate::Kept,
        SignedThinking::Block => Fate::Blocked,
    };
    for block in blocks {
        let (mut probe, mut copy) = (Vault::new(), block.value.clone());
        probe.keep_decisions();
        if let Err(blocked) = probe.read_json(guard, &mut copy, &READING) {
            outcome.blocked.get_or_insert(blocked);
        }
        let is_replaced = |d: &Decision| d.action.acts() && d.action != Operator::Block && !d.shadow;
        let (changed, others): (Vec<_>, Vec<_>) = probe.decisions().into_iter().partition(is_replaced);
        let spelled = block.value.to_string().into_bytes();
        let leak = known.as_ref().and_then(|known| known.check_json(&spelled, &words::is_protocol).err());
        let mut found: Vec<_> = changed.iter().map(|d| (block.path(&d.path), d.entity)).collect();
        found.dedup();
        if found.is_empty() {
            found.extend(leak.map(|leak| (block.path(&[]), leak.entity)));
        }
        if !found.is_empty() && fate == Fate::Kept {
            outcome.kept.push(spelled);
        }
        let (channel, setting, shadow) = (Channel::Assistant, Setting::SignedThinking, false);
        let part = |(path, entity)| Part { path, channel, setting, entity, fate, shadow };
        outcome.parts.extend(found.into_iter().map(part));
        outcome.decisions.extend(others.into_iter().map(|d| Decision { path: block.path(&d.path), ..d }));
        add(&mut outcome.routed, probe.routed());
        add(&mut outcome.logged, probe.logged());
        add(&mut outcome.shadowed, probe.shadowed());
    }
    outcome
}

fn add<K: Copy + Ord>(sums: &mut BTreeMap<K, usize>, more: &BTreeMap<K, usize>) {
    more.iter().for_each(|(what, times)| *sums.entry(*what).or_default() += times);
}

/// Whether a provider signed it, or wrote it so that nobody else can read it.
fn is_signed(block: &Map<String, Value>) -> bool {
    let has = |name: &str| block.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    match block.get("type").and_then(Value::as_str) {
        Some("thinking" | "reasoning.text" | "reasoning.summary") => has("signature"),
        Some("redacted_thinking" | "reasoning.encrypted") => has("data"),
        Some("reasoning") => has("signature") || has("encrypted_content"),
        _ => false,
    }
}

/// How blocks are read: all of it is the model's.
const READING: Reading<'static> =
    Reading { skip: &is_no_text, channel: &|_, _| None, standard: Channel::Assistant };

/// Random letters, in which anything may seem to stand.
fn is_no_text(path: &[&str], text: &str) -> bool {
    let opaque = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
    path.last().is_some_and(|key| OPAQUE.contains(key))
        && text.len() >= SHORTEST_OPAQUE
        && text.bytes().all(opaque)
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl Block {
    /// The way from the request to something in the block.
    fn path(&self, inside: &[Step]) -> Vec<Step> {
        let key = |name: &str| Step::Key(name.to_owned());
        let way = [key(self.place), Step::Item(self.message), key(self.list), Step::Item(self.item)];
        way.iter().chain(inside).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::audited::field;
    use serde_json::json;
    use sluice_guardrails::Rules;

    fn guard(yaml: &str) -> Guard {
        let rules: Rules = serde_saphyr::from_str(yaml).unwrap();
        Guard::compile(&rules, &|_| Err("no secret".to_owned())).unwrap()
    }

    /// As long as a signature is.
    fn opaque() -> String {
        "EqQBCkYIBxgCKkB1z4111111111111111Zp/".repeat(4)
    }

    fn thinking(words: &str) -> Value {
        json!({ "type": "thinking", "thinking": words, "signature": opaque() })
    }

    fn conversation(block: &Value) -> Value {
        json!({ "messages": [
            { "role": "user", "content": "I am ada@example.org" },
            { "role": "assistant", "content": [block, { "type": "text", "text": "Hello" }], "thinking_blocks": [block] },
        ]})
    }

    #[test]
    fn signed_blocks_are_taken_out_and_put_back_as_they_were() {
        for block in [
            thinking("Who is ada@example.org?"),
            json!({ "type": "redacted_thinking", "data": opaque() }),
            json!({ "type": "reasoning.text", "text": "x", "signature": opaque(), "index": 0 }),
            json!({ "type": "reasoning.encrypted", "data": opaque(), "id": "r1" }),
            json!({ "type": "reasoning", "encrypted_content": opaque() }),
        ] {
            let before = conversation(&block);
            let mut request = before.clone();
            let blocks = take(&mut request);
            assert_eq!(blocks.len(), 2, "{block}");
            assert!(request["messages"][1]["content"][0].is_null());
            put_back(&mut request, blocks);
            assert_eq!(request, before);
        }
    }

    #[test]
    fn what_nobody_signed_is_text_like_any_other() {
        for block in [
            json!({ "type": "thinking", "thinking": "Who is ada@example.org?" }),
            json!({ "type": "reasoning.text", "text": "ada@example.org", "signature": null }),
            json!({ "type": "text", "text": "ada@example.org", "signature": opaque() }),
        ] {
            assert!(take(&mut conversation(&block)).is_empty(), "{block}");
        }
        let by_user =
            json!({ "messages": [{ "role": "user", "content": [thinking("I am ada@example.org")] }] });
        assert!(take(&mut by_user.clone()).is_empty());
    }

    #[test]
    fn a_block_in_which_nothing_stands_is_no_matter_whatever_its_signature_looks_like() {
        let guard = guard("{}");
        let blocks = take(&mut conversation(&thinking("The user is [EMAIL_ADDRESS_1].")));
        let outcome = look_into(&guard, &Vault::new(), &blocks);
        assert!(outcome.parts.is_empty() && outcome.kept.is_empty() && outcome.decisions.is_empty());
    }

    #[test]
    fn what_would_be_replaced_is_told_by_its_place() {
        for (yaml, fate, kept) in [("{}", Fate::Blocked, 0), ("{signed_thinking: keep}", Fate::Kept, 2)] {
            let blocks = take(&mut conversation(&thinking("Who is bob@example.org?")));
            let outcome = look_into(&guard(yaml), &Vault::new(), &blocks);
            let told: Vec<_> =
                outcome.parts.iter().map(|part| (field(&part.path), part.entity, part.fate)).collect();
            assert_eq!(told.len(), 2);
            assert_eq!(told[0], ("messages[1].content[0].thinking".to_owned(), "EMAIL_ADDRESS", fate));
            assert_eq!(outcome.kept.len(), kept);
        }
    }

    #[test]
    fn a_value_of_the_rest_of_the_request_counts_where_nothing_around_it_tells_what_it_is() {
        let guard = guard("{}");
        let mut vault = Vault::new();
        vault.redact(&guard, "My SSN is 536-22-8143.").unwrap();
        let outcome = look_into(&guard, &vault, &take(&mut conversation(&thinking("So 536228143 it is."))));
        assert_eq!((outcome.parts.len(), outcome.parts[0].entity), (2, "US_SSN"));
    }

    #[test]
    fn what_is_routed_logged_or_refused_elsewhere_is_so_in_a_block() {
        let of = |yaml: &str| {
            let blocks = take(&mut conversation(&thinking("Who is bob@example.org?")));
            look_into(&guard(yaml), &Vault::new(), &blocks)
        };
        let routed = of("{entities: {EMAIL_ADDRESS: {action: route}}}");
        assert_eq!(routed.routed, BTreeMap::from([("EMAIL_ADDRESS", 2)]));
        assert_eq!((routed.parts.len(), routed.decisions.len()), (0, 2));
        let logged = of("{entities: {EMAIL_ADDRESS: {action: log}}}");
        assert_eq!(logged.logged, BTreeMap::from([("EMAIL_ADDRESS", 2)]));
        let blocked = of("{signed_thinking: keep, entities: {EMAIL_ADDRESS: {action: block}}}");
        assert!(blocked.blocked.is_some() && blocked.kept.is_empty());
    }
}
