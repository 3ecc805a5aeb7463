//! How entries, clusters and what was learnt are spelled as points of a collection, and read back.
//!
//! A point's id is made of what it stands for, so that writing it again replaces it: an entry's of its exact key, a feed
//! segment's of who wrote it. A cluster's is its number. What can't be read is passed over, as if it were not there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{
    Condition, FieldCondition, Filter, ListValue, Match, NamedVectors, PointId, PointStruct, Range, Value,
    Vector, Vectors, r#match, vector, vectors,
};

use crate::entry::{Answer, Entry};
use crate::features::Profile;
use crate::partition::{ExactKey, PartitionKey};
use crate::store::Cluster;

/// The name of an entry's vector.
pub(super) const PROMPT: &str = "prompt";

/// Fields of a payload.
pub(super) mod field {
    pub(crate) const KIND: &str = "kind";
    pub(crate) const PARTITION: &str = "partition";
    pub(crate) const EXACT: &str = "exact";
    pub(crate) const NORMALISED: &str = "normalised";
    pub(crate) const CLUSTER: &str = "cluster";
    pub(crate) const TAGS: &str = "tags";
    pub(crate) const EXPIRES: &str = "expires_ms";
    pub(crate) const CREATED: &str = "created_us";
    pub(crate) const ENTRY: &str = "entry";
    pub(crate) const OWNER: &str = "owner";
    pub(crate) const PROFILE: &str = "profile";
    pub(crate) const NOTE: &str = "note";
    pub(crate) const ANSWER: &str = "answer";
    pub(crate) const STATE: &str = "state";
    pub(crate) const SIZE: &str = "size";
    pub(crate) const VERSION: &str = "version";
    pub(crate) const WRITES: &str = "writes";
    pub(crate) const ORIGIN: &str = "origin";
    pub(crate) const HEAD: &str = "head";
    pub(crate) const NUMBER: &str = "number";
    pub(crate) const EVENTS: &str = "events";
    pub(crate) const CLOCK: &str = "clock";
}

/// Kinds of points.
pub(super) mod kind {
    pub(crate) const ENTRY: &str = "entry";
    pub(crate) const CLUSTER: &str = "cluster";
    pub(crate) const LEARNT: &str = "learnt";
    pub(crate) const FEED: &str = "feed";
    pub(crate) const INSTANCE: &str = "instance";
    pub(crate) const COLLECTION: &str = "collection";
}

pub(super) type Payload = HashMap<String, Value>;

pub(super) fn text(value: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

pub(super) fn whole(value: u64) -> Value {
    Value { kind: Some(Kind::IntegerValue(value.min(i64::MAX as u64) as i64)) }
}

/// A number of all 64 bits, which a payload's integers don't have.
fn number(value: u64) -> Value {
    text(value.to_string())
}

fn bytes(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(plain) if !plain.starts_with(BASE64) => text(plain),
        _ => text(format!("{BASE64}{}", STANDARD.encode(value))),
    }
}

/// Marks bytes that are no text.
const BASE64: &str = "base64:";

pub(super) fn get_text<'p>(payload: &'p Payload, name: &str) -> Option<&'p str> {
    match &payload.get(name)?.kind {
        Some(Kind::StringValue(value)) => Some(value),
        _ => None,
    }
}

pub(super) fn get_whole(payload: &Payload, name: &str) -> Option<u64> {
    match payload.get(name)?.kind {
        Some(Kind::IntegerValue(value)) => u64::try_from(value).ok(),
        _ => None,
    }
}

pub(super) fn get_number(payload: &Payload, name: &str) -> Option<u64> {
    get_text(payload, name)?.parse().ok()
}

fn get_bytes(payload: &Payload, name: &str) -> Option<Bytes> {
    let value = get_text(payload, name)?;
    match value.strip_prefix(BASE64) {
        Some(encoded) => STANDARD.decode(encoded).ok().map(Bytes::from),
        None => Some(Bytes::copy_from_slice(value.as_bytes())),
    }
}

pub(super) fn get_list(payload: &Payload, name: &str) -> Vec<String> {
    let Some(Kind::ListValue(list)) = payload.get(name).and_then(|value| value.kind.as_ref()) else {
        return Vec::new();
    };
    let item = |value: &Value| match &value.kind {
        Some(Kind::StringValue(value)) => Some(value.clone()),
        _ => None,
    };
    list.values.iter().filter_map(item).collect()
}

pub(super) fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> Value {
    let values = values.into_iter().map(text).collect();
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_of(hex: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(hex).ok().map(|hash| *hash.as_bytes())
}

/// Milliseconds since 1970: what an expiry is compared by.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time_of(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

/// An id out of 16 bytes.
fn uuid(bytes: &[u8]) -> PointId {
    let digits = hex(&bytes[..16]);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    PointId { point_id_options: Some(PointIdOptions::Uuid(parts.join("-"))) }
}

pub(super) fn entry_id(exact: &ExactKey) -> PointId {
    uuid(exact.bytes())
}

pub(super) fn cluster_id(cluster: u64) -> PointId {
    PointId { point_id_options: Some(PointIdOptions::Num(cluster)) }
}

/// The id of anything else, by its kind and name.
pub(super) fn named_id(kind: &str, name: &str) -> PointId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes()).update(&[0]).update(name.as_bytes());
    uuid(hasher.finalize().as_bytes())
}

pub(super) fn number_of(id: &PointId) -> Option<u64> {
    match id.point_id_options {
        Some(PointIdOptions::Num(number)) => Some(number),
        _ => None,
    }
}

/// A point that no search by vector finds, unless it has one.
pub(super) fn point(id: PointId, payload: Payload, vector: Option<&[f32]>) -> PointStruct {
    let mut named = HashMap::new();
    if let Some(vector) = vector {
        let dense = vector::Vector::Dense(vector.to_vec().into());
        named.insert(PROMPT.to_owned(), Vector { vector: Some(dense), ..Vector::default() });
    }
    let options = vectors::VectorsOptions::Vectors(NamedVectors { vectors: named });
    PointStruct { id: Some(id), payload, vectors: Some(Vectors { vectors_options: Some(options) }) }
}

pub(super) fn payload<const N: usize>(fields: [(&str, Value); N]) -> Payload {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An entry without its answer, which its cluster has. It can be forgotten by its own tags and by those of its answer.
pub(super) fn entry(entry: &Entry, vector: Option<&[f32]>) -> PointStruct {
    let others = entry.answer.tags.iter().filter(|tag| !entry.tags.contains(tag));
    let tags = entry.tags.iter().chain(others).map(String::as_str);
    let micros = entry.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    let mut payload = payload([
        (field::KIND, text(kind::ENTRY)),
        (field::PARTITION, text(hex(entry.partition.bytes()))),
        (field::EXACT, text(hex(entry.exact.bytes()))),
        (field::CLUSTER, number(entry.cluster)),
        (field::TAGS, list(tags)),
        (field::CREATED, whole(u64::try_from(micros).unwrap_or(u64::MAX))),
        (field::EXPIRES, whole(millis(entry.expires_at))),
        (field::ENTRY, number(entry.id)),
        (field::OWNER, number(entry.owner)),
    ]);
    let mut put = |name: &str, value| drop(payload.insert(name.to_owned(), value));
    if let Some(normalised) = &entry.normalised {
        put(field::NORMALISED, text(hex(normalised.bytes())));
    }
    if let Some(profile) = entry.profile.as_ref().and_then(|profile| serde_json::to_string(profile).ok()) {
        put(field::PROFILE, text(profile));
    }
    if !entry.note.is_empty() {
        put(field::NOTE, bytes(&entry.note));
    }
    point(entry_id(&entry.exact), payload, vector)
}

/// The entry that a point is, but for its answer.
pub(super) fn read_entry(payload: &Payload) -> Option<Entry> {
    let key = |name| key_of(get_text(payload, name)?);
    let profile = match get_text(payload, field::PROFILE) {
        Some(profile) => Some(Arc::new(serde_json::from_str::<Profile>(profile).ok()?)),
        None => None,
    };
    let expires = get_whole(payload, field::EXPIRES)?;
    Some(Entry {
        answer: Arc::new(Answer::new(Bytes::new())),
        partition: PartitionKey::kept(key(field::PARTITION)?),
        created: time_of(get_whole(payload, field::CREATED)?),
        expires_at: time_of(expires.checked_mul(1000)?),
        note: get_bytes(payload, field::NOTE).unwrap_or_default(),
        owner: get_number(payload, field::OWNER)?,
        id: get_number(payload, field::ENTRY)?,
        exact: ExactKey::kept(key(field::EXACT)?),
        normalised: key(field::NORMALISED).map(ExactKey::kept),
        cluster: get_number(payload, field::CLUSTER)?,
        profile,
        tags: get_list(payload, field::TAGS).into(),
        weight: 0,
    })
}

/// What is written of a cluster.
pub(super) struct KeptCluster {
    pub(super) partition: PartitionKey,
    pub(super) answer: Arc<Answer>,
    pub(super) state: Cluster,
    /// Until when its longest-lived prompt may be served.
    pub(super) expires_ms: u64,
    /// How often it was written.
    pub(super) version: u64,
    /// Names of the latest writes, by which a writer finds out whether its own was one.
    pub(super) writes: Vec<String>,
}

pub(super) fn cluster(id: u64, kept: &KeptCluster) -> PointStruct {
    let mut state = Vec::new();
    kept.state.write(&mut state);
    let payload = payload([
        (field::KIND, text(kind::CLUSTER)),
        (field::PARTITION, text(hex(kept.partition.bytes()))),
        (field::ANSWER, bytes(&kept.answer.payload)),
        (field::TAGS, list(kept.answer.tags.iter().map(String::as_str))),
        (field::STATE, text(STANDARD.encode(state))),
        (field::SIZE, whole(u64::from(kept.state.size()))),
        (field::EXPIRES, whole(kept.expires_ms)),
        (field::VERSION, whole(kept.version)),
        (field::WRITES, list(kept.writes.iter().map(String::as_str))),
    ]);
    point(cluster_id(id), payload, None)
}

pub(super) fn read_cluster(payload: &Payload) -> Option<KeptCluster> {
    let state = Cluster::read(&STANDARD.decode(get_text(payload, field::STATE)?).ok()?)?;
    let size = u32::try_from(get_whole(payload, field::SIZE)?).ok()?;
    Some(KeptCluster {
        partition: PartitionKey::kept(key_of(get_text(payload, field::PARTITION)?)?),
        answer: Arc::new(Answer {
            payload: get_bytes(payload, field::ANSWER)?,
            tags: get_list(payload, field::TAGS).into(),
        }),
        state: state.with_size(size),
        expires_ms: get_whole(payload, field::EXPIRES)?,
        version: get_whole(payload, field::VERSION)?,
        writes: get_list(payload, field::WRITES),
    })
}

/// A partition out of a payload.
pub(super) fn read_partition(payload: &Payload) -> Option<PartitionKey> {
    Some(PartitionKey::kept(key_of(get_text(payload, field::PARTITION)?)?))
}

fn condition(key: &str, matches: Option<r#match::MatchValue>, range: Option<Range>) -> Condition {
    let matches = matches.map(|value| Match { match_value: Some(value) });
    let condition =
        FieldCondition { key: key.to_owned(), r#match: matches, range, ..FieldCondition::default() };
    condition.into()
}

/// That a field has this very text.
pub(super) fn is(key: &str, value: impl Into<String>) -> Condition {
    condition(key, Some(r#match::MatchValue::Keyword(value.into())), None)
}

/// That a field has this very number.
pub(super) fn equals(key: &str, value: u64) -> Condition {
    condition(key, Some(r#match::MatchValue::Integer(value.min(i64::MAX as u64) as i64)), None)
}

/// That a point may be served at this time.
pub(super) fn alive(now: SystemTime) -> Condition {
    condition(field::EXPIRES, None, Some(Range { gt: Some(millis(now) as f64), ..Range::default() }))
}

/// That a point's time is over.
pub(super) fn expired(now: SystemTime) -> Condition {
    condition(field::EXPIRES, None, Some(Range { lte: Some(millis(now) as f64), ..Range::default() }))
}

pub(super) fn all<const N: usize>(conditions: [Condition; N]) -> Filter {
    Filter::must(conditions)
}
