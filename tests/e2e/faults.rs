//! Every way in which a provider fails, before every client, whole and streamed, with and without somebody else to ask.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sluice_tests::faulty::{ERROR_LATER, FAULTS, Fault, Faulty, HEALTHY, HUGE, WORDS, plain};
use sluice_tests::golden::{Asker, Told, broken, stream as golden_stream};
use sluice_tests::{Gate, log};
use tokio::time::timeout;

use crate::goldens::{kind, model};

/// Short where providers are scripted to be silent, wide enough for those that are not to answer on a busy machine.
const TERMS: &str = "
timeouts: {connect: 1500ms, first_byte: 1500ms, idle: 1500ms, total: 6s}
limits: {max_answer: 256KiB}
retry: {rounds: 0}
breaker: {failures: 1000000, min_requests: 1000000}
cache: {policy: exact}
";
/// `timeouts.total`, and what a busy machine takes beside it.
const PATIENCE: Duration = Duration::from_secs(6 + 6);
/// How many are asked at once.
const AT_ONCE: usize = 48;
/// What a huge answer's provider may get rid of: what is read, and what systems hold between two sockets.
const TAKEN: u64 = HUGE / 4;
/// Tokens of the conversation, in and out.
const TOKENS: (u64, u64) = (24, 41);
/// The formats of clients: the names of their files, and where they ask.
const CLIENTS: [(&str, &str); 3] =
    [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages"), ("responses", "/v1/responses")];
/// The formats of providers.
const FORMATS: [&str; 5] = ["openai", "responses", "anthropic", "gemini", "bedrock"];
/// What depends on how a provider speaks, and is tried with each.
const OF_FORMATS: [Fault; 6] =
    [Fault::Cut, Fault::Malformed, Fault::MalformedLater, Fault::StallLater, Fault::Error, Fault::ErrorLater];

/// What a client is to get.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Due {
    /// The whole answer.
    Answer,
    /// An error and nothing else.
    Error,
    /// The beginning of an answer, and an error.
    Interruption,
}

/// One cell of the matrix.
struct Cell {
    number: usize,
    fault: (&'static str, Fault),
    /// The provider's format.
    provider: &'static str,
    client: (&'static str, &'static str),
    stream: bool,
    /// Whether the fallback answers.
    rescued: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = if self.stream { "stream" } else { "whole" };
        let fallback = if self.rescued { "healthy" } else { "failing" };
        let (provider, client, fault) = (self.provider, self.client.0, self.fault.0);
        write!(f, "{fault} × {shape} × fallback {fallback}, {provider} before {client}")
    }
}

impl Cell {
    fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for provider in FORMATS {
            let faults = FAULTS.iter().chain([&ERROR_LATER]);
            for fault in faults.filter(|(_, fault)| provider == "openai" || OF_FORMATS.contains(fault)) {
                for client in CLIENTS {
                    for (stream, rescued) in [(false, false), (false, true), (true, false), (true, true)] {
                        let number = cells.len();
                        cells.push(Self { number, fault: *fault, provider, client, stream, rescued });
                    }
                }
            }
        }
        // What is much work for the machine does not come at once.
        let count = cells.len();
        cells.sort_by_key(|cell: &Self| cell.number * 101 % count);
        cells
    }

    /// Names it in the configuration and the log.
    fn id(&self) -> String {
        format!("fault-cell-{}", self.number)
    }

    fn due(&self) -> Due {
        match self.fault.1 {
            // It is the answer, whatever it says it is.
            Fault::WrongType if !self.stream => Due::Answer,
            // Nothing is wrong with it until the time for all of it is over.
            Fault::Endless if !self.stream => Due::Error,
            fault if self.stream && fault.comes_after_content() => Due::Interruption,
            _ if self.rescued => Due::Answer,
            _ => Due::Error,
        }
    }

    /// What the provider had said of tokens by then.
    fn counted(&self) -> (u64, u64) {
        match (self.due(), self.provider) {
            (Due::Answer, _) => TOKENS,
            (Due::Interruption, "anthropic") => (24, 1),
            (Due::Interruption, "gemini") => (24, 0),
            _ => (0, 0),
        }
    }

    fn question(&self) -> Value {
        let words = format!("How long does transfer {} take?", self.number);
        let said = json!([{ "role": "user", "content": words }]);
        let mut body = match self.client.0 {
            "openai" => json!({ "messages": said }),
            "anthropic" => json!({ "messages": said, "max_tokens": 300 }),
            _ => json!({ "input": words }),
        };
        body["model"] = json!(self.id());
        if self.stream {
            body["stream"] = json!(true);
            if self.client.0 == "openai" {
                body["stream_options"] = json!({ "include_usage": true });
            }
        }
        body
    }

    /// Asks, and says what is wrong with what comes.
    async fn run(&self, asker: &Asker) -> Result<Told, String> {
        let (id, body) = (self.id(), self.question());
        let headers = [("x-request-id", id.as_str())];
        let told = timeout(PATIENCE, asker.try_ask(self.client.1, &headers, &body)).await;
        let told = told.map_err(|_| format!("nothing after {PATIENCE:?}"))??;
        if String::from_utf8_lossy(&told.body).contains(WORDS) {
            return Err("the client reads the words of a provider that failed".to_owned());
        }
        self.check(&told)?;
        if self.due() != Due::Answer {
            let again = [("cache-control", "only-if-cached")];
            let again = asker.try_ask(self.client.1, &again, &body).await?;
            if again.status != 504 {
                return Err(format!("it is in the cache: {}", again.status));
            }
            broken::error(self.client.0, &again.json())?;
        }
        Ok(told)
    }

    fn check(&self, told: &Told) -> Result<(), String> {
        let format = self.client.0;
        let streams = told.header("content-type").starts_with("text/event-stream");
        let said = String::from_utf8_lossy(&told.body);
        match self.due() {
            Due::Error if told.status >= 400 && !streams => broken::error(format, &told.json()),
            Due::Answer if told.status == 200 && streams == self.stream => {
                let whole = if streams { golden_stream::whole(format, &told.body)? } else { told.json() };
                self.check_answer(&whole)
            }
            Due::Interruption if told.status == 200 && streams => {
                let (text, all) = (broken::stream(format, &told.body)?, plain().answer(format));
                // What comes without an end repeats a part of the text.
                let begins = all.pointer(text_of(format)).and_then(Value::as_str).unwrap_or_default();
                let is_beginning = begins.starts_with(&text)
                    || (matches!(self.fault.1, Fault::Endless | Fault::Huge) && text.len() > 20);
                if is_beginning && !text.is_empty() { Ok(()) } else { Err(format!("no beginning: {text}")) }
            }
            due => Err(format!("{due:?} is due, and there is {}: {said:.300}", told.status)),
        }
    }

    fn check_answer(&self, whole: &Value) -> Result<(), String> {
        let format = self.client.0;
        let (text, wanted) = (whole.pointer(text_of(format)), plain().answer(format));
        if text.is_none() || text != wanted.pointer(text_of(format)) {
            return Err(format!("another answer: {whole}"));
        }
        let usage = &whole["usage"];
        let (input, output) = if format == "openai" {
            (&usage["prompt_tokens"], &usage["completion_tokens"])
        } else {
            (&usage["input_tokens"], &usage["output_tokens"])
        };
        let counted = input == TOKENS.0 && output == TOKENS.1;
        if counted { Ok(()) } else { Err(format!("other tokens: {usage}")) }
    }

    /// What the log says of it.
    fn check_log(&self, lines: &[Value]) -> Result<(), String> {
        let outcome = match self.due() {
            Due::Error => return if lines.is_empty() { Ok(()) } else { Err(format!("answered: {lines:?}")) },
            Due::Answer => "complete",
            Due::Interruption => "broken",
        };
        let [line] = lines else { return Err(format!("{} lines in the log", lines.len())) };
        if line["outcome"] != outcome {
            return Err(format!("the log says {}", line["outcome"]));
        }
        let tokens = [&line["input_tokens"], &line["output_tokens"]];
        let counted = self.counted();
        let is_right = tokens == [&json!(counted.0), &json!(counted.1)];
        // Of what broke off nothing may be known; a guess says that it is one.
        let unknown = self.due() == Due::Interruption && line["estimated"] == true;
        if is_right || unknown { Ok(()) } else { Err(format!("{tokens:?} are counted, not {counted:?}")) }
    }
}

/// Where the text of an answer stands.
fn text_of(format: &str) -> &'static str {
    match format {
        "openai" => "/choices/0/message/content",
        "anthropic" => "/content/0/text",
        _ => "/output/0/content/0/text",
    }
}

/// A gateway with a provider and a route for each cell, and two more of each format: one that answers, and one that fails.
fn gate(faulty: &Faulty, cells: &[Cell], terms: &str) -> Gate {
    let (mut providers, mut routes) = (String::from("providers:\n"), String::from("routes:\n"));
    let mut provider = |name: &str, how, format: &str| {
        let kind = kind(format);
        let base_url = faulty.base_url(how, format, name);
        providers +=
            &format!("  {name}: {{kind: {kind}, base_url: '{base_url}', api_key: 'env:TEST_FAULTY'}}\n");
    };
    for format in FORMATS {
        provider(&format!("healthy-{format}"), HEALTHY, format);
        provider(&format!("failing-{format}"), ("status_500", Fault::Status(500)), format);
    }
    for cell in cells {
        let (id, format) = (cell.id(), cell.provider);
        provider(&id, cell.fault, format);
        let fallback = if cell.rescued { "healthy" } else { "failing" };
        let model = model(format);
        routes += &format!("  - {{model: {id}, targets: ['{id}/{model}', '{fallback}-{format}/{model}']}}\n");
    }
    Gate::start(&format!("{providers}{routes}{terms}"))
}

/// The lines on answers to these requests, when there are so many.
async fn answered(count: usize, begin: &str) -> HashMap<String, Vec<Value>> {
    log::wait_until(|text| {
        let mut lines: HashMap<String, Vec<Value>> = HashMap::new();
        for line in text.lines().filter(|line| line.contains(begin) && line.contains("answered")) {
            let line: Value = serde_json::from_str(line).ok()?;
            let id = line["request_id"].as_str().filter(|id| id.starts_with(begin)).map(str::to_owned);
            id.into_iter().for_each(|id| lines.entry(id).or_default().push(line.clone()));
        }
        (lines.len() >= count).then_some(lines)
    })
    .await
}

/// The sum of a metric's series with these labels.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> u64 {
    let named = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
    let numbers =
        metrics.lines().filter(named).filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    numbers.sum()
}

/// Waits until no request is with a target.
async fn nothing_in_flight(gate: &Gate) {
    while sum(&gate.metrics().await, "sluice_target_in_flight", &[]) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn however_a_provider_fails_its_client_gets_one_clean_answer_or_one_error_in_its_own_format() {
    let (begun, cells, faulty) = (Instant::now(), Cell::all(), Faulty::start().await);
    let gate = gate(&faulty, &cells, TERMS);
    let asker = &Asker::new(gate.address);
    let asked = stream::iter(&cells).map(|cell| async move { (cell, cell.run(asker).await) });
    let told: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;

    let (mut findings, mut counts) = (Vec::new(), HashMap::new());
    let mut served: HashMap<String, u64> = HashMap::new();
    for (cell, told) in &told {
        *counts.entry(format!("{:?}", cell.due())).or_insert(0) += 1;
        match told {
            Ok(told) if cell.due() == Due::Answer => {
                *served.entry(told.header("x-sluice-provider").to_owned()).or_default() += 1;
            }
            Ok(_) => {}
            Err(what) => findings.push(format!("{cell}: {what}")),
        }
        let taken = faulty.written(&cell.id());
        if taken > TAKEN {
            findings.push(format!("{cell}: {taken} bytes were taken of what is too large"));
        }
    }
    assert!(findings.is_empty(), "{} of {} cells:\n{}", findings.len(), cells.len(), findings.join("\n"));

    let due = cells.iter().filter(|cell| cell.due() != Due::Error).count();
    let lines = timeout(PATIENCE, answered(due, "fault-cell-")).await.expect("a line for each answer");
    for cell in &cells {
        let lines = lines.get(&cell.id()).map_or(&[][..], Vec::as_slice);
        findings.extend(cell.check_log(lines).err().map(|what| format!("{cell}: {what}")));
    }
    // What is counted in all is what those who answered said.
    let metrics = gate.metrics().await;
    for (provider, count) in &served {
        let provider_label = format!("provider=\"{provider}\"");
        for (direction, tokens) in [("input", TOKENS.0), ("output", TOKENS.1)] {
            let labels = [provider_label.as_str(), &format!("direction=\"{direction}\"")];
            let counted = sum(&metrics, "sluice_tokens_total", &labels);
            if counted != tokens * count {
                findings.push(format!("{provider}: {counted} tokens {direction} of {count} answers"));
            }
        }
    }
    assert!(findings.is_empty(), "{} of {} cells:\n{}", findings.len(), cells.len(), findings.join("\n"));
    timeout(PATIENCE, faulty.idle()).await.expect("every connection to a provider ends");
    timeout(PATIENCE, nothing_in_flight(&gate)).await.expect("no request stays with a target");
    println!(
        "{} cells in {:.1} s, all as they should be: {counts:?}",
        cells.len(),
        begun.elapsed().as_secs_f64()
    );
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let faulty = Faulty::start().await;
    let endless = ("endless_stream", Fault::Endless);
    let cells: Vec<Cell> =
        Cell::all().into_iter().filter(|cell| cell.fault == endless && cell.stream && cell.rescued).collect();
    assert_eq!(cells.len(), CLIENTS.len());
    // Nothing else ends the stream.
    let gate = gate(&faulty, &cells, &TERMS.replace("total: 6s", "total: 10m"));
    let asker = Asker::new(gate.address);
    for cell in &cells {
        let id = format!("leaver-{}", cell.client.0);
        let response = asker.open(cell.client.1, &[("x-request-id", &id)], &cell.question()).await;
        let (mut body, mut seen) = (response.unwrap().into_body(), String::new());
        while seen.matches("data: ").count() < 5 {
            let frame = body.frame().await.expect("it goes on").unwrap();
            seen.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap_or_default()));
        }
        drop(body);
        timeout(PATIENCE, faulty.idle()).await.expect("the provider is let go");
        let lines = timeout(PATIENCE, answered(1, &id)).await.expect("a line in the log");
        let outcomes: Vec<_> = lines[&id].iter().map(|line| line["outcome"].clone()).collect();
        assert_eq!(outcomes, ["client_gone"], "{id}");
    }
    timeout(PATIENCE, nothing_in_flight(&gate)).await.expect("no request stays with a target");
}
