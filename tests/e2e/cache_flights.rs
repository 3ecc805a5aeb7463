//! The same question asked many times at once: one call to a provider, and everybody's own answer.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use sluice_tests::{Client, Gate, Reply, Stub, TWO_TARGETS, Then, log, question, script, streamed};
use tokio::task::JoinHandle;

const WHOLE: &str = r#"{"id":"x","created":5,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"From nine to five."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;
const WHOLE_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
const FIRST: &str = r#"{"id":"s","created":5,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Once upon"}}]}"#;
const REST: &str = "data: {\"id\":\"s\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" a time\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn gate(stub: &Stub, more: &str) -> Gate {
    Gate::start(&format!("{}{more}\n", TWO_TARGETS.replace("{primary}", &stub.base_url())))
}

fn ask(client: &Client, body: &Value) -> JoinHandle<Reply> {
    let (client, body) = (client.clone(), body.clone());
    tokio::spawn(async move { client.chat(&body).await })
}

/// So many requests wait for the answer to another one.
async fn waiting(gate: &Gate, count: usize) {
    gate.until(&format!("sluice_cache_waiting {count}")).await;
}

/// Lets the provider go on until all of these are answered.
async fn release_until_answered(stub: &Stub, asked: Vec<JoinHandle<Reply>>) -> Vec<Reply> {
    while asked.iter().any(|reply| !reply.is_finished()) {
        stub.release();
        tokio::task::yield_now().await;
    }
    let mut replies = Vec::new();
    for reply in asked {
        replies.push(reply.await.unwrap());
    }
    replies
}

async fn next_words(response: &mut http::Response<Incoming>) -> String {
    let frame = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    String::from_utf8_lossy(&frame).into_owned()
}

#[tokio::test]
async fn the_same_question_many_times_at_once_is_asked_upstream_once() {
    let stub = Stub::start(WHOLE_HEAD, Then::Release(WHOLE)).await;
    let gate = gate(&stub, "");
    let body = question("When do you open?");
    let leader = ask(&gate.client, &body);
    stub.started(1).await;
    let followers: Vec<_> = (0..20).map(|_| ask(&gate.client, &body)).collect();
    waiting(&gate, 20).await;
    stub.release();
    let first = leader.await.unwrap();
    assert_eq!((first.cache().as_str(), first.header("x-sluice-attempts")), ("miss", "1"));
    let mut ids = vec![first.json()["id"].clone()];
    for follower in followers {
        let reply = follower.await.unwrap();
        assert_eq!((reply.cache().as_str(), reply.header("x-sluice-attempts")), ("coalesced", "0"));
        assert_eq!((reply.text(), reply.usage()), (first.text(), first.usage()));
        assert_eq!(reply.header("x-sluice-provider"), "primary");
        assert!(reply.json()["created"].as_u64() > first.json()["created"].as_u64());
        assert!(!ids.contains(&reply.json()["id"]), "an id of its own");
        ids.push(reply.json()["id"].clone());
    }
    assert_eq!(stub.count(), 1);
    assert_eq!(gate.client.chat(&body).await.cache(), "hit exact");
    let metrics = gate.metrics().await;
    assert!(metrics.contains("sluice_cache_lookups_total{result=\"coalesced\",tier=\"\"} 20"), "{metrics}");
    assert!(metrics.contains("sluice_cache_waiting 0"), "{metrics}");
}

#[tokio::test]
async fn many_threads_share_one_flight() {
    let stub = Stub::start(WHOLE_HEAD, Then::Release(WHOLE)).await;
    let gate = gate(&stub, "limits: {threads: 4}");
    let body = question("When do you open?");
    let all: Vec<_> = (0..12).map(|_| ask(&Client::new(gate.address), &body)).collect();
    waiting(&gate, 11).await;
    stub.release();
    let mut led = 0;
    for reply in all {
        led += usize::from(reply.await.unwrap().cache() == "miss");
    }
    assert_eq!((led, stub.count()), (1, 1));
}

#[tokio::test]
async fn who_follows_a_stream_sees_the_same_words_as_they_come_whenever_it_joined() {
    let stub = Stub::stream(&[FIRST], Then::Release(REST)).await;
    let gate = gate(&stub, "");
    let body = streamed(question("Tell me a story"), true);
    let mut leader = gate.client.open(&body).await;
    assert!(next_words(&mut leader).await.contains("Once upon"));
    let mut follower = gate.client.open(&body).await;
    let mut seen = next_words(&mut follower).await;
    while !seen.contains("Once upon") {
        // The provider sends no more until this was seen.
        seen.push_str(&next_words(&mut follower).await);
    }
    assert!(!seen.contains(r#""id":"s""#), "an id of its own: {seen}");
    let whole = ask(&gate.client, &question("Tell me a story"));
    waiting(&gate, 1).await;
    stub.release();
    let (leader, follower) = (Reply::read(leader).await, Reply::read(follower).await);
    let whole = whole.await.unwrap();
    assert_eq!(
        (leader.cache().as_str(), leader.text().as_str(), leader.is_done()),
        ("miss", " a time", true)
    );
    assert_eq!((follower.cache().as_str(), follower.is_done()), ("coalesced", true));
    assert_eq!(follower.text(), " a time");
    assert_eq!((whole.cache().as_str(), whole.text().as_str()), ("coalesced", "Once upon a time"));
    assert_eq!((whole.is_stream(), stub.count()), (false, 1));
}

#[tokio::test]
async fn a_stream_does_not_wait_for_a_whole_answer() {
    let stub = Stub::start(WHOLE_HEAD, Then::Release(WHOLE)).await;
    let gate = gate(&stub, "");
    let whole = ask(&gate.client, &question("When do you open?"));
    stub.started(1).await;
    let stream = ask(&gate.client, &streamed(question("When do you open?"), true));
    stub.started(2).await;
    for reply in release_until_answered(&stub, vec![whole, stream]).await {
        assert_eq!(reply.cache(), "miss");
    }
}

#[tokio::test]
async fn when_the_leader_fails_one_follower_asks_and_none_is_given_the_error() {
    let busy = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 2\r\n\r\n";
    let stub = Stub::start(busy, Then::Release("{}")).await;
    let one_target = TWO_TARGETS.replace(", backup/model-b", "").replace("{primary}", &stub.base_url());
    let gate = Gate::start(&one_target);
    let body = question("When do you open?");
    let leader = ask(&gate.client, &body);
    stub.started(1).await;
    let followers: Vec<_> = (0..5).map(|_| ask(&gate.client, &body)).collect();
    waiting(&gate, 5).await;
    stub.release();
    assert_eq!(leader.await.unwrap().status, 503);
    stub.started(2).await;
    waiting(&gate, 4).await;
    assert_eq!(stub.count(), 2, "one of five");
    stub.release();
    // The second failure is the last that anybody waits for: each asks for itself then. Who was slow to hear of the first one
    // may wait for a third.
    for reply in release_until_answered(&stub, followers).await {
        assert_eq!((reply.status, reply.header("x-sluice-attempts")), (503, "1"));
    }
    assert_eq!(stub.count(), 6);
}

#[tokio::test]
async fn a_follower_that_has_seen_nothing_of_a_stream_outlives_its_break() {
    let stub = Stub::stream(&[FIRST], Then::Release("")).await;
    let gate = gate(&stub, "");
    let leader = gate.client.open(&streamed(question("Tell me a story"), true)).await;
    let whole = ask(&gate.client, &question("Tell me a story"));
    waiting(&gate, 1).await;
    stub.release();
    let broken = Reply::read(leader).await;
    assert_eq!((broken.text().as_str(), broken.is_done()), ("Once upon", false));
    // It asks for itself now. The first target sends a stream where a whole answer was wanted; the second answers.
    stub.started(2).await;
    gate.backup.script(script("reply: {answer: 'Once upon a time'}"));
    let whole = release_until_answered(&stub, vec![whole]).await.remove(0);
    assert_eq!(
        (whole.status, whole.cache().as_str(), whole.text().as_str()),
        (200, "miss", "Once upon a time")
    );
}

#[tokio::test]
async fn a_stream_that_breaks_breaks_for_those_who_have_seen_its_beginning() {
    let stub = Stub::stream(&[FIRST], Then::Release("")).await;
    let gate = gate(&stub, "");
    let body = streamed(question("Tell me a story"), true);
    let leader = gate.client.open(&body).await;
    let follower = gate.client.open(&body).await;
    stub.release();
    for response in [leader, follower] {
        let reply = Reply::read(response).await;
        assert_eq!((reply.text().as_str(), reply.is_done()), ("Once upon", false));
        assert_eq!(reply.events().last().unwrap()["error"]["code"], "stream_interrupted");
    }
    assert_eq!(stub.count(), 1);
}

#[tokio::test]
async fn the_leaders_client_may_leave_without_cutting_its_followers() {
    let stub = Stub::stream(&[FIRST], Then::Release(REST)).await;
    let gate = gate(&stub, "");
    let body = streamed(question("Tell me a story"), true);
    let mut leader = gate.client.with("x-request-id", "leader-leaves").open(&body).await;
    assert!(next_words(&mut leader).await.contains("Once upon"));
    let follower = gate.client.open(&body).await;
    assert_eq!(follower.headers()["x-sluice-cache"], "coalesced");
    drop(leader);
    log::wait_until(|text| text.contains("\"left\":\"leader-leaves\"").then_some(())).await;
    stub.release();
    let reply = Reply::read(follower).await;
    assert_eq!((reply.text().as_str(), reply.is_done()), ("Once upon a time", true));
    assert_eq!(gate.client.chat(&body).await.cache(), "hit exact");
    assert_eq!(stub.count(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_remembered_is_not_shared_either() {
    let cut = WHOLE.replace("stop", "length");
    let stub = Stub::start(WHOLE_HEAD, Then::Release(Box::leak(cut.into_boxed_str()))).await;
    let gate = gate(&stub, "");
    let body = question("When do you open?");
    let leader = ask(&gate.client, &body);
    stub.started(1).await;
    let followers: Vec<_> = (0..3).map(|_| ask(&gate.client, &body)).collect();
    waiting(&gate, 3).await;
    stub.release();
    assert_eq!(leader.await.unwrap().finish_reason(), "length");
    // They ask all at once, and do not wait for each other in line.
    stub.started(4).await;
    for reply in release_until_answered(&stub, followers).await {
        assert_eq!(reply.cache(), "miss");
    }
}

#[tokio::test]
async fn each_follower_gets_its_own_values_and_only_those() {
    let answer = WHOLE.replace("From nine to five.", "Sent to [EMAIL_ADDRESS_1].");
    let stub = Stub::start(WHOLE_HEAD, Then::Release(Box::leak(answer.into_boxed_str()))).await;
    let gate = gate(&stub, "");
    let own = |value: &str| question(&format!("Please send the contract to {value}"));
    let zoe = ask(&gate.client, &own("zoe.quill@example.org"));
    stub.started(1).await;
    let ben = ask(&gate.client, &own("ben@example.net"));
    waiting(&gate, 1).await;
    // The same words after redaction, by somebody who has no such value.
    let nobody = ask(&gate.client, &own("[EMAIL_ADDRESS_1]"));
    stub.started(2).await;
    let replies = release_until_answered(&stub, vec![zoe, ben, nobody]).await;
    let told: Vec<_> = replies.iter().map(|reply| (reply.cache(), reply.text())).collect();
    assert_eq!(told[0], ("miss".to_owned(), "Sent to zoe.quill@example.org.".to_owned()));
    assert_eq!(told[1], ("coalesced".to_owned(), "Sent to ben@example.net.".to_owned()));
    assert_eq!(told[2], ("miss".to_owned(), "Sent to [EMAIL_ADDRESS_1].".to_owned()));
}

#[tokio::test]
async fn tenants_tools_and_several_choices_do_not_share_a_flight() {
    let stub = Stub::start(WHOLE_HEAD, Then::Release(WHOLE)).await;
    let gate = gate(&stub, "keys: [{name: a, secret: 'env:TEST_A'}, {name: b, secret: 'env:TEST_B'}]");
    let (a, b) = (gate.key("TEST_A"), gate.key("TEST_B"));
    let plain = question("When do you open?");
    let (mut tools, mut several) = (plain.clone(), plain.clone());
    tools["tools"] = json!([{ "type": "function", "function": { "name": "f" } }]);
    several["n"] = json!(2);
    let all = [(&a, &plain), (&b, &plain), (&a, &tools), (&a, &tools), (&a, &several), (&a, &several)];
    let all = all.map(|(client, body)| ask(client, body));
    stub.started(6).await;
    for reply in release_until_answered(&stub, all.into()).await {
        assert_eq!(reply.cache(), "miss");
    }
}

#[tokio::test]
async fn a_follower_waits_no_longer_than_a_request_may_take() {
    let stub = Stub::start("", Then::Hold).await;
    let gate = gate(&stub, "timeouts: {total: 300ms}");
    let body = question("When do you open?");
    for reply in [ask(&gate.client, &body), ask(&gate.client, &body)] {
        let reply = reply.await.unwrap();
        assert_eq!((reply.status, reply.error()["code"].as_str()), (504, Some("all_targets_failed")));
    }
}

#[tokio::test]
async fn a_follower_that_takes_nothing_holds_nobody_up() {
    let gate = Gate::with("");
    gate.primary
        .script(script(&format!("reply: {{answer: '{}', chunk_chars: 5000}}", "word ".repeat(200_000))));
    let body = streamed(question("Tell me a long story"), true);
    let stuck = gate.client.open(&body).await;
    let reader = gate.client.chat(&body).await;
    assert!(reader.is_done());
    assert_eq!(
        (reader.cache().as_str(), reader.text().len(), gate.primary.count()),
        ("coalesced", 1_000_000, 1)
    );
    drop(stuck);
}
