//! Requests as Anthropic's Messages API says them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::model::Model;
use super::{messages, tools};
use crate::chat::request::ChatRequest;
use crate::client_api::Format;
use crate::config::DropParams;
use crate::provider_api::fields::Fields;
use crate::provider_api::{EncodeError, Encoded, Encoding, Sent};

static VERSION: HeaderName = HeaderName::from_static("anthropic-version");
static BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// What the version of the API is where nobody says.
const DEFAULT_VERSION: &str = "2023-06-01";
/// How long an answer may be where neither client nor catalogue says: the API wants a number.
const DEFAULT_MAX_TOKENS: u64 = 4096;
/// The same on Vertex AI, whose kind says nothing of it: as the catalogue has it for Anthropic's own.
const VERTEX_MAX_TOKENS: u64 = 8192;
/// Where the version stands on Vertex AI, and which it is.
pub(in crate::provider_api) const VERSION_IN_BODY: &str = "anthropic_version";
pub(in crate::provider_api) const VERTEX_VERSION: &str = "vertex-2023-10-16";
/// The API takes no smaller budget for thinking.
const SMALLEST_BUDGET: u64 = 1024;
/// The tool whose arguments are the answer, for models that keep to no schema by themselves.
const ANSWER_TOOL: &str = "answer_in_json";

/// Fields that only this API has; a client of another format may say them all the same.
const OWN: &[&str] = &[
    "cache_control",
    "container",
    "context_management",
    "diagnostics",
    "inference_geo",
    "mcp_servers",
    "speed",
];

/// Who runs the models: others than Anthropic want some things elsewhere.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::provider_api) enum Host {
    /// Anthropic.
    Anthropic,
    /// Google: the model is in the address, and the version in the body.
    Vertex,
    /// Google, where it counts tokens: the model is in the body, too.
    VertexCount,
}

impl Host {
    fn has_model_in_body(self) -> bool {
        self != Self::Vertex
    }

    /// What its bodies hold that Anthropic's don't.
    fn own_members(self) -> Option<(&'static str, &'static str)> {
        (self != Self::Anthropic).then_some((VERSION_IN_BODY, VERTEX_VERSION))
    }

    /// How long an answer may be where nobody says.
    fn usual_max_tokens(self, model: Model) -> u64 {
        match (self, model) {
            // The first that it had write no more.
            (Self::Anthropic, _) | (_, Model::Claude(3, 0)) => DEFAULT_MAX_TOKENS,
            _ => VERTEX_MAX_TOKENS,
        }
    }
}

/// The request in this format: the client's own bytes where it is the client's format.
pub(in crate::provider_api) fn encode_for(
    request: &ChatRequest,
    how: &Encoding<'_>,
    host: Host,
) -> Result<Encoded, EncodeError> {
    let model = host.has_model_in_body().then_some(how.model);
    if request.format == Format::AnthropicMessages {
        let mut more = messages::without_unsigned(request.said());
        more.extend(host.own_members().map(|(name, value)| (name.to_owned(), json!(value))));
        let body = request.respelled(model, &more, &|_| true);
        let headers = headers((how, host), Some(&request.passed), &[])?;
        return Ok(Encoded {
            body,
            headers,
            sent: Sent { native: true, ..Sent::default() },
            dropped: Vec::new(),
        });
    }
    let mut encoder = Encoder {
        how,
        host,
        model: Model::of(how.model),
        fields: Fields::new(request.fields()),
        body: Map::new(),
        sent: Sent::default(),
        dropped: Vec::new(),
        betas: Vec::new(),
    };
    encoder.all()?;
    let Encoder { body, sent, dropped, betas, .. } = encoder;
    let body = Bytes::from(Value::Object(body).to_string());
    Ok(Encoded { body, headers: headers((how, host), None, &betas)?, sent, dropped })
}

/// The API's version, and features that have to be named: the client's, where it speaks the same format, and ours.
fn headers(
    (how, host): (&Encoding<'_>, Host),
    passed: Option<&HeaderMap>,
    betas: &[&'static str],
) -> Result<HeaderMap, EncodeError> {
    let version = how.settings.get("api_version").map_or(DEFAULT_VERSION, String::as_str);
    let version = HeaderValue::from_str(version)
        .map_err(|_| EncodeError::invalid("api_version", "'api_version' can't stand in a header"))?;
    let mut headers = HeaderMap::new();
    if host == Host::Anthropic {
        headers.insert(VERSION.clone(), version);
    }
    for (name, value) in passed.into_iter().flatten() {
        if name == VERSION && host != Host::Anthropic {
            // It stands in the body.
        } else if name == VERSION {
            headers.insert(name.clone(), value.clone());
        } else {
            headers.append(name.clone(), value.clone());
        }
    }
    for beta in betas {
        headers.append(BETA.clone(), HeaderValue::from_static(beta));
    }
    Ok(headers)
}

struct Encoder<'a> {
    how: &'a Encoding<'a>,
    host: Host,
    model: Model,
    fields: Fields<'a>,
    body: Map<String, Value>,
    sent: Sent,
    dropped: Vec<String>,
    betas: Vec<&'static str>,
}

impl Encoder<'_> {
    fn all(&mut self) -> Result<(), EncodeError> {
        if self.host.has_model_in_body() {
            self.put("model", json!(self.how.model));
        }
        if let Some((name, value)) = self.host.own_members() {
            self.put(name, json!(value));
        }
        let names = tools::Names::new(self.fields.take("tools"), self.fields.take("functions"));
        let said = messages::encode(self.fields.take("messages"), &names, self.how, &mut self.dropped)?;
        if !said.system.is_empty() {
            self.put("system", messages::joined(said.system));
        }
        self.put("messages", Value::Array(said.messages));
        self.betas = said.betas;
        self.one_choice()?;
        self.tools(&names)?;
        self.answer_form()?;
        self.thinking(said.replays_thinking)?;
        self.sampling()?;
        if let Some(stop) = self.fields.take("stop") {
            let stop = if stop.is_string() { json!([stop]) } else { stop.clone() };
            self.put("stop_sequences", stop);
        }
        self.whose();
        if self.how.stream {
            self.put("stream", json!(true));
        }
        for name in OWN {
            if let Some(value) = self.fields.take(name) {
                self.put(name, value.clone());
            }
        }
        self.sent.tools = names.changed();
        let passed = self.fields.rest(self.how, &mut self.dropped)?;
        self.body.extend(passed.into_iter().map(|(name, value)| (name.to_owned(), value.clone())));
        Ok(())
    }

    fn put(&mut self, name: &str, value: Value) {
        self.body.insert(name.to_owned(), value);
    }

    fn leave_out(&mut self, field: &str) -> Result<bool, EncodeError> {
        self.how.leave_out(field, &mut self.dropped)
    }

    /// Fields that say nothing by their usual values, and something that can't be said otherwise.
    fn one_choice(&mut self) -> Result<(), EncodeError> {
        self.fields.one_answer()?;
        for (name, usual) in [
            ("presence_penalty", json!(0)),
            ("frequency_penalty", json!(0)),
            ("logit_bias", json!({})),
            ("logprobs", json!(false)),
        ] {
            let said = self.fields.take(name).cloned();
            let Some(said) = said else { continue };
            let is_usual = said == usual || (said.as_f64().is_some() && said.as_f64() == usual.as_f64());
            if !is_usual && self.leave_out(name)? {
                self.put(name, said);
            }
        }
        Ok(())
    }

    fn tools(&mut self, names: &tools::Names) -> Result<(), EncodeError> {
        let strict = self.model.keeps_schemas();
        let defined = names.encode(self.how, strict, &mut self.dropped)?;
        let choice = self.fields.take("tool_choice").or(self.fields.take("function_call"));
        let one_at_a_time = self.fields.take("parallel_tool_calls") == Some(&Value::Bool(false));
        if defined.is_empty() {
            return Ok(());
        }
        self.put("tools", Value::Array(defined));
        let mut said = match choice {
            None => None,
            Some(choice) => tools::choice(choice, names, self.how, &mut self.dropped)?,
        };
        if one_at_a_time && said.as_ref().is_none_or(|choice| choice["type"] != "none") {
            said.get_or_insert_with(|| json!({ "type": "auto" }))["disable_parallel_tool_use"] = json!(true);
        }
        if let Some(said) = said {
            self.put("tool_choice", said);
        }
        Ok(())
    }

    /// Answers in JSON: natively, else as the arguments of a tool that has to be called.
    fn answer_form(&mut self) -> Result<(), EncodeError> {
        let Some(form) = self.fields.take("response_format") else { return Ok(()) };
        let schema = match form.get("type").and_then(Value::as_str) {
            Some("text") => return Ok(()),
            Some("json_object") => None,
            Some("json_schema") => {
                let schema = form.get("json_schema").and_then(|named| named.get("schema"));
                let missing = || {
                    let field = "response_format.json_schema.schema";
                    EncodeError::invalid(field, format!("'{field}' is missing"))
                };
                Some(schema.filter(|schema| schema.is_object()).ok_or_else(missing)?)
            }
            _ => {
                let field = "response_format.type";
                let expected = format!("'{field}' must be 'text', 'json_object' or 'json_schema'");
                return Err(EncodeError::invalid(field, expected));
            }
        };
        if let (Some(schema), true) = (schema, self.model.keeps_schemas()) {
            self.put("output_config", json!({ "format": { "type": "json_schema", "schema": schema } }));
            return Ok(());
        }
        let schema = schema.cloned().unwrap_or_else(|| json!({ "type": "object" }));
        let tool = json!({ "name": ANSWER_TOOL, "input_schema": schema,
            "description": "Give the answer to the user as the arguments of this tool." });
        let Value::Array(tools) = self.body.entry("tools").or_insert_with(|| json!([])) else {
            return Ok(());
        };
        tools.push(tool);
        let choice = if tools.len() == 1 {
            json!({ "type": "tool", "name": ANSWER_TOOL })
        } else {
            json!({ "type": "any" })
        };
        self.put("tool_choice", choice);
        self.sent.answer_tool = Some(ANSWER_TOOL.to_owned());
        Ok(())
    }

    /// How much the model thinks, and how long the answer may be, of which thinking is a part.
    fn thinking(&mut self, replayed: bool) -> Result<(), EncodeError> {
        let given = ["max_completion_tokens", "max_tokens"].map(|name| self.fields.take(name));
        let given = given.into_iter().flatten().next();
        let usual = self.how.quirks.defaults.get("max_tokens").and_then(Value::as_u64);
        let usual = usual.unwrap_or_else(|| self.host.usual_max_tokens(self.model));
        let mut max_tokens = given.cloned().unwrap_or_else(|| json!(usual));
        let effort = self.fields.take("reasoning_effort").and_then(Value::as_str);
        let own = self.fields.take("output_config").and_then(Value::as_object).cloned();
        let thinking = self.fields.take("thinking").cloned();
        if let Some(config) = own {
            self.output_config().extend(config);
        }
        let forced = matches!(self.body.get("tool_choice"), Some(choice) if choice["type"] == "tool" || choice["type"] == "any");
        match (thinking, effort) {
            (Some(thinking), _) => self.put("thinking", thinking),
            (None, None | Some("none")) => {}
            (None, Some(effort)) if self.model.is_adaptive() => {
                let effort = match effort {
                    "minimal" | "low" => "low",
                    "medium" => "medium",
                    "xhigh" if self.model.takes_xhigh() => "xhigh",
                    "max" => "max",
                    _ => "high",
                };
                self.output_config().insert("effort".to_owned(), json!(effort));
                if !forced {
                    self.put("thinking", json!({ "type": "adaptive" }));
                }
            }
            (None, Some(effort)) => {
                let wanted = match effort {
                    "minimal" => SMALLEST_BUDGET,
                    "low" => 2048,
                    "medium" => 8192,
                    _ => 16384,
                };
                let room = given.and_then(Value::as_u64);
                let budget = room.map_or(wanted, |room| wanted.min(room.saturating_sub(1)));
                // The API wants the thoughts of a turn whose tools were called, and none where a tool has to be called.
                if budget < SMALLEST_BUDGET || forced || !replayed {
                    self.leave_out("reasoning_effort")?;
                } else {
                    if given.is_none() {
                        max_tokens = json!(usual + budget);
                    }
                    self.put("thinking", json!({ "type": "enabled", "budget_tokens": budget }));
                }
            }
        }
        self.put("max_tokens", max_tokens);
        Ok(())
    }

    fn output_config(&mut self) -> &mut Map<String, Value> {
        let config = self.body.entry("output_config").or_insert_with(|| json!({}));
        if !config.is_object() {
            *config = json!({});
        }
        match config {
            Value::Object(config) => config,
            _ => unreachable!("made an object just now"),
        }
    }

    /// Temperature and the like, of which thinking models take less, and the newest nothing.
    fn sampling(&mut self) -> Result<(), EncodeError> {
        let thinks = self.body.get("thinking").is_some_and(|thinking| thinking["type"] != "disabled");
        let samples = self.model.samples();
        let usual = |value: &Value| value.as_f64() == Some(1.0);
        let temperature = self.fields.take("temperature").cloned();
        let top_p = self.fields.take("top_p").cloned();
        if let Some(mut temperature) = temperature.clone() {
            if !samples || thinks {
                if !usual(&temperature) && self.leave_out("temperature")? {
                    self.put("temperature", temperature);
                }
            } else {
                if temperature.as_f64().is_some_and(|value| value > 1.0) && !self.leave_out("temperature")? {
                    // The nearest that there is; told as if it were left out.
                    temperature = json!(1);
                }
                self.put("temperature", temperature);
            }
        }
        if let Some(top_p) = top_p.filter(|top_p| !usual(top_p)) {
            // Newer models take one of both.
            let alone = temperature.is_none() || self.model.takes_both_samplers();
            if (samples && alone && !thinks) || self.leave_out("top_p")? {
                self.put("top_p", top_p);
            }
        }
        if let Some(top_k) = self.fields.take("top_k").cloned()
            && ((samples && !thinks) || self.leave_out("top_k")?)
        {
            self.put("top_k", top_k);
        }
        Ok(())
    }

    /// For whom the request is, as a word that names nobody.
    fn whose(&mut self) {
        let metadata = self.fields.take("metadata").and_then(|metadata| metadata.get("user_id"));
        let user = metadata.or(self.fields.take("user")).or(self.fields.take("safety_identifier"));
        if let Some(user) = user.filter(|user| user.is_string()).cloned() {
            self.put("metadata", json!({ "user_id": user }));
        }
        if let Some(tier) = self.fields.take("service_tier").and_then(Value::as_str) {
            match tier {
                "auto" | "standard_only" => self.put("service_tier", json!(tier)),
                "default" => self.put("service_tier", json!("standard_only")),
                _ => {}
            }
        }
    }
}

/// Whether the route sends what a target may refuse.
pub(super) fn passes(how: &Encoding<'_>) -> bool {
    how.drop_params == DropParams::Pass
}
