//! What a cache with a journal promises: after a restart it is as it was, and what was gone stays away.

mod killed;
mod measure;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::records::Of;
use super::*;
use crate::clock::ManualClock;
use crate::decide::Tightening;
use crate::journal::{Journal, Opened, Options, Table};
use crate::partition::KeyHasher;

const HOUR: Duration = Duration::from_secs(3600);

fn partition(name: &str) -> PartitionKey {
    let mut hasher = KeyHasher::new(&[7; 32]);
    hasher.field("tenant", name.as_bytes());
    hasher.partition()
}

fn any_entry(_: &Entry) -> bool {
    true
}

/// A place for a journal, and the time.
struct Home {
    _folder: TempDir,
    path: PathBuf,
    clock: Arc<ManualClock>,
    config: CacheConfig,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.redb");
        let config = CacheConfig { ttl: HOUR, ..CacheConfig::default() };
        Self { _folder: folder, path, clock: Arc::default(), config }
    }

    /// The cache as a process finds it that starts now; with every prompt back.
    fn open(&self) -> SemanticCache {
        let cache = self.open_as("vectors").1;
        cache.wait_restored();
        assert!(!cache.is_restoring());
        cache
    }

    fn open_as(&self, fingerprint: &str) -> (Opened, SemanticCache) {
        let (journal, opened) = Journal::open(&self.path, Options::new(fingerprint)).unwrap();
        (opened, self.without().with_journal(journal))
    }

    /// The same cache without a journal.
    fn without(&self) -> SemanticCache {
        SemanticCache::with_clock(self.config.clone(), Arc::clone(&self.clock) as Arc<dyn Clock>)
    }
}

/// What of a journal's records there is: answers, entries, clusters, prompts.
fn held(cache: &SemanticCache) -> [BTreeSet<u64>; 4] {
    cache.run_pending();
    cache.flush().unwrap();
    let mut held: [BTreeSet<u64>; 4] = Default::default();
    for (table, at) in [(Table::Answers, 0), (Table::Prompts, 2)] {
        let journal = cache.keeping.journal().unwrap();
        let mut sort = |key, _: &[u8]| match Of::read(key) {
            Of::Cluster(id) => drop(held[at].insert(id)),
            Of::Entry(id) => drop(held[at + 1].insert(id)),
        };
        journal.read_all(table, &mut sort).unwrap();
    }
    held
}

/// The journal holds what is in memory, and nothing else.
fn assert_kept(cache: &SemanticCache) {
    let [answers, entries, clusters, prompts] = held(cache);
    let stored = cache.answers.entries();
    assert_eq!(entries, stored.iter().map(|entry| entry.id).collect());
    assert_eq!(answers, stored.iter().map(|entry| entry.cluster).collect());
    let partitions: BTreeMap<String, PartitionKey> =
        stored.iter().map(|entry| (entry.partition.hex(), entry.partition)).collect();
    let indexed: BTreeSet<u64> = partitions.values().flat_map(|key| cache.vectors.ids(key).0).collect();
    assert_eq!(prompts, indexed);
    let of_indexed = stored.iter().filter(|entry| indexed.contains(&entry.id)).map(|entry| entry.cluster);
    assert_eq!(clusters, of_indexed.collect());
}

/// An entry named `name` that says `payload`, lying in a direction of its own.
fn insert(key: PartitionKey, name: &str, degrees: f32, payload: &str) -> Insert {
    let (sin, cos) = degrees.to_radians().sin_cos();
    Insert {
        partition: key,
        exact: key.exact(&[name.as_bytes()]),
        normalised: Some(key.exact(&[b"form", name.as_bytes()])),
        vector: Some(vec![cos, sin]),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        ttl: None,
        owner: 0,
        note: Bytes::new(),
        tags: Vec::new(),
    }
}

fn text(hit: Option<Hit>) -> Option<String> {
    hit.map(|hit| String::from_utf8(hit.entry.payload().to_vec()).unwrap())
}

/// What the three tiers say of the entry.
fn tiers(cache: &SemanticCache, key: PartitionKey, name: &str, degrees: f32) -> [Option<String>; 3] {
    let (sin, cos) = degrees.to_radians().sin_cos();
    [
        text(cache.exact(&key.exact(&[name.as_bytes()]), &any_entry)),
        text(cache.normalised(&key.exact(&[b"form", name.as_bytes()]), &any_entry)),
        text(cache.semantic(&key, &[cos, sin], 0.999, &any_entry)),
    ]
}

fn all(payload: &str) -> [Option<String>; 3] {
    std::array::from_fn(|_| Some(payload.to_owned()))
}

const NONE: [Option<String>; 3] = [None, None, None];

#[test]
fn after_a_restart_every_tier_finds_what_it_found_before_with_its_age() {
    let home = Home::new();
    let (a, b) = (partition("a"), partition("b"));
    let cache = home.open();
    for i in 0..50_u8 {
        let key = if i % 2 == 0 { a } else { b };
        cache.insert(insert(key, &i.to_string(), f32::from(i) * 7.0, &format!("answer {i}")));
    }
    assert_kept(&cache);
    let stats = cache.stats();
    drop(cache);
    home.clock.advance(HOUR / 4);
    let cache = home.open();
    assert_eq!(cache.stats(), stats);
    assert_kept(&cache);
    for i in 0..50_u8 {
        let (own, other) = if i % 2 == 0 { (a, b) } else { (b, a) };
        let (name, degrees) = (i.to_string(), f32::from(i) * 7.0);
        assert_eq!(tiers(&cache, own, &name, degrees), all(&format!("answer {i}")));
        assert_eq!(tiers(&cache, other, &name, degrees), NONE);
        let hit = cache.exact(&own.exact(&[name.as_bytes()]), &any_entry).unwrap();
        assert_eq!(hit.entry.age_at(home.clock.now()), HOUR / 4);
    }
    home.clock.advance(HOUR * 3 / 4);
    assert_eq!(tiers(&cache, a, "0", 0.0), NONE, "a restart prolongs nothing");
}

#[test]
fn what_expired_meanwhile_is_neither_served_nor_kept() {
    let home = Home::new();
    let (cache, a) = (home.open(), partition("a"));
    cache.insert(Insert { ttl: Some(HOUR / 2), ..insert(a, "short", 0.0, "short") });
    cache.insert(insert(a, "long", 90.0, "long"));
    drop(cache);
    home.clock.advance(HOUR / 2);
    let cache = home.open();
    assert_eq!(tiers(&cache, a, "short", 0.0), NONE);
    assert_eq!(tiers(&cache, a, "long", 90.0), all("long"));
    assert_kept(&cache);
    assert_eq!(held(&cache).map(|ids| ids.len()), [1; 4]);
}

#[test]
fn a_lifetime_that_was_made_shorter_holds_for_what_was_kept_too() {
    let mut home = Home::new();
    let a = partition("a");
    home.open().insert(insert(a, "one", 0.0, "one"));
    home.clock.advance(HOUR / 2);
    home.config.ttl = HOUR / 2;
    assert_eq!(tiers(&home.open(), a, "one", 0.0), NONE);
    home.config.ttl = HOUR;
    assert_eq!(tiers(&home.open(), a, "one", 0.0), NONE, "it is gone for good");
}

#[test]
fn what_was_forgotten_replaced_or_evicted_stays_away() {
    let mut home = Home::new();
    home.config.max_bytes = 40_000;
    let (cache, a) = (home.open(), partition("a"));
    for name in ["forgotten", "stays"] {
        cache.insert(insert(a, name, 0.0, name));
    }
    for round in ["old", "older", "new"] {
        cache.insert(insert(a, "replaced", 90.0, round));
    }
    let chosen = |entry: &Entry| entry.payload() == "forgotten";
    assert_eq!(cache.forget(&chosen, false), 1);
    assert_kept(&cache);
    drop(cache);
    let cache = home.open();
    assert_eq!(tiers(&cache, a, "forgotten", 180.0), NONE);
    assert_eq!(tiers(&cache, a, "stays", 0.0), all("stays"));
    assert_eq!(tiers(&cache, a, "replaced", 90.0), all("new"));
    for i in 0..200 {
        cache.insert(insert(a, &format!("filler {i}"), i as f32, &"x".repeat(500)));
    }
    assert_kept(&cache);
    let stored: BTreeSet<u64> = cache.answers.entries().iter().map(|entry| entry.id).collect();
    assert!(stored.len() < 60);
    drop(cache);
    let cache = home.open();
    cache.run_pending();
    assert_eq!(cache.answers.entries().iter().map(|entry| entry.id).collect::<BTreeSet<_>>(), stored);
    cache.clear();
    assert_eq!(held(&cache).map(|ids| ids.len()), [0; 4]);
    drop(cache);
    assert_eq!(home.open().stats(), Stats::default());
}

#[test]
fn a_smaller_cache_takes_up_the_latest_entries_that_fit() {
    let mut home = Home::new();
    let (cache, a) = (home.open(), partition("a"));
    for i in 0..20_u8 {
        cache.insert(insert(a, &i.to_string(), f32::from(i), &format!("{i:02}")));
    }
    cache.run_pending();
    home.config.max_bytes = cache.stats().bytes / 2;
    drop(cache);
    let cache = home.open();
    assert_kept(&cache);
    let found = |i: u8| cache.exact(&a.exact(&[i.to_string().as_bytes()]), &any_entry).is_some();
    assert_eq!((0..20).filter(|i| found(*i)).collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
}

#[test]
fn numbers_are_never_given_out_twice() {
    let home = Home::new();
    let a = partition("a");
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        let cache = home.open();
        for i in 0..3 {
            cache.insert(insert(a, &format!("{round} {i}"), 0.0, "x"));
        }
        assert!(cache.answers.entries().iter().all(|entry| seen.insert(entry.id)));
        cache.clear();
    }
    assert_eq!(seen.len(), 15);
}

#[test]
fn a_journal_of_another_fingerprint_is_set_aside_and_the_cache_begins_empty() {
    let home = Home::new();
    let a = partition("a");
    home.open().insert(insert(a, "one", 0.0, "one"));
    let (opened, cache) = home.open_as("other vectors");
    assert!(matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    assert_eq!(tiers(&cache, a, "one", 0.0), NONE);
    cache.insert(insert(a, "two", 0.0, "two"));
    drop(cache);
    let (_, cache) = home.open_as("other vectors");
    cache.wait_restored();
    assert_eq!(tiers(&cache, a, "two", 0.0), all("two"));
}

#[test]
fn a_damaged_journal_is_set_aside_and_the_cache_begins_empty_and_keeps_again() {
    let home = Home::new();
    let a = partition("a");
    home.open().insert(insert(a, "one", 0.0, "one"));
    let mut bytes = std::fs::read(&home.path).unwrap();
    bytes.iter_mut().skip(64).for_each(|byte| *byte ^= 0x55);
    std::fs::write(&home.path, bytes).unwrap();
    let (opened, cache) = home.open_as("vectors");
    assert!(matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    assert_eq!(tiers(&cache, a, "one", 0.0), NONE);
    cache.insert(insert(a, "two", 0.0, "two"));
    drop(cache);
    assert_eq!(tiers(&home.open(), a, "two", 0.0), all("two"));
}

/// A vector near the axis of its topic.
fn near(topic: usize, rng: &mut fastrand::Rng) -> Vec<f32> {
    let mut vector: Vec<f32> = (0..32).map(|_| 0.04 * (rng.f32() - 0.5)).collect();
    vector[topic] += 1.0;
    vector
}

/// What was decided: the answer served or not, and how sure that was.
type Decided = (Option<String>, Option<(f32, f32)>);

/// What a client would do: look up, ask upstream on a miss or for a spot check, remember.
fn ask(cache: &SemanticCache, key: PartitionKey, number: usize, vector: &[f32], fresh: &str) -> Decided {
    let question = format!("question {number} about the {} door", fresh.len());
    let profile = Profile::of(&question);
    let asked = Question {
        partition: &key,
        vector,
        profile: &profile,
        tightening: Tightening::default(),
        policy: None,
        shadow: None,
    };
    let (served, ticket) = match cache.look_up(&asked, &any_entry) {
        Decision::Serve { hit, spot_check, .. } => (text(Some(hit)), spot_check),
        Decision::Miss { candidate, .. } => (None, candidate),
    };
    let sure = ticket.as_ref().map(|ticket| (ticket.similarity(), ticket.confidence()));
    if served.is_none() || ticket.is_some() {
        let insert = Insert {
            partition: key,
            exact: key.exact(&[question.as_bytes()]),
            normalised: None,
            vector: Some(vector.to_vec()),
            payload: Bytes::copy_from_slice(fresh.as_bytes()),
            ttl: None,
            owner: 0,
            note: Bytes::new(),
            tags: Vec::new(),
        };
        cache.remember(insert, profile, ticket.as_ref(), &mut |answer| Some(answer.payload == fresh));
    }
    (served, sure)
}

/// Asks a stream of questions, some with answers that change under way.
fn ask_many(cache: &SemanticCache, numbers: std::ops::Range<usize>) -> Vec<Decided> {
    let mut rng = fastrand::Rng::with_seed(numbers.start as u64);
    *cache.luck.lock().unwrap() = fastrand::Rng::with_seed(5);
    let decide = |number: usize| {
        let (topic, key) = (number % 7, partition(if number.is_multiple_of(3) { "a" } else { "b" }));
        let version = if topic == 6 { number / 150 } else { 0 };
        ask(cache, key, number, &near(topic, &mut rng), &format!("{version} {topic}"))
    };
    numbers.map(decide).collect()
}

#[test]
fn a_restarted_cache_decides_as_one_that_ran_on() {
    let home = Home::new();
    let (cache, ran_on) = (home.open(), home.without());
    assert!(ask_many(&cache, 0..400) == ask_many(&ran_on, 0..400));
    assert_kept(&cache);
    drop(cache);
    let cache = home.open();
    assert_eq!(cache.reports().len(), 2);
    let shared: BTreeSet<*const Answer> =
        cache.answers.entries().iter().map(|entry| Arc::as_ptr(&entry.answer)).collect();
    let clusters: BTreeSet<u64> = cache.answers.entries().iter().map(|entry| entry.cluster).collect();
    assert_eq!(shared.len(), clusters.len(), "prompts of a cluster share its answer");
    assert!(clusters.len() < cache.answers.entries().len() / 2);
    for key in ["a", "b"].map(partition) {
        let report = |cache: &SemanticCache| cache.reports().into_iter().find(|r| r.partition == key);
        assert_eq!(report(&cache), report(&ran_on));
    }
    let (decided, expected) = (ask_many(&cache, 400..700), ask_many(&ran_on, 400..700));
    assert!(expected.iter().filter(|(served, _)| served.is_some()).count() > 100);
    let differing = (0..300).filter(|at| decided[*at] != expected[*at]).count();
    assert_eq!(differing, 0);
    assert_kept(&cache);
}

#[test]
fn learning_of_another_version_is_dropped_and_answers_stay() {
    let home = Home::new();
    let cache = home.open();
    ask_many(&cache, 0..100);
    cache.insert(insert(partition("c"), "one", 0.0, "one"));
    cache.flush().unwrap();
    let journal = cache.keeping.journal().unwrap();
    let mut learnt = Vec::new();
    journal.read_state(&mut |name, value| learnt.push((name.to_owned(), value.to_vec()))).unwrap();
    learnt.retain(|(name, _)| name.starts_with("learnt"));
    assert_eq!(learnt.len(), 3, "the pool and two partitions that asked");
    let (name, value) = &learnt[0];
    let other =
        String::from_utf8(value.clone()).unwrap().replacen(&format!("[{},", state::VERSION), "[0,", 1);
    journal.put_state(name, other.into());
    journal.flush().unwrap();
    // Nothing was learnt since, so the cache that goes writes nothing over it.
    let entries = cache.answers.entries().len();
    drop(cache);
    let cache = home.open();
    assert!(cache.reports().is_empty());
    assert_eq!(cache.answers.entries().len(), entries);
    assert_eq!(tiers(&cache, partition("c"), "one", 0.0), all("one"));
}

#[derive(Clone, Debug)]
enum Step {
    Insert { partition: usize, name: u8, degrees: u16, ttl: u64 },
    Forget { name: u8 },
    Advance(u64),
    Clear,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (partition, name, degrees) = (0..2_usize, 0..8_u8, 0..360_u16);
    prop_oneof![
        8 => (partition, name.clone(), degrees, 1..100_u64)
            .prop_map(|(partition, name, degrees, ttl)| Step::Insert { partition, name, degrees, ttl }),
        2 => name.prop_map(|name| Step::Forget { name }),
        2 => (0..40_u64).prop_map(Step::Advance),
        1 => Just(Step::Clear),
        3 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_restarts_in_between_the_cache_agrees_with_a_naive_model(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let home = Home::new();
        let mut cache = Some(home.open());
        let partitions = ["a", "b"].map(partition);
        let mut model: HashMap<(usize, u8), (String, u16, u64)> = HashMap::new();
        let mut now = 0;
        for (number, step) in steps.into_iter().enumerate() {
            let open = cache.as_ref().unwrap();
            match step {
                Step::Insert { partition, name, degrees, ttl } => {
                    let payload = format!("{name} {number}");
                    let new = insert(partitions[partition], &name.to_string(), f32::from(degrees), &payload);
                    open.insert(Insert { ttl: Some(Duration::from_secs(ttl)), ..new });
                    model.insert((partition, name), (payload, degrees, now + ttl));
                }
                Step::Forget { name } => {
                    let begin = format!("{name} ");
                    open.forget(&|entry| entry.payload().starts_with(begin.as_bytes()), false);
                    model.retain(|(_, other), _| *other != name);
                }
                Step::Advance(seconds) => {
                    home.clock.advance(Duration::from_secs(seconds));
                    now += seconds;
                    model.retain(|_, (_, _, end)| *end > now);
                }
                Step::Clear => {
                    open.clear();
                    model.clear();
                }
                Step::Restart => {
                    drop(cache.take());
                    cache = Some(home.open());
                }
            }
            let cache = cache.as_ref().unwrap();
            for (at, key) in partitions.iter().enumerate() {
                for name in 0..8 {
                    let found = text(cache.exact(&key.exact(&[name.to_string().as_bytes()]), &any_entry));
                    prop_assert_eq!(found.as_ref(), model.get(&(at, name)).map(|known| &known.0));
                }
                for ((_, name), (_, degrees, _)) in model.iter().filter(|((of, _), _)| *of == at) {
                    let [_, normalised, semantic] = tiers(cache, *key, &name.to_string(), f32::from(*degrees));
                    prop_assert_eq!(normalised.as_ref(), model.get(&(at, *name)).map(|known| &known.0));
                    prop_assert!(model.values().any(|(payload, ..)| Some(payload) == semantic.as_ref()));
                }
            }
        }
        let cache = cache.as_ref().unwrap();
        assert_kept(cache);
    }
}
