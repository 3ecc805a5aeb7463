//! The measuring: one thread, one index at a time, the same queries for all.

use std::time::{Duration, Instant};

use sluice_engine::index::{FlatIndex, HnswIndex, Neighbour, VectorIndex, Work};

use super::report::Figures;
use super::vectors::Vectors;

/// Neighbours asked for, as the cache does.
pub(super) const K: usize = 8;
/// How often all queries are asked; the round with the best median counts, since whatever else runs only adds.
const ROUNDS: usize = 5;
/// The least share of queries whose nearest a graph must find; how many candidates it looks at is set by this.
const RECALL: f64 = 0.99;
/// Candidates tried in turn.
const EF: [usize; 5] = [32, 64, 128, 256, 512];

/// A scan, loaded.
pub(super) struct Flat {
    index: FlatIndex,
    n: usize,
    load: Duration,
    insert: Duration,
}

impl Flat {
    /// Loads the first `n` vectors.
    pub(super) fn load(all: &Vectors, n: usize) -> Result<Self, String> {
        let mut index = FlatIndex::default();
        let load = fill(&mut index, all, n)?;
        // What one more costs at this size: the queries come and go.
        let first = n as u64;
        let start = Instant::now();
        for (id, query) in (first..).zip(all.queries()) {
            index.insert(id, query);
        }
        let insert = start.elapsed() / all.queries().len().max(1) as u32;
        for id in (first..).take(all.queries().len()) {
            index.remove(id);
        }
        Ok(Self { index, n, load, insert })
    }

    /// The id of the nearest vector to each query, by comparing all.
    pub(super) fn truth(&self, all: &Vectors) -> Vec<Option<u64>> {
        all.queries().map(|query| first(&self.index.search_exact(query, 1, &|_| true))).collect()
    }

    /// The scan that compares all.
    pub(super) fn exact(&self, all: &Vectors, truth: &[Option<u64>]) -> Figures {
        let dimensions = all.dimensions;
        let figures = self.figures("exact scan", dimensions * size_of::<f32>());
        measured(figures, all, truth, &|query| self.index.search_exact(query, K, &|_| true))
    }

    /// The scan as the cache has it.
    pub(super) fn by_signs(&self, all: &Vectors, truth: &[Option<u64>]) -> Figures {
        let figures = self.figures("flat", self.index.vector_bytes(all.dimensions));
        measured(figures, all, truth, &|query| self.index.search(query, K, &|_| true))
    }

    fn figures(&self, index: &'static str, bytes: usize) -> Figures {
        Figures { index, n: self.n, insert: self.insert, load: self.load, bytes, ..Figures::default() }
    }
}

/// A graph of the first `n` vectors, with as many candidates per search as the recall takes.
pub(super) fn graph(all: &Vectors, n: usize, truth: &[Option<u64>]) -> Result<Figures, String> {
    let mut index = HnswIndex::from_size(1);
    let mut load = fill(&mut index, all, n)?;
    let start = Instant::now();
    let mut done = None;
    loop {
        let next = index.advance(done.take());
        if next.work.is_none() && next.retired.is_none() {
            break;
        }
        done = next.work.map(Work::run);
    }
    load += start.elapsed();
    let (insert, bytes) = (load / u32::try_from(n).unwrap_or(u32::MAX), index.vector_bytes(all.dimensions));
    let mut figures = Figures { index: "hnsw", n, insert, load, bytes, ..Figures::default() };
    for ef in EF {
        index.set_ef(ef);
        figures.ef = Some(ef);
        figures = measured(figures, all, truth, &|query| index.search(query, K, &|_| true));
        if figures.recall >= RECALL {
            break;
        }
    }
    Ok(figures)
}

/// How long it takes to insert the first `n` vectors.
fn fill(index: &mut dyn VectorIndex, all: &Vectors, n: usize) -> Result<Duration, String> {
    let start = Instant::now();
    for (id, vector) in (0..).zip(all.base(n)) {
        if !index.insert(id, vector) {
            return Err(format!("the index refused vector {id} of {n}"));
        }
    }
    Ok(start.elapsed())
}

/// Adds what searching costs and finds.
fn measured(
    mut figures: Figures,
    all: &Vectors,
    truth: &[Option<u64>],
    search: &dyn Fn(&[f32]) -> Vec<Neighbour>,
) -> Figures {
    let right = all.queries().zip(truth).filter(|(query, truth)| first(&search(query)) == **truth).count();
    figures.recall = right as f64 / truth.len().max(1) as f64;
    let round = || {
        let mut times: Vec<Duration> = all.queries().map(|query| time(query, search)).collect();
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        (at(50), at(99))
    };
    (figures.p50, figures.p99) = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    figures
}

fn time(query: &[f32], search: &dyn Fn(&[f32]) -> Vec<Neighbour>) -> Duration {
    let start = Instant::now();
    std::hint::black_box(search(query));
    start.elapsed()
}

fn first(found: &[Neighbour]) -> Option<u64> {
    found.first().map(|neighbour| neighbour.id)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::tests::random;
    use super::*;

    #[test]
    fn every_index_is_measured_on_the_same_vectors() {
        let all = random(120, 20, 300);
        let flat = Flat::load(&all, 300).unwrap();
        let truth = flat.truth(&all);
        assert!(truth.len() == 20 && truth.iter().all(Option::is_some));
        let (exact, signs) = (flat.exact(&all, &truth), flat.by_signs(&all, &truth));
        let graph = graph(&all, 300, &truth).unwrap();
        // So few are compared one by one by the scan; the graph does what it is told to.
        assert_eq!((exact.recall, signs.recall), (1.0, 1.0));
        assert!(graph.recall >= RECALL && graph.ef.is_some(), "{}", graph.recall);
        for figures in [&exact, &signs, &graph] {
            assert_eq!(figures.n, 300);
            assert!(figures.p50 > Duration::ZERO && figures.p50 <= figures.p99, "{}", figures.index);
            assert!(figures.load > figures.insert && figures.insert > Duration::ZERO);
        }
        assert!(graph.bytes > signs.bytes && signs.bytes > exact.bytes);
    }
}
