//! The graph: hierarchical navigable small world (Malkov & Yashunin, arXiv 1603.09320), as built by `hnsw_rs`.
//!
//! The library's graph can only grow. So a removed vector stays in it as a tombstone that searches skip, and once more
//! than a quarter is dead the graph is abandoned and grown anew. Growing costs about as much per vector as computing the
//! vector did; it is therefore spread over later inserts: vectors wait in a flat index, which is searched as well, until
//! their turn comes.

use std::collections::HashMap;

use hnsw_rs::prelude::{Distance, Hnsw};

use super::flat::FlatIndex;
use super::vector::{Nearest, dot, unit};
use super::{Neighbour, VectorIndex};

/// Links per vector and layer.
const LINKS: usize = 16;
/// Layers at most; the library's own limit.
const LAYERS: usize = 16;
/// Candidates looked at when a vector is linked in.
const EF_CONSTRUCTION: usize = 200;
/// Candidates looked at in a search: recall@1 ≥ .99 at 10,000 to 100,000 sentence vectors.
const EF_SEARCH: usize = 64;
/// Candidates looked at when the first attempt found too few that were alive.
const EF_RETRY: usize = 512;
/// Asked for beyond `k` and its share of tombstones, because the dead are not spread evenly.
const SPARE: usize = 8;
/// Vectors moved into the graph per insert. More than one, so that the waiting room empties while entries arrive.
const MOVES_PER_INSERT: usize = 2;
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

fn new_graph(expected: usize) -> Graph {
    Graph::new(LINKS, expected, LAYERS, EF_CONSTRUCTION, OneMinusDot)
}

/// A graph, and the vectors that wait to be taken into it.
pub struct HnswIndex {
    graph: Graph,
    dimension: usize,
    /// Whose vector a node of the graph is; `None` for a tombstone. Nodes are numbered as they were inserted.
    owners: Vec<Option<u64>>,
    /// The living nodes.
    nodes: HashMap<u64, usize>,
    waiting: FlatIndex,
}

impl Default for HnswIndex {
    fn default() -> Self {
        Self::from(FlatIndex::default())
    }
}

impl From<FlatIndex> for HnswIndex {
    /// A graph for these vectors. It takes no time: all of them wait.
    fn from(waiting: FlatIndex) -> Self {
        Self {
            graph: new_graph(waiting.len()),
            dimension: waiting.dimension().unwrap_or_default(),
            owners: Vec::new(),
            nodes: HashMap::new(),
            waiting,
        }
    }
}

impl HnswIndex {
    /// Gives the graph up and takes all living vectors into the waiting room.
    fn fell(&mut self) {
        for layer in 0..self.graph.get_max_level() {
            for point in self.graph.get_point_indexation().get_layer_iterator(layer) {
                if let Some(id) = self.owners[point.get_origin_id()] {
                    self.waiting.insert_unit(id, point.get_v());
                }
            }
        }
        self.graph = new_graph(self.waiting.len());
        self.owners.clear();
        self.nodes.clear();
    }

    /// The vectors without the graph.
    pub(super) fn into_flat(mut self) -> FlatIndex {
        self.fell();
        self.waiting
    }

    /// Offers what the graph finds with `width` candidates.
    fn offer_graph(&self, query: &[f32], width: usize, nearest: &mut Nearest, alive: &dyn Fn(u64) -> bool) {
        for found in self.graph.search(query, width, width) {
            let similarity = 1.0 - found.distance;
            if let Some(id) = self.owners[found.d_id]
                && nearest.wants(similarity)
                && alive(id)
            {
                nearest.offer(id, similarity);
            }
        }
    }

    /// Offers every living vector of the graph: what remains when tombstones and dead ids hide the rest.
    fn offer_all(&self, query: &[f32], nearest: &mut Nearest, alive: &dyn Fn(u64) -> bool) {
        for layer in 0..self.graph.get_max_level() {
            for point in self.graph.get_point_indexation().get_layer_iterator(layer) {
                if let Some(id) = self.owners[point.get_origin_id()] {
                    let similarity = dot(query, point.get_v());
                    if nearest.wants(similarity) && alive(id) {
                        nearest.offer(id, similarity);
                    }
                }
            }
        }
    }

    /// The `k` best of the graph alone. More are asked for than wanted, to make up for the dead.
    fn search_graph(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Nearest {
        let wanted = k.min(self.nodes.len());
        let mut nearest = Nearest::new(k);
        if wanted == 0 {
            return nearest;
        }
        let asked = (wanted * self.owners.len()).div_ceil(self.nodes.len()) + SPARE;
        for width in [asked.max(EF_SEARCH), asked.max(EF_RETRY)] {
            // A search nearly as wide as the graph costs more than looking at everything.
            if width * 2 > self.owners.len() {
                break;
            }
            nearest = Nearest::new(k);
            self.offer_graph(query, width, &mut nearest, alive);
            if nearest.len() >= wanted {
                return nearest;
            }
        }
        nearest = Nearest::new(k);
        self.offer_all(query, &mut nearest, alive);
        nearest
    }
}

impl VectorIndex for HnswIndex {
    fn insert(&mut self, id: u64, vector: &[f32]) -> bool {
        let Some(vector) = unit(vector) else { return false };
        if self.is_empty() {
            // Nothing alive is left: tombstones of another dimension must not be compared with the new vectors.
            self.fell();
            self.dimension = vector.len();
        } else if self.dimension != vector.len() {
            return false;
        }
        self.remove(id);
        self.waiting.insert_unit(id, &vector);
        self.maintain(MOVES_PER_INSERT);
        true
    }

    fn remove(&mut self, id: u64) -> bool {
        if self.waiting.remove(id) {
            return true;
        }
        let Some(node) = self.nodes.remove(&id) else { return false };
        self.owners[node] = None;
        let dead = self.owners.len() - self.nodes.len();
        if dead * 4 > self.owners.len() {
            self.fell();
        }
        true
    }

    fn search(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Vec<Neighbour> {
        if k == 0 || self.is_empty() || self.dimension != query.len() {
            return Vec::new();
        }
        let Some(query) = unit(query) else { return Vec::new() };
        let mut nearest = self.search_graph(&query, k, alive);
        self.waiting.scan(&query, &mut nearest, alive);
        nearest.into_vec()
    }

    fn len(&self) -> usize {
        self.nodes.len() + self.waiting.len()
    }

    fn kind(&self) -> &'static str {
        "hnsw"
    }

    fn vector_bytes(&self, dimension: usize) -> usize {
        self.waiting.vector_bytes(dimension) + LINK_BYTES
    }

    fn maintain(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            let Some((id, vector)) = self.waiting.pop() else { break };
            let node = self.owners.len();
            self.graph.insert((&vector, node));
            self.owners.push(Some(id));
            self.nodes.insert(id, node);
        }
        !self.waiting.is_empty()
    }
}
