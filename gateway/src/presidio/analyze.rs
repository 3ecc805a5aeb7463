//! `POST /analyze`: what stands where in a text, or in each of several.

use http::{HeaderValue, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sluice_guardrails::{Band, Class, Finding};

use super::{Presidio, Refusal, UNSUPPORTED, written};
use crate::body::Body;
use crate::inspect::{MOST_FINDINGS, rounded};

/// The recogniser of all secrets; which of its rules it was, its identifier says.
pub(super) const SECRETS: &str = "secrets";

/// A finding in Presidio's words, its place in code points.
#[derive(Serialize)]
struct Found {
    entity_type: &'static str,
    start: usize,
    end: usize,
    score: f64,
    analysis_explanation: Option<Value>,
    recognition_metadata: Recogniser,
}

#[derive(Serialize)]
struct Recogniser {
    recognizer_name: &'static str,
    recognizer_identifier: String,
}

/// What a request wants to know of each text.
struct Wanted<'r> {
    entities: Option<Vec<&'r str>>,
    threshold: f32,
    allowed: Vec<&'r str>,
    /// Words that count as if they stood beside each value.
    context: String,
    explain: bool,
}

pub(super) fn analyze(presidio: &Presidio, fields: &Map<String, Value>) -> Result<Response<Body>, Refusal> {
    let wanted = Wanted::read(presidio, fields)?;
    let mut left = MOST_FINDINGS;
    let body = match fields.get("text") {
        Some(Value::String(text)) if !text.is_empty() => json_of(&wanted.found(presidio, text, &mut left)?)?,
        Some(Value::Array(texts)) if !texts.is_empty() => {
            let mut all = Vec::with_capacity(texts.len());
            for text in texts {
                let text = text
                    .as_str()
                    .ok_or_else(|| Refusal::bad("'text' must be a string or an array of strings"))?;
                all.push(wanted.found(presidio, text, &mut left)?);
            }
            json_of(&all)?
        }
        None | Some(Value::Null | Value::String(_) | Value::Array(_)) => {
            return Err(Refusal::bad("No text provided"));
        }
        Some(_) => return Err(Refusal::bad("'text' must be a string or an array of strings")),
    };
    let mut response = written(body);
    let unknown = wanted.unsupported(presidio);
    if let Ok(names) = HeaderValue::from_str(&unknown.join(","))
        && !unknown.is_empty()
    {
        response.headers_mut().insert(&UNSUPPORTED, names);
    }
    Ok(response)
}

fn json_of(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|_| crate::error::ApiError::Internal.into())
}

impl<'r> Wanted<'r> {
    fn read(presidio: &Presidio, fields: &'r Map<String, Value>) -> Result<Self, Refusal> {
        let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
        if given("ad_hoc_recognizers")
            .is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
        {
            return Err(Refusal::unprocessable(
                "'ad_hoc_recognizers' are not supported: rules belong into the gateway's configuration",
            ));
        }
        let allowed = words(fields, "allow_list")?;
        if !allowed.is_empty() && given("allow_list_match").is_some_and(|kind| kind != "exact") {
            return Err(Refusal::unprocessable(
                "'allow_list_match' must be 'exact': nothing else is supported",
            ));
        }
        let threshold = match given("score_threshold") {
            None => presidio.threshold,
            Some(value) => match value.as_f64() {
                Some(score) if (0.0..=1.0).contains(&score) => score as f32,
                _ => return Err(Refusal::bad("'score_threshold' must be a number from 0 to 1")),
            },
        };
        let explain = match given("return_decision_process") {
            None => false,
            Some(value) => value
                .as_bool()
                .ok_or_else(|| Refusal::bad("'return_decision_process' must be true or false"))?,
        };
        let entities = words(fields, "entities")?;
        let entities = (!entities.is_empty()).then_some(entities);
        let wanted =
            Self { entities, threshold, allowed, context: words(fields, "context")?.join(" "), explain };
        let known = presidio.entities();
        if wanted.entities.as_ref().is_some_and(|names| !names.iter().any(|name| known.contains(name))) {
            return Err(Refusal::unprocessable(
                "none of the 'entities' is supported: GET /supportedentities lists those that are",
            ));
        }
        Ok(wanted)
    }

    /// Named entities that nobody looks for: names of people, for instance.
    fn unsupported(&self, presidio: &Presidio) -> Vec<&'r str> {
        let known = presidio.entities();
        let is_name = |name: &str| {
            (1..=48).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        let named = self.entities.iter().flatten().copied();
        named.filter(|name| is_name(name) && !known.contains(name)).take(32).collect()
    }

    fn found(&self, presidio: &Presidio, text: &str, left: &mut usize) -> Result<Vec<Found>, Refusal> {
        let least = Band::of(self.threshold).unwrap_or(Band::Possible);
        let mut found = presidio.guard.report_labelled(text, &self.context, least);
        found.retain(|finding| {
            finding.score >= self.threshold
                && self.entities.as_ref().is_none_or(|names| names.contains(&finding.entity))
                && !self.allowed.contains(&&text[finding.span.clone()])
        });
        let too_many =
            || Refusal::unprocessable(format!("more than {MOST_FINDINGS} findings: send smaller parts"));
        *left = left.checked_sub(found.len()).ok_or_else(too_many)?;
        // Sorted by start; ends are near, so counting goes on from the last start.
        let (mut byte, mut point) = (0, 0);
        let told = found.iter().map(|finding| {
            point += text[byte..finding.span.start].chars().count();
            byte = finding.span.start;
            let end = point + text[finding.span.clone()].chars().count();
            self.told(finding, point, end)
        });
        Ok(told.collect())
    }

    fn told(&self, finding: &Finding, start: usize, end: usize) -> Found {
        let name = if finding.class == Class::Secret { SECRETS } else { finding.rule };
        let score = rounded(finding.score);
        let explanation = self.explain.then(|| {
            json!({
                "recognizer": name, "pattern_name": finding.rule, "pattern": null, "original_score": null,
                "score": score, "textual_explanation": "print, check digits and the words around, added up",
                "score_context_improvement": null, "supportive_context_word": null, "validation_result": null,
            })
        });
        let recognition_metadata =
            Recogniser { recognizer_name: name, recognizer_identifier: format!("sluice_{}", finding.rule) };
        Found {
            entity_type: finding.entity,
            start,
            end,
            score,
            analysis_explanation: explanation,
            recognition_metadata,
        }
    }
}

/// A list of strings that may be left out.
fn words<'r>(fields: &'r Map<String, Value>, name: &str) -> Result<Vec<&'r str>, Refusal> {
    let wrong = || Refusal::bad(format!("'{name}' must be an array of strings"));
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}
