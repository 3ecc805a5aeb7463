//! What the cache promises a chat: a known request's way, and lifetimes.

mod partitions;

use std::time::Instant;

use sluice_engine::Tier;

use super::*;
use crate::client_api::openai_chat;
use crate::keys::Caller;
use crate::policy::InForce;
use sluice_engine::{CacheConfig, ManualClock};
use sluice_guardrails::{Action, InjectionAction, Policy as GuardPolicy};

fn call(tenant: &str) -> Call {
    let caller =
        Caller { key: tenant.to_owned(), tenant: tenant.to_owned(), shares_tenant: false, models: None };
    let (pii, secrets) = (Action::Off, Action::Off);
    let nothing = GuardPolicy { pii, secrets, injection: InjectionAction::Off, ..GuardPolicy::default() };
    Call {
        caller: Arc::new(caller),
        id: "req_1".to_owned(),
        headers: http::HeaderMap::new(),
        format: crate::client_api::Format::OpenAiChat,
        called: None,
        started: Instant::now(),
        policy: Arc::new(InForce::of_classes(&nothing)),
    }
}

/// A cache of answers that live for a day, in which a request stores one, and its clock.
async fn stored_by(wishes: &Wishes) -> (Memory, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let cache = SemanticCache::with_clock(CacheConfig::default(), Arc::<ManualClock>::clone(&clock));
    let mut memory = Memory::new(cache, [7; 32], &Config::default(), None);
    memory.clock = Arc::<ManualClock>::clone(&clock);
    let Found::Nothing(nothing) = look_up(&memory, wishes).await else { panic!("nothing was stored") };
    let ticket = nothing.ticket.unwrap();
    let answer = r#"{"choices":[{"finish_reason":"stop","message":{"content":"At nine."}}]}"#;
    let kept = memory.remember(ticket, &serde_json::from_str(answer).unwrap(), "p", "m", 3);
    assert!(matches!(kept, Kept::Yes));
    (memory, clock)
}

async fn look_up(memory: &Memory, wishes: &Wishes) -> Found {
    let body = Bytes::from(r#"{"model":"m","messages":[{"role":"user","content":"When?"}]}"#);
    let (call, request, vault) = (call("a"), openai_chat::parse(&body).unwrap(), Vault::new());
    let asked = Asked { call: &call, request: &request, vault: &vault, wishes };
    memory.look_up(&asked, None, &Metrics::default()).await
}

#[tokio::test]
async fn a_lifetime_of_the_requests_own_is_never_longer_than_the_configured_one() {
    const HOUR: u64 = 3600;
    for (asked, alive, gone) in
        [(None, 20 * HOUR, 28 * HOUR), (Some(60), 50, 70), (Some(99 * HOUR), 20 * HOUR, 28 * HOUR)]
    {
        let wishes = Wishes { ttl: asked.map(Duration::from_secs), ..Wishes::default() };
        let (memory, clock) = stored_by(&wishes).await;
        clock.advance(Duration::from_secs(alive));
        assert!(matches!(look_up(&memory, &Wishes::default()).await, Found::Hit(_)), "{asked:?}");
        clock.advance(Duration::from_secs(gone - alive));
        assert!(matches!(look_up(&memory, &Wishes::default()).await, Found::Nothing(_)), "{asked:?}");
    }
}

#[tokio::test]
async fn a_known_request_finds_its_answer_as_long_as_it_is_there() {
    let cache = SemanticCache::new(CacheConfig::default());
    let memory = Memory::new(cache, [7; 32], &Config::default(), None);
    let (call, metrics, wishes) = (call("a"), Metrics::default(), Wishes::default());
    let body = Bytes::from(r#"{"model":"m","messages":[{"role":"user","content":"When?"}]}"#);
    let request = openai_chat::parse(&body).unwrap();
    let key = memory.repeat_key(&call, &wishes, 0, &body);
    let vault = Vault::new();
    let asked = Asked { call: &call, request: &request, vault: &vault, wishes: &wishes };

    let look_up = async || memory.look_up(&asked, Some(key), &metrics).await;
    let Found::Nothing(nothing) = look_up().await else { panic!("nothing was stored") };
    let ticket = nothing.ticket.unwrap();
    assert!(memory.known(&key).is_none(), "a miss teaches nothing");
    let answer = r#"{"choices":[{"finish_reason":"stop","message":{"content":"At nine."}}]}"#;
    memory.remember(ticket, &serde_json::from_str(answer).unwrap(), "p", "m", 3);
    assert!(matches!(look_up().await, Found::Hit(_)));

    let known = memory.known(&key).unwrap();
    assert_eq!((known.model.as_str(), known.delivery.stream), ("m", false));
    let found = memory.recall(&wishes, &known).unwrap();
    assert_eq!((found.tier, found.provider.as_str(), found.cost), (Tier::Exact, "p", 3));
    assert!(matches!(found.answer, Form::Spelled(_)));

    memory.cache().clear();
    assert!(memory.recall(&wishes, &known).is_none(), "the answer is gone, so it is asked for anew");
}
