//! The questions: built in, or from a labelled file.

use std::collections::BTreeMap;
use std::path::Path;

use fastrand::Rng;
use serde::Deserialize;
use sluice_engine::replay::Line;

const SUPPORT: [&str; 3] = [
    include_str!("../../../../fixtures/cache/support_bank.jsonl"),
    include_str!("../../../../fixtures/cache/support_shop.jsonl"),
    include_str!("../../../../fixtures/cache/support_it.jsonl"),
];
const ANSWERS: &str = include_str!("../../../../fixtures/cache/answers.jsonl");

/// A question and what it is about.
#[derive(Clone, Deserialize)]
pub(super) struct Question {
    pub(super) prompt: String,
    pub(super) intent: String,
}

#[derive(Deserialize)]
struct Answer {
    intent: String,
    answer: String,
}

/// All the built-in questions, once each.
pub(in crate::commands) fn built_in() -> Result<Vec<Line>, String> {
    let files = SUPPORT.iter().map(|text| lines::<Line>(text, "fixtures/cache"));
    Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Questions in the order they are asked, and the right answer for each intent.
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) questions: Vec<Question>,
    pub(super) answers: BTreeMap<String, String>,
}

impl Stream {
    /// Customers of a bank, a shop and an IT help desk: few intents make most of the traffic, and within an intent few
    /// wordings do (Zipf's law, exponent 1).
    pub(super) fn built_in(count: usize, seed: u64) -> Result<Self, String> {
        let mut by_intent: BTreeMap<String, Vec<Question>> = BTreeMap::new();
        for text in SUPPORT {
            for question in lines::<Question>(text, "fixtures/cache")? {
                by_intent.entry(question.intent.clone()).or_default().push(question);
            }
        }
        let answers = lines::<Answer>(ANSWERS, "fixtures/cache/answers.jsonl")?;
        let mut rng = Rng::with_seed(seed);
        let mut intents: Vec<Vec<Question>> = by_intent.into_values().collect();
        rng.shuffle(&mut intents);
        intents.iter_mut().for_each(|questions| rng.shuffle(questions));
        let questions = (0..count)
            .filter_map(|_| {
                let questions = intents.get(zipf(&mut rng, intents.len()))?;
                questions.get(zipf(&mut rng, questions.len())).cloned()
            })
            .collect();
        let name = "support questions of a bank, a shop and an IT help desk (built in)".to_owned();
        let answers = answers.into_iter().map(|a| (a.intent, a.answer)).collect();
        Ok(Self { name, questions, answers })
    }

    /// A labelled file, in its order.
    pub(super) fn read(path: &Path, count: Option<usize>) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
        let mut questions = lines::<Question>(&text, &name)?;
        questions.truncate(count.unwrap_or(usize::MAX));
        if questions.is_empty() {
            return Err(format!("{name}: no questions in it"));
        }
        let answers = questions
            .iter()
            .map(|q| {
                (
                    q.intent.clone(),
                    format!("This is the answer to every question of the kind <{}>.", q.intent),
                )
            })
            .collect();
        Ok(Self { name, questions, answers })
    }

    /// The right answer to a question, without what is personal in it.
    pub(super) fn answer(&self, question: &Question) -> &str {
        self.answers.get(&question.intent).map_or("I will find out.", String::as_str)
    }
}

fn lines<T: for<'de> Deserialize<'de>>(text: &str, name: &str) -> Result<Vec<T>, String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|e| {
                let place = format!("{name}:{}:{}", at + 1, e.column());
                format!("{place}: expected an object with the texts \"prompt\" and \"intent\"")
            })
        })
        .collect()
}

/// A rank below `n`, drawn with a probability of 1/(rank + 1).
fn zipf(rng: &mut Rng, n: usize) -> usize {
    let total: f64 = (1..=n).map(|rank| 1.0 / rank as f64).sum();
    let mut left = rng.f64() * total;
    for rank in 1..=n {
        left -= 1.0 / rank as f64;
        if left <= 0.0 {
            return rank - 1;
        }
    }
    n.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_stream_is_rich_and_the_same_for_the_same_seed() {
        let stream = Stream::built_in(1000, 1).unwrap();
        let prompts = |s: &Stream| s.questions.iter().map(|q| q.prompt.clone()).collect::<Vec<_>>();
        assert_eq!(prompts(&stream), prompts(&Stream::built_in(1000, 1).unwrap()));
        assert_ne!(prompts(&stream), prompts(&Stream::built_in(1000, 2).unwrap()));
        assert!(stream.answers.len() >= 60);
        assert!(stream.questions.iter().all(|q| stream.answers.contains_key(&q.intent)));
        let domains = ["bank:", "shop:", "it:"];
        assert!(domains.iter().all(|d| stream.questions.iter().any(|q| q.intent.starts_with(d))));
    }

    #[test]
    fn every_intent_of_the_fixtures_has_ten_wordings_and_an_answer_of_its_own() {
        let mut wordings: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
        for question in SUPPORT.iter().flat_map(|text| lines::<Question>(text, "").unwrap()) {
            wordings.entry(question.intent).or_default().insert(question.prompt);
        }
        let answers = lines::<Answer>(ANSWERS, "").unwrap();
        let texts: std::collections::BTreeSet<&str> = answers.iter().map(|a| a.answer.as_str()).collect();
        assert_eq!(texts.len(), answers.len());
        assert!(wordings.len() >= 60 && wordings.values().all(|w| w.len() >= 10));
        assert!(wordings.keys().all(|intent| answers.iter().any(|a| a.intent == *intent)));
    }

    #[test]
    fn a_line_that_is_no_question_is_named_without_being_quoted() {
        let error = lines::<Question>("{\"prompt\":\"a\",\"intent\":\"b\"}\n{\"prompt\": 7}\n", "f.jsonl")
            .err()
            .unwrap();
        assert!(error.starts_with("f.jsonl:2:"), "{error}");
    }
}
