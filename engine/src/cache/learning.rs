//! Learning from fresh answers: labels of candidates and of hits, and which answer a new prompt shares.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{Insert, SemanticCache};
use crate::decide::drift::{Fresh, agreed, is_refuted};
use crate::decide::learner::{Considered, Learner, Pool};
use crate::decide::noise::wrong_after;
use crate::entry::{Answer, Entry};
use crate::features::Profile;
use crate::partition::PartitionKey;
use crate::store::Change;
use crate::store::qdrant::Event;

/// A vector this near to one with the same answer adds nothing.
const KNOWN: f32 = 0.985;
/// Partitions whose learning is kept; of more, those with the fewest requests start anew.
const MOST_LEARNERS: usize = 4096;
/// Hits that feedback can name.
const MOST_RECENT: usize = 10_000;

/// The right to say whether a candidate's answer was right. Holds what the decision was made from.
#[derive(Clone)]
pub struct Ticket {
    pub(super) partition: PartitionKey,
    pub(super) candidate: Arc<Entry>,
    pub(super) rivals: Vec<Rival>,
    /// An unrelated answer: a judge that calls the fresh one the same as this errs.
    pub(super) control: Option<Arc<Entry>>,
    pub(super) considered: Considered,
}

impl Ticket {
    /// The remembered answer that a fresh one is to be compared with.
    pub fn candidate(&self) -> &Arc<Entry> {
        &self.candidate
    }

    /// The candidate's answer and the few others that [`SemanticCache::remember`] may ask about, the unrelated one last.
    pub fn answers(&self) -> impl Iterator<Item = &Arc<Answer>> {
        let rivals = self.rivals.iter().map(|rival| &rival.entry.answer);
        let control = self.control.iter().map(|entry| &entry.answer);
        std::iter::once(&self.candidate.answer).chain(rivals).chain(control)
    }

    /// Cosine similarity of its prompt to the request.
    pub fn similarity(&self) -> f32 {
        self.considered.evidence.similarity
    }

    /// The probability that its answer is right, as it was thought.
    pub fn confidence(&self) -> f32 {
        self.considered.confidence() as f32
    }

    /// What the probability came from, for those who fit it.
    pub fn features(&self) -> &[f32] {
        &self.considered.evidence.features
    }
}

/// Another near answer.
#[derive(Clone)]
pub(super) struct Rival {
    pub(super) entry: Arc<Entry>,
    pub(super) similarity: f32,
    /// Its share of the neighbours' vote.
    pub(super) share: f32,
}

/// What became of a fresh answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Whether the candidate's answer was right, if that could be told.
    pub right: Option<bool>,
    /// Whether the prompt shares an answer that was there, so that the fresh one was not stored again.
    pub joined: bool,
}

/// The answer that a prompt joins.
pub(super) struct Joins {
    pub(super) cluster: u64,
    pub(super) answer: Arc<Answer>,
    /// Similarity to the nearest prompt that has it.
    pub(super) similarity: f32,
}

impl Joins {
    /// Whether the prompt's vector would add nothing.
    pub(super) fn is_known(&self) -> bool {
        self.similarity >= KNOWN
    }
}

/// The answer to join after a verdict that it is the same, if that is more likely than that the judge erred.
fn joins(entry: &Arc<Entry>, similarity: f32, prior: f64, noise: f64) -> Option<Joins> {
    let believed = wrong_after(noise, prior, true) < 0.5;
    believed.then(|| Joins { cluster: entry.cluster, answer: Arc::clone(&entry.answer), similarity })
}

/// What all partitions have learnt.
#[derive(Default)]
pub(super) struct Learners {
    partitions: RwLock<HashMap<PartitionKey, Arc<Mutex<Learner>>>>,
    pool: Mutex<Pool>,
}

impl Learners {
    pub(super) fn of(&self, key: &PartitionKey) -> Arc<Mutex<Learner>> {
        self.find(key).unwrap_or_else(|| self.put(*key, Learner::default()))
    }

    fn find(&self, key: &PartitionKey) -> Option<Arc<Mutex<Learner>>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn put(&self, key: PartitionKey, learner: Learner) -> Arc<Mutex<Learner>> {
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        if partitions.len() >= MOST_LEARNERS && !partitions.contains_key(&key) {
            let requests = |l: &Arc<Mutex<Learner>>| l.lock().unwrap_or_else(PoisonError::into_inner).now();
            let least = partitions.iter().min_by_key(|(_, l)| requests(l)).map(|(key, _)| *key);
            least.map(|key| partitions.remove(&key));
        }
        Arc::clone(partitions.entry(key).or_insert_with(|| Arc::new(Mutex::new(learner))))
    }

    /// Takes up what was learnt elsewhere, unless something is known already.
    pub(super) fn put_new(&self, key: PartitionKey, learner: Learner) {
        if self.find(&key).is_none_or(|own| own.lock().unwrap_or_else(PoisonError::into_inner).now() == 0) {
            self.put(key, Learner::default());
            *self.of(&key).lock().unwrap_or_else(PoisonError::into_inner) = learner;
        }
    }

    pub(super) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<(PartitionKey, Arc<Mutex<Learner>>)> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.iter().map(|(key, learner)| (*key, Arc::clone(learner))).collect()
    }
}

/// The last hits, by their ids, for feedback.
#[derive(Default)]
pub(super) struct Recent {
    first: u64,
    tickets: VecDeque<Option<Ticket>>,
}

impl Recent {
    pub(super) fn add(&mut self, ticket: Ticket) -> u64 {
        self.tickets.push_back(Some(ticket));
        if self.tickets.len() > MOST_RECENT {
            self.tickets.pop_front();
            self.first += 1;
        }
        self.first + self.tickets.len() as u64 - 1
    }

    fn take(&mut self, id: u64) -> Option<Ticket> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.tickets.get_mut(at)?.take()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Ticket> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.tickets.get(at)?.as_ref()
    }
}

impl SemanticCache {
    /// Remembers a fresh answer and learns from it. `same` says whether it and a remembered one say the same; nothing if that
    /// can't be told. It is asked about the ticket's candidate, if that is not the same about a few other near answers, of which the
    /// prompt joins the one that is, and about an unrelated one, which tells how often it errs.
    pub fn remember(
        &self,
        insert: Insert,
        profile: Profile,
        ticket: Option<&Ticket>,
        same: &mut dyn FnMut(&Answer) -> Option<bool>,
    ) -> Remembered {
        let Some(ticket) = ticket.filter(|ticket| ticket.partition == insert.partition) else {
            self.store(insert, Some(profile), None);
            return Remembered::default();
        };
        if let Some(same) = ticket.control.as_ref().and_then(|control| same(&control.answer)) {
            self.learners.pool().noise.control(same);
            self.tell(&ticket.partition, || Event::Control(same));
        }
        let right = same(&ticket.candidate.answer);
        let mut all_differ = right == Some(false);
        let mut found = None;
        if right != Some(true) {
            found = ticket.rivals.iter().find(|rival| {
                let same = same(&rival.entry.answer);
                all_differ &= same == Some(false);
                same == Some(true)
            });
        }
        let fresh = match right {
            Some(true) => Fresh::Same,
            _ if found.is_some() => Fresh::Other,
            _ if all_differ => Fresh::New,
            _ => Fresh::NotSame,
        };
        match right {
            Some(_) => self.label(ticket, fresh),
            None => self.unjudged(ticket),
        }
        let confidence = ticket.considered.confidence();
        let noise = self.learners.pool().noise.rate();
        let joins = match (right, found) {
            (Some(true), _) => joins(&ticket.candidate, ticket.similarity(), confidence, noise),
            (_, Some(rival)) => {
                let prior = f64::from(rival.share) * (1.0 - confidence);
                let joins = joins(&rival.entry, rival.similarity, prior, noise);
                self.confirm(ticket, joins.as_ref(), noise);
                joins
            }
            _ => None,
        };
        self.store(insert, Some(profile), joins.as_ref());
        Remembered { right, joined: joins.is_some() }
    }

    /// The answer that a prompt joins without having been its candidate was found to be up to date.
    fn confirm(&self, ticket: &Ticket, joins: Option<&Joins>, noise: f64) {
        let Some(joins) = joins else { return };
        let learner = self.learners.of(&ticket.partition);
        let learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
        let doubt = agreed(noise);
        if let Some(shared) = &self.shared {
            let change = Change::Heard { doubt, now: learner.now() };
            return shared.change(&ticket.partition, joins.cluster, change);
        }
        self.vectors.with_cluster(&ticket.partition, joins.cluster, |cluster| {
            cluster.hear(doubt, learner.now(), |confirmed, doubt| learner.stale(confirmed, doubt))
        });
    }

    /// Learns whether the candidate's answer was right for the request that the ticket was given to.
    pub fn learn(&self, ticket: &Ticket, right: bool) {
        self.label(ticket, if right { Fresh::Same } else { Fresh::NotSame });
    }

    /// A fresh answer came, and nobody could say whether the candidate's is the same.
    fn unjudged(&self, ticket: &Ticket) {
        let learner = self.learners.of(&ticket.partition);
        learner.lock().unwrap_or_else(PoisonError::into_inner).unjudged();
        self.tell(&ticket.partition, || Event::Unjudged);
    }

    fn label(&self, ticket: &Ticket, fresh: Fresh) {
        let Ticket { partition, candidate, considered, .. } = ticket;
        let learner = self.learners.of(partition);
        let mut learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
        let learnt = learner.label(&self.shipped, &mut self.learners.pool(), considered, fresh);
        let now = learner.now();
        if let Some(shared) = &self.shared {
            drop(learner);
            self.tell(partition, || Event::Label(Box::new(considered.clone()), fresh));
            let similarity = considered.evidence.similarity;
            let labelled = Change::Labelled { similarity, wrong: learnt.wrong };
            // Whoever writes it finds out whether the answer is to be forgotten.
            shared.change(partition, candidate.cluster, labelled);
            return shared.change(partition, candidate.cluster, Change::Heard { doubt: learnt.doubt, now });
        }
        let stale = self.vectors.with_cluster(partition, candidate.cluster, |cluster| {
            cluster.label(considered.evidence.similarity, learnt.wrong);
            cluster.hear(learnt.doubt, now, |confirmed, doubt| learner.stale(confirmed, doubt))
        });
        drop(learner);
        if stale.is_some_and(is_refuted) {
            for entry in self.vectors.members(partition, candidate.cluster) {
                self.answers.remove(&entry);
            }
        }
    }

    /// Learns what a user said about the hit `id`; `false` if it is not known any more, or was judged already.
    pub fn feedback(&self, id: u64, right: bool) -> bool {
        let ticket = self.recent.lock().unwrap_or_else(PoisonError::into_inner).take(id);
        ticket.inspect(|ticket| self.learn(ticket, right)).is_some()
    }

    /// The ticket of the recent hit `id`, to see what it was served for.
    pub fn ticket(&self, id: u64) -> Option<Ticket> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The present of a partition, in requests; it begins with the first one that can be learnt from.
    pub(super) fn now_in(&self, key: &PartitionKey) -> u64 {
        let learner = self.learners.find(key);
        learner.map_or(0, |learner| learner.lock().unwrap_or_else(PoisonError::into_inner).now())
    }
}
