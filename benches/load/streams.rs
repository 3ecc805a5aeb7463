//! Thousands of streams at once to one provider that speaks HTTP/2 and takes a hundred on a connection.
//!
//! `cargo run --release -p sluice-benches --bin streams [STREAMS] [SECONDS] [semantic]`
//!
//! Two processes: this one has the provider and the clients, the other the gateway alone, so that its memory can be told. All
//! clients ask at the same moment, each on a connection of its own. Every stream sends an event at once and one a second after
//! that. The table says how long it took until each stream had its first event and how much of the processors' time went where
//! until then, how late the others were, on how many connections the provider was asked, and what memory the gateway had: when
//! the last stream had begun, and at most. With `semantic` the gateway has its cache and embedding model, too; every question is
//! another one.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice::config;
use sluice::gateway::{Gateway, Parts};
use sluice::serve::Server;
use sluice_models::{
    BertEmbedder, DEFAULT_MODEL, EmbedPool, NoProgress, PoolOptions, Precision, PullOptions,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Semaphore};
use tokio::time::{Interval, interval_at};

/// As in the `sluice` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const STREAMS_PER_CONNECTION: u32 = 100;
const EVENT: &str = "data: {\"id\":\"s\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"word \"}}]}\n\n";
const END: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[expect(clippy::print_stderr, reason = "errors are for whoever runs it")]
fn main() -> ExitCode {
    // The one TLS provider of the process. A second installation is the only way to fail.
    drop(rustls::crypto::ring::default_provider().install_default());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("gateway") => gateway(&arguments),
        _ => measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The gateway's process: says where it listens, and serves until its input ends.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn gateway(arguments: &[String]) -> Result<(), AnyError> {
    let [_, url, kind] = arguments else { return Err("gateway URL off|semantic".into()) };
    let semantic = kind == "semantic";
    let yaml = format!(
        "providers: {{p: {{kind: openai_compatible, base_url: '{url}', http: 2}}}}\nroutes: [{{model: chat, targets: [p/m]}}]\ncache: {{enabled: {semantic}}}\n"
    );
    let config = config::parse(&yaml, "bench")?;
    let embedder = if semantic { Some(embedder()?) } else { None };
    let parts = Parts { embedder, mock: None, serving: true };
    let (gateway, _) = Gateway::build(&config, parts, &|_| None)?;
    let loopback = ([127, 0, 0, 1], 0).into();
    let server = Server::start(Arc::new(gateway), loopback, loopback)?;
    println!("{}", server.address);
    std::io::stdin().lines().for_each(drop);
    server.stop();
    Ok(())
}

fn embedder() -> Result<EmbedPool, AnyError> {
    let spec = sluice_models::find(DEFAULT_MODEL).ok_or("the default model is not in the registry")?;
    let files = sluice_models::pull(spec, &PullOptions::default(), &NoProgress)?;
    let model = BertEmbedder::load(spec, &files, Precision::Auto)?;
    Ok(EmbedPool::start(Arc::new(model), PoolOptions::default())?)
}

/// What is seen of the provider.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn measure(arguments: &[String]) -> Result<(), AnyError> {
    let number =
        |at: usize, standard: usize| arguments.get(at).map_or(Ok(standard), |word| word.parse::<usize>());
    let (streams, seconds) = (number(0, 5000)?, number(1, 60)?);
    let kind = arguments.get(2).map_or("off", String::as_str);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seen = Arc::new(Seen::default());
    let provider = runtime.block_on(provider(seconds, Arc::clone(&seen)))?;
    let mut child = start(provider, kind)?;
    let address = first_line(&mut child)?.trim().parse()?;
    let before = memory(child.id(), "VmRSS:")?;
    let start = Arc::new(Start::of(child.id(), streams));
    let asked = runtime.block_on(ask_all(address, seconds, &start));
    let most = memory(child.id(), "VmHWM:")?;
    // Its input ends, and so does it.
    drop(child.stdin.take());
    child.wait()?;
    let (begun, late) = asked?;
    let (Some(from), Some((held, to))) = (start.asked.get(), start.all_begun.get()) else {
        return Err("not every stream began".into());
    };
    let millis = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "{streams} streams of {seconds} s at once; the provider takes {STREAMS_PER_CONNECTION} on a connection; cache {kind}"
    );
    println!("{:52} {:>10} {:>10} {:>10}", "", "p50", "p99", "most");
    for (what, histogram) in
        [("until the first event, ms", &begun), ("later than a second after the one before, ms", &late)]
    {
        let cells = [0.5, 0.99, 1.0].map(|quantile| millis(histogram, quantile));
        println!("{what:52} {:>10.1} {:>10.1} {:>10.1}", cells[0], cells[1], cells[2]);
    }
    println!(
        "{:52} {:>10}",
        "streams open at once, as the provider saw it",
        seen.most.load(Ordering::SeqCst)
    );
    println!("{:52} {:>10}", "connections to the provider", seen.connections.load(Ordering::SeqCst));
    println!("{:52} {:>10.0}", "processors' time until all had begun, gateway, ms", to[0] - from[0]);
    println!("{:52} {:>10.0}", "provider and clients, ms", to[1] - from[1]);
    println!("{:52} {:>10.1}", "memory of the gateway before, MB", before / 1e6);
    println!("{:52} {:>10.1}", "when the last stream had begun, MB", held / 1e6);
    println!("{:52} {:>10.1}", "at most, MB", most / 1e6);
    Ok(())
}

/// The beginning: what was spent when all asked and when all had something, and what the gateway held then.
struct Start {
    gateway: u32,
    streams: usize,
    begun: AtomicUsize,
    asked: OnceLock<[f64; 2]>,
    all_begun: OnceLock<(f64, [f64; 2])>,
}

impl Start {
    fn of(gateway: u32, streams: usize) -> Self {
        let (asked, all_begun) = (OnceLock::new(), OnceLock::new());
        Self { gateway, streams, begun: AtomicUsize::new(0), asked, all_begun }
    }

    /// All ask now.
    fn asked(&self) {
        self.asked.get_or_init(|| self.spent());
    }

    /// One more has its first event.
    fn one_begun(&self) {
        if self.begun.fetch_add(1, Ordering::SeqCst) + 1 == self.streams {
            let held = memory(self.gateway, "VmRSS:").unwrap_or_default();
            self.all_begun.get_or_init(|| (held, self.spent()));
        }
    }

    /// The gateway's time and ours.
    fn spent(&self) -> [f64; 2] {
        [self.gateway, std::process::id()].map(processor_time)
    }
}

/// The processors' time that a process took, in milliseconds.
fn processor_time(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind its name in brackets: user's and system's time are the 12th and 13th, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}

fn start(provider: SocketAddr, kind: &str) -> Result<Child, AnyError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["gateway", &format!("http://{provider}/v1"), kind]);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

fn first_line(child: &mut Child) -> Result<String, AnyError> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    Ok(line)
}

/// A figure of the system about a process, in bytes.
fn memory(process: u32, name: &str) -> Result<f64, AnyError> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024.0)
}

/// Starts a provider.
async fn provider(seconds: usize, seen: Arc<Seen>) -> Result<SocketAddr, AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream.set_nodelay(true));
            seen.connections.fetch_add(1, Ordering::SeqCst);
            let seen = Arc::clone(&seen);
            let service = service_fn(move |request| answer(seconds, Arc::clone(&seen), request));
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(STREAMS_PER_CONNECTION);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

async fn answer(
    seconds: usize,
    seen: Arc<Seen>,
    request: Request<Incoming>,
) -> Result<Response<Words>, hyper::Error> {
    request.into_body().collect().await?;
    let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
    seen.most.fetch_max(open, Ordering::SeqCst);
    let second = Duration::from_secs(1);
    let tick = interval_at(tokio::time::Instant::now() + second, second);
    let mut response = Response::new(Words { tick, sent: 0, events: seconds, seen });
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// An event at once and one a second.
struct Words {
    tick: Interval,
    sent: usize,
    events: usize,
    seen: Arc<Seen>,
}

impl Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent > self.events {
            return Poll::Ready(None);
        }
        if self.sent > 0 {
            ready!(self.tick.poll_tick(context));
        }
        self.sent += 1;
        let text = if self.sent > self.events { END } else { EVENT };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.seen.open.fetch_sub(1, Ordering::SeqCst);
    }
}

type Times = (Histogram<u64>, Histogram<u64>);

/// Connects everybody, lets all ask at once, and reads every answer to its end.
async fn ask_all(address: SocketAddr, seconds: usize, start: &Arc<Start>) -> Result<Times, AnyError> {
    let together = Arc::new(Barrier::new(start.streams));
    // The system lets few connections wait for being accepted.
    let turns = Arc::new(Semaphore::new(64));
    let tasks: Vec<_> = (0..start.streams)
        .map(|number| {
            let (together, turns, start) = (Arc::clone(&together), Arc::clone(&turns), Arc::clone(start));
            tokio::spawn(async move { ask(address, number, (&together, &turns), &start).await })
        })
        .collect();
    let (mut begun, mut late) = (Histogram::new(3)?, Histogram::new(3)?);
    for task in tasks {
        let arrivals = task.await??;
        if arrivals.len() < seconds {
            return Err(format!("a stream had {} events of {seconds}", arrivals.len()).into());
        }
        let micros = |time: Duration| u64::try_from(time.as_micros());
        begun.record(micros(arrivals.first().copied().unwrap_or_default())?)?;
        for pair in arrivals.windows(2) {
            let [one, other] = pair else { continue };
            late.record(micros((*other - *one).saturating_sub(Duration::from_secs(1)))?)?;
        }
    }
    Ok((begun, late))
}

/// When each part of one answer came, since it was asked for.
async fn ask(
    address: SocketAddr,
    number: usize,
    (together, turns): (&Barrier, &Semaphore),
    start: &Start,
) -> Result<Vec<Duration>, AnyError> {
    let turn = turns.acquire().await?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    drop(turn);
    let body = format!(
        r#"{{"model":"chat","stream":true,"temperature":0,"messages":[{{"role":"user","content":"What does item {number} of the price list cost, and how many are in stock?"}}]}}"#
    );
    let request = Request::post("/v1/chat/completions")
        .header("host", "bench")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    if together.wait().await.is_leader() {
        start.asked();
    }
    let asked = Instant::now();
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        let status = response.status();
        let told = response.into_body().collect().await?.to_bytes();
        return Err(format!("status {status}: {}", String::from_utf8_lossy(&told)).into());
    }
    let (mut body, mut arrivals, mut end) = (response.into_body(), Vec::new(), Bytes::new());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            arrivals.push(asked.elapsed());
            end = data;
            if arrivals.len() == 1 {
                start.one_begun();
            }
        }
    }
    if !end.ends_with(b"data: [DONE]\n\n") {
        return Err("a stream ended before its end".into());
    }
    Ok(arrivals)
}
