//! SIGHUP puts a policy file into force, also one that looks as it did.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::sluice;

const EMAIL: &str = "zoe.quill@example.org";

/// A gateway that was started as people start it. Dropped, it is killed.
struct Serving {
    child: Child,
    client: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Serving {
    /// Waits until it says where it serves.
    fn start(config: &Path) -> Self {
        let mut child = sluice(&["serve", "--config", config.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        let ready = log.by_ref().find_map(|line| {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            said.push(line);
            event["message"].as_str()?.starts_with("ready").then_some(event)
        });
        let Some(ready) = ready else { panic!("it does not serve: {said:#?}") };
        // Read on, so that it can go on writing.
        std::thread::spawn(move || log.for_each(drop));
        let [client, admin] = ["listen", "admin"].map(|name| ready[name].as_str().unwrap().parse().unwrap());
        Self { child, client, admin }
    }

    fn hang_up(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -HUP \"$0\"", &pid]).status().unwrap().success());
    }

    /// The answer to a question, which the provider echoes.
    async fn ask(&self, text: &str) -> String {
        let question = json!({ "model": "mock", "messages": [{ "role": "user", "content": text }] });
        let body = Full::new(Bytes::from(question.to_string()));
        let request =
            Request::post(format!("http://{}/v1/chat/completions", self.client)).body(body).unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Waits until a scrape holds this line.
    async fn until(&self, line: &str) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let uri: Uri = format!("http://{}/metrics", self.admin).parse().unwrap();
        loop {
            let scrape =
                client.get(uri.clone()).await.unwrap().into_body().collect().await.unwrap().to_bytes();
            if String::from_utf8_lossy(&scrape).lines().any(|other| other == line) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Puts a whole file in the place of the old one, with this date.
fn put(path: &Path, policy: &str, at: SystemTime) {
    let beside = path.with_extension("new");
    fs::write(&beside, policy).unwrap();
    File::options().write(true).open(&beside).unwrap().set_modified(at).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[tokio::test]
async fn after_sighup_the_changed_policy_file_is_in_force_and_a_wrong_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (config, policy) = (folder.path().join("sluice.yaml"), folder.path().join("policy.yaml"));
    let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    put(&policy, "entities: {EMAIL_ADDRESS: {action: off}}\n", then);
    let file = policy.display();
    fs::write(
        &config,
        format!("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nproviders: {{mock: {{kind: mock}}}}\nguardrails: {{file: '{file}'}}\n"),
    )
    .unwrap();
    let serving = Serving::start(&config);
    let about_me = format!("Hello from {EMAIL}");
    assert_eq!(serving.ask(&about_me).await, format!("You said: {about_me}"));

    // A file of another length is seen without a signal: now it is certain that somebody watches, and listens to signals.
    put(&policy, "entities: {EMAIL_ADDRESS: {action: mask}} #\n", then);
    serving.until("sluice_guardrail_policy_reloads_total 1").await;
    assert_eq!(serving.ask(&about_me).await, "You said: Hello from ***.*****@*******.***");

    // Of the same length and date, only a signal tells of it.
    put(&policy, "entities: {EMAIL_ADDRESS: {action: redact}}\n", then);
    serving.hang_up();
    serving.until("sluice_guardrail_policy_reloads_total 2").await;
    assert_eq!(serving.ask(&about_me).await, "You said: Hello from [EMAIL_ADDRESS]");

    put(&policy, "entities: {EMAIL_ADDRESS: {action: remove}}\n", then);
    serving.hang_up();
    serving.until("sluice_guardrail_policy_reload_failures_total 1").await;
    assert_eq!(serving.ask(&about_me).await, "You said: Hello from [EMAIL_ADDRESS]");
}
