//! The same promises, kept by every index: a new one needs only a line in `KINDS`.

use std::collections::HashMap;

use fastrand::Rng;
use proptest::prelude::*;

use super::vector::{dot, unit};
use super::{IndexKind, VectorIndex};

const KINDS: [IndexKind; 3] = [IndexKind::Flat, IndexKind::Hnsw, IndexKind::Auto];
const DIMENSION: usize = 32;

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
    let mut ids: Vec<_> = vectors.keys().copied().collect();
    ids.sort_unstable();
    let queries = 500;
    let right = (0..queries)
        .filter(|_| {
            let query = beside(&vectors[&ids[rng.usize(..ids.len())]], rng, 0.3);
            index.search(&query, 1, &|_| true)[0].id == nearest_of(vectors, &query)
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
        assert!(!index.maintain(10));
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
    let vectors = clustered(1500, &mut rng);
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
        index.maintain(usize::MAX);
        let found = index.search(&copied, 20, &|_| true);
        assert_eq!(found.len(), 20);
        assert!(found.iter().all(|n| n.id >= 10_000 && n.similarity > 0.999_999), "{kind:?}");
        let lost =
            (0..others.len()).filter(|&i| index.search(&others[i], 1, &|_| true)[0].id != i as u64).count();
        assert!(lost * 100 <= others.len(), "{kind:?} lost {lost}");
    }
}

#[test]
fn recall_is_exact_for_the_scan_and_99_percent_for_the_graph_even_after_half_was_deleted() {
    let mut rng = Rng::with_seed(4);
    let all = clustered(4000, &mut rng);
    for kind in KINDS {
        let mut index = kind.build();
        let mut vectors = HashMap::new();
        for (id, vector) in all.iter().enumerate() {
            index.insert(id as u64, vector);
            vectors.insert(id as u64, vector.clone());
        }
        let least = if index.kind() == "flat" { 1.0 } else { 0.99 };
        index.maintain(usize::MAX);
        let recall = recall_at_1(index.as_ref(), &vectors, &mut rng);
        assert!(recall >= least, "{kind:?} full: {recall}");
        // Just below the bound at which the graph is given up: as many tombstones as there ever are.
        for (share, settle) in [(0.24, false), (0.5, false), (0.5, true)] {
            for id in 0..(all.len() as f64 * share) as u64 {
                index.remove(id * 2);
                vectors.remove(&(id * 2));
            }
            if settle {
                index.maintain(usize::MAX);
            }
            assert_eq!(index.len(), vectors.len());
            let recall = recall_at_1(index.as_ref(), &vectors, &mut rng);
            assert!(recall >= least, "{kind:?} after deleting {share}: {recall}");
        }
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
                    1 => { index.maintain((seed % 4) as usize); }
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
