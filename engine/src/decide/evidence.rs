//! What speaks for and against a remembered answer: numbers about the request, the prompts near it and their answers.

use serde::{Deserialize, Serialize};

use crate::features::{Differences, Profile};

/// Near prompts looked at per lookup.
pub const NEIGHBOURS: usize = 16;

/// A remembered prompt near the request. Neighbours come nearest first.
#[derive(Clone, Copy)]
pub struct Neighbour<'a> {
    /// Cosine similarity of its vector to the request's.
    pub similarity: f32,
    /// The answer it has: prompts with the same answer have the same cluster.
    pub cluster: u64,
    /// What it says.
    pub profile: &'a Profile,
}

/// What is known about an answer that a neighbour has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterFacts {
    /// The cluster's number.
    pub id: u64,
    /// Cosine similarity of the mean of its prompts' vectors to the request's.
    pub centroid: f32,
    /// How many prompts with a vector it has.
    pub size: f32,
    /// Mean similarity of its prompts to the nearest one that was there before them; a guess while there are few.
    pub spacing: f32,
    /// Labels that said its answer was right for another prompt, and that it was wrong.
    pub right: f32,
    /// See `right`.
    pub wrong: f32,
}

/// Declares the features with their names, so that the two cannot drift apart.
macro_rules! features {
    ($($name:ident,)+) => {
        #[derive(Default)]
        struct Named { $($name: f32,)+ }

        impl Named {
            fn to_vec(&self, differences: Differences) -> Vec<f32> {
                let mut all = vec![$(self.$name),+];
                all.extend(differences.to_array());
                all
            }
        }

        const OWN: &[&str] = &[$(stringify!($name)),+];
    };
}

// Sources: support, margin and vote by answer are this project's own measurements; the mean of a cluster as a classifier is
// Snell et al., "Prototypical networks for few-shot learning" (2017).
features! {
    constant, similarity, closeness, third, mean_similarity, margin, vote_narrow, vote_wide, support, vote_share, centroid,
    centroid_margin, support_margin, support_times_margin, cover, cover_margin, length, size, against_spacing, density,
    confirmed, lone, conflict, least_conflict, novelty,
}

/// How many features there are.
pub const COUNT: usize = OWN.len() + Differences::COUNT;

/// Features of which more never speaks against an answer, and those of which more never speaks for it.
const FOR: &[&str] = &[
    "similarity",
    "closeness",
    "third",
    "mean_similarity",
    "margin",
    "vote_narrow",
    "vote_wide",
    "support",
    "vote_share",
    "centroid",
    "centroid_margin",
    "support_margin",
    "cover",
    "cover_margin",
    "against_spacing",
    "confirmed",
    "jaccard",
    "containment_a",
    "containment_b",
];
const AGAINST: &[&str] = &[
    "conflict",
    "least_conflict",
    "novelty",
    "number_conflict",
    "number_difference",
    "unit_conflict",
    "unit_difference",
    "date_conflict",
    "date_difference",
    "negation",
    "polarity",
    "antonym",
    "entity_conflict",
    "entity_difference",
    "quoted",
    "code",
    "literal_difference",
    "reordered",
    "direction",
    "language",
    "question_word",
    "modifier",
    "slot",
    "differing_words",
];

/// Which way each feature can only speak: 1 for the answer's being right, -1 against it, 0 either way. In order.
pub fn directions() -> impl Iterator<Item = i8> {
    names().map(|name| i8::from(FOR.contains(&name)) - i8::from(AGAINST.contains(&name)))
}

/// The features' names, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    OWN.iter().chain(Differences::NAMES).copied()
}

/// The candidate for an answer, and what is known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Whose answer it is.
    pub cluster: u64,
    /// The position of its nearest prompt among the neighbours.
    pub nearest: usize,
    /// The similarity of that prompt.
    pub similarity: f32,
    /// The features, [`COUNT`] of them.
    pub features: Vec<f32>,
    /// Every near prompt of the answer contradicts the request in something hard: a number, a negation, a name.
    pub contradicts: bool,
    /// The vectors say nearly the same, and not one word of the request was said by any near prompt of the answer: as prompts
    /// look that were made to lie beside others'.
    pub collides: bool,
}

/// What the neighbours of one cluster say together.
struct Group {
    id: u64,
    first: usize,
    members: Vec<usize>,
    nearest: f32,
    third: f32,
    sum: f32,
    narrow: f32,
    wide: f32,
}

/// Temperatures of the two votes: how fast a neighbour's say falls with its distance.
const NARROW: f32 = 0.05;
const WIDE: f32 = 0.1;
/// Similarity at which a stranger would vote for "none of these".
const STRANGER: f32 = 0.6;
/// From this similarity on prompts that mean the same share a word.
const COLLIDING: f32 = 0.9;
/// What is taken for the best of the other answers where there is none.
const NO_OTHER: f32 = 0.3;

impl Group {
    fn of(id: u64, neighbours: &[Neighbour<'_>]) -> Self {
        let members: Vec<usize> = (0..neighbours.len()).filter(|&i| neighbours[i].cluster == id).collect();
        let similarity = |i: &usize| neighbours[*i].similarity;
        let nearest = members.first().map_or(-1.0, similarity);
        let third = members.get(2).or(members.last()).map_or(-1.0, similarity);
        let missing = if members.len() < 3 { 0.1 } else { 0.0 };
        let vote =
            |temperature: f32| members.iter().map(|i| ((similarity(i) - 1.0) / temperature).exp()).sum();
        Self {
            id,
            first: members.first().copied().unwrap_or(0),
            nearest,
            third: third - missing,
            sum: members.iter().map(similarity).sum(),
            narrow: vote(NARROW),
            wide: vote(WIDE),
            members,
        }
    }

    fn support(&self) -> f32 {
        self.members.len() as f32
    }
}

/// Weighs the neighbours of a request: the answer with the largest vote is the candidate. `None` without neighbours.
///
/// `neighbours` come nearest first; `facts` has every cluster among them; `rarity` gives a word's weight, larger for
/// rarer; `novelty` is how many of the latest fresh answers were new to the partition.
pub fn weigh(
    profile: &Profile,
    neighbours: &[Neighbour<'_>],
    facts: &[ClusterFacts],
    rarity: &dyn Fn(u32) -> f32,
    novelty: f32,
) -> Option<Evidence> {
    let mut groups: Vec<Group> = Vec::new();
    for neighbour in neighbours {
        if !groups.iter().any(|group| group.id == neighbour.cluster) {
            groups.push(Group::of(neighbour.cluster, neighbours));
        }
    }
    let best =
        (0..groups.len()).max_by(|&a, &b| groups[a].wide.total_cmp(&groups[b].wide).then(b.cmp(&a)))?;
    let chosen = &groups[best];
    let differences = Differences::between(profile, neighbours[chosen.first].profile);
    let conflicts: Vec<f32> = chosen
        .members
        .iter()
        .map(|&i| f32::from(u8::from(Differences::between(profile, neighbours[i].profile).contradicts())))
        .collect();
    let mut named = Named { constant: 1.0, novelty, ..Named::default() };
    named.place(neighbours, &groups, best);
    named.facts(facts, chosen);
    named.words(profile, neighbours, chosen, rarity);
    named.conflicts(&conflicts);
    Some(Evidence {
        cluster: chosen.id,
        nearest: chosen.first,
        similarity: chosen.nearest,
        features: named.to_vec(differences),
        contradicts: conflicts.iter().all(|&conflict| conflict > 0.0),
        collides: chosen.nearest >= COLLIDING && named.cover <= 0.0 && profile.content().next().is_some(),
    })
}

impl Named {
    /// Where the candidate's prompts lie, and the others'.
    fn place(&mut self, neighbours: &[Neighbour<'_>], groups: &[Group], best: usize) {
        let chosen = &groups[best];
        let others = || groups.iter().enumerate().filter(|(i, _)| *i != best).map(|(_, group)| group);
        let full = neighbours.len() == NEIGHBOURS;
        let low = neighbours.last().filter(|_| full).map_or(NO_OTHER, |n| n.similarity.min(0.5));
        let other = others().map(|group| group.nearest).fold(low, f32::max);
        let other_support = others().map(Group::support).fold(0.0, f32::max);
        self.similarity = chosen.nearest;
        self.closeness = -(1.01 - chosen.nearest).max(1e-3).ln();
        self.third = chosen.third;
        self.mean_similarity = chosen.sum / chosen.support();
        self.margin = chosen.nearest - other;
        let ratio = |mine: f32, rest: f32, temperature: f32, most: f32| {
            let stranger = ((STRANGER - 1.0) / temperature).exp();
            ((mine + 1e-9) / (rest + stranger)).ln().clamp(-4.0, most)
        };
        self.vote_narrow = ratio(chosen.narrow, others().map(|g| g.narrow).sum(), NARROW, 8.0);
        self.vote_wide = ratio(chosen.wide, others().map(|g| g.wide).sum(), WIDE, 6.0);
        self.support = (1.0 + chosen.support()).ln();
        let all: f32 = groups.iter().map(|group| group.sum).sum();
        self.vote_share = (chosen.sum / all.max(1e-6)).clamp(0.0, 1.0);
        self.support_margin = self.support - (1.0 + other_support).ln();
        self.support_times_margin = self.support * self.margin;
        self.density = neighbours.iter().map(|n| n.similarity).sum::<f32>() / neighbours.len() as f32;
        self.lone = 1.0 / chosen.support();
    }

    /// What was known about the answers before.
    fn facts(&mut self, facts: &[ClusterFacts], chosen: &Group) {
        let Some(own) = facts.iter().find(|f| f.id == chosen.id) else { return };
        let other = facts.iter().filter(|f| f.id != chosen.id).map(|f| f.centroid).fold(NO_OTHER, f32::max);
        self.centroid = own.centroid;
        self.centroid_margin = own.centroid - other;
        self.size = (1.0 + own.size).ln();
        self.against_spacing = chosen.nearest - own.spacing;
        self.confirmed = (2.0 + own.right).ln() - (1.0 + own.wrong).ln();
    }

    /// How much of what the request says was said before by prompts with this answer, and by those with others.
    fn words(
        &mut self,
        profile: &Profile,
        neighbours: &[Neighbour<'_>],
        chosen: &Group,
        rarity: &dyn Fn(u32) -> f32,
    ) {
        self.length = (1.0 + profile.length() as f32).ln();
        let (mut all, mut mine, mut others) = (0.0, 0.0, 0.0);
        for word in profile.content() {
            let weight = rarity(word);
            let said = |ours: bool| {
                let theirs = |n: &&Neighbour<'_>| (n.cluster == chosen.id) == ours;
                neighbours.iter().filter(theirs).any(|n| n.profile.content().any(|w| w == word))
            };
            all += weight;
            mine += if said(true) { weight } else { 0.0 };
            others += if said(false) { weight } else { 0.0 };
        }
        if all > 0.0 {
            self.cover = mine / all;
            self.cover_margin = (mine - others) / all;
        }
    }

    /// Contradictions with the candidate's prompts, all and least.
    fn conflicts(&mut self, conflicts: &[f32]) {
        self.conflict = conflicts.iter().sum::<f32>() / conflicts.len() as f32;
        self.least_conflict = conflicts.iter().copied().fold(1.0, f32::min);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_direction_is_that_of_a_feature() {
        let known: Vec<&str> = names().collect();
        assert!(FOR.iter().chain(AGAINST).all(|name| known.contains(name)));
        assert_eq!(directions().filter(|d| *d != 0).count(), FOR.len() + AGAINST.len());
    }
}
