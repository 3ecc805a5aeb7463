//! An embedder without weights, for tests and for trying things out: it counts words and letter trigrams.

use crate::embedder::{EmbedError, Embedder, Embedding};
use crate::pooling::normalise;

/// Feature hashing with a sign bit (Weinberger et al. 2009) over words and their letter trigrams.
///
/// Deterministic on every machine; texts that share words or spellings get similar vectors, meaning is not seen.
/// Order, letter case and punctuation do not matter.
#[derive(Debug, Clone)]
pub struct HashedEmbedder {
    id: String,
    dimensions: usize,
}

/// Words that are looked at; what follows is cut off.
const MAX_WORDS: usize = 8192;
/// A shared trigram says less than a shared word.
const TRIGRAM_WEIGHT: f32 = 0.35;

impl HashedEmbedder {
    /// An embedder with vectors of `dimensions` numbers (at least one). 256 and more keep collisions rare.
    #[must_use]
    pub fn new(dimensions: usize) -> Self {
        let dimensions = dimensions.max(1);
        Self { id: format!("hashed-{dimensions}/f32"), dimensions }
    }

    fn add(&self, vector: &mut [f32], kind: u8, feature: impl Iterator<Item = char>, weight: f32) {
        let hash = mix(fnv1a(kind, feature));
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        // The remainder is below `dimensions`, hence the index is in range.
        vector[(hash % self.dimensions as u64) as usize] += sign * weight;
    }
}

impl Embedder for HashedEmbedder {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn max_tokens(&self) -> usize {
        MAX_WORDS
    }

    fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        let mut vector = vec![0.0_f32; self.dimensions];
        let mut words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let mut tokens = 0;
        for word in words.by_ref().take(MAX_WORDS) {
            tokens += 1;
            let letters: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
            self.add(&mut vector, b'w', letters.iter().copied(), 1.0);
            let framed: Vec<char> = std::iter::once('^').chain(letters).chain(['$']).collect();
            for trigram in framed.windows(3) {
                self.add(&mut vector, b't', trigram.iter().copied(), TRIGRAM_WEIGHT);
            }
        }
        let truncated = words.next().is_some();
        if vector.iter().all(|x| *x == 0.0) {
            // No word at all (or features that cancel out): texts still need a place, apart by what they are.
            self.add(&mut vector, b'e', text.chars().take(MAX_WORDS), 1.0);
        }
        normalise(&mut vector);
        Ok(Embedding { vector, tokens, truncated })
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo), over the characters' code points.
fn fnv1a(kind: u8, feature: impl Iterator<Item = char>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for unit in std::iter::once(u32::from(kind)).chain(feature.map(u32::from)) {
        for byte in unit.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

/// Finaliser of `SplitMix64` (Steele, Lea, Flood 2014): FNV's high bits are weak for short input.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cosine(a: &str, b: &str) -> f32 {
        let embedder = HashedEmbedder::new(384);
        let (a, b) = (embedder.embed(a).unwrap(), embedder.embed(b).unwrap());
        a.vector.iter().zip(&b.vector).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn similar_texts_are_nearer_than_different_ones() {
        let near = cosine("How do I reset my password?", "how can I reset my passwords");
        let far = cosine("How do I reset my password?", "The weather in Lisbon is mild");
        assert!(near > 0.6, "{near}");
        assert!(far < 0.3, "{far}");
    }

    #[test]
    fn case_order_and_punctuation_do_not_matter() {
        assert!(cosine("Reset, my PASSWORD!", "my password reset") > 0.999);
    }

    #[test]
    fn texts_without_words_have_a_vector_too_and_are_told_apart() {
        for text in ["", " ", "🙂", "?!"] {
            let length: f32 = HashedEmbedder::new(64).embed(text).unwrap().vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{text:?}");
        }
        assert!(cosine("🙂", "🚀") < 0.5);
    }

    #[test]
    fn words_are_counted_and_the_limit_is_reported() {
        let embedder = HashedEmbedder::new(16);
        let short = embedder.embed("one two  three").unwrap();
        assert_eq!((short.tokens, short.truncated), (3, false));
        let long = embedder.embed(&"word ".repeat(MAX_WORDS + 1)).unwrap();
        assert_eq!((long.tokens, long.truncated), (MAX_WORDS, true));
    }

    proptest! {
        #[test]
        fn every_text_gets_the_same_unit_vector_twice(text in any::<String>(), dimensions in 1_usize..512) {
            let embedder = HashedEmbedder::new(dimensions);
            let once = embedder.embed(&text).unwrap();
            prop_assert_eq!(once.vector.len(), dimensions);
            let length = once.vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            prop_assert!((length - 1.0).abs() < 1e-4);
            prop_assert_eq!(once, embedder.embed(&text).unwrap());
        }
    }
}
