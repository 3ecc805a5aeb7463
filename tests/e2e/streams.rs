//! Streams that break after their first content, and clients that leave before the end.

use http_body_util::BodyExt;
use serde_json::{Value, json};
use sluice_tests::{Gate, Raw, Reply, Stub, TWO_TARGETS, Then, log, question, raw, script, streamed};

const FIRST: &str =
    r#"{"id":"s","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Once upon"}}]}"#;

const REST: &str = "data: {\"id\":\"s\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" a time\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"s\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}\n\ndata: [DONE]\n\n";

/// What came is there, then an error event, and no terminator.
fn assert_interrupted(reply: &Reply, text: &str) {
    assert_eq!((reply.status, reply.text().as_str(), reply.is_done()), (200, text, false));
    let events = reply.events();
    let error = &events.last().unwrap()["error"];
    assert_eq!(
        (error["type"].as_str(), error["code"].as_str()),
        (Some("upstream_error"), Some("stream_interrupted"))
    );
    assert_eq!(events.iter().filter(|event| event.get("error").is_some()).count(), 1);
}

#[tokio::test]
async fn a_stream_cut_after_its_first_content_ends_with_an_error_and_is_not_remembered() {
    let gate = Gate::with("");
    gate.primary.script(script("reply: {answer: 'Once upon a time', cut_after: 3}"));
    let body = streamed(question("Tell me a story"), true);
    for asked in 1..=2 {
        let reply = gate.client.chat(&body).await;
        assert_interrupted(&reply, "Once upon ");
        assert_eq!((reply.cache().as_str(), reply.header("x-sluice-attempts")), ("miss", "1"));
        // The client has seen a beginning: another target's answer can't follow it.
        assert_eq!((gate.primary.count(), gate.backup.count()), (asked, 0));
    }
}

#[tokio::test]
async fn a_stream_that_stalls_is_ended_by_the_idle_timeout() {
    let gate = Gate::with("timeouts: {idle: 300ms}");
    gate.primary.script(script("reply: {answer: 'Once upon a time', stall_after: 3}"));
    for _ in 0..2 {
        assert_interrupted(
            &gate.client.chat(&streamed(question("Tell me a story"), true)).await,
            "Once upon ",
        );
    }
}

#[tokio::test]
async fn an_error_or_nonsense_in_the_middle_of_a_stream_ends_it_without_its_words() {
    let said = r#"{"error":{"message":"we hate zoe.quill@example.org","type":"server_error"}}"#;
    for second in [said, "{\"choices\": zoe.quill@example.org", "<html>zoe.quill@example.org</html>"] {
        let stub = Stub::stream(&[FIRST, second, "[DONE]"], Then::Close).await;
        let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
        let reply = gate.client.chat(&streamed(question("Tell me a story"), true)).await;
        assert_interrupted(&reply, "Once upon");
        assert!(!String::from_utf8_lossy(&reply.body).contains("zoe.quill"));
    }
}

#[tokio::test]
async fn an_unfinished_placeholder_is_not_lost_with_a_broken_stream_nor_restored_in_part() {
    let stub = Stub::stream(
        &[r#"{"choices":[{"index":0,"delta":{"content":"mail [EMAIL_ADDRESS_1] or [EMAIL_ADD"}}]}"#],
        Then::Close,
    )
    .await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let reply = gate.client.chat(&streamed(question("Where is zoe.quill@example.org?"), true)).await;
    assert!(!reply.is_done());
    assert!(reply.text().starts_with("mail zoe.quill@example.org or "), "{}", reply.text());
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_providers_work_and_nothing_else() {
    let more = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" a time\"}}]}\n\n";
    let stub = Stub::stream(&[FIRST], Then::Repeat(more)).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let client = gate.client.with("x-request-id", "leaves-mid-stream");
    let mut response = client.open(&streamed(question("Tell me a story"), true)).await;
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("Once upon"));
    drop(response);
    stub.ended(1).await;
    log::wait_for("leaves-mid-stream").await;
    let lines = log::of_request("leaves-mid-stream");
    assert!(lines.iter().any(|line| line["outcome"] == "client_gone"), "{lines:?}");

    let body = json!({ "model": "backup/x", "messages": [{ "role": "user", "content": "Still there?" }] });
    assert_eq!(gate.client.chat(&body).await.text(), "You said: Still there?");
}

#[tokio::test]
async fn a_client_that_left_before_its_answer_finds_it_in_the_cache_when_it_asks_again() {
    let answer = r#"{"id":"a","choices":[{"index":0,"message":{"role":"assistant","content":"Once upon a time"},"finish_reason":"stop"}]}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let stub = Stub::start(head, Then::Release(answer)).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let mut raw = Raw::connect(gate.address).await;
    let body = question("Tell me a story").to_string();
    raw.send(raw::post("x-request-id: left-early\r\n", &body)).await;
    stub.started(1).await;
    drop(raw);
    stub.release();
    log::wait_for("left-early").await;
    assert_eq!(gate.ask("Tell me a story").await.cache(), "hit exact");
}

#[tokio::test]
async fn chunks_are_passed_on_as_they_come() {
    let rest = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" a time\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let stub = Stub::stream(&[FIRST], Then::Release(rest)).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let mut response = gate.client.open(&streamed(question("Tell me a story"), true)).await;
    // The provider sends no more until this one was seen.
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("Once upon"));
    stub.release();
    let reply = Reply::read(response).await;
    assert_eq!((reply.text().as_str(), reply.is_done()), (" a time", true));
}

#[tokio::test]
async fn token_counts_are_sent_only_to_a_client_that_asked() {
    let gate = Gate::with("");
    let mut body = question("Tell me a story");
    body["stream"] = json!(true);
    let reply = gate.client.chat(&body).await;
    assert!(reply.is_done() && reply.chunks().iter().all(|chunk| chunk["usage"].is_null()));
    assert!(reply.chunks().iter().all(|chunk| chunk["choices"] != json!([])));
    // They were counted all the same.
    assert!(String::from_utf8_lossy(&gate.primary.seen()[0].body).contains("\"include_usage\":true"));
    assert!(gate.metrics().await.contains("sluice_tokens_total{provider=\"primary\",direction=\"output\"}"));
}

#[tokio::test]
async fn several_choices_are_restored_each_by_itself() {
    let piece = |index: u8, text: &str| {
        json!({ "choices": [{ "index": index, "delta": { "content": text }, "finish_reason": null }] })
            .to_string()
    };
    let end = |index: u8| {
        json!({ "choices": [{ "index": index, "delta": {}, "finish_reason": "stop" }] }).to_string()
    };
    let payloads = [
        piece(0, "A [EMAIL_"),
        piece(1, "B [EMAIL_ADD"),
        piece(0, "ADDRESS_1]"),
        piece(1, "RESS_1]!"),
        end(0),
        end(1),
    ];
    let mut payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    payloads.push("[DONE]");
    let stub = Stub::stream(&payloads, Then::Close).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let mut body = streamed(question("I am zoe.quill@example.org"), true);
    body["n"] = json!(2);
    let reply = gate.client.chat(&body).await;
    let text = |index: u64| -> String {
        let chunks = reply.chunks();
        let choices = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap());
        choices.filter(|c| c["index"] == index).filter_map(|c| c["delta"]["content"].as_str()).collect()
    };
    assert_eq!((text(0).as_str(), text(1).as_str()), ("A zoe.quill@example.org", "B zoe.quill@example.org!"));
}

/// The one line of the log about a request that leaves after its first event, once there is one.
async fn line_of_one_who_leaves(gate: &Gate, stub: &Stub, id: &'static str) -> Value {
    let client = gate.client.with("x-request-id", id);
    let mut stream = client.open(&streamed(question("Tell me a story"), true)).await;
    stream.frame().await.unwrap().unwrap();
    drop(stream);
    log::wait_until(|text| text.contains(&format!("\"left\":\"{id}\"")).then_some(())).await;
    stub.release();
    log::wait_for(id).await;
    let mut lines = log::of_request(id);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[tokio::test]
async fn what_a_client_that_left_had_read_is_estimated_and_said_to_be() {
    let stub = Stub::stream(&[FIRST], Then::Release(REST)).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let line = line_of_one_who_leaves(&gate, &stub, "leaves-for-good").await;
    assert_eq!((&line["outcome"], &line["estimated"]), (&json!("client_gone"), &json!(true)));
    let tokens = |name: &str| line[name].as_u64().unwrap();
    // "Once upon" and "Tell me a story", each with what a token has of characters, and what is around a message.
    assert_eq!((tokens("output_tokens"), tokens("input_tokens") > 4), (3, true));
    gate.until("sluice_estimated_tokens_total{provider=\"primary\",direction=\"output\"} 3").await;
}

#[tokio::test]
async fn what_nobody_reads_is_read_on_for_its_counts_and_remembered_where_that_is_wanted() {
    let stub = Stub::stream(&[FIRST], Then::Release(REST)).await;
    let gate = Gate::start(&format!(
        "{}timeouts: {{drain: 60s}}\n",
        TWO_TARGETS.replace("{primary}", &stub.base_url())
    ));
    let line = line_of_one_who_leaves(&gate, &stub, "leaves-and-is-drained").await;
    assert_eq!((&line["outcome"], &line["estimated"]), (&json!("client_gone"), &json!(false)));
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&json!(7), &json!(5)));
    let again = gate.client.chat(&streamed(question("Tell me a story"), true)).await;
    assert_eq!((again.cache().as_str(), again.text().as_str()), ("hit exact", "Once upon a time"));
}
