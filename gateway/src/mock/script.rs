//! What the mock answers: rules over a default reply.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use crate::config::Span;

/// A script for the mock, as YAML.
///
/// ```yaml
/// reply: { latency: 20ms }
/// rules:
///   - { when: { contains: refund }, times: 2, reply: { status: 429, retry_after: 1 } }
///   - { when: { model: slow }, reply: { hang: true } }
/// answers: { "What are your opening hours?": "From nine to five." }
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// What is answered where no rule says otherwise.
    pub reply: Reply,
    /// The first rule that fits and is not used up replies.
    pub rules: Vec<Rule>,
    /// Answers by the exact text of the last user message; they replace the default reply's answer.
    pub answers: HashMap<String, String>,
}

/// A reply for some requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// For which requests; everything by default.
    #[serde(default)]
    pub when: When,
    /// How often the rule applies; always by default.
    #[serde(default)]
    pub times: Option<u64>,
    /// In such a share of the cases, from 0 to 1, by chance; always by default.
    #[serde(default)]
    pub chance: Option<f64>,
    /// What is answered.
    pub reply: Reply,
}

/// Which requests a rule is for. All conditions given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The model asked for.
    pub model: Option<String>,
    /// A text that the body holds somewhere.
    pub contains: Option<String>,
}

/// One reply.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// Time before the head.
    pub latency: Option<Span>,
    /// Time before each further chunk of a stream.
    pub chunk_delay: Option<Span>,
    /// Characters per chunk of a stream; by default a word each.
    pub chunk_chars: Option<usize>,
    /// An error with this status instead of an answer.
    pub status: Option<u16>,
    /// `Retry-After` of the error, in seconds.
    pub retry_after: Option<f64>,
    /// No answer at all, while the connection stays open.
    pub hang: bool,
    /// The connection breaks after so many chunks of a stream, or half-way through a whole answer.
    pub cut_after: Option<usize>,
    /// Nothing more comes after so many chunks of a stream, or half-way through a whole answer.
    pub stall_after: Option<usize>,
    /// The answer; `{prompt}` stands for the last user message, `{messages}` for all messages as JSON. By default
    /// `You said: {prompt}`.
    pub answer: Option<String>,
    /// An answer of so many words, counted as so many tokens, instead of `answer`.
    pub tokens: Option<usize>,
    /// A call of this function instead of an answer in words; in its arguments `{prompt}` and `{messages}` work too.
    pub tool_call: Option<ToolCall>,
    /// How the answer ends; `stop` by default.
    pub finish_reason: Option<String>,
    /// Sent as it is with status 200 instead of an answer, for bodies that are none.
    pub raw: Option<String>,
}

/// A scripted tool call.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The function's name.
    pub name: String,
    /// Its arguments, a JSON text.
    pub arguments: String,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|e| e.without_snippet().to_string())
    }

    /// The reply to this request; a rule with `times` is used up by it.
    pub(super) fn choose(&mut self, request: &Value, body: &str) -> Reply {
        let model = request.get("model").and_then(Value::as_str).unwrap_or_default();
        for rule in &mut self.rules {
            let fits = rule.when.model.as_deref().is_none_or(|m| m == model)
                && rule.when.contains.as_deref().is_none_or(|text| body.contains(text))
                && rule.chance.is_none_or(|chance| fastrand::f64() < chance);
            match (&mut rule.times, fits) {
                (Some(0), _) | (_, false) => {}
                (Some(left), true) => {
                    *left -= 1;
                    return rule.reply.clone();
                }
                (None, true) => return rule.reply.clone(),
            }
        }
        let mut reply = self.reply.clone();
        if let Some(answer) = last_user_text(request).and_then(|text| self.answers.get(&text)) {
            reply.answer = Some(answer.clone());
        }
        reply
    }
}

/// The text of the last user message.
pub(super) fn last_user_text(request: &Value) -> Option<String> {
    let messages = request.get("messages")?.as_array()?;
    let message = messages.iter().rev().find(|m| m.get("role").and_then(Value::as_str) == Some("user"))?;
    Some(match message.get("content")? {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|p| p.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join("\n\n"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_apply_in_order_and_as_often_as_they_say() {
        let text = "reply: {answer: default}\nrules:\n  - {when: {model: a}, times: 1, reply: {status: 500}}\n  - {when: {contains: x y}, reply: {hang: true}}\nanswers: {hello: hi}\n";
        let mut script = Script::parse(text).unwrap();
        let ask = |script: &mut Script, model: &str, text: &str| {
            let request = json!({"model": model, "messages": [{"role": "user", "content": text}]});
            script.choose(&request, &request.to_string())
        };
        assert_eq!(ask(&mut script, "a", "x y").status, Some(500));
        assert!(ask(&mut script, "a", "x y").hang);
        assert_eq!(ask(&mut script, "a", "hello").answer.as_deref(), Some("hi"));
        assert_eq!(ask(&mut script, "b", "bye").answer.as_deref(), Some("default"));
    }

    #[test]
    fn a_mistake_in_a_script_is_named_with_its_line() {
        let error = Script::parse("reply: {}\nrules:\n  - {reply: {statsu: 500}}\n").unwrap_err();
        assert!(error.contains("statsu") && error.contains("line 3"), "{error}");
    }
}
