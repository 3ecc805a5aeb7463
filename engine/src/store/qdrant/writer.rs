//! Writing: in batches, in order, again and again until it has arrived.
//!
//! An answer's state may be changed by several instances at once. So a change is applied to what is there, and written on the
//! condition that nobody wrote meanwhile; who loses reads again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use qdrant_client::QdrantError;
use qdrant_client::qdrant::{Condition, Filter, PointStruct, UpdateMode, UpsertPoints};

use super::pending::Write;
use super::points::{self, KeptCluster, field, kind};
use super::{Core, lock};
use crate::entry::Answer;
use crate::partition::PartitionKey;
use crate::store::{Change, Cluster};

/// How long a batch waits for company.
const LINGER: Duration = Duration::from_millis(3);
/// Pauses after a batch that failed.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// How often changes of one answer are tried against others that come at the same time.
const TRIES: usize = 16;
/// Writes of an answer that are remembered: as many as may come between one and the look whether it arrived.
const WRITES: usize = 32;

/// The writer's life.
pub(super) async fn write_on(core: Arc<Core>) {
    let mut pause = SHORTEST;
    loop {
        let waiting = core.wake.notified();
        let batch = lock(&core.pending).first(1);
        if batch.is_empty() {
            waiting.await;
            continue;
        }
        if !core.health.is_up() {
            let changed = core.health.changed.notified();
            if !core.health.is_up() {
                drop(tokio::time::timeout(Duration::from_secs(1), changed).await);
                continue;
            }
        }
        if lock(&core.pending).len() < core.config.write_batch {
            tokio::time::sleep(LINGER).await;
        }
        let batch = lock(&core.pending).first(core.config.write_batch);
        match core.write(&batch).await {
            Ok(()) => {
                pause = SHORTEST;
                lock(&core.pending).finish(batch.len());
                core.written.notify_waiters();
            }
            Err(error) => {
                core.retried.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(why = super::collection::said(&error), "a batch is sent to Qdrant again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
}

/// What happens to one answer in a batch.
struct Changed<'a> {
    partition: PartitionKey,
    /// Of its entries in the batch, which all have the same.
    answer: Option<Arc<Answer>>,
    expires_ms: u64,
    changes: Vec<&'a Change>,
}

/// Whether the answer of a single entry that had no vector was replaced.
fn is_over(kept: &KeptCluster, change: &Changed<'_>) -> bool {
    kept.state.dimension() == 0 && matches!(change.changes.last(), Some(Change::Left(_)))
}

impl Core {
    /// Writes a batch. Doing so again changes nothing but counts, should the first answer have been lost.
    async fn write(&self, batch: &[Arc<Write>]) -> Result<(), QdrantError> {
        let mut entries: HashMap<_, PointStruct> = HashMap::new();
        let mut clusters: HashMap<u64, Changed<'_>> = HashMap::new();
        for write in batch {
            let changed = clusters.entry(write.cluster).or_insert_with(|| Changed {
                partition: write.partition,
                answer: None,
                expires_ms: 0,
                changes: Vec::new(),
            });
            changed.changes.extend(&write.change);
            if let Some((entry, vector)) = &write.entry {
                // Of several under one key the last one counts.
                entries.insert(entry.exact, points::entry(entry, vector.as_deref()));
                changed.answer = Some(Arc::clone(&entry.answer));
                changed.expires_ms = changed.expires_ms.max(points::millis(entry.expires_at));
            }
        }
        // Answers before the entries that lead to them.
        self.write_clusters(clusters).await?;
        self.upsert(entries.into_values().collect(), None, UpdateMode::Upsert).await
    }

    pub(super) async fn upsert(
        &self,
        points: Vec<PointStruct>,
        only: Option<Filter>,
        mode: UpdateMode,
    ) -> Result<(), QdrantError> {
        if points.is_empty() {
            return Ok(());
        }
        let request = UpsertPoints {
            collection_name: self.config.collection.clone(),
            wait: Some(true),
            points,
            update_filter: only,
            update_mode: Some(mode.into()),
            ..UpsertPoints::default()
        };
        self.client.upsert_points(request).await.map(drop)
    }

    async fn write_clusters(&self, mut left: HashMap<u64, Changed<'_>>) -> Result<(), QdrantError> {
        let write = format!("{:016x}", fastrand::u64(..));
        for _ in 0..TRIES {
            let ids: Vec<u64> = left.keys().copied().collect();
            let mut there = self.clusters(&ids).await?;
            // What this very batch wrote in an earlier try has arrived.
            left.retain(|id, _| there.get(id).is_none_or(|kept| !kept.writes.contains(&write)));
            if left.is_empty() {
                return Ok(());
            }
            let (mut new, mut changed, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
            let (mut refuted, mut empty) = (Vec::new(), Vec::new());
            for (id, change) in &left {
                let kept = there.remove(id).filter(|kept| kept.partition == change.partition);
                let version = kept.as_ref().map(|kept| kept.version);
                let (kept, stale) = self.applied(kept, change, &write);
                match (kept, version) {
                    // Nothing is left to change.
                    (None, _) => {}
                    (Some(_), Some(_)) if stale => refuted.push((*id, change.partition)),
                    (Some(kept), Some(_)) if is_over(&kept, change) => empty.push(*id),
                    (Some(kept), None) => new.push(points::cluster(*id, &kept)),
                    (Some(kept), Some(version)) => {
                        let same = [
                            Condition::has_id([points::cluster_id(*id)]),
                            points::equals(field::VERSION, version),
                        ];
                        unchanged.push(Filter::must(same).into());
                        changed.push(points::cluster(*id, &kept));
                    }
                }
            }
            if !empty.is_empty() {
                self.delete(Filter::must([Condition::has_id(
                    empty.iter().map(|id| points::cluster_id(*id)),
                )]))
                .await?;
                left.retain(|id, _| !empty.contains(id));
            }
            for (id, partition) in refuted {
                self.remove_answer(&partition, id).await?;
                left.remove(&id);
            }
            if new.is_empty() && changed.is_empty() {
                return Ok(());
            }
            let nobody = Filter::must([points::is(field::KIND, "none")]);
            self.upsert(new, Some(nobody), UpdateMode::InsertOnly).await?;
            self.upsert(changed, Some(Filter::should(unchanged)), UpdateMode::UpdateOnly).await?;
        }
        tracing::debug!(
            answers = left.len(),
            "others changed the same answers again and again: changes are lost"
        );
        Ok(())
    }

    /// The answer's state with the changes, and whether it is out of date by now.
    fn applied(
        &self,
        kept: Option<KeptCluster>,
        change: &Changed<'_>,
        write: &str,
    ) -> (Option<KeptCluster>, bool) {
        let (version, expires_ms) = kept.as_ref().map_or((0, 0), |kept| (kept.version, kept.expires_ms));
        let answer = kept.as_ref().map(|kept| Arc::clone(&kept.answer)).or_else(|| change.answer.clone());
        let (mut state, mut writes) =
            kept.map_or_else(Default::default, |kept| (Some(kept.state), kept.writes));
        writes.drain(..(writes.len() + 1).saturating_sub(WRITES));
        writes.push(write.to_owned());
        let mut refuted = false;
        let stale = |confirmed, doubt| self.learning.stale(&change.partition, confirmed, doubt);
        for one in &change.changes {
            let heard = one.apply(&mut state, &stale);
            refuted = heard.is_some_and(|stale| self.learning.is_refuted(stale));
        }
        // An entry without a vector leaves the state as it is, but its answer has to be there.
        let state = state.or_else(|| change.answer.as_ref().map(|_| Cluster::default()));
        let kept = state.zip(answer).map(|(state, answer)| KeptCluster {
            partition: change.partition,
            answer,
            state,
            expires_ms: expires_ms.max(change.expires_ms),
            version: version + 1,
            writes,
        });
        (kept, refuted)
    }

    /// An answer is out of date: it goes, with all prompts that have it.
    async fn remove_answer(&self, partition: &PartitionKey, cluster: u64) -> Result<(), QdrantError> {
        self.learning.forget(cluster);
        let own = points::is(field::CLUSTER, cluster.to_string());
        let of = points::is(field::PARTITION, points::hex(partition.bytes()));
        self.delete(Filter::must([points::is(field::KIND, kind::ENTRY), of, own])).await?;
        self.delete(Filter::must([Condition::has_id([points::cluster_id(cluster)])])).await
    }
}
