//! Requests as the Responses API says them.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::messages;
use crate::chat::request::ChatRequest;
use crate::client_api::Format;
use crate::provider_api::fields::Fields;
use crate::provider_api::openai::{effort, takes_effort};
use crate::provider_api::{EncodeError, Encoded, Encoding, Sent};
use crate::wire::responses::settings;

/// Fields that both APIs have, or that only this one has and a client of another may say all the same.
const SAME: [&str; 18] = [
    "context_management",
    "max_tool_calls",
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "temperature",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "include",
];

/// Fewer tokens this API does not write.
const LEAST: u64 = 16;

/// The request in this format: the client's own bytes where it is the client's format.
pub(super) fn encode(request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
    let mut dropped = Vec::new();
    if request.format == Format::OpenAiResponses {
        return own(request, how, dropped);
    }
    let mut body = Encoder { how, fields: Fields::new(request.fields()), body: Map::new() };
    body.all(&mut dropped)?;
    let mut body = body.body;
    for (name, value) in &how.quirks.defaults {
        body.entry(name).or_insert_with(|| value.clone());
    }
    // Nobody will ask for it by its id.
    body.entry("store").or_insert(json!(false));
    let body = Bytes::from(Value::Object(body).to_string());
    Ok(Encoded { body, dropped, ..Encoded::default() })
}

/// What a client of this format said, byte for byte where nothing has to differ.
fn own(request: &ChatRequest, how: &Encoding<'_>, mut dropped: Vec<String>) -> Result<Encoded, EncodeError> {
    let (said, quirks) = (request.said(), how.quirks);
    let mut more = messages::without_foreign_reasoning(said);
    let mut gone = Vec::new();
    for (name, value) in said.iter().filter(|(_, value)| !value.is_null()) {
        if quirks.unsupported.contains(name) && !how.leave_out(name, &mut dropped)? {
            gone.push(name.as_str());
        } else if let Some(other) = quirks.rename.get(name) {
            gone.push(name.as_str());
            more.insert(other.clone(), value.clone());
        }
    }
    for (name, value) in &quirks.defaults {
        if said.get(name).is_none_or(Value::is_null) {
            more.entry(name).or_insert_with(|| value.clone());
        }
    }
    let body = request.respelled(Some(how.model), &more, &|name| !gone.contains(&name));
    Ok(Encoded { body, sent: Sent { native: true, ..Sent::default() }, dropped, ..Encoded::default() })
}

struct Encoder<'a> {
    how: &'a Encoding<'a>,
    fields: Fields<'a>,
    body: Map<String, Value>,
}

impl Encoder<'_> {
    fn put(&mut self, name: &str, value: Value) {
        self.body.insert(name.to_owned(), value);
    }

    fn all(&mut self, dropped: &mut Vec<String>) -> Result<(), EncodeError> {
        self.put("model", json!(self.how.model));
        let said = messages::encode(self.fields.take("messages"), self.how, dropped)?;
        if let Some(instructions) = said.instructions {
            self.put("instructions", instructions);
        }
        self.put("input", Value::Array(said.items));
        self.one_choice()?;
        self.length();
        self.tools();
        self.answer_form();
        self.reasoning(dropped)?;
        if self.how.stream {
            self.put("stream", json!(true));
        }
        for name in SAME {
            if let Some(value) = self.fields.take(name) {
                self.put(name, value.clone());
            }
        }
        self.options();
        let unsupported: Vec<String> = self
            .how
            .quirks
            .unsupported
            .iter()
            .filter(|name| self.body.contains_key(*name))
            .cloned()
            .collect();
        for name in unsupported {
            if !self.how.leave_out(&name, dropped)? {
                self.body.remove(&name);
            }
        }
        let passed = self.fields.rest(self.how, dropped)?;
        self.body.extend(passed.into_iter().map(|(name, value)| (name.to_owned(), value.clone())));
        Ok(())
    }

    /// What changes the meaning of a request, and has no word here.
    fn one_choice(&mut self) -> Result<(), EncodeError> {
        self.fields.one_answer()?;
        Ok(())
    }

    fn length(&mut self) {
        let (least, most) = (self.fields.take("max_tokens"), self.fields.take("max_completion_tokens"));
        if let Some(tokens) = most.or(least) {
            let refused = tokens.as_u64().is_some_and(|tokens| tokens < LEAST);
            self.put("max_output_tokens", if refused { json!(LEAST) } else { tokens.clone() });
        }
    }

    fn tools(&mut self) {
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let mut tools: Vec<Value> = list(self.fields.take("tools")).iter().map(settings::tool).collect();
        let function = |function: &Value| json!({ "type": "function", "function": function });
        let functions = list(self.fields.take("functions"));
        tools.extend(functions.iter().map(|one| settings::tool(&function(one))));
        if let Some(options) = self.fields.take("web_search_options") {
            tools.push(web_search(options));
        }
        if !tools.is_empty() {
            self.put("tools", Value::Array(tools));
        }
        let called = self.fields.take("function_call").map(|called| match called {
            Value::Object(_) => settings::choice(&function(called)),
            word => word.clone(),
        });
        if let Some(choice) = self.fields.take("tool_choice").map(settings::choice).or(called) {
            self.put("tool_choice", choice);
        }
    }

    fn answer_form(&mut self) {
        let mut text = match self.fields.take("text") {
            Some(Value::Object(text)) => text.clone(),
            _ => Map::new(),
        };
        if let Some(format) = self.fields.take("response_format") {
            text.insert("format".to_owned(), settings::format(format));
        }
        if let Some(verbosity) = self.fields.take("verbosity") {
            text.insert("verbosity".to_owned(), verbosity.clone());
        }
        if !text.is_empty() {
            self.put("text", Value::Object(text));
        }
    }

    /// How much it is to think, and that what it thought comes so that it can be given back.
    fn reasoning(&mut self, dropped: &mut Vec<String>) -> Result<(), EncodeError> {
        let mut reasoning = match self.fields.take("reasoning") {
            Some(Value::Object(reasoning)) => reasoning.clone(),
            _ => Map::new(),
        };
        // Where the catalogue knows which models think, others refuse the field.
        let takes = self.how.quirks.reasoning_models.is_empty() || takes_effort(self.how);
        let said = self.fields.take("reasoning_effort").cloned();
        if let Some(thinking) = self.fields.take("thinking") {
            match effort(thinking).filter(|_| takes) {
                Some(word) if said.is_none() => drop(reasoning.insert("effort".to_owned(), json!(word))),
                None if thinking["type"] != "disabled" => drop(self.how.leave_out("thinking", dropped)?),
                _ => {}
            }
        }
        if let Some(said) = said
            && (takes || self.how.leave_out("reasoning_effort", dropped)?)
        {
            reasoning.insert("effort".to_owned(), said);
        }
        if !reasoning.is_empty() {
            self.put("reasoning", Value::Object(reasoning));
        }
        Ok(())
    }

    /// What is told beside the answer.
    fn options(&mut self) {
        let mut include = match self.body.remove("include") {
            Some(Value::Array(include)) => include,
            _ => Vec::new(),
        };
        let mut add = |name: &str| {
            if !include.contains(&json!(name)) {
                include.push(json!(name));
            }
        };
        if self.fields.take("logprobs") == Some(&json!(true)) {
            add("message.output_text.logprobs");
        }
        // Models that don't think refuse it; `gpt-5-chat` is none that does.
        let thinks = takes_effort(self.how) && !self.how.model.contains("-chat");
        if thinks || self.body.contains_key("reasoning") {
            add("reasoning.encrypted_content");
        }
        if !include.is_empty() {
            self.put("include", Value::Array(include));
        }
        // Counts come unasked here.
        if let Some(Value::Object(mut options)) = self.body.remove("stream_options") {
            options.remove("include_usage");
            if self.how.stream && !options.is_empty() {
                self.put("stream_options", Value::Object(options));
            }
        }
    }
}

/// Searching the web is a tool here.
fn web_search(options: &Value) -> Value {
    let mut tool = json!({ "type": "web_search" });
    if let Some(size) = options.get("search_context_size") {
        tool["search_context_size"] = size.clone();
    }
    if let Some(Value::Object(place)) = options.pointer("/user_location/approximate") {
        let mut place = place.clone();
        place.insert("type".to_owned(), json!("approximate"));
        tool["user_location"] = Value::Object(place);
    }
    tool
}
