//! A service of the operator's own: one request, one answer, signed if it wants to know who asks.
//!
//! The README describes both; what an answer holds beside that is passed over.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_guardrails::policy::hmac_sha256;
use sluice_guardrails::proof::{Kind, Spot};

use super::{Failure, Question, Refusal, Verdict};
use crate::secret::Secret;

static TIMESTAMP: HeaderName = HeaderName::from_static("x-sluice-timestamp");
static SIGNATURE: HeaderName = HeaderName::from_static("x-sluice-signature");
/// Longest reason that is passed on to a client, in code points.
const LONGEST_REASON: usize = 500;
/// What we write at the top, and who speaks.
const OURS: &[&str] = &["phase", "request_id", "tenant", "key", "route", "model"];
const CHANNELS: &[&str] = &["system", "user", "assistant", "tool", "parameters"];

#[derive(Clone, Default)]
pub(super) struct Webhook {
    secret: Option<Secret>,
}

#[derive(Deserialize)]
struct Answer {
    action: Action,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    texts: Option<Vec<Option<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Allow,
    Block,
    Redact,
}

impl Webhook {
    /// One that signs with `secret`.
    ///
    /// # Errors
    /// It is too short.
    pub(super) fn new(secret: Option<Secret>) -> Result<Self, String> {
        if let Some(secret) = &secret {
            hmac_sha256(secret.expose().as_bytes(), &[])?;
        }
        Ok(Self { secret })
    }

    /// The headers that say when the body was sent, and by whom: HMAC-SHA256 over the time, a dot and the body.
    pub(super) fn sign(&self, seconds: u64, body: &[u8]) -> Option<[(HeaderName, HeaderValue); 2]> {
        let (key, time) = (self.secret.as_ref()?.expose().as_bytes(), seconds.to_string());
        let mac = hmac_sha256(key, &[time.as_bytes(), b".", body]).ok()?;
        let signature = HeaderValue::from_str(&format!("sha256={mac}")).ok()?;
        Some([(TIMESTAMP.clone(), HeaderValue::from(seconds)), (SIGNATURE.clone(), signature)])
    }
}

pub(super) fn encode(question: &Question) -> Value {
    let subject = &question.subject;
    let text = |passage: &super::Passage| json!({ "field": passage.field, "channel": passage.channel, "text": passage.text });
    json!({
        "phase": question.phase.name(),
        "request_id": subject.request_id,
        "tenant": subject.tenant,
        "key": subject.key,
        "route": subject.route,
        "model": subject.model,
        "texts": question.passages.iter().map(text).collect::<Vec<_>>(),
        "metadata": question.metadata,
    })
}

pub(super) fn decode(answer: &[u8], question: &Question) -> Result<Verdict, Failure> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|_| Failure::Malformed("expected an action: allow, block or redact"))?;
    match answer.action {
        Action::Allow => Ok(Verdict::Allow),
        Action::Block => {
            let code = answer.code.filter(|code| is_code(code));
            let reason = answer.reason.map(|reason| reason.chars().take(LONGEST_REASON).collect());
            Ok(Verdict::Refused(Refusal { what: code.iter().cloned().collect(), code, reason }))
        }
        Action::Redact => {
            let texts = answer.texts.filter(|texts| texts.len() == question.passages.len());
            let texts = texts.ok_or(Failure::Malformed("to redact, expected as many texts as were sent"))?;
            let pairs = question.passages.iter().zip(texts);
            let changed = pairs.filter_map(|(passage, new)| Some((&passage.text, new?)));
            let changed = changed.filter(|(text, new)| *text != new);
            let rewritten: HashMap<_, _> = changed.map(|(text, new)| (text.clone(), new)).collect();
            Ok(if rewritten.is_empty() { Verdict::Allow } else { Verdict::Rewritten(rewritten) })
        }
    }
}

/// What we write ourselves: who asks, and where each text stands. A number in a way counts where it may be one by chance.
pub(super) fn is_own(spot: &Spot<'_>) -> bool {
    match (spot.depth, spot.kind) {
        (1, Kind::Text) => OURS.contains(&spot.key),
        (3, Kind::Key) => ["field", "channel", "text"].contains(&spot.text),
        (3, Kind::Text) if spot.key == "channel" => CHANNELS.contains(&spot.text),
        (3, Kind::Text) if spot.key == "field" => spot.by_chance,
        _ => false,
    }
}

/// A short name, such as `policy_42`.
fn is_code(code: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&code.len()) && code.bytes().all(plain)
}
