//! Raw bytes: half-closed, slow, pipelined, cut.

use sluice_tests::raw::{exchange, post};
use sluice_tests::{Gate, Raw, log, question, streamed};

const CLOSE: &str = "connection: close\r\n";

/// The gateway still answers.
async fn assert_alive(gate: &Gate) {
    assert_eq!(gate.ask("Are you still there?").await.status, 200);
}

#[tokio::test]
async fn a_client_that_closed_its_sending_side_still_gets_its_answer() {
    let gate = Gate::with("");
    for stream in [false, true] {
        let mut raw = Raw::connect(gate.address).await;
        raw.send(post("", &streamed(question("Half closed"), stream).to_string())).await;
        raw.half_close().await;
        let answer = raw.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("closed") && (!stream || answer.contains("data: [DONE]")), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_told_and_not_passed_on() {
    let gate = Gate::with("");
    let body = question("Cut in the middle").to_string();
    let head = post("x-request-id: cut-body\r\n", &body);
    let mut raw = Raw::connect(gate.address).await;
    raw.send(&head[..head.len() - 10]).await;
    raw.half_close().await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("body_unreadable"), "{answer}");
    assert_eq!(log::of_request("cut-body")[0]["code"], "body_unreadable");

    // The same from a client that does not wait for the answer.
    let mut raw = Raw::connect(gate.address).await;
    raw.send(&head[..head.len() - 10]).await;
    drop(raw);
    assert_alive(&gate).await;
    assert_eq!(gate.primary.count(), 1, "only the last question");
}

#[tokio::test]
async fn bytes_that_are_no_http_close_their_connection_and_no_other() {
    let gate = Gate::with("");
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(300 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(500));
    let cases: [(&str, &[u8]); 12] = [
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        ("zeros", &[0; 64]),
        ("a header without a name", b"GET / HTTP/1.1\r\n: x\r\n\r\n"),
        ("a header name with a space", b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n"),
        ("a control character in a value", b"GET / HTTP/1.1\r\nx: a\x01b\r\n\r\n"),
        ("no version", b"GET /\r\n\r\n"),
        ("another version", b"GET / HTTP/9.9\r\n\r\n"),
        ("a length that is no number", b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: ten\r\n\r\n"),
        ("two lengths", b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx"),
        ("a chunk size that is no number", b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nzz\r\n"),
        ("a head too large", long.as_bytes()),
        ("too many headers", many.as_bytes()),
    ];
    for (what, bytes) in cases {
        let answer = exchange(gate.address, bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        assert!(!answer.contains("panicked"), "{what}");
    }
    assert_alive(&gate).await;
}

#[tokio::test]
async fn a_length_and_chunks_at_once_do_not_smuggle_a_second_request() {
    let gate = Gate::with("");
    let bytes = "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n";
    let answer = exchange(gate.address, bytes).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_alive(&gate).await;
}

#[tokio::test]
async fn a_chunked_body_is_read_and_one_above_the_limit_refused() {
    let gate = Gate::with("limits: {max_body: 2KiB}");
    let chunked = |parts: &[&str]| {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\n{CLOSE}transfer-encoding: chunked\r\n\r\n"
        );
        let parts: String = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
        format!("{head}{parts}0\r\n\r\n")
    };
    let body = question("In two chunks").to_string();
    let answer = exchange(gate.address, chunked(&[&body[..20], &body[20..]])).await;
    assert!(answer.contains("You said: In two chunks"), "{answer}");
    let block = " ".repeat(1000);
    let answer = exchange(gate.address, chunked(&[&block, &block, &block])).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("request_too_large"), "{answer}");
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_before_it_does() {
    let gate = Gate::with("limits: {max_body: 2KiB}");
    let mut raw = Raw::connect(gate.address).await;
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 1000000000\r\n\r\n").await;
    raw.send(" ".repeat(3 * 1024)).await;
    let answer = raw.read_until("request_too_large").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_alive(&gate).await;
}

#[tokio::test]
async fn a_client_that_is_told_to_wait_for_permission_gets_it() {
    let gate = Gate::with("");
    let body = question("May I?").to_string();
    let request = post(&format!("{CLOSE}expect: 100-continue\r\n"), &body);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut raw = Raw::connect(gate.address).await;
    raw.send(format!("{head}\r\n\r\n")).await;
    raw.read_until("HTTP/1.1 100 Continue\r\n\r\n").await;
    raw.send(body).await;
    assert!(raw.read_to_end().await.contains("You said: May I?"));
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_their_order() {
    let gate = Gate::with("");
    let first = post("x-request-id: ahead-1\r\n", &question("First").to_string());
    let second = post("x-request-id: ahead-2\r\n", "no JSON");
    let third =
        post(&format!("x-request-id: ahead-3\r\n{CLOSE}"), &streamed(question("Third"), true).to_string());
    let answer = exchange(gate.address, format!("{first}{second}{third}")).await;
    let place = |text: &str| answer.find(text).unwrap_or_else(|| panic!("no '{text}' in {answer}"));
    assert!(place("ahead-1") < place("You said: First") && place("You said: First") < place("invalid_json"));
    assert!(place("invalid_json") < place("ahead-3") && place("ahead-3") < place("[DONE]"));
}

#[tokio::test]
async fn a_client_that_sends_too_slowly_is_cut_off() {
    let gate = Gate::with("timeouts: {client: 200ms}");
    let mut raw = Raw::connect(gate.address).await;
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: ").await;
    let answer = raw.read_to_end().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");

    let mut raw = Raw::connect(gate.address).await;
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 50\r\n\r\n{").await;
    let answer = raw.read_until("body_unreadable").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("timeouts.client"), "{answer}");
    assert_alive(&gate).await;
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_also_after_an_error() {
    let gate = Gate::with("");
    let mut raw = Raw::connect(gate.address).await;
    raw.send(post("", "no JSON")).await;
    raw.read_until("invalid_json").await;
    raw.send(post("", &question("Once more").to_string())).await;
    raw.read_until("You said: Once more").await;
}
