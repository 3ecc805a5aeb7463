//! Removing: what is chosen by an operator, and what has expired.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use qdrant_client::QdrantError;
use qdrant_client::qdrant::{
    CountPoints, DeletePoints, Filter, PointsSelector, ScrollPoints, points_selector,
};

use super::collection::{everything, said};
use super::points::{self, field, kind};
use super::{Change, Core, SharedStore, Unavailable};
use crate::entry::Entry;

/// Points that are read at once.
const PAGE: u32 = 512;
/// How often what has expired is removed, and entries are counted.
const EVERY: Duration = Duration::from_secs(60);
/// The longest that an operator waits.
const PATIENCE: Duration = Duration::from_secs(30);

impl SharedStore {
    /// Forgets the entries that have one of these tags, or all if there are none, or only counts them; says how many.
    pub(crate) async fn forget(&self, tag: Option<String>, dry_run: bool) -> Result<u64, Unavailable> {
        self.for_operator(move |core| async move { core.forget(tag, dry_run).await }).await
    }

    /// All living entries, with their answers. Reads the whole collection.
    pub(crate) async fn entries(&self) -> Result<Vec<Arc<Entry>>, Unavailable> {
        self.for_operator(|core| async move { core.entries().await }).await
    }

    async fn for_operator<T, F>(
        &self,
        task: impl FnOnce(Arc<Core>) -> F + Send + 'static,
    ) -> Result<T, Unavailable>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, QdrantError>> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        let done = self.run(async move {
            let all = async {
                // What was stored before is to be seen.
                core.flushed().await;
                task(Arc::clone(&core)).await
            };
            match tokio::time::timeout(PATIENCE, all).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(error)) => {
                    tracing::warn!(why = said(&error), "Qdrant did not do what an operator asked for");
                    Err(Unavailable)
                }
                Err(_) => Err(Unavailable),
            }
        });
        done.await.unwrap_or(Err(Unavailable))
    }
}

impl Core {
    pub(super) async fn delete(&self, filter: Filter) -> Result<(), QdrantError> {
        let points = PointsSelector {
            points_selector_one_of: Some(points_selector::PointsSelectorOneOf::Filter(filter)),
        };
        let request = DeletePoints {
            collection_name: self.config.collection.clone(),
            wait: Some(true),
            points: Some(points),
            ..DeletePoints::default()
        };
        self.client.delete_points(request).await.map(drop)
    }

    async fn count(&self, filter: Filter) -> Result<u64, QdrantError> {
        let request = CountPoints {
            collection_name: self.config.collection.clone(),
            filter: Some(filter),
            exact: Some(true),
            ..CountPoints::default()
        };
        Ok(self.client.count(request).await?.result.map_or(0, |counted| counted.count))
    }

    /// The payloads of all points that the filter lets through.
    pub(super) async fn scroll(&self, filter: Filter) -> Result<Vec<points::Payload>, QdrantError> {
        let (mut all, mut offset) = (Vec::new(), None);
        loop {
            let request = ScrollPoints {
                collection_name: self.config.collection.clone(),
                filter: Some(filter.clone()),
                offset,
                limit: Some(PAGE),
                with_payload: Some(everything()),
                ..ScrollPoints::default()
            };
            let page = self.client.scroll(request).await?;
            all.extend(page.result.into_iter().map(|point| point.payload));
            offset = page.next_page_offset;
            if offset.is_none() {
                return Ok(all);
            }
        }
    }

    async fn forget(&self, tag: Option<String>, dry_run: bool) -> Result<u64, QdrantError> {
        let mut chosen =
            Filter::must([points::is(field::KIND, kind::ENTRY), points::alive(self.clock.now())]);
        chosen.must.extend(tag.map(|tag| points::is(field::TAGS, tag)));
        if dry_run {
            return self.count(chosen).await;
        }
        let payloads = self.scroll(chosen.clone()).await?;
        self.delete(chosen).await?;
        self.left(&payloads);
        Ok(payloads.len() as u64)
    }

    /// Prompts are gone: their answers' states are to know.
    fn left(&self, payloads: &[points::Payload]) {
        for payload in payloads.iter().filter(|payload| payload.contains_key(field::PROFILE)) {
            let read = points::get_number(payload, field::CLUSTER).zip(points::read_partition(payload));
            let Some((cluster, partition)) = read else { continue };
            self.enqueue(super::Write { partition, cluster, entry: None, change: Some(Change::Left(1)) });
        }
    }

    async fn entries(&self) -> Result<Vec<Arc<Entry>>, QdrantError> {
        let chosen = Filter::must([points::is(field::KIND, kind::ENTRY), points::alive(self.clock.now())]);
        let found: Vec<Entry> = self.scroll(chosen).await?.iter().filter_map(points::read_entry).collect();
        let mut entries = Vec::with_capacity(found.len());
        let mut found = found.into_iter().peekable();
        while found.peek().is_some() {
            entries.extend(self.with_answers(found.by_ref().take(PAGE as usize).collect()).await?);
        }
        Ok(entries)
    }

    /// Removes what has expired, whatever it is, and counts what is there.
    pub(super) async fn sweep(&self) -> Result<(), QdrantError> {
        let gone = Filter::must([points::expired(self.clock.now())]);
        let mut prompts = gone.clone();
        prompts.must.push(points::is(field::KIND, kind::ENTRY));
        let payloads = self.scroll(prompts).await?;
        self.delete(gone).await?;
        self.left(&payloads);
        let entries = self.count(Filter::must([points::is(field::KIND, kind::ENTRY)])).await?;
        self.entries.store(entries, Ordering::Relaxed);
        Ok(())
    }
}

/// The sweeper's life. Instances don't sweep at the same time, so that each prompt that goes is counted once.
pub(super) async fn sweep(core: Arc<Core>) {
    loop {
        if core.health.is_up()
            && let Err(error) = core.sweep().await
        {
            tracing::debug!(why = said(&error), "what has expired stays in Qdrant for another while");
        }
        tokio::time::sleep(EVERY.mul_f64(0.5 + fastrand::f64())).await;
    }
}
