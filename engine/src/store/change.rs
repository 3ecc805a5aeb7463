//! What happens to the state of an answer, as a value: so that it can wait to be written, and be applied to what another
//! process wrote meanwhile.

use super::Cluster;

/// One event in the life of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A prompt brought an answer of its own, at this time in requests.
    Founded { vector: Vec<f32>, now: u64 },
    /// A prompt joined; its similarity to the nearest one that was in it.
    Joined { vector: Vec<f32>, near: f32 },
    /// A label; the chance that the answer was wrong.
    Labelled { similarity: f32, wrong: f64 },
    /// What speaks for and against its being out of date, at this time in requests.
    Heard { doubt: f64, now: u64 },
    /// Prompts are gone.
    Left(u32),
}

/// The chance that an answer confirmed at this time and doubted so much is out of date.
pub(crate) type Stale<'a> = dyn Fn(u64, f64) -> f64 + 'a;

impl Change {
    /// Applies it to a cluster, which may not be there; gives the chance that its answer is out of date, if it was heard of.
    pub(crate) fn apply(&self, cluster: &mut Option<Cluster>, stale: &Stale<'_>) -> Option<f64> {
        match (self, cluster.as_mut()) {
            (Self::Founded { vector, now }, None) => *cluster = Some(Cluster::new(vector, *now)),
            // The cluster went while the prompt was on its way: it begins anew.
            (Self::Joined { vector, .. }, None) => *cluster = Some(Cluster::new(vector, 0)),
            (Self::Founded { vector, .. }, Some(there)) => there.add(vector, None),
            (Self::Joined { vector, near }, Some(there)) => there.add(vector, Some(*near)),
            (Self::Labelled { similarity, wrong }, Some(there)) => there.label(*similarity, *wrong),
            (Self::Heard { doubt, now }, Some(there)) => return Some(there.hear(*doubt, *now, stale)),
            (Self::Left(count), Some(there)) => there.leave(*count),
            (Self::Labelled { .. } | Self::Heard { .. } | Self::Left(_), None) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_a_cluster_that_is_gone_make_none_unless_a_prompt_comes() {
        let stale = |_: u64, _: f64| 0.5;
        let mut cluster = None;
        for change in [
            Change::Labelled { similarity: 0.9, wrong: 0.0 },
            Change::Heard { doubt: 1.0, now: 3 },
            Change::Left(2),
        ] {
            assert_eq!(change.apply(&mut cluster, &stale), None);
            assert!(cluster.is_none());
        }
        Change::Joined { vector: vec![1.0, 0.0], near: 0.9 }.apply(&mut cluster, &stale);
        Change::Founded { vector: vec![1.0, 0.1], now: 4 }.apply(&mut cluster, &stale);
        assert_eq!(cluster.as_ref().map(Cluster::size), Some(2));
        assert_eq!(Change::Heard { doubt: 1.0, now: 3 }.apply(&mut cluster, &stale), Some(0.5));
        Change::Left(5).apply(&mut cluster, &stale);
        assert_eq!(cluster.map(|cluster| cluster.size()), Some(0));
    }
}
