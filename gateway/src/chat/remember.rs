//! The cache as a chat request sees it: which requests may share an answer, and in what form answers are kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use sluice_engine::{
    Clock, Entry, ExactKey, Hit, Insert, KeyHasher, PartitionKey, SemanticCache, SystemClock, Tier, normalise,
};
use sluice_guardrails::{Guard, Vault, placeholders};
use sluice_models::EmbedPool;

use super::Call;
use super::flight::{Flights, Lead};
use super::lifetime::{Excuse, Lifetimes};
use super::live::Live;
use super::repeats::{Known, RepeatKey, Repeats};
use super::request::ChatRequest;
use super::stored::{self, Origin};
use super::tier::{Reach, Rules, may_share};
use super::wishes::Wishes;
use crate::config::CacheSection;
use crate::ids;
use crate::ledger::Nanodollars;
use crate::telemetry::metrics::Metrics;
use crate::wire::chat::Chunk;
use crate::wire::json::{canonical, canonical_object};

/// Fields that say who asks or how the answer travels, and nothing about what it says.
const NOT_PART_OF_THE_QUESTION: [&str; 8] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
];

/// The cache with what it takes to ask it.
pub struct Memory {
    cache: SemanticCache,
    hash_key: [u8; 32],
    repeats: Repeats,
    policy: String,
    rules: Rules,
    lifetimes: Lifetimes,
    clock: Arc<dyn Clock>,
    embedder: Option<EmbedPool>,
    patience: Duration,
    flights: Flights<(ExactKey, bool), Arc<Live>>,
}

/// The place of a request that asks for others too.
pub(super) type FlightLead = Lead<(ExactKey, bool), Arc<Live>>;

/// What an operator chooses answers by.
pub struct Selector<'a> {
    /// `entry`, or what a label stands for: `tag`, `namespace`, `model`, `tenant`.
    pub kind: &'static str,
    /// Its value.
    pub value: &'a str,
}

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

/// What a lookup gave.
pub enum Found {
    /// An answer.
    Hit(Box<Remembered>),
    /// None.
    Nothing(Nothing),
}

/// No answer was found.
pub struct Nothing {
    /// Lets the provider's answer be remembered.
    pub ticket: Option<Ticket>,
    /// The cache is off, or its embedding model was not to be had.
    pub bypass: bool,
    /// Why not everything was tried that the cache can do; empty if it was.
    pub reason: &'static str,
    /// The very same request's answer, whose time is over.
    pub stale: Option<Box<Stale>>,
}

/// An answer whose time is over.
pub struct Stale {
    remembered: Remembered,
    /// For how long.
    since: Duration,
}

/// An answer out of the cache, in its redacted form.
pub struct Remembered {
    /// Its time is over.
    pub stale: bool,
    /// Its name, by which an operator can have it forgotten.
    pub entry: String,
    /// How it was found.
    pub tier: Tier,
    /// How near the two prompts are.
    pub similarity: f32,
    /// How old the answer is.
    pub age: Duration,
    /// The answer, in the form that was wanted.
    pub answer: Form,
    /// Who gave it.
    pub provider: String,
    /// What the provider calls the model.
    pub model: String,
    /// What it cost then, and does not cost now.
    pub cost: Nanodollars,
}

/// Where an answer goes once it is whole.
pub struct Ticket {
    partition: PartitionKey,
    exact: ExactKey,
    normalised: Option<ExactKey>,
    vector: Option<Vec<f32>>,
    flight: Option<ExactKey>,
    ttl: Option<Duration>,
    labels: Vec<String>,
}

impl Ticket {
    /// What those have in common who may share one answer of a provider; none if this request asks for itself alone.
    pub(super) fn flight(&self) -> Option<ExactKey> {
        self.flight
    }
}

/// An answer out of the cache, without id and time.
pub enum Form {
    /// What lasts of a whole answer, as it is sent: for one that goes out as it is.
    Spelled(Bytes),
    /// Taken apart: for a stream, or if the caller's own values go back into it.
    Parts(Box<Chunk>),
}

impl Memory {
    /// A cache of what `guard` lets through; without an embedder only its exact and normalised tiers answer.
    /// `patience`: how long a lookup waits for a free embedding worker.
    pub fn new(
        cache: SemanticCache,
        hash_key: [u8; 32],
        guard: &Guard,
        config: &CacheSection,
        embedder: Option<EmbedPool>,
        patience: Duration,
    ) -> Self {
        let repeats = Repeats::new(&hash_key);
        let flights = Flights::new();
        let (policy, rules, lifetimes) = (guard.fingerprint(), Rules::new(config), Lifetimes::new(config));
        let clock = Arc::new(SystemClock);
        Self { cache, hash_key, repeats, policy, rules, lifetimes, clock, embedder, patience, flights }
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
        read(&hit, asked.request.stream || !asked.vault.is_empty())
    }

    /// The cache itself, for its figures.
    pub fn cache(&self) -> &SemanticCache {
        &self.cache
    }

    /// Stands for this body of this tenant in the namespace that it names.
    pub(super) fn repeat_key(&self, tenant: &str, wishes: &Wishes, body: &[u8]) -> RepeatKey {
        self.repeats.key(tenant, wishes.namespace.as_deref(), body)
    }

    /// Where a request with these bytes led before, if it is known.
    pub(super) fn known(&self, key: &RepeatKey) -> Option<Arc<Known>> {
        self.repeats.find(key)
    }

    /// [`Memory::look_up`]'s first tier for a request that is known.
    pub(super) fn recall(&self, wishes: &Wishes, known: &Known) -> Option<Remembered> {
        let issued = HashSet::new();
        let admit = |entry: &Entry| self.fits(entry, wishes) && names_only(entry, &issued);
        let hit = self.cache.exact(&known.exact, &admit).filter(|_| wishes.serve)?;
        read(&hit, known.delivery.stream)
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
        if !wishes.store {
            return Found::Nothing(Nothing::bypass(wishes.because));
        }
        let turn = request.last_turn();
        let text = turn.as_deref();
        let partition = self.partition(asked, text.is_some());
        let exact = partition.exact(&[b"text", text.unwrap_or_default().as_bytes()]);
        let issued: HashSet<&str> = vault.issued().collect();
        let named = |entry: &Entry| names_only(entry, &issued);
        let admit = |entry: &Entry| self.fits(entry, wishes) && named(entry);
        let read = |hit: &Hit| read(hit, request.stream || !vault.is_empty()).filter(|_| wishes.serve);
        if let Some(remembered) = self.cache.exact(&exact, &admit).as_ref().and_then(read) {
            if let Some(key) = repeat {
                let (model, delivery) = (request.model.clone(), request.delivery());
                self.repeats.learn(key, Known { exact, model, delivery });
            }
            return Found::Hit(Box::new(remembered));
        }
        let may_follow = wishes.serve && may_share(request);
        let flight = may_follow.then(|| flight_key(&partition, text, &issued));
        let handling = self.rules.handling(asked, text);
        if handling.reach == Reach::Nothing {
            return Found::Nothing(Nothing::bypass(handling.reason));
        }
        let reason = if wishes.because.is_empty() { handling.reason } else { wishes.because };
        let ttl = [wishes.ttl, handling.ttl].into_iter().flatten().min();
        // Not admitted above, so its time is over or it is too old for this request.
        let old = self.cache.exact(&exact, &named).filter(|_| wishes.serve);
        let stale = old.and_then(|hit| self.stale(&hit, request.stream || !vault.is_empty()));
        let labels = self.labels(asked);
        let mut ticket = Ticket { partition, exact, normalised: None, vector: None, flight, ttl, labels };
        let nothing = |ticket, bypass, reason| {
            Found::Nothing(Nothing { ticket: Some(ticket), bypass, reason, stale: stale.map(Box::new) })
        };
        let Some(text) = text.filter(|_| handling.reach > Reach::Exact) else {
            return nothing(ticket, false, reason);
        };
        // What holds for a short time takes nothing older, also where the older one did not know that.
        let admit = |entry: &Entry| {
            handling.ttl.is_none_or(|ttl| entry.age_at(self.clock.now()) <= ttl) && admit(entry)
        };
        ticket.normalised =
            normalise(text).map(|normal| partition.exact(&[b"normalised", normal.as_bytes()]));
        let hit = ticket.normalised.and_then(|key| self.cache.normalised(&key, &admit));
        if let Some(remembered) = hit.as_ref().and_then(read) {
            return Found::Hit(Box::new(remembered));
        }
        if handling.reach < Reach::Semantic {
            return nothing(ticket, false, reason);
        }
        let vector = match self.vector(call, text, metrics).await {
            Ok(vector) => vector,
            Err(reason) => return nothing(ticket, true, reason),
        };
        if let Some(vector) = &vector {
            let hit = self.cache.semantic(&partition, vector, wishes.similarity, &admit);
            if let Some(remembered) = hit.as_ref().and_then(read) {
                return Found::Hit(Box::new(remembered));
            }
        }
        let reason = if vector.is_none() && reason.is_empty() { "too_long" } else { reason };
        ticket.vector = vector;
        nothing(ticket, false, reason)
    }

    /// The text's vector; none of a text that was cut, of which the model saw only the beginning: two different ones could
    /// look the same.
    ///
    /// # Errors
    /// Why the model is not to be had.
    async fn vector(
        &self,
        call: &Call,
        text: &str,
        metrics: &Metrics,
    ) -> Result<Option<Vec<f32>>, &'static str> {
        let Some(embedder) = &self.embedder else { return Err("no_embedding_model") };
        let embedded = embedder.embed_within(&call.caller.tenant, text, Some(self.patience)).await;
        metrics.embedded(&embedded);
        match embedded {
            Ok(embedded) if embedded.embedding.truncated => Ok(None),
            Ok(embedded) => Ok(Some(embedded.embedding.vector.clone())),
            Err(error) => {
                tracing::debug!(request_id = call.id, %error, "the semantic tier was skipped");
                Err("embedding_busy")
            }
        }
    }

    /// Keeps a whole answer, if it is one worth keeping; says whether it is.
    pub fn remember(
        &self,
        ticket: Ticket,
        redacted: &Chunk,
        provider: &str,
        model: &str,
        cost: Nanodollars,
    ) -> bool {
        if !is_rememberable(redacted) {
            return false;
        }
        let (fresh_for, kept_for) = self.lifetimes.of(&ticket.exact, ticket.ttl);
        let by_target = label(&self.hash_key, "model", &format!("{provider}/{model}"));
        let labels = format!("{} {} {by_target}", ids::fresh("ce-"), ticket.labels.join(" "));
        let origin = Origin { fresh_for, labels: &labels, provider, model, cost };
        let Some(payload) = stored::write(&origin, redacted.clone()) else { return false };
        self.cache.insert(Insert {
            partition: ticket.partition,
            exact: ticket.exact,
            normalised: ticket.normalised,
            vector: ticket.vector,
            payload,
            ttl: Some(kept_for),
        });
        true
    }

    /// Whether the answer's time is not over, and its age is one that the request takes.
    fn fits(&self, entry: &Entry, wishes: &Wishes) -> bool {
        let age = entry.age_at(self.clock.now());
        let fresh = stored::fresh_for(entry.payload()).is_some_and(|fresh_for| age < fresh_for);
        fresh && wishes.max_age.is_none_or(|limit| age <= limit)
    }

    /// The answer, if its time is over.
    fn stale(&self, hit: &Hit, apart: bool) -> Option<Stale> {
        let fresh_for = stored::fresh_for(hit.entry.payload())?;
        let since = hit.entry.age_at(self.clock.now()).checked_sub(fresh_for)?;
        Some(Stale { remembered: Remembered { stale: true, ..read(hit, apart)? }, since })
    }

    /// The stale answer, where that is excused.
    pub(super) fn excused(
        &self,
        stale: &mut Option<Box<Stale>>,
        excuse: Excuse,
        wishes: &Wishes,
    ) -> Option<Remembered> {
        let stale = stale.take_if(|stale| self.lifetimes.excuses(stale.since, excuse, wishes))?;
        Some(stale.remembered)
    }

    /// Forgets the answers that are chosen, or only counts them; says how many.
    pub fn forget(&self, selector: &Selector<'_>, dry_run: bool) -> u64 {
        let Selector { kind, value } = *selector;
        let digest = label(&self.hash_key, kind, value);
        let chosen = |entry: &Entry| {
            let mut labels = stored::labels(entry.payload());
            let name = labels.next();
            if kind == "entry" { name == Some(value) } else { labels.any(|label| label == digest) }
        };
        self.cache.forget(&chosen, dry_run)
    }

    /// What the answer to this request can be forgotten by: digests, since an operator's words may be anybody's secrets.
    fn labels(&self, asked: &Asked<'_>) -> Vec<String> {
        let Asked { call, request, wishes, .. } = asked;
        let fixed = [("tenant", call.caller.tenant.as_str()), ("model", request.model.as_str())];
        let namespace = wishes.namespace.as_deref().map(|namespace| ("namespace", namespace));
        let tags = wishes.tags.iter().map(|tag| ("tag", tag.as_str()));
        let all = fixed.into_iter().chain(namespace).chain(tags);
        all.map(|(kind, value)| label(&self.hash_key, kind, value)).collect()
    }

    /// Everything that must be equal before two requests may share an answer: all of the request but the last turn's
    /// words. Fields we do not know are part of it.
    fn partition(&self, asked: &Asked<'_>, has_text: bool) -> PartitionKey {
        let Asked { call, request, wishes, .. } = asked;
        let mut hasher = KeyHasher::new(&self.hash_key);
        hasher.field("tenant", call.caller.tenant.as_bytes());
        if let Some(namespace) = &wishes.namespace {
            // Between tenant and model, where nothing else stands.
            hasher.field("cache namespace", namespace.as_bytes());
        }
        hasher.field("model", request.model.as_bytes());
        hasher.field("embedding", self.embedder.as_ref().map_or("", EmbedPool::id).as_bytes());
        hasher.field("policy", self.policy.as_bytes());
        let mut spelled = Vec::new();
        let mut fields: Vec<_> = request
            .fields()
            .iter()
            .filter(|(key, value)| !NOT_PART_OF_THE_QUESTION.contains(&key.as_str()) && !value.is_null())
            .collect();
        fields.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in fields {
            spelled.clear();
            canonical(value, &mut spelled);
            hasher.field(key, &spelled);
        }
        let messages =
            request.fields().get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (at, message) in messages.iter().enumerate() {
            spelled.clear();
            let is_last_turn = has_text && at + 1 == messages.len();
            spell_frame(message, is_last_turn, &mut spelled);
            hasher.field("messages", &spelled);
        }
        hasher.partition()
    }
}

/// Stands for a question and for the placeholders its answer may name.
fn flight_key(partition: &PartitionKey, text: Option<&str>, issued: &HashSet<&str>) -> ExactKey {
    let mut issued: Vec<&str> = issued.iter().copied().collect();
    issued.sort_unstable();
    let mut parts = vec![&b"flight"[..], text.unwrap_or_default().as_bytes()];
    parts.extend(issued.into_iter().map(str::as_bytes));
    partition.exact(&parts)
}

impl Nothing {
    /// The cache has no part in this.
    pub(super) fn bypass(reason: &'static str) -> Self {
        Self { ticket: None, bypass: true, reason, stale: None }
    }
}

/// Longer than any answer is kept with this configuration.
pub(crate) fn longest_lifetime(config: &CacheSection) -> Duration {
    Lifetimes::new(config).longest()
}

/// Stands for a value of this kind, as 128 bits of a keyed digest.
fn label(key: &[u8; 32], kind: &str, value: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in ["sluice label v1", kind, value] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Spells a message without members that are null (to providers that is as good as absent) and, of the last turn, without
/// the user's words: what else its parts hold stays.
fn spell_frame(message: &Value, without_words: bool, out: &mut Vec<u8>) {
    let Value::Object(members) = message else { return canonical(message, out) };
    let said =
        members.iter().filter(|(_, member)| !member.is_null()).map(|(key, member)| (key.as_str(), member));
    if without_words {
        let beside = members.get("content").and_then(beside_words);
        let rest = said.filter(|(key, _)| *key != "content");
        canonical_object(rest.chain(beside.as_ref().map(|parts| ("content", parts))), out);
    } else {
        canonical_object(said, out);
    }
}

/// What the parts of a content hold beside the words. Parts with nothing but words say the same as one text.
fn beside_words(content: &Value) -> Option<Value> {
    let without_text = |part: &Value| {
        let mut part = part.clone();
        let members = part.as_object_mut()?;
        members.remove("text");
        (members.len() > 1).then_some(part)
    };
    let more: Vec<Value> = content.as_array()?.iter().filter_map(without_text).collect();
    (!more.is_empty()).then_some(Value::Array(more))
}

/// An answer that names a placeholder can serve only a request that issued it.
fn names_only(entry: &Entry, issued: &HashSet<&str>) -> bool {
    std::str::from_utf8(entry.payload())
        .is_ok_and(|text| placeholders(text).all(|name| issued.contains(name)))
}

/// Only whole, successful answers in words are worth remembering.
fn is_rememberable(answer: &Chunk) -> bool {
    !answer.choices.is_empty()
        && answer.choices.iter().all(|choice| {
            choice.finish_reason.as_deref() == Some("stop")
                && choice.delta.tool_calls.is_empty()
                && choice.delta.refusal.as_deref().unwrap_or_default().is_empty()
                && choice.delta.content.as_deref().is_some_and(|text| !text.is_empty())
        })
}

/// `apart`: the answer is to be streamed, or the caller's own values go back into it.
fn read(hit: &Hit, apart: bool) -> Option<Remembered> {
    let (origin, lasting) = stored::read(hit.entry.payload())?;
    let answer =
        if apart { Form::Parts(Box::new(stored::decode(&lasting)?)) } else { Form::Spelled(lasting) };
    Some(Remembered {
        stale: false,
        entry: origin.labels.split(' ').next().unwrap_or_default().to_owned(),
        tier: hit.tier,
        similarity: hit.similarity,
        age: hit.entry.age(),
        answer,
        provider: origin.provider.to_owned(),
        model: origin.model.to_owned(),
        cost: origin.cost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_api::openai_chat;
    use crate::keys::Caller;
    use sluice_engine::{CacheConfig, ManualClock};
    use sluice_guardrails::Policy;
    use std::time::Instant;

    fn call(tenant: &str) -> Call {
        let caller = Caller { key: tenant.to_owned(), tenant: tenant.to_owned(), shares_tenant: false };
        Call {
            caller: Arc::new(caller),
            id: "req_1".to_owned(),
            headers: http::HeaderMap::new(),
            started: Instant::now(),
        }
    }

    /// A cache of answers that live for a day, in which a request stores one, and its clock.
    async fn stored_by(wishes: &Wishes) -> (Memory, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        let cache = SemanticCache::with_clock(CacheConfig::default(), Arc::<ManualClock>::clone(&clock));
        let guard = Guard::new(&Policy::default());
        let mut memory =
            Memory::new(cache, [7; 32], &guard, &CacheSection::default(), None, Duration::from_secs(1));
        memory.clock = Arc::<ManualClock>::clone(&clock);
        let ticket = match look_up(&memory, wishes).await {
            Found::Nothing(Nothing { ticket: Some(ticket), .. }) => ticket,
            _ => panic!("nothing was stored"),
        };
        let answer = r#"{"choices":[{"finish_reason":"stop","message":{"content":"At nine."}}]}"#;
        assert!(memory.remember(ticket, &serde_json::from_str(answer).unwrap(), "p", "m", 3));
        (memory, clock)
    }

    async fn look_up(memory: &Memory, wishes: &Wishes) -> Found {
        let body = Bytes::from(r#"{"model":"m","messages":[{"role":"user","content":"When?"}]}"#);
        let (call, request, vault) = (call("a"), openai_chat::parse(&body).unwrap(), Vault::new());
        let asked = Asked { call: &call, request: &request, vault: &vault, wishes };
        memory.look_up(&asked, None, &Metrics::default()).await
    }

    #[tokio::test]
    async fn a_lifetime_of_the_requests_own_is_never_longer_than_the_configured_one() {
        const HOUR: u64 = 3600;
        for (asked, alive, gone) in
            [(None, 20 * HOUR, 28 * HOUR), (Some(60), 50, 70), (Some(99 * HOUR), 20 * HOUR, 28 * HOUR)]
        {
            let wishes = Wishes { ttl: asked.map(Duration::from_secs), ..Wishes::default() };
            let (memory, clock) = stored_by(&wishes).await;
            clock.advance(Duration::from_secs(alive));
            assert!(matches!(look_up(&memory, &Wishes::default()).await, Found::Hit(_)), "{asked:?}");
            clock.advance(Duration::from_secs(gone - alive));
            assert!(matches!(look_up(&memory, &Wishes::default()).await, Found::Nothing(_)), "{asked:?}");
        }
    }

    #[tokio::test]
    async fn a_known_request_finds_its_answer_as_long_as_it_is_there() {
        let guard = Guard::new(&Policy::default());
        let cache = SemanticCache::new(CacheConfig::default());
        let memory =
            Memory::new(cache, [7; 32], &guard, &CacheSection::default(), None, Duration::from_secs(1));
        let (call, metrics, wishes) = (call("a"), Metrics::default(), Wishes::default());
        let body = Bytes::from(r#"{"model":"m","messages":[{"role":"user","content":"When?"}]}"#);
        let request = openai_chat::parse(&body).unwrap();
        let key = memory.repeat_key("a", &wishes, &body);
        let vault = Vault::new();
        let asked = Asked { call: &call, request: &request, vault: &vault, wishes: &wishes };

        let look_up = async || memory.look_up(&asked, Some(key), &metrics).await;
        let Found::Nothing(Nothing { ticket: Some(ticket), .. }) = look_up().await else {
            panic!("nothing was stored")
        };
        assert!(memory.known(&key).is_none(), "a miss teaches nothing");
        let answer = r#"{"choices":[{"finish_reason":"stop","message":{"content":"At nine."}}]}"#;
        memory.remember(ticket, &serde_json::from_str(answer).unwrap(), "p", "m", 3);
        assert!(matches!(look_up().await, Found::Hit(_)));

        let known = memory.known(&key).unwrap();
        assert_eq!((known.model.as_str(), known.delivery.stream), ("m", false));
        let found = memory.recall(&wishes, &known).unwrap();
        assert_eq!((found.tier, found.provider.as_str(), found.cost), (Tier::Exact, "p", 3));
        assert!(matches!(found.answer, Form::Spelled(_)));

        memory.cache().clear();
        assert!(memory.recall(&wishes, &known).is_none(), "the answer is gone, so it is asked for anew");
    }
}
