//! What a policy says about answers, applied to one: before it is passed on, shared or remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use sluice_guardrails::answers::{Echo, Prompt};
use sluice_guardrails::{
    Action, Blocked, Channel, Class, Decision, Form, Guard, Masker, Operator, Step as Field,
};

use super::growing::{Growing, Step, Work};
use crate::wire::chat::{Assembler, Choice, Chunk, Delta, NATIVE};
use crate::wire::responses::{ECHO, forget_logprobs};

mod native;

/// Words of the protocol, and what must not be changed or can't be read: ids, kinds, signatures, sound.
pub const PROTOCOL: &[&str] = &[
    "id",
    "type",
    "role",
    "name",
    "object",
    "index",
    "format",
    "status",
    "signature",
    "thought_signature",
    "encrypted_content",
    "data",
    "finish_reason",
    "system_fingerprint",
    "service_tier",
    "call_id",
    "item_id",
    "model",
    "obfuscation",
    "previous_response_id",
    "finishReason",
    "mimeType",
    "modelVersion",
    "responseId",
    "thoughtSignature",
];

/// A call of a tool that a model may not call.
const TOOL_CALL: &str = "TOOL_CALL";
/// The list of a provider's own items.
const OUTPUT: &str = "output";
/// The system prompt, word for word.
const SYSTEM_PROMPT: &str = "SYSTEM_PROMPT";

/// Reads one answer, in pieces or whole.
pub struct Answers {
    masking: Masking,
    /// By the choice's index.
    choices: BTreeMap<u32, Growing<Text>>,
    /// The system prompt, and how far each choice repeats it.
    prompt: Option<Prompt>,
    echoes: BTreeMap<u32, Echo>,
    /// Choices that were found to repeat it, and calls of tools that are not allowed.
    told: BTreeSet<(u32, Option<(&'static str, u64)>)>,
    /// The answer as it came.
    came: Assembler,
    /// Whose the rest is.
    last: Chunk,
}

struct Masking {
    guard: Arc<Guard>,
    /// The choice that is worked on.
    choice: u32,
    /// Places of its provider's own items that stand nowhere else in it.
    apart: BTreeSet<usize>,
    decisions: Vec<Decision>,
}

/// One text of an answer.
enum Text {
    /// It comes in pieces.
    Growing(Box<Masker>),
    /// Each piece is all of it.
    Whole,
}

impl Work for Masking {
    type Piecewise = Text;
    type Refusal = Blocked;

    fn begin(&self, path: &[Step], form: Form) -> Option<Text> {
        let Some(Step::Key(key)) = path.iter().rev().find(|step| matches!(step, Step::Key(_))) else {
            return Some(Text::Whole);
        };
        if PROTOCOL.contains(&key.as_str()) || is_echo(path) {
            return None;
        }
        // As the chunks of an answer are put together again.
        let grows = path.len() == 1
            || matches!(
                key.as_str(),
                "arguments"
                    | "input"
                    | "text"
                    | "summary"
                    | "thinking"
                    | "transcript"
                    | "content"
                    | "delta"
                    | "partial_json"
                    | "reasoning_content"
                    | "refusal"
            );
        Some(if grows { Text::Growing(Box::new(self.masker(form))) } else { Text::Whole })
    }

    fn push(&mut self, path: &[Step], text: &mut Text, piece: &str) -> Result<String, Blocked> {
        match text {
            Text::Growing(masker) => masker.push(piece).inspect_err(|_| self.note(path, masker, true)),
            Text::Whole => self.whole(path, piece),
        }
    }

    fn finish(&mut self, path: &[Step], text: Text) -> Result<String, Blocked> {
        match text {
            Text::Growing(mut masker) => {
                let rest = masker.finish();
                self.note(path, &masker, rest.is_err());
                rest
            }
            Text::Whole => Ok(String::new()),
        }
    }
}

/// Whether a text is what the provider repeats of the request: the client said it.
fn is_echo(path: &[Step]) -> bool {
    let is = |step: Option<&Step>, name: &str| matches!(step, Some(Step::Key(key)) if key == name);
    is(path.first(), NATIVE) && is(path.get(3), ECHO)
}

impl Masking {
    fn masker(&self, form: Form) -> Masker {
        Masker::new(Arc::clone(&self.guard), form)
    }

    fn whole(&mut self, path: &[Step], text: &str) -> Result<String, Blocked> {
        let mut masker = self.masker(Form::Text);
        let masked = masker.push(text).and_then(|begun| Ok(begun + &masker.finish()?));
        self.note(path, &masker, masked.is_err());
        masked
    }

    /// `ends`: the answer ends here.
    fn note(&mut self, path: &[Step], masker: &Masker, ends: bool) {
        let is = |step: Option<&Step>, name: &str| matches!(step, Some(Step::Key(key)) if key == name);
        let path = match path {
            path if !is(path.first(), NATIVE) => path,
            [_, _, _, response, output @ ..]
                if is(Some(response), "response")
                    && is(output.first(), OUTPUT)
                    && matches!(output.get(1), Some(Step::At(at)) if self.apart.contains(at)) =>
            {
                output
            }
            path if ends => path,
            // It says once more what stands in the other fields, or in the last event.
            _ => return,
        };
        let path = field(self.choice, path);
        let found = masker.decisions().iter().cloned();
        self.decisions.extend(found.map(|decision| Decision { path: path.clone(), ..decision }));
    }

    /// Fields beside the message, which come whole.
    fn rest(&mut self, value: &mut Value, path: &mut Vec<Step>) -> Result<(), Blocked> {
        match value {
            Value::String(text) => *text = self.whole(path, text)?,
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    path.push(Step::At(at));
                    self.rest(item, path)?;
                    path.pop();
                }
            }
            Value::Object(object) => {
                let readable = |key: &str| !PROTOCOL.contains(&key);
                for (key, member) in object.iter_mut().filter(|(key, _)| readable(key)) {
                    path.push(Step::Key(key.clone()));
                    self.rest(member, path)?;
                    path.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    fn members(&mut self, members: &mut Map<String, Value>) -> Result<(), Blocked> {
        for (key, member) in members.iter_mut().filter(|(key, _)| !PROTOCOL.contains(&key.as_str())) {
            self.rest(member, &mut vec![Step::Key(key.clone())])?;
        }
        Ok(())
    }
}

impl Answers {
    /// Nothing of it came yet. `prompt`: the system prompt that it must not repeat.
    pub fn new(guard: Arc<Guard>, prompt: Option<Prompt>) -> Self {
        let prompt = prompt.filter(|_| guard.output().system_prompt != Action::Off);
        Self {
            masking: Masking { guard, choice: 0, apart: BTreeSet::new(), decisions: Vec::new() },
            choices: BTreeMap::new(),
            prompt,
            echoes: BTreeMap::new(),
            told: BTreeSet::new(),
            came: Assembler::default(),
            last: Chunk::default(),
        }
    }

    /// The chunk as it may go on. What may still become a part of a value waits for the next one.
    ///
    /// # Errors
    /// What the policy blocks; nothing of this answer may be passed on any more.
    pub fn push(&mut self, mut chunk: Chunk) -> Result<Chunk, Blocked> {
        self.came.push(&chunk);
        for choice in &chunk.choices {
            self.calls(choice)?;
            self.repeats(choice)?;
        }
        if !self.masking.guard.acts() {
            return Ok(chunk);
        }
        for choice in &mut chunk.choices {
            // They spell the text token by token.
            if let Some(logprobs) = choice.rest.get_mut("logprobs") {
                *logprobs = Value::Null;
            }
            forget_logprobs(&mut choice.delta);
            self.masking.choice = choice.index;
            self.masking.apart = native::output(&choice.delta).into_iter().map(|(at, _)| at).collect();
            self.masking.members(&mut choice.rest)?;
            let growing = self.choices.entry(choice.index).or_default();
            growing.push(&mut self.masking, &mut choice.delta, choice.finish_reason.is_some())?;
        }
        self.masking.members(&mut chunk.rest)?;
        if self.last.id != chunk.id {
            let (id, model) = (chunk.id.clone(), chunk.model.clone());
            self.last = Chunk { id, model, created: chunk.created, ..Chunk::default() };
        }
        Ok(chunk)
    }

    /// Which tools a choice calls.
    fn calls(&mut self, choice: &Choice) -> Result<(), Blocked> {
        let guard = Arc::clone(&self.masking.guard);
        let Some(tools) = guard.output().tools.as_ref().filter(|tools| tools.action != Action::Off) else {
            return Ok(());
        };
        let of_list = choice.delta.tool_calls.iter().enumerate().map(|(at, call)| {
            let custom = || call.rest.get("custom")?.get("name")?.as_str();
            let name = call.function.as_ref().and_then(|function| function.name.as_deref()).or_else(custom);
            (call.index.map_or(at as u64, u64::from), name)
        });
        let single = choice.delta.rest.get("function_call").and_then(|call| call.get("name")?.as_str());
        let of_list = of_list.chain([(0, single)]).map(|(at, name)| ("tool_calls", at, name));
        let own = native::calls(&choice.delta).into_iter().map(|(at, name)| (OUTPUT, at, Some(name)));
        for (list, at, name) in of_list.chain(own) {
            let denied = name.is_some_and(|name| !name.is_empty() && !tools.allows(name));
            if denied && self.told.insert((choice.index, Some((list, at)))) {
                let path = [Step::Key(list.to_owned()), Step::Index(at)];
                self.decide((TOOL_CALL, "tool-not-allowed"), tools.action, field(choice.index, &path))?;
            }
        }
        Ok(())
    }

    /// Whether a choice repeats the system prompt by now.
    fn repeats(&mut self, choice: &Choice) -> Result<(), Blocked> {
        let (Some(prompt), Some(text)) = (&self.prompt, &choice.delta.content) else { return Ok(()) };
        let echo = self.echoes.entry(choice.index).or_default();
        let leaks = echo.push(prompt, text) || (choice.finish_reason.is_some() && echo.finish(prompt));
        if leaks && self.told.insert((choice.index, None)) {
            let action = self.masking.guard.output().system_prompt;
            let path = field(choice.index, &[Step::Key("content".to_owned())]);
            self.decide((SYSTEM_PROMPT, "repeated"), action, path)?;
        }
        Ok(())
    }

    fn decide(
        &mut self,
        what: (&'static str, &'static str),
        action: Action,
        path: Vec<Field>,
    ) -> Result<(), Blocked> {
        let ((entity, rule), class, action) = (what, Class::Content, Operator::from(action));
        let (channel, shadow, exception) = (Channel::Assistant, self.masking.guard.is_tried(), None);
        let (score, bytes, chars) = (1.0, 0..0, 0..0);
        self.masking.decisions.push(Decision {
            path,
            channel,
            entity,
            rule,
            class,
            action,
            shadow,
            exception,
            score,
            bytes,
            chars,
        });
        if action == Operator::Block && !shadow { Err(Blocked { class, entity, rule }) } else { Ok(()) }
    }

    /// What still waits, if anything.
    ///
    /// # Errors
    /// As for [`Answers::push`].
    pub fn finish(&mut self) -> Result<Option<Chunk>, Blocked> {
        let mut choices = Vec::new();
        for (index, growing) in std::mem::take(&mut self.choices) {
            self.masking.choice = index;
            let delta = growing.finish(&mut self.masking)?;
            if delta != Delta::default() {
                choices.push(Choice { index, delta, ..Choice::default() });
            }
        }
        Ok((!choices.is_empty()).then(|| Chunk { choices, ..std::mem::take(&mut self.last) }))
    }

    /// How many bytes came, more or less.
    pub fn size(&self) -> usize {
        self.came.size()
    }

    /// What was decided, also about what the policy only logs. Reads the whole answer once more.
    pub fn decisions(self) -> Vec<Decision> {
        let Self { masking: Masking { guard, mut decisions, .. }, came, .. } = self;
        for choice in came.finish().choices {
            let Ok(tree) = serde_json::to_value(&choice.delta) else { continue };
            logged(&guard, choice.index, &tree, &mut Vec::new(), &mut decisions);
            for (at, item) in native::output(&choice.delta) {
                let mut path = vec![Step::Key(OUTPUT.to_owned()), Step::At(at)];
                logged(&guard, choice.index, item, &mut path, &mut decisions);
            }
        }
        decisions
    }
}

fn logged(guard: &Guard, choice: u32, value: &Value, path: &mut Vec<Step>, into: &mut Vec<Decision>) {
    match value {
        Value::String(text) => {
            let place = || field(choice, path);
            into.extend(guard.logged(text).into_iter().map(|found| Decision { path: place(), ..found }));
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                path.push(Step::At(at));
                logged(guard, choice, item, path, into);
                path.pop();
            }
        }
        Value::Object(object) => {
            let counts = |key: &str| key != NATIVE && !PROTOCOL.contains(&key);
            for (key, member) in object.iter().filter(|(key, _)| counts(key)) {
                path.push(Step::Key(key.clone()));
                logged(guard, choice, member, path, into);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The way to a text of an answer: `choices`, the choice, and what leads there from its message.
fn field(choice: u32, path: &[Step]) -> Vec<Field> {
    let number = |number: u64| Field::Item(usize::try_from(number).unwrap_or(usize::MAX));
    let steps = path.iter().map(|step| match step {
        Step::Key(key) => Field::Key(key.clone()),
        Step::Index(index) => number(*index),
        Step::At(at) => Field::Item(*at),
    });
    [number(choice.into())].into_iter().chain(steps).collect()
}

#[cfg(test)]
mod tests;
