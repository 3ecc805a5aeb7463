//! What goes wrong with semantic caches elsewhere: one test for each pitfall that no other promise covers. `tests/README.md`
//! lists them all.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice_models::{EmbedError, EmbedPool, Embedder, Embedding, HashedEmbedder, PoolOptions};
use sluice_tests::{Client, Gate, Reply, Stub, TWO_TARGETS, Then, log, question, script, streamed};

const TWO_TENANTS: &str = "keys: [{name: a, secret: 'env:TEST_A'}, {name: b, secret: 'env:TEST_B'}]";
const ONE_TENANT: &str =
    "keys: [{name: a, secret: 'env:TEST_A', tenant: x}, {name: b, secret: 'env:TEST_B', tenant: x}]";
/// Policies at settings that serve whatever they see.
const GENEROUS: [&str; 3] = [
    "cache: {policy: fixed, similarity: 0}",
    "cache: {policy: calibrated, max_false_hit_rate: 1}",
    "cache: {policy: verified, max_false_hit_rate: 1}",
];

/// An embedding model by which all questions are alike: what a prompt that was made to collide looks like. Answers, which end
/// with a full stop, are compared by their words. It goes by the name of the model that the cache's weights were fitted for,
/// so that the cache trusts it from the first question on.
struct Alike(HashedEmbedder);

impl Embedder for Alike {
    fn id(&self) -> &str {
        "all-MiniLM-L6-v2/f32"
    }

    fn dimensions(&self) -> usize {
        self.0.dimensions()
    }

    fn max_tokens(&self) -> usize {
        usize::MAX
    }

    fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        self.0.embed(if text.ends_with('.') { text } else { "question" })
    }
}

/// A gateway with [`TWO_TARGETS`] and these lines, for which all prompts are alike.
fn alike(more: &str) -> Gate {
    let pool = EmbedPool::start(Arc::new(Alike(HashedEmbedder::new(64))), PoolOptions::default()).unwrap();
    Gate::build(&format!("{TWO_TARGETS}{more}\n"), Some(pool))
}

/// What the cache alone has to say.
async fn cached(client: &Client, text: &str) -> Reply {
    client.with("cache-control", "only-if-cached").chat(&question(text)).await
}

/// The counter's value in a scrape; 0 if it is not there.
async fn counted(gate: &Gate, counter: &str) -> u64 {
    let metrics = gate.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(counter)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// The body without what each answer has of its own.
fn lasting(reply: &Reply) -> String {
    let chunk = &reply.chunks()[0];
    let (id, created) = (chunk["id"].as_str().unwrap(), chunk["created"].as_u64().unwrap());
    let body = String::from_utf8(reply.body.to_vec()).unwrap();
    body.replace(&format!("\"{id}\""), "ID").replace(&format!("\"created\":{created}"), "CREATED")
}

#[tokio::test]
async fn a_tenant_sees_nothing_of_another_ones_question_whatever_the_policy() {
    let (asked, normalised) = ("Can I raise the limit of the card?", "can I  raise the limit of the card");
    let near = "Where can I get a parking permit for the car of my guests?";
    for policy in GENEROUS {
        let gate = alike(&format!("{policy}\n{TWO_TENANTS}"));
        let (a, b) = (gate.key("TEST_A"), gate.key("TEST_B"));
        assert_eq!(a.chat(&question(asked)).await.cache(), "miss");
        for text in [asked, normalised, near] {
            assert_eq!(cached(&b, text).await.status, 504, "{policy}: {text}");
        }
        for (text, tier) in [(asked, "hit exact"), (normalised, "hit normalised")] {
            assert_eq!(cached(&a, text).await.cache(), tier, "{policy}: it was there");
        }
        // Nor is an answer of another tenant's compared with this one's, or anything told of it.
        let reply = b.chat(&question(near)).await;
        assert_eq!((reply.cache().as_str(), reply.text()), ("miss", format!("You said: {near}")), "{policy}");
        for header in
            ["x-sluice-cache-similarity", "x-sluice-cache-entry", "x-sluice-cache-confidence", "age"]
        {
            assert_eq!(reply.header(header), "", "{policy}: {header}");
        }
        assert!(
            !gate.metrics().await.contains("sluice_cache_labels_total{"),
            "{policy}: something was compared"
        );
        assert_eq!(gate.primary.count(), 2);
    }
    let gate = alike(&format!("{}\n{TWO_TENANTS}", GENEROUS[0]));
    gate.key("TEST_A").chat(&question(asked)).await;
    assert_eq!(
        cached(&gate.key("TEST_A"), near).await.cache(),
        "hit semantic",
        "nothing else was in the way"
    );
}

#[tokio::test]
async fn a_long_system_prompt_makes_no_two_questions_alike() {
    let gate = Gate::with_weights("");
    let rules =
        "You work for the help desk of a bank. Answer in two sentences, be polite, name no colleague. "
            .repeat(8);
    let with = |rules: &str, text: &str| {
        let mut body = question(text);
        let system = json!({ "role": "system", "content": rules });
        body["messages"].as_array_mut().unwrap().insert(0, system);
        body
    };
    gate.client.chat(&with(&rules, "How do I reset my password?")).await;
    let other = gate.client.chat(&with(&rules, "Where can I park a bicycle?")).await;
    assert_eq!(other.cache(), "miss", "the two prompts have nothing in common but their system prompt");
    let near = gate.client.chat(&with(&rules, "How can I reset my password?")).await;
    assert_eq!(near.cache(), "hit semantic", "the system prompt does not push them apart either");
    let elsewhere = gate.client.chat(&with("You work for a shop.", "How do I reset my password?")).await;
    assert_eq!(elsewhere.cache(), "miss", "and it counts");
}

#[tokio::test]
async fn prompts_that_differ_only_beyond_the_models_window_are_told_apart() {
    let gate = Gate::with_weights("cache: {similarity: 0.5}");
    let report = "The meeting began at nine and the first point was the roof of the town hall. ".repeat(40);
    let [first, second] = ["Who paid?", "Who did not pay?"].map(|end| format!("{report}{end}"));
    for text in [&first, &second] {
        let reply = gate.ask(text).await;
        assert_eq!((reply.cache().as_str(), reply.header("x-sluice-cache-reason")), ("miss", "too_long"));
    }
    for text in [&first, &second] {
        let again = gate.ask(text).await;
        assert_eq!((again.cache().as_str(), again.text()), ("hit exact", format!("You said: {text}")));
    }
}

#[tokio::test]
async fn how_long_an_answer_takes_tells_nobody_what_another_tenant_asked() {
    let gate = Gate::with(TWO_TENANTS);
    let computed = "sluice_embeddings_total{outcome=\"computed\"}";
    for (key, vectors) in [("TEST_A", 1), ("TEST_B", 2)] {
        let reply = gate.key(key).chat(&question("Does the company close its office in Bergamo?")).await;
        assert_eq!((reply.cache().as_str(), reply.header("x-sluice-attempts")), ("miss", "1"));
        // All that made the first answer slow is done anew for the second.
        assert_eq!(counted(&gate, computed).await, vectors);
    }
    assert_eq!(gate.primary.count(), 2);
}

#[tokio::test]
async fn a_prompt_made_to_collide_answers_nobody_elses_question() {
    let gate = alike(&format!("cache: {{policy: calibrated, max_false_hit_rate: 0.05}}\n{ONE_TENANT}"));
    let (stranger, victim) = (gate.key("TEST_A"), gate.key("TEST_B"));
    gate.primary.script(script("reply: {answer: 'Write to evil.example.'}"));
    for words in
        ["zx qorv plimth", "zx qorv SAY plimth evil", "qorv zx plimth vrelk", "plimth plimth qorv }{ zx"]
    {
        stranger.chat(&question(words)).await;
    }
    gate.primary.script(script("reply: {answer: 'Choose Forgotten password on the login page.'}"));
    for text in ["How do I reset my password?", "My password is gone, how do I get another one?"] {
        let reply = victim.chat(&question(text)).await;
        assert_eq!(reply.text(), "Choose Forgotten password on the login page.", "{text}");
        assert_eq!(cached(&victim, text).await.cache(), "hit exact");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_after_its_end_was_announced_is_not_remembered() {
    let stop = r#"{"id":"s","choices":[{"index":0,"delta":{"content":"Once"},"finish_reason":"stop"}]}"#;
    let error = r#"{"error":{"message":"overloaded","type":"server_error"}}"#;
    for second in [error, "{\"choices\": no"] {
        let stub = Stub::stream(&[stop, second, "[DONE]"], Then::Close).await;
        let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
        for asked in 1..=2 {
            let reply = gate.client.chat(&streamed(question("Tell me a story"), true)).await;
            assert_eq!((reply.cache().as_str(), reply.is_done()), ("miss", false), "{second}");
            assert_eq!(stub.count(), asked);
        }
    }
}

#[tokio::test]
async fn who_follows_a_stream_gets_the_same_events_but_for_id_and_date() {
    let first = r#"{"id":"s","created":5,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Once"}}]}"#;
    let rest = [" upon", " a", " time. \u{1f642} \\\"", "\\n"].map(|words| {
        format!("data: {{\"id\":\"s\",\"created\":5,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{words}\"}}}}]}}\n\n")
    });
    let end = "data: {\"id\":\"s\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"s\",\"created\":5,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\ndata: [DONE]\n\n";
    let rest: &'static str = Box::leak(format!("{}{end}", rest.concat()).into_boxed_str());
    let stub = Stub::stream(&[first], Then::Release(rest)).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let body = streamed(question("Tell me a story"), true);
    let leader = gate.client.open(&body).await;
    let followers = [gate.client.open(&body).await, gate.client.open(&body).await];
    stub.release();
    let leader = Reply::read(leader).await;
    assert_eq!((leader.cache().as_str(), leader.is_done()), ("miss", true));
    assert_eq!(leader.text(), "Once upon a time. \u{1f642} \"\n");
    for follower in followers {
        let follower = Reply::read(follower).await;
        assert_eq!(follower.cache(), "coalesced");
        // What had come when it joined, if anything, comes in two: who speaks, and all the words so far.
        let (begun, went_on) = (lasting(&follower), lasting(&leader));
        let (from, at) = (begun.find("upon").unwrap(), went_on.find("upon").unwrap());
        assert_eq!(begun[from..], went_on[at..]);
        assert_eq!(follower.text(), leader.text());
        let chunks = leader.chunks().len();
        assert!((chunks..=chunks + 1).contains(&follower.chunks().len()), "{}", follower.chunks().len());
        assert_ne!(follower.chunks()[0]["id"], leader.chunks()[0]["id"]);
    }
    assert_eq!(stub.count(), 1);
}

#[tokio::test]
async fn a_hit_repeats_the_token_counts_and_is_billed_as_nothing() {
    let gate = Gate::with("");
    let mut body = question("When do you open?");
    body["model"] = json!("primary/mock");
    let live = gate.client.with("x-request-id", "billed-live").chat(&body).await;
    let spent = counted(&gate, "sluice_cost_nanodollars_total").await;
    let tokens = "sluice_tokens_total{provider=\"primary\",direction=\"output\"}";
    let output = counted(&gate, tokens).await;
    assert!(spent > 0 && output > 0);
    for (at, stream) in [(1, false), (2, true)] {
        let id = format!("billed-hit-{at}");
        let hit = gate.client.with("x-request-id", &id).chat(&streamed(body.clone(), stream)).await;
        assert_eq!((hit.cache().as_str(), hit.usage()), ("hit exact", live.usage()), "marked by its header");
        log::wait_for(&id).await;
        let lines = log::of_request(&id);
        let answered = lines.iter().find(|line| line["message"] == "answered").unwrap();
        assert_eq!((&answered["cost_nanodollars"], &answered["output_tokens"]), (&json!(0), &json!(0)));
        assert_eq!(answered["saved_nanodollars"], json!(spent));
        assert_eq!(counted(&gate, "sluice_saved_nanodollars_total").await, at * spent);
    }
    assert_eq!(counted(&gate, "sluice_cost_nanodollars_total").await, spent);
    assert_eq!(counted(&gate, tokens).await, output);
}

#[tokio::test]
async fn a_hit_keeps_the_providers_own_fields_and_takes_an_id_and_a_date_of_its_own() {
    let gate = Gate::with("");
    let fields = |reply: &Reply| -> Vec<Value> {
        let first = &reply.chunks()[0];
        ["model", "system_fingerprint", "id", "created"].map(|name| first[name].clone()).into()
    };
    let live = fields(&gate.ask("When do you open?").await);
    assert_eq!(live[1], "fp_mock");
    let mut ids = vec![live[2].clone()];
    for (text, stream) in
        [("When do you open?", false), ("When do you open?", true), ("when do you open", false)]
    {
        let hit = gate.client.chat(&streamed(question(text), stream)).await;
        assert!(hit.cache().starts_with("hit "), "{}", hit.cache());
        let told = fields(&hit);
        assert_eq!(told[..2], live[..2]);
        assert!(!ids.contains(&told[2]) && told[3].as_u64() > live[3].as_u64());
        ids.push(told[2].clone());
    }
}
