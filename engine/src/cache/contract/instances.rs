//! Several instances, and servers that fail: what one stores, learns or forgets the others see, and trouble is a bypass.

use std::time::Instant;

use sluice_qdrant_stand_in::Fault;

use super::*;
use crate::cache::promises::{ask as ask_promising, near};
use crate::store::qdrant::Unavailable;

/// Another clock than the tests' own would be of no use: deadlines are of the machine.
fn system() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn cache_of(server: &Server, timeout: Duration) -> SemanticCache {
    let config = SharedConfig { timeout, ..server.config() };
    SemanticCache::sharing(CacheConfig::default(), config, space(2), system()).unwrap()
}

/// Waits for something that another thread brings about.
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

fn found(cache: &SemanticCache, name: &str) -> Option<String> {
    let (of, key) = (partition("a"), partition("a").exact(&[name.as_bytes()]));
    wait(cache.fetch(&of, &[key])).ok()?;
    payload(cache.exact(&key, &any_entry))
}

#[test]
fn what_one_instance_stores_another_finds_and_what_one_forgets_is_forgotten_by_all() {
    let server = Server::any();
    let (one, two) = (cache_of(&server, HOUR), cache_of(&server, HOUR));
    let a = partition("a");
    let tagged =
        |name: &str, tag: &str| Insert { tags: vec![tag.to_owned()], ..insert(a, name, Some(at(0.0))) };
    one.insert(tagged("red", "r"));
    one.insert(tagged("blue", "b"));
    assert!(one.flush_shared(Duration::from_secs(20)));
    assert_eq!(found(&two, "red").unwrap(), "red");
    let surroundings = wait(two.survey_of(&a, &at(1.0))).unwrap();
    assert_eq!(two.near(&a, &at(1.0), 8, surroundings).len(), 2);

    assert_eq!(wait(two.forget_tagged(Some("r"), true)).unwrap(), Ok(1));
    assert_eq!(found(&two, "red").unwrap(), "red", "a dry run only counts");
    assert_eq!(wait(two.forget_tagged(Some("r"), false)).unwrap(), Ok(1));
    assert_eq!(found(&two, "red"), None);
    // A copy is served for a second at most.
    until("the invalidation is seen by the other instance", || found(&one, "red").is_none());
    assert_eq!(found(&one, "blue").unwrap(), "blue");
    assert_eq!(wait(one.forget_tagged(None, false)).unwrap(), Ok(1));
    assert_eq!(wait(two.shared_entries()).unwrap().unwrap().len(), 0);
}

#[test]
fn instances_that_share_the_traffic_serve_nearly_as_much_as_one_that_has_it_all_and_nothing_wrong() {
    const REQUESTS: usize = 400;
    let run = |caches: &[SemanticCache]| {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut hits = 0;
        for number in 0..REQUESTS {
            let topic = number % 5;
            let fresh = format!("answer {topic}");
            let cache = &caches[rng.usize(..caches.len())];
            let served = ask_promising(cache, partition("a"), number, &near(topic, &mut rng), &fresh);
            assert!(served.as_ref().is_none_or(|served| *served == fresh), "{served:?} instead of {fresh}");
            hits += usize::from(served.is_some());
        }
        hits
    };
    let alone = run(&[SemanticCache::with_clock(CacheConfig::default(), system())]);
    let server = Server::any();
    let cache = || {
        let config = SharedConfig { timeout: HOUR, ..server.config() };
        SemanticCache::sharing(CacheConfig::default(), config, space(32), system()).unwrap()
    };
    let together = run(&[cache(), cache(), cache()]);
    // What one learns reaches the others within some hundred milliseconds, in which these requests are many.
    assert!(alone > REQUESTS / 2 && together > REQUESTS / 3, "{together} of {REQUESTS}, alone {alone}");
}

#[test]
fn an_instance_learns_from_the_requests_and_labels_of_the_others_and_a_later_one_takes_it_up() {
    let server = Server::any();
    let (one, two) = (cache_of(&server, HOUR), cache_of(&server, HOUR));
    let a = partition("a");
    let place = Place { cache: one, clock: Arc::default(), _server: None };
    ask(&place, a, "how do I pay", 0.0, "by card");
    for number in 0..6u8 {
        ask(&place, a, &format!("how can I pay please {number}"), f32::from(number), "by card");
    }
    let requests = |cache: &SemanticCache| cache.reports().first().map_or(0, |report| report.requests);
    assert_eq!(requests(&place.cache), 7);
    until("the other instance hears of all requests", || requests(&two) == 7);
    let learner =
        |cache: &SemanticCache| serde_json::to_string(&*cache.learners.of(&a).lock().unwrap()).unwrap();
    until("both have learnt the same", || learner(&two) == learner(&place.cache));
    let three = cache_of(&server, HOUR);
    until("one that comes later has it, too", || learner(&three) == learner(&two));
}

#[test]
fn labels_of_one_answer_by_several_instances_at_once_all_count() {
    let server = Server::any();
    let caches: Vec<_> = (0..4).map(|_| cache_of(&server, HOUR)).collect();
    let a = partition("a");
    caches[0].insert(insert(a, "one", Some(at(0.0))));
    assert!(caches[0].flush_shared(Duration::from_secs(20)));
    let cluster = {
        found(&caches[0], "one").unwrap();
        caches[0].exact(&a.exact(&[b"one"]), &any_entry).unwrap().entry.cluster
    };
    std::thread::scope(|scope| {
        for cache in &caches {
            scope.spawn(move || {
                for _ in 0..5 {
                    let change = Change::Labelled { similarity: 0.9, wrong: 0.0 };
                    cache.shared.as_ref().unwrap().change(&a, cluster, change);
                    assert!(cache.flush_shared(Duration::from_secs(20)));
                }
            });
        }
    });
    let (vector, profile) = (at(0.0), Profile::of(""));
    let tightening = Tightening::default();
    let question = Question {
        partition: &a,
        vector: &vector,
        profile: &profile,
        tightening,
        policy: None,
        shadow: None,
    };
    let surroundings = wait(caches[0].survey(&question)).unwrap();
    assert_eq!(caches[0].around(&question, surroundings).known[0].facts.right, 20.0);
}

#[test]
fn an_answer_that_fresh_ones_refute_goes_with_all_prompts_that_have_it() {
    let server = Server::any();
    let cache = cache_of(&server, HOUR);
    let a = partition("a");
    cache.insert(insert(a, "one", Some(at(0.0))));
    cache.insert(insert(a, "other", Some(at(90.0))));
    let cluster = cache.exact(&a.exact(&[b"one"]), &any_entry).unwrap().entry.cluster;
    cache.shared.as_ref().unwrap().change(&a, cluster, Change::Heard { doubt: 30.0, now: 1 });
    // Whoever writes finds out; twice, since the answer has to be there before it can be doubted.
    assert!(cache.flush_shared(Duration::from_secs(20)));
    cache.shared.as_ref().unwrap().change(&a, cluster, Change::Heard { doubt: 30.0, now: 2 });
    assert!(cache.flush_shared(Duration::from_secs(20)));
    assert_eq!(found(&cache, "one"), None);
    assert_eq!(found(&cache, "other").unwrap(), "other");
}

#[test]
fn a_server_that_is_slow_or_gone_is_bypassed_at_once_and_used_again_when_it_is_back() {
    let mut server = Server::stand_in();
    let cache = cache_of(&server, Duration::from_millis(200));
    let a = partition("a");
    cache.insert(insert(a, "before", Some(at(0.0))));
    assert!(cache.flush_shared(Duration::from_secs(20)));
    let stats = || cache.shared_stats().unwrap();

    server.stand_in.as_ref().unwrap().script(Fault::Slow(Duration::from_secs(30)));
    let key = a.exact(&[b"unknown"]);
    assert_eq!(wait(cache.fetch(&a, &[key])), Err(Unavailable));
    assert!(!stats().up && stats().failed_lookups == 1);
    // No further lookup waits for anything.
    let calls = server.stand_in.as_ref().unwrap().calls();
    assert_eq!(wait(cache.survey_of(&a, &at(0.0))).unwrap_err(), Unavailable);
    assert_eq!(stats().failed_lookups, 1, "{calls}");
    server.stand_in.as_ref().unwrap().script(Fault::None);
    until("it is used again", || stats().up);
    assert_eq!(found(&cache, "before").unwrap(), "before");

    server.stand_in.as_ref().unwrap().script(Fault::Error);
    assert_eq!(wait(cache.fetch(&a, &[key])), Err(Unavailable));
    server.stand_in.as_ref().unwrap().script(Fault::None);
    until("it is used again", || stats().up);

    server.stand_in.as_mut().unwrap().stop();
    until("its absence is noticed", || wait(cache.fetch(&a, &[key])).is_err());
    // What is stored meanwhile arrives later.
    cache.insert(insert(a, "meanwhile", Some(at(0.0))));
    assert!(stats().waiting_writes > 0);
    server.stand_in.as_mut().unwrap().resume();
    until("it is used again", || stats().up);
    assert!(cache.flush_shared(Duration::from_secs(20)));
    cache.answers.clear();
    assert_eq!(found(&cache, "meanwhile").unwrap(), "meanwhile");
    assert_eq!((stats().waiting_writes, stats().lost_writes), (0, 0));
}

#[test]
fn a_cache_begins_without_its_server_and_uses_it_when_it_comes() {
    let mut server = Server::stand_in();
    server.stand_in.as_mut().unwrap().stop();
    let cache = cache_of(&server, Duration::from_millis(500));
    assert_eq!(wait(cache.survey_of(&partition("a"), &at(0.0))).unwrap_err(), Unavailable);
    server.stand_in.as_mut().unwrap().resume();
    until("it is used", || cache.shared_stats().unwrap().up);
    assert!(wait(cache.survey_of(&partition("a"), &at(0.0))).is_ok());
}

#[test]
fn a_collection_of_something_else_is_refused_with_what_is_there_and_what_was_expected() {
    let server = Server::any();
    drop(cache_of(&server, HOUR));
    let refused = |space: Space| {
        SemanticCache::sharing(CacheConfig::default(), server.config(), space, system())
            .unwrap_err()
            .to_string()
    };
    let said = refused(Space { model: "other/f32".to_owned(), ..space(2) });
    assert!(
        said.contains("another embedding model") && said.contains("test/f32") && said.contains("other/f32"),
        "{said}"
    );
    let said = refused(space(3));
    assert!(said.contains("vectors of 2 numbers") && said.contains("gives 3"), "{said}");
    let said = refused(Space { key_id: "x".to_owned(), ..space(2) });
    assert!(said.contains("cache.qdrant.key"), "{said}");
}

#[test]
fn an_old_server_is_refused_and_a_wrong_key_is_said_without_the_key() {
    let old = StandIn::with(None, "1.15.4");
    let config = SharedConfig { url: old.url(), ..Server::stand_in().config() };
    let said =
        SemanticCache::sharing(CacheConfig::default(), config, space(2), system()).unwrap_err().to_string();
    assert_eq!(said, "the server is Qdrant 1.15.4; expected 1.16 or later");

    let locked = StandIn::with(Some("the right key"), "1.18.0");
    let with = |key: &str| {
        let api_key = Some(key.to_owned());
        let config = SharedConfig { url: locked.url(), api_key, ..Server::stand_in().config() };
        SemanticCache::sharing(CacheConfig::default(), config, space(2), system()).unwrap()
    };
    assert!(!with("a wrong key").shared_stats().unwrap().up);
    assert!(with("the right key").shared_stats().unwrap().up);
    assert!(!format!("{:?}", with("the right key")).contains("right"));
}

#[test]
fn what_has_expired_leaves_the_collection() {
    let (server, clock) = (Server::stand_in(), Arc::new(ManualClock::default()));
    let cache = server.cache(&clock, 2);
    let a = partition("a");
    let short = |name: &str| Insert { ttl: Some(HOUR), ..insert(a, name, Some(at(0.0))) };
    cache.insert(short("one"));
    cache.insert(short("two"));
    cache.insert(insert(a, "three", None));
    assert!(cache.flush_shared(Duration::from_secs(20)));
    let count = |kind: &str| server.stand_in.as_ref().unwrap().count(&server.collection, "kind", kind);
    assert_eq!((count("entry"), count("cluster")), (3, 3));
    clock.advance(2 * HOUR);
    cache.shared.as_ref().unwrap().sweep_now();
    assert_eq!((count("entry"), count("cluster")), (1, 1));
    assert_eq!(cache.shared_stats().unwrap().entries, 1);
}

#[test]
fn an_answer_without_a_vector_that_is_replaced_leaves_nothing_behind() {
    let server = Server::stand_in();
    let cache = cache_of(&server, HOUR);
    let a = partition("a");
    cache.insert(insert(a, "one", None));
    assert!(cache.flush_shared(Duration::from_secs(20)));
    cache.remember(insert(a, "one", Some(at(0.0))), Profile::of("one"), None, &mut |_| None);
    assert!(cache.flush_shared(Duration::from_secs(20)));
    let count = |kind: &str| server.stand_in.as_ref().unwrap().count(&server.collection, "kind", kind);
    assert_eq!((count("entry"), count("cluster")), (1, 1));
    assert_eq!(found(&cache, "one").unwrap(), "one");
}
