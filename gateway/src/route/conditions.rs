//! What a route may go by: facts about a request, and conditions that hold for them or not.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;

use crate::config::{Between, Conditions as Section, Words};
use crate::keys::CREDENTIAL_HEADERS;

/// Characters that count as a token.
const CHARACTERS_PER_TOKEN: u64 = 4;

/// What is known of a request when it is decided who is asked. By default nothing is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The tenant whose key it came with.
    pub tenant: String,
    /// The name of the key.
    pub key: String,
    /// The client's own headers that routes go by, names in small letters.
    pub headers: BTreeMap<String, String>,
    /// What the client says about the request beside the question.
    pub metadata: BTreeMap<String, String>,
    /// Characters of its texts.
    pub characters: u64,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the model is offered tools.
    pub tools: bool,
    /// Whether there are images in it.
    pub images: bool,
    /// The entities that the guards found.
    pub entities: BTreeSet<Cow<'static, str>>,
    /// Whether they redacted anything.
    pub redacted: bool,
    /// Whether it looks like a prompt injection.
    pub injection: bool,
    /// Whether it is for in-house targets alone.
    pub in_house: bool,
}

impl Facts {
    /// About how many tokens the prompt has.
    pub fn tokens(&self) -> u64 {
        self.characters.div_ceil(CHARACTERS_PER_TOKEN)
    }
}

/// What must hold of a request for a branch of a route.
#[derive(Debug)]
pub(super) struct Conditions(Vec<Condition>);

#[derive(Debug)]
enum Condition {
    Tenant(Patterns),
    Key(Patterns),
    Model(Patterns),
    Metadata(String, Patterns),
    Header(String, Patterns),
    Characters(Between),
    Tokens(Between),
    Stream(bool),
    Tools(bool),
    Images(bool),
    Entities(Patterns),
    Redacted(bool),
    Injection(bool),
}

/// Texts of which one is enough; `*` in them stands for anything.
#[derive(Debug)]
struct Patterns(Vec<String>);

impl Patterns {
    fn of(words: &Words) -> Option<Self> {
        let words = words.as_slice();
        (!words.is_empty()).then(|| Self(words.to_vec()))
    }

    fn fits(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, text))
    }
}

/// Whether a pattern, in which `*` stands for anything, is this text.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

impl Conditions {
    /// Reads what the operator wrote. `field` names it in problems.
    pub(super) fn build(section: &Section, field: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        let texts = [
            (&section.tenant, Condition::Tenant as fn(Patterns) -> Condition),
            (&section.key, Condition::Key),
            (&section.model, Condition::Model),
            (&section.entities, Condition::Entities),
        ];
        all.extend(texts.into_iter().filter_map(|(words, make)| Patterns::of(words).map(make)));
        for (name, words) in &section.metadata {
            all.extend(Patterns::of(words).map(|patterns| Condition::Metadata(name.clone(), patterns)));
        }
        for (name, words) in &section.headers {
            let lower = HeaderName::try_from(name.as_str())
                .map_err(|_| format!("{field}.headers: '{name}' is no name of a header"))?;
            if CREDENTIAL_HEADERS.contains(&lower.as_str()) {
                return Err(format!("{field}.headers: '{lower}' holds a key: use 'key' or 'tenant'"));
            }
            all.extend(
                Patterns::of(words).map(|patterns| Condition::Header(lower.as_str().to_owned(), patterns)),
            );
        }
        let ranges = [
            (
                "prompt_characters",
                section.prompt_characters,
                Condition::Characters as fn(Between) -> Condition,
            ),
            ("prompt_tokens", section.prompt_tokens, Condition::Tokens),
        ];
        for (name, range, make) in ranges {
            match range {
                Between { at_least: None, at_most: None } => {}
                Between { at_least: Some(least), at_most: Some(most) } if least > most => {
                    return Err(format!("{field}.{name}: at_least is more than at_most"));
                }
                range => all.push(make(range)),
            }
        }
        let switches = [
            (section.stream, Condition::Stream as fn(bool) -> Condition),
            (section.tools, Condition::Tools),
            (section.images, Condition::Images),
            (section.redacted, Condition::Redacted),
            (section.injection, Condition::Injection),
        ];
        all.extend(switches.into_iter().filter_map(|(wanted, make)| wanted.map(make)));
        if all.is_empty() {
            return Err(format!("{field}: name at least one condition (what holds always is 'else')"));
        }
        Ok(Self(all))
    }

    /// Whether all of them hold.
    pub(super) fn hold(&self, model: &str, facts: &Facts) -> bool {
        self.0.iter().all(|condition| condition.holds(model, facts))
    }

    /// The names of headers that they look at.
    pub(super) fn headers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|condition| match condition {
            Condition::Header(name, _) => Some(name.as_str()),
            _ => None,
        })
    }

    /// In few words.
    pub(super) fn words(&self) -> String {
        self.0.iter().map(Condition::words).collect::<Vec<_>>().join(", ")
    }
}

impl Condition {
    fn holds(&self, model: &str, facts: &Facts) -> bool {
        let within = |range: &Between, number: u64| {
            range.at_least.is_none_or(|least| number >= least)
                && range.at_most.is_none_or(|most| number <= most)
        };
        let named = |map: &BTreeMap<String, String>, name: &str, patterns: &Patterns| {
            map.get(name).is_some_and(|value| patterns.fits(value))
        };
        match self {
            Self::Tenant(patterns) => patterns.fits(&facts.tenant),
            Self::Key(patterns) => patterns.fits(&facts.key),
            Self::Model(patterns) => patterns.fits(model),
            Self::Metadata(name, patterns) => named(&facts.metadata, name, patterns),
            Self::Header(name, patterns) => named(&facts.headers, name, patterns),
            Self::Characters(range) => within(range, facts.characters),
            Self::Tokens(range) => within(range, facts.tokens()),
            Self::Stream(wanted) => facts.stream == *wanted,
            Self::Tools(wanted) => facts.tools == *wanted,
            Self::Images(wanted) => facts.images == *wanted,
            Self::Entities(patterns) => facts.entities.iter().any(|entity| patterns.fits(entity)),
            Self::Redacted(wanted) => facts.redacted == *wanted,
            Self::Injection(wanted) => facts.injection == *wanted,
        }
    }

    fn words(&self) -> String {
        let one_of = |Patterns(words): &Patterns| words.join(" or ");
        let range = |Between { at_least, at_most }: &Between| match (at_least, at_most) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, most) => format!("at most {}", most.unwrap_or(u64::MAX)),
        };
        match self {
            Self::Tenant(words) => format!("tenant {}", one_of(words)),
            Self::Key(words) => format!("key {}", one_of(words)),
            Self::Model(words) => format!("model {}", one_of(words)),
            Self::Metadata(name, words) => format!("metadata {name} {}", one_of(words)),
            Self::Header(name, words) => format!("header {name} {}", one_of(words)),
            Self::Characters(between) => format!("prompt_characters {}", range(between)),
            Self::Tokens(between) => format!("prompt_tokens {}", range(between)),
            Self::Stream(wanted) => format!("stream {wanted}"),
            Self::Tools(wanted) => format!("tools {wanted}"),
            Self::Images(wanted) => format!("images {wanted}"),
            Self::Entities(words) => format!("entities {}", one_of(words)),
            Self::Redacted(wanted) => format!("redacted {wanted}"),
            Self::Injection(wanted) => format!("injection {wanted}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(yaml: &str) -> Result<Conditions, String> {
        Conditions::build(&serde_saphyr::from_str(yaml).unwrap(), "when")
    }

    fn map(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn each_condition_holds_for_what_it_names_and_for_nothing_else() {
        let facts = Facts {
            tenant: "acme".into(),
            key: "bot-1".into(),
            headers: map("x-tier", "gold"),
            metadata: map("plan", "platinum"),
            characters: 401,
            stream: true,
            tools: true,
            entities: BTreeSet::from(["EMAIL_ADDRESS".into()]),
            redacted: true,
            ..Facts::default()
        };
        let holding = [
            "tenant: acme",
            "tenant: [other, 'ac*']",
            "key: 'bot-*'",
            "model: 'gpt-*-mini'",
            "metadata: {plan: 'plat*'}",
            "headers: {X-Tier: [silver, gold]}",
            "prompt_characters: {at_least: 401, at_most: 401}",
            "prompt_tokens: {at_least: 101, at_most: 101}",
            "stream: true",
            "tools: true",
            "images: false",
            "entities: '*'",
            "entities: [US_SSN, EMAIL_ADDRESS]",
            "redacted: true",
            "injection: false",
            "{tenant: acme, stream: true}",
        ];
        for yaml in holding {
            assert!(conditions(yaml).unwrap().hold("gpt-5-mini", &facts), "{yaml}");
            assert!(!conditions(yaml).unwrap().hold("other", &opposite()), "{yaml}");
        }
        assert!(!conditions("{tenant: acme, stream: false}").unwrap().hold("m", &facts));
    }

    /// Facts for which none of the conditions above hold.
    fn opposite() -> Facts {
        Facts { images: true, injection: true, ..Facts::default() }
    }

    #[test]
    fn a_star_stands_for_anything_wherever_it_is() {
        let cases = [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("*", "", true),
            ("abc", "abcd", false),
            ("a*c", "ab", false),
            ("ab*ba", "aba", false),
            ("*b*", "acd", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn conditions_that_say_nothing_or_look_at_keys_are_refused() {
        let cases = [
            ("{}", "when: name at least one condition"),
            ("headers: {Authorization: x}", "when.headers: 'authorization' holds a key"),
            ("headers: {'a b': x}", "when.headers: 'a b' is no name"),
            ("prompt_tokens: {at_least: 2, at_most: 1}", "when.prompt_tokens: at_least is more"),
        ];
        for (yaml, words) in cases {
            let told = conditions(yaml).unwrap_err();
            assert!(told.starts_with(words), "{yaml} gave {told}");
        }
    }
}
