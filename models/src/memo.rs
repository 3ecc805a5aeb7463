//! Texts embedded before, so that the same text is not computed twice.

use crate::embedder::Embedding;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Stands for an exact text. A hash, so that the memo keeps no text and an entry's size does not depend on it.
pub(crate) type Key = [u8; 32];

/// Exact text → embedding, bounded by bytes; what is seldom asked for goes first.
pub(crate) struct Memo {
    entries: Option<Cache<Key, Arc<Embedding>>>,
}

/// What an entry costs besides its numbers: key, counters and the cache's own nodes (an estimate).
const OVERHEAD: usize = 256;

impl Memo {
    /// A memo of about `bytes` bytes; with 0 it remembers nothing.
    pub(crate) fn new(bytes: u64) -> Self {
        let weigh = |_: &Key, embedding: &Arc<Embedding>| {
            u32::try_from(embedding.vector.len() * size_of::<f32>() + OVERHEAD).unwrap_or(u32::MAX)
        };
        let entries = (bytes > 0).then(|| Cache::builder().max_capacity(bytes).weigher(weigh).build());
        Self { entries }
    }

    /// The key of a text among those of a scope. The scope's length keeps two pairs with the same joined text apart.
    pub(crate) fn key(scope: &str, text: &str) -> Key {
        let mut hash = Sha256::new();
        hash.update((scope.len() as u64).to_le_bytes());
        hash.update(scope.as_bytes());
        hash.update(text.as_bytes());
        hash.finalize().into()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Embedding>> {
        self.entries.as_ref()?.get(key)
    }

    pub(crate) fn put(&self, key: Key, embedding: Arc<Embedding>) {
        if let Some(entries) = &self.entries {
            entries.insert(key, embedding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(first: f32) -> Arc<Embedding> {
        Arc::new(Embedding { vector: vec![first; 100], tokens: 1, truncated: false })
    }

    #[test]
    fn only_the_exact_text_is_found_again() {
        let memo = Memo::new(1 << 20);
        memo.put(Memo::key("", "Hello"), embedding(1.0));
        assert!(memo.get(&Memo::key("", "Hello")).is_some());
        assert!(memo.get(&Memo::key("", "hello")).is_none());
        assert!(memo.get(&Memo::key("", "Hello ")).is_none());
    }

    #[test]
    fn what_one_scope_asked_is_not_known_to_another() {
        let memo = Memo::new(1 << 20);
        memo.put(Memo::key("a", "bc"), embedding(1.0));
        assert!(memo.get(&Memo::key("a", "bc")).is_some());
        assert!(memo.get(&Memo::key("ab", "c")).is_none());
        assert!(memo.get(&Memo::key("b", "bc")).is_none());
    }

    #[test]
    fn it_stays_within_its_bytes() {
        let memo = Memo::new(10 * (100 * 4 + OVERHEAD as u64));
        for n in 0..1000 {
            memo.put(Memo::key("", &n.to_string()), embedding(n as f32));
        }
        let entries = memo.entries.as_ref().unwrap();
        entries.run_pending_tasks();
        assert!(entries.entry_count() <= 10, "{}", entries.entry_count());
    }

    #[test]
    fn a_memo_of_no_bytes_remembers_nothing() {
        let memo = Memo::new(0);
        memo.put(Memo::key("", "a"), embedding(1.0));
        assert!(memo.get(&Memo::key("", "a")).is_none());
    }
}
