//! Which tiers of the cache may answer a request, and for how long its answer holds.

use std::time::Duration;

use serde_json::Value;
use sluice_engine::freshness::dependence;
use sluice_guardrails::placeholders;

use super::remember::Asked;
use super::request::ChatRequest;
use crate::config::{CacheSection, TimeSensitive};

/// How long an answer holds that depends on who asked, where several keys share a tenant.
const PERSONAL_TTL: Duration = Duration::from_secs(60);

/// What the operator allows.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    max_temperature: f64,
    time_sensitive: TimeSensitive,
}

/// How far a request may reach into the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Not at all: nothing is kept.
    Nothing,
    /// The same request letter by letter.
    Exact,
    /// But for case, spaces and marks.
    Normalised,
    /// By meaning.
    Semantic,
}

/// What holds for a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Handling {
    /// How it may be answered and found.
    pub(super) reach: Reach,
    /// How long its answer holds, if not as long as any other.
    pub(super) ttl: Option<Duration>,
    /// Why it is not handled as any other; empty if it is.
    pub(super) reason: &'static str,
}

impl Rules {
    pub(super) fn new(config: &CacheSection) -> Self {
        Self { max_temperature: config.max_temperature, time_sensitive: config.time_sensitive }
    }

    /// How to handle a request with this last turn. What is wanted for its variety, what may call tools, and what makes no
    /// sense without what was said before is not answered by likeness; what depends on time or person not for long.
    pub(super) fn handling(&self, asked: &Asked<'_>, turn: Option<&str>) -> Handling {
        let by_form = self.by_form(asked.request);
        let by_words = turn.map_or(Handling::ANY, |text| self.by_words(asked, text));
        let wished =
            if asked.wishes.exact_only { Handling::only(Reach::Exact, "exact") } else { Handling::ANY };
        [wished, by_words].into_iter().fold(by_form, Handling::and)
    }

    fn by_form(&self, request: &ChatRequest) -> Handling {
        let number = |name: &str| request.fields().get(name).and_then(Value::as_f64);
        if !one_choice(request) {
            Handling::only(Reach::Exact, "several_choices")
        } else if has_tools(request) {
            Handling::only(Reach::Exact, "tools")
        } else if number("temperature").is_some_and(|temperature| temperature > self.max_temperature) {
            Handling::only(Reach::Exact, "temperature")
        } else {
            Handling::ANY
        }
    }

    fn by_words(&self, asked: &Asked<'_>, text: &str) -> Handling {
        let (mut handling, depends) = (Handling::ANY, dependence(text));
        // A placeholder that was written as such stands for somebody as well: it comes out of another gateway.
        let names_somebody = !asked.vault.is_empty() || placeholders(text).next().is_some();
        if depends.on_context && is_follow_up(asked.request) {
            handling = handling.and(Handling::only(Reach::Normalised, "needs_context"));
        }
        if asked.call.caller.shares_tenant && (depends.on_person || names_somebody) {
            let personal = Handling { ttl: Some(PERSONAL_TTL), ..Handling::only(Reach::Exact, "personal") };
            handling = handling.and(personal);
        }
        match self.time_sensitive {
            _ if !depends.on_time => handling,
            TimeSensitive::AsAny => handling,
            TimeSensitive::Bypass => handling.and(Handling::only(Reach::Nothing, "time_sensitive")),
            TimeSensitive::Ttl(ttl) => {
                handling.and(Handling { ttl: Some(ttl.0), reason: "time_sensitive", ..Handling::ANY })
            }
        }
    }
}

impl Handling {
    const ANY: Self = Self { reach: Reach::Semantic, ttl: None, reason: "" };

    const fn only(reach: Reach, reason: &'static str) -> Self {
        Self { reach, ttl: None, reason }
    }

    /// The stricter in everything; told is what takes most away, of equals the first.
    fn and(self, other: Self) -> Self {
        let told =
            if other.reach < self.reach || self.reason.is_empty() { other.reason } else { self.reason };
        let ttl = [self.ttl, other.ttl].into_iter().flatten().min();
        Self { reach: self.reach.min(other.reach), ttl, reason: told }
    }
}

/// One answer for all who ask now: not where several are wanted for their variety, nor where tools may be called, which
/// is never remembered.
pub(super) fn may_share(request: &ChatRequest) -> bool {
    one_choice(request) && !has_tools(request)
}

/// Several choices are wanted for their variety: they are shared only by the same question letter by letter.
fn one_choice(request: &ChatRequest) -> bool {
    request.fields().get("n").is_none_or(|n| n.is_null() || n.as_u64() == Some(1))
}

/// Tools are offered, or were called before.
fn has_tools(request: &ChatRequest) -> bool {
    let fields = request.fields();
    let offered = ["tools", "functions"].iter().any(|name| fields.get(*name).is_some_and(is_something));
    let speaks_of_one = |message: &Value| {
        matches!(message.get("role").and_then(Value::as_str), Some("tool" | "function"))
            || ["tool_calls", "function_call"].iter().any(|name| message.get(*name).is_some_and(is_something))
    };
    offered || messages(request).iter().any(speaks_of_one)
}

/// Something was said before, and not by the operator.
fn is_follow_up(request: &ChatRequest) -> bool {
    let speaks = |message: &&Value| {
        !matches!(message.get("role").and_then(Value::as_str), Some("system" | "developer"))
    };
    messages(request).iter().filter(speaks).nth(1).is_some()
}

fn messages(request: &ChatRequest) -> &[Value] {
    request.fields().get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

/// Null and an empty list are as good as absent.
fn is_something(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Call;
    use crate::chat::wishes::Wishes;
    use crate::client_api::openai_chat;
    use crate::config::Span;
    use crate::keys::Caller;
    use crate::policy::InForce;
    use serde_json::json;
    use sluice_guardrails::{Guard, Policy, Vault};
    use std::sync::Arc;
    use std::time::Instant;

    /// How a request with these fields is handled, of a key that has its tenant for itself or not.
    fn handled(fields: &Value, shares_tenant: bool, config: &CacheSection) -> Handling {
        let mut body =
            json!({ "model": "m", "messages": [{ "role": "user", "content": "When do you open?" }] });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        let request = openai_chat::parse(&body.to_string().into()).unwrap();
        let caller = Caller { key: "k".to_owned(), tenant: "t".to_owned(), shares_tenant, models: None };
        let call = Call {
            caller: Arc::new(caller),
            id: "r".to_owned(),
            headers: http::HeaderMap::new(),
            format: crate::client_api::Format::OpenAiChat,
            called: None,
            started: Instant::now(),
            policy: Arc::new(InForce::of_classes(&Policy::default())),
        };
        let (turn, wishes, mut vault) = (request.last_turn(), Wishes::default(), Vault::new());
        if let Some(text) = &turn {
            vault.redact(&Guard::new(&Policy::default()), text).unwrap();
        }
        let asked = Asked { call: &call, request: &request, vault: &vault, wishes: &wishes };
        Rules::new(config).handling(&asked, turn.as_deref())
    }

    fn user(text: &str) -> Value {
        json!({ "messages": [{ "role": "user", "content": text }] })
    }

    #[test]
    fn what_may_not_be_answered_by_likeness_is_not() {
        let config = CacheSection { max_temperature: 0.7, ..CacheSection::default() };
        let said = [
            json!({ "role": "user", "content": "Two shirts" }),
            json!({ "role": "assistant", "content": "Which?" }),
        ];
        let after = |role: &str, content: &str| json!({ "messages": [said[0], said[1], { "role": role, "content": content, "tool_call_id": "c" }] });
        let tool = json!([{ "type": "function", "function": { "name": "f" } }]);
        for (fields, reach, reason) in [
            (json!({}), Reach::Semantic, ""),
            (json!({ "n": 1, "tools": [], "temperature": 0.7 }), Reach::Semantic, ""),
            (json!({ "n": 2 }), Reach::Exact, "several_choices"),
            (json!({ "tools": tool }), Reach::Exact, "tools"),
            (json!({ "functions": [{ "name": "f" }] }), Reach::Exact, "tools"),
            (after("tool", "12"), Reach::Exact, "tools"),
            (json!({ "temperature": 0.71 }), Reach::Exact, "temperature"),
            (after("user", "Yes, do it"), Reach::Normalised, "needs_context"),
            (after("user", "Send both shirts to the office in Trieste"), Reach::Semantic, ""),
        ] {
            let handling = handled(&fields, false, &config);
            assert_eq!((handling.reach, handling.reason), (reach, reason), "{fields}");
        }
    }

    #[test]
    fn what_depends_on_time_does_not_hold_for_long() {
        let handling = |time_sensitive| {
            let config = CacheSection { time_sensitive, ..CacheSection::default() };
            handled(&user("What is the weather in Turin?"), false, &config)
        };
        let short = Handling { ttl: Some(Duration::from_secs(9)), reason: "time_sensitive", ..Handling::ANY };
        assert_eq!(handling(TimeSensitive::Ttl(Span::seconds(9))), short);
        assert_eq!(handling(TimeSensitive::Bypass).reach, Reach::Nothing);
        assert_eq!(handling(TimeSensitive::AsAny), Handling::ANY);
    }

    #[test]
    fn what_is_personal_is_not_answered_by_likeness_where_a_tenant_is_shared() {
        let config = CacheSection::default();
        for text in [
            "What is my balance?",
            "Is zoe.quill@example.org a customer of the bank?",
            "Is [EMAIL_ADDRESS_1] a customer of the bank?",
        ] {
            let shared = handled(&user(text), true, &config);
            assert_eq!(
                (shared.reach, shared.ttl, shared.reason),
                (Reach::Exact, Some(PERSONAL_TTL), "personal")
            );
            assert_eq!(handled(&user(text), false, &config), Handling::ANY, "{text}");
        }
        assert_eq!(handled(&user("How do I close my account?"), true, &config), Handling::ANY);
    }

    #[test]
    fn the_strictest_counts_and_is_what_is_told() {
        let config = CacheSection { time_sensitive: TimeSensitive::Bypass, ..CacheSection::default() };
        let mut fields = user("What is my balance today?");
        fields["n"] = json!(2);
        let handling = handled(&fields, true, &config);
        assert_eq!((handling.reach, handling.reason), (Reach::Nothing, "time_sensitive"));
        assert_eq!(handled(&fields, true, &CacheSection::default()).reason, "several_choices");
    }
}
