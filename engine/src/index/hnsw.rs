//! The graph: hierarchical navigable small world (Malkov & Yashunin, arXiv 1603.09320), as built by `hnsw_rs`.
//!
//! The graph is an aid to a [`FlatIndex`] that has every vector: whatever the graph can't answer, the scan does. Linking a
//! vector in costs about as much as computing it did, so it is never done while somebody waits: [`VectorIndex::advance`]
//! hands out the next few vectors as [`Work`], which anybody may do without holding the index, and takes the outcome back.
//! Until a vector is linked it is compared beside the graph, or found by the scan if many wait.
//!
//! The library's graph can only grow. A removed vector stays in it as a tombstone that searches skip, and when a quarter
//! is dead a new graph is built beside the old one, which serves until then.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hnsw_rs::prelude::{Distance, Hnsw};

use super::flat::FlatIndex;
use super::simd::dot;
use super::vector::Nearest;
use super::{Neighbour, VectorIndex};

/// Vectors from which a graph is worth its building, where the index is to choose by size. Not measured at that size but
/// reckoned from measurements up to 100,000 vectors of 384 dimensions, at recall@1 ≥ .99 and without AVX-512: the scan
/// takes 2 to 3 µs per thousand vectors, the graph 0.7 to 1.2 ms at 100,000 and more from there on.
pub const AUTO_CROSSOVER: usize = 400_000;

/// Links per vector and layer.
const LINKS: usize = 16;
/// Layers at most; the library's own limit.
const LAYERS: usize = 16;
/// Candidates looked at when a vector is linked in.
const EF_CONSTRUCTION: usize = 200;
/// Candidates looked at in a search: recall@1 ≥ .99 at 10,000 to 100,000 sentence vectors.
const EF_SEARCH: usize = 64;
/// How much wider the search becomes when too few of those found were alive.
const EF_WIDER: usize = 8;
/// Asked for beyond `k` and its share of tombstones, because the dead are not spread evenly.
const SPARE: usize = 8;
/// Vectors linked in by one piece of work: some ten milliseconds.
const BATCH: usize = 16;
/// Vectors not linked in yet that a search compares one by one; if more wait, it scans all.
const WAITING: usize = 512;
/// Bytes that a vector's links and headers take in the graph, as measured for `LINKS` = 16.
const LINK_BYTES: usize = 2700;

/// One minus the dot product of unit vectors. The library's own panics when rounding takes a product above one.
struct OneMinusDot;

impl Distance<f32> for OneMinusDot {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

type Graph = Hnsw<'static, f32, OneMinusDot>;

/// All vectors, and a graph of most of them once there are enough.
pub struct HnswIndex {
    flat: FlatIndex,
    /// The number of vectors from which there is a graph.
    from: usize,
    ef: usize,
    serving: Option<Linked>,
    /// The next graph, not complete yet.
    growing: Option<Linked>,
}

/// A graph and whose vectors are in it.
struct Linked {
    graph: Arc<Graph>,
    /// Whose vector a node of the graph is; `None` for a tombstone. Nodes are numbered as they were linked.
    owners: Vec<Option<u64>>,
    /// The living nodes.
    nodes: HashMap<u64, usize>,
    /// How many nodes are tombstones.
    dead: usize,
    /// Every id that has a vector and no node; and some that were removed meanwhile or stand here twice.
    waiting: VecDeque<u64>,
}

/// Vectors to be linked into a graph. Doing it needs nothing of the index.
pub struct Work {
    graph: Arc<Graph>,
    first_node: usize,
    vectors: Vec<(u64, Vec<f32>)>,
}

/// [`Work`] that is done.
pub struct Done(Work);

/// What an index answers when it was advanced.
#[derive(Default)]
pub struct Next {
    /// The next piece of work, if there is any.
    pub work: Option<Work>,
    /// A graph that has served its time. Letting go of it takes a while, so do it without holding the index.
    pub retired: Option<Retired>,
}

/// A graph nobody needs any more.
pub struct Retired(#[expect(dead_code, reason = "it is there to be dropped")] Linked);

impl Work {
    /// Links the vectors in: about a millisecond for each.
    pub fn run(self) -> Done {
        for (node, (_, vector)) in self.vectors.iter().enumerate() {
            self.graph.insert((vector, self.first_node + node));
        }
        Done(self)
    }
}

impl Linked {
    /// An empty graph for all these ids.
    fn new(ids: &[u64]) -> Self {
        Self {
            graph: Arc::new(Graph::new(LINKS, ids.len(), LAYERS, EF_CONSTRUCTION, OneMinusDot)),
            owners: Vec::new(),
            nodes: HashMap::new(),
            dead: 0,
            waiting: ids.iter().copied().collect(),
        }
    }

    /// The vector of this id is not what it was.
    fn forget(&mut self, id: u64) {
        if let Some(node) = self.nodes.remove(&id) {
            self.owners[node] = None;
            self.dead += 1;
        }
    }

    /// The next vectors to link in. They wait on until the work is done; their nodes are taken already, so that nothing
    /// goes wrong with work that is never done.
    fn work(&mut self, flat: &FlatIndex) -> Option<Work> {
        let waits = |id: u64| flat.vector(id).filter(|_| !self.nodes.contains_key(&id));
        while let Some(&id) = self.waiting.front()
            && waits(id).is_none()
        {
            self.waiting.pop_front();
        }
        let ids = self.waiting.iter().take(BATCH);
        let vectors: Vec<_> = ids.filter_map(|&id| Some((id, waits(id)?.to_vec()))).collect();
        let first_node = self.owners.len();
        self.owners.resize(first_node + vectors.len(), None);
        (!vectors.is_empty()).then(|| Work { graph: Arc::clone(&self.graph), first_node, vectors })
    }

    /// Takes notes of what was linked in. A vector that was replaced meanwhile is a tombstone from the start.
    fn adopt(&mut self, work: Work, flat: &FlatIndex) {
        for (node, (id, vector)) in (work.first_node..).zip(work.vectors) {
            if flat.vector(id).is_some_and(|current| current == vector) && !self.nodes.contains_key(&id) {
                self.nodes.insert(id, node);
                self.owners[node] = Some(id);
            } else {
                self.dead += 1;
            }
        }
        while let Some(id) = self.waiting.front()
            && (self.nodes.contains_key(id) || flat.vector(*id).is_none())
        {
            self.waiting.pop_front();
        }
    }

    /// Whether so many are tombstones that a new graph is due.
    fn is_spent(&self) -> bool {
        self.dead * 4 > self.owners.len()
    }

    /// The `k` best of the graph alone, or `None` if the scan does better. More are asked for than wanted, to make up
    /// for the dead.
    fn nearest(&self, query: &[f32], k: usize, ef: usize, alive: &dyn Fn(u64) -> bool) -> Option<Nearest> {
        let asked = (k.checked_mul(self.owners.len())?).checked_div(self.nodes.len())? + 1 + SPARE;
        let width = asked.max(ef);
        for width in [width, width * EF_WIDER] {
            // A search nearly as wide as the graph costs more than looking at everything.
            if width * 2 > self.owners.len() {
                return None;
            }
            let mut nearest = Nearest::new(k);
            for found in self.graph.search(query, width, width) {
                let similarity = 1.0 - found.distance;
                // A node too new to have an owner is still among those that wait.
                if let Some(Some(id)) = self.owners.get(found.d_id).copied()
                    && nearest.wants(similarity)
                    && alive(id)
                {
                    nearest.offer(id, similarity);
                }
            }
            if nearest.len() == k {
                return Some(nearest);
            }
        }
        None
    }
}

impl HnswIndex {
    /// An index that has a graph as soon as it has `vectors` vectors, and none any more at half of them.
    pub fn from_size(vectors: usize) -> Self {
        let (flat, ef) = (FlatIndex::default(), EF_SEARCH);
        Self { flat, from: vectors.max(1), ef, serving: None, growing: None }
    }

    /// Has searches look at `ef` candidates in the graph: more find more, and take longer.
    pub fn set_ef(&mut self, ef: usize) {
        self.ef = ef.max(1);
    }

    /// Offers what waits to be linked in, compared one by one.
    fn offer_waiting(
        &self,
        linked: &Linked,
        query: &[f32],
        nearest: &mut Nearest,
        alive: &dyn Fn(u64) -> bool,
    ) {
        let mut ids: Vec<u64> =
            linked.waiting.iter().copied().filter(|id| !linked.nodes.contains_key(id)).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let Some(vector) = self.flat.vector(id) else { continue };
            let similarity = dot(query, vector);
            if nearest.wants(similarity) && alive(id) {
                nearest.offer(id, similarity);
            }
        }
    }

    fn nearest(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Nearest {
        let k = k.min(self.flat.len());
        if let Some(serving) = self.serving.as_ref().filter(|serving| serving.waiting.len() <= WAITING)
            && let Some(mut nearest) = serving.nearest(query, k, self.ef, alive)
        {
            self.offer_waiting(serving, query, &mut nearest, alive);
            return nearest;
        }
        self.flat.nearest(query, k, alive)
    }

    fn graphs(&mut self) -> impl Iterator<Item = &mut Linked> {
        self.serving.iter_mut().chain(&mut self.growing)
    }

    /// Whether a graph is to be begun.
    fn is_graph_due(&self) -> bool {
        self.growing.is_none()
            && self.flat.len() >= self.from
            && self.serving.as_ref().is_none_or(Linked::is_spent)
    }

    fn is_too_small(&self) -> bool {
        self.flat.len() < self.from.div_ceil(2)
    }
}

impl VectorIndex for HnswIndex {
    fn insert(&mut self, id: u64, vector: &[f32]) -> bool {
        let inserted = self.flat.insert(id, vector);
        if inserted {
            for linked in self.graphs() {
                linked.forget(id);
                linked.waiting.push_back(id);
            }
        }
        inserted
    }

    fn remove(&mut self, id: u64) -> bool {
        let removed = self.flat.remove(id);
        if removed {
            self.graphs().for_each(|linked| linked.forget(id));
        }
        if self.flat.is_empty() {
            // The next vector may be of another dimension; it must not meet the tombstones.
            (self.serving, self.growing) = (None, None);
        }
        removed
    }

    fn search(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Vec<Neighbour> {
        let query = self.flat.unit_query(query, k);
        query.map_or_else(Vec::new, |query| self.nearest(&query, k, alive).into_vec())
    }

    fn len(&self) -> usize {
        self.flat.len()
    }

    fn kind(&self) -> &'static str {
        if self.serving.is_some() { "hnsw" } else { "flat" }
    }

    fn vector_bytes(&self, dimension: usize) -> usize {
        // The graph has a copy of the vector beside its links.
        let linked = if self.flat.len() >= self.from { dimension * size_of::<f32>() + LINK_BYTES } else { 0 };
        self.flat.vector_bytes(dimension) + linked
    }

    fn has_work(&self) -> bool {
        let waits = |linked: &Linked| !linked.waiting.is_empty();
        self.growing.is_some()
            || self.is_graph_due()
            || self.serving.as_ref().is_some_and(|serving| waits(serving) || self.is_too_small())
    }

    fn advance(&mut self, done: Option<Done>) -> Next {
        if let Some(Done(work)) = done {
            let is_its = |linked: &Linked| Arc::ptr_eq(&linked.graph, &work.graph);
            let linked = self.serving.iter_mut().chain(&mut self.growing).find(|linked| is_its(linked));
            if let Some(linked) = linked {
                linked.adopt(work, &self.flat);
            }
        }
        if self.is_too_small() {
            let retired = self.growing.take().or_else(|| self.serving.take()).map(Retired);
            return Next { work: None, retired };
        }
        if self.is_graph_due() {
            self.growing = Some(Linked::new(self.flat.ids()));
        }
        let retired = match self.growing.take_if(|growing| growing.waiting.len() <= BATCH) {
            Some(grown) => self.serving.replace(grown).map(Retired),
            None => None,
        };
        let flat = &self.flat;
        let work = self.growing.iter_mut().chain(&mut self.serving).find_map(|linked| linked.work(flat));
        Next { work, retired }
    }
}
