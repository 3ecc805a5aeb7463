//! Answers: one object, or in a stream a row of them, each adding to the candidates.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::{DecodeError, Sent, parse};
use crate::ids;
use crate::wire::chat::{Choice, Chunk, Delta, Function, ToolCall};
use crate::wire::usage::Usage;

/// Ends by which the model's answer can't be used: asking again, or elsewhere, may help.
const UNUSABLE: &[&str] = &[
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
    "TOO_MANY_TOOL_CALLS",
    "UNEXPECTED_TOOL_CALL",
];

/// Ends by which the provider does not want to say more.
const FILTERED: &[&str] = &[
    "BLOCKLIST",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_SAFETY",
    "LANGUAGE",
    "MODEL_ARMOR",
    "PROHIBITED_CONTENT",
    "RECITATION",
    "SAFETY",
    "SPII",
];

/// What is said of a candidate beside its parts, and goes on as it is called there.
const ABOUT: &[&str] = &["groundingMetadata", "citationMetadata", "urlContextMetadata"];

/// Reads a whole answer.
pub(super) fn whole(body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
    let body = parse(body)?;
    let mut reader = Reader::new(sent.clone());
    let mut chunk = reader.read(&body)?;
    if chunk.choices.is_empty() {
        return Err(DecodeError("the answer has no candidates".to_owned()));
    }
    chunk.usage = reader.usage.take();
    Ok(chunk)
}

/// What has to be known of an answer's beginning to read on.
#[cfg_attr(test, derive(Clone))]
pub(super) struct Reader {
    sent: Sent,
    id: String,
    created: u64,
    model: String,
    candidates: BTreeMap<u32, Seen>,
    /// The counts so far: each object has them anew.
    pub(super) usage: Option<Usage>,
}

/// What an object adds to a candidate.
struct Said {
    delta: Delta,
    /// What only Google says of a message.
    google: Map<String, Value>,
}

/// What came of a candidate.
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
struct Seen {
    calls: u32,
    /// The number of the block of reasoning, and whether it goes on.
    block: u64,
    thinks: bool,
    ended: bool,
}

impl Reader {
    pub(super) fn new(sent: Sent) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (id, model, candidates) = (String::new(), String::new(), BTreeMap::new());
        Self { sent, id, created, model, candidates, usage: None }
    }

    /// What an object adds.
    pub(super) fn read(&mut self, body: &Value) -> Result<Chunk, DecodeError> {
        if !body.is_object() {
            return Err(DecodeError("not an answer of generateContent".to_owned()));
        }
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        if self.id.is_empty() {
            let own = text("responseId");
            self.id = if own.is_empty() { ids::fresh("chatcmpl-") } else { own.to_owned() };
        }
        if self.model.is_empty() {
            text("modelVersion").clone_into(&mut self.model);
        }
        if let Some(counts) = body.get("usageMetadata") {
            self.usage = Some(usage(counts));
        }
        let candidates = body.get("candidates").and_then(Value::as_array).into_iter().flatten();
        let choices: Result<Vec<Choice>, DecodeError> =
            candidates.map(|candidate| self.candidate(candidate)).collect();
        Ok(Chunk { choices: choices?, ..self.bare() })
    }

    /// A chunk of this answer that says nothing yet.
    pub(super) fn bare(&self) -> Chunk {
        let (id, model) = (self.id.clone(), self.model.clone());
        Chunk { id, created: self.created, model, ..Chunk::default() }
    }

    /// Whether every candidate that began has ended.
    pub(super) fn is_complete(&self) -> bool {
        !self.candidates.is_empty() && self.candidates.values().all(|seen| seen.ended)
    }

    fn candidate(&mut self, candidate: &Value) -> Result<Choice, DecodeError> {
        let number = candidate.get("index").and_then(Value::as_u64).unwrap_or_default();
        let index = u32::try_from(number).unwrap_or(u32::MAX);
        let (tools, known) = (&self.sent.tools, self.candidates.contains_key(&index));
        let seen = self.candidates.entry(index).or_default();
        let delta = Delta { role: (!known).then(|| "assistant".to_owned()), ..Delta::default() };
        let mut said = Said { delta, google: Map::new() };
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            seen.part(&mut said, part, tools);
        }
        let Said { mut delta, google } = said;
        if !google.is_empty() {
            delta.rest.insert("extra_content".to_owned(), json!({ "google": google }));
        }
        for name in ABOUT {
            if let Some(about) = candidate.get(*name).filter(|about| !about.is_null()) {
                delta.rest.insert((*name).to_owned(), about.clone());
            }
        }
        let mut rest = Map::new();
        if let Some(result) = candidate.get("logprobsResult") {
            rest.insert("logprobs".to_owned(), logprobs(result));
        }
        let finish_reason = match candidate.get("finishReason").and_then(Value::as_str) {
            None | Some("" | "FINISH_REASON_UNSPECIFIED") => None,
            Some(reason) => {
                if let Some(word) = UNUSABLE.iter().find(|word| **word == reason) {
                    return Err(DecodeError(format!("the model's answer can't be used ({word})")));
                }
                seen.ended = true;
                Some(finish(reason, seen.calls > 0))
            }
        };
        if finish_reason == Some("content_filter")
            && let Some(ratings) = candidate.get("safetyRatings")
        {
            rest.insert("safetyRatings".to_owned(), ratings.clone());
        }
        Ok(Choice { index, delta, finish_reason: finish_reason.map(str::to_owned), rest })
    }
}

fn finish(reason: &str, called: bool) -> &'static str {
    match reason {
        "MAX_TOKENS" => "length",
        reason if FILTERED.contains(&reason) => "content_filter",
        _ if called => "tool_calls",
        _ => "stop",
    }
}

impl Seen {
    fn part(&mut self, said: &mut Said, part: &Value, tools: &BTreeMap<String, String>) {
        let Said { delta, google } = said;
        let signature = part.get("thoughtSignature").filter(|signature| signature.is_string());
        let thought = part.get("thought").and_then(Value::as_bool).unwrap_or_default();
        if let Some(call) = part.get("functionCall") {
            self.thinks = false;
            let mut call = self.call(call, tools);
            if let Some(signature) = signature {
                call.rest.insert("extra_content".to_owned(), signed(signature));
            }
            delta.tool_calls.push(call);
            return;
        }
        if let Some(signature) = signature {
            google.insert("thought_signature".to_owned(), signature.clone());
        }
        if let Some(text) = part.get("text").and_then(Value::as_str) {
            match thought {
                _ if text.is_empty() => {}
                true => self.thought(delta, text),
                false => {
                    self.thinks = false;
                    delta.content.get_or_insert_default().push_str(text);
                }
            }
        } else if let Some(data) = part.get("inlineData").filter(|data| is_image(data) && !thought) {
            let (kind, data) = (data["mimeType"].as_str(), data["data"].as_str());
            let url = format!("data:{};base64,{}", kind.unwrap_or_default(), data.unwrap_or_default());
            push(&mut delta.rest, "images", json!({ "type": "image_url", "image_url": { "url": url } }));
        } else if part.as_object().is_some_and(|part| part.keys().any(|key| key != "thoughtSignature"))
            && !thought
        {
            // Code that it ran and what came of it, and whatever there will be.
            push(google, "parts", part.clone());
        }
    }

    fn thought(&mut self, delta: &mut Delta, text: &str) {
        if !self.thinks {
            self.block += 1;
            self.thinks = true;
        }
        let block = json!({ "index": self.block - 1, "type": "thinking", "thinking": text });
        push(&mut delta.rest, "thinking_blocks", block);
        if let Value::String(all) = delta.rest.entry("reasoning_content").or_insert_with(|| json!("")) {
            all.push_str(text);
        }
    }

    fn call(&mut self, call: &Value, tools: &BTreeMap<String, String>) -> ToolCall {
        let name = call["name"].as_str().unwrap_or_default();
        let name = tools.get(name).map_or(name, String::as_str).to_owned();
        let arguments =
            call.get("args").filter(|args| args.is_object()).map_or("{}".to_owned(), Value::to_string);
        let id = call["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
        let index = self.calls;
        self.calls += 1;
        ToolCall {
            index: Some(index),
            id: Some(id.unwrap_or_else(|| ids::fresh("call_"))),
            kind: Some("function".to_owned()),
            function: Some(Function { name: Some(name), arguments: Some(arguments), ..Function::default() }),
            rest: Map::new(),
        }
    }
}

fn is_image(data: &Value) -> bool {
    data["mimeType"].as_str().is_some_and(|kind| kind.starts_with("image/"))
}

fn signed(signature: &Value) -> Value {
    json!({ "google": { "thought_signature": signature } })
}

fn push(fields: &mut Map<String, Value>, name: &str, item: Value) {
    if let Value::Array(items) = fields.entry(name).or_insert_with(|| json!([])) {
        items.push(item);
    }
}

/// Input with what was read from the cache and what tools put into it, output with what was thought.
fn usage(counts: &Value) -> Usage {
    let count = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (thought, cached) = (count("thoughtsTokenCount"), count("cachedContentTokenCount"));
    let prompt_tokens = count("promptTokenCount") + count("toolUsePromptTokenCount");
    let completion_tokens = count("candidatesTokenCount") + thought;
    let mut rest = Map::new();
    if cached > 0 {
        rest.insert("prompt_tokens_details".to_owned(), json!({ "cached_tokens": cached }));
    }
    if thought > 0 {
        rest.insert("completion_tokens_details".to_owned(), json!({ "reasoning_tokens": thought }));
    }
    let total_tokens = prompt_tokens + completion_tokens;
    Usage { prompt_tokens, completion_tokens, total_tokens, rest }
}

/// `logprobsResult` as OpenAI spells it.
fn logprobs(result: &Value) -> Value {
    let token = |candidate: &Value| {
        let token = candidate["token"].as_str().unwrap_or_default();
        json!({ "token": token, "logprob": candidate["logProbability"], "bytes": token.as_bytes() })
    };
    let tops = |at: usize| result["topCandidates"][at]["candidates"].as_array().into_iter().flatten();
    let chosen = result["chosenCandidates"].as_array().into_iter().flatten().enumerate();
    let content = chosen.map(|(at, candidate)| {
        let mut said = token(candidate);
        said["top_logprobs"] = tops(at).map(token).collect();
        said
    });
    json!({ "content": content.collect::<Vec<Value>>(), "refusal": null })
}
