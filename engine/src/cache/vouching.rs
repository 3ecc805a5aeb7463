//! Answers that somebody vouches for: nobody asked for them, and nothing is to be learnt from them.

use crate::entry::Answer;
use crate::features::Profile;

use super::learning::Joins;
use super::{CANDIDATES, Insert, SemanticCache, Surroundings};

impl SemanticCache {
    /// Remembers an answer that was given and not asked for. It counts neither as a request nor as a label, and has a cluster
    /// of its own, unless a near prompt of the partition has an answer that `same` says is the very same: then the prompt
    /// joins that.
    pub fn vouch(&self, insert: Insert, profile: Profile, same: &mut dyn FnMut(&Answer) -> bool) {
        self.vouch_in(insert, profile, Surroundings::default(), same);
    }

    /// The same, among what [`SemanticCache::survey_of`] found around the prompt.
    pub fn vouch_in(
        &self,
        insert: Insert,
        profile: Profile,
        surroundings: Surroundings,
        same: &mut dyn FnMut(&Answer) -> bool,
    ) {
        let near = insert
            .vector
            .as_ref()
            .map_or_else(Vec::new, |vector| self.near(&insert.partition, vector, CANDIDATES, surroundings));
        // Not the entry that is about to be replaced: its vector goes with it.
        let twin = near.into_iter().find(|near| near.entry.exact != insert.exact && same(&near.entry.answer));
        let joins = twin.map(|near| {
            let (cluster, answer) = (near.entry.cluster, near.entry.answer.clone());
            Joins { cluster, answer, similarity: near.similarity }
        });
        self.store(insert, Some(profile), joins.as_ref());
    }
}
