//! The guards of others on the way out: a whole answer is shown to them before anybody has any of it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use sluice_guardrails::{Finding, each_text};

use super::audited;
use super::request::Secured;
use crate::audit::Subject;
use crate::config::Phase;
use crate::error::ApiError;
use crate::external::{Changes, External, Hearing, Passage, Question};
use crate::gateway::Core;
use crate::relay::PROTOCOL;
use crate::wire::chat::{Assembler, Chunk, forget_native};

/// Puts an answer together that others are to hear first.
pub(super) struct Heard {
    core: Arc<Core>,
    subject: Arc<Subject>,
    secured: Option<Arc<Secured>>,
    whole: Assembler,
}

impl Heard {
    /// Nothing of it came yet. `secured`: what must not stand in what they are sent.
    pub(super) fn new(core: &Arc<Core>, subject: Arc<Subject>, secured: Option<Arc<Secured>>) -> Self {
        Self { core: Arc::clone(core), subject, secured, whole: Assembler::default() }
    }

    /// Keeps a chunk.
    pub(super) fn push(&mut self, chunk: &Chunk) {
        let mut chunk = chunk.clone();
        // What is said twice could be changed in one of both places alone.
        forget_native(&mut chunk);
        self.whole.push(&chunk);
    }

    /// The whole answer, as they want it.
    ///
    /// # Errors
    /// Somebody refuses, or can't be asked and has to be.
    pub(super) async fn judged(&self) -> Result<Chunk, ApiError> {
        let gateway = &self.core.gateway;
        let hearing = Hearing {
            upstream: &self.core.upstream,
            metrics: &gateway.metrics,
            audit: gateway.audit.as_deref(),
        };
        let mut whole = self.whole.clone().finish();
        if let Some(proof) = self.secured.as_ref().and_then(|secured| secured.proof.as_ref()) {
            // A provider may write by chance what it was not told.
            each_passage(&mut whole, &mut |_, text| proof.hide(text));
        }
        for stage in gateway.external.stages(Phase::Output) {
            let mut passages = Vec::new();
            each_passage(&mut whole, &mut |field, text| {
                passages.push(Passage { field, channel: "assistant", is_name: false, text: text.to_owned() });
                None
            });
            let (subject, secured) = (Arc::clone(&self.subject), self.secured.clone());
            let metadata = Value::Object(Map::new());
            let question = Arc::new(Question { phase: Phase::Output, subject, passages, metadata, secured });
            let Changes { found, rewritten } = External::ask(&stage, &hearing, &question, None).await?;
            each_passage(&mut whole, &mut |_, text| changed(text, &found, &rewritten));
        }
        Ok(whole)
    }
}

/// Gives every text of an answer's messages to `each`, with its place; what `each` gives back takes its place.
fn each_passage(whole: &mut Chunk, each: &mut dyn FnMut(String, &str) -> Option<String>) {
    let skip = |path: &[&str], _: &str| path.last().is_some_and(|key| PROTOCOL.contains(key));
    for (number, choice) in whole.choices.iter_mut().enumerate() {
        let Ok(mut message) = serde_json::to_value(&choice.delta) else { continue };
        let changed = each_text(&mut message, &skip, &mut |path, text| {
            each(format!("choices[{number}].message.{}", audited::field(path)), text)
        });
        if changed && let Ok(delta) = serde_json::from_value(message) {
            choice.delta = delta;
            // They spell the text as it was.
            choice.rest.retain(|name, _| name != "logprobs");
        }
    }
}

/// A text as they want it, if they want it otherwise. What was found gets a mark, since nothing of it is the caller's own.
fn changed(
    text: &str,
    found: &HashMap<String, Vec<Finding>>,
    rewritten: &HashMap<String, String>,
) -> Option<String> {
    if let Some(new) = rewritten.get(text) {
        return Some(new.clone());
    }
    let mut found = found.get(text)?.clone();
    found.sort_by_key(|finding| (finding.span.start, std::cmp::Reverse(finding.span.end)));
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for Finding { entity, span, .. } in found {
        if span.start >= from {
            out.push_str(text.get(from..span.start)?);
            out.push_str(&format!("[REDACTED_{entity}]"));
        }
        from = from.max(span.end);
    }
    out.push_str(text.get(from..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sluice_guardrails::Class;

    #[test]
    fn what_overlaps_gets_one_mark_and_nothing_of_it_is_left() {
        let text = "Ask Zoë Quill of Lyon now.";
        let at = |entity, words: &str| {
            let start = text.find(words).unwrap();
            Finding { entity, rule: "r", class: Class::Pii, span: start..start + words.len(), score: 1.0 }
        };
        let findings = vec![at("LOCATION", "Lyon"), at("PERSON", "Quill"), at("PERSON", "Zoë Quill")];
        let found = HashMap::from([(text.to_owned(), findings)]);
        let none = HashMap::new();
        let expected = "Ask [REDACTED_PERSON] of [REDACTED_LOCATION] now.";
        assert_eq!(changed(text, &found, &none).as_deref(), Some(expected));
        assert_eq!(changed("another", &found, &none), None);
    }

    #[test]
    fn every_text_of_a_message_is_shown_and_no_word_of_the_protocol() {
        let message = json!({
            "role": "assistant", "content": "a", "refusal": "b", "reasoning_content": "c",
            "tool_calls": [{ "index": 0, "id": "call_1", "type": "function", "function": { "name": "send", "arguments": "{\"to\":\"d\"}" } }],
        });
        let mut whole: Chunk =
            serde_json::from_value(json!({ "choices": [{ "index": 0, "message": message }] })).unwrap();
        let mut told = Vec::new();
        each_passage(&mut whole, &mut |field, text| {
            told.push((field, text.to_owned()));
            Some(text.to_uppercase())
        });
        told.sort();
        let texts: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a", "c", "b", "d"]);
        assert_eq!(told[0].0, "choices[0].message.content");
        let delta = &whole.choices[0].delta;
        assert_eq!((delta.content.as_deref(), delta.role.as_deref()), (Some("A"), Some("assistant")));
        let function = delta.tool_calls[0].function.as_ref().unwrap();
        assert_eq!(
            (function.name.as_deref(), function.arguments.as_deref()),
            (Some("send"), Some("{\"to\":\"D\"}"))
        );
    }
}
