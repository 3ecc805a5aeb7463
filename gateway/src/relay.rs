//! The way out, the same for live answers and for hits: put the caller's own values back.

mod growing;
mod mask;
mod replay;
mod restore;

pub use mask::{Answers, PROTOCOL};
pub use replay::replay;

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_guardrails::Vault;

use crate::wire::chat::{Choice, Chunk, Delta};
use crate::wire::responses::forget_logprobs;
use restore::Restorer;

/// Takes the chunks of an answer as the provider sent them and gives them as the client should see them.
pub struct Relay(Option<Box<Restoring>>);

/// What it takes to restore something: there is one for each stream, and most have nothing to restore.
struct Restoring {
    vault: Vault,
    /// By the choice's index.
    restorers: BTreeMap<u32, Restorer>,
    /// Whose the rest is.
    head: Head,
}

/// What the chunks of an answer say of it alike.
#[derive(Default)]
struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    /// Some chunks leave out what others say.
    fn learn(&mut self, chunk: &Chunk) {
        for (known, said) in [(&mut self.id, &chunk.id), (&mut self.model, &chunk.model)] {
            if known.is_empty() {
                known.clone_from(said);
            }
        }
        if self.created == 0 {
            self.created = chunk.created;
        }
    }
}

impl Relay {
    /// A relay that restores what this vault holds.
    pub fn new(vault: Vault) -> Self {
        if vault.is_empty() {
            return Self::idle();
        }
        let (restorers, head) = (BTreeMap::new(), Head::default());
        Self(Some(Box::new(Restoring { vault, restorers, head })))
    }

    /// A relay that has nothing to restore.
    pub fn idle() -> Self {
        Self(None)
    }

    /// Whether it has nothing to restore, so that everything passes as it is.
    pub fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// The chunk with the caller's own values. Text that may be the beginning of a placeholder waits for the next one.
    pub fn push(&mut self, mut chunk: Chunk) -> Chunk {
        let Some(restoring) = &mut self.0 else { return chunk };
        let Restoring { vault, restorers, head } = restoring.as_mut();
        head.learn(&chunk);
        for choice in &mut chunk.choices {
            // They speak of tokens that the client will not see.
            if let Some(logprobs) = choice.rest.get_mut("logprobs") {
                *logprobs = Value::Null;
            }
            forget_logprobs(&mut choice.delta);
            let restorer = restorers.entry(choice.index).or_default();
            // At the end nothing more comes: what waited belongs before it.
            restorer.push(vault, &mut choice.delta, choice.finish_reason.is_some());
        }
        chunk
    }

    /// What still waited, if anything.
    pub fn finish(self) -> Option<Chunk> {
        let Restoring { vault, restorers, head: Head { id, created, model } } = *self.0?;
        let waited = restorers.into_iter().map(|(index, restorer)| Choice {
            index,
            delta: restorer.finish(&vault),
            ..Choice::default()
        });
        let choices: Vec<Choice> = waited.filter(|choice| choice.delta != Delta::default()).collect();
        (!choices.is_empty()).then(|| Chunk { id, created, model, choices, ..Chunk::default() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::wire::chat::{Assembler, Function, ToolCall};
    use serde_json::json;
    use sluice_guardrails::{Guard, Policy, Restore, Restores};

    /// One that restores an address in texts and calls.
    pub(crate) fn vault() -> Vault {
        let mut vault = Vault::new();
        let text = "write to zoe.q@example.org".to_owned();
        let mut tools = Restores::default();
        tools.set_default(Restore::Tools);
        vault.restore_by(tools);
        let redacted = vault.redact(&Guard::new(&Policy::default()), &text).unwrap().unwrap();
        assert_eq!(redacted, "write to [EMAIL_ADDRESS_1]");
        vault
    }

    fn chunk(delta: Delta, finish: Option<&str>) -> Chunk {
        let choice =
            Choice { index: 0, delta, finish_reason: finish.map(str::to_owned), ..Choice::default() };
        Chunk { choices: vec![choice], ..Chunk::default() }
    }

    fn relayed(chunks: Vec<Chunk>) -> Chunk {
        let (mut relay, mut seen) = (Relay::new(vault()), Assembler::default());
        for chunk in chunks {
            seen.push(&relay.push(chunk));
        }
        relay.finish().iter().for_each(|rest| seen.push(rest));
        seen.finish()
    }

    #[test]
    fn text_reasoning_and_arguments_are_restored_however_they_are_split() {
        let text = "Hi [EMAIL_ADDRESS_1], [EMAIL_ADDRESS_2] and [EMAIL";
        let mut split: Vec<Chunk> = text
            .chars()
            .map(|c| {
                let piece = Some(c.to_string());
                let function = Some(Function { arguments: piece.clone(), ..Function::default() });
                let call = ToolCall { index: Some(0), function, ..ToolCall::default() };
                let mut delta = Delta { content: piece, tool_calls: vec![call], ..Delta::default() };
                delta.rest.insert("reasoning_content".to_owned(), Value::String(c.to_string()));
                chunk(delta, None)
            })
            .collect();
        for with_end in [false, true] {
            if with_end {
                split.push(chunk(Delta::default(), Some("stop")));
            }
            let seen = relayed(split.clone());
            let expected = "Hi zoe.q@example.org, [EMAIL_ADDRESS_2] and [EMAIL";
            let delta = &seen.choices[0].delta;
            assert_eq!(delta.content.as_deref(), Some(expected));
            assert_eq!(delta.rest["reasoning_content"], expected);
            assert_eq!(delta.tool_calls[0].function.as_ref().unwrap().arguments.as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_waited_comes_before_the_end_of_its_choice() {
        let (mut relay, mut order) = (Relay::new(vault()), Vec::new());
        let text = Delta { content: Some("see [EMAIL".to_owned()), ..Delta::default() };
        for chunk in [chunk(text, None), chunk(Delta::default(), Some("stop"))] {
            let out = relay.push(chunk);
            order.push((out.choices[0].delta.content.clone(), out.choices[0].finish_reason.clone()));
        }
        assert_eq!(order[0], (Some("see ".to_owned()), None));
        assert_eq!(order[1], (Some("[EMAIL".to_owned()), Some("stop".to_owned())));
        assert!(relay.finish().is_none());
    }

    /// What the client sees of these deltas, one chunk each.
    fn seen(deltas: impl IntoIterator<Item = Value>) -> Value {
        let (mut relay, mut seen) = (Relay::new(vault()), Assembler::default());
        for delta in deltas {
            let chunk = json!({ "choices": [{ "index": 0, "delta": delta }] });
            seen.push(&relay.push(serde_json::from_value(chunk).unwrap()));
        }
        relay.finish().iter().for_each(|rest| seen.push(rest));
        serde_json::to_value(&seen.finish().choices[0].delta).unwrap()
    }

    #[test]
    fn fields_we_do_not_know_are_restored_wherever_they_are_and_however_they_are_split() {
        let text = "a [EMAIL_ADDRESS_1] b [EMAIL_ADDR";
        let deltas = text.chars().map(|c| {
            json!({
                "tool_calls": [{ "index": 1, "custom": { "input": c } }, { "index": 0, "custom": { "input": c } }],
                "function_call": { "arguments": c },
                "unknown_details": [{ "index": 3, "text": c }, { "index": 2, "summary": c }],
                "audio": { "transcript": c },
            })
        });
        let expected = "a zoe.q@example.org b [EMAIL_ADDR";
        let whole = json!({
            "tool_calls": [{ "index": 1, "custom": { "input": expected } }, { "index": 0, "custom": { "input": expected } }],
            "function_call": { "arguments": expected },
            "unknown_details": [{ "index": 3, "text": expected }, { "index": 2, "summary": expected }],
            "audio": { "transcript": expected },
        });
        assert_eq!(seen(deltas), whole);
    }

    #[test]
    fn reasoning_that_goes_back_to_its_provider_stays_as_the_provider_wrote_it() {
        let text = "is [EMAIL_ADDRESS_1] there?";
        let deltas = text.chars().map(|c| {
            json!({
                "reasoning": c,
                "reasoning_details": [{ "index": 0, "type": "reasoning.text", "text": c }],
                "thinking_blocks": [{ "index": 0, "thinking": c }],
            })
        });
        let whole = json!({
            "reasoning": "is zoe.q@example.org there?",
            "reasoning_details": [{ "index": 0, "type": "reasoning.text", "text": text }],
            "thinking_blocks": [{ "index": 0, "thinking": text }],
        });
        assert_eq!(seen(deltas), whole);
    }

    #[test]
    fn what_waits_returns_to_its_own_item() {
        let delta = json!({ "notes": ["x [EM", "y [EMA"], "details": [{ "index": 7, "text": "[EMAIL" }] });
        let mut relay = Relay::new(vault());
        let chunk = json!({ "choices": [{ "delta": delta, "finish_reason": "stop" }] });
        let out = relay.push(serde_json::from_value(chunk).unwrap());
        assert_eq!(serde_json::to_value(&out.choices[0].delta).unwrap(), delta);
        assert!(relay.finish().is_none());
    }
}
