//! A request in a provider's own format, past the same guards as a chat, and its answer past the same rules: for pass-through.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value, json};
use sluice_guardrails::{Action, Channel, Guard, Vault};

use super::account::{Account, Source};
use super::external::Guarded;
use super::guards::{self, Inspected};
use super::head::{HEADERS, describe, overhead};
use super::live::Paid;
use super::request::{ChatRequest, Secured};
use super::screened::{Screened, Screening};
use super::{Call, LARGE_BODY, external, meant, steer};
use crate::config::Phase;
use crate::error::ApiError;
use crate::gateway::{Core, Gateway};
use crate::relay::Relay;
use crate::route::Target;
use crate::route::answer::{Broken, Chunks};
use crate::route::passed::{Outcome, Passed};
use crate::wire::chat::Chunk;
use crate::wire::usage::Usage;

/// A request as it came. No `Debug`: it holds what people wrote.
pub(crate) struct Asked {
    /// The fields of its body; none if there is nothing to read.
    pub(crate) fields: Option<Map<String, Value>>,
    /// Its body.
    pub(crate) body: Bytes,
    /// Whether its answer is a stream.
    pub(crate) stream: bool,
    /// What of its headers goes along.
    pub(crate) passed: HeaderMap,
    /// Who is asked.
    pub(crate) target: Target,
}

/// What its client wants of the asking: how long it waits, and how often is asked again, at most.
///
/// # Errors
/// As for a chat.
pub(crate) fn limits(call: &Call) -> Result<(Option<Duration>, Option<u32>), ApiError> {
    steer::limits(&call.headers)
}

/// Asks the provider.
///
/// # Errors
/// As [`crate::route::asking::Asking::pass`].
pub(crate) async fn ask(core: &Core, passed: &Passed) -> Result<Outcome, ApiError> {
    super::asking(core, &core.gateway.timeouts).pass(passed).await
}

/// A request that the guards let go on.
pub(crate) struct Cleared {
    /// What is sent.
    pub(crate) body: Bytes,
    /// What must hold for what is sent.
    pub(crate) secured: Option<Arc<Secured>>,
    /// The originals, for the way back.
    vault: Vault,
    screening: Option<Screening>,
    /// Whether that may change or end its answer.
    acts: bool,
}

/// An answer as its client may have it.
pub(crate) struct Answering {
    screened: Screened,
    relay: Option<Relay>,
}

/// Whether something stands in a text that must not go along as it is, such as a part of an address.
pub(crate) fn is_remarkable(guard: &Guard, text: &str) -> bool {
    let channel = Channel::Parameters;
    !guard.inspect_in(channel, text, "").is_empty() || guard.confines(channel, text)
}

/// Whether this guard would do nothing about a body, whatever stands in it.
pub(crate) fn is_idle(guard: &Guard) -> bool {
    !guard.acts() && !guard.routes() && guard.media().allows_all()
}

/// Redacts a request, judges it and writes down what was decided.
///
/// # Errors
/// As for a chat; [`ApiError::Unsupported`] where guards of others are to hear answers first, which these are not read well enough for.
pub(crate) async fn guard(core: &Arc<Core>, call: &Arc<Call>, asked: Asked) -> Result<Cleared, ApiError> {
    let gateway = &core.gateway;
    if gateway.external.is_asked(Phase::Output) {
        let message = "answers of a provider's own API can't be shown to the guards of others, which are to hear every answer (guardrails.external: output)";
        return Err(ApiError::Unsupported { param: "path".to_owned(), message: message.to_owned() });
    }
    let readable = asked.fields.is_some();
    let body = asked.body.clone();
    let (mut request, targets, Inspected { mut vault, original, doubts, .. }) = if body.len() < LARGE_BODY {
        read(gateway, call, asked)?
    } else {
        let (gateway, call) = (Arc::clone(gateway), Arc::clone(call));
        // As with chats.
        let reading = tokio::task::spawn_blocking(move || read(&gateway, &call, asked));
        reading.await.map_err(|_| ApiError::Internal)??
    };
    if !doubts.is_empty() {
        Box::pin(meant::settle(gateway, call, &doubts, (&request.model, &targets))).await?;
    }
    if readable && gateway.external.is_asked(Phase::Input) {
        let guarded = Guarded { request, vault };
        let asking = external::input(core, call, &targets, guarded, original);
        Guarded { request, vault } = Box::pin(asking).await?;
    }
    let answers = call.guard(&request.model).answers();
    let acts = answers.is_some_and(|guard| {
        let output = guard.output();
        let tools = output.tools.as_ref().is_some_and(|tools| tools.action == Action::Block);
        guard.acts() || tools || output.system_prompt == Action::Block
    });
    let answers = answers.is_some();
    let mut screening = None;
    if answers || !meant::is_unasked(gateway) {
        let mut talk = talk(&request);
        if readable && !meant::is_unasked(gateway) {
            Box::pin(meant::input(gateway, call, &mut talk, &targets)).await?;
        }
        screening = answers.then(|| Screening::new(core, call, &talk, &targets));
    }
    let body = if readable { request.respelled(None, &Map::new(), &|_| true) } else { body };
    Ok(Cleared { body, secured: request.secured().cloned(), vault, screening, acts })
}

fn read(
    gateway: &Gateway,
    call: &Call,
    asked: Asked,
) -> Result<(ChatRequest, Vec<Target>, Inspected), ApiError> {
    let Asked { fields, body, stream, passed, target } = asked;
    let model = target.name();
    // Headers and the model's name are looked into, whatever the body is.
    let fields = fields.unwrap_or_else(|| Map::from_iter([("model".to_owned(), json!(model))]));
    let mut request = ChatRequest::new(fields, body, model, stream, true);
    request.passed = passed;
    let mut targets = vec![target];
    let inspected = guards::input_with_doubts(gateway, call, &mut request, &mut targets)?;
    Ok((request, targets, inspected))
}

/// What of a request is talk, as OpenAI's chat completions say it: to be held against topics, and for what the operator says.
fn talk(request: &ChatRequest) -> ChatRequest {
    let fields = request.fields();
    let mut messages: Vec<Value> = Vec::new();
    let mut say = |role: &str, said: Option<&Value>| {
        let texts = said.map(texts).unwrap_or_default();
        if !texts.is_empty() {
            messages.push(json!({ "role": role, "content": texts.join("\n\n") }));
        }
    };
    for name in ["system", "systemInstruction", "system_instruction", "instructions"] {
        say("system", fields.get(name));
    }
    for name in ["messages", "contents", "input", "prompt", "query"] {
        match fields.get(name) {
            Some(Value::Array(items)) => {
                for item in items {
                    let role = match item.get("role").and_then(Value::as_str) {
                        Some("model" | "assistant") => "assistant",
                        Some("system" | "developer") => "system",
                        Some("tool" | "function") => "tool",
                        _ => "user",
                    };
                    say(role, Some(item));
                }
            }
            said => say("user", said),
        }
    }
    let fields = Map::from_iter([("messages".to_owned(), Value::Array(messages))]);
    ChatRequest::new(fields, Bytes::new(), request.model.clone(), request.stream, true)
}

/// The texts of a message, however its format holds them.
fn texts(said: &Value) -> Vec<&str> {
    match said {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(object) => {
            let inner = ["text", "content", "parts"].iter().filter_map(|name| object.get(*name));
            inner.flat_map(texts).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

impl Cleared {
    /// Whether its answer goes on as it comes: there is nothing to put back, and no rule for it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.vault.is_empty() && self.screening.is_none()
    }

    /// Whether a rule may change or end its answer, without which nothing of it may go on.
    pub(crate) fn is_screened(&self) -> bool {
        self.acts
    }

    /// Reads its answer.
    pub(crate) fn answer(self, chunks: Chunks) -> Answering {
        let screened = match self.screening {
            Some(screening) => screening.read(chunks),
            None => chunks.into(),
        };
        Answering { screened, relay: Some(Relay::new(self.vault)) }
    }
}

impl Answering {
    /// The next chunk; none when that is all.
    ///
    /// # Errors
    /// [`Broken`], once.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, Broken> {
        let Some(relay) = &mut self.relay else { return Ok(None) };
        match self.screened.next().await? {
            Some(chunk) => Ok(Some(relay.push(chunk))),
            None => Ok(self.relay.take().and_then(|relay| relay.finish().0)),
        }
    }
}

/// Open while an answer is on its way; dropped without being closed, it says that the answer was given up.
pub(crate) struct Open {
    account: Account,
    gateway: Arc<Gateway>,
    target: Target,
}

impl Open {
    pub(crate) fn new(gateway: &Arc<Gateway>, call: &Call, target: &Target) -> Self {
        let account = Account::open(gateway, call, Source::Provider { target: target.name() });
        Self { account, gateway: Arc::clone(gateway), target: target.clone() }
    }

    /// Says how it ended, and what it took.
    pub(crate) fn close(self, usage: Option<&Usage>, outcome: &'static str) {
        let Self { mut account, gateway, target } = self;
        if let Some(usage) = usage {
            let cost = gateway.prices.cost(&target.provider.kind, &target.model, usage);
            gateway.metrics.spent(&target.provider.name, usage);
            gateway.metrics.cost(cost);
            let tokens = (usage.prompt_tokens, usage.completion_tokens);
            account.paid(&Paid { tokens, cost, estimated: false });
        }
        account.close(outcome);
    }
}

/// What the head of an answer tells of who gave it.
pub(crate) fn head(
    gateway: &Gateway,
    call: &Call,
    target: &Target,
    (attempts, waited): (u32, Duration),
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    describe(&mut headers, &target.provider.name, &target.model, attempts);
    overhead(&mut headers, gateway, call, "provider", waited);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk_is_found_in_every_format() {
        let part = |text: &str| json!([{ "text": text }]);
        for said in [
            json!({ "systemInstruction": { "parts": part("s") }, "contents": [
                { "role": "user", "parts": part("a") }, { "role": "model", "parts": part("b") },
                { "role": "user", "parts": part("c") } ] }),
            json!({ "system": part("s"), "messages": [{ "role": "user", "content": part("a") },
                { "role": "assistant", "content": part("b") }, { "role": "user", "content": "c" }] }),
            json!({ "instructions": "s", "input": [{ "role": "user", "content": "a" },
                { "role": "assistant", "content": part("b") }, { "role": "user", "content": part("c") }] }),
        ] {
            let Value::Object(fields) = said else { panic!("an object") };
            let request = ChatRequest::new(fields, Bytes::new(), "p/m".to_owned(), false, true);
            let talk = talk(&request);
            assert_eq!((talk.system_texts(), talk.last_turn().as_deref()), (vec!["s"], Some("c")));
            assert_eq!(talk.fields()["messages"].as_array().map(Vec::len), Some(4));
        }
    }
}
