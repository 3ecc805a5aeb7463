//! What the cache promises: nothing expired, foreign or too far is ever served, and nothing is left behind.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::partition::KeyHasher;

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn partition(name: &str) -> PartitionKey {
    let mut hasher = KeyHasher::new(&[7; 32]);
    hasher.field("tenant", name.as_bytes());
    hasher.partition()
}

/// A direction in the plane.
pub(super) fn at(degrees: f32) -> Vec<f32> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    vec![cos, sin]
}

pub(super) fn insert(partition: PartitionKey, name: &str, vector: Option<Vec<f32>>) -> Insert {
    Insert {
        partition,
        exact: partition.exact(&[name.as_bytes()]),
        normalised: None,
        vector,
        payload: Bytes::copy_from_slice(name.as_bytes()),
        ttl: None,
        owner: 0,
        note: Bytes::new(),
        tags: Vec::new(),
    }
}

pub(super) fn any_entry(_: &Entry) -> bool {
    true
}

pub(super) fn payload(hit: Option<Hit>) -> Option<String> {
    hit.map(|hit| String::from_utf8(hit.entry.payload().to_vec()).unwrap())
}

fn cache_with_clock(config: CacheConfig) -> (SemanticCache, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (SemanticCache::with_clock(config, Arc::clone(&clock) as Arc<dyn Clock>), clock)
}

/// Every vector and alias belongs to an entry, and no partition is empty.
pub(super) fn assert_tidy(cache: &SemanticCache, partitions: &[PartitionKey]) {
    cache.run_pending();
    let entries = cache.answers.entries();
    for key in partitions {
        let stored: BTreeSet<u64> = entries.iter().filter(|e| e.partition == *key).map(|e| e.id).collect();
        let (indexed, count) = cache.vectors.ids(key);
        assert!(indexed.is_subset(&stored), "dead vectors: {:?}", indexed.difference(&stored));
        assert_eq!(indexed.len(), count);
    }
    let aliases: BTreeSet<_> =
        entries.iter().filter_map(|entry| entry.normalised).map(|key| format!("{key:?}")).collect();
    assert!(cache.answers.alias_count() <= aliases.len());
    let stats = cache.stats();
    assert!(stats.bytes <= cache.config.max_bytes, "{stats:?}");
    assert_eq!(stats.entries, entries.len() as u64);
    assert_eq!(stats.bytes, entries.iter().map(|entry| u64::from(entry.weight)).sum::<u64>());
    assert!(stats.partitions <= stats.vectors);
}

#[test]
fn the_three_tiers_find_what_was_stored() {
    let cache = SemanticCache::new(CacheConfig::default());
    let a = partition("a");
    let form = a.exact(&[b"form"]);
    cache.insert(Insert { normalised: Some(form), ..insert(a, "one", Some(at(0.0))) });

    let hit = cache.exact(&a.exact(&[b"one"]), &any_entry).unwrap();
    assert_eq!((hit.tier, hit.similarity), (Tier::Exact, 1.0));
    let hit = cache.normalised(&form, &any_entry).unwrap();
    assert_eq!((hit.tier, hit.similarity), (Tier::Normalised, 1.0));
    let hit = cache.semantic(&a, &at(10.0), 0.0, &any_entry).unwrap();
    assert_eq!(hit.tier, Tier::Semantic);
    assert!((hit.similarity - 10f32.to_radians().cos()).abs() < 1e-6);
    assert_eq!(payload(Some(hit)).unwrap(), "one");

    assert!(cache.exact(&form, &any_entry).is_none());
    assert!(cache.normalised(&a.exact(&[b"one"]), &any_entry).is_none());
    assert_tidy(&cache, &[a]);
}

#[test]
fn what_is_to_be_forgotten_is_found_by_no_tier_and_everything_else_still_is() {
    let cache = SemanticCache::new(CacheConfig::default());
    let a = partition("a");
    let form = a.exact(&[b"form"]);
    cache.insert(Insert { normalised: Some(form), ..insert(a, "one", Some(at(0.0))) });
    cache.insert(insert(a, "two", Some(at(90.0))));
    let is_one = |entry: &Entry| entry.payload().as_ref() == b"one";
    assert_eq!(cache.forget(&is_one, true), 1);
    assert!(cache.exact(&a.exact(&[b"one"]), &any_entry).is_some(), "a dry run only counts");
    assert_eq!((cache.forget(&is_one, false), cache.forget(&is_one, false)), (1, 0));
    assert!(cache.exact(&a.exact(&[b"one"]), &any_entry).is_none());
    assert!(cache.normalised(&form, &any_entry).is_none());
    assert!(cache.semantic(&a, &at(0.0), 0.0, &any_entry).is_none());
    assert_eq!(payload(cache.semantic(&a, &at(90.0), 0.0, &any_entry)).unwrap(), "two");
    assert_tidy(&cache, &[a]);
}

#[test]
fn a_lookup_may_ask_for_more_similarity_but_never_for_less() {
    let cache = SemanticCache::new(CacheConfig { similarity: 0.9, ..CacheConfig::default() });
    let a = partition("a");
    cache.insert(insert(a, "one", Some(at(0.0))));
    let found = |degrees, asked| cache.semantic(&a, &at(degrees), asked, &any_entry).is_some();
    assert!(found(20.0, 0.0) && !found(20.0, 0.95) && found(10.0, 0.95));
    assert!(!found(30.0, 0.0) && !found(30.0, -1.0) && !found(30.0, f32::NAN));
}

#[test]
fn the_nearest_entry_answers_and_one_that_is_not_admitted_does_not_hide_the_next() {
    let cache = SemanticCache::new(CacheConfig::default());
    let a = partition("a");
    for (name, degrees) in [("near", 1.0), ("nearer", 0.5), ("far", 80.0)] {
        cache.insert(insert(a, name, Some(at(degrees))));
    }
    assert_eq!(payload(cache.semantic(&a, &at(0.0), 0.0, &any_entry)).unwrap(), "nearer");
    let not_nearer = |entry: &Entry| entry.payload() != "nearer";
    assert_eq!(payload(cache.semantic(&a, &at(0.0), 0.0, &not_nearer)).unwrap(), "near");
    let only_far = |entry: &Entry| entry.payload() == "far";
    assert!(cache.semantic(&a, &at(0.0), 0.0, &only_far).is_none());
    assert!(cache.exact(&a.exact(&[b"near"]), &only_far).is_none());
}

#[test]
fn an_expired_entry_is_never_served_by_any_tier() {
    let (cache, clock) = cache_with_clock(CacheConfig { ttl: HOUR, ..CacheConfig::default() });
    let a = partition("a");
    let (key, form) = (a.exact(&[b"one"]), a.exact(&[b"form"]));
    cache.insert(Insert { normalised: Some(form), ..insert(a, "one", Some(at(0.0))) });
    let tiers = || {
        [
            cache.exact(&key, &any_entry).is_some(),
            cache.normalised(&form, &any_entry).is_some(),
            cache.semantic(&a, &at(0.0), 0.0, &any_entry).is_some(),
        ]
    };
    clock.advance(HOUR - Duration::from_nanos(1));
    assert_eq!(tiers(), [true; 3]);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(tiers(), [false; 3]);
}

#[test]
fn being_served_does_not_prolong_a_life_but_being_stored_anew_does() {
    let (cache, clock) = cache_with_clock(CacheConfig { ttl: HOUR, ..CacheConfig::default() });
    let a = partition("a");
    let key = a.exact(&[b"one"]);
    cache.insert(insert(a, "one", None));
    clock.advance(HOUR * 3 / 4);
    let hit = cache.exact(&key, &any_entry).unwrap();
    assert_eq!(hit.entry.age_at(clock.now()), HOUR * 3 / 4);
    clock.advance(HOUR / 4);
    assert!(cache.exact(&key, &any_entry).is_none());
    cache.insert(insert(a, "one", None));
    clock.advance(HOUR / 2);
    assert!(cache.exact(&key, &any_entry).is_some());
}

#[test]
fn a_lifetime_can_only_be_shortened() {
    let (cache, clock) = cache_with_clock(CacheConfig { ttl: HOUR, ..CacheConfig::default() });
    let a = partition("a");
    for (name, ttl) in
        [("short", HOUR / 2), ("long", HOUR * 9), ("none", Duration::ZERO), ("for ever", Duration::MAX)]
    {
        cache.insert(Insert { ttl: Some(ttl), ..insert(a, name, None) });
    }
    let found = |name: &str| cache.exact(&a.exact(&[name.as_bytes()]), &any_entry).is_some();
    assert!(found("short") && found("long") && !found("none") && found("for ever"));
    clock.advance(HOUR / 2);
    assert!(!found("short") && found("long"));
    clock.advance(HOUR / 2);
    assert!(!found("long") && !found("for ever"));
}

#[test]
fn the_longest_lifetime_that_can_be_configured_is_served() {
    let cache = SemanticCache::new(CacheConfig { ttl: Duration::MAX, ..CacheConfig::default() });
    let a = partition("a");
    cache.insert(insert(a, "one", Some(at(0.0))));
    assert!(cache.exact(&a.exact(&[b"one"]), &any_entry).is_some());
    assert!(cache.semantic(&a, &at(0.0), 0.0, &any_entry).is_some());
}

#[test]
fn expired_entries_that_are_still_in_memory_do_not_hide_living_ones() {
    let (cache, clock) = cache_with_clock(CacheConfig { ttl: HOUR, ..CacheConfig::default() });
    let a = partition("a");
    for i in 0..100 {
        cache.insert(Insert { ttl: Some(HOUR / 2), ..insert(a, &format!("old {i}"), Some(at(0.0))) });
    }
    cache.insert(insert(a, "living", Some(at(5.0))));
    clock.advance(HOUR / 2);
    assert_eq!(payload(cache.semantic(&a, &at(0.0), 0.0, &any_entry)).unwrap(), "living");
}

#[test]
fn a_replaced_answer_is_found_by_nothing_of_the_old_one() {
    let cache = SemanticCache::new(CacheConfig::default());
    let a = partition("a");
    let (old, new) = (a.exact(&[b"old form"]), a.exact(&[b"new form"]));
    cache.insert(Insert { normalised: Some(old), ..insert(a, "one", Some(at(0.0))) });
    cache.insert(Insert {
        normalised: Some(new),
        payload: "second".into(),
        ..insert(a, "one", Some(at(90.0)))
    });
    assert!(cache.normalised(&old, &any_entry).is_none());
    assert!(cache.semantic(&a, &at(0.0), 0.0, &any_entry).is_none());
    assert_eq!(payload(cache.normalised(&new, &any_entry)).unwrap(), "second");
    assert_eq!(payload(cache.semantic(&a, &at(90.0), 0.0, &any_entry)).unwrap(), "second");
    assert_tidy(&cache, &[a]);
    assert_eq!(cache.stats().vectors, 1);
}

#[test]
fn replacing_an_answer_keeps_the_normalised_form_that_both_share() {
    let cache = SemanticCache::new(CacheConfig::default());
    let a = partition("a");
    let form = a.exact(&[b"form"]);
    for name in ["one", "one", "two"] {
        cache.insert(Insert { normalised: Some(form), ..insert(a, name, None) });
        assert_eq!(payload(cache.normalised(&form, &any_entry)).unwrap(), name);
    }
}

#[test]
fn vectors_that_are_no_directions_or_of_another_dimension_leave_the_cache_usable() {
    let cache = SemanticCache::new(CacheConfig::default());
    let a = partition("a");
    cache.insert(insert(a, "first", Some(vec![f32::NAN, 0.0])));
    assert_eq!(cache.stats().partitions, 0);
    cache.insert(insert(a, "good", Some(at(0.0))));
    for (name, bad) in
        [("nan", vec![f32::NAN, 1.0]), ("zero", vec![0.0, 0.0]), ("long", vec![1.0; 3]), ("none", vec![])]
    {
        cache.insert(insert(a, name, Some(bad.clone())));
        assert!(cache.exact(&a.exact(&[name.as_bytes()]), &any_entry).is_some(), "{name}");
        assert!(cache.semantic(&a, &bad, 0.0, &any_entry).is_none(), "{name}");
    }
    assert_eq!(payload(cache.semantic(&a, &at(0.0), 0.0, &any_entry)).unwrap(), "good");
    assert_tidy(&cache, &[a]);
    assert_eq!(cache.stats().vectors, 1);
}

#[test]
fn what_is_larger_than_the_cache_is_not_stored_and_evicts_nothing() {
    let cache = SemanticCache::new(CacheConfig { max_bytes: 4000, ..CacheConfig::default() });
    let a = partition("a");
    cache.insert(insert(a, "small", Some(at(0.0))));
    cache.insert(Insert { payload: vec![0; 5000].into(), ..insert(a, "big", Some(at(90.0))) });
    assert!(cache.exact(&a.exact(&[b"small"]), &any_entry).is_some());
    assert!(cache.exact(&a.exact(&[b"big"]), &any_entry).is_none());
    assert_tidy(&cache, &[a]);
    assert_eq!(cache.stats().vectors, 1);
}

#[test]
fn clearing_forgets_everything_and_leaves_nothing_behind() {
    let cache = SemanticCache::new(CacheConfig::default());
    let (a, b) = (partition("a"), partition("b"));
    for i in 0..500 {
        let key = if i % 2 == 0 { a } else { b };
        let normalised = Some(key.exact(&[b"form", &[i as u8]]));
        cache.insert(Insert { normalised, ..insert(key, &i.to_string(), Some(at(i as f32))) });
    }
    cache.run_pending();
    assert_eq!(cache.stats().partitions, 2);
    cache.clear();
    assert_eq!(cache.stats(), Stats::default());
    assert_eq!(cache.answers.alias_count(), 0);
    assert!(cache.semantic(&a, &at(0.0), 0.0, &any_entry).is_none());
    cache.insert(insert(a, "again", Some(at(0.0))));
    assert!(cache.semantic(&a, &at(0.0), 0.0, &any_entry).is_some());
}

#[test]
fn entries_whose_time_is_over_leave_memory_with_their_vectors() {
    // The store's own clock cannot be moved: a lifetime of a nanosecond is over when the call returns.
    let cache = SemanticCache::new(CacheConfig { ttl: Duration::from_nanos(1), ..CacheConfig::default() });
    let a = partition("a");
    for i in 0..10 {
        let normalised = Some(a.exact(&[b"form", &[i]]));
        cache.insert(Insert { normalised, ..insert(a, &i.to_string(), Some(at(f32::from(i)))) });
        assert!(cache.exact(&a.exact(&[i.to_string().as_bytes()]), &any_entry).is_none());
    }
    let start = SystemTime::now();
    // Expiry goes by the ticks of a timer wheel of about a second; until it has moved, the entries may stay.
    while cache.stats() != Stats::default() && start.elapsed().unwrap() < Duration::from_secs(10) {
        cache.run_pending();
        std::thread::yield_now();
    }
    assert_eq!((cache.stats(), cache.answers.alias_count()), (Stats::default(), 0));
}

#[test]
fn debug_output_shows_neither_payload_nor_vector() {
    let cache = SemanticCache::new(CacheConfig::default());
    let shown = format!("{cache:?} {:?}", insert(partition("a"), "my secret", Some(vec![0.125])));
    assert!(!shown.contains("secret") && !shown.contains("0.125"), "{shown}");
}

#[test]
fn threads_that_store_look_up_and_evict_leave_no_dead_vectors_behind() {
    let config = CacheConfig { max_bytes: 60_000, index: IndexKind::Auto, ..CacheConfig::default() };
    for index in [IndexKind::Flat, IndexKind::Hnsw] {
        let cache = SemanticCache::new(CacheConfig { index, ..config.clone() });
        let partitions = ["a", "b", "c"].map(partition);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (cache, partitions) = (&cache, &partitions);
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(seed);
                    for _ in 0..3000 {
                        let key = partitions[rng.usize(..partitions.len())];
                        let name = rng.u32(..60).to_string();
                        let vector = at(rng.f32() * 360.0);
                        match rng.u8(..100) {
                            0 => cache.run_pending(),
                            1 => cache.clear(),
                            2..50 => cache.insert(Insert {
                                normalised: Some(key.exact(&[b"form", name.as_bytes()])),
                                payload: vec![b'x'; rng.usize(..2000)].into(),
                                ..insert(key, &name, Some(vector))
                            }),
                            _ => {
                                let hit = cache.semantic(&key, &vector, 0.0, &any_entry);
                                assert!(hit.is_none_or(|hit| hit.entry.partition == key));
                                cache.exact(&key.exact(&[name.as_bytes()]), &any_entry);
                            }
                        }
                    }
                });
            }
        });
        assert_tidy(&cache, &partitions);
        cache.clear();
        assert_eq!((cache.stats(), cache.answers.alias_count()), (Stats::default(), 0));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { partition: usize, name: u8, degrees: u16, ttl: u64, size: usize },
    Advance(u64),
    Lookup { partition: usize, name: u8, degrees: u16 },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let (partition, name, degrees) = (0usize..3, 0u8..12, 0u16..360);
    prop_oneof![
        8 => (partition.clone(), name.clone(), degrees.clone(), 1u64..100, 0usize..3000).prop_map(
            |(partition, name, degrees, ttl, size)| Step::Insert { partition, name, degrees, ttl, size }
        ),
        2 => (0u64..40).prop_map(Step::Advance),
        8 => (partition, name, degrees)
            .prop_map(|(partition, name, degrees)| Step::Lookup { partition, name, degrees }),
        1 => Just(Step::Clear),
    ]
}

/// What the model remembers of an entry: its serial number, direction and last second.
type Remembered = (u64, u16, u64);

/// The serial number that the entry's payload starts with.
fn serial(hit: &Hit) -> u64 {
    u64::from_le_bytes(hit.entry.payload()[..8].try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_cache_agrees_with_a_naive_model(steps in proptest::collection::vec(step(), 1..150)) {
        let (cache, clock) = cache_with_clock(CacheConfig { similarity: 0.95, ttl: HOUR, index: IndexKind::Flat, ..CacheConfig::default() });
        let partitions = ["a", "b", "c"].map(partition);
        let mut model: HashMap<(usize, u8), Remembered> = HashMap::new();
        let mut now = 0;
        for (number, step) in (0u64..).zip(steps) {
            match step {
                Step::Insert { partition, name, degrees, ttl, .. } => {
                    let key = partitions[partition];
                    let payload = Bytes::copy_from_slice(&number.to_le_bytes());
                    cache.insert(Insert { payload, ttl: Some(Duration::from_secs(ttl)), ..insert(key, &name.to_string(), Some(at(f32::from(degrees)))) });
                    model.insert((partition, name), (number, degrees, now + ttl));
                }
                Step::Advance(seconds) => {
                    clock.advance(Duration::from_secs(seconds));
                    now += seconds;
                    model.retain(|_, &mut (_, _, end)| end > now);
                }
                Step::Clear => {
                    cache.clear();
                    model.clear();
                }
                Step::Lookup { partition, name, degrees } => {
                    let key = partitions[partition];
                    let exact = cache.exact(&key.exact(&[name.to_string().as_bytes()]), &any_entry);
                    prop_assert_eq!(exact.as_ref().map(serial), model.get(&(partition, name)).map(|e| e.0));
                    let hit = cache.semantic(&key, &at(f32::from(degrees)), 0.0, &any_entry);
                    let apart = |other: u16| (i32::from(other) - i32::from(degrees)).rem_euclid(360);
                    let angle = |other: u16| apart(other).min(360 - apart(other));
                    let nearest = model.iter().filter(|((p, _), _)| *p == partition).map(|(_, e)| angle(e.1)).min();
                    // 0.95 is the cosine of 18.2 degrees.
                    prop_assert_eq!(hit.is_some(), nearest.is_some_and(|angle| angle <= 18));
                    if let Some(hit) = hit {
                        let found = model.iter().find(|(_, e)| e.0 == serial(&hit));
                        let (&(p, _), &(_, direction, _)) = found.expect("what is served is remembered");
                        prop_assert_eq!((p, Some(angle(direction))), (partition, nearest));
                    }
                }
            }
        }
        assert_tidy(&cache, &partitions);
    }

    #[test]
    fn nothing_stored_in_one_partition_is_returned_in_another_and_the_budget_is_kept(
        steps in proptest::collection::vec(step(), 1..150), kind in 0usize..3,
    ) {
        let index = [IndexKind::Flat, IndexKind::Hnsw, IndexKind::Auto][kind];
        let (cache, clock) = cache_with_clock(CacheConfig { similarity: -1.0, max_bytes: 20_000, index, ..CacheConfig::default() });
        let partitions = ["a", "b", "c"].map(partition);
        for step in steps {
            match step {
                Step::Insert { partition, name, degrees, ttl, size } => {
                    let key = partitions[partition];
                    let mut payload = vec![partition as u8];
                    payload.resize(1 + size, 0);
                    cache.insert(Insert { payload: payload.into(), ttl: Some(Duration::from_secs(ttl)), normalised: Some(key.exact(&[b"form", &[name]])), ..insert(key, &name.to_string(), Some(at(f32::from(degrees)))) });
                }
                Step::Advance(seconds) => clock.advance(Duration::from_secs(seconds)),
                Step::Clear => cache.clear(),
                Step::Lookup { partition, name, degrees } => {
                    let key = partitions[partition];
                    let hits = [
                        cache.semantic(&key, &at(f32::from(degrees)), -1.0, &any_entry),
                        cache.exact(&key.exact(&[name.to_string().as_bytes()]), &any_entry),
                        cache.normalised(&key.exact(&[b"form", &[name]]), &any_entry),
                    ];
                    for hit in hits.iter().flatten() {
                        prop_assert_eq!(usize::from(hit.entry.payload()[0]), partition);
                        prop_assert_eq!(hit.entry.partition, key);
                    }
                }
            }
            cache.run_pending();
            prop_assert!(cache.stats().bytes <= 20_000);
        }
        assert_tidy(&cache, &partitions);
    }
}
