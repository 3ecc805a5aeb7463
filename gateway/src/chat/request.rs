//! A chat request on its way: what the client sent, as one JSON object, and what the pipeline needs to know of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sluice_guardrails::Proof;

use crate::audit::Subject;
use crate::client_api::Format;
use crate::error::ApiError;
use crate::raw::Raw;
use crate::route::Facts;

/// A chat completion request. No `Debug`: it holds what people wrote.
pub struct ChatRequest {
    /// As OpenAI's chat completions say it.
    fields: Map<String, Value>,
    /// As the client said it, where that is another format. Guards read and change this, and `fields` follow.
    said: Option<Map<String, Value>>,
    /// The client's own bytes, as long as they say the same.
    original: Option<Raw<Bytes>>,
    /// The format in which the client asked.
    pub format: Format,
    /// What of the request's headers goes along to a provider that speaks the same format.
    pub passed: HeaderMap,
    /// What an answer repeats of the request, as the client said it, where its format wants that.
    pub echo: Option<Arc<Map<String, Value>>>,
    /// What its client calls the model and wants to read in the answer, where its format goes by that.
    pub called: Option<Arc<str>>,
    /// The model asked for.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the client asked for token counts at the end of the stream.
    pub include_usage: bool,
    secured: Option<Arc<Secured>>,
    /// What decides who is asked.
    facts: Facts,
    /// The branches of its route that these lead to.
    branch: String,
    /// How long the client waits at most, if it said so.
    patience: Option<Duration>,
    /// How often it wants targets to be asked again at most, if it said so.
    retries: Option<u32>,
}

/// What goes with a request in which something was found that must not go everywhere.
pub struct Secured {
    /// What must not stand in anything that is sent; none if nothing was redacted.
    pub proof: Option<Proof>,
    /// What stands in it for whose sake it is sent to in-house targets alone: an entity.
    pub in_house: Option<&'static str>,
    /// Signed reasoning that goes out as it is although something stands in it, as it is spelled in the body.
    pub kept: Vec<Vec<u8>>,
    /// Whom the audit log names.
    pub subject: Arc<Subject>,
}

impl Secured {
    /// What of a body is looked into: all but what is kept as it is, each once.
    pub fn looked_into<'b>(&self, body: &'b [u8]) -> Cow<'b, [u8]> {
        let mut body = Cow::Borrowed(body);
        for block in &self.kept {
            if let Some(at) = memchr::memmem::find(&body, block) {
                body.to_mut().splice(at..at + block.len(), *b"null");
            }
        }
        body
    }
}

/// How a client takes its answer.
#[derive(Clone)]
pub struct Delivery {
    /// In which format.
    pub format: Format,
    /// As a stream.
    pub stream: bool,
    /// With token counts at the end of the stream.
    pub include_usage: bool,
    /// What it repeats of the request, as the client said it.
    pub echo: Option<Arc<Map<String, Value>>>,
    /// What it calls the model; none for the provider's name of it.
    pub called: Option<Arc<str>>,
}

impl Delivery {
    /// Whether an answer goes out as it is stored, but for its id and time.
    pub fn as_stored(&self) -> bool {
        !self.stream && self.format == Format::OpenAiChat
    }
}

/// The texts of the messages whose role is one of those that are wanted: whole contents, and the texts among parts. What stands
/// beside the messages as `system` is a system's.
pub(crate) fn texts(fields: &Map<String, Value>, is_wanted: impl Fn(&str) -> bool) -> Vec<&str> {
    let messages = fields.get("messages").and_then(Value::as_array).into_iter().flatten();
    let wanted =
        messages.filter(|message| message.get("role").and_then(Value::as_str).is_some_and(&is_wanted));
    let contents = wanted.filter_map(|message| message.get("content"));
    let beside = fields.get("system").filter(|_| is_wanted("system"));
    beside
        .into_iter()
        .chain(contents)
        .flat_map(|content| match content {
            Value::String(text) => vec![text.as_str()],
            Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
            _ => Vec::new(),
        })
        .collect()
}

impl ChatRequest {
    /// A request of these fields of OpenAI's chat completions, which `original` spells.
    pub fn new(
        fields: Map<String, Value>,
        original: Bytes,
        model: String,
        stream: bool,
        include_usage: bool,
    ) -> Self {
        Self {
            fields,
            said: None,
            original: Some(Raw::new(original)),
            format: Format::OpenAiChat,
            passed: HeaderMap::new(),
            echo: None,
            called: None,
            model,
            stream,
            include_usage,
            secured: None,
            facts: Facts { stream, ..Facts::default() },
            branch: String::new(),
            patience: None,
            retries: None,
        }
    }

    /// What decides who is asked.
    pub fn facts(&self) -> Facts {
        Facts {
            in_house: self.secured().is_some_and(|secured| secured.in_house.is_some()),
            ..self.facts.clone()
        }
    }

    /// From now on this decides who is asked; it leads to these branches of the route.
    pub fn steer(&mut self, facts: Facts, branch: String, patience: Option<Duration>) {
        (self.facts, self.branch, self.patience) = (facts, branch, patience);
    }

    /// Targets are asked again no more often than this.
    pub fn limit_retries(&mut self, retries: Option<u32>) {
        self.retries = retries;
    }

    /// The rounds of asking again, of those that are configured.
    pub fn rounds(&self, configured: u32) -> u32 {
        self.retries.map_or(configured, |retries| retries.min(configured))
    }

    /// The branches of its route that it goes to; empty if there are none.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// How long the client waits at most, if it said so.
    pub fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// A request of these fields of another format, which `original` spells.
    ///
    /// # Errors
    /// As [`crate::client_api::ClientApi::as_chat`].
    pub fn in_format(
        format: Format,
        said: Map<String, Value>,
        original: Bytes,
        model: String,
        stream: bool,
    ) -> Result<Self, ApiError> {
        let fields = format.api().as_chat(&said)?;
        // Its streams tell the counts unasked.
        let include_usage = true;
        let request = Self::new(fields, original, model, stream, include_usage);
        Ok(Self { said: Some(said), format, ..request })
    }

    /// From now on the request is sent only as far as this lets it.
    pub fn secure(&mut self, secured: Secured) {
        self.secured = Some(Arc::new(secured));
    }

    /// What must hold for whatever of it is sent; none if nothing was found that matters.
    pub fn secured(&self) -> Option<&Arc<Secured>> {
        self.secured.as_ref()
    }

    /// Why neither the request nor its answer is for the cache, in which nothing personal is kept; empty if they are.
    pub fn uncached(&self) -> &'static str {
        match self.secured.as_deref() {
            Some(Secured { in_house: Some(_), .. }) => "in_house",
            Some(Secured { kept, .. }) if !kept.is_empty() => "signed_thinking",
            _ => "",
        }
    }

    /// How the client takes its answer.
    pub fn delivery(&self) -> Delivery {
        let (format, echo, called) = (self.format, self.echo.clone(), self.called.clone());
        Delivery { format, stream: self.stream, include_usage: self.include_usage, echo, called }
    }

    /// What the operator says to the model.
    pub fn system_texts(&self) -> Vec<&str> {
        texts(&self.fields, |role| matches!(role, "system" | "developer"))
    }

    /// The fields as OpenAI's chat completions say them, to read.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The fields as the client said them, in its own format.
    pub fn said(&self) -> &Map<String, Value> {
        self.said.as_ref().unwrap_or(&self.fields)
    }

    /// Lets `change` rewrite the fields, in the client's own format; it says whether it did.
    ///
    /// # Errors
    /// Whatever `change` gives.
    pub fn rewrite<E>(&mut self, change: impl FnOnce(&mut Value) -> Result<bool, E>) -> Result<bool, E> {
        let fields = self.said.as_mut().unwrap_or(&mut self.fields);
        let mut value = Value::Object(std::mem::take(fields));
        let changed = change(&mut value);
        if let Value::Object(rewritten) = value {
            *fields = rewritten;
        }
        if !matches!(changed, Ok(false)) {
            self.original = None;
            if let Some(said) = &self.said {
                // Texts changed, and no shapes. What can't be read all the same says nothing to anybody, and is refused.
                self.fields = self.format.api().as_chat(said).unwrap_or_default();
            }
        }
        changed
    }

    /// Whether it can still be read after what guards changed in it.
    pub fn is_intact(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The text of the user's last turn, parts joined by a blank line; none if the last message is of another role or
    /// holds more than text.
    pub fn last_turn(&self) -> Option<String> {
        let message = self.fields.get("messages")?.as_array()?.last()?.as_object()?;
        if message.get("role")?.as_str()? != "user" {
            return None;
        }
        let text = match message.get("content")? {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                let texts: Option<Vec<&str>> = parts
                    .iter()
                    .map(|part| {
                        (part.get("type")?.as_str()? == "text").then(|| part.get("text")?.as_str()).flatten()
                    })
                    .collect();
                texts?.join("\n\n")
            }
            _ => return None,
        };
        Some(text)
    }

    /// The body to send to a provider of OpenAI's chat completions: the client's own values, byte for byte where no guard changed
    /// them, with `model` replaced, those fields alone that are to stay, and `more`. In a stream token counts are asked for
    /// as well, since the ledger needs them, or not at all where the provider would refuse the question (`stream_usage` false).
    pub fn chat_body(
        &self,
        model: &str,
        stream_usage: bool,
        mut more: Map<String, Value>,
        stays: &dyn Fn(&str) -> bool,
    ) -> Bytes {
        if self.stream {
            let mut options = self.fields.get("stream_options").cloned().unwrap_or_else(|| json!({}));
            if !options.is_object() {
                options = json!({});
            }
            if let Value::Object(options) = &mut options {
                options.remove("include_usage");
                if stream_usage {
                    options.insert("include_usage".to_owned(), json!(true));
                }
            }
            if options.as_object().is_some_and(|options| !options.is_empty()) {
                more.insert("stream_options".to_owned(), options);
            }
        }
        let stays = |key: &str| !(self.stream && key == "stream_options") && stays(key);
        let original = self.original.as_ref().filter(|_| self.said.is_none());
        spell(original, &self.fields, Some(model), &more, &stays)
    }

    /// The client's own body, byte for byte where no guard changed it, with another `model` in front, or none, with those
    /// members alone that are to stay, and with `more` behind them.
    pub fn respelled(
        &self,
        model: Option<&str>,
        more: &Map<String, Value>,
        stays: &dyn Fn(&str) -> bool,
    ) -> Bytes {
        spell(self.original.as_ref(), self.said(), model, more, stays)
    }
}

/// Spells an object: by the bytes that spell it where there are any, else by its fields.
fn spell(
    original: Option<&Raw<Bytes>>,
    fields: &Map<String, Value>,
    model: Option<&str>,
    more: &Map<String, Value>,
    stays: &dyn Fn(&str) -> bool,
) -> Bytes {
    let original = original.map(Raw::expose);
    let mut out = Vec::with_capacity(original.map_or(1024, |o| o.len() + 64));
    let original = original.and_then(|bytes| serde_json::from_slice::<RawObject>(bytes).ok());
    out.push(b'{');
    if let Some(model) = model {
        member(&mut out, "model", json!(model).to_string().as_bytes());
    }
    let forwarded = |key: &str| key != "model" && stays(key) && !more.contains_key(key);
    match &original {
        Some(RawObject(members)) => {
            for (key, value) in members.iter().filter(|(key, _)| forwarded(key)) {
                member(&mut out, key, value.get().as_bytes());
            }
        }
        None => {
            for (key, value) in fields.iter().filter(|(key, _)| forwarded(key)) {
                member(&mut out, key, value.to_string().as_bytes());
            }
        }
    }
    for (key, value) in more {
        member(&mut out, key, value.to_string().as_bytes());
    }
    out.push(b'}');
    Bytes::from(out)
}

fn member(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    if out.len() > 1 {
        out.push(b',');
    }
    out.extend_from_slice(json!(key).to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(value);
}

/// The members of an object in their order, values as they were spelled.
struct RawObject<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(RawObject(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_api::openai_chat::parse;

    fn request(body: &str) -> ChatRequest {
        parse(&Bytes::copy_from_slice(body.as_bytes())).ok().unwrap()
    }

    impl ChatRequest {
        fn upstream_body(&self, model: &str, stream_usage: bool) -> Bytes {
            self.chat_body(model, stream_usage, Map::new(), &|_| true)
        }
    }

    #[test]
    fn an_untouched_request_goes_up_byte_for_byte_but_for_the_model() {
        let body = r#"{"messages":[{"role":"user","content":"\u00fc  x"}],"model":"m","seed": 12345678901234567890123,"top_k":1.50}"#;
        let sent = request(body).upstream_body("other", true);
        assert_eq!(
            sent,
            r#"{"model":"other","messages":[{"role":"user","content":"\u00fc  x"}],"seed":12345678901234567890123,"top_k":1.50}"#
        );
    }

    #[test]
    fn a_stream_asks_for_token_counts_and_keeps_its_other_options() {
        let body = r#"{"model":"m","stream":true,"stream_options":{"x":1},"messages":[{"role":"user","content":"a"}]}"#;
        let sent: Value = serde_json::from_slice(&request(body).upstream_body("m", true)).unwrap();
        assert_eq!(sent["stream_options"], json!({"x": 1, "include_usage": true}));
        let sent: Value = serde_json::from_slice(&request(body).upstream_body("m", false)).unwrap();
        assert_eq!(
            sent["stream_options"],
            json!({"x": 1}),
            "a provider that would refuse the question is not asked"
        );
    }

    #[test]
    fn a_rewritten_request_goes_up_as_rewritten() {
        let mut request = request(r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#);
        let done: Result<bool, ()> = request.rewrite(|value| {
            value["messages"][0]["content"] = json!("b");
            Ok(true)
        });
        assert_eq!(done, Ok(true));
        assert_eq!(
            request.upstream_body("m", true),
            r#"{"model":"m","messages":[{"role":"user","content":"b"}]}"#
        );
    }

    #[test]
    fn the_last_turn_is_text_that_a_user_wrote_last() {
        let last = |messages: &str| request(&format!(r#"{{"model":"m","messages":{messages}}}"#)).last_turn();
        assert_eq!(last(r#"[{"role":"user","content":"a"}]"#).as_deref(), Some("a"));
        let parts = r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#;
        assert_eq!(last(parts).as_deref(), Some("a\n\nb"));
        assert_eq!(last(r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]"#), None);
        assert_eq!(
            last(r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]"#),
            None
        );
    }
}
