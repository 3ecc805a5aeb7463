//! Every client format against every provider format over sockets, by the golden conversations in `fixtures/chats`.

use std::fmt::Display;

use serde_json::{Value, json};
use sluice::client_api::Format;
use sluice::provider_api::APIS;
use sluice_tests::Gate;
use sluice_tests::golden::cases::{self, Case, Refusal, client_files};
use sluice_tests::golden::{Asker, Provider, Told, meaning, stream};

/// What a provider of this format is asked for. Anthropic's names say what a model takes.
pub(crate) fn model(format: &str) -> &'static str {
    match format {
        "anthropic" | "vertex_anthropic" => "claude-haiku-4-5-20251001",
        "bedrock" => "anthropic.claude-haiku-4-5-20251001-v1:0",
        "gemini" => "gemini-2.5-flash",
        _ => "gpt-5-mini-2025-08-07",
    }
}

#[derive(Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    pub(crate) fn compare(&mut self, place: &str, got: &Value, wanted: &Value) {
        self.0.extend(meaning::difference(got, wanted).map(|how| format!("{place}: {how}")));
    }

    pub(crate) fn hold(&mut self, holds: bool, place: &str, what: impl Display) {
        if !holds {
            self.0.push(format!("{place}: {what}"));
        }
    }

    pub(crate) fn none(self) {
        assert!(self.0.is_empty(), "{} of the golden conversations:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// A client format: the names of its files, and its endpoint.
fn clients() -> impl Iterator<Item = (&'static str, String)> {
    Format::ALL.iter().map(|format| {
        let name = format.name();
        (client_files(name), format!("/v1/{}", name.replace("chat_completions", "chat/completions")))
    })
}

async fn providers() -> Vec<Provider> {
    let mut providers = Vec::new();
    for api in APIS.iter().filter(|api| cases::all().iter().any(|case| case.has(api.name()))) {
        providers.push(Provider::start(api.name()).await);
    }
    providers
}

/// The kind of a provider of this format, and what has to be said of it.
pub(crate) fn kind(format: &str) -> &str {
    match format {
        "openai" => "openai_compatible",
        "responses" => "openai_compatible, api: responses",
        "vertex_anthropic" => "vertex",
        format => format,
    }
}

/// A gateway with these providers by their names, each behind a model of its name.
fn gate(providers: &[(String, &Provider)]) -> Gate {
    let mut yaml = String::from("providers:\n");
    for (name, provider) in providers {
        let kind = kind(provider.format);
        let base_url = provider.base_url();
        yaml += &format!("  {name}: {{kind: {kind}, base_url: '{base_url}', api_key: 'env:TEST_GOLDEN'}}\n");
    }
    yaml += "routes:\n";
    for (name, provider) in providers {
        let model = model(provider.format);
        yaml += &format!("  - {{model: {name}, targets: ['{name}/{model}']}}\n");
    }
    Gate::build(&format!("{yaml}cache: {{enabled: false}}\nretry: {{rounds: 0}}\n"), None)
}

/// A request for this model, whole or as a stream in the way of its format.
fn asked(format: &str, request: &Value, model: &str, stream: bool) -> Value {
    let mut request = request.clone();
    request["model"] = json!(model);
    if stream {
        request["stream"] = json!(true);
        if format == "openai" {
            request["stream_options"] = json!({ "include_usage": true });
        }
    }
    request
}

/// Where a provider of this format is asked.
fn line(format: &str, stream: bool) -> String {
    let model = model(format).replace(':', "%3A");
    let path = match (format, stream) {
        ("openai", _) => "/chat/completions".to_owned(),
        ("anthropic", _) => "/messages".to_owned(),
        ("vertex_anthropic", false) => format!("/publishers/anthropic/models/{model}:rawPredict"),
        ("vertex_anthropic", true) => format!("/publishers/anthropic/models/{model}:streamRawPredict"),
        ("gemini", false) => format!("/models/{model}:generateContent"),
        ("gemini", true) => format!("/models/{model}:streamGenerateContent?alt=sse"),
        ("bedrock", false) => format!("/model/{model}/converse"),
        ("bedrock", true) => format!("/model/{model}/converse-stream"),
        (other, _) => format!("/{other}"),
    };
    format!("POST /v1{path}")
}

#[tokio::test]
async fn every_client_gets_every_providers_answer_in_its_own_shape() {
    let (providers, mut findings, mut count) = (providers().await, Findings::default(), 0);
    let named: Vec<_> = providers.iter().map(|provider| (provider.format.to_owned(), provider)).collect();
    let gate = gate(&named);
    let asker = Asker::new(gate.address);
    for case in cases::all() {
        for provider in providers.iter().filter(|provider| case.has(provider.format)) {
            for (files, path) in clients().filter(|(files, _)| case.has(files)) {
                for stream in [false, true] {
                    let how = if stream { "streamed" } else { "whole" };
                    let place = format!("{} from {files} to {}, {how}", case.name, provider.format);
                    provider.answers(&case, stream);
                    provider.forget();
                    let request = asked(files, &case.request(files), provider.format, stream);
                    let told = asker.ask(&path, &request).await;
                    count += 1;
                    if told.status == 200 {
                        received(&mut findings, &place, &case, (files, provider), stream);
                        answered(&mut findings, &place, &case, (files, provider.format), &told);
                    } else {
                        findings.hold(false, &place, format!("{} {}", told.status, told.json()));
                    }
                }
            }
        }
    }
    findings.hold(count >= 2 * 15, "all", format!("only {count} conversations"));
    findings.none();
}

/// The provider got what its own client would have sent.
fn received(findings: &mut Findings, place: &str, case: &Case, pair: (&str, &Provider), stream: bool) {
    let (files, provider) = pair;
    let (format, got) = (provider.format, provider.got());
    findings.compare(&format!("{place}, path"), &json!(got.path), &json!(line(format, stream)));
    let wanted = case.request(format);
    if files == cases::provider_files(format) {
        // Its own format goes up as it is.
        let mut wanted = asked(format, &wanted, model(format), stream);
        if files != format {
            wanted.as_object_mut().expect("a request is an object").remove("model");
        }
        findings.compare(&format!("{place}, request as it was"), &got.body, &wanted);
    }
    let place = format!("{place}, request");
    findings.compare(&place, &meaning::request(format, &got.body), &meaning::request(format, &wanted));
    if matches!(format, "openai" | "anthropic" | "vertex_anthropic" | "responses") {
        findings.compare(&place, &json!(got.body["stream"] == true), &json!(stream));
    }
}

/// The client got what its own provider would have answered.
fn answered(findings: &mut Findings, place: &str, case: &Case, pair: (&str, &str), told: &Told) {
    let (files, format) = pair;
    let wanted = case.answer(files);
    let streamed = told.header("content-type").starts_with("text/event-stream");
    let got = if streamed { stream::whole(files, &told.body) } else { Ok(told.json()) };
    let got = match got {
        Ok(got) => got,
        Err(wrong) => return findings.hold(false, place, wrong),
    };
    findings.hold(
        streamed == place.ends_with("streamed"),
        place,
        "a stream where none was asked for, or none",
    );
    findings.compare(place, &meaning::answer(files, &got), &meaning::answer(files, &wanted));
    if format == "gemini" {
        // Its calls have no ids, so they are made.
        let (ids, count) = (meaning::call_ids(files, &got), meaning::call_ids(files, &wanted).len());
        findings.compare(&format!("{place}, ids"), &json!(ids.len()), &json!(count));
        findings.hold(ids.iter().all(|id| !id.is_empty()), place, "a call without an id");
    } else {
        let ids = |body: &Value| json!(meaning::call_ids(files, body));
        findings.compare(&format!("{place}, ids"), &ids(&got), &ids(&wanted));
    }
    for name in ["id", "model"] {
        findings.hold(got[name].as_str().is_some_and(|word| !word.is_empty()), place, format!("no '{name}'"));
    }
    if files == cases::provider_files(format) {
        let mut wanted = wanted;
        if files == "anthropic" {
            // This one reads the model's name as it asked for it.
            wanted["model"] = json!(format);
        }
        for name in ["id", "model", "created", "created_at"] {
            findings.compare(&format!("{place}, {name}"), &got[name], &wanted[name]);
        }
    }
}

#[tokio::test]
async fn every_client_is_told_every_providers_refusal_in_its_own_shape() {
    let (providers, mut findings) = (providers().await, Findings::default());
    let case = cases::all().into_iter().find(|case| case.name == "plain").expect("a plain conversation");
    // Each refusal from a provider of its own, so that none is judged by what another said.
    let refusals: Vec<(String, &Provider, Refusal)> = providers
        .iter()
        .flat_map(|provider| {
            cases::refusals(provider.format).into_iter().map(move |refusal| (provider, refusal))
        })
        .map(|(provider, refusal)| {
            (format!("{}-{}", provider.format, refusal.name.replace('_', "-")), provider, refusal)
        })
        .collect();
    let named: Vec<_> = refusals.iter().map(|(name, provider, _)| (name.clone(), *provider)).collect();
    let gate = gate(&named);
    let asker = Asker::new(gate.address);
    for (name, provider, refusal) in &refusals {
        provider.refuses(refusal);
        for (files, path) in clients() {
            for stream in [false, true] {
                let place = format!("{name} to {files}, stream: {stream}");
                let told = asker.ask(&path, &asked(files, &case.request(files), name, stream)).await;
                refused(&mut findings, &place, files, refusal, &told);
            }
        }
    }
    findings.none();
}

fn refused(findings: &mut Findings, place: &str, files: &str, refusal: &Refusal, told: &Told) {
    let (body, words) =
        (told.json(), refusal.body.pointer("/error/message").unwrap_or(&refusal.body["message"]));
    let error = &body["error"];
    findings.hold(error["message"].is_string(), place, format!("no error: {body}"));
    if files == "anthropic" {
        findings.compare(place, &body["type"], &json!("error"));
        findings.hold(error["type"].is_string(), place, format!("no type: {body}"));
    } else {
        // A provider may leave the type out, and is passed on as it is.
        let all = ["type", "code", "param"].iter().all(|name| error.get(name).is_some());
        findings.hold(all, place, format!("an error without all of its fields: {body}"));
    }
    match refusal.name.as_str() {
        "authentication" => {
            // It is the operator's key that is wrong, and not the client's; the provider is left alone for a while.
            findings.hold(told.status == 429 || told.status >= 500, place, format!("status {}", told.status));
        }
        "rate_limit" => {
            findings.compare(&format!("{place}, status"), &json!(told.status), &json!(429));
            if refusal.headers.iter().any(|(name, _)| name == "retry-after") {
                let wait = told.header("retry-after").parse().unwrap_or(0);
                findings.hold((1..=2).contains(&wait), place, format!("retry-after: {wait}"));
            }
        }
        "overloaded" => {
            findings.compare(&format!("{place}, status"), &json!(told.status), &json!(refusal.status));
        }
        _ => {
            findings.compare(&format!("{place}, status"), &json!(told.status), &json!(400));
            findings.compare(&format!("{place}, message"), &error["message"], words);
        }
    }
}
