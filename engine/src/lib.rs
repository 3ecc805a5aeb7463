//! Vectors in, remembered answers out: the semantic cache.
//!
//! A request is looked up in three tiers, cheapest first: letter by letter ([`SemanticCache::exact`]), in its safely
//! normalised form ([`SemanticCache::normalised`]), and by the nearness of its vector ([`SemanticCache::semantic`]).
//! What must be equal before two requests may share an answer at all is their partition; partitions are physically
//! separate, so that no search can reach into another one.
//!
//! | to read about | see |
//! |---|---|
//! | looking up and storing | [`cache`] |
//! | keys of partitions and of requests | [`partition`] |
//! | which rewritings of a text are safe | [`normalise`](mod@normalise) |
//! | what is remembered | [`entry`] |
//! | may this candidate answer? | [`decide`] |
//! | what two prompts say differently | [`features`] |
//! | measuring with a labelled stream | [`replay`] |
//! | finding near vectors | [`index`] |
//! | what an answer depends on beside its prompt | [`freshness`] |
//! | where time comes from | [`clock`] |
//! | what survives a restart | [`journal`] |
//! | entries that several processes share | [`SemanticCache::sharing`] |
//!
//! The crate does no I/O but for the journal and the store that processes share. Trouble inside it is a miss, never an error.

#![forbid(unsafe_code)]

pub mod cache;
pub mod clock;
pub mod decide;
pub mod entry;
mod exact;
pub mod features;
pub mod freshness;
pub mod index;
pub mod journal;
pub mod normalise;
pub mod partition;
pub mod replay;
mod shares;
mod store;

pub use cache::{
    CacheConfig, CacheState, Deciding, Decision, Insert, PartitionReport, Question, Remembered,
    SemanticCache, Stats, Surroundings, Ticket,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use decide::{Policy, Tightening};
pub use entry::{Answer, Entry, Hit, Tier};
pub use index::{IndexKind, Neighbour, VectorIndex};
pub use normalise::normalise;
pub use partition::{ExactKey, KeyHasher, PartitionKey};
pub use store::qdrant::{Quantisation, Refused, SharedConfig, SharedStats, Space, Unavailable};
