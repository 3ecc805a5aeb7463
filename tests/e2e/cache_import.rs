//! Operators bring answers along, by `sluice cache import`, and take them to another gateway, by `sluice cache export`.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use serde_json::{Value, json};
use sluice::commands::cache::{CacheCommand, run};
use sluice::config;
use sluice::gateway::{Gateway, Parts};
use sluice::serve::Server;
use sluice_tests::leak::holds;
use sluice_tests::{Client, Gate, Reply, gate, log, question, streamed};
use tempfile::TempDir;

const IMPORT: &str = "/admin/v1/cache/import";
const EXPORT: &str = "/admin/v1/cache/export";
const ANSWER: &str = "From nine to five; write to help@example.org.";
const QUESTION: &str = "What is the daily limit of the silver card?";
/// As near as can be for an embedding model that sees words alone.
const OTHER_WORDS: &str = "the daily limit of the silver card is what?";

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    command: CacheCommand,
}

/// What the command says: on standard output, or as an error, and about single lines.
async fn cache(gate: &Gate, what: &str, file: &Path, more: &[&str]) -> (Result<String, String>, String) {
    let admin = format!("http://{}", gate.admin);
    let file = file.to_str().unwrap();
    let words = ["sluice", what, file, "--admin", &admin].into_iter().chain(more.iter().copied());
    let command = Command::parse_from(words).command;
    let run = move || {
        let mut notes = Vec::new();
        (run(&command, &mut notes), String::from_utf8(notes).unwrap())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A file of these lines.
fn file(folder: &TempDir, lines: &[Value]) -> PathBuf {
    let text = lines.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    });
    let path = folder.path().join("faq.jsonl");
    fs::write(&path, text).unwrap();
    path
}

async fn imported(gate: &Gate, lines: &[Value]) -> String {
    let folder = TempDir::new().unwrap();
    let (done, notes) = cache(gate, "import", &file(&folder, lines), &[]).await;
    done.unwrap_or_else(|e| panic!("{e}\n{notes}")) + &notes
}

fn with_system(system: &str, text: &str) -> Value {
    json!({ "model": "chat", "messages": [
        { "role": "system", "content": system }, { "role": "user", "content": text } ] })
}

#[tokio::test]
async fn an_imported_answer_is_found_in_every_tier_whole_and_streamed_without_a_provider() {
    let gate = Gate::with("");
    let lines = [
        json!({ "prompt": QUESTION, "answer": ANSWER, "model": "chat" }),
        json!({ "prompt": QUESTION, "system": "Be kind.", "answer": "Kindly.", "model": "chat" }),
        json!({ "prompt": QUESTION, "answer": "Coldly.", "model": "chat", "parameters": { "temperature": 0 } }),
    ];
    let told = imported(&gate, &lines).await;
    assert!(told.ends_with("faq.jsonl: 3 stored, 0 skipped, 0 failed\n"), "{told}");
    for stream in [true, false] {
        for (text, cache) in [
            (QUESTION, "hit exact"),
            ("what is the  daily limit of the silver card", "hit normalised"),
            (OTHER_WORDS, "hit semantic"),
        ] {
            let reply = gate.client.chat(&streamed(question(text), stream)).await;
            assert_eq!((reply.cache().as_str(), reply.text().as_str()), (cache, ANSWER), "{text}");
            assert_eq!(
                (reply.finish_reason().as_str(), reply.header("x-sluice-provider")),
                ("stop", "import")
            );
            let kind = gate.client.chat(&streamed(with_system("Be kind.", text), stream)).await;
            assert_eq!((kind.cache().as_str(), kind.text().as_str()), (cache, "Kindly."), "{text}");
            let mut cold = streamed(question(text), stream);
            cold["temperature"] = json!(0);
            let cold = gate.client.chat(&cold).await;
            assert_eq!((cold.cache().as_str(), cold.text().as_str()), (cache, "Coldly."), "{text}");
        }
    }
    assert_eq!(gate.primary.count() + gate.backup.count(), 0);
    assert_eq!(gate.client.chat(&with_system("Be brief.", QUESTION)).await.cache(), "miss");
    let mut other_model = question(QUESTION);
    other_model["model"] = json!("primary/model-a");
    assert_eq!(gate.client.chat(&other_model).await.cache(), "miss");
}

#[tokio::test]
async fn by_meaning_it_is_found_by_the_real_model_too() {
    let gate = Gate::with_weights("");
    imported(&gate, &[json!({ "prompt": "How do I reset my password?", "answer": ANSWER, "model": "chat" })])
        .await;
    let reply = gate.ask("How can I reset my password?").await;
    assert_eq!((reply.cache().as_str(), reply.text().as_str()), ("hit semantic", ANSWER));
}

#[tokio::test]
async fn an_answer_belongs_to_its_tenant_and_namespace_and_is_forgotten_by_its_tags() {
    let gate =
        Gate::with("keys: [{name: a, secret: 'env:TEST_A'}, {name: b, secret: 'env:TEST_B', tenant: shop}]");
    let line = |tenant: &str, answer: &str| json!({ "prompt": QUESTION, "answer": answer, "model": "chat", "tenant": tenant });
    let mut spaced = line("key:a", "In the tests.");
    spaced["namespace"] = json!("tests");
    spaced["tags"] = json!(["faq", "limits"]);
    imported(&gate, &[line("shop", "Of the shop."), spaced]).await;
    let (a, b) = (gate.key("TEST_A"), gate.key("TEST_B"));
    for text in [QUESTION, OTHER_WORDS] {
        let hit = b.chat(&question(text)).await;
        assert_eq!((hit.cache().split(' ').next(), hit.text().as_str()), (Some("hit"), "Of the shop."));
        let spaced = a.with("x-sluice-cache-namespace", "tests").chat(&question(text)).await;
        assert_eq!(spaced.text(), "In the tests.");
        assert_eq!(a.with("cache-control", "only-if-cached").chat(&question(text)).await.status, 504);
    }
    let admin = Client::new(gate.admin);
    let forgotten = admin.post("/admin/v1/cache/invalidate", r#"{"tag":"limits"}"#).await;
    assert_eq!(forgotten.json(), json!({ "matched": 1, "removed": 1 }));
}

#[tokio::test]
async fn bad_lines_are_told_by_number_and_field_and_the_others_go_on() {
    let gate = Gate::with("keys: [{name: a, secret: 'env:TEST_A'}, {name: b, secret: 'env:TEST_B'}]");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("faq.jsonl");
    let good = |text: &str| json!({ "prompt": text, "answer": ANSWER, "model": "chat", "tenant": "key:a" });
    let mut other = good("hunter2?");
    other["model"] = json!("nope");
    let mut stranger = good("hunter2?");
    stranger["tenant"] = json!("a");
    let mut nobody = good("hunter2?");
    nobody.as_object_mut().unwrap().remove("tenant");
    let lines = [
        "".to_owned(),
        good(QUESTION).to_string(),
        "hunter2".to_owned(),
        other.to_string(),
        stranger.to_string(),
        nobody.to_string(),
        r#"{"promt": "hunter2"}"#.to_owned(),
        good("What is the weekly limit?").to_string(),
    ];
    fs::write(&path, lines.join("\n")).unwrap();
    let (done, notes) = cache(&gate, "import", &path, &[]).await;
    let name = path.display();
    assert_eq!(done, Err(format!("{name}: 2 stored, 0 skipped, 5 failed")));
    let expected = [
        "3: failed: no JSON object",
        "4: failed: model: the model 'nope' does not exist here",
        "5: failed: tenant: 'tenant' is not known here: expected one of key:a, key:b",
        "6: failed: tenant: 'tenant' is missing: expected one of key:a, key:b",
        "7: failed: promt: unknown field 'promt'",
    ];
    assert_eq!(notes.lines().count(), expected.len(), "{notes}");
    for (told, expected) in notes.lines().zip(expected) {
        assert!(told.starts_with(&format!("{name}:{expected}")), "{told}");
    }
    assert!(!notes.contains("hunter2") && !log::text().contains("hunter2"));
    for text in [QUESTION, "What is the weekly limit?"] {
        assert_eq!(gate.key("TEST_A").chat(&question(text)).await.cache(), "hit exact");
    }
}

#[tokio::test]
async fn what_is_not_kept_like_other_answers_is_told_with_the_reason() {
    let gate = Gate::with(
        "keys: [{name: a, secret: 'env:TEST_A', tenant: t}, {name: b, secret: 'env:TEST_B', tenant: t}]\n\
         cache: {time_sensitive: bypass, max_bytes: 100KiB}",
    );
    let line = |text: &str, answer: &str| json!({ "prompt": text, "answer": answer, "model": "chat" });
    let told = imported(
        &gate,
        &[
            line("What is the weather today?", "Fine."),
            line("What is my balance?", "Low."),
            line(QUESTION, &"x".repeat(200_000)),
        ],
    )
    .await;
    for expected in [
        "1 stored, 2 skipped, 0 failed",
        ":1: skipped: answers to such questions are not kept (time_sensitive)",
        ":2: limited: kept, for 60 s, not found by meaning (personal)",
        ":3: skipped: it is larger than the cache",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert_eq!(gate.key("TEST_A").chat(&question("What is my balance?")).await.cache(), "hit exact");
}

#[tokio::test]
async fn personal_data_of_a_question_is_kept_nowhere_and_everybody_gets_back_their_own() {
    let gate = Gate::with("cache: {keep_prompts: true}");
    let line = json!({
        "prompt": "Is zoe.quill@example.org a customer?",
        "answer": "Yes, Zoe.Quill@example.org is. Ask help@example.org.",
        "model": "chat",
    });
    imported(&gate, &[line]).await;
    for stream in [false, true] {
        let body = streamed(question("Is ada@example.net a customer?"), stream);
        let reply = gate.client.chat(&body).await;
        assert_eq!(reply.cache(), "hit exact");
        assert_eq!(reply.text(), "Yes, ada@example.net is. Ask help@example.org.");
    }
    let exported = Client::new(gate.admin).plain(EXPORT).await;
    assert!(exported.contains("Is [EMAIL_ADDRESS_1] a customer?"), "{exported}");
    assert!(!holds(exported.as_bytes(), "zoe.quill@example.org"), "{exported}");
    assert!(!holds(log::text().as_bytes(), "zoe.quill@example.org"));
    let refusing = Gate::with("guardrails: {pii: block}");
    let reply = Client::new(refusing.admin)
        .post(IMPORT, r#"{"prompt":"Is zoe.quill@example.org here?","answer":"No.","model":"chat"}"#)
        .await;
    let told = reply.json();
    assert_eq!((&told["failed"], &told["notes"][0]["line"]), (&json!(1), &json!(1)));
    assert!(
        !holds(&reply.body, "zoe.quill@example.org")
            && told["notes"][0]["message"].as_str().unwrap().contains("policy")
    );
}

#[tokio::test]
async fn what_one_gateway_exports_another_imports_and_answers_as_the_first_did() {
    let keys = "keys: [{name: a, secret: 'env:TEST_A'}, {name: b, secret: 'env:TEST_B', tenant: shop}]\n";
    let first = Gate::with(&format!("{keys}cache: {{keep_prompts: true}}"));
    let second = Gate::with(keys);
    let mut talk = with_system("Be kind.", QUESTION);
    talk["temperature"] = json!(0.2);
    let follow_up = json!({ "model": "chat", "messages": [
        { "role": "user", "content": "Hello" }, { "role": "assistant", "content": "Good morning" },
        { "role": "user", "content": OTHER_WORDS } ] });
    let (bodies, a, b) = ([question(QUESTION), talk, follow_up], first.key("TEST_A"), first.key("TEST_B"));
    let mut answers = Vec::new();
    for (body, stream) in bodies.iter().zip([false, true, false]) {
        answers
            .push(a.with("x-sluice-cache-namespace", "n").chat(&streamed(body.clone(), stream)).await.text());
    }
    b.chat(&question("What does it cost to send a letter to Lima?")).await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("moved.jsonl");
    let (done, notes) = cache(&first, "export", &path, &[]).await;
    assert_eq!(
        (done.unwrap(), notes.as_str()),
        (format!("{}: 4 exported, 0 left out\n", path.display()), "")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file is left");
    let (done, notes) = cache(&second, "import", &path, &[]).await;
    assert_eq!(
        (done.unwrap(), notes.as_str()),
        (format!("{}: 4 stored, 0 skipped, 0 failed\n", path.display()), "")
    );
    let moved = second.key("TEST_A").with("x-sluice-cache-namespace", "n");
    for stream in [true, false] {
        for (body, answer) in bodies.iter().zip(&answers) {
            let reply = moved.chat(&streamed(body.clone(), stream)).await;
            assert_eq!((reply.cache().as_str(), &reply.text()), ("hit exact", answer));
        }
    }
    assert_eq!(moved.chat(&question(OTHER_WORDS)).await.cache(), "hit semantic");
    assert_eq!(
        second.key("TEST_B").chat(&question("What does it cost to send a letter to Lima?")).await.cache(),
        "hit exact"
    );
    assert_eq!(second.primary.count(), 0);
    assert_eq!(second.key("TEST_B").chat(&question(QUESTION)).await.cache(), "miss");
}

#[tokio::test]
async fn an_export_keeps_the_time_that_was_left_and_only_requests_that_were_to_be_kept() {
    let kept = Gate::with("cache: {keep_prompts: true}");
    kept.client.with("x-sluice-cache-ttl", "1h").chat(&question(QUESTION)).await;
    let line: Value = serde_json::from_str(Client::new(kept.admin).plain(EXPORT).await.trim()).unwrap();
    let left = line["ttl"].as_u64().unwrap();
    assert!((3000..=3600).contains(&left), "{left}");
    assert_eq!(line["prompt"], QUESTION);

    let gate = Gate::with("");
    imported(&gate, &[json!({ "prompt": QUESTION, "answer": ANSWER, "model": "chat" })]).await;
    gate.ask("When do you open?").await;
    let folder = TempDir::new().unwrap();
    let (done, _) = cache(&gate, "export", &folder.path().join("none.jsonl"), &[]).await;
    let told = done.unwrap();
    assert!(told.contains("0 exported, 2 left out") && told.contains("cache.keep_prompts"), "{told}");
}

#[tokio::test]
async fn a_gateway_that_takes_little_at_once_gets_it_in_small_parts() {
    let gate = Gate::with("limits: {max_body: 300B}");
    let mut lines: Vec<Value> = (0..20)
        .map(
            |n| json!({ "prompt": format!("Which number is {n}?"), "answer": "It is one.", "model": "chat" }),
        )
        .collect();
    lines.push(json!({ "prompt": "x".repeat(400), "answer": "Too much.", "model": "chat" }));
    let folder = TempDir::new().unwrap();
    let (done, notes) = cache(&gate, "import", &file(&folder, &lines), &[]).await;
    assert!(done.unwrap_err().ends_with("20 stored, 0 skipped, 1 failed"), "{notes}");
    assert!(notes.contains("faq.jsonl:21: failed: the line is longer"), "{notes}");
    assert_eq!(gate.ask("Which number is 19?").await.cache(), "hit exact");
}

#[tokio::test]
async fn where_the_admin_address_asks_for_a_key_that_opens_its_own_tenant_alone() {
    gate::install_tls();
    let yaml = "keys: [{name: a, secret: 'env:TEST_A'}, {name: b, secret: 'env:TEST_B'}]\n\
                providers: {p: {kind: mock, base_url: 'http://127.0.0.1:1/v1'}}\ncache: {keep_prompts: true}";
    let (config, parts) = (config::parse(yaml, "test.yaml").unwrap(), Parts::default());
    let (gateway, _) = Gateway::build(&config, parts, &gate::env).unwrap();
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let server = Server::start(Arc::new(gateway), SocketAddr::from(([127, 0, 0, 1], 0)), everywhere).unwrap();
    let admin = Client::new(SocketAddr::from(([127, 0, 0, 1], server.admin.port())));
    let (a, b) = (admin.with("x-api-key", "sk-test-a"), admin.with("x-api-key", "sk-test-b"));
    assert_eq!(admin.post(IMPORT, "").await.status, 401);
    assert_eq!(admin.get(EXPORT).await.status, 401);
    let line = json!({ "prompt": QUESTION, "answer": ANSWER, "model": "p/m", "tenant": "key:a" }).to_string();
    let refused = b.post(IMPORT, line.clone()).await.json();
    assert_eq!((&refused["stored"], &refused["notes"][0]["field"]), (&json!(0), &json!("tenant")));
    assert_eq!(a.post(IMPORT, line).await.json()["stored"], 1);
    let (own, other) = (a.get(EXPORT).await, b.get(EXPORT).await);
    assert_eq!((own.header("x-sluice-cache-exported"), other.header("x-sluice-cache-exported")), ("1", "0"));
    assert!(holds(&own.body, QUESTION) && other.body.is_empty());
}

#[tokio::test]
async fn what_can_not_be_done_is_told() {
    let gate = Gate::with("");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("none.jsonl");
    let told = cache(&gate, "import", &path, &[]).await.0.unwrap_err();
    assert!(told.contains("none.jsonl"), "{told}");
    let off = Gate::with("cache: {enabled: false}");
    fs::write(&path, r#"{"prompt":"a","answer":"b","model":"chat"}"#).unwrap();
    for what in ["import", "export"] {
        let told = cache(&off, what, &path, &[]).await.0.unwrap_err();
        assert!(told.contains("the cache is off"), "{told}");
    }
    let told = cache(&gate, "import", &path, &["--key", "two\nlines"]).await.0.unwrap_err();
    assert!(told.starts_with("--key"), "{told}");
    let admin = Client::new(gate.admin);
    let status = |reply: Reply| reply.status;
    assert_eq!(status(admin.get(IMPORT).await), 405);
    assert_eq!(status(admin.post(EXPORT, "").await), 405);
    let page = admin.with("origin", "https://evil.example");
    assert_eq!(status(page.post(IMPORT, "").await), 403);
    assert_eq!(status(page.get(EXPORT).await), 403);
    assert_eq!(status(gate.client.get(EXPORT).await), 404, "not for clients");
    assert_eq!(status(gate.client.post(IMPORT, "").await), 404, "not for clients");
}
