//! Finds all literals of all rules in one pass, upper and lower case alike.
//!
//! An automaton over some thousand short literals that mean the same in both cases has more states than a cache has room
//! for. Here each place's next three bytes are looked up in a filter of 8 KB instead, then its next four, and only where
//! those begin a literal is the literal compared: a few operations a byte, and no state from one to the next.

/// Bits of the filter's index, and of the table's behind it.
const FILTER: u32 = 16;
const TABLE: u32 = 12;

/// Sets the bit of lower case in four bytes; other characters that fall together are told apart later.
const FOLD: u32 = 0x2020_2020;

/// A set of literals.
pub(super) struct Literals {
    /// Of the first three bytes of every literal.
    begins: Filter,
    /// Of what `hash_of` takes: four bytes, or three of those that have no more.
    likely: Filter,
    /// Where each hash's literals start in `entries`.
    starts: Vec<u16>,
    entries: Vec<Entry>,
}

struct Entry {
    text: &'static [u8],
    owner: usize,
}

impl Literals {
    /// Of literals of three bytes or more, each with the number of its owner.
    pub(super) fn new(literals: impl Iterator<Item = (usize, &'static str)>) -> Literals {
        let entries = literals.map(|(owner, text)| Entry { text: text.as_bytes(), owner });
        let mut entries: Vec<(u32, Entry)> = entries.map(|entry| (hash_of(entry.text), entry)).collect();
        entries.sort_by_key(|(hash, entry)| (hash >> (FILTER - TABLE), entry.owner));
        let begins =
            Filter::of(entries.iter().map(|(_, entry)| hash_of(&entry.text[..entry.text.len().min(3)])));
        let likely = Filter::of(entries.iter().map(|(hash, _)| *hash));
        let starts = (0..=1u32 << TABLE)
            .map(|slot| entries.partition_point(|(hash, _)| hash >> (FILTER - TABLE) < slot))
            .map(|start| u16::try_from(start).unwrap_or(u16::MAX))
            .collect();
        Literals { begins, likely, starts, entries: entries.into_iter().map(|(_, entry)| entry).collect() }
    }

    /// Of words that have no owners.
    pub(super) fn of(words: impl Iterator<Item = &'static str>) -> Literals {
        Literals::new(words.map(|word| (0, word)))
    }

    /// Whether any of them stands in `text`.
    pub(super) fn any(&self, text: &str) -> bool {
        let mut any = false;
        self.find(text, |_, _| any = true);
        any
    }

    /// Calls `found` with every literal's place and owner, by place.
    pub(super) fn find(&self, text: &str, mut found: impl FnMut(std::ops::Range<usize>, usize)) {
        let bytes = text.as_bytes();
        let windows = bytes.windows(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
        // The last place where a literal fits has three bytes.
        let tail = bytes.len().checked_sub(3).map(|at| [bytes[at], bytes[at + 1], bytes[at + 2], 0]);
        for (at, gram) in windows.chain(tail.map(u32::from_le_bytes)).enumerate() {
            let [three, four] = hashes(gram);
            if self.begins.has(three) && (self.likely.has(four) || self.likely.has(three)) {
                self.compare(bytes, at, three, &mut found);
                if three >> (FILTER - TABLE) != four >> (FILTER - TABLE) {
                    self.compare(bytes, at, four, &mut found);
                }
            }
        }
    }

    #[cold]
    fn compare(
        &self,
        bytes: &[u8],
        at: usize,
        hash: u32,
        found: &mut impl FnMut(std::ops::Range<usize>, usize),
    ) {
        let slot = (hash >> (FILTER - TABLE)) as usize;
        for entry in &self.entries[usize::from(self.starts[slot])..usize::from(self.starts[slot + 1])] {
            let end = at + entry.text.len();
            if bytes.get(at..end).is_some_and(|there| there.eq_ignore_ascii_case(entry.text)) {
                found(at..end, entry.owner);
            }
        }
    }
}

/// A set of hashes.
struct Filter(Box<[u64; 1 << (FILTER - 6)]>);

impl Filter {
    fn of(hashes: impl Iterator<Item = u32>) -> Filter {
        let mut bits = Box::new([0; 1 << (FILTER - 6)]);
        hashes.for_each(|hash| bits[(hash >> 6) as usize] |= 1 << (hash & 63));
        Filter(bits)
    }

    fn has(&self, hash: u32) -> bool {
        self.0[(hash >> 6) as usize] >> (hash & 63) & 1 == 1
    }
}

/// The hash by which a literal is found: that of its first four bytes, or three if it has no more.
fn hash_of(literal: &[u8]) -> u32 {
    let [a, b, c] = [0, 1, 2].map(|at| literal.get(at).copied().unwrap_or_default());
    let [three, four] = hashes(u32::from_le_bytes([a, b, c, literal.get(3).copied().unwrap_or_default()]));
    if literal.len() > 3 { four } else { three }
}

/// Hashes of the first three and of all four bytes (multiplicative, Knuth's constant).
fn hashes(gram: u32) -> [u32; 2] {
    let folded = gram | FOLD;
    let hash = |gram: u32| gram.wrapping_mul(0x9e37_79b1) >> (32 - FILTER);
    [hash(folded << 8), hash(folded)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: &[&str] =
        &["sk-", "sk-ant-", "password", "word", "пароль", "://", "aaa", "aaaa", "_key", "Key_"];

    fn found(text: &str) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        Literals::new(WORDS.iter().copied().enumerate())
            .find(text, |place, owner| out.push((place.start, owner)));
        out.sort_unstable();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_literal_is_found_wherever_it_stands(
            parts in prop::collection::vec(prop_oneof![
                prop::sample::select(WORDS).prop_map(str::to_owned),
                prop::sample::select(WORDS).prop_map(str::to_uppercase),
                "[a-kA-K_/:é-]{0,3}",
            ], 0..12)
        ) {
            let text = parts.concat();
            let mut expected = Vec::new();
            for (owner, word) in WORDS.iter().enumerate() {
                let same = |at: &usize| text.as_bytes()[*at..].get(..word.len()).is_some_and(|there| there.eq_ignore_ascii_case(word.as_bytes()));
                expected.extend((0..text.len()).filter(same).map(|at| (at, owner)));
            }
            expected.sort_unstable();
            prop_assert_eq!(found(&text), expected);
        }
    }
}
