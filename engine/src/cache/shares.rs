//! What owners' shares promise: nobody pushes out what others have stored, and nobody has more than its share.

use std::collections::HashMap;

use proptest::prelude::*;

use super::tests::{any_entry, assert_tidy, at, insert, partition};
use super::*;

const SHARE: u64 = 20_000;

fn cache() -> SemanticCache {
    SemanticCache::new(CacheConfig {
        max_bytes: 100_000,
        owner_max_bytes: Some(SHARE),
        ..CacheConfig::default()
    })
}

/// Bytes of each owner's entries, and that store and shares tell the same.
fn owned(cache: &SemanticCache) -> HashMap<u64, u64> {
    cache.run_pending();
    let mut owned: HashMap<u64, (u64, u64)> = HashMap::new();
    for entry in cache.answers.entries() {
        let of_owner = owned.entry(entry.owner).or_default();
        of_owner.0 += 1;
        of_owner.1 += u64::from(entry.weight);
    }
    let shares = cache.answers.shares().unwrap();
    for owner in 0..4 {
        assert_eq!(shares.size(owner), owned.get(&owner).copied().unwrap_or_default(), "owner {owner}");
    }
    owned.into_iter().map(|(owner, (_, bytes))| (owner, bytes)).collect()
}

#[test]
fn an_owner_that_stores_without_end_pushes_out_nothing_of_the_others() {
    let cache = cache();
    let (quiet, loud) = (partition("quiet"), partition("loud"));
    for i in 0..10 {
        cache.insert(Insert { owner: 1, ..insert(quiet, &i.to_string(), Some(at(i as f32))) });
    }
    for i in 0..2000 {
        let name = i.to_string();
        cache.insert(Insert {
            owner: 2,
            payload: vec![0; 300].into(),
            ..insert(loud, &name, Some(at(i as f32)))
        });
        // What is asked for again and again would win against anything that is not.
        cache.exact(&loud.exact(&[name.as_bytes()]), &any_entry);
    }
    let owned = owned(&cache);
    assert!(owned[&2] <= SHARE && owned[&2] > SHARE / 2, "{owned:?}");
    for i in 0..10 {
        assert!(cache.exact(&quiet.exact(&[i.to_string().as_bytes()]), &any_entry).is_some(), "{i}");
    }
    assert!(cache.semantic(&quiet, &at(3.0), 0.0, &any_entry).is_some());
    assert_tidy(&cache, &[quiet, loud]);
}

#[test]
fn a_burst_of_one_owner_leaves_another_ones_full_share_alone_where_the_shares_are_all_there_is() {
    let config = CacheConfig { max_bytes: 2 * SHARE, owner_max_bytes: Some(SHARE), ..CacheConfig::default() };
    let (cache, [quiet, loud]) = (SemanticCache::new(config), ["quiet", "loud"].map(partition));
    for i in 0..100 {
        cache.insert(Insert { owner: 1, ..insert(quiet, &i.to_string(), Some(at(i as f32))) });
    }
    let bytes = owned(&cache)[&1];
    assert!(bytes > SHARE * 9 / 10, "{bytes}");
    // Nothing is looked up and no housekeeping is done meanwhile.
    for i in 0..1000 {
        cache.insert(Insert { owner: 2, ..insert(loud, &i.to_string(), Some(at(i as f32))) });
    }
    let owned = owned(&cache);
    assert_eq!(owned[&1], bytes);
    assert!(owned[&2] > SHARE / 2, "{owned:?}");
    assert_tidy(&cache, &[quiet, loud]);
}

#[test]
fn all_owners_together_stay_within_the_budget() {
    let cache = SemanticCache::new(CacheConfig {
        max_bytes: 50_000,
        owner_max_bytes: Some(SHARE),
        ..CacheConfig::default()
    });
    let partitions = ["a", "b", "c", "d"].map(partition);
    for i in 0..400 {
        for (owner, key) in partitions.iter().enumerate() {
            cache.insert(Insert { owner: owner as u64, ..insert(*key, &i.to_string(), Some(at(i as f32))) });
        }
    }
    assert!(owned(&cache).values().all(|bytes| *bytes <= SHARE));
    assert_tidy(&cache, &partitions);
}

#[test]
fn what_is_asked_for_often_stays_in_a_share_that_is_full() {
    let cache = cache();
    let key = partition("a");
    let wanted = key.exact(&[b"wanted"]);
    cache.insert(Insert { owner: 1, ..insert(key, "wanted", None) });
    for i in 0..3000 {
        cache.insert(Insert { owner: 1, ..insert(key, &i.to_string(), None) });
        assert!(cache.exact(&wanted, &any_entry).is_some(), "after {i}");
    }
    owned(&cache);
}

#[test]
fn what_is_stored_again_and_again_finds_a_place_in_a_share_that_is_full() {
    let (cache, key) = (cache(), partition("a"));
    let store = |name: &str| cache.insert(Insert { owner: 1, ..insert(key, name, None) });
    (0..100).for_each(|i| store(&i.to_string()));
    let stored = |name: &str| cache.exact(&key.exact(&[name.as_bytes()]), &any_entry).is_some();
    let tries = (0..10).take_while(|_| !stored("wanted")).map(|_| store("wanted")).count();
    assert!((1..10).contains(&tries), "{tries}");
    assert!(stored("wanted"));
    owned(&cache);
}

#[test]
fn what_is_larger_than_a_share_is_not_stored_and_evicts_nothing() {
    let cache = cache();
    let key = partition("a");
    cache.insert(Insert { owner: 1, ..insert(key, "small", None) });
    let large = vec![0; SHARE as usize].into();
    cache.insert(Insert { owner: 1, payload: large, ..insert(key, "large", None) });
    assert!(cache.exact(&key.exact(&[b"small"]), &any_entry).is_some());
    assert!(cache.exact(&key.exact(&[b"large"]), &any_entry).is_none());
}

#[test]
fn a_note_counts_and_comes_back_with_its_own_entry_also_where_the_answer_is_shared() {
    let (cache, key) = (cache(), partition("a"));
    let noted = |name: &str, degrees| Insert {
        note: Bytes::copy_from_slice(name.as_bytes()),
        tags: Vec::new(),
        payload: "one answer".into(),
        ..insert(key, name, Some(at(degrees)))
    };
    cache.vouch(noted("first", 0.0), Profile::of("first"), &mut |_| true);
    cache.vouch(noted("second", 20.0), Profile::of("second"), &mut |answer| answer.payload == "one answer");
    let mut entries = cache.entries();
    entries.sort_by_key(|entry| entry.id);
    assert_eq!(
        entries.iter().map(|entry| entry.note.as_ref()).collect::<Vec<_>>(),
        [&b"first"[..], b"second"]
    );
    assert!(Arc::ptr_eq(&entries[0].answer, &entries[1].answer));
    let bytes = |cache: &SemanticCache| {
        cache.run_pending();
        cache.stats().bytes
    };
    let before = bytes(&cache);
    cache.insert(Insert { note: vec![0; 5000].into(), ..insert(key, "third", None) });
    assert!(bytes(&cache) - before > 5000);
}

#[test]
fn what_is_vouched_for_joins_nothing_but_the_very_same_answer_and_may_be_replaced() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    let give = |name: &str, degrees, answer: &'static str| {
        let insert = Insert { payload: answer.into(), ..insert(key, name, Some(at(degrees))) };
        cache.vouch(insert, Profile::of(name), &mut |other| other.payload == answer);
    };
    give("one", 0.0, "red");
    give("two", 1.0, "blue");
    give("three", 2.0, "red");
    let mut entries = cache.entries();
    entries.sort_by_key(|entry| entry.id);
    let clusters: Vec<u64> = entries.iter().map(|entry| entry.cluster).collect();
    assert!(clusters[0] == clusters[2] && clusters[0] != clusters[1], "{clusters:?}");
    // Given again, each is still found by its meaning.
    give("two", 1.0, "blue");
    let found = cache.semantic(&key, &at(1.0), 0.0, &any_entry).unwrap();
    assert_eq!(found.entry.payload(), "blue");
    assert!(cache.reports().iter().all(|report| report.requests == 0), "nobody asked");
    assert_tidy(&cache, &[key]);
}

#[test]
fn threads_that_store_ask_and_forget_leave_store_and_shares_in_line() {
    let cache = cache();
    let partitions = ["a", "b", "c", "d"].map(partition);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (cache, partitions) = (&cache, &partitions);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..3000 {
                    let owner = rng.usize(..4);
                    let (key, name) = (partitions[owner], rng.u32(..40).to_string());
                    match rng.u8(..100) {
                        0 => cache.run_pending(),
                        1 => cache.clear(),
                        2..60 => cache.insert(Insert {
                            owner: owner as u64,
                            payload: vec![b'x'; rng.usize(..3000)].into(),
                            ..insert(key, &name, Some(at(rng.f32() * 360.0)))
                        }),
                        _ => {
                            cache.exact(&key.exact(&[name.as_bytes()]), &any_entry);
                        }
                    }
                }
            });
        }
    });
    assert!(owned(&cache).values().all(|bytes| *bytes <= SHARE));
    assert_tidy(&cache, &partitions);
    cache.clear();
    assert!(owned(&cache).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whoever_stores_replaces_asks_and_forgets_store_and_shares_agree(
        steps in proptest::collection::vec((0u8..10, 0u64..4, 0u8..30, 0usize..6000), 1..200),
    ) {
        let cache = cache();
        let partitions = ["a", "b", "c", "d"].map(partition);
        for (what, owner, name, size) in steps {
            let (key, name) = (partitions[owner as usize], name.to_string());
            match what {
                0 => {
                    cache.forget(&|entry| entry.payload().len() > size, false);
                }
                1..4 => {
                    cache.exact(&key.exact(&[name.as_bytes()]), &any_entry);
                }
                _ => cache.insert(Insert { owner, payload: vec![0; size].into(), ..insert(key, &name, Some(at(size as f32))) }),
            }
        }
        prop_assert!(owned(&cache).values().all(|bytes| *bytes <= SHARE));
        assert_tidy(&cache, &partitions);
    }
}
