//! What a lookup gives: an answer in the form that is wanted, or what the provider's answer is to be remembered by.

use std::time::Duration;

use bytes::Bytes;
use sluice_engine::{Hit, Tier};

use super::Ticket;
use crate::chat::lifetime::{Excuse, Lifetimes};
use crate::chat::stored;
use crate::chat::wishes::Wishes;
use crate::ledger::Nanodollars;
use crate::wire::chat::Chunk;

/// What a lookup gave.
pub enum Found {
    /// An answer.
    Hit(Box<Remembered>),
    /// None.
    Nothing(Box<Nothing>),
}

/// No answer was found.
pub struct Nothing {
    /// Lets the provider's answer be remembered.
    pub ticket: Option<Ticket>,
    /// The cache is off, or its embedding model was not to be had.
    pub bypass: bool,
    /// Why not everything was tried that the cache can do; empty if it was.
    pub reason: &'static str,
    /// The very same request's answer, whose time is over.
    pub stale: Option<Box<Stale>>,
}

/// An answer whose time is over.
pub struct Stale {
    pub(super) remembered: Remembered,
    /// For how long.
    pub(super) since: Duration,
    /// What excuses it.
    pub(super) lifetimes: Lifetimes,
}

/// An answer out of the cache, in its redacted form.
pub struct Remembered {
    /// Its time is over.
    pub stale: bool,
    /// Its name, by which an operator can have it forgotten.
    pub entry: String,
    /// How it was found.
    pub tier: Tier,
    /// How near the two prompts are.
    pub similarity: f32,
    /// How old the answer is.
    pub age: Duration,
    /// The answer, in the form that was wanted.
    pub answer: Form,
    /// Who gave it.
    pub provider: String,
    /// What the provider calls the model.
    pub model: String,
    /// What it cost then, and does not cost now.
    pub cost: Nanodollars,
    /// Of a semantic hit: how sure the cache was.
    pub(in crate::chat) judged: Option<Judged>,
}

/// What the cache thought when it served a similar prompt's answer.
pub(in crate::chat) struct Judged {
    /// The probability that the answer is right; the similarity under a fixed threshold.
    pub(in crate::chat) confidence: f32,
    /// Names the hit for feedback.
    pub(in crate::chat) name: Option<String>,
    /// The request is to be asked upstream as well, to learn whether the answer was right.
    pub(in crate::chat) spot_check: Option<Ticket>,
}

/// An answer out of the cache, without id and time.
pub enum Form {
    /// What lasts of a whole answer, as it is sent: for one that goes out as it is.
    Spelled(Bytes),
    /// Taken apart: for a stream, or if the caller's own values go back into it.
    Parts(Box<Chunk>),
}

impl Nothing {
    /// The cache has no part in this.
    pub(in crate::chat) fn bypass(reason: &'static str) -> Self {
        Self { ticket: None, bypass: true, reason, stale: None }
    }
}

/// The stale answer, where that is excused.
pub(in crate::chat) fn excused(
    stale: &mut Option<Box<Stale>>,
    excuse: Excuse,
    wishes: &Wishes,
) -> Option<Remembered> {
    let stale = stale.take_if(|stale| stale.lifetimes.excuses(stale.since, excuse, wishes))?;
    Some(stale.remembered)
}

/// `apart`: the answer is to be streamed, or the caller's own values go back into it.
pub(super) fn read(hit: &Hit, apart: bool) -> Option<Remembered> {
    let (origin, lasting) = stored::read(hit.entry.payload())?;
    let answer = if apart {
        Form::Parts(Box::new(stored::decode_native(hit.entry.payload(), &lasting)?))
    } else {
        Form::Spelled(lasting)
    };
    Some(Remembered {
        stale: false,
        entry: origin.labels.split(' ').next().unwrap_or_default().to_owned(),
        tier: hit.tier,
        similarity: hit.similarity,
        age: hit.entry.age(),
        answer,
        provider: origin.provider.to_owned(),
        model: origin.model.to_owned(),
        cost: origin.cost,
        judged: None,
    })
}
