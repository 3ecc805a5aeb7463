//! The life of a chat request, from top to bottom.

mod account;
mod guards;
pub mod remember;
mod repeats;
pub mod request;
mod stored;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use sluice_guardrails::Vault;
use tokio::sync::mpsc;

use crate::body::{Body, Part};
use crate::client_api::openai_chat::{self, StreamEncoder};
use crate::error::ApiError;
use crate::gateway::{Core, Gateway};
use crate::ids;
use crate::keys::Caller;
use crate::relay::{Relay, replay};
use crate::route::Target;
use crate::route::answer::{Answer, Asking, Broken, Chunks};
use crate::wire::chat::{Assembler, Chunk};
use account::{Account, Source};
use guards::Inspected;
use remember::{Form, Found, Memory, Nothing, Remembered};
use repeats::RepeatKey;
use request::{ChatRequest, Delivery};

/// Parts of an answer that may wait for a slow client; the provider waits with them.
const PARTS_IN_FLIGHT: usize = 16;

/// Bodies from this size on are read off the I/O thread.
const LARGE_BODY: usize = 64 * 1024;

/// Silence in a stream after which a comment is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

static CACHE: HeaderName = HeaderName::from_static("x-sluice-cache");
static CACHE_TIER: HeaderName = HeaderName::from_static("x-sluice-cache-tier");
static CACHE_SIMILARITY: HeaderName = HeaderName::from_static("x-sluice-cache-similarity");
static PROVIDER: HeaderName = HeaderName::from_static("x-sluice-provider");
static MODEL: HeaderName = HeaderName::from_static("x-sluice-model");
static ATTEMPTS: HeaderName = HeaderName::from_static("x-sluice-attempts");
static OVERHEAD: HeaderName = HeaderName::from_static("x-sluice-overhead-ms");

/// As many headers as an answer has, so that their map need not grow.
const HEADERS: usize = 16;

/// Who asks what, beside the body.
pub struct Call {
    /// The authenticated caller.
    pub caller: Arc<Caller>,
    /// Names the request in logs and in `x-request-id`.
    pub id: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// When it came in.
    pub started: Instant,
}

/// Answers one chat request: from memory, else from the first target that can.
///
/// # Errors
/// An [`ApiError`] as long as nothing was sent; what breaks later ends the stream with an error event.
pub async fn chat(core: &Core, call: &Arc<Call>, body: Bytes) -> Result<Response<Body>, ApiError> {
    let gateway = &core.gateway;
    let small = body.len() < LARGE_BODY;
    let memory = gateway.memory.as_ref();
    let repeat = memory.filter(|_| small).map(|memory| memory.repeat_key(&call.caller.tenant, &body));
    if let (Some(memory), Some(key)) = (memory, &repeat)
        && let Some((delivery, remembered)) = again(gateway, memory, call, key)?
    {
        return Ok(from_memory(core, call, delivery, Vault::new(), remembered));
    }
    let (request, targets, Inspected { vault, clean }) = if small {
        read(gateway, call, &body)?
    } else {
        // Scanning it takes milliseconds, which the other clients of this thread would wait.
        let (gateway, call) = (Arc::clone(gateway), Arc::clone(call));
        let reading = tokio::task::spawn_blocking(move || read(&gateway, &call, &body));
        reading.await.map_err(|_| ApiError::Internal)??
    };
    let repeat = repeat.filter(|_| clean);
    let found = match memory {
        Some(memory) => memory.look_up(call, &request, &vault, repeat, &gateway.metrics).await?,
        None => Found::Nothing(Nothing { ticket: None, bypass: true }),
    };
    let nothing = match found {
        Found::Hit(remembered) => {
            return Ok(from_memory(core, call, request.delivery(), vault, *remembered));
        }
        Found::Nothing(nothing) => nothing,
    };
    gateway.metrics.lookup(if nothing.bypass { "bypass" } else { "miss" }, "");
    // Boxed, so that a hit need not carry around the room that asking takes.
    Box::pin(ask(core, call, &request, &targets, vault, nothing)).await
}

/// Asks the providers, and begins to pass their answer on.
async fn ask(
    core: &Core,
    call: &Call,
    request: &ChatRequest,
    targets: &[Target],
    vault: Vault,
    nothing: Nothing,
) -> Result<Response<Body>, ApiError> {
    let gateway = &core.gateway;
    let asking = Asking {
        upstream: &core.upstream,
        timeouts: &gateway.timeouts,
        retry: &gateway.retry,
        max_answer: gateway.limits.max_answer.0,
        metrics: &gateway.metrics,
    };
    let answer = asking.first_answer(targets, request).await?;
    Ok(from_provider(core, call, request, vault, nothing, answer).await)
}

/// From bytes to a request that may be seen by others: parsed, routed, redacted.
fn read(
    gateway: &Gateway,
    call: &Call,
    body: &Bytes,
) -> Result<(ChatRequest, Vec<Target>, Inspected), ApiError> {
    let mut request = openai_chat::parse(body)?;
    let targets = gateway.routes.resolve(&request.model)?;
    let inspected = guards::input(gateway, call, &mut request)?;
    Ok((request, targets, inspected))
}

/// The answer to a request that came before, byte for byte, and in which no guard found anything: its route is checked and
/// its answer looked up, but it need not be read again.
fn again(
    gateway: &Gateway,
    memory: &Memory,
    call: &Call,
    key: &RepeatKey,
) -> Result<Option<(Delivery, Remembered)>, ApiError> {
    let Some(known) = memory.known(key) else { return Ok(None) };
    gateway.routes.resolve(&known.model)?;
    Ok(memory.recall(call, &known)?.map(|remembered| (known.delivery, remembered)))
}

/// A hit walks the same way out as a live answer.
fn from_memory(
    core: &Core,
    call: &Call,
    delivery: Delivery,
    vault: Vault,
    remembered: Remembered,
) -> Response<Body> {
    let gateway = &core.gateway;
    let mut headers = HeaderMap::with_capacity(HEADERS);
    let tier = remembered.tier.as_str();
    headers.insert(&CACHE, HeaderValue::from_static("hit"));
    headers.insert(&CACHE_TIER, HeaderValue::from_static(tier));
    put(
        &mut headers,
        &CACHE_SIMILARITY,
        &decimals((f64::from(remembered.similarity) * 1e4).round() as u64, 4),
    );
    headers.insert(header::AGE, HeaderValue::from(remembered.age.as_secs()));
    describe(&mut headers, &remembered.provider, &remembered.model, 0);
    overhead(&mut headers, gateway, call, "cache", Duration::ZERO);
    gateway.metrics.lookup("hit", tier);

    let mut account = Account::open(gateway, call, Source::Cache { tier });
    account.saved(remembered.cost);
    let (id, created) = (ids::fresh("chatcmpl-"), unix_seconds());
    let response = match remembered.answer {
        Form::Spelled(lasting) => {
            respond(headers, false, Body::Full(openai_chat::complete(&lasting, &id, created)))
        }
        Form::Parts(chunk) => {
            let stored = Chunk { id, created, ..*chunk };
            let body = if delivery.stream {
                replayed(vault, stored, delivery)
            } else {
                openai_chat::encode_whole(restored(vault, stored))
            };
            respond(headers, delivery.stream, Body::Full(body))
        }
    };
    account.close("complete");
    response
}

/// A remembered answer as a stream, with the caller's own values.
fn replayed(vault: Vault, stored: Chunk, delivery: Delivery) -> Bytes {
    let (mut relay, mut encoder) = (Relay::new(vault), StreamEncoder::new(delivery.include_usage));
    let mut out = Vec::new();
    let chunks = replay(stored).into_iter().map(|chunk| relay.push(chunk)).collect::<Vec<_>>();
    for chunk in chunks.into_iter().chain(relay.finish().0) {
        out.extend(encoder.push(chunk).unwrap_or_default());
    }
    out.extend(encoder.finish());
    Bytes::from(out)
}

/// A whole remembered answer with the caller's own values.
fn restored(vault: Vault, stored: Chunk) -> Chunk {
    let (mut relay, mut seen) = (Relay::new(vault), Assembler::default());
    seen.push(&relay.push(stored));
    relay.finish().0.iter().for_each(|rest| seen.push(rest));
    seen.finish()
}

/// A live answer, whole or as it comes.
async fn from_provider(
    core: &Core,
    call: &Call,
    request: &ChatRequest,
    vault: Vault,
    nothing: Nothing,
    answer: Answer,
) -> Response<Body> {
    let gateway = &core.gateway;
    let mut headers = HeaderMap::with_capacity(HEADERS);
    let lookup = if nothing.bypass { "bypass" } else { "miss" };
    headers.insert(&CACHE, HeaderValue::from_static(lookup));
    describe(&mut headers, &answer.target.provider.name, &answer.target.model, answer.attempts);
    overhead(&mut headers, gateway, call, "provider", answer.waited);

    let account =
        Account::open(gateway, call, Source::Provider { target: answer.target, ticket: nothing.ticket });
    let relay = Relay::new(vault);
    if request.stream {
        let (parts, body) = mpsc::channel(PARTS_IN_FLIGHT);
        let encoder = StreamEncoder::new(request.include_usage);
        let patience = gateway.timeouts.idle.0;
        tokio::spawn(stream_out(answer.chunks, relay, account, encoder, parts, patience));
        return respond(headers, true, Body::Stream(body));
    }
    match whole_out(answer.chunks, relay, account).await {
        Ok(body) => respond(headers, false, Body::Full(body)),
        // Whole answers are read to their end before they count as answers.
        Err(_) => error_response(&ApiError::Internal),
    }
}

async fn whole_out(mut chunks: Chunks, mut relay: Relay, mut account: Account) -> Result<Bytes, Broken> {
    let mut seen = Assembler::default();
    while let Some(chunk) = chunks.next().await? {
        seen.push(&relay.push(chunk));
    }
    let (rest, redacted) = relay.finish();
    rest.iter().for_each(|rest| seen.push(rest));
    account.settle(&redacted);
    account.close("complete");
    Ok(openai_chat::encode_whole(seen.finish()))
}

/// Relays a stream. The client's pace is the provider's pace; a client that is gone, or takes nothing for as long as
/// `patience`, ends it.
async fn stream_out(
    mut chunks: Chunks,
    mut relay: Relay,
    mut account: Account,
    mut encoder: StreamEncoder,
    parts: mpsc::Sender<Part>,
    patience: Duration,
) {
    let send = async |bytes: Bytes| parts.send_timeout(Part::Bytes(bytes), patience).await.is_ok();
    loop {
        let Some(chunk) = next_or_gone(&mut chunks, &parts).await else {
            return account.close("client_gone");
        };
        let event = match chunk {
            Ok(Some(chunk)) => encoder.push(relay.push(chunk)),
            Ok(None) => break,
            Err(broken) => {
                account.close("broken");
                if send(encoder.fail(&ApiError::StreamBroken(broken.to_string()))).await {
                    drop(parts.send(Part::End).await);
                }
                return;
            }
        };
        if let Some(event) = event
            && !send(event).await
        {
            return account.close("client_gone");
        }
    }
    let (rest, redacted) = relay.finish();
    // Remembered before the client sees the end, so that its next request finds it.
    account.settle(&redacted);
    account.close("complete");
    let mut end = rest.and_then(|rest| encoder.push(rest)).unwrap_or_default().to_vec();
    end.extend(encoder.finish());
    if send(Bytes::from(end)).await {
        drop(parts.send(Part::End).await);
    }
}

/// The next chunk; none if the client went away meanwhile. Silence is filled with comments, so that nothing on the way
/// takes the connection for dead, and so that we see when the client left.
async fn next_or_gone(
    chunks: &mut Chunks,
    parts: &mpsc::Sender<Part>,
) -> Option<Result<Option<Chunk>, Broken>> {
    let mut next = std::pin::pin!(chunks.next());
    loop {
        tokio::select! {
            chunk = &mut next => return Some(chunk),
            () = parts.closed() => return None,
            () = tokio::time::sleep(KEEP_ALIVE) => {
                // Full means that the client is reading, only slowly.
                drop(parts.try_send(Part::Bytes(Bytes::from_static(b": keep-alive\n\n"))));
            }
        }
    }
}

fn respond(mut headers: HeaderMap, stream: bool, body: Body) -> Response<Body> {
    if stream {
        let events = HeaderValue::from_static("text/event-stream; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, events);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

/// An error as a response, in OpenAI's shape.
pub fn error_response(error: &ApiError) -> Response<Body> {
    let mut headers = HeaderMap::new();
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let ApiError::TargetsFailed { attempts, .. } = error {
        headers.insert(&ATTEMPTS, HeaderValue::from(attempts.len()));
    }
    if let ApiError::MethodNotAllowed { allowed } = error {
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    let mut response = respond(headers, false, Body::Full(Bytes::from(error.body().to_string())));
    *response.status_mut() = error.status();
    response
}

fn describe(headers: &mut HeaderMap, provider: &str, model: &str, attempts: u32) {
    put(headers, &PROVIDER, provider);
    put(headers, &MODEL, model);
    headers.insert(&ATTEMPTS, HeaderValue::from(attempts));
}

/// The gateway's own share of the time until the answer's head.
fn overhead(headers: &mut HeaderMap, gateway: &Gateway, call: &Call, source: &'static str, waited: Duration) {
    let total = call.started.elapsed();
    let own = total.saturating_sub(waited);
    gateway.metrics.timed(source, total, own);
    put(headers, &OVERHEAD, &decimals(u64::try_from(own.as_micros()).unwrap_or(u64::MAX), 3));
}

/// A number with so many digits behind the point, which `scaled` has before it.
fn decimals(scaled: u64, digits: u32) -> String {
    let unit = 10_u64.pow(digits);
    format!("{}.{:0width$}", scaled / unit, scaled % unit, width = digits as usize)
}

/// Header values made of names; one that can't stand in a header is left out.
fn put(headers: &mut HeaderMap, name: &'static HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
