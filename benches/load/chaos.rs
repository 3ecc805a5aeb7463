//! Half of the targets fail at random: who notices?
//!
//! `cargo run -p sluice-benches --bin chaos [SEED]`
//!
//! One process: eight scripted providers, a gateway for each strategy, and clients that ask again as soon as they have their
//! answer, every second time as a stream. One provider is dead all the time and answers 500 at once. Every 2,000 requests three
//! others are drawn to fail, most of the time and each in a way of its own: 500 at once, a reset connection, silence, or 429. The
//! rest is well, so every request could be answered. Counts, not times, are what it is about: a debug build does.

#![forbid(unsafe_code)]

#[expect(unreachable_pub, reason = "the tests have it as well")]
#[path = "../../tests/src/among.rs"]
mod among;
#[expect(dead_code, reason = "what the other load benches need")]
mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{AnyError, Connection};
use hdrhistogram::Histogram;
use sluice::config;
use sluice::gateway::{Gateway, Parts};
use sluice::mock::{Mock, Script};
use sluice::serve::Server;

const REQUESTS: usize = 20_000;
const PHASE: usize = 2_000;
const TARGETS: usize = 8;
/// Beside the dead one.
const FAILING: usize = 3;
const LANES: usize = 32;
const WELL: &str = "reply: {latency: 2ms}";
const DEAD: &str = "reply: {status: 500}";
const FAULTS: [&str; 4] = ["status: 500", "cut_after: 0", "hang: true", "status: 429, retry_after: 0.5"];
const STRATEGIES: [&str; 3] = ["ordered", "weighted", "fastest"];

#[expect(clippy::print_stderr, reason = "errors are for whoever runs it")]
fn main() -> ExitCode {
    // The one TLS provider of the process. A second installation is the only way to fail.
    drop(rustls::crypto::ring::default_provider().install_default());
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What came of the requests of one strategy.
struct Outcome {
    answered: usize,
    failed: usize,
    /// Requests by target.
    asked: Vec<usize>,
    times: Histogram<u64>,
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn run() -> Result<(), AnyError> {
    let seed = std::env::args().nth(1).map_or(Ok(1), |seed| seed.parse())?;
    println!("{REQUESTS} requests each, {LANES} at a time, seed {seed}\n");
    println!(
        "{:10} {:>9} {:>7} {:>10} {:>9} {:>18} {:>8} {:>8}",
        "", "answered", "failed", "answered %", "attempts", "dead, after its 20", "p50 ms", "p99 ms"
    );
    for strategy in STRATEGIES {
        let outcome = measure(strategy, seed)?;
        let attempts: usize = outcome.asked.iter().sum();
        let late = outcome.asked[0].saturating_sub(20);
        let share = |part: usize, all: usize| 100.0 * part as f64 / all as f64;
        let ms = |quantile| outcome.times.value_at_quantile(quantile) as f64 / 1e6;
        println!(
            "{strategy:10} {:>9} {:>7} {:>10.3} {:>9.3} {:>17.2}% {:>8.1} {:>8.1}",
            outcome.answered,
            outcome.failed,
            share(outcome.answered, REQUESTS),
            attempts as f64 / REQUESTS as f64,
            share(late, REQUESTS),
            ms(0.5),
            ms(0.99),
        );
    }
    Ok(())
}

/// A gateway that chooses among these providers by this strategy.
fn gateway(providers: &[Mock], strategy: &str) -> Result<Arc<Gateway>, AnyError> {
    let mut yaml = among::routed(&providers.iter().collect::<Vec<_>>(), strategy);
    yaml.push_str("timeouts: {first_byte: 1s, idle: 1s}\ncache: {enabled: false}\n");
    let config = config::parse(&yaml, "bench")?;
    let (gateway, _) = Gateway::build(&config, Parts { serving: true, ..Parts::default() }, &|_| None)?;
    Ok(Arc::new(gateway))
}

fn measure(strategy: &str, seed: u64) -> Result<Outcome, AnyError> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let loopback = ([127, 0, 0, 1], 0).into();
    let script = |text: &str| Script::parse(text);
    let providers = (0..TARGETS).map(|_| Ok(among::provider(WELL)?));
    let providers = providers.collect::<Result<Vec<Mock>, AnyError>>()?;
    let server = Server::start(gateway(&providers, strategy)?, loopback, loopback)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut outcome = Outcome { answered: 0, failed: 0, asked: Vec::new(), times: Histogram::new(3)? };
    for _ in 0..REQUESTS / PHASE {
        let mut order: Vec<usize> = (1..TARGETS).collect();
        rng.shuffle(&mut order);
        providers[0].script(script(DEAD)?);
        for (at, target) in order.into_iter().enumerate() {
            let text = if at < FAILING {
                let (fault, chance) = (FAULTS[rng.usize(..FAULTS.len())], 0.5 + rng.f64() / 2.0);
                format!("{WELL}\nrules: [{{chance: {chance:.2}, reply: {{{fault}}}}}]")
            } else {
                WELL.to_owned()
            };
            providers[target].script(script(&text)?);
        }
        let left = Arc::new(AtomicUsize::new(PHASE));
        let lanes = (0..LANES).map(|_| lane(server.address, Arc::clone(&left)));
        let done = runtime.block_on(async {
            let lanes: Vec<_> = lanes.map(tokio::spawn).collect();
            let mut done = Vec::new();
            for lane in lanes {
                done.push(lane.await??);
            }
            Ok::<_, AnyError>(done)
        })?;
        for (answered, failed, times) in done {
            outcome.answered += answered;
            outcome.failed += failed;
            outcome.times.add(times)?;
        }
    }
    outcome.asked = providers.iter().map(Mock::count).collect();
    server.stop();
    Ok(outcome)
}

/// Asks until nothing is left to ask.
async fn lane(
    address: std::net::SocketAddr,
    left: Arc<AtomicUsize>,
) -> Result<(usize, usize, Histogram<u64>), AnyError> {
    let (mut answered, mut failed, mut times) = (0, 0, Histogram::new(3)?);
    let bodies = [
        r#"{"model":"chat","messages":[{"role":"user","content":"How long does a transfer take?"}]}"#,
        r#"{"model":"chat","stream":true,"messages":[{"role":"user","content":"How long does a transfer take?"}]}"#,
    ]
    .map(|body| Bytes::from_static(body.as_bytes()));
    let mut connection = Connection::open(address).await?;
    while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
    {
        let body = &bodies[number % 2];
        match tokio::time::timeout(Duration::from_secs(60), connection.ask(body)).await {
            Ok(Ok((took, response))) if is_whole(response.body(), number % 2 == 1) => {
                answered += 1;
                times.record(u64::try_from(took.as_nanos())?)?;
            }
            _ => {
                failed += 1;
                connection = Connection::open(address).await?;
            }
        }
    }
    Ok((answered, failed, times))
}

/// The answer is there to its end.
fn is_whole(body: &Bytes, stream: bool) -> bool {
    if stream { body.ends_with(b"data: [DONE]\n\n") } else { body.starts_with(b"{\"id\"") }
}
