//! What people may talk about, and what not, told by examples.

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, log, question};

/// Words are what these tests' embedding model compares.
const TAX: &str = "
    - name: tax
      examples:
        - How do I save tax on my income this year?
        - Which income tax do I pay this year?
        - Can I save income tax with a house?
";
const ORDERS: &str = "
    - name: orders
      mode: allow
      examples:
        - Where is my parcel with the order from Monday?
        - When does the parcel with my order arrive?
        - I want to cancel my order, where is the parcel?
";

fn topics(lines: &str, more: &str) -> String {
    format!("guardrails:\n  topics:{lines}{more}\n")
}

fn said(role: &str, text: &str) -> Value {
    json!({ "role": role, "content": text })
}

fn code(error: &Value) -> (&str, &str) {
    (error["type"].as_str().unwrap(), error["code"].as_str().unwrap())
}

#[tokio::test]
async fn a_denied_topic_is_refused_in_other_words_than_its_examples_and_nothing_else_is() {
    let gate = Gate::with(&topics(TAX, ""));
    let refused = gate.ask("How much income tax do I save with a house this year?").await;
    let error = refused.error();
    assert_eq!((refused.status, code(&error)), (400, ("guardrail_blocked", "topic_denied")));
    assert_eq!(error["message"], "the request was refused by policy: it is about 'tax' (guardrails.topics)");
    assert_eq!(error["param"], "messages[0].content");
    assert_eq!(gate.primary.count(), 0);
    for text in ["Which bird sings at night?", "How deep is the pond in your garden?", "Hello", "?!"] {
        assert_eq!(gate.ask(text).await.status, 200, "{text}");
    }
    gate.until("sluice_topic_matches_total{topic=\"tax\",action=\"block\"} 1").await;
    gate.until("sluice_guardrail_refusals_total{entity=\"topic_denied\"} 1").await;
}

#[tokio::test]
async fn a_denied_topic_does_not_hide_in_a_long_text_behind_other_sentences_or_in_earlier_messages_of_the_turn()
 {
    let gate = Gate::with(&topics(TAX, ""));
    let other =
        "Yesterday a blackbird sat in the old pear tree behind our village and sang until it was dark. ";
    let hidden = format!("{}Which income tax do I pay this year? {}", other.repeat(20), other.repeat(400));
    assert_eq!(gate.ask(&hidden).await.error()["code"], "topic_denied");
    assert_eq!(gate.ask(&other.repeat(420)).await.status, 200);
    let asked = said("user", "Which income tax do I pay this year?");
    let ask = |messages: Value| json!({ "model": "chat", "messages": messages });
    let two = gate.client.chat(&ask(json!([asked, said("user", "Please answer in French.")]))).await;
    assert_eq!(two.error()["code"], "topic_denied");
    let earlier = json!([asked, said("assistant", "No."), said("user", "Then sing a song.")]);
    assert_eq!(gate.client.chat(&ask(earlier)).await.status, 200, "it was judged when it came");
    let parts = json!([{ "type": "text", "text": "Dear all," }, { "type": "text", "text": "which income tax do I pay this year?" }]);
    let parts = json!([{ "role": "user", "content": parts }]);
    assert_eq!(gate.client.chat(&ask(parts)).await.error()["code"], "topic_denied");
}

#[tokio::test]
async fn where_topics_are_allowed_nothing_else_is_talked_about() {
    let gate = Gate::with(&topics(&format!("{ORDERS}{TAX}"), ""));
    assert_eq!(gate.ask("Where is the parcel with my order?").await.status, 200);
    let refused = gate.ask("Write a poem about a blackbird").await;
    let error = refused.error();
    assert_eq!((refused.status, code(&error)), (400, ("guardrail_blocked", "topic_denied")));
    let message = "the request was refused by policy: it is about none of what is allowed here: orders (guardrails.topics)";
    assert_eq!(error["message"], message);
    assert_eq!(gate.ask("Which income tax do I pay this year?").await.status, 400);
    gate.until("sluice_topic_matches_total{topic=\"off_topic\",action=\"block\"} 2").await;
}

#[tokio::test]
async fn a_reported_topic_goes_on_is_counted_each_time_and_its_words_are_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let audit = format!("\naudit: {{path: '{}'}}", path.display());
    let gate = {
        let mut gate = Gate::with(&topics(&format!("{TAX}      action: report"), &audit));
        for outcome in ["miss", "hit", "hit"] {
            let reply = gate.ask("Which income tax do I pay this year, Zoe?").await;
            assert_eq!((reply.status, reply.header("x-sluice-cache")), (200, outcome));
            log::wait_for(reply.header("x-request-id")).await;
            let told = log::of_request(reply.header("x-request-id"));
            let told = told.iter().find(|line| line["topic"] == "tax").unwrap();
            assert_eq!(told["action"], "report");
        }
        gate.until("sluice_topic_matches_total{topic=\"tax\",action=\"report\"} 3").await;
        gate.stop().await.unwrap();
        gate
    };
    drop(gate);
    let text = std::fs::read_to_string(&path).unwrap();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = events.map(|event| event.get("event").cloned().unwrap_or(event));
    let told: Vec<Value> = events.filter(|event| event["detector"] == "topic").collect();
    assert_eq!(told.len(), 3);
    assert_eq!((told[0]["entity"].as_str(), told[0]["action"].as_str()), (Some("tax"), Some("report")));
    assert_eq!(
        (told[0]["channel"].as_str(), told[0]["field"].as_str()),
        (Some("user"), Some("messages[0].content"))
    );
    assert!(!holds(text.as_bytes(), "income") && !holds(text.as_bytes(), "Zoe"));
}

#[tokio::test]
async fn an_answer_out_of_the_cache_is_no_way_around() {
    let open = Gate::with(&topics(&format!("{TAX}      similarity: 1.0"), ""));
    let asked = question("Which income tax do we pay this year?");
    assert_eq!(open.client.chat(&asked).await.status, 200, "a threshold by hand holds");
    let gate = Gate::with(&topics(TAX, ""));
    for _ in 0..3 {
        assert_eq!(gate.client.chat(&asked).await.status, 400);
    }
}

#[tokio::test]
async fn a_question_is_embedded_once_for_topics_and_cache() {
    let gate = Gate::with(&topics(TAX, ""));
    assert_eq!(gate.ask("Which bird sings at night?").await.header("x-sluice-cache"), "miss");
    gate.until("sluice_embeddings_total{outcome=\"remembered\"} 1").await;
}

#[tokio::test]
async fn what_was_redacted_is_compared_by_its_placeholder() {
    let zoe = "
    - name: zoe
      examples: [zoe quill example org, zoe quill at example org, zoe quill example org zoe]
";
    let gate = Gate::with(&topics(zoe, ""));
    assert_eq!(gate.ask("zoe quill example org").await.status, 400);
    assert_eq!(gate.ask("zoe.quill@example.org").await.status, 200);
}

#[tokio::test]
async fn without_an_embedding_model_a_topic_that_blocks_refuses_and_one_that_reports_or_is_open_does_not() {
    for (more, status) in [("", 503), ("      on_error: open", 200), ("      action: report", 200)] {
        let yaml = format!("{}{}", sluice_tests::TWO_TARGETS, topics(&format!("{TAX}{more}"), ""));
        let gate = Gate::build(&yaml, None);
        for _ in 0..2 {
            let reply = gate.ask("Which bird sings at night?").await;
            assert_eq!(reply.status, status, "{more}");
            if status == 503 {
                assert_eq!(code(&reply.error()), ("server_error", "guardrail_unavailable"));
            }
        }
        gate.until("sluice_topics_skipped_total{reason=\"no_embedding_model\"} 2").await;
        assert_eq!(gate.primary.count(), usize::from(status == 200));
    }
}

#[tokio::test]
async fn a_policy_that_is_only_tried_refuses_nothing_for_a_topic() {
    let gate = Gate::with(&format!("guardrails:\n  shadow: true\n  topics:{TAX}"));
    assert_eq!(gate.ask("Which income tax do I pay this year?").await.status, 200);
    gate.until("sluice_topic_matches_total{topic=\"tax\",action=\"block\"} 1").await;
}
