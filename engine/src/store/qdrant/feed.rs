//! What instances tell each other: each request, hit and label, so that all learn from the traffic of all.
//!
//! An instance writes what happened to it as numbered segments, and in a point of its own how far it has come. The others
//! look at these points a few times a second and read what is new by its number: no clock is compared, and nothing is heard
//! twice. What was learnt so far is kept as snapshots, each with how far its writer had read, for instances that come later.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::decide::drift::Fresh;
use crate::decide::learner::Considered;
use crate::partition::PartitionKey;

/// One thing that happened in a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// So many requests came.
    Asked(u64),
    /// A candidate was considered that is right with this probability.
    Saw(f64),
    /// It was served.
    Served {
        /// The probability that it is right.
        confidence: f64,
        /// Whether it is asked upstream as well.
        checked: bool,
    },
    /// A fresh answer came that nobody could compare.
    Unjudged,
    /// A fresh answer was compared.
    Label(Box<Considered>, Fresh),
    /// Two unrelated answers were compared; whether the judge called them the same.
    Control(bool),
    /// A prompt with these words was stored.
    Stored(Vec<u32>),
}

/// How far the segments of each instance were read: the number of the next one.
pub(crate) type Clock = HashMap<String, u64>;

/// What happened since the last segment.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    partitions: HashMap<PartitionKey, Vec<Event>>,
    events: usize,
}

/// Events a segment holds at most; what comes beyond is not told.
const MOST: usize = 4096;

impl Outbox {
    /// Adds an event; `false` if there is no room.
    pub(super) fn add(&mut self, partition: &PartitionKey, event: Event) -> bool {
        let events = self.partitions.entry(*partition).or_default();
        let is_full = self.events >= MOST;
        // Requests are counted together where nothing happened between them; if there is no room, in any case.
        let counted = match events.last_mut() {
            Some(Event::Asked(count)) => Some(count),
            _ if is_full => events.iter_mut().find_map(|event| match event {
                Event::Asked(count) => Some(count),
                _ => None,
            }),
            _ => None,
        };
        if let (Event::Asked(more), Some(count)) = (&event, counted) {
            *count += more;
            return true;
        }
        if !is_full {
            self.events += 1;
            events.push(event);
        }
        !is_full
    }

    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(super) fn take(&mut self) -> Segment {
        let taken = std::mem::take(self);
        Segment(taken.partitions.into_iter().collect())
    }
}

/// What is written at once.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Segment(pub(super) Vec<(PartitionKey, Vec<Event>)>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::KeyHasher;

    #[test]
    fn requests_are_counted_together_and_a_full_outbox_says_so() {
        let partition = KeyHasher::new(&[1; 32]).partition();
        let mut outbox = Outbox::default();
        assert!(outbox.add(&partition, Event::Saw(0.5)));
        assert!((0..10_000).all(|_| outbox.add(&partition, Event::Asked(1))));
        assert!((2..MOST).all(|_| outbox.add(&partition, Event::Unjudged)));
        assert!(!outbox.add(&partition, Event::Control(true)));
        assert!(outbox.add(&partition, Event::Asked(1)));
        let segment = outbox.take();
        assert!(outbox.is_empty());
        assert_eq!(segment.0[0].1[..2], [Event::Saw(0.5), Event::Asked(10_001)]);
        let written = serde_json::to_string(&segment).unwrap();
        assert_eq!(serde_json::from_str::<Segment>(&written).unwrap(), segment);
    }
}
