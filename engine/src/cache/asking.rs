//! Asking the cache for an answer to a similar prompt.

use std::sync::PoisonError;

use super::learning::{Rival, Ticket};
use super::{SemanticCache, Surroundings};
use crate::decide::evidence::{ClusterFacts, Evidence, NEIGHBOURS, Neighbour, weigh};
use crate::decide::learner::Considered;
use crate::decide::verified::chance_to_explore;
use crate::decide::{Policy, Tightening};
use crate::entry::{Entry, Hit, Tier};
use crate::features::Profile;
use crate::partition::PartitionKey;
use crate::store::qdrant::Event;
use crate::store::{Near, Neighbourhood};

/// A request as the semantic tier sees it.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Whose answers may be served.
    pub partition: &'a PartitionKey,
    /// The prompt's vector.
    pub vector: &'a [f32],
    /// What the prompt says.
    pub profile: &'a Profile,
    /// What the request asks for beyond the policy.
    pub tightening: Tightening,
    /// The rule for this request; none: the cache's own. It has no say in what is remembered.
    pub policy: Option<Policy>,
    /// How many candidates of the partition are only learnt from, for this request; none: as many as for any other.
    pub shadow: Option<u64>,
}

/// What the semantic tier decided.
pub enum Decision {
    /// The answer may be served.
    Serve {
        /// It, and how it was found.
        hit: Hit,
        /// The probability that it is right; the similarity under a fixed threshold.
        confidence: f32,
        /// Names the hit in [`SemanticCache::feedback`].
        id: u64,
        /// If there is one, the request is to be asked upstream as well, after the client has its answer, and the ticket is to
        /// be given to [`SemanticCache::remember`] or [`SemanticCache::learn`].
        spot_check: Option<Ticket>,
    },
    /// Upstream has to answer.
    Miss {
        /// If there is one, the answer is to be remembered with it: it says whether the candidate would have been right.
        candidate: Option<Ticket>,
        /// The candidate would have been served, were it not for the shadow phase.
        would_serve: bool,
    },
}

/// A candidate that was weighed.
struct Weighed {
    evidence: Evidence,
    probability: f64,
    /// The chance that its answer is out of date.
    stale: f64,
    labels: Vec<(f32, bool)>,
}

impl Weighed {
    /// The probability that its answer is right, all considered.
    fn confidence(&self) -> f64 {
        self.probability * (1.0 - self.stale)
    }
}

impl SemanticCache {
    /// Decides whether a remembered answer may be served to a similar prompt. `admit` is the caller's own condition on an
    /// entry; it is called without any lock held.
    pub fn look_up(&self, question: &Question<'_>, admit: &dyn Fn(&Entry) -> bool) -> Decision {
        self.look_up_in(question, Surroundings::default(), admit)
    }

    /// The same, among what [`SemanticCache::survey`] found around this very request.
    pub fn look_up_in(
        &self,
        question: &Question<'_>,
        surroundings: Surroundings,
        admit: &dyn Fn(&Entry) -> bool,
    ) -> Decision {
        if self.is_restoring() {
            return Decision::Miss { candidate: None, would_serve: false };
        }
        let policy = question.policy.unwrap_or(self.deciding.policy).tightened(&question.tightening);
        if let Policy::Fixed { similarity } = policy {
            return self.serve_nearest(question, similarity, surroundings, admit);
        }
        let learner = self.learners.of(question.partition);
        let locked = || learner.lock().unwrap_or_else(PoisonError::into_inner);
        locked().asked();
        self.tell(question.partition, || Event::Asked(1));
        let mut around = self.around(question, surroundings);
        around.near.retain(|near| near.entry.partition == *question.partition && admit(&near.entry));
        let Some(weighed) = self.weigh(question, &around, matches!(policy, Policy::Verified { .. })) else {
            return Decision::Miss { candidate: None, would_serve: false };
        };
        let may = self.may_serve(policy, &weighed, question);
        let mut learner = locked();
        let shadow = learner.candidates() < question.shadow.unwrap_or(self.deciding.shadow);
        let confidence = weighed.confidence();
        learner.saw(confidence);
        self.tell(question.partition, || Event::Saw(confidence));
        let Weighed { evidence, probability, stale, .. } = weighed;
        let nearest = &around.near[evidence.nearest];
        let mut ticket = Ticket {
            partition: *question.partition,
            candidate: nearest.entry.clone(),
            rivals: rivals(&around, &evidence),
            control: around.control.clone(),
            considered: Considered { evidence, probability, stale, weight: None },
        };
        if !may || shadow || !self.is_stored(&nearest.entry) {
            return Decision::Miss { candidate: Some(ticket), would_serve: may };
        }
        let weight = learner.served(confidence, self.draw());
        drop(learner);
        self.tell(question.partition, || Event::Served { confidence, checked: weight.is_some() });
        let id = self.recent.lock().unwrap_or_else(PoisonError::into_inner).add(ticket.clone());
        let spot_check = weight.map(|weight| {
            ticket.considered.weight = Some(weight);
            ticket
        });
        let hit = Hit { tier: Tier::Semantic, similarity: nearest.similarity, entry: nearest.entry.clone() };
        Decision::Serve { hit, confidence: confidence as f32, id, spot_check }
    }

    fn draw(&self) -> f64 {
        self.luck.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }

    /// The rule of a fixed threshold. It learns nothing, so nothing is gathered to learn from.
    fn serve_nearest(
        &self,
        question: &Question<'_>,
        similarity: f32,
        surroundings: Surroundings,
        admit: &dyn Fn(&Entry) -> bool,
    ) -> Decision {
        let key = question.partition;
        let near = self.near(key, question.vector, NEIGHBOURS, surroundings);
        let may =
            |near: &Near| near.entry.partition == *key && admit(&near.entry) && self.is_stored(&near.entry);
        match near.into_iter().take_while(|near| near.similarity >= similarity).find(may) {
            Some(Near { similarity, entry }) => Decision::Serve {
                hit: Hit { tier: Tier::Semantic, similarity, entry },
                confidence: similarity,
                id: u64::MAX,
                spot_check: None,
            },
            None => Decision::Miss { candidate: None, would_serve: false },
        }
    }

    /// The candidate and the probability that its answer is right. `nearest_only` looks at no more than the nearest prompt.
    fn weigh(&self, question: &Question<'_>, around: &Neighbourhood, nearest_only: bool) -> Option<Weighed> {
        let nothing = Profile::of("");
        let near = if nearest_only { around.near.get(..1)? } else { &around.near };
        let neighbours: Vec<Neighbour<'_>> = near
            .iter()
            .map(|near| Neighbour {
                similarity: near.similarity,
                cluster: near.entry.cluster,
                profile: near.entry.profile.as_deref().unwrap_or(&nothing),
            })
            .collect();
        let facts: Vec<ClusterFacts> = around.known.iter().map(|known| known.facts).collect();
        let rarity = |word: u32| {
            let found = around.rarity.iter().find(|(w, _)| *w == word);
            found.map_or(1.0, |(_, rarity)| *rarity)
        };
        let learner = self.learners.of(question.partition);
        let novelty = learner.lock().unwrap_or_else(PoisonError::into_inner).novelty();
        let evidence = weigh(question.profile, &neighbours, &facts, &rarity, novelty)?;
        let known = around.known.iter().find(|known| known.facts.id == evidence.cluster)?;
        let learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
        let probability = learner.probability(&self.shipped, &self.learners.pool(), &evidence);
        let stale = learner.stale(known.confirmed, known.doubt);
        Some(Weighed { evidence, probability, stale, labels: known.labels.clone() })
    }

    fn may_serve(&self, policy: Policy, weighed: &Weighed, question: &Question<'_>) -> bool {
        if weighed.evidence.similarity < question.tightening.similarity {
            return false;
        }
        match policy {
            Policy::Fixed { similarity } => weighed.evidence.similarity >= similarity,
            Policy::Verified { max_error_rate } => {
                let explore = chance_to_explore(&weighed.labels, weighed.evidence.similarity, max_error_rate);
                self.draw() >= explore
            }
            Policy::Calibrated { max_false_hit_rate, strict } => {
                if weighed.evidence.collides || strict && weighed.evidence.contradicts {
                    return false;
                }
                if let Some(cut) = self.cut {
                    return weighed.confidence() >= cut;
                }
                let learner = self.learners.of(question.partition);
                let learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
                let pool = self.learners.pool();
                learner.may_serve(&self.shipped, &pool, max_false_hit_rate, weighed.confidence())
            }
        }
    }
}

/// Other answers than the candidate's that a fresh one may equal, the likelier first.
fn rivals(around: &Neighbourhood, evidence: &Evidence) -> Vec<Rival> {
    const TEMPERATURE: f32 = 0.1;
    const MOST: usize = 3;
    let mut rivals: Vec<Rival> = Vec::new();
    let mut all = 0.0;
    for near in &around.near {
        let vote = ((near.similarity - 1.0) / TEMPERATURE).exp();
        all += vote;
        if near.entry.cluster == evidence.cluster {
            continue;
        }
        match rivals.iter_mut().find(|rival| rival.entry.cluster == near.entry.cluster) {
            Some(rival) => rival.share += vote,
            None => {
                rivals.push(Rival { entry: near.entry.clone(), similarity: near.similarity, share: vote });
            }
        }
    }
    rivals.sort_by(|a, b| b.share.total_cmp(&a.share));
    rivals.truncate(MOST);
    rivals.iter_mut().for_each(|rival| rival.share /= all);
    rivals
}
