//! What the cache remembers survives the process, however it ends: gateways in processes of their own are stopped and killed.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluice::mock::{Mock, Script};
use sluice_tests::{Client, Gate, Reply, question, script};
use tokio::sync::mpsc;

const CONFIG: &str = "SLUICE_TEST_GATEWAY_CONFIG";
const ROUNDS: usize = 8;

/// The gateway's process: it says where it serves, and stops when it is told to, or when nobody is there to tell it.
async fn child(config: &str) {
    let mut gate = Gate::start(config);
    let mut out = std::io::stdout();
    writeln!(out, "\nserving {} {}", gate.address, gate.admin).unwrap();
    let told = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
    assert!(told.await.unwrap().is_some(), "the test ended before its gateway");
    gate.stop().await.unwrap();
}

/// A gateway in a process of its own. Dropped, it is killed.
struct Process {
    child: Child,
    stdin: ChildStdin,
    /// Held open: the child's test harness still has something to say at its end.
    _stdout: Lines<BufReader<ChildStdout>>,
    client: Client,
    admin: Client,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    fn start(config: &str) -> Self {
        let this =
            "cache_durable::after_a_kill_what_is_served_was_stored_before_and_what_was_forgotten_is_gone";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([this, "--exact", "--nocapture", "--test-threads", "1"])
            .env(CONFIG, config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let serving = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("serving ")).unwrap();
        let addresses: Vec<SocketAddr> = serving.split(' ').skip(1).map(|a| a.parse().unwrap()).collect();
        let [client, admin] = [0, 1].map(|at| Client::new(addresses[at]));
        Self { child, stdin, _stdout: lines, client, admin }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        self.stdin.write_all(b"stop\n").unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// The answer to this question, if it is remembered.
    async fn remembered(&self, text: &str) -> Option<Reply> {
        let reply = self.client.with("cache-control", "only-if-cached").chat(&question(text)).await;
        assert!([200, 504].contains(&reply.status), "{}", reply.status);
        (reply.status == 200).then_some(reply)
    }

    /// Forgets by a tag. When this returns it and all that was stored before are on disk.
    async fn forget(&self, tag: &str) -> Value {
        let reply = self.admin.post("/admin/v1/cache/invalidate", json!({ "tag": tag }).to_string()).await;
        assert_eq!(reply.status, 200);
        reply.json()
    }
}

/// A provider that outlives the gateways, and a folder for their journal.
struct Home {
    provider: Mock,
    _folder: tempfile::TempDir,
    journal: PathBuf,
}

impl Home {
    fn new() -> Self {
        sluice_tests::gate::install_tls();
        let provider = Mock::start(SocketAddr::from(([127, 0, 0, 1], 0)), Script::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("cache.redb");
        Self { provider, _folder: folder, journal }
    }

    fn config(&self, more: &str) -> String {
        let (url, journal) = (self.provider.base_url(), self.journal.display());
        format!(
            "providers: {{far: {{kind: mock, base_url: '{url}'}}}}\n\
             routes: [{{model: chat, targets: [far/model]}}]\n\
             cache: {{journal: '{journal}', {more}}}\n\
             embedding: {{deadline: 5m}}\n"
        )
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// Asks new questions from several clients at once until so many were answered, and gives those.
async fn load(process: &Process, texts: impl Fn(usize) -> String, answers: usize) -> Vec<String> {
    let (said, mut heard) = mpsc::unbounded_channel();
    let next = Arc::new(AtomicUsize::new(0));
    let all: Arc<Vec<String>> = Arc::new((0..answers + 16).map(texts).collect());
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (said, next, all) = (said.clone(), Arc::clone(&next), Arc::clone(&all));
        let client = process.client.with("x-sluice-cache-tags", "load");
        asking.spawn(async move {
            while let Some(text) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                if client.attempt(&question(text)).await.is_some_and(|(status, _)| status == 200) {
                    drop(said.send(text.clone()));
                }
            }
        });
    }
    let mut answered = Vec::new();
    while answered.len() < answers {
        answered.push(heard.recv().await.expect("the clients go on until all is asked"));
    }
    // The others are somewhere under way.
    answered
}

#[tokio::test]
async fn after_a_kill_what_is_served_was_stored_before_and_what_was_forgotten_is_gone() {
    if let Ok(config) = std::env::var(CONFIG) {
        return child(&config).await;
    }
    let home = Home::new();
    let config = home.config("similarity: 1.0");
    // The round in which each question was first asked, those that must be there, and those that must not.
    let mut asked: HashMap<String, usize> = HashMap::new();
    let (mut kept, mut gone) = (HashSet::new(), HashSet::new());
    let mut served = 0;
    for round in 0..ROUNDS {
        // Each round's answers differ from all others'.
        home.provider.script(script(&format!("reply: {{answer: 'in round {round}: {{prompt}}'}}")));
        let process = Process::start(&config);
        for (text, first) in &asked {
            let reply = process.remembered(text).await;
            assert!(reply.is_some() || !kept.contains(text), "'{text}' was on disk");
            assert!(reply.is_none() || !gone.contains(text), "'{text}' was forgotten");
            if let Some(reply) = reply {
                assert_eq!(reply.cache(), "hit exact");
                assert_eq!(reply.text(), format!("in round {first}: {text}"));
                served += 1;
            }
        }
        let texts = |number: usize| format!("in what way does {} depend on {round}?", number * 7919);
        let answers = 5 + (round * 31) % 40;
        let answered = load(&process, texts, answers).await;
        asked.extend((0..answers + 16).map(|number| (texts(number), round)));
        if round % 3 == 1 {
            assert!(process.forget("load").await["removed"].as_u64().unwrap() >= answers as u64);
            gone.extend(answered);
            kept.clear();
        } else if round % 3 == 0 {
            process.forget("nothing").await;
            kept.extend(answered);
        }
        process.kill();
    }
    assert!(served > 30, "{served}");
}

#[tokio::test]
async fn after_a_stop_every_tier_answers_as_before_and_no_provider_is_asked() {
    let home = Home::new();
    let config = home.config("similarity: 0.5");
    let (first, other, near) = (
        "please tell me when your shop in town opens for visitors",
        "Please tell me when your shop in town opens for visitors!",
        "please tell me when your shop in town opens for guests",
    );
    let process = Process::start(&config);
    let answer = process.client.chat(&question(first)).await.text();
    let entry = process.remembered(first).await.unwrap().header("x-sluice-cache-entry").to_owned();
    process.stop();
    let process = Process::start(&config);
    for (text, how) in [(first, "hit exact"), (other, "hit normalised"), (near, "hit semantic")] {
        // Prompts come back behind the start.
        let reply = loop {
            if let Some(reply) = process.remembered(text).await {
                break reply;
            }
            assert_eq!(text, near, "answers are there when the gateway serves");
        };
        assert_eq!((reply.cache().as_str(), reply.text()), (how, answer.clone()));
        assert_eq!(reply.header("x-sluice-cache-entry"), entry);
    }
    assert_eq!(home.provider.count(), 1);
    process.forget("nothing").await;
    process.stop();

    std::fs::remove_file(beside(&home.journal, ".key")).unwrap();
    let process = Process::start(&config);
    assert!(process.remembered(first).await.is_none(), "without its key a journal is of no use");
    process.client.chat(&question(first)).await;
    process.stop();
    let process = Process::start(&config);
    assert!(process.remembered(first).await.is_some(), "the new one is");
}

#[tokio::test]
async fn prompts_and_personal_data_are_not_in_the_journal() {
    let home = Home::new();
    let process = Process::start(&home.config(""));
    let asked = question("where does the parcel for jane.roe@example.com with her umbrella stay?");
    home.provider.script(script("reply: {answer: 'Ask the courier about [EMAIL_ADDRESS_1].'}"));
    assert_eq!(process.client.chat(&asked).await.text(), "Ask the courier about jane.roe@example.com.");
    process.stop();
    let bytes = std::fs::read(&home.journal).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("Ask the courier"), "answers are, in their redacted form");
    for text in ["jane.roe", "umbrella", "parcel"] {
        assert!(!holds(text), "{text}");
    }
}
