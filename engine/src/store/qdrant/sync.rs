//! Staying connected, and exchanging what is learnt with the other instances.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use qdrant_client::QdrantError;
use qdrant_client::qdrant::{Condition, Filter, UpdateMode};

use super::collection::{PATIENCE, Trouble, ensure, said};
use super::feed::{Clock, Event, Segment};
use super::points::{self, field, kind};
use super::{Core, lock};

/// How often what happened is told and heard.
const EVERY: Duration = Duration::from_millis(200);
/// How long segments stay: longer than the time between two snapshots.
const SEGMENT_LIFE: Duration = Duration::from_secs(600);
/// How often what was learnt is written, and how long it stays where nobody asks any more.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(30);
const SNAPSHOT_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The name of what all partitions have learnt together.
const POOL: &str = "pool";
/// Segments of one instance that are worth reading: older ones have expired, or nearly.
const LATEST: u64 = 3000;
/// Segments that are read at once.
const PAGE: u64 = 64;

impl Core {
    /// Looks whether the server is there and up to a lookup, and the collection the right one.
    pub(super) async fn reach(&self) -> Result<(), Trouble> {
        ensure(&self.client, &self.config, &self.space).await?;
        match tokio::time::timeout(self.config.timeout, self.probe()).await {
            Ok(probed) => probed.map_err(Trouble::from)?,
            Err(_) => {
                let why = format!("a lookup took longer than {:?}", self.config.timeout);
                return Err(Trouble::Unreachable(why));
            }
        }
        if !self.caught_up.load(Ordering::Acquire) {
            self.catch_up().await?;
            self.caught_up.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Takes up what others have learnt.
    async fn catch_up(&self) -> Result<(), QdrantError> {
        let mut read = Clock::new();
        for payload in self.scroll(points::all([points::is(field::KIND, kind::LEARNT)])).await? {
            let Some(snapshot) = points::get_text(&payload, field::STATE) else { continue };
            self.learning.take_up(points::read_partition(&payload).as_ref(), snapshot);
            let clock = points::get_text(&payload, field::CLOCK)
                .and_then(|clock| serde_json::from_str::<Clock>(clock).ok());
            for (origin, next) in clock.unwrap_or_default() {
                let known = read.entry(origin).or_insert(next);
                *known = (*known).max(next);
            }
        }
        // Of an instance that no snapshot knows, all that is still there is news.
        *lock(&self.read) = read;
        Ok(())
    }

    /// Tells what happened here since the last time.
    async fn tell(&self) -> Result<(), QdrantError> {
        let segment = {
            let mut outbox = lock(&self.outbox);
            if outbox.is_empty() {
                return Ok(());
            }
            outbox.take()
        };
        let count: usize = segment.0.iter().map(|(_, events)| events.len()).sum();
        let Ok(events) = serde_json::to_string(&segment) else { return Ok(()) };
        let number = lock(&self.read).get(&self.origin).copied().unwrap_or(0);
        let expires = points::whole(points::millis(self.clock.now() + SEGMENT_LIFE));
        let name = segment_name(&self.origin, number);
        let payload = points::payload([
            (field::KIND, points::text(kind::FEED)),
            (field::NUMBER, points::whole(number)),
            (field::EVENTS, points::text(events)),
            (field::EXPIRES, expires.clone()),
        ]);
        let segment = points::point(points::named_id(kind::FEED, &name), payload, None);
        let payload = points::payload([
            (field::KIND, points::text(kind::INSTANCE)),
            (field::ORIGIN, points::text(&self.origin)),
            (field::HEAD, points::whole(number + 1)),
            (field::EXPIRES, expires),
        ]);
        let head = points::point(points::named_id(kind::INSTANCE, &self.origin), payload, None);
        // The number is used up in any case: a segment that was lost on the way is passed over.
        lock(&self.read).insert(self.origin.clone(), number + 1);
        self.upsert(vec![segment, head], None, UpdateMode::Upsert).await?;
        self.told.fetch_add(count as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Hears what happened elsewhere.
    async fn hear(&self) -> Result<(), QdrantError> {
        let others = Filter {
            must: vec![points::is(field::KIND, kind::INSTANCE)],
            must_not: vec![Condition::has_id([points::named_id(kind::INSTANCE, &self.origin)])],
            ..Filter::default()
        };
        for payload in self.scroll(others).await? {
            let head =
                points::get_text(&payload, field::ORIGIN).zip(points::get_whole(&payload, field::HEAD));
            let Some((origin, head)) = head else { continue };
            let mut next =
                lock(&self.read).get(origin).copied().unwrap_or(0).max(head.saturating_sub(LATEST));
            while next < head {
                let end = head.min(next + PAGE);
                self.hear_segments(origin, next..end).await?;
                lock(&self.read).insert(origin.to_owned(), end);
                next = end;
            }
        }
        Ok(())
    }

    async fn hear_segments(&self, origin: &str, numbers: std::ops::Range<u64>) -> Result<(), QdrantError> {
        let ids: Vec<_> =
            numbers.map(|number| points::named_id(kind::FEED, &segment_name(origin, number))).collect();
        let mut found = self.get(ids).await?;
        found.sort_by_key(|point| points::get_whole(&point.payload, field::NUMBER));
        for point in found {
            let events = points::get_text(&point.payload, field::EVENTS);
            let Some(Segment(partitions)) = events.and_then(|events| serde_json::from_str(events).ok())
            else {
                continue;
            };
            for (partition, events) in &partitions {
                for event in events {
                    if let Event::Stored(words) = event {
                        lock(&self.views).entry(*partition).or_default().count(words.iter().copied());
                    }
                    self.learning.hear(partition, event);
                }
                self.heard.fetch_add(events.len() as u64, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Writes what was learnt, for instances that come later.
    async fn keep_learnt(&self, written: &mut HashMap<String, u64>) -> Result<(), QdrantError> {
        let Ok(clock) = serde_json::to_string(&*lock(&self.read)) else { return Ok(()) };
        let expires = points::whole(points::millis(self.clock.now() + SNAPSHOT_LIFE));
        let mut batch = Vec::new();
        for (partition, version, state) in self.learning.snapshots() {
            let of = partition.map(|partition| points::hex(partition.bytes()));
            let name = of.clone().unwrap_or_else(|| POOL.to_owned());
            if written.insert(name.clone(), version) == Some(version) {
                continue;
            }
            let mut payload = points::payload([
                (field::KIND, points::text(kind::LEARNT)),
                (field::STATE, points::text(state)),
                (field::CLOCK, points::text(&clock)),
                (field::EXPIRES, expires.clone()),
            ]);
            of.map(|of| payload.insert(field::PARTITION.to_owned(), points::text(of)));
            batch.push(points::point(points::named_id(kind::LEARNT, &name), payload, None));
            if batch.len() >= PAGE as usize {
                self.upsert(std::mem::take(&mut batch), None, UpdateMode::Upsert).await?;
            }
        }
        self.upsert(batch, None, UpdateMode::Upsert).await
    }
}

fn segment_name(origin: &str, number: u64) -> String {
    format!("{origin} {number}")
}

/// Tells what happened, once; trouble is left for the next time.
pub(super) async fn send(core: &Core) {
    if core.is_ready()
        && let Err(error) = core.tell().await
    {
        tracing::debug!(why = said(&error), "what happened here was not told to the other instances");
    }
}

/// The exchange's life.
pub(super) async fn exchange(core: Arc<Core>) {
    let (mut written, mut kept) = (HashMap::new(), Instant::now());
    loop {
        tokio::time::sleep(EVERY).await;
        if !core.is_ready() {
            continue;
        }
        send(&core).await;
        if let Err(error) = core.hear().await {
            tracing::debug!(why = said(&error), "what happened at other instances was not heard");
        }
        if kept.elapsed() >= SNAPSHOT_EVERY {
            kept = Instant::now();
            if let Err(error) = core.keep_learnt(&mut written).await {
                written.clear();
                tracing::debug!(why = said(&error), "what was learnt was not kept");
            }
        }
    }
}

/// Waits for trouble, and then for its end.
pub(super) async fn keep_connected(core: Arc<Core>) {
    loop {
        let changed = core.health.changed.notified();
        if core.health.is_up() {
            drop(tokio::time::timeout(Duration::from_secs(1), changed).await);
            continue;
        }
        let reached = tokio::time::timeout(PATIENCE, core.reach()).await;
        match reached.unwrap_or_else(|_| Err(Trouble::Unreachable("no answer".to_owned()))) {
            Ok(()) => core.health.came_up(),
            Err(Trouble::Unreachable(why) | Trouble::Refused(why)) => {
                tokio::time::sleep(core.health.still_down(&why)).await;
            }
        }
    }
}
