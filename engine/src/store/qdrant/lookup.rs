//! Reading: entries by their keys, and what lies around a vector. Each within the deadline of a lookup.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use qdrant_client::QdrantError;
use qdrant_client::qdrant::with_payload_selector::SelectorOptions;
use qdrant_client::qdrant::{
    Condition, Filter, GetPoints, PayloadExcludeSelector, QuantizationSearchParams, Query, QueryBatchPoints,
    QueryPoints, RetrievedPoint, ScoredPoint, SearchParams, WithPayloadSelector,
};

use super::collection::{everything, said};
use super::pending::Waiting;
use super::points::{self, KeptCluster, field, kind};
use super::{Core, Quantisation, SharedStore, Unavailable, lock};
use crate::entry::Entry;
use crate::partition::{ExactKey, PartitionKey};
use crate::store::{Cluster, Known, Near};

/// Entries of one normalised form that are looked at, to find the latest.
const FORMS: u64 = 16;

/// What lies around a vector in the collection and in what waits to be written to it.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// Nearest first.
    pub(crate) near: Vec<Near>,
    /// The answers that they have.
    pub(crate) known: Vec<Known>,
}

impl SharedStore {
    /// The entries under these keys of the partition, exact or of a normalised form, that are alive.
    pub(crate) async fn find(
        &self,
        partition: PartitionKey,
        keys: Vec<ExactKey>,
    ) -> Result<Vec<Arc<Entry>>, Unavailable> {
        self.within_deadline(move |core| async move { core.find(&partition, &keys).await }).await
    }

    /// What lies around the vector: up to `k` living prompts of the partition.
    pub(crate) async fn around(
        &self,
        partition: PartitionKey,
        vector: Vec<f32>,
        k: usize,
    ) -> Result<Surroundings, Unavailable> {
        self.within_deadline(move |core| async move { core.around(&partition, vector, k).await }).await
    }

    async fn within_deadline<T, F>(&self, read: impl FnOnce(Arc<Core>) -> F) -> Result<T, Unavailable>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, QdrantError>> + Send + 'static,
    {
        if !self.is_ready() {
            return Err(Unavailable);
        }
        let core = Arc::clone(&self.core);
        let reading = read(Arc::clone(&core));
        let done = self.run(async move {
            let patience = core.config.timeout;
            match tokio::time::timeout(patience, reading).await {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => {
                    core.health.trip(&said(&error));
                    Err(Unavailable)
                }
                Err(_) => {
                    core.health.trip(&format!("a lookup took longer than {patience:?}"));
                    Err(Unavailable)
                }
            }
        });
        done.await.unwrap_or(Err(Unavailable))
    }
}

impl Core {
    /// One search of the kind that lookups make, to see whether the server is up to it.
    pub(super) async fn probe(&self) -> Result<(), QdrantError> {
        let nobody = PartitionKey::kept([0; 32]);
        let mut vector = vec![0.0; self.space.dimension];
        vector.iter_mut().take(1).for_each(|x| *x = 1.0);
        self.query(vec![self.nearest(&nobody, vector, 1)]).await.map(drop)
    }

    async fn query(&self, queries: Vec<QueryPoints>) -> Result<Vec<Vec<ScoredPoint>>, QdrantError> {
        let collection_name = self.config.collection.clone();
        let batch =
            QueryBatchPoints { collection_name, query_points: queries, ..QueryBatchPoints::default() };
        let answer = self.client.query_batch(batch).await?;
        Ok(answer.result.into_iter().map(|batch| batch.result).collect())
    }

    pub(super) async fn get(
        &self,
        ids: Vec<qdrant_client::qdrant::PointId>,
    ) -> Result<Vec<RetrievedPoint>, QdrantError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let request = GetPoints {
            collection_name: self.config.collection.clone(),
            ids,
            with_payload: Some(everything()),
            ..GetPoints::default()
        };
        Ok(self.client.get_points(request).await?.result)
    }

    /// The clusters of these numbers that are there.
    pub(super) async fn clusters(&self, ids: &[u64]) -> Result<HashMap<u64, KeptCluster>, QdrantError> {
        let found = self.get(ids.iter().map(|id| points::cluster_id(*id)).collect()).await?;
        let read = |point: RetrievedPoint| {
            Some((points::number_of(&point.id?)?, points::read_cluster(&point.payload)?))
        };
        Ok(found.into_iter().filter_map(read).collect())
    }

    fn plain(&self, filter: Filter, limit: u64) -> QueryPoints {
        QueryPoints {
            collection_name: self.config.collection.clone(),
            filter: Some(filter),
            limit: Some(limit),
            with_payload: Some(everything()),
            ..QueryPoints::default()
        }
    }

    async fn find(
        &self,
        partition: &PartitionKey,
        keys: &[ExactKey],
    ) -> Result<Vec<Arc<Entry>>, QdrantError> {
        let now = self.clock.now();
        let waiting: Vec<Arc<Entry>> = {
            let pending = lock(&self.pending);
            keys.iter().filter_map(|key| pending.find(partition, key)).collect()
        };
        let of = points::hex(partition.bytes());
        let query = |key: &ExactKey| {
            let name = points::hex(key.bytes());
            let either = Filter::should([
                Condition::has_id([points::entry_id(key)]),
                points::is(field::NORMALISED, &name),
            ]);
            let must = [
                points::is(field::KIND, kind::ENTRY),
                points::is(field::PARTITION, &of),
                points::alive(now),
                either.into(),
            ];
            self.plain(points::all(must), FORMS)
        };
        let found = self.query(keys.iter().map(query).collect()).await?;
        let mut entries: Vec<Entry> =
            found.into_iter().flatten().filter_map(|point| points::read_entry(&point.payload)).collect();
        entries.retain(|entry| {
            let is_asked = keys.iter().any(|key| entry.exact == *key || entry.normalised == Some(*key));
            is_asked && entry.partition == *partition && waiting.iter().all(|w| w.exact != entry.exact)
        });
        let with_answers = self.with_answers(entries).await?;
        // The latest under a key comes last, so that it is the one that counts.
        let mut all: Vec<Arc<Entry>> = with_answers.into_iter().chain(waiting).collect();
        all.retain(|entry| !entry.is_expired_at(now));
        all.sort_by_key(|entry| entry.created);
        Ok(all)
    }

    /// The entries whose answers are there, with them.
    pub(super) async fn with_answers(&self, entries: Vec<Entry>) -> Result<Vec<Arc<Entry>>, QdrantError> {
        let ids: HashSet<u64> = entries.iter().map(|entry| entry.cluster).collect();
        let clusters = self.clusters(&ids.into_iter().collect::<Vec<_>>()).await?;
        let full = |mut entry: Entry| {
            let cluster =
                clusters.get(&entry.cluster).filter(|cluster| cluster.partition == entry.partition)?;
            entry.answer = Arc::clone(&cluster.answer);
            entry.weight = u32::try_from(entry.answer.payload.len() + entry.note.len() + 1024).ok()?;
            Some(Arc::new(entry))
        };
        Ok(entries.into_iter().filter_map(full).collect())
    }

    fn nearest(&self, partition: &PartitionKey, vector: Vec<f32>, k: usize) -> QueryPoints {
        let must =
            [points::is(field::PARTITION, points::hex(partition.bytes())), points::alive(self.clock.now())];
        let quantization =
            (self.config.quantisation != Quantisation::None).then(|| QuantizationSearchParams {
                rescore: Some(true),
                oversampling: Some(3.0),
                ..QuantizationSearchParams::default()
            });
        // Nobody searches by them here, and they may be long.
        let fields = vec![field::TAGS.to_owned(), field::NOTE.to_owned()];
        let selector = SelectorOptions::Exclude(PayloadExcludeSelector { fields });
        QueryPoints {
            query: Some(Query::new_nearest(vector)),
            using: Some(points::PROMPT.to_owned()),
            params: Some(SearchParams { quantization, ..SearchParams::default() }),
            with_payload: Some(WithPayloadSelector { selector_options: Some(selector) }),
            ..self.plain(points::all(must), k as u64)
        }
    }

    async fn around(
        &self,
        partition: &PartitionKey,
        vector: Vec<f32>,
        k: usize,
    ) -> Result<Surroundings, QdrantError> {
        let now = self.clock.now();
        // Before the search: what arrives meanwhile is found by one or by both.
        let waiting = lock(&self.pending).around(partition, &vector, now);
        let found = self.query(vec![self.nearest(partition, vector.clone(), k)]).await?;
        let found: Vec<(f32, Entry)> = found
            .into_iter()
            .flatten()
            .filter_map(|point| Some((point.score, points::read_entry(&point.payload)?)))
            .filter(|(_, entry)| entry.partition == *partition && !waiting.replaced.contains(&entry.exact))
            .collect();
        let ids: HashSet<u64> = found
            .iter()
            .map(|(_, entry)| entry.cluster)
            .chain(waiting.near.iter().map(|near| near.entry.cluster))
            .collect();
        let clusters = self.clusters(&ids.into_iter().collect::<Vec<_>>()).await?;
        Ok(self.merged(&vector, found, &clusters, waiting, k))
    }

    /// What was found and what waits, as one.
    fn merged(
        &self,
        vector: &[f32],
        found: Vec<(f32, Entry)>,
        clusters: &HashMap<u64, KeptCluster>,
        waiting: Waiting,
        k: usize,
    ) -> Surroundings {
        let full = |(similarity, mut entry): (f32, Entry)| {
            let cluster =
                clusters.get(&entry.cluster).filter(|cluster| cluster.partition == entry.partition)?;
            entry.answer = Arc::clone(&cluster.answer);
            Some(Near { similarity, entry: Arc::new(entry) })
        };
        let mut near: Vec<Near> = found.into_iter().filter_map(full).chain(waiting.near).collect();
        near.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        near.truncate(k);
        let mut known: Vec<Known> = Vec::new();
        for entry in near.iter().map(|near| &near.entry) {
            if known.iter().any(|known| known.facts.id == entry.cluster) {
                continue;
            }
            let mut cluster = clusters.get(&entry.cluster).map(|kept| kept.state.clone());
            let stale = |confirmed, doubt| self.learning.stale(&entry.partition, confirmed, doubt);
            for change in waiting.changes.get(&entry.cluster).into_iter().flatten() {
                change.apply(&mut cluster, &stale);
            }
            known.extend(
                cluster
                    .filter(|c| c.dimension() == vector.len())
                    .map(|cluster| of(&cluster, entry.cluster, vector)),
            );
        }
        Surroundings { near, known }
    }
}

fn of(cluster: &Cluster, id: u64, vector: &[f32]) -> Known {
    Known {
        facts: cluster.facts(id, vector),
        confirmed: cluster.confirmed,
        doubt: cluster.doubt,
        labels: cluster.labels.clone(),
    }
}
