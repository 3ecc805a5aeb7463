//! What the README shows of a request is what happens.

use serde_json::Value;
use sluice_tests::{Gate, script};

/// The block behind `<!-- tested: name -->`.
fn block(name: &str) -> &'static str {
    let (_, rest) =
        include_str!("../../README.md").split_once(&format!("<!-- tested: {name} -->\n```")).unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("\n```").unwrap().0
}

fn json(name: &str) -> Value {
    serde_json::from_str(block(name)).unwrap()
}

#[tokio::test]
async fn a_request_leaves_and_an_answer_comes_as_the_readme_shows() {
    let gate = Gate::with("");
    gate.primary.script(script(&format!("reply: {{answer: '{}'}}", block("answered"))));
    let reply = gate.client.chat(&json("sent")).await;
    assert_eq!(reply.text(), block("read"));
    let received: Value = serde_json::from_slice(&gate.primary.seen()[0].body).unwrap();
    assert_eq!(received, json("received"));
}
