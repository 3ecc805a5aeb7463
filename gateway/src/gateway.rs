//! What runs: everything a request needs, built once from the configuration and read-only from then on.

use std::sync::Arc;

use rustls::crypto::ring;
use sluice_engine::cache::Deciding;
use sluice_engine::{CacheConfig, SemanticCache};
use sluice_guardrails::injection::Detector;
use sluice_models::EmbedPool;

use crate::audit::Audit;
use crate::chat::judge::Judge;
use crate::chat::remember::Memory;
use crate::chat::shadow_log::ShadowLog;
use crate::config::{Config, ConfigError, LimitSection, RetrySection, TimeoutSection};
use crate::external::External;
use crate::keys::Keys;
use crate::known::KnownAttacks;
use crate::ledger::Prices;
use crate::policy::{LivePolicy, Names};
use crate::presidio::Presidio;
use crate::route::catalogue::Catalogue;
use crate::route::{RouteNotes, Routes};
use crate::telemetry::metrics::Metrics;
use crate::topics::Topics;
use crate::upstream::{Network, Upstream};
use crate::{journal, shared};

/// Everything that requests share.
pub struct Gateway {
    /// Who may ask.
    pub keys: Keys,
    /// What is looked for on the way in.
    pub policy: LivePolicy,
    /// The cache, unless it is off.
    pub memory: Option<Memory>,
    /// The local embedding model, if it could be loaded.
    pub embedder: Option<EmbedPool>,
    /// Who answers for which model.
    pub routes: Routes,
    /// What answers cost.
    pub prices: Prices,
    /// Counters.
    pub metrics: Metrics,
    /// How long to wait.
    pub timeouts: TimeoutSection,
    /// How often to try again.
    pub retry: RetrySection,
    /// What one request may cost the gateway.
    pub limits: LimitSection,
    /// Who is asked where answers can't be compared otherwise.
    pub judge: Option<Judge>,
    /// Where it is written down what the guards decided.
    pub audit: Option<Arc<Audit>>,
    /// What answers Presidio's clients, unless it is off.
    pub presidio: Option<Presidio>,
    /// Who else judges requests.
    pub external: External,
    /// Attacks that the operator knows.
    pub attacks: KnownAttacks,
    /// What may be talked about, and what not.
    pub topics: Topics,
    /// How all of them are reached.
    pub network: Arc<Network>,
}

/// What the configuration alone can't give.
#[derive(Default)]
pub struct Parts<'a> {
    /// The loaded embedding model.
    pub embedder: Option<EmbedPool>,
    /// Base URL of the built-in mock, if it runs.
    pub mock: Option<&'a str>,
    /// Whether the gateway is going to serve: only then the cache's journal is opened.
    pub serving: bool,
}

/// What one I/O thread works with: the shared gateway and outbound connections of its own.
pub struct Core {
    /// Shared by all threads.
    pub gateway: Arc<Gateway>,
    /// This thread's connections to providers.
    pub upstream: Upstream,
}

impl Gateway {
    /// Builds the gateway. `env` looks up environment variables.
    ///
    /// # Errors
    /// [`ConfigError::Values`] with every problem found.
    pub fn build(
        config: &Config,
        parts: Parts<'_>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, RouteNotes), ConfigError> {
        let internal = |problem: String| ConfigError::Values(vec![problem]);
        let catalogue = Catalogue::shipped().map_err(internal)?;
        let prices = Prices::shipped().map_err(internal)?;
        let mut problems = check_values(config);
        let keys = Keys::build(&config.keys, fresh_key().map_err(internal)?, env)
            .map_err(|mut found| problems.append(&mut found));
        let routes = Routes::build(config, &catalogue, &prices, parts.mock, env)
            .map_err(|mut found| problems.append(&mut found));
        let judge = match &routes {
            Ok((routes, _)) => judge(config, routes, &mut problems).map_err(internal)?,
            Err(()) => None,
        };
        let names = keys.as_ref().ok().zip(routes.as_ref().ok());
        let names = names.map(|(keys, (routes, _))| Names { keys, routes });
        let policy = LivePolicy::open(&config.guardrails.rules, names, env);
        let policy = policy.map_err(|problem| problems.push(problem));
        if let (Ok(policy), Ok((routes, _))) = (&policy, &routes) {
            problems.extend(nowhere_to_route(policy, routes));
        }
        let external = External::build(&config.guardrails.external, env)
            .map_err(|mut found| problems.append(&mut found));
        let metrics = Metrics::default();
        let providers = routes.iter().flat_map(|(routes, _)| routes.addresses());
        let network = Network::build(config, providers, env, metrics.connections())
            .map_err(|mut found| problems.append(&mut found));
        let (Ok(keys), Ok((routes, notes)), Ok(policy), Ok(external), Ok(network), true) =
            (keys, routes, policy, external, network, problems.is_empty())
        else {
            return Err(ConfigError::Values(problems));
        };
        announce(&policy, &metrics, parts.serving);
        let topics = Topics::build(&config.guardrails.topics, parts.embedder.as_ref())?;
        let attacks = KnownAttacks::build(&config.guardrails.injection_bank, parts.embedder.as_ref())?;
        let memory = if config.caches() {
            let settings = cache_settings(config, &keys);
            let space = vector_space(config, parts.embedder.as_ref());
            let section = config.cache.qdrant.as_ref().filter(|_| parts.serving);
            let (mut cache, mut key) = match section {
                Some(section) => {
                    let space = (space.clone(), dimensions(config, parts.embedder.as_ref()));
                    let shared = shared::connect(section, settings, space, env).map_err(internal)?;
                    (shared.cache, shared.key)
                }
                None => (SemanticCache::new(settings), fresh_key().map_err(internal)?),
            };
            // By which rule, each request says for itself: its route may have one of its own.
            cache = cache.deciding(Deciding { seed: fastrand::u64(..), ..Deciding::default() });
            if let Some(path) = config.cache.journal.as_ref().filter(|_| parts.serving)
                && let Some(opened) = journal::open(path, &space, &key)
            {
                key = opened.key;
                cache = cache.with_journal(opened.journal);
            }
            let memory = Memory::new(cache, key, config, parts.embedder.clone());
            Some(memory.logging(shadow_log(config, &metrics).map_err(internal)?))
        } else {
            None
        };
        let audit = if parts.serving { audit_log(config, &metrics).map_err(internal)? } else { None };
        let gateway = Self {
            keys,
            policy,
            memory,
            embedder: parts.embedder,
            routes,
            prices,
            metrics,
            timeouts: config.timeouts.clone(),
            retry: config.retry.clone(),
            limits: config.limits.clone(),
            judge,
            audit,
            presidio: Presidio::build(&config.presidio).map_err(internal)?,
            external,
            topics,
            attacks,
            network: Arc::new(network),
        };
        Ok((gateway, notes))
    }

    /// The tenants and routes there are.
    pub fn names(&self) -> Names<'_> {
        Names { keys: &self.keys, routes: &self.routes }
    }

    /// Whether what words leave in doubt can be judged by its meaning: the embedding model is the one that the detector learnt from.
    pub fn weighs_meaning(&self) -> bool {
        let model = self.embedder.as_ref().and_then(|embedder| embedder.id().split('/').next());
        model.is_some() && model == Detector::shared().model()
    }

    /// Writes what waits to be written. To be called when nothing more is asked; it may wait for a disk.
    pub fn flush(&self) {
        self.memory.iter().for_each(Memory::flush);
        self.audit.iter().for_each(|audit| audit.flush());
    }

    /// The metrics as a scrape sees them.
    pub fn scrape(&self) -> String {
        let (entries, bytes, journal) = self.memory.as_ref().map_or_else(Default::default, |memory| {
            memory.cache().run_pending();
            let stats = memory.cache().stats();
            if let Some(shared) = memory.cache().shared_stats() {
                self.metrics.shared(&shared);
            }
            let entries = memory.cache().shared_stats().map_or(stats.entries, |shared| shared.entries);
            (entries, stats.bytes, memory.cache().journal_stats())
        });
        self.metrics.targets(&self.routes.shown());
        self.metrics.known_attacks(self.attacks.all().len());
        self.metrics.journal(&journal.unwrap_or_default());
        self.metrics.policy_state(self.policy.notes().tried.len(), self.policy.current().exceptions());
        self.metrics.scrape(entries, bytes, self.embedder.as_ref().map_or(0, EmbedPool::queued))
    }
}

/// Who is asked where answers can't be compared otherwise, if anybody is.
fn judge(config: &Config, routes: &Routes, problems: &mut Vec<String>) -> Result<Option<Judge>, String> {
    let Some(section) = &config.cache.judge else { return Ok(None) };
    let judge = Judge::new(section, routes, &config.timeouts, fresh_key()?);
    Ok(judge.map_err(|problem| problems.push(problem)).ok())
}

/// What is wrong if the policy leaves something to in-house targets and there are none.
fn nowhere_to_route(policy: &LivePolicy, routes: &Routes) -> Option<String> {
    let problem =
        "guardrails: something is for in-house targets alone (route), but no provider is 'in_house: true'";
    (policy.routes() && !routes.any_in_house()).then(|| problem.to_owned())
}

fn cache_settings(config: &Config, keys: &Keys) -> CacheConfig {
    CacheConfig {
        similarity: config.cache.similarity,
        index: config.cache.index,
        // Each answer is kept for a time of its own, which is never longer.
        ttl: crate::chat::remember::longest_lifetime(config),
        max_bytes: config.cache.max_bytes.0,
        owner_max_bytes: config.cache.share_of(keys.tenants().len()),
    }
}

/// Lets metrics name the policy in force. Where it is going to be used, the log says what is to be known of it.
fn announce(policy: &LivePolicy, metrics: &Metrics, serving: bool) {
    metrics.policy_is(&policy.current().name);
    if serving {
        policy.notes().tell();
    }
}

/// The vector space of the configured model, also where its weights are not to be had just now.
fn vector_space(config: &Config, embedder: Option<&EmbedPool>) -> String {
    let section = &config.embedding;
    let named = || {
        let spec = sluice_models::resolve(&section.model);
        let name = spec.map_or_else(|_| section.model.clone(), |spec| spec.name.to_string());
        format!("{name}/{}", section.precision.vector_space())
    };
    embedder.map_or_else(named, |embedder| embedder.id().to_owned())
}

/// Numbers in a vector of the configured model; one if nothing is known of it, and then there is no vector.
fn dimensions(config: &Config, embedder: Option<&EmbedPool>) -> usize {
    let spec = || sluice_models::resolve(&config.embedding.model).map_or(1, |spec| spec.dimensions);
    embedder.map_or_else(spec, EmbedPool::dimensions)
}

/// The shadow log, if there is to be one.
fn shadow_log(config: &Config, metrics: &Metrics) -> Result<Option<Arc<ShadowLog>>, String> {
    let Some(path) = &config.cache.shadow_log else { return Ok(None) };
    let log = ShadowLog::start(path.clone(), config.cache.shadow_log_prompts, metrics.shadow_lines());
    log.map(Some).map_err(|error| format!("cache.shadow_log: no thread to write it: {error}"))
}

/// The audit log, if there is to be one.
fn audit_log(config: &Config, metrics: &Metrics) -> Result<Option<Arc<Audit>>, String> {
    let Some(path) = &config.audit.path else { return Ok(None) };
    let opened = Audit::start(path, &config.audit, metrics.audit_events());
    opened.map(Some).map_err(|problem| format!("audit.path: {problem}"))
}

/// What types can't say.
fn check_values(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut expect = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    let open = config.keys.is_empty();
    expect(
        config.listen.ip().is_loopback() || !open,
        "listen: an address that others can reach needs at least one key under 'keys', or anybody could spend your providers' credit",
    );
    expect(
        config.admin.ip().is_loopback() || !open,
        "admin: an address that others can reach needs at least one key under 'keys'",
    );
    expect(
        config.listen != config.admin || config.listen.port() == 0,
        "admin: must be another address than 'listen'",
    );
    let journal = config.cache.journal.as_deref().map_or(Ok(()), journal::check);
    expect(journal.is_ok(), &journal.err().unwrap_or_default());
    expect(config.embedding.workers > 0, "embedding.workers: at least 1");
    expect(config.embedding.queue > 0, "embedding.queue: at least 1");
    expect(
        !config.embedding.deadline.0.is_zero(),
        "embedding.deadline: must be longer than 0 (to wait as long as the queue takes, set a long one)",
    );
    let t = &config.timeouts;
    let standard = t.until_first_byte(true);
    for (name, span) in [
        ("connect", t.connect.0),
        ("first_byte", standard),
        ("idle", t.idle.0),
        ("total", t.total.0),
        ("client", t.client.0),
    ] {
        expect(!span.is_zero(), &format!("timeouts.{name}: must be longer than 0"));
    }
    expect(config.limits.threads != Some(0), "limits.threads: at least 1");
    expect(config.limits.max_body.0 > 0, "limits.max_body: must be larger than 0");
    problems.extend(config.cache_problems());
    problems.extend(config.routing_problems());
    problems.extend(config.audit.problems());
    problems.extend(crate::config::topics::problems(&config.guardrails.topics));
    problems.extend(config.presidio.problems(open, &[config.listen, config.admin]));
    if let Err(unknown) = sluice_models::exists(&config.embedding.model) {
        problems.push(format!("embedding.model: {unknown}"));
    }
    problems
}

/// A new key for keyed hashes: nobody outside can compute where an answer is kept.
fn fresh_key() -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    let random = ring::default_provider().secure_random;
    random.fill(&mut key).map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn problems(yaml: &str) -> String {
        let config = parse(yaml, "test").unwrap();
        let built = Gateway::build(
            &config,
            Parts { mock: Some("http://127.0.0.1:1/v1"), ..Parts::default() },
            &|_| None,
        );
        built.err().map_or_else(String::new, |e| e.to_string())
    }

    #[test]
    fn an_address_that_others_can_reach_needs_a_key() {
        assert!(problems("listen: 0.0.0.0:8080").starts_with("listen: an address that others can reach"));
        assert!(problems("admin: '[::]:8081'").starts_with("admin: "));
        assert_eq!(problems("listen: 127.0.0.2:8080"), "");
    }

    #[test]
    fn a_tenant_that_is_alone_has_the_whole_cache_and_several_have_equal_parts_of_a_quarter_at_least() {
        let share = |yaml: &str, tenants| parse(yaml, "test").unwrap().cache.share_of(tenants);
        let shares: Vec<_> =
            [1, 2, 3, 4, 9].map(|tenants| share("cache: {max_bytes: 1000B}", tenants)).into();
        assert_eq!(shares, [None, Some(500), Some(330), Some(250), Some(250)]);
        let own = "cache: {max_bytes: 1000B, tenant_max_bytes: 10%}";
        assert_eq!((share(own, 1), share(own, 3)), (Some(100), Some(100)));
        assert_eq!(share("cache: {max_bytes: 1000B, tenant_max_bytes: 1MiB}", 3), None);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let told = problems(
            "cache: {similarity: 1.5, ttl: 0s}\nembedding: {model: nope}\nproviders: {a: {kind: nope}}",
        );
        for field in ["cache.similarity", "cache.ttl", "embedding.model", "providers.a.kind"] {
            assert!(told.contains(field), "{field} in {told}");
        }
    }
}
