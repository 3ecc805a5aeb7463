//! Names to addresses: looked up off the I/O threads, kept for a while, refreshed behind the requests.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::meter::Meter;

/// How long addresses are used for new connections after the last time that they could be looked up.
const LONGEST_STALE: Duration = Duration::from_secs(15 * 60);

/// Pause after a failed lookup of a name whose addresses are still known.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// An address that so many lookups in a row did not give is gone. One is not enough: many names give a few of their addresses at
/// a time.
const GONE_AFTER: u32 = 3;

/// The addresses of a name, some time.
pub(crate) type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Who knows the addresses of names.
pub(crate) trait Lookup: Send + Sync {
    /// The addresses of this name.
    fn addresses(&self, host: &str) -> Found;
}

/// The system's resolver, on threads that may block.
pub(crate) struct System;

impl Lookup for System {
    fn addresses(&self, host: &str) -> Found {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// All names that were asked for.
pub(crate) struct Resolver {
    lookup: Box<dyn Lookup>,
    ttl: Duration,
    names: Mutex<HashMap<String, Arc<Name>>>,
    meter: Meter,
}

/// One name.
pub(crate) struct Name {
    host: String,
    known: Mutex<Known>,
    /// Grows whenever an address comes or goes.
    generation: AtomicU64,
    /// Who holds it looks the name up.
    looking: tokio::sync::Mutex<()>,
    resolver: Weak<Resolver>,
}

#[derive(Default)]
struct Known {
    /// What the last lookup gave, in its order.
    latest: Vec<IpAddr>,
    /// Every address that is not gone, and how many lookups in a row did not give it.
    missed: BTreeMap<IpAddr, u32>,
    /// When the last lookup succeeded.
    since: Option<Instant>,
    /// When it is to be looked up again.
    refresh: Option<Instant>,
    /// When the last lookup failed, if it did, and how.
    failed: Option<(Instant, String)>,
}

impl Resolver {
    /// Nothing is known yet; what becomes known is fresh for `ttl`.
    pub(crate) fn new(lookup: Box<dyn Lookup>, ttl: Duration, meter: Meter) -> Arc<Self> {
        Arc::new(Self { lookup, ttl, names: Mutex::default(), meter })
    }

    /// What is known of a host; none if it is an address.
    pub(crate) fn name(self: &Arc<Self>, host: &str) -> Option<Arc<Name>> {
        if host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            Arc::new(Name {
                host: host.to_owned(),
                known: Mutex::default(),
                generation: AtomicU64::new(0),
                looking: tokio::sync::Mutex::new(()),
                resolver: Arc::downgrade(self),
            })
        };
        Some(Arc::clone(names.entry(host.to_ascii_lowercase()).or_insert_with(make)))
    }
}

impl Name {
    /// Its addresses: those that are known, if they are not too old, else after a lookup.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn addresses(self: &Arc<Self>) -> Result<Vec<IpAddr>, String> {
        let asked = Instant::now();
        if let Some(known) = self.usable(asked) {
            self.refresh_if_due(asked);
            return Ok(known);
        }
        let _looking = self.looking.lock().await;
        // Somebody else may have looked it up while we waited, with or without success.
        if let Some(known) = self.usable(Instant::now()) {
            return Ok(known);
        }
        if let Some((at, words)) = &self.known().failed
            && *at >= asked
        {
            return Err(words.clone());
        }
        self.look_up().await?;
        Ok(self.known().latest.clone())
    }

    /// Looks it up in the background if what is known is no longer fresh.
    pub(crate) fn refresh_if_due(self: &Arc<Self>, now: Instant) {
        if self.known().refresh.is_none_or(|due| now < due) {
            return;
        }
        let name = Arc::clone(self);
        super::spawn(async move {
            let Ok(_looking) = name.looking.try_lock() else { return };
            if name.known().refresh.is_some_and(|due| due <= Instant::now())
                && let Err(words) = name.look_up().await
            {
                tracing::warn!(host = name.host, error = words, "a name could not be looked up again");
            }
        });
    }

    /// Whether it has this address still. `seen` is the generation at which it was known to; it is brought up to date.
    pub(crate) fn has(&self, address: IpAddr, seen: &mut u64) -> bool {
        let generation = self.generation.load(Ordering::Acquire);
        if *seen == generation {
            return true;
        }
        let has = self.known().missed.contains_key(&address);
        if has {
            *seen = generation;
        }
        has
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self, now: Instant) -> Option<Vec<IpAddr>> {
        let known = self.known();
        let recent = known.since.is_some_and(|since| now.duration_since(since) < LONGEST_STALE);
        (recent && !known.latest.is_empty()).then(|| known.latest.clone())
    }

    /// Asks the resolver, and keeps what it says.
    async fn look_up(&self) -> Result<(), String> {
        let Some(resolver) = self.resolver.upgrade() else { return Err("the gateway stops".to_owned()) };
        let found = match resolver.lookup.addresses(&self.host).await {
            Ok(found) if found.is_empty() => Err("the name has no address".to_owned()),
            Ok(found) => Ok(found),
            Err(error) => Err(error.to_string()),
        };
        resolver.meter.lookup(found.is_ok());
        let now = Instant::now();
        let mut known = self.known();
        match found {
            Ok(found) => {
                if known.take(found) {
                    self.generation.fetch_add(1, Ordering::Release);
                }
                known.since = Some(now);
                known.refresh = Some(now + resolver.ttl);
                known.failed = None;
                Ok(())
            }
            Err(words) => {
                known.refresh = known.since.map(|_| now + AFTER_FAILURE.min(resolver.ttl));
                known.failed = Some((now, words.clone()));
                Err(words)
            }
        }
    }
}

impl Known {
    /// Remembers what a lookup gave; true if an address came or went.
    fn take(&mut self, found: Vec<IpAddr>) -> bool {
        let before = self.missed.len();
        self.missed.values_mut().for_each(|missed| *missed += 1);
        let mut changed = false;
        for address in &found {
            changed |= self.missed.insert(*address, 0).is_none();
        }
        let known = self.missed.len();
        self.missed.retain(|_, missed| *missed < GONE_AFTER);
        self.latest = found;
        changed || self.missed.len() != known || known != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use tokio::sync::Notify;

    /// Gives these answers in turn, the last one for ever; a failure is none.
    struct Script {
        answers: Mutex<VecDeque<Option<Vec<IpAddr>>>>,
        asked: Arc<(AtomicU64, Notify)>,
    }

    impl Lookup for Script {
        fn addresses(&self, _: &str) -> Found {
            let mut answers = self.answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
            self.asked.0.fetch_add(1, Ordering::SeqCst);
            self.asked.1.notify_one();
            Box::pin(async move {
                tokio::task::yield_now().await;
                answer.flatten().ok_or_else(|| io::Error::other("no such name"))
            })
        }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn resolver(
        answers: &[Option<Vec<IpAddr>>],
        ttl: Duration,
    ) -> (Arc<Resolver>, Arc<Name>, Arc<(AtomicU64, Notify)>) {
        let asked = Arc::new((AtomicU64::new(0), Notify::new()));
        let script = Script { answers: Mutex::new(answers.to_vec().into()), asked: Arc::clone(&asked) };
        let resolver = Resolver::new(Box::new(script), ttl, Meter::default());
        let name = resolver.name("models.example").unwrap();
        (resolver, name, asked)
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_who_wait_and_known_while_it_is_fresh() {
        let (resolver, name, asked) = resolver(&[Some(vec![ip(1), ip(2)])], Duration::from_secs(3600));
        let same = resolver.name("Models.Example").unwrap();
        let (one, other) = tokio::join!(name.addresses(), same.addresses());
        assert_eq!((one.unwrap(), other.unwrap()), (vec![ip(1), ip(2)], vec![ip(1), ip(2)]));
        name.addresses().await.unwrap();
        assert_eq!(asked.0.load(Ordering::SeqCst), 1);
        assert!(resolver.name("127.0.0.1").is_none() && resolver.name("::1").is_none());
    }

    #[tokio::test]
    async fn what_is_no_longer_fresh_is_used_while_it_is_looked_up_again() {
        let (_resolver, name, asked) = resolver(&[Some(vec![ip(1)]), Some(vec![ip(2)])], Duration::ZERO);
        assert_eq!(name.addresses().await.unwrap(), [ip(1)]);
        asked.1.notified().await;
        assert_eq!(name.addresses().await.unwrap(), [ip(1)], "nobody waits for the lookup");
        asked.1.notified().await;
        while name.known().latest != [ip(2)] {
            tokio::task::yield_now().await;
        }
        assert_eq!(name.addresses().await.unwrap(), [ip(2)]);
    }

    #[tokio::test]
    async fn an_address_that_several_lookups_did_not_give_is_gone_and_one_that_comes_and_goes_is_not() {
        let (a, b, both) = (vec![ip(1)], vec![ip(2)], vec![ip(1), ip(2)]);
        let answers: Vec<_> =
            [both, a.clone(), b.clone(), a.clone(), a.clone(), a].into_iter().map(Some).collect();
        let (_resolver, name, _) = resolver(&answers, Duration::from_secs(3600));
        let mut seen = 0;
        name.look_up().await.unwrap();
        for _ in 0..4 {
            assert!(name.has(ip(1), &mut seen) && name.has(ip(2), &mut seen));
            name.look_up().await.unwrap();
        }
        let mut fresh = seen;
        assert!(name.has(ip(2), &mut fresh), "two lookups without it are not enough");
        name.look_up().await.unwrap();
        assert!(!name.has(ip(2), &mut seen) && name.has(ip(1), &mut seen));
    }

    #[tokio::test]
    async fn a_failed_lookup_leaves_what_is_known_and_is_told_where_nothing_is() {
        let (_resolver, name, _) = resolver(&[Some(vec![ip(1)]), None], Duration::from_secs(3600));
        name.look_up().await.unwrap();
        assert!(name.look_up().await.is_err());
        assert_eq!(name.addresses().await.unwrap(), [ip(1)]);
        let long_ago = Instant::now().checked_sub(LONGEST_STALE);
        name.known().since = long_ago;
        if long_ago.is_some() {
            assert_eq!(name.addresses().await.unwrap_err(), "no such name");
        }
        let (_resolver, unknown, asked) = resolver(&[None], Duration::from_secs(3600));
        let (one, other) = tokio::join!(unknown.addresses(), unknown.addresses());
        assert!(one.is_err() && other.is_err());
        assert_eq!(asked.0.load(Ordering::SeqCst), 1, "who waited is told of the same failure");
    }
}
