//! The cache as a chat request sees it: which requests may share an answer, and in what form answers are kept.

mod found;
mod given;
mod keep;
mod meaning;
mod notes;
mod outside;
#[cfg(test)]
mod tests;

pub(super) use found::excused;
pub use found::{Form, Found, Nothing, Remembered, Stale};
pub(super) use given::{NotKept, Place};
pub(super) use keep::Kept;
pub use outside::Selector;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice_engine::cache::Ticket as Candidate;
use sluice_engine::features::Profile;
use sluice_engine::{Clock, Entry, ExactKey, Hit, PartitionKey, SemanticCache, SystemClock, normalise};
use sluice_guardrails::{Vault, placeholders};
use sluice_models::EmbedPool;

use found::read;
use meaning::Missed;

use super::Call;
use super::flight::{Flights, Lead};
use super::keys::{flight_key, partition};
use super::lifetime::Lifetimes;
use super::live::Live;
use super::repeats::{Known, RepeatKey, Repeats};
use super::request::ChatRequest;
use super::shadow_log::{ShadowLog, Watched};
use super::stored;
use super::terms::AllTerms;
use super::tier::{Reach, may_share};
use super::wishes::Wishes;
use crate::config::Config;
use crate::telemetry::metrics::Metrics;

/// How long the last entries may take to reach a shared store.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// Why a lookup did without the cache: its store was not to be had.
const UNAVAILABLE: &str = "store_unavailable";

/// The cache with what it takes to ask it.
pub struct Memory {
    cache: SemanticCache,
    hash_key: [u8; 32],
    /// Tells the hits of this process from those of an earlier one, which had the same numbers.
    process: u128,
    repeats: Repeats,
    terms: AllTerms,
    keep_prompts: bool,
    clock: Arc<dyn Clock>,
    embedder: Option<EmbedPool>,
    patience: Duration,
    flights: Flights<(ExactKey, bool), Arc<Live>>,
    shadow_log: Option<Arc<ShadowLog>>,
}

/// The place of a request that asks for others too.
pub(super) type FlightLead = Lead<(ExactKey, bool), Arc<Live>>;

/// Who asks the cache for what.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The call.
    pub(super) call: &'a Call,
    /// Its request, redacted.
    pub(super) request: &'a ChatRequest,
    /// What was redacted.
    pub(super) vault: &'a Vault,
    /// What it wants of the cache.
    pub(super) wishes: &'a Wishes,
}

impl Asked<'_> {
    /// Whether an answer has to be taken apart: it goes out in another form than it is stored in, or the caller's own values go
    /// back into it.
    fn takes_apart(&self) -> bool {
        !self.request.delivery().as_stored() || !self.vault.is_empty()
    }
}

/// Where an answer goes once it is whole.
pub struct Ticket {
    tenant: String,
    partition: PartitionKey,
    exact: ExactKey,
    normalised: Option<ExactKey>,
    similar: Option<Box<Similar>>,
    flight: Option<ExactKey>,
    ttl: Option<Duration>,
    labels: Vec<String>,
    lifetimes: Lifetimes,
    /// The request as it is kept with its answer, where that is wanted.
    note: Bytes,
}

/// What a prompt can be found by from similar ones, and what to learn from its answer.
struct Similar {
    text: String,
    vector: Vec<f32>,
    profile: Profile,
    candidate: Option<Candidate>,
    /// The line about the candidate in the shadow log.
    watched: Option<Watched>,
}

impl Similar {
    fn new(text: &str, vector: Vec<f32>) -> Self {
        let profile = Profile::of(text);
        Self { text: text.to_owned(), vector, profile, candidate: None, watched: None }
    }
}

impl Ticket {
    /// The same for a spot check: the answer tells whether the candidate's was right.
    fn checking(self, candidate: Candidate, watched: Option<Watched>) -> Self {
        let candidate = Some(candidate);
        let similar = self.similar.map(|similar| Box::new(Similar { candidate, watched, ..*similar }));
        Self { similar, flight: None, ..self }
    }

    /// What those have in common who may share one answer of a provider; none if this request asks for itself alone.
    pub(super) fn flight(&self) -> Option<ExactKey> {
        self.flight
    }
}

impl Memory {
    /// A cache; without an embedder only its exact and normalised tiers answer.
    pub fn new(
        cache: SemanticCache,
        hash_key: [u8; 32],
        config: &Config,
        embedder: Option<EmbedPool>,
    ) -> Self {
        let repeats = Repeats::new(&hash_key);
        let flights = Flights::new();
        let terms = AllTerms::new(config, embedder.as_ref().map_or("", EmbedPool::id));
        let patience = config.embedding.deadline.0;
        let (clock, keep_prompts) = (Arc::new(SystemClock), config.cache.keep_prompts);
        let process = fastrand::u128(..);
        Self {
            cache,
            hash_key,
            process,
            repeats,
            terms,
            keep_prompts,
            clock,
            embedder,
            patience,
            flights,
            shadow_log: None,
        }
    }

    /// The same, with a log of what was held against requests.
    #[must_use]
    pub fn logging(self, shadow_log: Option<Arc<ShadowLog>>) -> Self {
        Self { shadow_log, ..self }
    }

    /// Writes what waits to be written: the shadow log, and the cache's journal.
    pub fn flush(&self) {
        self.shadow_log.iter().for_each(|log| log.flush());
        if !self.cache.flush_shared(LAST_WRITES) {
            tracing::error!("Qdrant did not take the last entries: they are lost");
        }
        if let Err(error) = self.cache.flush() {
            tracing::error!(%error, "the cache's journal lacks its last entries, and what was removed last may come back");
        }
    }

    /// The questions that providers are at work on, and whether as a stream.
    pub(super) fn flights(&self) -> &Flights<(ExactKey, bool), Arc<Live>> {
        &self.flights
    }

    /// The first tier again, for a request that missed and now would ask: what it missed may have come meanwhile.
    pub(super) fn recheck(&self, asked: &Asked<'_>, ticket: &Ticket) -> Option<Remembered> {
        let issued: HashSet<&str> = asked.vault.issued().collect();
        let admit = |entry: &Entry| self.fits(entry, asked.wishes) && names_only(entry, &issued);
        let hit = self.cache.exact(&ticket.exact, &admit).filter(|_| asked.wishes.serve)?;
        read(&hit, asked.takes_apart())
    }

    /// The cache itself, for its figures.
    pub fn cache(&self) -> &SemanticCache {
        &self.cache
    }

    /// Stands for this body of this call's tenant, in the namespace that it names and under the call's policy. `attacks` changes with
    /// what else is known about bodies.
    pub(super) fn repeat_key(&self, call: &Call, wishes: &Wishes, attacks: u64, body: &[u8]) -> RepeatKey {
        let namespace = wishes.namespace.as_deref();
        let policy = match (call.policy.fingerprint(), attacks) {
            (policy, 0) => Cow::Borrowed(policy),
            (policy, attacks) => Cow::Owned(format!("{policy} {attacks}")),
        };
        self.repeats.key(&call.caller.tenant, namespace, [&policy, call.format.name()], body)
    }

    /// Where a request with these bytes led before, if it is known.
    pub(super) fn known(&self, key: &RepeatKey) -> Option<Arc<Known>> {
        self.repeats.find(key)
    }

    /// Keeps where a request led, unless what an answer repeats of it would have to be kept as well.
    fn learn_repeat(&self, key: RepeatKey, exact: ExactKey, request: &ChatRequest) {
        let (model, delivery) = (request.model.clone(), request.delivery());
        if delivery.echo.is_none() {
            self.repeats.learn(key, Known { exact, model, delivery });
        }
    }

    /// [`Memory::look_up`]'s first tier for a request that is known.
    pub(super) fn recall(&self, wishes: &Wishes, known: &Known) -> Option<Remembered> {
        let issued = HashSet::new();
        let admit = |entry: &Entry| self.fits(entry, wishes) && names_only(entry, &issued);
        let hit = self.cache.exact(&known.exact, &admit).filter(|_| wishes.serve)?;
        read(&hit, !known.delivery.as_stored())
    }

    /// Looks for an answer: letter by letter, then normalised, then by meaning. `repeat` is given for a request in which no
    /// guard found anything; if the first tier has its answer, it is known from then on. Trouble in the cache is a miss.
    pub(super) async fn look_up(
        &self,
        asked: &Asked<'_>,
        repeat: Option<RepeatKey>,
        metrics: &Metrics,
    ) -> Found {
        let Asked { call, request, vault, wishes } = *asked;
        let terms = self.terms.of(&request.model);
        if !terms.enabled {
            return Found::Nothing(Box::new(Nothing::bypass("cache_off")));
        }
        let uncached = request.uncached();
        if !uncached.is_empty() || !wishes.store {
            let reason = if uncached.is_empty() { wishes.because } else { uncached };
            return Found::Nothing(Box::new(Nothing::bypass(reason)));
        }
        let turn = request.last_turn();
        let text = turn.as_deref();
        let (partition, exact) = self.keys(asked, text);
        let issued: HashSet<&str> = vault.issued().collect();
        let named = |entry: &Entry| names_only(entry, &issued);
        let admit = |entry: &Entry| self.fits(entry, wishes) && named(entry);
        let read = |hit: &Hit| read(hit, asked.takes_apart()).filter(|_| wishes.serve);
        let first_tier = || self.cache.exact(&exact, &admit).as_ref().and_then(read);
        let mut remembered = first_tier();
        let is_there = remembered.is_some() || self.fetch(&partition, &exact, text).await;
        if self.cache.is_shared() {
            remembered = remembered.or_else(first_tier);
        }
        if let Some(remembered) = remembered {
            if let Some(key) = repeat {
                self.learn_repeat(key, exact, request);
            }
            return Found::Hit(Box::new(remembered));
        }
        let may_follow = wishes.serve && may_share(request);
        let flight = may_follow.then(|| flight_key(&partition, text, &issued));
        let handling = terms.rules.handling(asked, text);
        if handling.reach == Reach::Nothing {
            return Found::Nothing(Box::new(Nothing::bypass(handling.reason)));
        }
        let reason = if wishes.because.is_empty() { handling.reason } else { wishes.because };
        let ttl = [wishes.ttl, handling.ttl].into_iter().flatten().min();
        // Not admitted above, so its time is over or it is too old for this request.
        let old = self.cache.exact(&exact, &named).filter(|_| wishes.serve);
        let stale = old.and_then(|hit| self.stale(&hit, asked));
        let mut ticket = Ticket { flight, ttl, ..self.ticket(asked, text, (partition, exact)) };
        let nothing = |ticket, bypass, reason| {
            let stale = stale.map(Box::new);
            Found::Nothing(Box::new(Nothing { ticket: Some(ticket), bypass, reason, stale }))
        };
        if !is_there {
            return nothing(ticket, true, UNAVAILABLE);
        }
        let Some(text) = text.filter(|_| handling.reach > Reach::Exact) else {
            return nothing(ticket, false, reason);
        };
        // What holds for a short time takes nothing older, also where the older one did not know that.
        let admit = |entry: &Entry| {
            handling.ttl.is_none_or(|ttl| entry.age_at(self.clock.now()) <= ttl) && admit(entry)
        };
        ticket.normalised = normal_form(&partition, text);
        let hit = ticket.normalised.and_then(|key| self.cache.normalised(&key, &admit));
        if let Some(remembered) = hit.as_ref().and_then(read) {
            return Found::Hit(Box::new(remembered));
        }
        if handling.reach < Reach::Semantic || terms.rule.is_none() {
            return nothing(ticket, false, reason);
        }
        let vector = match self.vector(call, text, metrics).await {
            Ok(vector) => vector,
            Err(reason) => return nothing(ticket, true, reason),
        };
        let Some(vector) = vector else {
            return nothing(ticket, false, if reason.is_empty() { "too_long" } else { reason });
        };
        let similar = Box::new(Similar::new(text, vector));
        match self.by_meaning(asked, similar, ticket, &admit, metrics).await {
            Ok(remembered) => Found::Hit(Box::new(remembered)),
            Err(Missed { ticket, unavailable: true }) => nothing(*ticket, true, UNAVAILABLE),
            Err(Missed { ticket, .. }) if reason.is_empty() && self.cache.is_restoring() => {
                nothing(*ticket, false, "restoring")
            }
            Err(Missed { ticket, .. }) => nothing(*ticket, false, reason),
        }
    }

    /// What must be equal, and what is compared letter by letter.
    fn keys(&self, asked: &Asked<'_>, text: Option<&str>) -> (PartitionKey, ExactKey) {
        let embedding = self.embedder.as_ref().map_or("", EmbedPool::id);
        let policy = asked.call.guard(&asked.request.model).fingerprint();
        let partition = partition(&self.hash_key, [embedding, policy], asked, text.is_some());
        (partition, partition.exact(&[b"text", text.unwrap_or_default().as_bytes()]))
    }

    /// The place of an answer that is found letter by letter.
    fn ticket(
        &self,
        asked: &Asked<'_>,
        text: Option<&str>,
        (partition, exact): (PartitionKey, ExactKey),
    ) -> Ticket {
        Ticket {
            tenant: asked.call.caller.tenant.clone(),
            partition,
            exact,
            normalised: None,
            similar: None,
            flight: None,
            ttl: None,
            labels: self.labels(asked),
            lifetimes: self.terms.of(&asked.request.model).lifetimes,
            note: if self.keep_prompts { notes::write(asked, text) } else { Bytes::new() },
        }
    }

    /// Brings what a shared store has under the request's keys; false if it is not to be had.
    async fn fetch(&self, partition: &PartitionKey, exact: &ExactKey, text: Option<&str>) -> bool {
        if !self.cache.is_shared() {
            return true;
        }
        let normalised = text.and_then(|text| normal_form(partition, text));
        let keys: Vec<ExactKey> = std::iter::once(*exact).chain(normalised).collect();
        self.cache.fetch(partition, &keys).await.is_ok()
    }

    /// The embedding model, if there is one.
    pub(super) fn embedder(&self) -> Option<&EmbedPool> {
        self.embedder.as_ref()
    }

    /// Whether the answer's time is not over, and its age is one that the request takes.
    fn fits(&self, entry: &Entry, wishes: &Wishes) -> bool {
        let age = entry.age_at(self.clock.now());
        let fresh = stored::fresh_for(entry.payload()).is_some_and(|fresh_for| age < fresh_for);
        fresh && wishes.max_age.is_none_or(|limit| age <= limit)
    }

    /// The answer, if its time is over.
    fn stale(&self, hit: &Hit, asked: &Asked<'_>) -> Option<Stale> {
        let Asked { request, .. } = asked;
        let lifetimes = self.terms.of(&request.model).lifetimes;
        let fresh_for = stored::fresh_for(hit.entry.payload())?;
        let since = hit.entry.age_at(self.clock.now()).checked_sub(fresh_for)?;
        let remembered = read(hit, asked.takes_apart())?;
        Some(Stale { remembered: Remembered { stale: true, ..remembered }, since, lifetimes })
    }
}

/// Longer than any answer is kept with this configuration, on whatever route.
pub(crate) fn longest_lifetime(config: &Config) -> Duration {
    let routes = config.route_caches().map(|(_, section)| Lifetimes::new(&section).longest());
    routes.fold(Lifetimes::new(&config.cache).longest(), Duration::max)
}

/// The key of the text's safely normalised form, if it has one.
fn normal_form(partition: &PartitionKey, text: &str) -> Option<ExactKey> {
    normalise(text).map(|normal| partition.exact(&[b"normalised", normal.as_bytes()]))
}

/// An answer that names a placeholder can serve only a request that issued it.
fn names_only(entry: &Entry, issued: &HashSet<&str>) -> bool {
    std::str::from_utf8(entry.payload())
        .is_ok_and(|text| placeholders(text).all(|name| issued.contains(name)))
}
