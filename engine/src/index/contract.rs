//! The same promises, kept by every index: a new one needs only a line in `Kind`.

use std::collections::HashMap;

use fastrand::Rng;
use proptest::prelude::*;

use super::simd::dot;
use super::vector::unit;
use super::{FlatIndex, HnswIndex, VectorIndex};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flat,
    Hnsw,
    BySize,
}

const KINDS: [Kind; 3] = [Kind::Flat, Kind::Hnsw, Kind::BySize];
const DIMENSION: usize = 128;

impl Kind {
    fn build(self) -> Box<dyn VectorIndex> {
        match self {
            Self::Flat => Box::new(FlatIndex::default()),
            Self::Hnsw => Box::new(HnswIndex::from_size(1)),
            Self::BySize => Box::new(HnswIndex::from_size(1000)),
        }
    }
}

/// Does up to `pieces` of the work that was put off.
fn advance(index: &mut dyn VectorIndex, pieces: usize) {
    let mut done = None;
    for _ in 0..pieces {
        let next = index.advance(done.take());
        if next.work.is_none() && next.retired.is_none() {
            return;
        }
        done = next.work.map(super::Work::run);
    }
    index.advance(done);
}

fn settle(index: &mut dyn VectorIndex) {
    while index.has_work() {
        advance(index, usize::MAX);
    }
}

/// A random direction.
fn direction(rng: &mut Rng) -> Vec<f32> {
    // The sum of uniform numbers is near enough to normal to have no preferred direction.
    (0..DIMENSION).map(|_| (0..6).map(|_| rng.f32() - 0.5).sum()).collect()
}

/// A vector beside another, as the prompts of one topic are.
fn beside(centre: &[f32], rng: &mut Rng, spread: f32) -> Vec<f32> {
    centre.iter().zip(direction(rng)).map(|(c, d)| c + spread * d).collect()
}

/// `n` vectors in clusters of twenty.
fn clustered(n: usize, rng: &mut Rng) -> Vec<Vec<f32>> {
    let centres: Vec<_> = (0..n.div_ceil(20)).map(|_| direction(rng)).collect();
    (0..n).map(|i| beside(&centres[i % centres.len()], rng, 0.5)).collect()
}

/// The id of the nearest vector by comparing all.
fn nearest_of(vectors: &HashMap<u64, Vec<f32>>, query: &[f32]) -> u64 {
    let query = unit(query).unwrap();
    let similarity = |vector: &[f32]| dot(&query, &unit(vector).unwrap());
    *vectors.iter().max_by(|a, b| similarity(a.1).total_cmp(&similarity(b.1)).then(b.0.cmp(a.0))).unwrap().0
}

fn recall_at_1(index: &dyn VectorIndex, vectors: &HashMap<u64, Vec<f32>>, rng: &mut Rng) -> f64 {
    let mut all: Vec<(u64, Vec<f32>)> = vectors.iter().map(|(&id, v)| (id, unit(v).unwrap())).collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    let queries = 500;
    let right = (0..queries)
        .filter(|_| {
            let query = unit(&beside(&all[rng.usize(..all.len())].1, rng, 0.05)).unwrap();
            let similarity = |of: &(u64, Vec<f32>)| dot(&query, &of.1);
            let nearest = all.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b))).unwrap().0;
            index.search(&query, 1, &|_| true)[0].id == nearest
        })
        .count();
    right as f64 / f64::from(queries)
}

#[test]
fn an_empty_index_finds_nothing() {
    for kind in KINDS {
        let mut index = kind.build();
        assert!(index.is_empty());
        assert!(index.search(&[1.0, 0.0], 3, &|_| true).is_empty());
        assert!(!index.remove(1));
        assert!(!index.has_work());
    }
}

#[test]
fn what_was_inserted_is_found_and_what_was_removed_is_not() {
    for kind in KINDS {
        let mut index = kind.build();
        assert!(index.insert(1, &[1.0, 0.0]));
        assert!(index.insert(2, &[0.0, 5.0]));
        let found = index.search(&[0.1, 2.0], 2, &|_| true);
        assert_eq!(found.iter().map(|n| n.id).collect::<Vec<_>>(), [2, 1], "{kind:?}");
        assert!(found[0].similarity > 0.99 && found[0].similarity <= 1.0);
        assert!(index.remove(2) && !index.remove(2));
        assert_eq!(index.len(), 1);
        assert_eq!(index.search(&[0.1, 2.0], 2, &|_| true).iter().map(|n| n.id).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn an_id_inserted_again_has_only_its_new_vector() {
    for kind in KINDS {
        let mut index = kind.build();
        index.insert(1, &[1.0, 0.0]);
        index.insert(2, &[0.6, 0.8]);
        index.insert(1, &[-1.0, 0.0]);
        assert_eq!(index.len(), 2);
        let found = index.search(&[1.0, 0.0], 5, &|_| true);
        assert_eq!(found.iter().map(|n| n.id).collect::<Vec<_>>(), [2, 1], "{kind:?}");
        assert_eq!(found[1].similarity, -1.0);
    }
}

#[test]
fn asking_for_more_than_there_are_gives_all_and_asking_for_none_gives_none() {
    let mut rng = Rng::with_seed(1);
    for kind in KINDS {
        let mut index = kind.build();
        for (id, vector) in clustered(300, &mut rng).iter().enumerate() {
            index.insert(id as u64, vector);
        }
        for id in 0..50 {
            index.remove(id * 2);
        }
        let query = direction(&mut rng);
        let found = index.search(&query, 1000, &|_| true);
        assert_eq!(found.len(), 250, "{kind:?}");
        assert!(found.is_sorted_by(|a, b| a.similarity >= b.similarity));
        assert!(index.search(&query, 0, &|_| true).is_empty());
        assert_eq!(index.search(&query, usize::MAX / 1024, &|_| true).len(), 250, "{kind:?}");
    }
}

#[test]
fn ids_that_are_not_alive_are_never_returned_and_hide_nobody() {
    let mut rng = Rng::with_seed(2);
    let vectors = clustered(2500, &mut rng);
    for kind in KINDS {
        let mut index = kind.build();
        for (id, vector) in vectors.iter().enumerate() {
            index.insert(id as u64, vector);
        }
        for _ in 0..20 {
            let query = direction(&mut rng);
            let found = index.search(&query, 8, &|id| id % 100 == 3);
            assert_eq!(found.len(), 8, "{kind:?}");
            assert!(found.iter().all(|n| n.id % 100 == 3));
            assert!(index.search(&query, 8, &|_| false).is_empty());
        }
    }
}

#[test]
fn vectors_that_are_no_directions_or_of_another_dimension_change_nothing() {
    for kind in KINDS {
        let mut index = kind.build();
        assert!(!index.insert(1, &[]));
        assert!(!index.insert(1, &[f32::NAN, 1.0]));
        assert!(index.insert(1, &[1.0, 0.0]));
        for bad in [&[f32::NAN, 0.0][..], &[f32::INFINITY, 0.0], &[0.0, 0.0], &[1.0], &[1.0, 0.0, 0.0]] {
            assert!(!index.insert(1, bad), "{kind:?}");
            assert!(!index.insert(2, bad), "{kind:?}");
            assert!(index.search(bad, 3, &|_| true).is_empty(), "{kind:?}");
        }
        assert_eq!(index.len(), 1);
        assert_eq!(index.search(&[1.0, 0.0], 3, &|_| true)[0].similarity, 1.0);
    }
}

#[test]
fn an_index_that_was_emptied_takes_another_dimension() {
    for kind in KINDS {
        let mut index = kind.build();
        for id in 0..10 {
            index.insert(id, &[1.0, id as f32]);
        }
        for id in 0..10 {
            index.remove(id);
        }
        assert!(index.insert(3, &[0.0, 0.0, 2.0]), "{kind:?}");
        assert!(index.search(&[1.0, 0.0], 3, &|_| true).is_empty());
        assert_eq!(index.search(&[0.0, 0.0, 1.0], 3, &|_| true)[0].id, 3);
    }
}

#[test]
fn many_copies_of_one_vector_are_all_kept_and_hide_nobody() {
    let mut rng = Rng::with_seed(3);
    for kind in KINDS {
        let mut index = kind.build();
        let copied = direction(&mut rng);
        let others = clustered(700, &mut rng);
        for (i, other) in others.iter().enumerate() {
            index.insert(i as u64, other);
            index.insert(10_000 + i as u64, &copied);
        }
        settle(index.as_mut());
        let found = index.search(&copied, 20, &|_| true);
        assert_eq!(found.len(), 20);
        assert!(found.iter().all(|n| n.id >= 10_000 && n.similarity > 0.999_999), "{kind:?}");
        let lost =
            (0..others.len()).filter(|&i| index.search(&others[i], 1, &|_| true)[0].id != i as u64).count();
        assert!(lost * 100 <= others.len(), "{kind:?} lost {lost}");
    }
}

#[test]
fn a_small_partition_is_searched_exactly() {
    let mut rng = Rng::with_seed(4);
    for (kind, size) in [(Kind::Flat, 383), (Kind::BySize, 383), (Kind::Hnsw, 100)] {
        let mut index = kind.build();
        let vectors: HashMap<u64, Vec<f32>> = (0..).zip(clustered(size, &mut rng)).collect();
        vectors.iter().for_each(|(&id, vector)| assert!(index.insert(id, vector)));
        settle(index.as_mut());
        assert_eq!(recall_at_1(index.as_ref(), &vectors, &mut rng), 1.0, "{kind:?}");
    }
}

#[test]
fn recall_is_99_percent_in_a_large_partition_even_after_half_was_deleted() {
    let mut rng = Rng::with_seed(4);
    let all = clustered(4000, &mut rng);
    for kind in KINDS {
        let mut index = kind.build();
        let mut vectors = HashMap::new();
        for (id, vector) in all.iter().enumerate() {
            index.insert(id as u64, vector);
            vectors.insert(id as u64, vector.clone());
        }
        settle(index.as_mut());
        assert_eq!(index.kind(), if matches!(kind, Kind::Flat) { "flat" } else { "hnsw" });
        let recall = recall_at_1(index.as_ref(), &vectors, &mut rng);
        assert!(recall >= 0.99, "{kind:?} full: {recall}");
        // Just below the bound at which the graph is built anew: as many tombstones as there ever are.
        for (share, work) in [(0.24, 0), (0.5, 0), (0.5, 40), (0.5, usize::MAX)] {
            for id in 0..(all.len() as f64 * share) as u64 {
                index.remove(id * 2);
                vectors.remove(&(id * 2));
            }
            advance(index.as_mut(), work);
            assert_eq!(index.len(), vectors.len());
            let recall = recall_at_1(index.as_ref(), &vectors, &mut rng);
            assert!(recall >= 0.99, "{kind:?} after deleting {share}, {work} pieces on: {recall}");
        }
    }
}

#[test]
fn a_growing_partition_gets_a_graph_and_a_shrinking_one_loses_it() {
    let mut rng = Rng::with_seed(5);
    let vectors = clustered(1200, &mut rng);
    let mut index = Kind::BySize.build();
    for (id, vector) in (0..).zip(&vectors) {
        index.insert(id, vector);
        assert_eq!(index.has_work(), id >= 999);
    }
    assert_eq!(index.kind(), "flat");
    settle(index.as_mut());
    assert_eq!(index.kind(), "hnsw");
    for id in 0..1100 {
        index.remove(id);
    }
    settle(index.as_mut());
    assert_eq!((index.kind(), index.len()), ("flat", 100));
    assert_eq!(index.search(&vectors[1150], 1, &|_| true)[0].id, 1150);
}

#[test]
fn what_is_inserted_replaced_or_removed_while_a_graph_is_built_is_as_it_is() {
    let mut rng = Rng::with_seed(6);
    let vectors = clustered(300, &mut rng);
    let mut index = Kind::Hnsw.build();
    for (id, vector) in (0..).zip(&vectors[..100]) {
        index.insert(id, vector);
    }
    let mut done = None;
    for round in 0..100_u64 {
        let next = index.advance(done.take());
        // While the work is under way: 0 to 99 get another vector, 100 to 199 come, 200 to 299 come and go.
        let vector = |id: u64| &vectors[id as usize];
        index.insert(round, vector(200 + round));
        index.insert(100 + round, vector(100 + round));
        index.insert(200 + round, vector(round));
        index.remove(200 + round);
        done = next.work.map(super::Work::run);
    }
    index.advance(done);
    settle(index.as_mut());
    assert_eq!(index.len(), 200);
    for (at, vector) in (0..).zip(&vectors) {
        let found = index.search(vector, 200, &|_| true);
        assert_eq!(found.len(), 200);
        match at {
            0..100 => assert!(found[0].similarity < 0.999, "{at} is gone"),
            100..200 => assert_eq!(found[0].id, at),
            _ => assert_eq!(found[0].id, at - 200),
        }
    }
}

#[test]
fn work_that_is_never_done_is_handed_out_again() {
    let mut rng = Rng::with_seed(7);
    let vectors = clustered(200, &mut rng);
    let mut index = Kind::Hnsw.build();
    for (id, vector) in (0..).zip(&vectors) {
        index.insert(id, vector);
    }
    let lost = index.advance(None).work;
    assert!(lost.is_some());
    settle(index.as_mut());
    assert!(!index.has_work());
    for (id, vector) in (0..).zip(&vectors) {
        assert_eq!(index.search(vector, 3, &|_| true)[0].id, id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_index_agrees_with_a_plain_map(
        steps in proptest::collection::vec((0u64..40, 0u8..4, any::<u64>()), 1..200),
    ) {
        for kind in KINDS {
            let mut index = kind.build();
            let mut model: HashMap<u64, Vec<f32>> = HashMap::new();
            for &(id, action, seed) in &steps {
                let vector = direction(&mut Rng::with_seed(seed));
                match action {
                    0 => prop_assert_eq!(index.remove(id), model.remove(&id).is_some()),
                    1 => advance(index.as_mut(), (seed % 4) as usize),
                    _ => {
                        prop_assert!(index.insert(id, &vector));
                        model.insert(id, vector.clone());
                    }
                }
                prop_assert_eq!(index.len(), model.len());
                let found = index.search(&vector, 1, &|_| true);
                prop_assert_eq!(found.len(), model.len().min(1));
                // So few vectors are all looked at, by every kind.
                if let Some(first) = found.first() {
                    prop_assert_eq!(first.id, nearest_of(&model, &vector));
                }
            }
        }
    }
}
