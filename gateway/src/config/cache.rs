//! What a route does otherwise than `cache:` says, and what values both may have.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CachePolicy, CacheSection, Config, Shadow, Span, TimeSensitive};

/// `cache:` of a route. What is not given is as the section `cache:` has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteCacheSection {
    /// False: nothing is cached for this route. True: it is, also if `cache.enabled` is false.
    pub enabled: Option<bool>,
    /// See `cache.policy`.
    pub policy: Option<CachePolicy>,
    /// See `cache.max_false_hit_rate`.
    pub max_false_hit_rate: Option<f64>,
    /// See `cache.strict`.
    pub strict: Option<bool>,
    /// See `cache.shadow`.
    pub shadow: Option<Shadow>,
    /// See `cache.similarity`.
    pub similarity: Option<f32>,
    /// See `cache.ttl`; it may be longer than that.
    pub ttl: Option<Span>,
    /// See `cache.stale_while_revalidate`.
    pub stale_while_revalidate: Option<Span>,
    /// See `cache.stale_if_error`.
    pub stale_if_error: Option<Span>,
    /// See `cache.max_temperature`.
    pub max_temperature: Option<f64>,
    /// See `cache.time_sensitive`.
    pub time_sensitive: Option<TimeSensitive>,
}

/// `cache.judge:` A model that is asked where two answers can't be compared otherwise.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgeSection {
    /// Who judges, as a client would write it into `model`: a route, or `PROVIDER/MODEL`. It gets the question and both answers in
    /// their redacted form.
    pub model: String,
    /// Most cases in any minute; what comes beyond is not learnt from.
    #[serde(default = "most_cases")]
    pub max_per_minute: u32,
    /// How long to wait for a verdict. No client waits for it.
    #[serde(default = "patience")]
    pub timeout: Span,
}

fn most_cases() -> u32 {
    30
}

fn patience() -> Span {
    Span::seconds(10)
}

impl RouteCacheSection {
    /// The section that holds for the route, where `common` holds for the others.
    #[must_use]
    pub fn over(&self, common: &CacheSection) -> CacheSection {
        CacheSection {
            enabled: self.enabled.unwrap_or(common.enabled),
            policy: self.policy.unwrap_or(common.policy),
            max_false_hit_rate: self.max_false_hit_rate.unwrap_or(common.max_false_hit_rate),
            strict: self.strict.unwrap_or(common.strict),
            shadow: self.shadow.unwrap_or(common.shadow),
            similarity: self.similarity.unwrap_or(common.similarity),
            ttl: self.ttl.unwrap_or(common.ttl),
            stale_while_revalidate: self.stale_while_revalidate.unwrap_or(common.stale_while_revalidate),
            stale_if_error: self.stale_if_error.unwrap_or(common.stale_if_error),
            max_temperature: self.max_temperature.unwrap_or(common.max_temperature),
            time_sensitive: self.time_sensitive.unwrap_or(common.time_sensitive),
            ..common.clone()
        }
    }

    /// What is wrong with its values, by field.
    pub(crate) fn problems(&self) -> Vec<String> {
        // Over values that are right, what is wrong is the route's own.
        self.over(&CacheSection::default()).problems()
    }
}

impl CacheSection {
    /// What is wrong with its values, by field.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut expect = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        let share = 0.0..=1.0;
        expect(share.contains(&self.max_false_hit_rate), "max_false_hit_rate: expected a number from 0 to 1");
        expect(share.contains(&f64::from(self.similarity)), "similarity: expected a number from 0 to 1");
        expect(
            !self.ttl.0.is_zero(),
            "ttl: must be longer than 0 (to switch the cache off, set enabled: false)",
        );
        expect(self.max_temperature >= 0.0, "max_temperature: expected a number of at least 0");
        expect(
            !matches!(self.time_sensitive, TimeSensitive::Ttl(ttl) if ttl.0.is_zero()),
            "time_sensitive: must be longer than 0 (to keep no such answer, write bypass)",
        );
        if let Some(judge) = &self.judge {
            expect(
                judge.max_per_minute > 0,
                "judge.max_per_minute: at least 1 (for no judge, leave the section out)",
            );
            expect(!judge.timeout.0.is_zero(), "judge.timeout: must be longer than 0");
        }
        self.store_problems().into_iter().for_each(|problem| expect(false, problem));
        let folder = self.shadow_log.as_deref().and_then(Path::parent);
        expect(
            folder.is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()),
            "shadow_log: the folder of this file is not there",
        );
        problems
    }

    /// Whether anything is learnt about which prompts share an answer.
    fn learns(&self) -> bool {
        self.enabled && matches!(self.policy, CachePolicy::Calibrated | CachePolicy::Verified)
    }
}

impl Config {
    /// What holds for the cache on each route, by what clients write into `model`.
    pub fn route_caches(&self) -> impl Iterator<Item = (&str, CacheSection)> {
        self.routes.iter().map(|route| (route.model.as_str(), route.cache.over(&self.cache)))
    }

    /// Whether the cache has a part in anything.
    pub fn caches(&self) -> bool {
        self.cache.enabled || self.route_caches().any(|(_, section)| section.enabled)
    }

    /// What is wrong with the values that the cache is given, by field.
    pub(crate) fn cache_problems(&self) -> Vec<String> {
        let common = self.cache.problems().into_iter().map(|problem| format!("cache.{problem}"));
        let routes = self.routes.iter().enumerate().flat_map(|(at, route)| {
            let field = move |problem| format!("routes[{at}] ('{}').cache.{problem}", route.model);
            route.cache.problems().into_iter().map(field)
        });
        let mut problems: Vec<String> = common.chain(routes).collect();
        let learns = self.cache.learns() || self.route_caches().any(|(_, section)| section.learns());
        for (field, is_set) in
            [("judge", self.cache.judge.is_some()), ("shadow_log", self.cache.shadow_log.is_some())]
        {
            if is_set && !learns {
                problems.push(format!(
                    "cache.{field}: there is nothing for it to do: no policy is calibrated or verified, here or on a route"
                ));
            }
        }
        problems
    }
}
