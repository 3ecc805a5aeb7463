//! The way out, the same for live answers and for hits: put the caller's own values back, and keep the redacted form.

use std::collections::HashMap;

use serde_json::Value;
use sluice_guardrails::{Form, Rehydrator, Vault};

use crate::wire::chat::{Assembler, Choice, Chunk, Delta, Function, ToolCall};

/// One growing text of an answer: each is restored by itself, since a placeholder may be split over its chunks.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Field {
    Content,
    Refusal,
    Arguments(u32),
    Rest(String),
}

/// Takes the chunks of an answer as the provider sent them and gives them as the client should see them.
pub struct Relay {
    vault: Vault,
    restorers: HashMap<(u32, Field), Rehydrator>,
    redacted: Assembler,
}

impl Relay {
    /// A relay that restores what this vault holds.
    pub fn new(vault: Vault) -> Self {
        Self { vault, restorers: HashMap::new(), redacted: Assembler::default() }
    }

    /// The chunk with the caller's own values. Text that may be the beginning of a placeholder waits for the next one.
    pub fn push(&mut self, mut chunk: Chunk) -> Chunk {
        self.redacted.push(&chunk);
        if !self.vault.is_empty() {
            for choice in &mut chunk.choices {
                self.restore(choice);
            }
        }
        chunk
    }

    /// What still waited, if anything, and the whole answer in its redacted form.
    pub fn finish(mut self) -> (Option<Chunk>, Chunk) {
        let whole = self.redacted.finish();
        let indexes: Vec<u32> = whole.choices.iter().map(|choice| choice.index).collect();
        let mut rest = Chunk {
            id: whole.id.clone(),
            created: whole.created,
            model: whole.model.clone(),
            ..Chunk::default()
        };
        for index in indexes {
            let mut choice = Choice { index, ..Choice::default() };
            flush(&mut self.restorers, &mut choice);
            if choice.delta != Delta::default() {
                rest.choices.push(choice);
            }
        }
        ((!rest.choices.is_empty()).then_some(rest), whole)
    }

    fn restore(&mut self, choice: &mut Choice) {
        let index = choice.index;
        // They speak of tokens that the client will not see.
        if let Some(logprobs) = choice.rest.get_mut("logprobs") {
            *logprobs = Value::Null;
        }
        let mut push = |field: Field, text: &mut String| {
            let form = if matches!(field, Field::Arguments(_)) { Form::Json } else { Form::Text };
            let vault = &self.vault;
            let restorer = self.restorers.entry((index, field)).or_insert_with(|| vault.rehydrator(form));
            *text = restorer.push(text);
        };
        let delta = &mut choice.delta;
        if let Some(text) = &mut delta.content {
            push(Field::Content, text);
        }
        if let Some(text) = &mut delta.refusal {
            push(Field::Refusal, text);
        }
        for (at, call) in delta.tool_calls.iter_mut().enumerate() {
            let number = call.index.unwrap_or(u32::try_from(at).unwrap_or(u32::MAX));
            if let Some(text) = call.function.as_mut().and_then(|f| f.arguments.as_mut()) {
                push(Field::Arguments(number), text);
            }
        }
        for (key, value) in &mut delta.rest {
            match value {
                Value::String(text) => push(Field::Rest(key.clone()), text),
                other => restore_tree(&self.vault, other),
            }
        }
        if choice.finish_reason.is_some() {
            // Nothing more comes: what waited belongs before the end.
            flush(&mut self.restorers, choice);
        }
    }
}

/// Strings below an unknown field come whole.
fn restore_tree(vault: &Vault, value: &mut Value) {
    match value {
        Value::String(text) => *text = vault.rehydrate(text, Form::Text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| restore_tree(vault, item)),
        Value::Object(object) => object.values_mut().for_each(|item| restore_tree(vault, item)),
        _ => {}
    }
}

/// Adds what waits for this choice to its delta.
fn flush(restorers: &mut HashMap<(u32, Field), Rehydrator>, choice: &mut Choice) {
    let index = choice.index;
    let mut fields: Vec<Field> =
        restorers.keys().filter(|(at, _)| *at == index).map(|(_, f)| f.clone()).collect();
    fields.sort_by_key(|field| matches!(field, Field::Arguments(_)));
    for field in fields {
        let Some(mut restorer) = restorers.remove(&(index, field.clone())) else { continue };
        let text = restorer.finish();
        if !text.is_empty() {
            append(&mut choice.delta, &field, &text);
        }
    }
}

fn append(delta: &mut Delta, field: &Field, text: &str) {
    match field {
        Field::Content => delta.content.get_or_insert_default().push_str(text),
        Field::Refusal => delta.refusal.get_or_insert_default().push_str(text),
        Field::Rest(key) => match delta.rest.get_mut(key) {
            Some(Value::String(there)) => there.push_str(text),
            _ => drop(delta.rest.insert(key.clone(), Value::String(text.to_owned()))),
        },
        Field::Arguments(number) => {
            let calls = &mut delta.tool_calls;
            let at = calls.iter().position(|call| call.index == Some(*number)).unwrap_or_else(|| {
                calls.push(ToolCall { index: Some(*number), ..ToolCall::default() });
                calls.len() - 1
            });
            let function = calls[at].function.get_or_insert_with(Function::default);
            function.arguments.get_or_insert_default().push_str(text);
        }
    }
}

/// A whole answer as the chunks of a stream: the role, pieces of text, calls, the end, the token counts.
pub fn replay(whole: Chunk) -> Vec<Chunk> {
    let head = Chunk { usage: None, choices: Vec::new(), ..whole.clone() };
    let with = |choice: Choice| Chunk { choices: vec![choice], ..head.clone() };
    let mut chunks = Vec::new();
    for choice in whole.choices {
        let index = choice.index;
        let mut delta = choice.delta;
        let text = delta.content.take().unwrap_or_default();
        let role = delta.role.take().or_else(|| Some("assistant".to_owned()));
        let start = Delta { role, content: Some(String::new()), ..Delta::default() };
        chunks.push(with(Choice { index, delta: start, ..Choice::default() }));
        for piece in pieces(&text) {
            let delta = Delta { content: Some(piece.to_owned()), ..Delta::default() };
            chunks.push(with(Choice { index, delta, ..Choice::default() }));
        }
        if delta != Delta::default() {
            chunks.push(with(Choice { index, delta, ..Choice::default() }));
        }
        chunks.push(with(Choice {
            index,
            delta: Delta::default(),
            finish_reason: choice.finish_reason,
            rest: choice.rest,
        }));
    }
    if whole.usage.is_some() {
        chunks.push(Chunk { usage: whole.usage, ..head });
    }
    chunks
}

/// Pieces of about twenty words: a client that shows text as it comes has something to show.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut from, mut words) = (Vec::new(), 0, 0);
    for (at, _) in text.match_indices(' ') {
        words += 1;
        if words == 20 {
            pieces.push(&text[from..=at]);
            (from, words) = (at + 1, 0);
        }
    }
    if from < text.len() {
        pieces.push(&text[from..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_guardrails::{Guard, Policy};

    fn vault() -> Vault {
        let mut vault = Vault::new();
        let text = "write to zoe.q@example.org".to_owned();
        let redacted = vault.redact(&Guard::new(&Policy::default()), &text).unwrap().unwrap();
        assert_eq!(redacted, "write to [EMAIL_ADDRESS_1]");
        vault
    }

    fn chunk(delta: Delta, finish: Option<&str>) -> Chunk {
        let choice =
            Choice { index: 0, delta, finish_reason: finish.map(str::to_owned), ..Choice::default() };
        Chunk { choices: vec![choice], ..Chunk::default() }
    }

    fn relayed(chunks: Vec<Chunk>) -> (Chunk, Chunk) {
        let (mut relay, mut seen) = (Relay::new(vault()), Assembler::default());
        for chunk in chunks {
            seen.push(&relay.push(chunk));
        }
        let (rest, redacted) = relay.finish();
        rest.iter().for_each(|rest| seen.push(rest));
        (seen.finish(), redacted)
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
            let (seen, redacted) = relayed(split.clone());
            let expected = "Hi zoe.q@example.org, [EMAIL_ADDRESS_2] and [EMAIL";
            let delta = &seen.choices[0].delta;
            assert_eq!(delta.content.as_deref(), Some(expected));
            assert_eq!(delta.rest["reasoning_content"], expected);
            assert_eq!(delta.tool_calls[0].function.as_ref().unwrap().arguments.as_deref(), Some(expected));
            assert_eq!(
                redacted.choices[0].delta.content.as_deref(),
                Some(text),
                "what is kept stays redacted"
            );
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
        assert!(relay.finish().0.is_none());
    }

    #[test]
    fn a_replayed_answer_says_the_same_as_the_whole_one() {
        let text: String = (0..90).map(|n| format!("word{n} ")).collect();
        let mut whole = chunk(
            Delta { content: Some(text), role: Some("assistant".to_owned()), ..Delta::default() },
            Some("stop"),
        );
        whole.usage = Some(crate::wire::usage::Usage { total_tokens: 9, ..Default::default() });
        let chunks = replay(whole.clone());
        assert!(chunks.len() > 6);
        let mut again = Assembler::default();
        chunks.iter().for_each(|chunk| again.push(chunk));
        assert!(again.finish() == whole);
    }
}
