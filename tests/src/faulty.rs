//! A provider of any format that fails, over raw TCP: the path says how.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::bedrock::exception;
use crate::golden::cases::{self, Case};
use crate::stub::{nobody, read_request};

/// What stands in whatever a failing provider says: no client is to read it.
pub const WORDS: &str = "words-of-a-failing-provider";
/// How much of a huge answer there is.
pub const HUGE: u64 = 100 << 20;
/// Between two pieces of an answer without an end.
const DRIP: Duration = Duration::from_millis(100);
/// How much of a huge answer is written at a time.
const PIECE: usize = 64 << 10;
/// How a client begins to speak TLS.
const TLS_HANDSHAKE: u8 = 0x16;

/// A way to fail.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    /// It does not fail.
    Nothing,
    /// Nobody listens.
    Refused,
    /// Its name is nobody's.
    UnknownName,
    /// It speaks no TLS where TLS is spoken.
    NoTls,
    /// It resets the connection when the request came.
    Reset,
    /// This status, in its own words.
    Status(u16),
    /// A page for people with this status.
    Page(u16),
    /// Its headers come to no end.
    SlowHead,
    /// Silence before content.
    Stall,
    /// Silence after content.
    StallLater,
    /// The connection ends in the middle of an event.
    Cut,
    /// No JSON at once; of Bedrock a frame with a wrong checksum.
    Malformed,
    /// The same after content.
    MalformedLater,
    /// The answer, said to be something else.
    WrongType,
    /// It goes on and on, slowly.
    Endless,
    /// [`HUGE`], as fast as it is taken.
    Huge,
    /// An error with status 200.
    Error,
    /// An error after content.
    ErrorLater,
}

/// All ways to fail, by their names.
pub const FAULTS: [(&str, Fault); 21] = [
    ("connect_refused", Fault::Refused),
    ("reset", Fault::Reset),
    ("tls_error", Fault::NoTls),
    ("dns_failure", Fault::UnknownName),
    ("status_408", Fault::Status(408)),
    ("status_429", Fault::Status(429)),
    ("status_500", Fault::Status(500)),
    ("status_503", Fault::Status(503)),
    ("status_529", Fault::Status(529)),
    ("html_page_502", Fault::Page(502)),
    ("html_page_200", Fault::Page(200)),
    ("slow_headers", Fault::SlowHead),
    ("stall_before_content", Fault::Stall),
    ("stall_mid_stream", Fault::StallLater),
    ("cut_mid_frame", Fault::Cut),
    ("malformed_json", Fault::Malformed),
    ("malformed_json_later", Fault::MalformedLater),
    ("wrong_content_type", Fault::WrongType),
    ("endless_stream", Fault::Endless),
    ("answer_of_100_mb", Fault::Huge),
    ("error_with_200", Fault::Error),
];

/// What only streams can do beside these.
pub const ERROR_LATER: (&str, Fault) = ("error_mid_stream", Fault::ErrorLater);
/// What does not fail.
pub const HEALTHY: (&str, Fault) = ("healthy", Fault::Nothing);

impl Fault {
    /// Whether a stream has content by the time it fails.
    pub fn comes_after_content(self) -> bool {
        use Fault::{Cut, Endless, ErrorLater, Huge, MalformedLater, StallLater};
        matches!(self, StallLater | Cut | MalformedLater | Endless | Huge | ErrorLater)
    }

    fn named(name: &str) -> Option<Self> {
        let mut all = FAULTS.iter().chain([&ERROR_LATER, &HEALTHY]);
        all.find(|(other, _)| *other == name).map(|(_, fault)| *fault)
    }
}

#[derive(Clone)]
struct State {
    /// Connections that have not ended.
    open: watch::Sender<usize>,
    /// Bytes of answers that went out, by who was asked.
    written: Arc<Mutex<HashMap<String, u64>>>,
}

/// A provider on a free port; it lives as long as the test's runtime.
pub struct Faulty {
    address: SocketAddr,
    state: State,
}

impl Faulty {
    /// Starts one.
    ///
    /// # Panics
    /// If the system gives no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for a provider");
        let address = listener.local_addr().expect("a bound address");
        let state = State { open: watch::Sender::new(0), written: Arc::default() };
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                state.open.send_modify(|open| *open += 1);
                tokio::spawn(async move {
                    // That the gateway hangs up is what is to happen.
                    drop(serve(stream, &state).await);
                    state.open.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { address, state }
    }

    /// The base URL at which it fails so, in this format; `name` is whatever tells one from another.
    pub fn base_url(&self, (how, fault): (&str, Fault), format: &str, name: &str) -> String {
        let scheme = match fault {
            Fault::Refused => return nobody(),
            Fault::UnknownName => return "http://nobody.invalid/v1".to_owned(),
            Fault::NoTls => "https",
            _ => "http",
        };
        format!("{scheme}://{}/{how}/{format}/{name}", self.address)
    }

    /// How many bytes it could send of the answers at the address of this name.
    pub fn written(&self, name: &str) -> u64 {
        let written = self.state.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(name).copied().unwrap_or(0)
    }

    /// Waits until no connection is open.
    pub async fn idle(&self) {
        let mut open = self.state.open.subscribe();
        // Fails only when the sender is gone, and it is in `state`.
        drop(open.wait_for(|open| *open == 0).await);
    }
}

async fn serve(mut stream: TcpStream, state: &State) -> io::Result<()> {
    let mut seen = [0; 1024];
    let length = stream.peek(&mut seen).await?;
    if seen[0] == TLS_HANDSHAKE {
        // Whatever it says.
        if stream.read(&mut seen).await? > 0 {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await?;
        }
        return stream.shutdown().await;
    }
    let line = String::from_utf8_lossy(&seen[..length]).into_owned();
    let mut path = line.split([' ', '\r']).nth(1).unwrap_or_default().split('/').skip(1);
    let mut part = || path.next().unwrap_or_default();
    let (how, format, name) = (part(), part(), part());
    let fault = Fault::named(how).unwrap_or(Fault::Status(404));
    if fault == Fault::Reset {
        // Closed with what was not read, a connection is reset.
        return Ok(());
    }
    let request = read_request(&mut stream).await?;
    let streams = ["\"stream\":true", ":streamgeneratecontent", "/converse-stream"];
    let streams = streams.iter().any(|sign| request.contains(sign));
    let Script { first, then } = Script::of(fault, format, streams);
    stream.write_all(&first).await?;
    match then {
        Then::Close => {}
        Then::Hold => while stream.read(&mut seen).await? > 0 {},
        Then::Drip(piece) => {
            let mut ticks = tokio::time::interval(DRIP);
            loop {
                ticks.tick().await;
                stream.write_all(&piece).await?;
            }
        }
        Then::Flood(piece) => {
            let mut sent = 0;
            while sent < HUGE {
                stream.write_all(&piece).await?;
                sent += piece.len() as u64;
                let mut written = state.written.lock().unwrap_or_else(PoisonError::into_inner);
                *written.entry(name.to_owned()).or_default() = sent;
            }
        }
    }
    stream.shutdown().await
}

/// What is sent.
struct Script {
    first: Vec<u8>,
    then: Then,
}

enum Then {
    Close,
    /// Nothing, until the gateway hangs up.
    Hold,
    /// This again and again, slowly.
    Drip(Vec<u8>),
    /// This again and again, up to [`HUGE`].
    Flood(Vec<u8>),
}

impl Script {
    fn of(fault: Fault, format: &str, stream: bool) -> Self {
        let parts = parts(format, stream);
        let middle = parts.len() / 2;
        let (half, next, again) = (parts[..middle].concat(), &parts[middle], &parts[middle - 1]);
        let kind = match (stream, format) {
            (false, _) => "application/json",
            (true, "bedrock") => "application/vnd.amazon.eventstream",
            (true, _) => "text/event-stream",
        };
        let again = if stream { again.clone() } else { b" ".to_vec() };
        let (malformed, error) = (malformed(format, stream, next), error(format, stream));
        let page = || format!("<html><body><h1>{WORDS}</h1></body></html>").into_bytes();
        let (status, kind, body, then) = match fault {
            Fault::Status(status) => {
                let body = refusal(format, status).to_string().into_bytes();
                (status, "application/json", body, Then::Close)
            }
            Fault::Page(status) => (status, "text/html; charset=utf-8", page(), Then::Close),
            Fault::SlowHead => {
                let first = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-".to_vec();
                return Self { first, then: Then::Hold };
            }
            // Of Gemini's stream the first event has content.
            Fault::Stall if stream && format != "gemini" => (200, kind, parts[0].clone(), Then::Hold),
            Fault::Stall => (200, kind, Vec::new(), Then::Hold),
            Fault::StallLater => (200, kind, half, Then::Hold),
            Fault::Cut => (200, kind, [&half[..], &next[..next.len() / 2]].concat(), Then::Close),
            Fault::Malformed => (200, kind, malformed, Then::Close),
            Fault::MalformedLater => (200, kind, [half, malformed].concat(), Then::Close),
            Fault::WrongType => (200, "text/html", parts.concat(), Then::Close),
            Fault::Endless => (200, kind, half, Then::Drip(again)),
            Fault::Huge => {
                let piece = again.repeat(PIECE / again.len() + 1);
                (200, kind, half, Then::Flood(piece))
            }
            Fault::Error => (200, kind, error, Then::Close),
            Fault::ErrorLater => (200, kind, [half, error].concat(), Then::Close),
            Fault::Nothing | Fault::Refused | Fault::UnknownName | Fault::NoTls | Fault::Reset => {
                (200, kind, parts.concat(), Then::Close)
            }
        };
        let head = format!("HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
        Self { first: [head.into_bytes(), body].concat(), then }
    }
}

/// The golden conversation with which these providers answer.
///
/// # Panics
/// If it is not among the fixtures.
pub fn plain() -> &'static Case {
    static PLAIN: OnceLock<Case> = OnceLock::new();
    let find = || cases::all().into_iter().find(|case| case.name == "plain");
    PLAIN.get_or_init(|| find().expect("the conversation 'plain'"))
}

/// The events of a stream, or pieces of a whole answer.
fn parts(format: &str, stream: bool) -> Vec<Vec<u8>> {
    let case = plain();
    if !stream {
        return case.answer(format).to_string().as_bytes().chunks(16).map(<[u8]>::to_vec).collect();
    }
    let all = case.stream(format);
    let mut bytes = &all[..];
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let length = if format == "bedrock" {
            bytes.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
        } else {
            // Google ends its lines as HTTP does.
            let end: &[u8] = if format == "gemini" { b"\r\n\r\n" } else { b"\n\n" };
            bytes.windows(end.len()).position(|other| other == end).map(|at| at + end.len())
        };
        let (event, rest) = bytes.split_at(length.unwrap_or(bytes.len()));
        events.push(event.to_vec());
        bytes = rest;
    }
    events
}

fn refusal(format: &str, status: u16) -> Value {
    match format {
        "anthropic" => json!({ "type": "error", "error": { "type": "api_error", "message": WORDS } }),
        "bedrock" => json!({ "message": WORDS }),
        "gemini" => json!({ "error": { "code": status, "message": WORDS, "status": "UNAVAILABLE" } }),
        _ => json!({ "error": { "message": WORDS, "type": "server_error", "param": null, "code": null } }),
    }
}

/// An error that comes with status 200.
fn error(format: &str, stream: bool) -> Vec<u8> {
    let refusal = refusal(format, 503);
    match (stream, format) {
        (false, _) => refusal.to_string().into_bytes(),
        (true, "bedrock") => exception("serviceUnavailableException", WORDS),
        (true, "anthropic") => format!("event: error\ndata: {refusal}\n\n").into_bytes(),
        (true, "responses") => {
            let failed = json!({ "type": "response.failed", "response": { "status": "failed", "output": [], "error": refusal["error"] } });
            format!("event: response.failed\ndata: {failed}\n\n").into_bytes()
        }
        (true, _) => format!("data: {refusal}\n\n").into_bytes(),
    }
}

fn malformed(format: &str, stream: bool, next: &[u8]) -> Vec<u8> {
    match (stream, format) {
        (false, _) => format!("{{\"id\": \"x\", {WORDS}").into_bytes(),
        (true, "bedrock") => {
            let mut frame = next.to_vec();
            frame.last_mut().into_iter().for_each(|byte| *byte ^= 1);
            frame
        }
        (true, "anthropic") => {
            format!("event: content_block_delta\ndata: {{\"type\": {WORDS}\n\n").into_bytes()
        }
        (true, _) => format!("data: {{\"choices\": [{{{WORDS}\n\n").into_bytes(),
    }
}
