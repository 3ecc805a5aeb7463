//! What is remembered: an answer, the entry that holds it, and how it was found again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::features::Profile;
use crate::partition::{ExactKey, PartitionKey};

/// A whole, successful answer as the caller encoded it. The cache never looks inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The caller's bytes.
    pub payload: Bytes,
    /// What the entry can be forgotten by that brought it; empty where nothing is shared with other processes.
    pub(crate) tags: Box<[String]>,
}

impl Answer {
    pub(crate) fn new(payload: Bytes) -> Self {
        Self { payload, tags: Box::default() }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("bytes", &self.payload.len()).finish()
    }
}

/// A remembered request with its answer.
#[derive(Clone)]
pub struct Entry {
    /// What is served on a hit.
    pub answer: Arc<Answer>,
    /// The only partition whose requests may see this entry.
    pub partition: PartitionKey,
    /// When it was stored.
    pub created: SystemTime,
    /// From this moment on it is not served any more.
    pub expires_at: SystemTime,
    /// The caller's own bytes about this very request, which the cache never looks at.
    pub note: Bytes,
    /// What it can be forgotten by, where entries are shared by several processes; empty elsewhere.
    pub(crate) tags: Box<[String]>,
    /// Of whose share of the memory it takes.
    pub(crate) owner: u64,
    /// Tells this entry from an earlier or later one under the same exact key.
    pub(crate) id: u64,
    pub(crate) exact: ExactKey,
    pub(crate) normalised: Option<ExactKey>,
    /// The answer it shares with other prompts, by number.
    pub(crate) cluster: u64,
    /// What the prompt says, if it may answer similar ones.
    pub(crate) profile: Option<Arc<Profile>>,
    /// Bytes charged to the memory budget.
    pub(crate) weight: u32,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("answer", &self.answer)
            .field("partition", &self.partition)
            .field("exact", &self.exact)
            .field("created", &self.created)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// The answer's bytes.
    pub fn payload(&self) -> &Bytes {
        &self.answer.payload
    }

    /// How long ago the entry was stored, by the clock of the machine.
    pub fn age(&self) -> Duration {
        self.age_at(SystemTime::now())
    }

    /// How old the entry is at `now`; zero if it was stored later.
    pub fn age_at(&self, now: SystemTime) -> Duration {
        now.duration_since(self.created).unwrap_or_default()
    }

    /// Whether the entry's time is over at `now`.
    pub fn is_expired_at(&self, now: SystemTime) -> bool {
        now >= self.expires_at
    }
}

/// How a hit was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The request was the same, letter by letter.
    Exact,
    /// It was the same after safe normalisation.
    Normalised,
    /// Its vector was near enough.
    Semantic,
}

impl Tier {
    /// The tier's name in headers, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Normalised => "normalised",
            Self::Semantic => "semantic",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An answer found in the cache.
#[derive(Clone, Debug)]
pub struct Hit {
    /// How it was found.
    pub tier: Tier,
    /// Cosine similarity of the two prompts' vectors; 1 for the exact and the normalised tier.
    pub similarity: f32,
    /// What was found.
    pub entry: Arc<Entry>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::KeyHasher;

    #[test]
    fn debug_output_of_an_entry_shows_no_answer_text() {
        let partition = KeyHasher::new(&[0; 32]).partition();
        let entry = Entry {
            answer: Arc::new(Answer::new(Bytes::from_static(b"the secret answer"))),
            partition,
            created: SystemTime::UNIX_EPOCH,
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(10),
            note: Bytes::from_static(b"the secret question"),
            tags: Box::default(),
            owner: 0,
            id: 1,
            exact: partition.exact(&[]),
            normalised: None,
            cluster: 1,
            profile: None,
            weight: 1,
        };
        let shown = format!("{entry:?}");
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
