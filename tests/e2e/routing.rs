//! Whom a route asks, by the strategy that its operator chose and by what is known of the request.

use serde_json::{Value, json};
use sluice_tests::{Gate, Reply, Stub, Then, question, script, streamed};

/// Two providers, of which the second is in the house, and a route `chat` with these targets.
fn routed(targets: &str, more: &str) -> Gate {
    Gate::start(&format!(
        "
providers:
  primary: {{kind: mock, base_url: '{{primary}}'}}
  backup: {{kind: mock, base_url: '{{backup}}', in_house: true}}
routes:
  - model: chat
    targets: {targets}
retry: {{rounds: 0}}
embedding: {{deadline: 5m}}
{more}
"
    ))
}

/// The routed model and where it was asked.
fn served_by(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    format!("{}/{}", reply.header("x-sluice-provider"), reply.header("x-sluice-model"))
}

#[tokio::test]
async fn a_target_without_weight_is_asked_only_if_no_other_answers() {
    let gate = routed(
        "[{weighted: [{target: backup/spare, weight: 0}, {target: primary/main}]}]",
        "cache: {enabled: false}",
    );
    for _ in 0..20 {
        assert_eq!(served_by(&gate.ask("Hello").await), "primary/main");
    }
    gate.primary.script(script("reply: {status: 500}"));
    let reply = gate.ask("Hello").await;
    assert_eq!(served_by(&reply), "backup/spare");
    assert_eq!((reply.header("x-sluice-attempts"), reply.header("x-sluice-fallbacks")), ("2", "1"));
}

#[tokio::test]
async fn strategies_in_each_other_are_asked_one_after_the_other() {
    let gate = routed(
        "[{fastest: [{ordered: [primary/one, primary/two]}, {weighted: [{target: primary/three}]}]}, backup/last]",
        "",
    );
    gate.primary.script(script("reply: {status: 500}"));
    let reply = gate.ask("Hello").await;
    assert_eq!(served_by(&reply), "backup/last");
    assert_eq!((reply.header("x-sluice-attempts"), gate.primary.count()), ("4", 3));
}

const BY_TIER: &str = "[{conditional: [
    {when: {headers: {x-tier: gold}}, use: [primary/large]},
    {when: {metadata: {plan: 'team-*'}}, use: [primary/medium]},
    {when: {prompt_characters: {at_least: 50}}, use: [primary/long]},
    {when: {tools: true}, use: [primary/tools]},
    {else: [backup/small]}]}]";

#[tokio::test]
async fn headers_metadata_length_and_tools_decide_where_a_request_goes() {
    let gate = routed(BY_TIER, "");
    let gold = gate.client.with("x-tier", "gold");
    let team = gate.client.with("x-sluice-metadata", r#"{"plan": "team-7"}"#);
    assert_eq!(served_by(&gold.chat(&question("One")).await), "primary/large");
    assert_eq!(served_by(&team.chat(&question("Two")).await), "primary/medium");
    let mut in_body = question("Three");
    in_body["metadata"] = json!({ "plan": "team-8" });
    assert_eq!(served_by(&gate.client.chat(&in_body).await), "primary/medium");
    assert_eq!(served_by(&gate.ask(&"four ".repeat(10)).await), "primary/long");
    let mut tools = question("Five");
    tools["tools"] =
        json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }]);
    assert_eq!(served_by(&gate.client.chat(&tools).await), "primary/tools");
    assert_eq!(served_by(&gate.ask("Six").await), "backup/small");
}

#[tokio::test]
async fn what_one_branch_answered_is_not_served_to_another() {
    let gate = routed(BY_TIER, "");
    let gold = gate.client.with("x-tier", "gold");
    assert_eq!(served_by(&gate.ask("What is the capital of France?").await), "backup/small");
    let reply = gold.chat(&question("What is the capital of France?")).await;
    assert_eq!((served_by(&reply).as_str(), reply.cache().as_str()), ("primary/large", "miss"));
    for (client, model) in [(&gold, "primary/large"), (&gate.client, "backup/small")] {
        for _ in 0..2 {
            let reply = client.chat(&question("What is the capital of France?")).await;
            assert_eq!((served_by(&reply).as_str(), reply.cache().as_str()), (model, "hit exact"));
        }
    }
}

#[tokio::test]
async fn a_prompt_with_personal_data_goes_to_the_model_in_the_house() {
    let gate = routed(
        "[{conditional: [{when: {entities: '*'}, use: [backup/ours]}, {else: [primary/theirs]}]}]",
        "guardrails: {pii: redact}",
    );
    assert_eq!(served_by(&gate.ask("Who wrote Faust?").await), "primary/theirs");
    let reply = gate.ask("Write to ada.byron@example.org, please").await;
    assert_eq!(served_by(&reply), "backup/ours");
    assert_eq!(gate.primary.count(), 1);
}

#[tokio::test]
async fn what_has_to_stay_in_the_house_stays_there_whatever_the_branch_says() {
    let gate = routed(
        "[{conditional: [{when: {headers: {x-tier: gold}}, use: [primary/theirs]}, {else: [backup/ours]}]}]",
        "guardrails: {pii: route}",
    );
    let gold = gate.client.with("x-tier", "gold");
    assert_eq!(served_by(&gold.chat(&question("Who wrote Faust?")).await), "primary/theirs");
    let reply = gold.chat(&question("Write to ada.byron@example.org, please")).await;
    assert_eq!(served_by(&reply), "backup/ours");
    assert_eq!(gate.primary.count(), 1);
}

#[tokio::test]
async fn metadata_and_patience_of_another_form_are_refused_by_name() {
    let gate = routed(BY_TIER, "");
    for (name, value, words) in [
        ("x-sluice-metadata", "plan=gold", "must be a JSON object"),
        ("x-sluice-timeout", "30", "a time longer than 0 with a unit"),
    ] {
        let reply = gate.client.with(name, value).chat(&question("Hello")).await;
        let error = reply.error();
        assert_eq!((reply.status, error["param"].as_str()), (400, Some(name)));
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
    assert_eq!((gate.primary.count(), gate.backup.count()), (0, 0));
}

/// A provider that refuses every request with this error.
async fn refusing(status: &str, error: &Value) -> Stub {
    let body = json!({ "error": error }).to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Stub::start(format!("{head}{body}"), Then::Close).await
}

#[tokio::test]
async fn a_prompt_that_is_too_long_or_unwanted_goes_to_the_fallback_for_that_and_to_no_other() {
    let too_long = [
        json!({ "message": "No.", "type": "invalid_request_error", "code": "context_length_exceeded" }),
        json!({ "message": "prompt is too long: 201000 tokens > 200000 maximum", "type": "invalid_request_error" }),
        json!({ "message": "Input is too long for requested model." }),
    ];
    let unwanted = [json!({ "message": "The prompt was filtered.", "code": "content_filter" })];
    let cases =
        too_long.iter().map(|e| (e, "backup/long")).chain(unwanted.iter().map(|e| (e, "backup/mild")));
    for (error, expected) in cases {
        let stub = refusing("400 Bad Request", error).await;
        for stream in [false, true] {
            let gate = Gate::start(&format!(
                "
providers:
  primary: {{kind: mock, base_url: '{}'}}
  backup: {{kind: mock, base_url: '{{backup}}'}}
routes:
  - model: chat
    targets: [primary/a, backup/other]
    fallbacks: {{context_window: [primary/a, backup/long], content_policy: [backup/mild]}}
retry: {{rounds: 0}}
embedding: {{deadline: 5m}}
",
                stub.base_url()
            ));
            let reply = gate.client.chat(&streamed(question("Hello"), stream)).await;
            assert_eq!(served_by(&reply), expected, "{error}");
            assert_eq!(reply.header("x-sluice-attempts"), "2");
            assert_eq!(gate.backup.count(), 1);
        }
    }
}

#[tokio::test]
async fn an_answer_that_its_vendor_s_policy_ends_before_it_begins_is_asked_for_elsewhere() {
    let gate = |fallbacks: &str, answer: &str| {
        let gate = Gate::start(&format!(
            "
providers:
  primary: {{kind: mock, base_url: '{{primary}}'}}
  backup: {{kind: mock, base_url: '{{backup}}'}}
routes:
  - model: chat
    targets: [primary/a, backup/other]
{fallbacks}
retry: {{rounds: 0}}
cache: {{enabled: false}}
"
        ));
        gate.primary.script(script(&format!("reply: {{answer: '{answer}', finish_reason: content_filter}}")));
        gate
    };
    let to_mild = "    fallbacks: {content_policy: [primary/a, backup/mild]}";
    for (answer, stream, expected) in [
        ("", false, "backup/mild"),
        ("Half of", false, "backup/mild"),
        ("", true, "backup/mild"),
        ("Half of", true, "primary/a"),
    ] {
        let reply = gate(to_mild, answer).client.chat(&streamed(question("Hello"), stream)).await;
        assert_eq!(served_by(&reply), expected, "'{answer}', stream: {stream}");
        let is_mild = expected == "backup/mild";
        assert_eq!(reply.finish_reason() == "stop", is_mild);
        assert_eq!(reply.header("x-sluice-attempts"), if is_mild { "2" } else { "1" });
    }
    for stream in [false, true] {
        // Nobody else to ask, or nobody who answers: then what there is.
        for (fallbacks, attempts) in
            [("", "1"), ("    fallbacks: {content_policy: [primary/a]}", "1"), (to_mild, "2")]
        {
            let gate = gate(fallbacks, "");
            gate.backup.script(script("reply: {status: 503}"));
            let reply = gate.client.chat(&streamed(question("Hello"), stream)).await;
            assert_eq!((reply.status, served_by(&reply).as_str()), (200, "primary/a"), "{fallbacks}");
            assert_eq!(
                (reply.finish_reason().as_str(), reply.header("x-sluice-attempts")),
                ("content_filter", attempts)
            );
        }
    }
}

#[tokio::test]
async fn a_client_s_own_timeout_shortens_the_deadline_and_is_no_fault_of_the_target() {
    let gate = routed("[primary/a, backup/b]", "breaker: {failures: 1}\ncache: {enabled: false}");
    gate.primary.script(script("reply: {hang: true}"));
    let hurried = gate.client.with("x-sluice-timeout", "300ms");
    let reply = hurried.chat(&question("Hello")).await;
    assert_eq!((reply.status, reply.error()["code"].as_str()), (504, Some("all_targets_failed")));
    gate.primary.script(script("reply: {answer: 'Here again.'}"));
    assert_eq!(served_by(&gate.ask("Hello").await), "primary/a", "its breaker stayed closed");
}

#[tokio::test]
async fn a_client_s_own_timeout_does_not_lengthen_the_deadline() {
    let gate = routed("[primary/a]", "timeouts: {total: 400ms}");
    gate.primary.script(script("reply: {hang: true}"));
    let reply = gate.client.with("x-sluice-timeout", "10m").chat(&question("Hello")).await;
    assert_eq!(reply.status, 504);
}
