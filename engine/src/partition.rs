//! Keys: which requests may share an answer at all (partition), and which are the same letter by letter (exact).
//!
//! Both are 256-bit keyed BLAKE3 digests. The key is a secret of the deployment, so nobody outside can construct two
//! requests that collide, or learn from a key what was asked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Separates partition digests from every other use of the same secret.
const PARTITION_DOMAIN: &[u8] = b"sluice partition v1";
/// Separates exact digests from every other use of a partition's key.
const EXACT_DOMAIN: &[u8] = b"sluice exact v1";

/// What must be equal before two requests may share an answer, as a digest. Requests of different partitions never do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartitionKey([u8; 32]);

/// What is compared letter by letter inside a partition, as a digest; two partitions never have one in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExactKey([u8; 32]);

impl PartitionKey {
    /// The key of a request in this partition, from the parts that must match letter by letter. The number of parts,
    /// their order and their boundaries all count.
    pub fn exact(&self, parts: &[&[u8]]) -> ExactKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        frame(&mut hasher, EXACT_DOMAIN);
        for part in parts {
            frame(&mut hasher, part);
        }
        ExactKey(*hasher.finalize().as_bytes())
    }

    /// The digest, to be kept.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key whose digest was kept.
    pub(crate) fn kept(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest in letters.
    pub(crate) fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl ExactKey {
    /// Which of `count` equal shares the key falls into.
    pub(crate) fn stripe(&self, count: usize) -> usize {
        usize::from(self.0[0]) % count
    }

    /// The digest, to be kept.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key whose digest was kept.
    pub(crate) fn kept(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Builds a [`PartitionKey`] from named fields: tenant, model, parameters, whatever an answer depends on.
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Starts a key under the deployment's `secret`. Keys made with different secrets are unrelated.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        frame(&mut hasher, PARTITION_DOMAIN);
        Self(hasher)
    }

    /// Adds a field. Name and value are prefixed with their lengths, so no two different lists of fields, in whatever
    /// order, give the same bytes to the digest.
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Self {
        frame(&mut self.0, name.as_bytes());
        frame(&mut self.0, value);
        self
    }

    /// The key of the partition described by the fields added so far.
    pub fn partition(self) -> PartitionKey {
        PartitionKey(*self.0.finalize().as_bytes())
    }
}

/// Adds `bytes` behind their length.
fn frame(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// A prefix long enough to tell keys apart in a log.
fn short_hex(name: &str, bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name}({:02x}{:02x}{:02x}{:02x}…)", bytes[0], bytes[1], bytes[2], bytes[3])
}

impl fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short_hex("PartitionKey", &self.0, f)
    }
}

impl fmt::Debug for ExactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short_hex("ExactKey", &self.0, f)
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: u8, fields: &[(String, Vec<u8>)]) -> PartitionKey {
        let mut hasher = KeyHasher::new(&[secret; 32]);
        for (name, value) in fields {
            hasher.field(name, value);
        }
        hasher.partition()
    }

    fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        // Short names and values over few letters, so that lists which differ only in their boundaries do occur.
        proptest::collection::vec(("[ab]{0,3}", proptest::collection::vec(97u8..99, 0..4)), 0..5)
    }

    proptest! {
        #[test]
        fn different_lists_of_fields_give_different_partitions(a in fields(), b in fields()) {
            prop_assert_eq!(a == b, key(1, &a) == key(1, &b));
        }

        #[test]
        fn a_change_of_any_field_changes_the_partition(a in fields(), at in any::<prop::sample::Index>(), by in 1u8..) {
            prop_assume!(!a.is_empty());
            let at = at.index(a.len());
            let mut value = a.clone();
            value[at].1.push(by);
            prop_assert_ne!(key(1, &a), key(1, &value));
            let mut name = a.clone();
            name[at].0.push('x');
            prop_assert_ne!(key(1, &a), key(1, &name));
            let mut shorter = a.clone();
            shorter.remove(at);
            prop_assert_ne!(key(1, &a), key(1, &shorter));
        }

        #[test]
        fn different_parts_or_partitions_give_different_exact_keys(a in fields(), b in fields()) {
            let parts = |list: &[(String, Vec<u8>)]| list.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
            let (a, b) = (parts(&a), parts(&b));
            let exact = |secret, parts: &[Vec<u8>]| {
                key(secret, &[]).exact(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
            };
            prop_assert_eq!(a == b, exact(1, &a) == exact(1, &b));
            prop_assert_ne!(exact(1, &a), exact(2, &a));
        }
    }

    #[test]
    fn another_secret_gives_unrelated_partitions() {
        let list = [("tenant".to_owned(), b"acme".to_vec())];
        assert_ne!(key(1, &list), key(2, &list));
        assert_eq!(key(1, &list), key(1, &list));
    }

    #[test]
    fn a_key_has_256_bits_of_which_any_change_moves_about_half() {
        let secret = |bit: usize| {
            let mut secret = [9; 32];
            secret[bit / 8] ^= 1 << (bit % 8);
            KeyHasher::new(&secret).partition()
        };
        let base = KeyHasher::new(&[9; 32]).partition();
        let moved =
            |a: &[u8; 32], b: &[u8; 32]| -> u32 { a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum() };
        let mut ever = [0; 32];
        for bit in 0..256 {
            let other = secret(bit);
            assert!((80..176).contains(&moved(&base.0, &other.0)), "bit {bit} of the secret");
            // The partition's own key is the secret of what is compared letter by letter in it.
            let (exact, other) = (base.exact(&[b"text"]), other.exact(&[b"text"]));
            assert!((80..176).contains(&moved(&exact.0, &other.0)), "bit {bit} of the secret");
            ever.iter_mut().zip(exact.0.iter().zip(other.0)).for_each(|(ever, (a, b))| *ever |= a ^ b);
        }
        assert_eq!(ever, [255; 32], "no bit of a key stands still");
    }

    #[test]
    fn debug_shows_a_short_prefix_and_nothing_of_the_fields() {
        let partition = key(1, &[("tenant".to_owned(), b"acme".to_vec())]);
        let shown = format!("{partition:?} {:?}", partition.exact(&[b"hello"]));
        assert!(shown.len() < 60 && !shown.contains("acme") && !shown.contains("hello"), "{shown}");
    }
}
