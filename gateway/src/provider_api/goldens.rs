//! Every client API against every provider API, by the golden conversations in `fixtures/chats`.
//!
//! The loops go over the tables of formats. One whose files are there before its code is not asked yet; one that is in
//! its table has to hold for all of its files.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Value, json};

use super::{APIS, Encoded, Encoding, ErrorAnswer, ProviderApi, Quirks, Sent, StreamEvent};
use crate::chat::request::ChatRequest;
use crate::client_api::Format;
use crate::config::DropParams;
use crate::error::ApiError;
use crate::wire::chat::{Assembler, Chunk};
use cases::{Case, client_files};

#[expect(unreachable_pub, reason = "the harness of the end-to-end tests has it as well")]
#[path = "../../../tests/src/golden/cases.rs"]
mod cases;
#[expect(unreachable_pub, reason = "the harness of the end-to-end tests has it as well")]
#[path = "../../../tests/src/golden/meaning.rs"]
mod meaning;
#[expect(unreachable_pub, reason = "the harness of the end-to-end tests has it as well")]
#[path = "../../../tests/src/golden/stream.rs"]
mod stream;

/// How far into a stream it is cut in two at every byte where each cut has to read it anew: all of it would take minutes.
const TWO_WAY: usize = 200;
/// The length of the pieces in which a stream comes, from every possible first one on. Shorter than most events.
const STRIDE: usize = 41;

/// What did not hold, with its place.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn compare(&mut self, place: &str, got: &Value, wanted: &Value) {
        self.0.extend(meaning::difference(got, wanted).map(|how| format!("{place}: {how}")));
    }

    fn add(&mut self, place: &str, what: impl std::fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{} of the golden conversations:\n{}", self.0.len(), self.0.join("\n"));
    }
}

fn clients() -> impl Iterator<Item = (Format, &'static str)> {
    Format::ALL.iter().map(|format| (*format, client_files(format.name())))
}

fn parse(format: Format, body: &Value) -> ChatRequest {
    let parsed = format.api().parse(&Bytes::from(body.to_string()));
    parsed.unwrap_or_else(|e| panic!("{} can't read {body}: {e}", format.name()))
}

/// What a provider gets for this conversation. Nothing of it may be lost but how much to think, for which not all have a word.
fn encode(api: &dyn ProviderApi, case: &Case, request: &ChatRequest) -> Result<Encoded, String> {
    let (quirks, settings) = (Quirks::default(), BTreeMap::new());
    let own = case.request(cases::provider_files(api.name()));
    // Converse has it in the address, and leaves to each model what it takes; this one takes all of it.
    let standard =
        if api.name() == "bedrock" { "anthropic.claude-sonnet-4-5-20250929-v1:0" } else { "golden-model" };
    let model = own["model"].as_str().unwrap_or(standard);
    let (stream, drop_params) = (request.stream, DropParams::Drop);
    let how = Encoding { model, stream, quirks: &quirks, settings: &settings, drop_params };
    let encoded = api.encode(request, &how).map_err(|e| e.to_string())?;
    if encoded.dropped.iter().all(|field| field == "thinking") {
        Ok(encoded)
    } else {
        Err(format!("dropped {:?}", encoded.dropped))
    }
}

/// What has to be known of a conversation's request to read its answer.
fn sent(api: &dyn ProviderApi, case: &Case) -> Sent {
    let request = parse(Format::OpenAiChat, &case.request("openai"));
    encode(api, case, &request).map(|encoded| encoded.sent).unwrap_or_default()
}

/// A chunk as the whole answer that it is, in this format.
fn written(format: Format, chunk: Chunk, request: &ChatRequest) -> Value {
    let body = format.api().encode_whole(chunk, &request.delivery());
    serde_json::from_slice(&body).expect("an answer is JSON")
}

/// The events of a stream that comes in these pieces.
fn read(api: &dyn ProviderApi, sent: &Sent, pieces: &[&[u8]]) -> Result<Vec<StreamEvent>, String> {
    let (mut decoder, mut events) = (api.stream(sent.clone()), Vec::new());
    for piece in pieces {
        decoder.push(piece, &mut events).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut events);
    Ok(events)
}

/// The chunks of a stream that ends as it should.
fn chunks(events: &[StreamEvent]) -> Result<Vec<&Chunk>, String> {
    let (last, events) = events.split_last().ok_or("no event")?;
    if !matches!(last, StreamEvent::Done) {
        return Err("the stream does not end with its terminator".to_owned());
    }
    events
        .iter()
        .map(|event| match event {
            StreamEvent::Chunk(chunk) => Ok(chunk),
            StreamEvent::Done => Err("there are two ends".to_owned()),
            StreamEvent::Error(error) => Err(format!("an error: {error}")),
        })
        .collect()
}

fn assembled(chunks: &[&Chunk]) -> Chunk {
    let mut whole = Assembler::default();
    chunks.iter().for_each(|chunk| whole.push(chunk));
    whole.finish()
}

/// A chunk without what is made anew at each reading: the time, and the ids of calls that came without one.
fn lasting(chunk: &Chunk) -> Chunk {
    let mut chunk = Chunk { created: 0, ..chunk.clone() };
    let calls = chunk.choices.iter_mut().flat_map(|choice| &mut choice.delta.tool_calls);
    for id in calls.filter_map(|call| call.id.as_mut()) {
        "an id".clone_into(id);
    }
    chunk
}

fn same(one: &[StreamEvent], other: &[StreamEvent]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|pair| match pair {
            (StreamEvent::Chunk(one), StreamEvent::Chunk(other)) => lasting(one) == lasting(other),
            (StreamEvent::Error(one), StreamEvent::Error(other)) => one == other,
            (StreamEvent::Done, StreamEvent::Done) => true,
            _ => false,
        })
}

#[test]
fn the_files_of_a_conversation_say_the_same_whole_and_streamed() {
    let mut findings = Findings::default();
    for case in cases::all() {
        for format in ["openai", "anthropic", "responses"].into_iter().filter(|format| case.has(format)) {
            let place = format!("{} {format}", case.name);
            match stream::whole(format, &case.stream(format)) {
                Ok(whole) => findings.compare(
                    &place,
                    &meaning::answer(format, &whole),
                    &meaning::answer(format, &case.answer(format)),
                ),
                Err(wrong) => findings.add(&place, wrong),
            }
        }
    }
    findings.none();
}

#[test]
fn a_request_of_any_client_is_the_same_chat() {
    let mut findings = Findings::default();
    for case in cases::all() {
        let mut wanted = case.request("openai");
        let wanted = meaning::fields(wanted.as_object_mut().expect("a request is an object"));
        for (format, files) in clients().filter(|(_, files)| case.has(files)) {
            let request = parse(format, &case.request(files));
            findings.compare(
                &format!("{} from {files}", case.name),
                &meaning::fields(request.fields()),
                &wanted,
            );
        }
    }
    findings.none();
}

#[test]
fn a_request_of_any_client_reaches_any_provider_in_its_own_words() {
    let mut findings = Findings::default();
    for case in cases::all() {
        for (format, files) in clients().filter(|(_, files)| case.has(files)) {
            let request = parse(format, &case.request(files));
            for api in APIS.iter().filter(|api| case.has(api.name())) {
                let place = format!("{} from {files} to {}", case.name, api.name());
                let wanted = meaning::request(api.name(), &case.request(api.name()));
                match encode(*api, &case, &request) {
                    Ok(Encoded { body, .. }) => {
                        let body: Value = serde_json::from_slice(&body).expect("a request is JSON");
                        findings.compare(&place, &meaning::request(api.name(), &body), &wanted);
                    }
                    Err(wrong) => findings.add(&place, wrong),
                }
            }
        }
    }
    findings.none();
}

#[test]
fn a_client_gets_the_answer_of_any_provider_in_its_own_shape_whole_and_streamed() {
    let mut findings = Findings::default();
    for case in cases::all() {
        for api in APIS.iter().filter(|api| case.has(api.name())) {
            let place = format!("{} from {}", case.name, api.name());
            let sent = sent(*api, &case);
            let body = case.answer(api.name()).to_string();
            let whole = api.decode_whole(body.as_bytes(), &sent).map_err(|e| e.to_string());
            let events = read(*api, &sent, &[&case.stream(api.name())]);
            let streamed = events.as_ref().map_err(Clone::clone).and_then(|events| chunks(events));
            match (whole, streamed) {
                (Ok(whole), Ok(streamed)) => to_clients(&mut findings, &place, &case, &whole, &streamed),
                (whole, streamed) => {
                    let wrong = [("whole", whole.err()), ("stream", streamed.err())];
                    findings.add(&place, format!("{wrong:?}"));
                }
            }
        }
    }
    findings.none();
}

/// Holds what a provider answered against what each client is to get.
fn to_clients(findings: &mut Findings, place: &str, case: &Case, whole: &Chunk, streamed: &[&Chunk]) {
    for (format, files) in clients().filter(|(_, files)| case.has(files)) {
        let place = format!("{place} to {files}");
        let mut request = parse(format, &case.request(files));
        let wanted = case.answer(files);
        let wanted = (meaning::answer(files, &wanted), meaning::call_ids(files, &wanted).len());
        let mut check = |how: &str, got: &Value| {
            let ids = meaning::call_ids(files, got).iter().filter(|id| !id.is_empty()).count();
            findings.compare(&format!("{place}, {how}"), &meaning::answer(files, got), &wanted.0);
            findings.compare(&format!("{place}, {how}, calls with an id"), &json!(ids), &json!(wanted.1));
        };
        check("whole", &written(format, whole.clone(), &request));
        check("from the pieces of a stream", &written(format, assembled(streamed), &request));
        request.stream = true;
        request.include_usage = true;
        let mut out = Vec::new();
        let mut encoder = format.api().stream(&request.delivery());
        streamed.iter().for_each(|chunk| out.extend(encoder.push((*chunk).clone()).unwrap_or_default()));
        out.extend(encoder.finish());
        match stream::whole(files, &out) {
            Ok(got) => check("streamed", &got),
            Err(wrong) => findings.add(&format!("{place}, streamed"), wrong),
        }
    }
}

#[test]
fn a_stream_of_any_provider_reads_the_same_wherever_it_is_cut() {
    let mut findings = Findings::default();
    for case in cases::all() {
        for api in APIS.iter().filter(|api| case.has(api.name())) {
            let (place, sent) = (format!("{} from {}", case.name, api.name()), sent(*api, &case));
            let bytes = case.stream(api.name());
            let Ok(uncut) = read(*api, &sent, &[&bytes]) else { continue };
            let cut = |pieces: &[&[u8]]| read(*api, &sent, pieces).is_ok_and(|events| same(&events, &uncut));
            let two_way = |at: &usize| !cut(&[&bytes[..*at], &bytes[*at..]]);
            let cut_at = match api.stream(sent.clone()).fork() {
                Some(_) => first_cut(*api, &sent, &bytes, &uncut),
                None => (1..bytes.len().min(TWO_WAY)).find(two_way),
            };
            if let Some(at) = cut_at {
                findings.add(&place, format!("cut at byte {at} it says something else"));
            }
            // Every byte is the end of a piece in one of these.
            let every = |first: &usize| {
                let (head, tail) = bytes.split_at(*first);
                cut(&[head].into_iter().chain(tail.chunks(STRIDE)).collect::<Vec<_>>())
            };
            if let Some(first) = (1..=STRIDE.min(bytes.len())).find(|first| !every(first)) {
                findings
                    .add(&place, format!("cut at byte {first} and every {STRIDE} it says something else"));
            }
            if !cut(&bytes.chunks(1).collect::<Vec<_>>()) {
                findings.add(&place, "byte by byte it says something else");
            }
            if read(*api, &sent, &[&bytes[..bytes.len() - 3]]).is_ok_and(|events| chunks(&events).is_ok()) {
                findings.add(&place, "without its last bytes it counts as complete");
            }
        }
    }
    findings.none();
}

/// The first byte at which the stream may not be cut in two. Each event is read from where the one before ended, cut at each of its
/// bytes. That what follows reads the same is for the other cuts to show.
fn first_cut(api: &dyn ProviderApi, sent: &Sent, bytes: &[u8], uncut: &[StreamEvent]) -> Option<usize> {
    let [mut begun, mut bytewise] = [0; 2].map(|_| api.stream(sent.clone()));
    let (mut begin, mut told, mut events) = (0, 0, Vec::new());
    for end in 1..=bytes.len() {
        let complete = bytewise.push(&bytes[end - 1..end], &mut events).is_err() || !events.is_empty();
        if !complete && end < bytes.len() {
            continue;
        }
        let Some(wanted) = uncut.get(told..told + events.len()) else { return Some(end) };
        let reads = |at: usize| {
            let (mut events, mut forked) = (Vec::new(), begun.fork()?);
            let read = [&bytes[begin..at], &bytes[at..end]]
                .iter()
                .all(|part| forked.push(part, &mut events).is_ok());
            (read && same(&events, wanted)).then_some(forked)
        };
        if let Some(at) = (begin + 1..end).find(|at| reads(*at).is_none()) {
            return Some(at);
        }
        let Some(whole) = reads(end) else { return Some(end) };
        (begun, begin, told) = (whole, end, told + events.len());
        events.clear();
    }
    None
}

/// What a refusal's code is whoever says it; none where it is the provider's own.
fn code_of(refusal: &str) -> Option<&'static str> {
    match refusal {
        "authentication" => Some("invalid_api_key"),
        "content_filter" => Some("content_filter"),
        "context_window" => Some("context_length_exceeded"),
        "rate_limit" => Some("rate_limit_exceeded"),
        _ => None,
    }
}

#[test]
fn a_refusal_means_the_same_whoever_says_it_and_keeps_its_words() {
    let mut findings = Findings::default();
    for api in APIS {
        for refusal in cases::refusals(api.name()) {
            let place = format!("{} from {}", refusal.name, api.name());
            let headers = refusal.headers.iter().map(|(name, value)| {
                let name: HeaderName = name.parse().expect("a header's name");
                (name, value.parse().expect("a header's value"))
            });
            let (headers, body) = (HeaderMap::from_iter(headers), refusal.body.to_string());
            let status = StatusCode::from_u16(refusal.status).expect("a status");
            let answer = ErrorAnswer { status, headers: &headers, body: body.as_bytes() };
            let Some(error) = api.decode_error(&answer) else {
                findings.add(&place, "not seen as an error");
                continue;
            };
            if let Some(code) = code_of(&refusal.name) {
                findings.compare(&format!("{place}, code"), &error["code"], &json!(code));
            }
            let words = refusal.body.pointer("/error/message").unwrap_or(&refusal.body["message"]);
            findings.compare(&format!("{place}, message"), &error["message"], words);
            for (format, files) in clients() {
                let told =
                    format.api().error(&ApiError::Provider { status, error: error.clone() }, "request-1");
                findings.compare(&format!("{place} to {files}"), &told["error"]["message"], words);
            }
        }
    }
    findings.none();
}

#[test]
fn tools_that_another_vendor_runs_are_left_out_or_an_error_as_the_route_says() {
    let tools = json!([{ "type": "function", "name": "look", "parameters": { "type": "object", "properties": { "q": {} } } },
        { "type": "web_search" }, { "type": "namespace", "name": "helpers", "tools": [] }]);
    let asked = json!({ "model": "m", "input": "Hi", "tools": tools });
    let request = parse(Format::OpenAiResponses, &asked);
    // All but the one whose tools they are.
    for api in APIS.iter().filter(|api| api.name() != "responses") {
        let (quirks, settings) = (Quirks::default(), BTreeMap::new());
        let how = |drop_params| Encoding {
            model: "claude-haiku-4-5",
            stream: false,
            quirks: &quirks,
            settings: &settings,
            drop_params,
        };
        let encoded = api.encode(&request, &how(DropParams::Drop)).unwrap();
        assert_eq!(encoded.dropped, ["tools[1]", "tools[2]"], "{}", api.name());
        let body = String::from_utf8_lossy(&encoded.body).into_owned();
        assert!(
            body.contains("look") && !body.contains("web_search") && !body.contains("namespace"),
            "{body}"
        );
        let strict = api.encode(&request, &how(DropParams::Strict)).unwrap_err();
        assert_eq!(strict, super::EncodeError::unsupported("tools[1]"), "{}", api.name());
    }
}
