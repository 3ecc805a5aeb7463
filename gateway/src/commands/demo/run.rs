//! One pass of the questions through a real gateway, with an outage in the middle.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use sluice_guardrails::{Guard, Vault};
use sluice_models::EmbedPool;

use super::client::{Customer, Reply};
use super::stream::{Question, Stream};
use crate::commands::env;
use crate::config;
use crate::gateway::{Gateway, Parts};
use crate::mock::{Mock, Script};
use crate::serve::Server;

/// How long a scripted provider thinks, in milliseconds, for a stream of so many questions. Real ones take ten times as
/// long; a long stream has a quicker one, so that the demo ends in a minute or two.
pub(super) fn provider_latency_ms(questions: usize) -> u64 {
    (60_000 / questions.max(1000)) as u64
}

/// A gateway with two providers behind it.
pub(super) struct Stage {
    server: Option<Server>,
    primary: Mock,
    backup: Mock,
    answers: HashMap<String, String>,
    latency_ms: u64,
    outage: bool,
}

/// What the providers' own records say about personal data.
pub(super) struct Proof {
    /// Different personal values in the questions, as told by eye and not by the gateway's recognisers.
    pub(super) values: usize,
    /// Questions that held one.
    pub(super) questions: usize,
    /// How many of the values stand anywhere in the bytes the providers got.
    pub(super) leaked: usize,
    /// How many bytes those are.
    pub(super) bytes: usize,
    /// Requests the providers got, failed attempts included.
    pub(super) calls: usize,
}

impl Stage {
    pub(super) fn start(
        stream: &Stream,
        embedder: EmbedPool,
        similarity: f32,
        index: &str,
        outage: bool,
    ) -> Result<Self, String> {
        let answers = answers_by_redacted_prompt(stream);
        let latency_ms = if outage { provider_latency_ms(stream.questions.len()) } else { 0 };
        let loopback = ([127, 0, 0, 1], 0).into();
        let start = || Mock::start(loopback, script(&answers, latency_ms, "")).map_err(|e| e.to_string());
        let (primary, backup) = (start()?, start()?);
        let yaml = format!(
            "providers:\n  primary: {{kind: mock, base_url: '{}'}}\n  backup: {{kind: mock, base_url: '{}'}}\n\
             routes:\n  - {{model: support, targets: [primary/mock, backup/mock]}}\n\
             cache: {{policy: fixed, similarity: {similarity}, index: {index}}}\n\
             timeouts: {{first_byte: 250ms, shutdown: 1s}}\n",
            primary.base_url(),
            backup.base_url()
        );
        let config = config::parse(&yaml, "the demo's configuration").map_err(|e| e.to_string())?;
        let parts = Parts { embedder: Some(embedder), mock: None, serving: true };
        let (gateway, _) = Gateway::build(&config, parts, &env).map_err(|e| e.to_string())?;
        let server = Server::start(Arc::new(gateway), loopback, loopback).map_err(|e| e.to_string())?;
        Ok(Self { server: Some(server), primary, backup, answers, latency_ms, outage })
    }

    /// Asks every question, one after the other, every third as a stream.
    pub(super) fn ask_all(
        &self,
        stream: &Stream,
        progress: &mut dyn FnMut(usize, &str),
    ) -> Result<Vec<Reply>, String> {
        let server = self.server.as_ref().ok_or("the gateway is not running")?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let customer = Customer::new(server.address);
        let total = stream.questions.len();
        let (mut replies, mut hits, mut rescued) = (Vec::with_capacity(total), 0, 0);
        for (at, question) in stream.questions.iter().enumerate() {
            if self.outage && at == total * 2 / 5 {
                self.primary.script(script(&self.answers, self.latency_ms, OUTAGE));
            } else if self.outage && at == total * 3 / 5 {
                self.primary.script(script(&self.answers, self.latency_ms, ""));
            }
            let reply = runtime.block_on(customer.ask(&question.prompt, at % 3 == 2))?;
            hits += usize::from(reply.cache == "hit");
            rescued += usize::from(reply.status == 200 && reply.attempts > 1);
            replies.push(reply);
            progress(at + 1, &format!("{hits} from cache, {rescued} rescued by fallback"));
        }
        Ok(replies)
    }

    /// Looks for personal values in every byte that either provider got.
    pub(super) fn proof(&self, stream: &Stream) -> Proof {
        let seen: Vec<_> = [&self.primary, &self.backup].iter().flat_map(|mock| mock.seen()).collect();
        let raw: Vec<u8> = seen.iter().flat_map(crate::mock::Seen::bytes).collect();
        let received = String::from_utf8_lossy(&raw);
        let bare = without_separators(&received);
        let values: BTreeSet<String> =
            stream.questions.iter().flat_map(|q| personal_values(&q.prompt)).collect();
        let leaked =
            values.iter().filter(|v| received.contains(*v) || bare.contains(&without_separators(v))).count();
        let questions = stream.questions.iter().filter(|q| !personal_values(&q.prompt).is_empty()).count();
        Proof { values: values.len(), questions, leaked, bytes: raw.len(), calls: seen.len() }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// Four ways to fail, in turn, for as long as the outage lasts.
const OUTAGE: &str = "rules:
  - {times: 4, reply: {status: 503}}
  - {times: 4, reply: {status: 429, retry_after: 5}}
  - {times: 2, reply: {hang: true}}
  - {times: 4, reply: {cut_after: 0}}
  - {reply: {status: 500}}
";

fn script(answers: &HashMap<String, String>, latency_ms: u64, rules: &str) -> Script {
    let mut script = Script::parse(rules).unwrap_or_default();
    script.reply.latency = Some(config::Span::millis(latency_ms));
    script.reply.answer = Some("I do not know this question.".to_owned());
    script.answers.clone_from(answers);
    script
}

/// What the providers will be asked, and the right answer to it. Where a question holds personal data, the answer speaks
/// of it by placeholder, as a model would.
fn answers_by_redacted_prompt(stream: &Stream) -> HashMap<String, String> {
    let guard = Guard::new(&sluice_guardrails::Policy::default());
    let answer = |question: &Question| {
        let mut vault = Vault::new();
        let mut prompt = Value::from(question.prompt.as_str());
        vault.reserve_json(&prompt);
        // The policy blocks nothing.
        drop(vault.redact_json(&guard, &mut prompt, &|_, _| false));
        let prompt = prompt.as_str().unwrap_or_default().to_owned();
        let mut text = stream.answer(question).to_owned();
        if !vault.is_empty() {
            let list: Vec<&str> = vault.issued().collect();
            text = format!("{text} We noted {}.", list.join(" and "));
        }
        (prompt, text)
    };
    stream.questions.iter().map(answer).collect()
}

/// Personal values as a person would mark them, told apart from the recognisers that they put to the test: words with an
/// at sign, and runs of nine digits or more with what usually stands between digits, with a country code in front.
pub(super) fn personal_values(text: &str) -> Vec<String> {
    let mut values: Vec<String> = text
        .split(|c: char| c.is_whitespace() || "<>()[]{}\"',;".contains(c))
        .filter(|word| {
            word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
        })
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned())
        .collect();
    let part_of_number = |c: char| c.is_ascii_digit() || " -.()+/".contains(c);
    for run in text.split(|c: char| !part_of_number(c)) {
        let run = run.trim_matches(|c: char| !c.is_ascii_digit());
        if run.chars().filter(char::is_ascii_digit).count() >= 9 {
            values.push(run.to_owned());
        }
    }
    values
}

fn without_separators(text: &str) -> String {
    text.chars().filter(|c| !" -.()+/".contains(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_values_are_told_by_eye() {
        let text = "mail me (zoe@example.org), card 5105 1051 0510 5100 or call +1 (415) 555-0199. order 12345, 3 of 4";
        assert_eq!(personal_values(text), ["zoe@example.org", "5105 1051 0510 5100", "1 (415) 555-0199"]);
        assert!(personal_values("I paid 25.00 on 12.05.2024 @ the shop").is_empty());
    }

    #[test]
    fn the_outage_is_a_script_that_can_be_read() {
        assert_eq!(Script::parse(OUTAGE).unwrap().rules.len(), 5);
    }
}
