//! The life of a chat request, from top to bottom.

mod account;
mod attack;
mod audited;
mod coalesce;
pub mod count;
mod estimate;
mod external;
mod flight;
pub(crate) mod foreign;
mod guards;
mod head;
mod heard;
pub mod import;
pub mod judge;
mod keys;
mod known;
mod labels;
mod lifetime;
mod live;
mod meant;
mod media;
mod parts;
pub mod remember;
mod repeats;
pub mod request;
mod scan;
mod screened;
pub mod shadow_log;
mod signed;
mod steer;
mod stored;
mod stream;
mod terms;
mod tier;
mod tokens;
mod topics;
mod wishes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use sluice_guardrails::{Guard, Vault};
use tokio::sync::mpsc;

use crate::body::{Body, Part};
use crate::client_api::{Format, openai_chat};
use crate::config::Phase;
use crate::config::TimeoutSection;
use crate::error::ApiError;
use crate::gateway::{Core, Gateway};
use crate::keys::Caller;
use crate::policy::InForce;
use crate::raw::Raw;
use crate::relay::{Relay, replay};
use crate::route::Target;
use crate::route::answer::Answer;
use crate::route::asking::Asking;
use crate::wire::chat::{Assembler, Chunk};
use account::{Account, Bill, Source, Waiting};
pub(crate) use attack::Attack;
use coalesce::{Followed, Place};
use external::Guarded;
use flight::Role;
use guards::Inspected;
use head::{
    CACHE, CACHE_CONFIDENCE, CACHE_ENTRY, CACHE_ID, CACHE_REASON, CACHE_SIMILARITY, CACHE_TIER, HEADERS,
};
use head::{decimals, describe, fallbacks, overhead, put, respond, tell_dropped, unix_seconds};
pub use head::{error_in, error_response};
pub(crate) use known::judge as judge_attacks;
use lifetime::Excuse;
use live::{End, Live};
pub(crate) use parts::Fate;
use remember::{Asked, FlightLead, Form, Found, Memory, Nothing, Remembered, Ticket};
use repeats::RepeatKey;
use request::{ChatRequest, Delivery};
pub(crate) use scan::scan;
use screened::Screening;
use stream::StreamOut;
use wishes::Wishes;

/// Parts of an answer that may wait for a slow client; the provider waits with them.
const PARTS_IN_FLIGHT: usize = 16;

/// Bodies from this size on are read off the I/O thread.
pub(crate) const LARGE_BODY: usize = 64 * 1024;

/// Who asks what, beside the body.
pub struct Call {
    /// The authenticated caller.
    pub caller: Arc<Caller>,
    /// Names the request in logs and in `x-request-id`.
    pub id: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The format in which it asks.
    pub format: Format,
    /// What its client calls the model, where that is not what the body says that is read.
    pub called: Option<Arc<str>>,
    /// When it came in.
    pub started: Instant,
    /// What was in force then.
    pub policy: Arc<InForce>,
}

impl Call {
    /// What guards it, if it is for this route.
    pub fn guard(&self, route: &str) -> &Arc<Guard> {
        self.policy.guard(&self.caller.tenant, route)
    }
}

/// Answers one chat request: from memory, else from the first target that can.
///
/// # Errors
/// An [`ApiError`] as long as nothing was sent; what breaks later ends the stream with an error event.
pub async fn chat(core: &Arc<Core>, call: &Arc<Call>, body: Raw<Bytes>) -> Result<Response<Body>, ApiError> {
    let gateway = &core.gateway;
    let small = body.len() < LARGE_BODY;
    let wishes = Wishes::read(&call.headers)?;
    let memory = gateway.memory.as_ref();
    let asks_others = gateway.external.is_asked(Phase::Input);
    // Who is asked about each request is asked about a repeated one as well.
    // What headers ask for beside the body is told apart once it is read.
    let plain = !call.headers.contains_key("anthropic-beta") && call.called.is_none();
    let repeat = memory.filter(|_| small && plain && !asks_others);
    let repeat =
        repeat.map(|memory| memory.repeat_key(call, &wishes, gateway.attacks.generation(), body.expose()));
    if let (Some(memory), Some(key)) = (memory, &repeat)
        && let Some((delivery, remembered)) = again(gateway, memory, (call, &wishes), key)?
    {
        return Ok(from_memory(core, call, &delivery, Relay::idle(), remembered));
    }
    let (mut request, targets, Inspected { mut vault, clean, original, mut injection, doubts }) = if small {
        read(gateway, call, &body)?
    } else {
        // Scanning it takes milliseconds, which the other clients of this thread would wait.
        let (gateway, call) = (Arc::clone(gateway), Arc::clone(call));
        let reading = tokio::task::spawn_blocking(move || read(&gateway, &call, &body));
        reading.await.map_err(|_| ApiError::Internal)??
    };
    let mut certain = true;
    if !doubts.is_empty() {
        let settled = Box::pin(meant::settle(gateway, call, &doubts, (&request.model, &targets))).await?;
        (injection, certain) = (injection || settled.injection, settled.unremarkable);
    }
    if asks_others {
        let guarded = Guarded { request, vault };
        Guarded { request, vault } =
            Box::pin(external::input(core, call, &targets, guarded, original)).await?;
    }
    steer::steer(gateway, call, &mut request, (&*vault, injection))?;
    let unremarkable =
        meant::is_unasked(gateway) || Box::pin(meant::input(gateway, call, &mut request, &targets)).await?;
    let repeat =
        repeat.filter(|_| clean && certain && unremarkable && !gateway.routes.is_conditional(&request.model));
    let asked = Asked { call, request: &request, vault: &vault, wishes: &wishes };
    let screening = || Screening::new(core, call, &request, &targets);
    let found = match memory {
        Some(memory) => memory.look_up(&asked, repeat, &gateway.metrics).await,
        None => Found::Nothing(Box::new(Nothing::bypass("cache_off"))),
    };
    let mut nothing = match found {
        Found::Hit(mut remembered) => {
            let check = remembered.judged.as_mut().and_then(|judged| judged.spot_check.take());
            let response = from_memory(core, call, &request.delivery(), Relay::new(*vault), *remembered);
            if wishes.only_if_cached && check.is_some() {
                // Its client said that no provider is to be asked.
                gateway.metrics.label("unanswered");
            } else if let Some(ticket) = check {
                let screening = screening();
                tokio::spawn(spot_check(screening, request, targets, ticket));
            }
            return Ok(response);
        }
        Found::Nothing(_) if wishes.only_if_cached => return Err(ApiError::NotCached),
        Found::Nothing(nothing) => nothing,
    };
    // Where only this request could fetch a fresh answer, it does so for itself.
    let renewable = nothing.ticket.as_ref().is_some_and(|ticket| ticket.flight().is_some());
    if renewable
        && let Some(remembered) = remember::excused(&mut nothing.stale, Excuse::Revalidating, &wishes)
    {
        let delivery = request.delivery();
        refresh(screening(), request, targets, nothing.ticket);
        return Ok(from_memory(core, call, &delivery, Relay::new(*vault), remembered));
    }
    // Boxed, so that a hit need not carry around the room that asking takes.
    Box::pin(ask(core, call, (&request, &wishes), &targets, vault, nothing)).await
}

/// Asks the providers, or follows a request that does, and begins to pass the answer on.
async fn ask(
    core: &Arc<Core>,
    call: &Arc<Call>,
    (request, wishes): (&ChatRequest, &Wishes),
    targets: &[Target],
    vault: Box<Vault>,
    mut nothing: Box<Nothing>,
) -> Result<Response<Body>, ApiError> {
    let gateway = &core.gateway;
    let begun = Instant::now();
    let lead = match coalesce::join(gateway, call, nothing.ticket.as_ref(), request.stream).await? {
        Place::Follower(followed) => {
            let waited = begun.elapsed();
            return Ok(from_another(core, call, &request.delivery(), Relay::new(*vault), followed, waited));
        }
        Place::Leader(lead) => Some(lead),
        Place::Alone => None,
    };
    let asked = Asked { call, request, vault: &vault, wishes };
    if let (Some(memory), Some(ticket)) = (&gateway.memory, &nothing.ticket)
        && let Some(remembered) = lead.as_ref().and_then(|_| memory.recheck(&asked, ticket))
    {
        // Whoever led before us was done just now.
        return Ok(from_memory(core, call, &request.delivery(), Relay::new(*vault), remembered));
    }
    gateway.metrics.lookup(if nothing.bypass { "bypass" } else { "miss" }, "");
    gateway.metrics.limited(nothing.reason);
    let waiting = Waiting::new(gateway, call, request);
    let answered = first_answer(core, targets, request, begun.elapsed()).await;
    waiting.over();
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => {
            let stale = matches!(error, ApiError::TargetsFailed { .. })
                .then(|| remember::excused(&mut nothing.stale, Excuse::Error, wishes))
                .flatten();
            return stale
                .map(|stale| from_memory(core, call, &request.delivery(), Relay::new(*vault), stale))
                .ok_or(error);
        }
    };
    let screening = Screening::new(core, call, request, targets);
    Ok(from_provider(screening, request, Relay::new(*vault), (nothing, lead), answer).await)
}

/// The beginning of an answer, for a request that `waited` already for another one's.
async fn first_answer(
    core: &Core,
    targets: &[Target],
    request: &ChatRequest,
    waited: Duration,
) -> Result<Answer, ApiError> {
    let gateway = &core.gateway;
    let mut timeouts = gateway.timeouts.clone();
    timeouts.total.0 = timeouts.total.0.saturating_sub(waited);
    asking(core, &timeouts).first_answer(targets, request).await
}

/// What asking needs to know of the gateway.
fn asking<'a>(core: &'a Core, timeouts: &'a TimeoutSection) -> Asking<'a> {
    let gateway = &core.gateway;
    Asking {
        routes: &gateway.routes,
        upstream: &core.upstream,
        timeouts,
        retry: &gateway.retry,
        max_answer: gateway.limits.max_answer.0,
        metrics: &gateway.metrics,
        prices: &gateway.prices,
        audit: gateway.audit.as_deref(),
    }
}

/// Fetches a fresh answer for the cache, unless somebody is at it. Its client has a stale one already.
fn refresh(screening: Screening, request: ChatRequest, targets: Vec<Target>, ticket: Option<Ticket>) {
    let core = Arc::clone(&screening.core);
    let (Some(memory), Some(ticket)) = (&core.gateway.memory, ticket) else { return };
    let Some(Role::Leader(lead)) = ticket.flight().map(|key| memory.flights().join(&(key, request.stream)))
    else {
        return;
    };
    let core = Arc::clone(&core);
    tokio::spawn(async move {
        // What failed is in the log and in the metrics already.
        let Ok(answer) = first_answer(&core, &targets, &request, Duration::ZERO).await else { return };
        let live = Live::new(answer.target.clone());
        let reader = live.wait();
        lead.show(Arc::clone(&live));
        let request_tokens = estimate::of_request(request.fields());
        let bill =
            Bill { core: Arc::clone(&core), target: answer.target, ticket: Some(ticket), request_tokens };
        live.feed(screening.read(answer.chunks), bill, Duration::ZERO).await;
        drop((reader, lead));
    });
}

/// Asks upstream what was answered from memory, to learn whether that was right. Nobody waits for it; where nobody
/// answers, nothing is learnt.
async fn spot_check(screening: Screening, request: ChatRequest, targets: Vec<Target>, ticket: Ticket) {
    let (core, call) = (Arc::clone(&screening.core), Arc::clone(&screening.call));
    let gateway = &core.gateway;
    let Ok(answer) = first_answer(&core, &targets, &request, Duration::ZERO).await else {
        return gateway.metrics.label("unanswered");
    };
    let live = Live::new(answer.target.clone());
    // As long as somebody reads, it is fed.
    let Some(reader) = live.wait() else { return };
    let (mut account, target) = (Account::open(gateway, &call, Source::SpotCheck), answer.target);
    let request_tokens = estimate::of_request(request.fields());
    let bill = Bill { core: Arc::clone(&core), target, ticket: Some(ticket), request_tokens };
    live.feed(screening.read(answer.chunks), bill, Duration::ZERO).await;
    match reader.end().await {
        End::Complete(settled) => {
            account.paid_in_full(&settled);
            account.close("complete");
        }
        End::Broken(_, paid) => {
            account.paid(&paid);
            account.close("interrupted");
        }
    }
}

/// From bytes to a request that may be seen by others: parsed, routed, redacted.
fn read(
    gateway: &Gateway,
    call: &Call,
    body: &Raw<Bytes>,
) -> Result<(ChatRequest, Vec<Target>, Inspected), ApiError> {
    let mut request = call.format.api().parse(body.expose())?;
    request.passed = passed(call);
    if let (Some(called), Some(other)) = (&mut request.called, &call.called) {
        *called = Arc::clone(other);
    }
    let mut targets = gateway.routes.resolve_for(&call.caller, &request.model)?;
    let inspected = guards::input_with_doubts(gateway, call, &mut request, &mut targets)?;
    Ok((request, targets, inspected))
}

/// What of a call's headers goes along to a provider that speaks its format.
fn passed(call: &Call) -> HeaderMap {
    let named = call.format.api().headers().iter().map(|name| HeaderName::from_static(name));
    named
        .flat_map(|name| call.headers.get_all(&name).iter().map(move |value| (name.clone(), value.clone())))
        .collect()
}

/// The answer to a request that came before, byte for byte, and in which no guard found anything: its route is checked and
/// its answer looked up, but it need not be read again.
fn again(
    gateway: &Gateway,
    memory: &Memory,
    (call, wishes): (&Call, &Wishes),
    key: &RepeatKey,
) -> Result<Option<(Delivery, Remembered)>, ApiError> {
    let Some(known) = memory.known(key) else { return Ok(None) };
    gateway.routes.resolve_for(&call.caller, &known.model)?;
    Ok(memory.recall(wishes, &known).map(|remembered| (known.delivery.clone(), remembered)))
}

/// A hit walks the same way out as a live answer.
fn from_memory(
    core: &Core,
    call: &Call,
    delivery: &Delivery,
    relay: Relay,
    remembered: Remembered,
) -> Response<Body> {
    let gateway = &core.gateway;
    let mut headers = HeaderMap::with_capacity(HEADERS);
    let tier = remembered.tier.as_str();
    let outcome = if remembered.stale { "stale" } else { "hit" };
    headers.insert(&CACHE, HeaderValue::from_static(outcome));
    put(&mut headers, &CACHE_ENTRY, &remembered.entry);
    headers.insert(&CACHE_TIER, HeaderValue::from_static(tier));
    put(
        &mut headers,
        &CACHE_SIMILARITY,
        &decimals((f64::from(remembered.similarity) * 1e4).round() as u64, 4),
    );
    headers.insert(header::AGE, HeaderValue::from(remembered.age.as_secs()));
    if let Some(judged) = &remembered.judged {
        put(
            &mut headers,
            &CACHE_CONFIDENCE,
            &decimals((f64::from(judged.confidence) * 1e4).round() as u64, 4),
        );
        if let Some(name) = &judged.name {
            put(&mut headers, &CACHE_ID, name);
        }
    }
    describe(&mut headers, &remembered.provider, &remembered.model, 0);
    overhead(&mut headers, gateway, call, "cache", Duration::ZERO);
    gateway.metrics.lookup(outcome, tier);

    let mut account = Account::open(gateway, call, Source::Cache { tier });
    account.saved(remembered.cost);
    let (id, created) = (delivery.format.api().fresh_id(), unix_seconds());
    let response = match remembered.answer {
        Form::Spelled(lasting) => {
            respond(headers, false, Body::Full(openai_chat::complete(&lasting, &id, created)))
        }
        Form::Parts(chunk) => {
            let stored = Chunk { id, created, ..*chunk };
            let body = if delivery.stream {
                replayed(relay, stored, delivery)
            } else {
                delivery.format.api().encode_whole(restored(relay, stored), delivery)
            };
            respond(headers, delivery.stream, Body::Full(body))
        }
    };
    account.close("complete");
    response
}

/// A remembered answer as a stream, with the caller's own values.
fn replayed(mut relay: Relay, stored: Chunk, delivery: &Delivery) -> Bytes {
    let mut encoder = delivery.format.api().stream(delivery);
    let mut out = Vec::new();
    let chunks = replay(stored).into_iter().map(|chunk| relay.push(chunk)).collect::<Vec<_>>();
    for chunk in chunks.into_iter().chain(relay.finish()) {
        out.extend(encoder.push(chunk).unwrap_or_default());
    }
    out.extend(encoder.finish());
    Bytes::from(out)
}

/// A whole remembered answer with the caller's own values.
fn restored(mut relay: Relay, stored: Chunk) -> Chunk {
    if relay.is_idle() {
        return stored;
    }
    let mut seen = Assembler::default();
    seen.push(&relay.push(stored));
    relay.finish().iter().for_each(|rest| seen.push(rest));
    seen.finish()
}

/// A live answer, whole or as it comes. Its feeding goes on for those who follow when this client left.
async fn from_provider(
    screening: Screening,
    request: &ChatRequest,
    relay: Relay,
    lookup: (Box<Nothing>, Option<FlightLead>),
    answer: Answer,
) -> Response<Body> {
    let (core, call) = (Arc::clone(&screening.core), Arc::clone(&screening.call));
    let (gateway, (nothing, lead)) = (&core.gateway, lookup);
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(&CACHE, HeaderValue::from_static(if nothing.bypass { "bypass" } else { "miss" }));
    if !nothing.reason.is_empty() {
        headers.insert(&CACHE_REASON, HeaderValue::from_static(nothing.reason));
    }
    describe(&mut headers, &answer.target.provider.name, &answer.target.model, answer.attempts);
    fallbacks(&mut headers, answer.fallbacks);
    tell_dropped(&mut headers, &answer.dropped);
    overhead(&mut headers, gateway, &call, "provider", answer.waited);

    let mut account = Account::open(gateway, &call, Source::Provider { target: answer.target.name() });
    let live = Live::new(answer.target.clone());
    let reader = if request.stream { live.read() } else { live.wait() };
    // Nothing of it is lost yet.
    let Some(reader) = reader else { return error_in(call.format, &ApiError::Internal, &call.id) };
    if let Some(lead) = &lead {
        lead.show(Arc::clone(&live));
    }
    let request_tokens = estimate::of_request(request.fields());
    let bill =
        Bill { core: Arc::clone(&core), target: answer.target, ticket: nothing.ticket, request_tokens };
    let drain = gateway.timeouts.drain.0;
    // Boxed, so that neither the request nor the stream's task has room for it twice.
    let feeding = Box::pin(async move {
        live.feed(screening.read(answer.chunks), bill, drain).await;
        // Who comes later finds the answer in the cache.
        drop(lead);
    });
    if request.stream {
        let (out, body) = stream_out(gateway, relay, account, &request.delivery(), None);
        tokio::spawn(async { tokio::join!(feeding, out.run(reader)) });
        return respond(headers, true, Body::Stream(body));
    }
    // Whole answers are read to their end before they count as answers: nothing is waited for here.
    feeding.await;
    let settled = match reader.end().await {
        End::Complete(settled) => settled,
        End::Broken(broken, paid) => {
            account.paid(&paid);
            account.close("broken");
            return error_in(call.format, &broken.into(), &call.id);
        }
    };
    account.settled(&settled);
    account.close("complete");
    let whole = Arc::try_unwrap(settled.answer).unwrap_or_else(|shared| shared.as_ref().clone());
    let body = call.format.api().encode_whole(restored(relay, whole), &request.delivery());
    respond(headers, false, Body::Full(body))
}

/// The answer to a request that asked the same at the same time, with this caller's own values, id and time.
fn from_another(
    core: &Core,
    call: &Call,
    delivery: &Delivery,
    relay: Relay,
    followed: Followed,
    waited: Duration,
) -> Response<Body> {
    let gateway = &core.gateway;
    gateway.metrics.lookup("coalesced", "");
    let (Followed::Stream(live, _) | Followed::Whole(live, _)) = &followed;
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(&CACHE, HeaderValue::from_static("coalesced"));
    describe(&mut headers, &live.target.provider.name, &live.target.model, 0);
    overhead(&mut headers, gateway, call, "coalesced", waited);

    let mut account = Account::open(gateway, call, Source::Coalesced { target: live.target.name() });
    let (id, created) = (delivery.format.api().fresh_id(), unix_seconds());
    match followed {
        Followed::Stream(_, reader) => {
            let (out, body) = stream_out(gateway, relay, account, delivery, Some((id, created)));
            tokio::spawn(out.run(reader));
            respond(headers, true, Body::Stream(body))
        }
        Followed::Whole(_, settled) => {
            account.settled(&settled);
            account.close("complete");
            let whole = Chunk { id, created, ..settled.answer.as_ref().clone() };
            let body = delivery.format.api().encode_whole(restored(relay, whole), delivery);
            respond(headers, false, Body::Full(body))
        }
    }
}

fn stream_out(
    gateway: &Gateway,
    relay: Relay,
    account: Account,
    delivery: &Delivery,
    own: Option<(String, u64)>,
) -> (StreamOut, mpsc::Receiver<Part>) {
    let (parts, body) = mpsc::channel(PARTS_IN_FLIGHT);
    let encoder = delivery.format.api().stream(delivery);
    (StreamOut { relay, account, encoder, parts, patience: gateway.timeouts.idle.0, own }, body)
}
