//! What a hop through the gateway costs, and on which kind of runtime it costs less.
//!
//! `cargo run --release -p sluice-benches --bin hop`
//!
//! One process: a scripted provider without latency, the gateway, and a client with keep-alive connections that each
//! ask again as soon as they have their answer. Rounds go through all ways in turn, so that a machine whose speed drifts
//! does so for all of them alike; the table shows medians over the rounds and their ratio to asking the provider directly.
//! The last tables are about the gateway's half that asks alone: its pool of connections, beside the client of hyper-util.

#![forbid(unsafe_code)]

mod common;
mod pool;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{AnyError, Connection, gateway, median};
use hdrhistogram::Histogram;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice::endpoints;
use sluice::gateway::{Core, Gateway};
use sluice::mock::{Mock, Script};
use sluice::serve::Server;
use sluice::upstream::Upstream;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(1500);
const BODY: &str = r#"{"model":"mock","temperature":0,"messages":[{"role":"system","content":"You are a helpful assistant for the customers of a bank."},{"role":"user","content":"How long does a transfer to another bank take, and can I still stop it?"}]}"#;

/// One way to an answer, and what it took: the p50 and p99 in microseconds and the answers per second of each round.
struct Way {
    name: &'static str,
    address: SocketAddr,
    rounds: Vec<[f64; 3]>,
}

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

fn run() -> Result<(), AnyError> {
    let mock = Mock::start(([127, 0, 0, 1], 0).into(), Script::default())?;
    let loopback = ([127, 0, 0, 1], 0).into();
    let start = |cache| {
        Server::start(gateway(&mock, &caching(cache), None)?, loopback, loopback).map_err(AnyError::from)
    };
    let (miss, hit) = (start(false)?, start(true)?);
    for connections in [1, 8, 64] {
        let mut ways = [
            way("provider directly", mock.address),
            way("gateway, cache off, a runtime per core", miss.address),
            way(
                "gateway, cache off, one multi-thread runtime",
                multi_thread(gateway(&mock, &caching(false), None)?)?,
            ),
            way("gateway, exact hit, a runtime per core", hit.address),
            way(
                "gateway, exact hit, one multi-thread runtime",
                multi_thread(gateway(&mock, &caching(true), None)?)?,
            ),
        ];
        for _ in 0..ROUNDS {
            for way in &mut ways {
                way.rounds.push(round(way.address, connections)?);
            }
        }
        show(&format!("{connections} connection(s)"), "the provider asked directly", &ways);
    }
    miss.stop();
    hit.stop();
    pools(mock.address)
}

/// The same for the pool alone.
fn pools(address: SocketAddr) -> Result<(), AnyError> {
    for at_once in [1, 8, 64] {
        let mut ways = [way("hyper-util's client", address), way("the gateway's pool", address)];
        let pools = [pool::Pool::legacy, pool::Pool::own];
        for _ in 0..ROUNDS {
            for (way, make) in ways.iter_mut().zip(pools) {
                way.rounds.push(pool::round(make, address, at_once, (BODY, ROUND))?);
            }
        }
        show(&format!("{at_once} request(s) at once without a gateway"), "hyper-util's client", &ways);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn show(what: &str, base: &str, ways: &[Way]) {
    println!("\n{what}, median of {ROUNDS} rounds of {ROUND:?}, ratio to {base}");
    println!("{:46} {:>16} {:>16} {:>18}", "", "p50 µs", "p99 µs", "answers/s");
    let base = [0, 1, 2].map(|figure| middle(&ways[0], figure));
    for way in ways {
        let cell = |figure: usize| {
            let value = middle(way, figure);
            format!("{value:.0} ({:.2})", value / base[figure])
        };
        println!("{:46} {:>16} {:>16} {:>18}", way.name, cell(0), cell(1), cell(2));
    }
}

fn caching(enabled: bool) -> String {
    format!("cache: {{enabled: {enabled}}}")
}

fn way(name: &'static str, address: SocketAddr) -> Way {
    Way { name, address, rounds: Vec::new() }
}

fn middle(way: &Way, figure: usize) -> f64 {
    median(way.rounds.iter().map(|round| round[figure]).collect())
}

/// The same request handler on one work-stealing runtime with as many threads.
fn multi_thread(gateway: Arc<Gateway>) -> Result<SocketAddr, AnyError> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let core = Arc::new(Core { gateway, upstream: Upstream::new(Duration::from_secs(5)) });
    let accept = async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream.set_nodelay(true));
            let core = Arc::clone(&core);
            let service = service_fn(move |request| endpoints::handle(Arc::clone(&core), request));
            tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    };
    thread::spawn(move || runtime.block_on(async { tokio::spawn(accept).await }));
    Ok(address)
}

/// Asks for a while and gives p50 and p99 in microseconds and the answers per second.
fn round(address: SocketAddr, connections: usize) -> Result<[f64; 3], AnyError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let end = Instant::now() + ROUND;
        let tasks: Vec<_> = (0..connections).map(|_| tokio::spawn(ask(address, end))).collect();
        let mut all = Histogram::<u64>::new(3)?;
        for task in tasks {
            all.add(task.await??)?;
        }
        let micros = |quantile| all.value_at_quantile(quantile) as f64 / 1000.0;
        Ok([micros(0.5), micros(0.99), all.len() as f64 / ROUND.as_secs_f64()])
    })
}

async fn ask(address: SocketAddr, end: Instant) -> Result<Histogram<u64>, AnyError> {
    let mut connection = Connection::open(address).await?;
    let (body, mut times) = (Bytes::from_static(BODY.as_bytes()), Histogram::new(3)?);
    while Instant::now() < end {
        let (took, _) = connection.ask(&body).await?;
        times.record(u64::try_from(took.as_nanos())?)?;
    }
    Ok(times)
}
