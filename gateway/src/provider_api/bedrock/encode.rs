//! A request as Converse says it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::super::{EncodeError, Encoded, Encoding, Named, Sent, fields::Fields};
use super::content::unsupported;
use super::messages::Conversation;
use super::model::Family;
use super::names::ToolNames;
use super::tools::Tooling;
use crate::config::DropParams;
use crate::ids;

/// Fields of Converse that go along if a client says them. None of them has a counterpart.
const PASSED: &[&str] = &[
    "guardrailConfig",
    "performanceConfig",
    "requestMetadata",
    "serviceTier",
    "additionalModelResponseFieldPaths",
];

/// Tokens for thinking by how hard it is to be thought, and the least that is allowed.
const BUDGETS: &[(&str, u64)] =
    &[("minimal", 1024), ("low", 1024), ("medium", 4096), ("high", 16_384), ("xhigh", 32_768)];
const LEAST_BUDGET: u64 = 1024;

/// A request on its way.
struct Saying<'a> {
    fields: &'a Fields<'a>,
    how: &'a Encoding<'a>,
    family: Family,
    dropped: Vec<String>,
    /// `additionalModelRequestFields`.
    more: Map<String, Value>,
}

/// Writes a request.
///
/// # Errors
/// [`EncodeError`] by the field that can't be said.
pub(super) fn encode(fields: &Map<String, Value>, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
    let fields = Fields::new(fields);
    let family = Family::of(how.model);
    let mut saying = Saying { fields: &fields, how, family, dropped: Vec::new(), more: Map::new() };
    saying.check()?;
    let tools = fields.take("tools");
    let mut names = ToolNames::of(named(tools));
    let mut conversation = Conversation::read(fields.take("messages"), how, &mut names, &mut saying.dropped)?;
    let (system, turns) = (std::mem::take(&mut conversation.system), conversation.turns());
    let called = std::mem::take(&mut conversation.called);
    let (tool_choice, response_format) = (fields.take("tool_choice"), fields.take("response_format"));
    let (names_of, dropped) = (&mut names, &mut saying.dropped);
    let mut tooling = Tooling { tools, tool_choice, response_format, how, family, names: names_of, dropped };
    let tools = tooling.read(&called)?;

    let mut body = Map::new();
    let mut say = |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
    say("messages", Some(turns));
    say("system", (!system.is_empty()).then_some(Value::Array(system)));
    let most = saying.most_tokens()?;
    let thinks = saying.thinking(tools.forced, most)?;
    say("inferenceConfig", saying.inference(most, thinks)?);
    say("toolConfig", tools.config);
    say("outputConfig", tools.output);
    for field in PASSED {
        say(field, fields.take(field).cloned());
    }
    say("additionalModelRequestFields", saying.rest()?);
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let named = Named { id: ids::fresh("chatcmpl-"), created, model: how.model.to_owned() };
    let sent = Sent { tools: names.back(), answer_tool: tools.answer, named: Some(named), ..Sent::default() };
    let body = Bytes::from(Value::Object(body).to_string());
    Ok(Encoded { body, headers: HeaderMap::new(), sent, dropped: saying.dropped })
}

/// The names of the tools that the client defines.
fn named(tools: Option<&Value>) -> impl Iterator<Item = &str> {
    let tools = tools.and_then(Value::as_array).into_iter().flatten();
    tools.filter_map(|tool| tool["function"].get("name")?.as_str())
}

impl Saying<'_> {
    /// Refuses what would be another request without it.
    fn check(&mut self) -> Result<(), EncodeError> {
        if self.fields.take("n").is_some_and(|n| n.as_u64() != Some(1)) {
            return Err(unsupported("n", "expected 1"));
        }
        for field in ["functions", "function_call"] {
            if self.fields.take(field).is_some() {
                return Err(unsupported(field, "expected 'tools' and 'tool_choice'"));
            }
        }
        if self.fields.take("modalities").is_some_and(|kinds| *kinds != json!(["text"])) {
            return Err(unsupported("modalities", "expected text alone"));
        }
        if self.fields.take("parallel_tool_calls") == Some(&Value::Bool(false)) {
            self.how.leave_out("parallel_tool_calls", &mut self.dropped)?;
        }
        Ok(())
    }

    fn number(&self, name: &str) -> Result<Option<&Value>, EncodeError> {
        let value = self.fields.take(name);
        if value.is_some_and(|value| !value.is_number()) {
            return Err(EncodeError::invalid(name, format!("'{name}' must be a number")));
        }
        Ok(value)
    }

    fn most_tokens(&self) -> Result<Option<u64>, EncodeError> {
        let (newer, older) = (self.number("max_completion_tokens")?, self.number("max_tokens")?);
        let Some(most) = newer.or(older) else { return Ok(None) };
        let name = if newer.is_some() { "max_completion_tokens" } else { "max_tokens" };
        let wrong = || EncodeError::invalid(name, format!("'{name}' must be a positive integer"));
        most.as_u64().filter(|most| *most > 0).map(Some).ok_or_else(wrong)
    }

    fn inference(&mut self, most: Option<u64>, thinks: bool) -> Result<Option<Value>, EncodeError> {
        let mut config = Map::new();
        config.extend(most.map(|most| ("maxTokens".to_owned(), json!(most))));
        if let Some(temperature) = self.number("temperature")?.cloned() {
            let value = temperature.as_f64().unwrap_or_default();
            // Thinking goes with its own temperature alone.
            if thinks && value != 1.0 {
                if self.how.leave_out("temperature", &mut self.dropped)? {
                    config.insert("temperature".to_owned(), temperature);
                }
            } else if value > 1.0 && !self.how.leave_out("temperature", &mut self.dropped)? {
                // Its scale ends there.
                config.insert("temperature".to_owned(), json!(1));
            } else {
                config.insert("temperature".to_owned(), temperature);
            }
        }
        config.extend(self.number("top_p")?.map(|p| ("topP".to_owned(), p.clone())));
        let stop = match self.fields.take("stop") {
            Some(Value::String(stop)) => Some(json!([stop])),
            Some(Value::Array(stops)) if stops.iter().all(Value::is_string) => Some(json!(stops)),
            Some(_) => {
                return Err(EncodeError::invalid("stop", "'stop' must be a string or an array of strings"));
            }
            None => None,
        };
        config.extend(stop.map(|stop| ("stopSequences".to_owned(), stop)));
        if let Some(k) = self.number("top_k")?.cloned() {
            if thinks && !self.how.leave_out("top_k", &mut self.dropped)? {
            } else if self.family == Family::Nova {
                self.more.insert("inferenceConfig".to_owned(), json!({ "topK": k }));
            } else {
                self.more.insert("top_k".to_owned(), k);
            }
        }
        Ok((!config.is_empty()).then_some(Value::Object(config)))
    }

    /// Says how hard to think, and whether that is to be done at all. `forced`: some tool has to be called, with which thinking
    /// does not go.
    fn thinking(&mut self, forced: bool, most: Option<u64>) -> Result<bool, EncodeError> {
        let (thinking, effort) = (self.fields.take("thinking"), self.fields.take("reasoning_effort"));
        let effort = match effort {
            Some(effort) => Some(effort.as_str().ok_or_else(|| {
                EncodeError::invalid("reasoning_effort", "'reasoning_effort' must be a string")
            })?),
            None => None,
        };
        match (thinking, effort) {
            (Some(thinking), effort) => self.thinking_as_said(thinking, effort, forced),
            (None, None | Some("none")) => Ok(false),
            (None, Some(effort)) if self.family == Family::OpenAi => {
                self.more.insert("reasoning_effort".to_owned(), json!(effort));
                Ok(false)
            }
            (None, Some(effort)) => self.effort(effort, forced, most),
        }
    }

    fn thinking_as_said(
        &mut self,
        thinking: &Value,
        effort: Option<&str>,
        forced: bool,
    ) -> Result<bool, EncodeError> {
        let kind = thinking.get("type").and_then(Value::as_str).unwrap_or_default();
        let thinks = kind != "disabled";
        let fits = self.family.thinks() || self.family == Family::Hidden;
        if (!fits || (thinks && forced)) && !self.how.leave_out("thinking", &mut self.dropped)? {
            return Ok(false);
        }
        self.more.insert("thinking".to_owned(), thinking.clone());
        if let Some(effort) = effort.filter(|_| kind == "adaptive") {
            self.more.insert("output_config".to_owned(), json!({ "effort": adaptive(effort) }));
        }
        Ok(thinks)
    }

    fn effort(&mut self, effort: &str, forced: bool, most: Option<u64>) -> Result<bool, EncodeError> {
        let Some((_, budget)) = BUDGETS.iter().find(|(word, _)| *word == effort) else {
            let expected = "expected none, minimal, low, medium, high or xhigh";
            return Err(EncodeError::invalid("reasoning_effort", format!("'reasoning_effort': {expected}")));
        };
        // Thinking is part of the answer, of which something has to be left.
        let budget = most.map_or(*budget, |most| (*budget).min(most.saturating_sub(1)));
        let adaptive_only = self.family.thinks_adaptively();
        if !self.family.thinks() || forced || (!adaptive_only && budget < LEAST_BUDGET) {
            if self.how.leave_out("reasoning_effort", &mut self.dropped)? {
                self.more.insert("reasoning_effort".to_owned(), json!(effort));
            }
            return Ok(false);
        }
        if adaptive_only {
            self.more.insert("thinking".to_owned(), json!({ "type": "adaptive" }));
            self.more.insert("output_config".to_owned(), json!({ "effort": adaptive(effort) }));
        } else {
            self.more.insert("thinking".to_owned(), json!({ "type": "enabled", "budget_tokens": budget }));
        }
        Ok(true)
    }

    /// What is left, for the model itself: what the client says for it in Converse's own words, and what the route passes on.
    fn rest(&mut self) -> Result<Option<Value>, EncodeError> {
        let own = self.fields.take("additionalModelRequestFields");
        let passed = self.fields.rest(self.how, &mut self.dropped)?;
        debug_assert!(passed.is_empty() || self.how.drop_params == DropParams::Pass);
        let passed = passed.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        self.more.extend(passed);
        match own {
            Some(Value::Object(own)) => self.more.extend(own.clone()),
            Some(_) => {
                let name = "additionalModelRequestFields";
                return Err(EncodeError::invalid(name, format!("'{name}' must be an object")));
            }
            None => {}
        }
        let more = std::mem::take(&mut self.more);
        Ok((!more.is_empty()).then_some(Value::Object(more)))
    }
}

/// How hard to think, in the words of models that decide themselves how much that is.
fn adaptive(effort: &str) -> &str {
    match effort {
        "minimal" => "low",
        "xhigh" => "high",
        effort => effort,
    }
}
