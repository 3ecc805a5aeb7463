//! Requests that came before, byte for byte: what reading them led to, so that a repeated one need not be read again.
//!
//! Only requests in which no guard found or changed anything are kept, and of those only digests, the model's name and how
//! the answer travels. Routes and the cache's own key are the same for as long as the process lives, so the same
//! bytes of the same tenant under the same policy can only lead to the same place. That place is looked up anew each time: what was
//! replaced, expired or evicted is not found, and the request is then read like any other.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sluice_engine::ExactKey;

use super::request::Delivery;

/// Requests that are kept, a power of two; each takes some hundred bytes.
const PLACES: usize = 4096;
/// Requests among which the one to give way is chosen; a lookup compares so many digests.
const WAYS: usize = 8;
/// Separates these digests from every other use of the same secret.
const DOMAIN: &[u8] = b"sluice repeat v1";

/// Stands for a tenant and the bytes of a body, as a keyed 256-bit digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RepeatKey([u8; 32]);

/// Where reading a request led.
pub(super) struct Known {
    /// Its key in the cache.
    pub(super) exact: ExactKey,
    /// The model asked for.
    pub(super) model: String,
    /// How the answer is taken.
    pub(super) delivery: Delivery,
}

/// The requests that are known. Each has few places where it may be; the oldest in them gives way.
pub(super) struct Repeats {
    secret: [u8; 32],
    sets: Box<[Mutex<Set>]>,
}

#[derive(Default)]
struct Set {
    ways: [Option<(RepeatKey, Arc<Known>)>; WAYS],
    /// Where the next one goes.
    next: usize,
}

impl Repeats {
    /// None known; digests are made with `secret`.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let sets = (0..PLACES / WAYS).map(|_| Mutex::default()).collect();
        Self { secret: *secret, sets }
    }

    /// The key of a body that a tenant sent to a namespace under a policy in a format (`how`). Lengths come first, so that no two of these give
    /// the same bytes.
    pub(super) fn key(
        &self,
        tenant: &str,
        namespace: Option<&str>,
        how: [&str; 2],
        body: &[u8],
    ) -> RepeatKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        // No namespace is an empty one: a request can't name that.
        let space = namespace.unwrap_or_default();
        let [policy, format] = how.map(str::as_bytes);
        for part in [DOMAIN, tenant.as_bytes(), space.as_bytes(), policy, format, body] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        RepeatKey(*hasher.finalize().as_bytes())
    }

    /// Where this request led before.
    pub(super) fn find(&self, key: &RepeatKey) -> Option<Arc<Known>> {
        let set = self.set(key)?.lock().unwrap_or_else(PoisonError::into_inner);
        let found = set.ways.iter().flatten().find(|(known, _)| known == key)?;
        Some(Arc::clone(&found.1))
    }

    /// Keeps where this request led. The caller has seen that no guard found or changed anything in it.
    pub(super) fn learn(&self, key: RepeatKey, known: Known) {
        let Some(set) = self.set(&key) else { return };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let same = set.ways.iter().position(|way| way.as_ref().is_some_and(|(other, _)| *other == key));
        let at = same.unwrap_or(set.next % WAYS);
        if same.is_none() {
            set.next = set.next.wrapping_add(1);
        }
        set.ways[at] = Some((key, Arc::new(known)));
    }

    fn set(&self, key: &RepeatKey) -> Option<&Mutex<Set>> {
        let [first, second, ..] = key.0;
        self.sets.get(usize::from(u16::from_le_bytes([first, second])) % self.sets.len())
    }
}

impl fmt::Debug for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeats").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_api::Format;
    use sluice_engine::KeyHasher;

    fn known(model: &str) -> Known {
        let exact = KeyHasher::new(&[0; 32]).partition().exact(&[model.as_bytes()]);
        let delivery = Delivery {
            format: Format::OpenAiChat,
            stream: false,
            include_usage: false,
            echo: None,
            called: None,
        };
        Known { exact, model: model.to_owned(), delivery }
    }

    #[test]
    fn only_the_same_bytes_of_the_same_tenant_are_known() {
        let repeats = Repeats::new(&[1; 32]);
        repeats.learn(repeats.key("a", None, ["p", "f"], b"bc"), known("m"));
        let model = |tenant, body| {
            repeats.find(&repeats.key(tenant, None, ["p", "f"], body)).map(|known| known.model.clone())
        };
        assert_eq!(model("a", b"bc").as_deref(), Some("m"));
        for (tenant, body) in [("b", &b"bc"[..]), ("ab", b"c"), ("", b"abc"), ("a", b"bc "), ("a", b"Bc")] {
            assert_eq!(model(tenant, body), None, "{tenant}");
        }
    }

    #[test]
    fn namespaces_know_nothing_of_each_other() {
        let repeats = Repeats::new(&[1; 32]);
        repeats.learn(repeats.key("a", Some("x"), ["p", "f"], b"b"), known("m"));
        let knows = |tenant, namespace, body| {
            repeats.find(&repeats.key(tenant, namespace, ["p", "f"], body)).is_some()
        };
        assert!(knows("a", Some("x"), b"b"));
        assert!(!knows("a", None, b"b") && !knows("a", Some("y"), b"b") && !knows("ax", None, b"b"));
        assert!(!knows("a", None, b"xb"));
        assert!(repeats.find(&repeats.key("a", Some("x"), ["p", "another format"], b"b")).is_none());
        assert!(repeats.find(&repeats.key("a", Some("x"), ["another policy", "f"], b"b")).is_none());
    }

    #[test]
    fn another_secret_gives_unrelated_keys() {
        let key = |secret| Repeats::new(&[secret; 32]).key("a", None, ["p", "f"], b"b").0;
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
    }

    #[test]
    fn it_stays_within_its_places_and_keeps_the_newest() {
        let repeats = Repeats::new(&[1; 32]);
        let many = 3 * PLACES;
        for n in 0..many {
            repeats.learn(repeats.key("a", None, ["p", "f"], &n.to_le_bytes()), known("m"));
        }
        let found = |n: usize| repeats.find(&repeats.key("a", None, ["p", "f"], &n.to_le_bytes())).is_some();
        assert!((0..many).filter(|n| found(*n)).count() <= PLACES);
        assert!(found(many - 1));
    }

    #[test]
    fn what_is_learned_again_takes_no_second_place() {
        let repeats = Repeats::new(&[1; 32]);
        let key = repeats.key("a", None, ["p", "f"], b"b");
        (0..100).for_each(|_| repeats.learn(key, known("m")));
        let places = |set: &Mutex<Set>| set.lock().unwrap().ways.iter().flatten().count();
        assert_eq!(repeats.sets.iter().map(places).sum::<usize>(), 1);
    }
}
