//! The providers' own SDKs before every provider, by the golden conversations: `sdk/` asks and tells what it got.
//!
//! Where SDK and provider speak one format, what the SDK made of an answer equals what it makes of the provider's own; elsewhere it
//! means what the conversation says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};
use sluice_tests::Gate;
use sluice_tests::golden::cases;
use sluice_tests::golden::replay::{case, name};
use sluice_tests::golden::{Got, Provider, meaning, stream};

use crate::goldens::{Findings, kind, model};
use crate::sdk_packages::{node_packages, python, sdk_folder};

const PROVIDERS: [&str; 5] = ["openai", "responses", "anthropic", "gemini", "bedrock"];
const CASES: [&str; 6] = ["plain", "tools", "parallel_tools", "tool_results", "structured_output", "images"];

/// What a script told, by format, conversation, how it was asked, and by whom it was answered.
type Told = BTreeMap<[String; 4], Value>;

/// Scripted providers, the gateway before some of them, and what the rest are asked directly.
struct Stage {
    behind: Vec<Provider>,
    direct: Vec<Provider>,
    gate: Gate,
}

impl Stage {
    async fn of(behind: &[&'static str], direct: &[&'static str]) -> Self {
        let (mut providers, mut others) = (Vec::new(), Vec::new());
        for format in behind {
            providers.push(Provider::replaying(format).await);
        }
        for format in direct {
            others.push(Provider::replaying(format).await);
        }
        let gate = Gate::build(&configuration(&providers), None);
        Self { behind: providers, direct: others, gate }
    }

    /// What `sdk/common.py` says of it.
    fn plan(&self) -> Value {
        let direct = self.direct.iter().map(|provider| (provider.format, provider.url("/direct")));
        let all = self.direct.iter().chain(&self.behind);
        let errors = all.map(|provider| (provider.format, errors(provider.format)));
        json!({
            "chats": sdk_folder().join("../../fixtures/chats"), "cases": CASES, "gate": format!("http://{}", self.gate.address),
            "providers": self.behind.iter().map(|provider| provider.format).collect::<Vec<_>>(),
            "direct": direct.collect::<BTreeMap<_, _>>(), "errors": errors.collect::<BTreeMap<_, _>>(),
        })
    }

    /// Runs a script to its end, and takes what it told.
    async fn run(&self, mut command: Command) -> Told {
        command.env("SDK_PLAN", self.plan().to_string());
        let run = tokio::task::spawn_blocking(move || command.output().expect("the script starts"));
        let ran = run.await.unwrap();
        let complaint = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{}{complaint}", String::from_utf8_lossy(&ran.stdout));
        let lines = String::from_utf8(ran.stdout).unwrap();
        let mut told = Told::new();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let key = ["format", "case", "how", "via"].map(|name| line[name].as_str().unwrap().to_owned());
            assert!(told.insert(key, line).is_none(), "told twice");
        }
        told
    }

    /// Holds what was told against what is expected, and what the providers got as well.
    fn check(&self, told: &Told, hows: &[&str]) -> Findings {
        let mut findings = Findings::default();
        self.is_complete(&mut findings, told, hows);
        for (key, line) in told {
            let direct = told.get(&[key[0].clone(), key[1].clone(), key[2].clone(), "direct".to_owned()]);
            let place = key.join(" ");
            if key[1].starts_with("error.") {
                refused(&mut findings, &place, key, &line["error"], direct.map(|line| &line["error"]));
            } else {
                answered(&mut findings, &place, key, line, direct.expect("a direct answer"));
            }
        }
        self.received(&mut findings);
        findings
    }

    /// Every conversation was asked of everybody in every way.
    fn is_complete(&self, findings: &mut Findings, told: &Told, hows: &[&str]) {
        let mut expected = BTreeSet::new();
        for format in self.direct.iter().map(|provider| provider.format) {
            for via in self.behind.iter().map(|provider| provider.format).chain(["direct"]) {
                let key = |case: &str, how: &str| [format, case, how, via].map(str::to_owned);
                expected.extend(CASES.iter().flat_map(|case| hows.iter().map(|how| key(case, how))));
                let helped = hows.iter().filter(|how| ["whole", "helper"].contains(how));
                expected.extend(helped.map(|how| key("parsed", how)));
                for error in errors(if via == "direct" { format } else { via }) {
                    expected.extend(["whole", "stream"].map(|how| key(&format!("error.{error}"), how)));
                }
            }
        }
        let told: BTreeSet<_> = told.keys().cloned().collect();
        for odd in told.symmetric_difference(&expected) {
            findings.hold(false, &odd.join(" "), "told and not expected, or expected and not told");
        }
    }

    /// Each provider got what its own client would have sent; of its own SDK, the same as directly.
    fn received(&self, findings: &mut Findings) {
        let answered = |got: &Got| !name(&got.path).starts_with("error.");
        let mut own: BTreeMap<&str, Vec<Got>> = BTreeMap::new();
        for provider in &self.direct {
            own.insert(provider.format, provider.all().into_iter().filter(answered).collect());
        }
        for provider in &self.behind {
            let format = provider.format;
            let got: Vec<Got> = provider.all().into_iter().filter(answered).collect();
            findings.hold(!got.is_empty(), format, "was never asked");
            if let Some(own) = own.get(format).filter(|_| self.direct.len() == 1) {
                findings.compare(format, &json!(got.len()), &json!(own.len()));
                for (got, own) in got.iter().zip(own) {
                    let place = format!("{format} got {}, directly {}", got.path, own.path);
                    findings.compare(&place, &got.body, &own.body);
                }
            }
            // Google's SDK spells names in two ways, which are one to Google.
            for got in got.iter().filter(|_| !self.direct.iter().any(|own| own.format == "gemini")) {
                let name = name(&got.path);
                if name != "parsed" && !got.path.ends_with("/count_tokens") {
                    let wanted = meaning::request(format, &case(name).request(format));
                    let place = format!("{format} got {}", got.path);
                    findings.compare(&place, &meaning::request(format, &got.body), &wanted);
                }
            }
        }
    }
}

/// A provider for each conversation and refusal, behind a model of its name, so that none is judged by what another said.
fn configuration(providers: &[Provider]) -> String {
    let (mut kinds, mut routes) = (String::from("providers:\n"), String::from("routes:\n"));
    for provider in providers {
        let format = provider.format;
        let kind = kind(format);
        let errors = errors(format).into_iter().map(|error| format!("error.{error}"));
        for case in CASES.iter().map(|case| (*case).to_owned()).chain(["parsed".to_owned()]).chain(errors) {
            let name = format!("{format}-{case}").replace(['_', '.'], "-");
            let base_url = provider.url(&format!("/sluice/{case}/v1"));
            kinds +=
                &format!("  {name}: {{kind: {kind}, base_url: '{base_url}', api_key: 'env:TEST_GOLDEN'}}\n");
            routes += &format!("  - {{model: {name}, targets: ['{name}/{}']}}\n", model(format));
        }
    }
    format!("{kinds}{routes}cache: {{enabled: false}}\nretry: {{rounds: 0}}\n")
}

fn errors(format: &str) -> Vec<String> {
    cases::refusals(format).into_iter().map(|refusal| refusal.name).collect()
}

/// The SDK's object is the one of a direct connection, or at least means the same.
fn answered(findings: &mut Findings, place: &str, key: &[String; 4], line: &Value, direct: &Value) {
    let [format, name, how, via] = key.each_ref().map(String::as_str);
    if via == format {
        for part in ["object", "parsed"] {
            let parts = [line, direct].map(|line| unnamed(format, &line[part]));
            findings.compare(&format!("{place}, {part}"), &parts[0], &parts[1]);
        }
        let events = [line, direct].map(|line| unnamed(format, &events(line)));
        findings.compare(&format!("{place}, events"), &events[0], &events[1]);
    }
    let golden = case(name);
    if name == "parsed" {
        let said = golden.answer("openai")["choices"][0]["message"]["content"].clone();
        let said: Value = serde_json::from_str(said.as_str().unwrap()).unwrap();
        findings.compare(&format!("{place}, parsed"), &line["parsed"], &said);
    }
    if how == "count" {
        let counted = line["object"]["input_tokens"].as_u64();
        return findings.hold(counted > Some(0), place, format!("counted {}", line["object"]));
    }
    if format == "gemini" {
        let first = if how == "stream" { &line["events"][0] } else { &line["object"] };
        return findings.hold(first["candidates"][0]["content"].is_object(), place, "no candidate");
    }
    let object = if how == "stream" { whole(format, &line["events"]) } else { Ok(line["object"].clone()) };
    match object {
        Ok(object) => {
            let wanted = meaning::answer(format, &golden.answer(format));
            findings.compare(place, &meaning::answer(format, &object), &wanted);
            for name in ["id", "model"] {
                let named = object[name].as_str().is_some_and(|word| !word.is_empty());
                findings.hold(named, place, format!("no '{name}'"));
            }
        }
        Err(wrong) => findings.hold(false, place, wrong),
    }
}

/// The same without the model's name, which Anthropic's clients read as they asked for it.
fn unnamed(format: &str, told: &Value) -> Value {
    let mut told = told.clone();
    if format == "anthropic" {
        let events = told.as_array_mut().into_iter().flatten().filter_map(|event| event.get_mut("message"));
        events.filter_map(Value::as_object_mut).for_each(|message| drop(message.remove("model")));
        told.as_object_mut().into_iter().for_each(|object| drop(object.remove("model")));
    }
    told
}

/// The events of a stream, but for pieces of nothing, which the gateway does not pass on.
fn events(line: &Value) -> Value {
    let events = line["events"].as_array().into_iter().flatten();
    events.filter(|event| event["delta"]["partial_json"] != "").cloned().collect()
}

/// The whole answer that the events say.
fn whole(format: &str, events: &Value) -> Result<Value, String> {
    let mut bytes = String::new();
    for event in events.as_array().into_iter().flatten() {
        match event["type"].as_str() {
            Some(name) => bytes += &format!("event: {name}\ndata: {event}\n\n"),
            None => bytes += &format!("data: {event}\n\n"),
        }
    }
    if format == "openai" {
        bytes += "data: [DONE]\n\n";
    }
    stream::whole(format, bytes.as_bytes())
}

/// The SDK raises what it raises for its own provider's refusal of the same kind.
fn refused(findings: &mut Findings, place: &str, key: &[String; 4], error: &Value, direct: Option<&Value>) {
    let [format, name, _, via] = key.each_ref().map(String::as_str);
    let refusal = name.trim_start_matches("error.");
    let is_a = |kind: &str| error["kinds"].as_array().unwrap().iter().any(|name| name == kind);
    let status = error["status"].as_u64().unwrap_or_default();
    findings.hold(error["message"].is_string(), place, "no message");
    // Google's SDK knows two kinds of errors, and the pipe changes none but what is between the provider and the operator: a key that
    // is refused, and that the provider is left alone.
    if format == "gemini" {
        let direct = direct.expect("a direct error");
        return match refusal {
            "authentication" if via != "direct" => findings.hold(is_a("ServerError"), place, error),
            "rate_limit" => findings.compare(place, &error["kinds"], &direct["kinds"]),
            _ => findings.compare(place, error, direct),
        };
    }
    match refusal {
        "authentication" if via == "direct" => findings.hold(is_a("AuthenticationError"), place, error),
        // It is the operator's key that is wrong, and not the client's; the provider is left alone for a while.
        "authentication" => {
            findings.hold(is_a("InternalServerError") || is_a("RateLimitError"), place, error);
        }
        "rate_limit" => findings.hold(status == 429 && is_a("RateLimitError"), place, error),
        "overloaded" => findings.hold(status >= 500 && is_a("InternalServerError"), place, error),
        _ => findings.hold(status == 400 && is_a("BadRequestError"), place, error),
    }
    if via == format && refusal != "authentication" {
        let direct = direct.expect("a direct error");
        for part in ["kinds", "status"] {
            findings.compare(&format!("{place}, {part}"), &error[part], &direct[part]);
        }
        // Of a target that is left alone, the gateway speaks.
        if status == 400 {
            findings.compare(place, error, direct);
        }
    }
}

/// A script of Python's.
fn by_python(script: &str) -> Command {
    let mut command = Command::new(python().unwrap_or_else(|problem| panic!("{problem}")));
    // Nothing of the developer's own: no proxy, no keys.
    command.env_clear().env("PYTHONUTF8", "1").arg(sdk_folder().join(script));
    command
}

#[tokio::test]
async fn openai_s_python_sdk_chats_with_every_provider() {
    let stage = Stage::of(&PROVIDERS, &["openai"]).await;
    let told = stage.run(by_python("chat_openai.py")).await;
    stage.check(&told, &["whole", "stream", "helper"]).none();
}

#[tokio::test]
async fn openai_s_python_sdk_has_responses_of_every_provider() {
    let stage = Stage::of(&PROVIDERS, &["responses"]).await;
    let told = stage.run(by_python("responses_openai.py")).await;
    stage.check(&told, &["whole", "stream", "helper"]).none();
}

#[tokio::test]
async fn anthropic_s_python_sdk_has_messages_of_every_provider() {
    let stage = Stage::of(&PROVIDERS, &["anthropic"]).await;
    let told = stage.run(by_python("messages_anthropic.py")).await;
    stage.check(&told, &["whole", "stream", "helper", "count"]).none();
}

#[tokio::test]
async fn openai_s_node_sdk_speaks_with_every_provider() {
    let stage = Stage::of(&PROVIDERS, &["openai", "responses"]).await;
    let packages = node_packages().unwrap_or_else(|problem| panic!("{problem}"));
    let mut command = Command::new("node");
    // As with Python's. The program is looked for where the tests' own programs are.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("SDK_PACKAGES", packages).arg(sdk_folder().join("openai.mjs"));
    let told = stage.run(command).await;
    stage.check(&told, &["whole", "stream", "helper"]).none();
}

#[tokio::test]
async fn google_s_python_sdk_reaches_gemini_as_if_nothing_were_between() {
    let stage = Stage::of(&["gemini"], &["gemini"]).await;
    let told = stage.run(by_python("genai.py")).await;
    stage.check(&told, &["whole", "stream"]).none();
}
