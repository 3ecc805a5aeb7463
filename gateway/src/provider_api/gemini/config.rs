//! How the answer is to be made: `generationConfig`.

use serde_json::{Map, Value, json};

use super::super::fields::Fields;
use super::super::{EncodeError, Encoding};
use super::schema::schema;
use super::{generation, model};

/// So many stop sequences are taken.
const MOST_STOPS: usize = 5;
/// From this generation on it is said in words how much is thought, before in tokens.
const LEVELS_SINCE: u32 = 3;
/// The fewest tokens that the larger models before that think with.
const LEAST_OF_PRO: u64 = 128;
/// The most that these think with.
const MOST_OF_PRO: u64 = 32_768;
/// The most that the smaller ones think with.
const MOST: u64 = 24_576;

/// Fields that are only called otherwise.
const RENAMED: &[(&str, &str)] = &[
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("n", "candidateCount"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
    ("logprobs", "responseLogprobs"),
];

/// All of it that the request says.
pub(super) fn config(
    fields: &Fields<'_>,
    how: &Encoding<'_>,
    dropped: &mut Vec<String>,
) -> Result<Map<String, Value>, EncodeError> {
    let mut out = Map::new();
    for (name, said) in RENAMED {
        if let Some(value) = fields.take(name) {
            out.insert((*said).to_owned(), value.clone());
        }
    }
    let tokens = fields.take("max_tokens");
    if let Some(tokens) = fields.take("max_completion_tokens").or(tokens) {
        out.insert("maxOutputTokens".to_owned(), tokens.clone());
    }
    if let Some(top) = fields.take("top_logprobs") {
        out.insert("logprobs".to_owned(), top.clone());
    }
    if let Some(seed) = fields.take("seed") {
        // It takes 32 bits of it, and refuses more.
        let seed = seed.as_i64().map_or(seed.clone(), |seed| json!(seed & i64::from(i32::MAX)));
        out.insert("seed".to_owned(), seed);
    }
    if let Some(stop) = fields.take("stop") {
        out.insert("stopSequences".to_owned(), stops(stop, how, dropped)?);
    }
    if let Some(modalities) = fields.take("modalities").and_then(Value::as_array) {
        let upper = |word: &Value| word.as_str().map(str::to_ascii_uppercase);
        let modalities: Vec<String> = modalities.iter().filter_map(upper).collect();
        if modalities != ["TEXT"] {
            out.insert("responseModalities".to_owned(), json!(modalities));
        }
    }
    if let Some(format) = fields.take("response_format") {
        response_format(format, &mut out)?;
    }
    if let Some(thinking) = thinking(fields, how)? {
        out.insert("thinkingConfig".to_owned(), Value::Object(thinking));
    }
    Ok(out)
}

fn stops(stop: &Value, how: &Encoding<'_>, dropped: &mut Vec<String>) -> Result<Value, EncodeError> {
    let mut stops = match stop {
        Value::String(_) => vec![stop.clone()],
        Value::Array(stops) => stops.clone(),
        _ => return Err(EncodeError::invalid("stop", "'stop' must be a string or an array of strings")),
    };
    if stops.len() > MOST_STOPS && !how.leave_out(&format!("stop[{MOST_STOPS}]"), dropped)? {
        stops.truncate(MOST_STOPS);
    }
    Ok(Value::Array(stops))
}

fn response_format(format: &Value, out: &mut Map<String, Value>) -> Result<(), EncodeError> {
    match format["type"].as_str() {
        Some("text") => return Ok(()),
        Some("json_object") => {}
        Some("json_schema") => {
            let wanted = format["json_schema"].get("schema").filter(|schema| schema.is_object());
            let wanted = wanted.ok_or_else(|| {
                let at = "response_format.json_schema.schema";
                EncodeError::invalid(at, format!("'{at}' must be an object"))
            })?;
            out.insert("responseJsonSchema".to_owned(), schema(wanted));
        }
        _ => {
            let words = "'response_format.type' must be 'text', 'json_object' or 'json_schema'";
            return Err(EncodeError::invalid("response_format.type", words));
        }
    }
    out.insert("responseMimeType".to_owned(), json!("application/json"));
    Ok(())
}

/// How much is thought before, and whether it is told.
fn thinking(fields: &Fields<'_>, how: &Encoding<'_>) -> Result<Option<Map<String, Value>>, EncodeError> {
    let (thinking, effort) = (fields.take("thinking"), fields.take("reasoning_effort"));
    let thinks = Thinks::of(how.model);
    let effort = || effort.map(|effort| thinks.effort(effort.as_str().unwrap_or_default())).transpose();
    let Some(thinking) = thinking else { return effort() };
    let told = || Map::from_iter([("includeThoughts".to_owned(), json!(true))]);
    match thinking["type"].as_str() {
        Some("disabled") => thinks.effort("none").map(Some),
        Some("enabled") => match thinking["budget_tokens"].as_u64() {
            Some(budget) => Ok(Some(thinks.budget(budget))),
            None => Ok(Some(effort()?.unwrap_or_else(told))),
        },
        Some("adaptive") => Ok(Some(effort()?.unwrap_or_else(told))),
        _ => Err(EncodeError::invalid(
            "thinking.type",
            "'thinking.type' must be 'enabled', 'adaptive' or 'disabled'",
        )),
    }
}

/// How a model is told how much to think. What an effort means in tokens is what it means at Google's own endpoint in OpenAI's format
/// (<https://ai.google.dev/gemini-api/docs/openai#thinking>).
struct Thinks {
    in_levels: bool,
    pro: bool,
}

impl Thinks {
    fn of(name: &str) -> Self {
        let in_levels = generation(name).is_some_and(|generation| generation >= LEVELS_SINCE);
        Self { in_levels, pro: model(name).contains("pro") }
    }

    fn effort(&self, effort: &str) -> Result<Map<String, Value>, EncodeError> {
        let (level, budget) = match effort {
            "none" if self.pro => ("low", LEAST_OF_PRO),
            "none" => ("minimal", 0),
            "minimal" if self.pro => ("low", 1024),
            "minimal" => ("minimal", 1024),
            "low" => ("low", 1024),
            "medium" => ("medium", 8192),
            "high" | "xhigh" | "max" => ("high", MOST),
            _ => {
                let words = "'reasoning_effort' must be none, minimal, low, medium, high or xhigh";
                return Err(EncodeError::invalid("reasoning_effort", words));
            }
        };
        Ok(self.said(level, budget, effort != "none"))
    }

    fn budget(&self, budget: u64) -> Map<String, Value> {
        let level = match budget {
            0..=1024 => "low",
            1025..=8192 => "medium",
            _ => "high",
        };
        let budget = if self.pro { budget.clamp(LEAST_OF_PRO, MOST_OF_PRO) } else { budget.min(MOST) };
        self.said(level, budget, true)
    }

    fn said(&self, level: &str, budget: u64, told: bool) -> Map<String, Value> {
        let (name, amount) =
            if self.in_levels { ("thinkingLevel", json!(level)) } else { ("thinkingBudget", json!(budget)) };
        let mut said = Map::from_iter([(name.to_owned(), amount)]);
        if told {
            said.insert("includeThoughts".to_owned(), json!(true));
        }
        said
    }
}
