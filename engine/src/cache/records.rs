//! The form in which entries are kept in the journal: plain numbers, little end first.
//!
//! | table | even keys | odd keys |
//! |---|---|---|
//! | answers | an answer's bytes, by cluster | an entry that has one, by id |
//! | prompts | a cluster, with its partition | a prompt's vector and profile, by the entry's id |
//!
//! A cluster is numbered as its first entry, so in the order of keys every answer and every cluster stands before all that
//! share it. What two prompts share is so written once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::entry::{Answer, Entry};
use crate::features::Profile;
use crate::partition::{ExactKey, PartitionKey};
use crate::store::Cluster;

/// Changes whenever an older program could not read what a newer one wrote, or the other way round.
pub(super) const FORM: u32 = 1;

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// An answer, or what is known of it.
    Cluster(u64),
    /// An entry, or its prompt.
    Entry(u64),
}

impl Of {
    pub(super) fn key(self) -> u64 {
        match self {
            Self::Cluster(id) => id << 1,
            Self::Entry(id) => id << 1 | 1,
        }
    }

    pub(super) fn read(key: u64) -> Self {
        if key & 1 == 0 { Self::Cluster(key >> 1) } else { Self::Entry(key >> 1) }
    }

    pub(super) fn id(self) -> u64 {
        match self {
            Self::Cluster(id) | Self::Entry(id) => id,
        }
    }
}

/// An entry without its answer and its prompt.
pub(super) fn entry(entry: &Entry) -> Bytes {
    let mut out = Vec::with_capacity(160 + entry.note.len());
    out.extend_from_slice(entry.partition.bytes());
    out.extend_from_slice(entry.exact.bytes());
    out.push(u8::from(entry.normalised.is_some()));
    entry.normalised.iter().for_each(|key| out.extend_from_slice(key.bytes()));
    out.extend_from_slice(&entry.cluster.to_le_bytes());
    out.extend_from_slice(&entry.weight.to_le_bytes());
    for time in [entry.created, entry.expires_at] {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        out.extend_from_slice(&since.as_secs().to_le_bytes());
        out.extend_from_slice(&since.subsec_nanos().to_le_bytes());
    }
    out.extend_from_slice(&entry.owner.to_le_bytes());
    out.extend_from_slice(&(entry.note.len() as u64).to_le_bytes());
    out.extend_from_slice(&entry.note);
    Bytes::from(out)
}

/// The entry of this id, with the answer that `answer` has for its cluster; `None` for other bytes, or without an answer.
pub(super) fn read_entry(
    id: u64,
    bytes: &[u8],
    answer: impl FnOnce(u64) -> Option<Arc<Answer>>,
) -> Option<Entry> {
    let mut rest = bytes;
    let partition = PartitionKey::kept(take(&mut rest)?);
    let exact = ExactKey::kept(take(&mut rest)?);
    let normalised = match take(&mut rest)? {
        [0] => None,
        [_] => Some(ExactKey::kept(take(&mut rest)?)),
    };
    let cluster = u64::from_le_bytes(take(&mut rest)?);
    let weight = u32::from_le_bytes(take(&mut rest)?);
    let (created, expires_at) = (time(&mut rest)?, time(&mut rest)?);
    let owner = u64::from_le_bytes(take(&mut rest)?);
    let length = u64::from_le_bytes(take(&mut rest)?);
    let note = Bytes::copy_from_slice(rest);
    let answer = answer(cluster).filter(|_| length == note.len() as u64)?;
    Some(Entry {
        answer,
        partition,
        created,
        expires_at,
        id,
        exact,
        normalised,
        cluster,
        profile: None,
        weight,
        owner,
        note,
        tags: Box::default(),
    })
}

/// A prompt's vector, and its profile as JSON, which may be none.
pub(super) fn prompt(vector: &[f32], profile: Option<&Profile>) -> Bytes {
    let mut out = Vec::with_capacity(size_of_val(vector) + 1024);
    out.extend_from_slice(&(vector.len() as u32).to_le_bytes());
    vector.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
    if let Some(profile) = profile {
        // A profile is whole numbers alone, and memory has no way to refuse.
        drop(serde_json::to_writer(&mut out, profile));
    }
    Bytes::from(out)
}

/// What [`prompt`] wrote; `None` for other bytes.
pub(super) fn read_prompt(bytes: &[u8]) -> Option<(Vec<f32>, Option<Profile>)> {
    let mut rest = bytes;
    let count = u32::from_le_bytes(take(&mut rest)?) as usize;
    let (vector, profile) = rest.split_at_checked(count.checked_mul(size_of::<f32>())?)?;
    let (vector, _) = vector.as_chunks();
    let vector = vector.iter().map(|x| f32::from_le_bytes(*x)).collect();
    let profile = if profile.is_empty() { None } else { Some(serde_json::from_slice(profile).ok()?) };
    Some((vector, profile))
}

/// A cluster with its partition.
pub(super) fn cluster(partition: &PartitionKey, cluster: &Cluster) -> Bytes {
    let mut out = Vec::with_capacity(2 * cluster.dimension() + 256);
    out.extend_from_slice(partition.bytes());
    cluster.write(&mut out);
    Bytes::from(out)
}

/// What [`cluster`] wrote; `None` for other bytes.
pub(super) fn read_cluster(bytes: &[u8]) -> Option<(PartitionKey, Cluster)> {
    let mut rest = bytes;
    let partition = PartitionKey::kept(take(&mut rest)?);
    Some((partition, Cluster::read(rest)?))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn time(rest: &mut &[u8]) -> Option<SystemTime> {
    let (seconds, nanos) = (u64::from_le_bytes(take(rest)?), u32::from_le_bytes(take(rest)?));
    // A duration of more nanoseconds than a second has would carry them over, and may have no room for that.
    let since = (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::KeyHasher;

    fn some_entry(normalised: bool) -> Entry {
        let partition = KeyHasher::new(&[3; 32]).partition();
        Entry {
            answer: Arc::new(Answer::new(Bytes::from_static(b"nine"))),
            partition,
            created: SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789),
            expires_at: SystemTime::UNIX_EPOCH + Duration::new(1_700_086_400, 1),
            id: 9,
            exact: partition.exact(&[b"a"]),
            normalised: normalised.then(|| partition.exact(&[b"b"])),
            cluster: 7,
            profile: None,
            weight: 1234,
            owner: 5,
            note: Bytes::from_static(b"{\"prompt\":\"When?\"}"),
            tags: Box::default(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_a_part_of_it_is_nothing() {
        for normalised in [false, true] {
            let (written, answer) = (some_entry(normalised), Arc::clone(&some_entry(false).answer));
            let bytes = entry(&written);
            let read =
                |bytes: &[u8]| read_entry(9, bytes, |cluster| (cluster == 7).then(|| Arc::clone(&answer)));
            let found = read(&bytes).unwrap();
            assert_eq!((found.exact, found.normalised), (written.exact, written.normalised));
            assert_eq!((found.owner, &found.note), (written.owner, &written.note));
            assert_eq!((found.created, found.expires_at), (written.created, written.expires_at));
            assert_eq!(
                (found.partition, found.id, found.cluster, found.weight),
                (written.partition, 9, 7, 1234)
            );
            assert!((0..bytes.len()).all(|cut| read(&bytes[..cut]).is_none()));
            assert!(read(&[&bytes[..], b"x"].concat()).is_none());
            assert!(read_entry(9, &bytes, |_| None).is_none(), "an entry without its answer");
        }
        let profile = Profile::of("Is the \"blue\" door 3 m high?");
        for profile in [None, Some(&profile)] {
            let bytes = prompt(&[0.1, -2.0e-30, f32::MAX], profile);
            let (vector, found) = read_prompt(&bytes).unwrap();
            assert!(vector == [0.1, -2.0e-30, f32::MAX] && found.as_ref() == profile);
            let numbers = 4 + 3 * 4;
            assert!(
                (0..bytes.len())
                    .filter(|cut| *cut != numbers)
                    .all(|cut| read_prompt(&bytes[..cut]).is_none())
            );
        }
    }

    #[test]
    fn a_cluster_is_read_back_as_it_was_but_for_its_prompts_and_a_part_of_it_is_nothing() {
        let partition = some_entry(false).partition;
        let mut known = Cluster::new(&[0.6, -0.8, 0.0], 5);
        known.add(&[0.0, -1.0, 0.2], Some(0.91));
        known.label(0.87, 0.03);
        known.hear(-1.5, 9, |_, _| 0.5);
        known.label(0.71, 0.9);
        known.hear(2.7345678901, 11, |_, _| 0.5);
        let bytes = cluster(&partition, &known);
        let (of, mut found) = read_cluster(&bytes).unwrap();
        assert_eq!(of, partition);
        found.rejoin();
        found.rejoin();
        let query = [0.3, 0.2, -0.5];
        assert_eq!(format!("{:?}", found.facts(7, &query)), format!("{:?}", known.facts(7, &query)));
        assert_eq!((found.confirmed, found.doubt), (known.confirmed, known.doubt));
        assert_eq!(found.labels, known.labels);
        assert!((0..bytes.len()).all(|cut| read_cluster(&bytes[..cut]).is_none()));
    }

    #[test]
    fn fields_that_are_not_known_or_not_there_leave_a_kept_cluster_readable() {
        let partition = some_entry(false).partition;
        let bytes = cluster(&partition, &Cluster::new(&[1.0, 0.0], 5));
        let json = bytes.iter().position(|byte| *byte == b'{').unwrap();
        let other = [&bytes[..json], br#"{"of a later version":[1],"confirmed":8}"#].concat();
        let (_, found) = read_cluster(&other).unwrap();
        assert_eq!((found.confirmed, found.doubt, found.dimension()), (8, 0.0, 2));
    }

    #[test]
    fn keys_of_entries_and_clusters_differ_and_a_cluster_comes_before_its_entries() {
        for id in [0, 1, 2, 1 << 40] {
            for of in [Of::Cluster(id), Of::Entry(id)] {
                assert_eq!((Of::read(of.key()), of.id()), (of, id));
            }
            assert!(Of::Cluster(id).key() < Of::Entry(id).key());
        }
    }
}
