//! What a store promises, wherever it is: the same tests run over the one in memory and over a Qdrant collection, which is
//! that of a stand-in or, if `SLUICE_TEST_QDRANT_URL` is set, of a real server.

mod instances;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use proptest::prelude::*;
use sluice_qdrant_stand_in::StandIn;

use super::tests::{any_entry, at, insert, partition, payload};
use super::*;
use crate::clock::ManualClock;
use crate::decide::Tightening;
use crate::store::qdrant::{Quantisation, SharedConfig, Space};

const HOUR: Duration = Duration::from_secs(3600);

/// Waits for a store.
pub(super) fn wait<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

/// A server with a collection for one test.
pub(super) struct Server {
    pub(super) stand_in: Option<StandIn>,
    url: String,
    pub(super) collection: String,
}

impl Server {
    /// The real one if there is one.
    pub(super) fn any() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let collection = format!("sluice-test-{}-{number}", std::process::id());
        match std::env::var("SLUICE_TEST_QDRANT_URL") {
            Ok(url) => Self { stand_in: None, url, collection },
            Err(_) => Self::stand_in(),
        }
    }

    pub(super) fn stand_in() -> Self {
        let stand_in = StandIn::start();
        Self { url: stand_in.url(), stand_in: Some(stand_in), collection: "sluice".to_owned() }
    }

    pub(super) fn config(&self) -> SharedConfig {
        SharedConfig {
            url: self.url.clone(),
            api_key: None,
            collection: self.collection.clone(),
            timeout: Duration::from_secs(5),
            write_batch: 64,
            quantisation: Quantisation::None,
        }
    }

    pub(super) fn cache(&self, clock: &Arc<ManualClock>, dimension: usize) -> SemanticCache {
        let space = space(dimension);
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        SemanticCache::sharing(CacheConfig::default(), self.config(), space, clock).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stand_in.is_none() {
            let client =
                qdrant_client::Qdrant::from_url(&self.url).skip_compatibility_check().build().unwrap();
            drop(wait(client.delete_collection(&self.collection)));
        }
    }
}

pub(super) fn space(dimension: usize) -> Space {
    Space { model: "test/f32".to_owned(), dimension, key_id: "k".to_owned() }
}

/// A cache with its store.
struct Place {
    cache: SemanticCache,
    clock: Arc<ManualClock>,
    _server: Option<Server>,
}

impl Place {
    fn local() -> Self {
        let clock = Arc::new(ManualClock::default());
        let cache = SemanticCache::with_clock(CacheConfig::default(), Arc::clone(&clock) as Arc<dyn Clock>);
        Self { cache, clock, _server: None }
    }

    fn shared() -> Self {
        let (server, clock) = (Server::any(), Arc::new(ManualClock::default()));
        Self { cache: server.cache(&clock, 2), clock, _server: Some(server) }
    }

    fn exact(&self, of: &PartitionKey, name: &str) -> Option<String> {
        let key = of.exact(&[name.as_bytes()]);
        wait(self.cache.fetch(of, &[key])).unwrap();
        payload(self.cache.exact(&key, &any_entry))
    }

    fn normalised(&self, of: &PartitionKey, name: &str) -> Option<String> {
        let key = of.exact(&[name.as_bytes()]);
        wait(self.cache.fetch(of, &[key])).unwrap();
        payload(self.cache.normalised(&key, &any_entry))
    }

    /// What a fixed threshold serves.
    fn near(&self, of: &PartitionKey, vector: &[f32], similarity: f32) -> Option<String> {
        self.near_of(of, vector, similarity, &any_entry)
    }

    fn near_of(
        &self,
        of: &PartitionKey,
        vector: &[f32],
        similarity: f32,
        admit: &dyn Fn(&Entry) -> bool,
    ) -> Option<String> {
        let profile = Profile::of("");
        let policy = Some(Policy::Fixed { similarity });
        let question = Question {
            partition: of,
            vector,
            profile: &profile,
            tightening: Tightening::default(),
            policy,
            shadow: None,
        };
        let surroundings = wait(self.cache.survey(&question)).unwrap();
        match self.cache.look_up_in(&question, surroundings, admit) {
            Decision::Serve { hit, .. } => payload(Some(hit)),
            Decision::Miss { .. } => None,
        }
    }

    /// Copies in this process are gone, and what waited is written.
    fn forget_copies(&self) {
        if self.cache.is_shared() {
            assert!(self.cache.flush_shared(Duration::from_secs(20)));
            self.cache.answers.clear();
        }
    }
}

/// Runs each test over both.
macro_rules! contract {
    ($($name:ident)+) => {
        mod local {
            $(#[test] fn $name() { super::$name(&super::Place::local()); })+
        }
        mod shared {
            $(#[test] fn $name() { super::$name(&super::Place::shared()); })+
        }
    };
}

contract! {
    all_three_tiers_find_what_was_stored
    a_later_entry_replaces_the_one_under_its_key_and_its_vector
    nothing_is_found_after_its_time
    a_near_prompt_that_is_not_admitted_does_not_hide_the_next
    prompts_with_one_answer_share_it
    an_answer_that_nobody_asked_for_joins_only_its_like
    no_partition_sees_another
}

fn all_three_tiers_find_what_was_stored(place: &Place) {
    let a = partition("a");
    let form = a.exact(&[b"form"]);
    place.cache.insert(Insert {
        normalised: Some(form),
        payload: Bytes::from_static(b"\xff not text"),
        ..insert(a, "binary", None)
    });
    place.clock.advance(Duration::from_millis(1));
    place.cache.insert(Insert { normalised: Some(form), ..insert(a, "one", Some(at(0.0))) });
    for _ in 0..2 {
        assert_eq!(place.exact(&a, "one").unwrap(), "one");
        assert_eq!(place.normalised(&a, "form").unwrap(), "one", "the latest counts");
        assert_eq!(place.near(&a, &at(10.0), 0.9).unwrap(), "one");
        assert!(place.near(&a, &at(40.0), 0.9).is_none());
        assert!(place.exact(&a, "form").is_none() && place.normalised(&a, "one").is_none());
        let key = a.exact(&[b"binary"]);
        wait(place.cache.fetch(&a, &[key])).unwrap();
        assert_eq!(place.cache.exact(&key, &any_entry).unwrap().entry.payload().as_ref(), b"\xff not text");
        place.forget_copies();
    }
}

fn a_later_entry_replaces_the_one_under_its_key_and_its_vector(place: &Place) {
    let a = partition("a");
    let with = |answer: &'static str, degrees| Insert {
        payload: Bytes::from_static(answer.as_bytes()),
        ..insert(a, "one", Some(at(degrees)))
    };
    place.cache.insert(with("old", 0.0));
    place.forget_copies();
    place.cache.insert(with("new", 90.0));
    for _ in 0..2 {
        assert_eq!(place.exact(&a, "one").unwrap(), "new");
        assert!(place.near(&a, &at(0.0), 0.9).is_none());
        assert_eq!(place.near(&a, &at(90.0), 0.9).unwrap(), "new");
        place.forget_copies();
    }
}

fn nothing_is_found_after_its_time(place: &Place) {
    let a = partition("a");
    place.cache.insert(Insert { ttl: Some(HOUR), ..insert(a, "short", Some(at(0.0))) });
    place.cache.insert(Insert { ttl: Some(2 * HOUR), ..insert(a, "long", Some(at(10.0))) });
    for _ in 0..2 {
        assert_eq!(place.near(&a, &at(0.0), 0.9).unwrap(), "short");
        place.forget_copies();
    }
    place.clock.advance(HOUR);
    assert!(place.exact(&a, "short").is_none());
    assert_eq!(place.near(&a, &at(0.0), 0.9).unwrap(), "long");
    place.clock.advance(HOUR);
    assert!(place.near(&a, &at(0.0), 0.9).is_none() && place.exact(&a, "long").is_none());
}

fn a_near_prompt_that_is_not_admitted_does_not_hide_the_next(place: &Place) {
    let a = partition("a");
    place.cache.insert(insert(a, "near", Some(at(0.0))));
    place.cache.insert(insert(a, "far", Some(at(5.0))));
    place.forget_copies();
    let not_near = |entry: &Entry| entry.payload().as_ref() != b"near";
    assert_eq!(place.near_of(&a, &at(0.0), 0.9, &not_near).unwrap(), "far");
}

/// A request that is asked upstream, and what was learnt from its answer.
fn ask(place: &Place, of: PartitionKey, text: &str, degrees: f32, fresh: &'static str) -> Remembered {
    let (profile, vector) = (Profile::of(text), at(degrees));
    let tightening = Tightening::default();
    let question = Question {
        partition: &of,
        vector: &vector,
        profile: &profile,
        tightening,
        policy: None,
        shadow: None,
    };
    let surroundings = wait(place.cache.survey(&question)).unwrap();
    let ticket = match place.cache.look_up_in(&question, surroundings, &any_entry) {
        Decision::Serve { spot_check, .. } => spot_check,
        Decision::Miss { candidate, .. } => candidate,
    };
    let insert = Insert { payload: Bytes::from_static(fresh.as_bytes()), ..insert(of, text, Some(vector)) };
    place.cache.remember(insert, profile, ticket.as_ref(), &mut |answer| Some(answer.payload == fresh))
}

fn prompts_with_one_answer_share_it(place: &Place) {
    let a = partition("a");
    assert_eq!(ask(place, a, "how do I pay", 0.0, "by card"), Remembered::default());
    let joined = ask(place, a, "how can I pay you", 20.0, "by card");
    assert_eq!(joined, Remembered { right: Some(true), joined: true });
    let other = ask(place, a, "when do you open", 100.0, "at nine");
    assert_eq!(other, Remembered { right: Some(false), joined: false });
    place.forget_copies();
    let (vector, profile) = (at(10.0), Profile::of("how to pay"));
    let question = Question {
        partition: &a,
        vector: &vector,
        profile: &profile,
        tightening: Tightening::default(),
        policy: None,
        shadow: None,
    };
    let surroundings = wait(place.cache.survey(&question)).unwrap();
    let around = place.cache.around(&question, surroundings);
    let near: Vec<_> = around.near.iter().map(|near| near.entry.payload().as_ref().to_vec()).collect();
    assert_eq!(near, [b"by card".to_vec(), b"by card".to_vec(), b"at nine".to_vec()]);
    assert_eq!(around.near[0].entry.cluster, around.near[1].entry.cluster);
    assert!(Arc::ptr_eq(&around.near[0].entry.answer, &around.near[1].entry.answer));
    let of_card = around.known.iter().find(|known| known.facts.id == around.near[0].entry.cluster).unwrap();
    assert_eq!(of_card.facts.size, 2.0);
    assert!((of_card.facts.right - 1.0).abs() < 0.01 && (of_card.facts.wrong - 1.0).abs() < 0.01);
    assert_eq!(of_card.labels.len(), 2);
    assert!(of_card.facts.centroid > 0.999, "{:?}", of_card.facts);
    assert_eq!(around.rarity.len(), profile.content().count());
    assert!(around.control.is_none(), "both answers are near");
    let far = around.known.iter().find(|known| known.facts.id != of_card.facts.id).unwrap();
    assert_eq!(far.facts.size, 1.0);
}

fn an_answer_that_nobody_asked_for_joins_only_its_like(place: &Place) {
    let a = partition("a");
    let vouch = |name: &str, degrees, answer: &'static str| {
        let insert =
            Insert { payload: Bytes::from_static(answer.as_bytes()), ..insert(a, name, Some(at(degrees))) };
        let surroundings = wait(place.cache.survey_of(&a, &at(degrees))).unwrap();
        let profile = Profile::of(name);
        place.cache.vouch_in(insert, profile, surroundings, &mut |other| other.payload == answer);
    };
    vouch("one", 0.0, "yes");
    vouch("two", 15.0, "yes");
    vouch("three", 7.0, "no");
    place.forget_copies();
    let cluster = |name: &str| {
        let key = a.exact(&[name.as_bytes()]);
        wait(place.cache.fetch(&a, &[key])).unwrap();
        place.cache.exact(&key, &any_entry).unwrap().entry.cluster
    };
    assert_eq!(cluster("one"), cluster("two"));
    assert_ne!(cluster("one"), cluster("three"));
    assert_eq!(place.exact(&a, "two").unwrap(), "yes");
}

/// Random stores and lookups of three tenants, who all use the same names and vectors.
fn no_partition_sees_another(place: &Place) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let steps = prop::collection::vec((0usize..3, 0usize..6, any::<bool>()), 1..20);
    let case = AtomicU32::new(0);
    let ran = runner.run(&steps, |steps| {
        let case = case.fetch_add(1, Ordering::Relaxed);
        let tenants = ["a", "b", "c"].map(|name| partition(&format!("{name}{case}")));
        for (tenant, name, write) in steps {
            let (of, name, degrees) = (tenants[tenant], format!("prompt {name}"), 15.0 * name as f32);
            if write {
                let payload = Bytes::from(format!("tenant {tenant}: {name}"));
                let normalised = Some(of.exact(&[b"form", name.as_bytes()]));
                place.cache.insert(Insert { payload, normalised, ..insert(of, &name, Some(at(degrees))) });
            }
            let own = format!("tenant {tenant}: ");
            let found = [place.exact(&of, &name), place.near(&of, &at(degrees), 0.0)];
            for answer in found.into_iter().flatten() {
                prop_assert!(answer.starts_with(&own), "{answer} for tenant {tenant}");
            }
        }
        place.forget_copies();
        Ok(())
    });
    ran.unwrap();
}

#[test]
fn times_survive_the_way_to_the_server_and_back() {
    let place = Place::shared();
    let a = partition("a");
    place.cache.insert(Insert { ttl: Some(HOUR), ..insert(a, "one", None) });
    let key = a.exact(&[b"one"]);
    let stored = place.cache.exact(&key, &any_entry).unwrap().entry;
    place.forget_copies();
    wait(place.cache.fetch(&a, &[key])).unwrap();
    let found = place.cache.exact(&key, &any_entry).unwrap().entry;
    let apart = |a: SystemTime, b: SystemTime| a.max(b).duration_since(a.min(b)).unwrap();
    assert!(apart(found.created, stored.created) < Duration::from_millis(1));
    assert!(apart(found.expires_at, stored.expires_at) < Duration::from_millis(1));
    assert_eq!((found.id, found.cluster, found.owner), (stored.id, stored.cluster, stored.owner));
}
