//! What a cache hit costs beside its floors.
//!
//! `cargo run --release -p sluice-benches --bin hit` (`-- hashed`: with an embedder that costs next to nothing, to see
//! what the gateway itself adds; `-- exact`: the exact hit alone)
//!
//! One process, one connection at a time: a static hyper server that reads the same request and answers as many bytes, an
//! exact hit, a semantic hit among 10,000 entries, and the two other floors of the latter, tokenize + embed and search,
//! called on the client's own thread. Rounds go through all of them in turn, so that a machine whose speed drifts does so
//! for all alike. Every semantic question is asked once, so that neither the exact tier nor the memo can answer it, and is
//! near an entry. Prints medians over the rounds and their ratios.

#![forbid(unsafe_code)]

mod common;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{AnyError, Connection, gateway, median};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice::gateway::Gateway;
use sluice::mock::{Mock, Script};
use sluice::serve::Server;
use sluice_engine::{CacheConfig, Insert, KeyHasher, PartitionKey, SemanticCache};
use sluice_models::{
    BertEmbedder, DEFAULT_MODEL, EmbedError, EmbedPool, Embedder, Embedding, HashedEmbedder, NoProgress,
    PoolOptions, PullOptions,
};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

const ROUNDS: usize = 15;
/// Requests per round of the ways that take microseconds.
const SHORT: usize = 1000;
/// Requests per round of the ways that embed.
const LONG: usize = 100;
const ENTRIES: usize = 10_000;
/// Questions are near entries, whatever the embedder's idea of near.
const SIMILARITY: f32 = 0.7;

/// The p50 of each round, in microseconds.
#[derive(Default)]
struct Way(Vec<f64>);

impl Way {
    fn median(&self) -> f64 {
        median(self.0.clone())
    }
}

#[expect(clippy::print_stderr, reason = "errors are for whoever runs it")]
fn main() -> ExitCode {
    // The one TLS provider of the process. A second installation is the only way to fail.
    drop(rustls::crypto::ring::default_provider().install_default());
    match run(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(which: Option<&str>) -> Result<(), AnyError> {
    let mock = Mock::start(([127, 0, 0, 1], 0).into(), Script::default())?;
    let embedder: Arc<dyn Embedder> = match which {
        None => {
            let spec =
                sluice_models::find(DEFAULT_MODEL).ok_or("the default model is not in the registry")?;
            let files = sluice_models::pull(spec, &PullOptions::default(), &NoProgress)?;
            Arc::new(BertEmbedder::load(spec, &files, sluice_models::Precision::Auto)?)
        }
        Some("hashed" | "exact") => Arc::new(HashedEmbedder::new(384)),
        Some(other) => return Err(format!("'{other}': expected nothing, 'hashed' or 'exact'").into()),
    };
    let recorder = Arc::new(Recorder { inner: embedder, seen: Mutex::new(Some(HashMap::new())) });
    let pool = EmbedPool::start(Arc::clone(&recorder) as Arc<dyn Embedder>, PoolOptions::default())?;
    let gateway = gateway(&mock, &format!("cache: {{policy: fixed, similarity: {SIMILARITY}}}"), Some(pool))?;
    let loopback = ([127, 0, 0, 1], 0).into();
    let server = Server::start(Arc::clone(&gateway), loopback, loopback)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entries = if which == Some("exact") { 1 } else { ENTRIES };
    let done = runtime.block_on(async {
        let mut hits = Connection::open(server.address).await?;
        seed(&mut hits, &gateway, entries).await?;
        measure(hits, &recorder, entries).await
    });
    server.stop();
    done
}

/// Lets the gateway remember so many answers.
async fn seed(connection: &mut Connection, gateway: &Gateway, entries: usize) -> Result<(), AnyError> {
    for n in 0..entries {
        // Else a near entry would answer, and this one would not be stored.
        connection.ask_with(&body(&prompt(0, n)), &[("x-sluice-cache-similarity", "1")]).await?;
    }
    let cache = gateway.memory.as_ref().ok_or("the cache is off")?.cache();
    cache.run_pending();
    let stored = cache.stats().vectors;
    if stored == entries as u64 { Ok(()) } else { Err(format!("{stored} of {entries} are stored").into()) }
}

async fn measure(mut hits: Connection, recorder: &Recorder, entries: usize) -> Result<(), AnyError> {
    let embedder = &*recorder.inner;
    let exact = body(&prompt(0, 0));
    let (_, answer) = hits.ask(&exact).await?;
    expect_tier(&answer, "exact")?;
    let mut fixed = Connection::open(static_server(answer.body().len())?).await?;
    let memory = Remembered::fill(recorder.take());

    let [mut floor, mut exact_hit, mut semantic, mut embed, mut search] = [(); 5].map(|()| Way::default());
    let mut asked = 0;
    for _ in 0..ROUNDS {
        floor.0.push(round(&mut fixed, &exact, "").await?);
        exact_hit.0.push(round(&mut hits, &exact, "exact").await?);
        if entries == 1 {
            continue;
        }
        let questions: Vec<String> = (asked..asked + LONG).map(|n| prompt(1, n * 7 % entries)).collect();
        asked += LONG;
        let mut times = Vec::new();
        for question in &questions {
            let (took, answer) = hits.ask(&body(question)).await?;
            expect_tier(&answer, "semantic")?;
            times.push(micros(took));
        }
        semantic.0.push(median(times));
        let (mut embedding, mut searching) = (Vec::new(), Vec::new());
        for question in &questions {
            let began = Instant::now();
            let vector = embedder.embed(question)?.vector;
            embedding.push(micros(began.elapsed()));
            searching.push(memory.search(&vector)?);
        }
        embed.0.push(median(embedding));
        search.0.push(median(searching));
    }
    print(floor.median(), exact_hit.median(), (entries > 1).then_some([semantic, embed, search]));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn print(floor: f64, exact: f64, semantic: Option<[Way; 3]>) {
    println!("one connection, median p50 of {ROUNDS} rounds, µs");
    println!("{:44} {floor:>9.1}", "static hyper server");
    println!("{:44} {exact:>9.1}  {:.3} × the static server", "exact hit", exact / floor);
    let Some([semantic, embed, search]) = semantic.map(|ways| ways.map(|way| way.median())) else { return };
    println!("{:44} {embed:>9.1}", "tokenize + embed");
    println!("{:44} {search:>9.1}", format!("search among {ENTRIES}"));
    let sum = floor + embed + search;
    println!("{:44} {sum:>9.1}", "static server + embed + search");
    let more = semantic - sum;
    println!("{:44} {semantic:>9.1}  {:.3} × that sum ({more:+.1})", "semantic hit", semantic / sum);
}

async fn round(connection: &mut Connection, body: &Bytes, tier: &str) -> Result<f64, AnyError> {
    let mut times = Vec::with_capacity(SHORT);
    for _ in 0..SHORT {
        let (took, answer) = connection.ask(body).await?;
        expect_tier(&answer, tier)?;
        times.push(micros(took));
    }
    Ok(median(times))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// An answer of another tier would be another measurement.
fn expect_tier(answer: &Response<Bytes>, tier: &str) -> Result<(), AnyError> {
    let found = answer.headers().get("x-sluice-cache-tier").map_or(&b""[..], HeaderValue::as_bytes);
    if found == tier.as_bytes() { Ok(()) } else { Err(format!("expected an answer of tier '{tier}'").into()) }
}

/// About 14 tokens. Two forms of one number are near each other, two numbers of one form differ in a word or more.
fn prompt(form: usize, number: usize) -> String {
    const DO: [&str; 20] = [
        "change", "cancel", "renew", "track", "return", "pause", "share", "rename", "export", "delete",
        "update", "restore", "print", "verify", "transfer", "upgrade", "insure", "archive", "report", "lock",
    ];
    const WHAT: [&str; 25] = [
        "order", "invoice", "password", "account", "contract", "ticket", "parcel", "calendar", "profile",
        "licence", "playlist", "mortgage", "passport", "garden", "printer", "camera", "bicycle", "pension",
        "recipe", "library", "server", "notebook", "kitchen", "schedule", "warranty",
    ];
    const WHEN: [&str; 20] = [
        "in winter",
        "on Sunday",
        "from abroad",
        "by phone",
        "without fees",
        "at night",
        "for a friend",
        "in Spain",
        "before lunch",
        "after work",
        "with a tablet",
        "at school",
        "on holiday",
        "in spring",
        "by train",
        "for my boss",
        "in secret",
        "with a robot",
        "at sea",
        "for charity",
    ];
    let (action, object, time) = (number % 20, number / 20 % 25, number / 500 % 20);
    let start = ["How do I", "How can I"][form];
    format!("{start} {} my {} {}, please tell me?", DO[action], WHAT[object], WHEN[time])
}

fn body(prompt: &str) -> Bytes {
    let system = "You are a helpful assistant for the customers of a bank.";
    let text = format!(
        r#"{{"model":"mock","temperature":0,"messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"{prompt}"}}]}}"#
    );
    Bytes::from(text)
}

/// A server that reads a request's body and answers `length` bytes: as little as hyper can do.
fn static_server(length: usize) -> Result<SocketAddr, AnyError> {
    let answer = Bytes::from(vec![b'x'; length]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let accept = async move {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream.set_nodelay(true));
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    drop(request.into_body().collect().await);
                    let mut response = Response::new(Full::new(answer));
                    let json = HeaderValue::from_static("application/json");
                    response.headers_mut().insert(header::CONTENT_TYPE, json);
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    };
    thread::Builder::new().name("static".to_owned()).spawn(move || runtime.block_on(accept))?;
    Ok(address)
}

/// Keeps the vectors of the entries, so that they need not be computed a second time.
struct Recorder {
    inner: Arc<dyn Embedder>,
    /// Of each text; none once they were taken.
    seen: Mutex<Option<HashMap<String, Vec<f32>>>>,
}

impl Recorder {
    fn take(&self) -> HashMap<String, Vec<f32>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

impl Embedder for Recorder {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn dimensions(&self) -> usize {
        self.inner.dimensions()
    }

    fn max_tokens(&self) -> usize {
        self.inner.max_tokens()
    }

    fn embed(&self, text: &str) -> Result<Embedding, EmbedError> {
        let embedding = self.inner.embed(text)?;
        if let Some(seen) = &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            seen.insert(text.to_owned(), embedding.vector.clone());
        }
        Ok(embedding)
    }
}

/// The entries once more, to search among them without a gateway.
struct Remembered {
    cache: SemanticCache,
    partition: PartitionKey,
}

impl Remembered {
    fn fill(vectors: HashMap<String, Vec<f32>>) -> Self {
        let cache = SemanticCache::new(CacheConfig { similarity: SIMILARITY, ..CacheConfig::default() });
        let partition = KeyHasher::new(&[0; 32]).partition();
        for (text, vector) in vectors {
            cache.insert(Insert {
                partition,
                exact: partition.exact(&[text.as_bytes()]),
                normalised: None,
                vector: Some(vector),
                payload: Bytes::from(text),
                ttl: None,
                owner: 0,
                note: Bytes::new(),
                tags: Vec::new(),
            });
        }
        cache.run_pending();
        Self { cache, partition }
    }

    /// The time of one search, in microseconds.
    fn search(&self, vector: &[f32]) -> Result<f64, AnyError> {
        let began = Instant::now();
        let hit = self.cache.semantic(&self.partition, vector, 0.0, &|_| true);
        let took = micros(began.elapsed());
        hit.map(|_| took).ok_or_else(|| "a question was near no entry".into())
    }
}
