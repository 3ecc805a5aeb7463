//! What holds for the requests of a route: whether they are cached at all, by which rule a similar prompt's answer may be
//! served, and for how long.

use std::collections::HashMap;

use sluice_engine::decide::Policy;

use super::lifetime::Lifetimes;
use super::tier::Rules;
use crate::config::{CachePolicy, CacheSection, Config};

/// The vector space that the learnt rule's first knowledge was fitted for.
const FITTED_FOR: &str = "all-MiniLM-L6-v2/f32";
/// In another one it learns from so many candidates first.
const LEARN_FIRST: u64 = 500;

/// What holds for a request.
pub(super) struct Terms {
    /// False: the cache has no part in it.
    pub(super) enabled: bool,
    /// When a similar prompt's answer may be served; none: never.
    pub(super) rule: Option<Policy>,
    /// How many candidates are only learnt from.
    pub(super) shadow: u64,
    /// Which requests reach how far.
    pub(super) rules: Rules,
    /// How long answers hold.
    pub(super) lifetimes: Lifetimes,
}

impl Terms {
    /// The terms of a section, where prompts are compared in the vector space `space`.
    pub(super) fn new(section: &CacheSection, space: &str) -> Self {
        Self {
            enabled: section.enabled,
            rule: section.rule(),
            shadow: if learns_first(section, space) { LEARN_FIRST } else { section.shadow.0 },
            rules: Rules::new(section),
            lifetimes: Lifetimes::new(section),
        }
    }
}

/// Whether the learnt rule knows too little to begin with. Without an embedding model it is never asked.
fn learns_first(section: &CacheSection, space: &str) -> bool {
    let is_strange = !space.is_empty() && space != FITTED_FOR;
    section.policy == CachePolicy::Calibrated && is_strange && section.shadow.0 < LEARN_FIRST
}

/// The terms of every route, and those of requests for a model that has none.
pub(super) struct AllTerms {
    common: Terms,
    routes: HashMap<String, Terms>,
}

impl AllTerms {
    /// Reads them out of the configuration.
    pub(super) fn new(config: &Config, space: &str) -> Self {
        let mut sections = config.route_caches().map(|(_, section)| section).chain([config.cache.clone()]);
        if sections.any(|section| section.enabled && learns_first(&section, space)) {
            tracing::info!(
                model = space,
                candidates = LEARN_FIRST,
                "the semantic tier learns first: its prior is of another model"
            );
        }
        let common = Terms::new(&config.cache, space);
        let route = |(model, section): (&str, CacheSection)| (model.to_owned(), Terms::new(&section, space));
        let routes = config.route_caches().map(route).collect();
        Self { common, routes }
    }

    /// What holds for requests that ask for this model.
    pub(super) fn of(&self, model: &str) -> &Terms {
        self.routes.get(model).unwrap_or(&self.common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::time::Duration;

    const ROUTES: &str = "
cache: {policy: calibrated, max_false_hit_rate: 0.02, ttl: 1h}
routes:
  - {model: same, targets: [p/m]}
  - {model: strict, targets: [p/m], cache: {strict: true, shadow: always}}
  - {model: exact, targets: [p/m], cache: {policy: exact, ttl: 3d}}
  - {model: none, targets: [p/m], cache: {enabled: false}}
";

    #[test]
    fn a_route_has_what_it_says_and_otherwise_what_all_have() {
        let config = parse(ROUTES, "test").unwrap();
        let all = AllTerms::new(&config, FITTED_FOR);
        let rule = |strict| Some(Policy::Calibrated { max_false_hit_rate: 0.02, strict });
        for model in ["same", "no/route"] {
            let terms = all.of(model);
            assert_eq!((terms.enabled, terms.rule, terms.shadow), (true, rule(false), 0));
        }
        assert_eq!((all.of("strict").rule, all.of("strict").shadow), (rule(true), u64::MAX));
        assert_eq!(all.of("exact").rule, None);
        assert!(!all.of("none").enabled);
        let day = Duration::from_secs(24 * 3600);
        assert!(all.of("exact").lifetimes.longest() > 3 * day && all.of("same").lifetimes.longest() < day);
        assert!(crate::chat::remember::longest_lifetime(&config) > 3 * day);
    }

    #[test]
    fn in_a_vector_space_that_nothing_is_known_of_the_learnt_rule_learns_first() {
        let config = parse(ROUTES, "test").unwrap();
        let all = AllTerms::new(&config, "other/f32");
        assert_eq!((all.of("same").shadow, all.of("strict").shadow), (LEARN_FIRST, u64::MAX));
        assert_eq!(all.of("exact").shadow, 0);
        assert_eq!(AllTerms::new(&config, "").of("same").shadow, 0, "without a model nothing is compared");
    }
}
