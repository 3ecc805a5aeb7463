//! Single flight: of all who want the same thing at the same time one goes and gets it, the others wait for it.
//!
//! A leader that is dropped before it had something to show leaves its place: the next to join leads. Its failure is never
//! its followers' failure.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

type Open<K, V> = Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>;

/// The flights under way, by what they fetch. At most one for a key.
pub(super) struct Flights<K: Eq + Hash, V>(Open<K, V>);

/// What somebody is who joins.
pub(super) enum Role<K: Eq + Hash, V> {
    /// The one who goes.
    Leader(Lead<K, V>),
    /// One who waits.
    Follower(Follow<V>),
}

/// The leader's place. Dropped, the flight is over.
pub(super) struct Lead<K: Eq + Hash, V> {
    flights: Open<K, V>,
    key: K,
    told: watch::Sender<Option<V>>,
}

/// A follower's place.
pub(super) struct Follow<V>(watch::Receiver<Option<V>>);

impl<K: Eq + Hash + Clone, V: Clone> Flights<K, V> {
    /// None under way.
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Follows the flight for this key, or leads a new one.
    pub(super) fn join(&self, key: &K) -> Role<K, V> {
        let mut open = lock(&self.0);
        if let Some(told) = open.get(key) {
            return Role::Follower(Follow(told.clone()));
        }
        let (told, heard) = watch::channel(None);
        open.insert(key.clone(), heard);
        Role::Leader(Lead { flights: Arc::clone(&self.0), key: key.clone(), told })
    }

    /// Follows the flight for this key, if there is one.
    pub(super) fn follow(&self, key: &K) -> Option<Follow<V>> {
        lock(&self.0).get(key).map(|told| Follow(told.clone()))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl<K: Eq + Hash, V> Lead<K, V> {
    /// Tells every follower, those still to come too, what they wait for. They may follow until the place is dropped.
    pub(super) fn show(&self, value: V) {
        self.told.send_replace(Some(value));
    }
}

impl<K: Eq + Hash, V> Drop for Lead<K, V> {
    fn drop(&mut self) {
        // Before the sender goes: who hears that it is gone finds the place free.
        lock(&self.flights).remove(&self.key);
    }
}

impl<V: Clone> Follow<V> {
    /// What the leader has to show; none if it left without.
    pub(super) async fn shown(mut self) -> Option<V> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|value| value.clone())
    }
}

/// The map is whole whenever the lock is free, also after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn lead<'a>(flights: &Flights<&'a str, u8>, key: &'a str) -> Option<Lead<&'a str, u8>> {
        match flights.join(&key) {
            Role::Leader(lead) => Some(lead),
            Role::Follower(_) => None,
        }
    }

    #[tokio::test]
    async fn one_leads_and_all_others_get_what_it_shows() {
        let flights = Flights::new();
        let leader = lead(&flights, "a").unwrap();
        let early = flights.follow(&"a").unwrap();
        assert!(lead(&flights, "b").is_some(), "another key is another flight");
        leader.show(7);
        let late = flights.follow(&"a").unwrap();
        assert_eq!((early.shown().await, late.shown().await), (Some(7), Some(7)));
        drop(leader);
        assert!(flights.follow(&"a").is_none() && flights.len() == 0);
    }

    #[tokio::test]
    async fn what_was_shown_stays_shown_when_the_leader_is_gone() {
        let flights = Flights::new();
        let leader = lead(&flights, "a").unwrap();
        let follow = flights.follow(&"a").unwrap();
        leader.show(7);
        drop(leader);
        assert_eq!(follow.shown().await, Some(7));
    }

    #[tokio::test]
    async fn when_a_leader_is_lost_exactly_one_of_its_followers_leads_next() {
        let (flights, led) = (Arc::new(Flights::new()), Arc::new(AtomicUsize::new(0)));
        let first = lead(&flights, "a").unwrap();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let (flights, led) = (Arc::clone(&flights), Arc::clone(&led));
                let Role::Follower(mut follow) = flights.join(&"a") else { panic!("there is a leader") };
                async move {
                    loop {
                        if let Some(value) = follow.shown().await {
                            return value;
                        }
                        match flights.join(&"a") {
                            Role::Leader(leader) => {
                                led.fetch_add(1, Ordering::Relaxed);
                                leader.show(9);
                                tokio::task::yield_now().await;
                                return 9;
                            }
                            Role::Follower(again) => follow = again,
                        }
                    }
                }
            })
            .map(tokio::spawn)
            .collect();
        drop(first);
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), 9);
        }
        assert_eq!(led.load(Ordering::Relaxed), 1);
        assert_eq!(flights.len(), 0);
    }
}
