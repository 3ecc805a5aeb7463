//! Prompts that look alike and mean different things: asked one after the other, with the real embedding model and the
//! settings we ship, each gets its own answer.

use std::collections::HashMap;
use std::path::Path;

use sluice::mock::Script;
use sluice_engine::replay::pairs::{MinimalPair, minimal_pairs};
use sluice_tests::{Gate, Reply};

/// Pairs of each axis that are asked: with all of them the test would take minutes.
const PER_AXIS: usize = 60;
/// Questions of each file that warm the cache up.
const WARM: usize = 120;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cache").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn lines(name: &str) -> Vec<HashMap<String, String>> {
    fixture(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The questions of a bank's, a shop's and a help desk's users, with what is answered.
fn support() -> Vec<(String, String)> {
    let answers: HashMap<String, String> = lines("answers.jsonl")
        .into_iter()
        .map(|mut line| (line.remove("intent").unwrap(), line.remove("answer").unwrap()))
        .collect();
    let files = ["support_bank.jsonl", "support_shop.jsonl", "support_it.jsonl"];
    let all = files.into_iter().flat_map(|file| lines(file).into_iter().take(WARM));
    all.map(|mut line| (line.remove("prompt").unwrap(), answers[&line["intent"]].clone())).collect()
}

/// Pairs that differ in one thing, the same number of each axis, spread over all of its templates.
fn pairs() -> Vec<MinimalPair> {
    let all = minimal_pairs(&fixture("minimal_pairs.txt")).unwrap();
    let mut chosen = Vec::new();
    for axis in ["number", "negation", "entity", "direction", "antonym"] {
        let of_axis: Vec<_> = all.iter().filter(|pair| pair.axis == axis && !pair.same).collect();
        assert!(of_axis.len() >= 300, "{axis}");
        let step = of_axis.len().div_ceil(PER_AXIS);
        chosen.extend(of_axis.into_iter().step_by(step).cloned());
    }
    chosen
}

/// The letters and digits: what normalising never changes.
fn bare(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A gateway that was asked the support questions; none of them may have got another one's answer by more than the promise.
async fn warm(cache: &str) -> Gate {
    let gate = Gate::with_weights(cache);
    let questions = support();
    gate.primary.script(Script { answers: questions.iter().cloned().collect(), ..Script::default() });
    let mut semantic = 0;
    for (prompt, _) in &questions {
        semantic += usize::from(gate.ask(prompt).await.cache() == "hit semantic");
    }
    assert!(semantic >= 20, "{semantic} of {} questions were answered by likeness", questions.len());
    gate
}

/// What was answered to each of these, where it is not its own answer: question, answer, similarity.
async fn foreign_answers(gate: &Gate, pairs: &[MinimalPair]) -> Vec<String> {
    let mut foreign = Vec::new();
    for text in pairs.iter().flat_map(|pair| [&pair.a, &pair.b]) {
        let reply: Reply = gate.ask(text).await;
        assert_eq!(reply.status, 200, "{text}");
        if bare(&reply.text()) != bare(&format!("You said: {text}")) {
            foreign.push(format!(
                "{text} | {} | {}",
                reply.text(),
                reply.header("x-sluice-cache-similarity")
            ));
        }
    }
    foreign
}

#[tokio::test]
async fn another_number_in_an_order_is_another_order() {
    for cache in ["cache: {policy: calibrated}", "cache: {policy: calibrated, strict: true}"] {
        let gate = Gate::with_weights(cache);
        assert_eq!(gate.ask("cancel order 124").await.cache(), "miss");
        assert_eq!(gate.ask("Cancel order 124").await.cache(), "hit normalised");
        for other in ["cancel order 123", "cancel order 142", "do not cancel order 124", "cancel order #125"]
        {
            let reply = gate.ask(other).await;
            assert_eq!(
                (reply.cache().as_str(), reply.text()),
                ("miss", format!("You said: {other}")),
                "{cache}"
            );
        }
    }
}

#[tokio::test]
async fn prompts_that_differ_in_one_thing_get_answers_of_their_own_in_strict_mode() {
    let (gate, pairs) = (warm("cache: {policy: calibrated, strict: true}").await, pairs());
    let foreign = foreign_answers(&gate, &pairs).await;
    assert!(foreign.is_empty(), "{} of {} pairs: {foreign:#?}", foreign.len(), pairs.len());
}

#[tokio::test]
async fn prompts_that_differ_in_one_thing_are_told_apart_at_the_shipped_settings() {
    let (gate, pairs) = (warm("cache: {policy: calibrated}").await, pairs());
    let foreign = foreign_answers(&gate, &pairs).await;
    assert!(foreign.is_empty(), "{} of {} pairs: {foreign:#?}", foreign.len(), pairs.len());
}
