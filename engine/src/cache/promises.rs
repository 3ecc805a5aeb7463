//! What learning promises: labels count, answers that changed are dropped, a judge that is gone ends serving, and the share of
//! wrong hits stays below the bound.

use super::contract::wait;
use super::*;
use crate::decide::Tightening;
use crate::decide::control::Control;
use crate::decide::learner::Learner;
use crate::decide::model::{logit, sigmoid};
use crate::features::Profile;
use crate::partition::KeyHasher;
use crate::replay::stats::broken;

fn partition(name: &str) -> PartitionKey {
    let mut hasher = KeyHasher::new(&[7; 32]);
    hasher.field("tenant", name.as_bytes());
    hasher.partition()
}

/// A vector near the axis of its topic.
pub(super) fn near(topic: usize, rng: &mut fastrand::Rng) -> Vec<f32> {
    let mut vector: Vec<f32> = (0..32).map(|_| 0.04 * (rng.f32() - 0.5)).collect();
    vector[topic] += 1.0;
    vector
}

fn question<'a>(partition: &'a PartitionKey, vector: &'a [f32], profile: &'a Profile) -> Question<'a> {
    let tightening = Tightening::default();
    Question { partition, vector, profile, tightening, policy: None, shadow: None }
}

/// Each time another wording of one question.
fn wording(number: usize) -> String {
    const WORDS: [[&str; 12]; 3] = [
        [
            "please",
            "kindly",
            "could you",
            "can you",
            "would you",
            "quickly",
            "maybe you can",
            "i want you to",
            "now",
            "just",
            "hello can you",
            "will you",
        ],
        [
            "explain",
            "show me",
            "tell me",
            "describe",
            "clarify",
            "say",
            "give me",
            "write down",
            "tell us",
            "show us",
            "list",
            "spell out",
        ],
        [
            "today",
            "again",
            "briefly",
            "in detail",
            "once more",
            "thanks",
            "for me",
            "for us",
            "step by step",
            "in short",
            "properly",
            "first",
        ],
    ];
    let [how, what, end] = [0, 1, 2].map(|at| WORDS[at][number / 12usize.pow(at as u32) % 12]);
    format!("{how} {what} how the thing works {end}")
}

/// What a client would do, wherever the entries are: look up, ask upstream on a miss or for a spot check, remember. Answers with what was served.
pub(super) fn ask(
    cache: &SemanticCache,
    key: PartitionKey,
    number: usize,
    vector: &[f32],
    fresh: &str,
) -> Option<String> {
    let text = wording(number);
    let profile = Profile::of(&text);
    let question = question(&key, vector, &profile);
    let surroundings = wait(cache.survey(&question)).unwrap();
    let (served, ticket) = match cache.look_up_in(&question, surroundings, &|_| true) {
        Decision::Serve { hit, spot_check, .. } => {
            (Some(String::from_utf8(hit.entry.payload().to_vec()).unwrap()), spot_check)
        }
        Decision::Miss { candidate, .. } => (None, candidate),
    };
    if served.is_none() || ticket.is_some() {
        let insert = Insert {
            partition: key,
            exact: key.exact(&[text.as_bytes()]),
            normalised: None,
            vector: Some(vector.to_vec()),
            payload: Bytes::copy_from_slice(fresh.as_bytes()),
            ttl: None,
            owner: 0,
            note: Bytes::new(),
            tags: Vec::new(),
        };
        let mut same = |answer: &Answer| Some(answer.payload == fresh);
        cache.remember(insert, profile, ticket.as_ref(), &mut same);
    }
    served
}

#[test]
fn prompts_with_one_answer_share_it_and_are_served_once_it_has_support() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    let mut rng = fastrand::Rng::with_seed(1);
    let mut hits = 0;
    for number in 0..300 {
        let topic = number % 5;
        let served = ask(&cache, key, number, &near(topic, &mut rng), &format!("answer {topic}"));
        assert!(served.as_ref().is_none_or(|answer| *answer == format!("answer {topic}")));
        hits += usize::from(served.is_some());
    }
    assert!(hits > 150, "{hits}");
    let payloads: std::collections::HashSet<*const Answer> =
        cache.answers.entries().iter().map(|entry| Arc::as_ptr(&entry.answer)).collect();
    assert_eq!(payloads.len(), 5);
}

#[test]
fn answers_that_change_are_noticed_and_the_fresh_ones_take_their_place() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    let mut rng = fastrand::Rng::with_seed(2);
    let (mut stale, mut late) = (0, 0);
    for number in 0..1200 {
        let topic = number % 8;
        let version = if number >= 600 && topic % 2 == 0 { "new" } else { "old" };
        let fresh = format!("{version} {topic}");
        let served = ask(&cache, key, number, &near(topic, &mut rng), &fresh);
        let wrong = served.is_some_and(|answer| answer != fresh);
        stale += usize::from(wrong);
        late += usize::from(wrong && number >= 1000);
    }
    assert!(stale < 120 && late == 0, "{stale} {late}");
}

#[test]
fn feedback_that_a_hit_was_wrong_is_learnt_once() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    let mut rng = fastrand::Rng::with_seed(3);
    for number in 0..200 {
        ask(&cache, key, number, &near(0, &mut rng), "answer");
    }
    assert!(cache.ticket(0).is_some());
    assert!(cache.feedback(0, false));
    assert!(!cache.feedback(0, false) && !cache.feedback(u64::MAX, true) && !cache.feedback(1 << 40, true));
}

#[test]
fn a_shadow_serves_nothing_and_says_what_it_would_have_served() {
    let deciding = Deciding { shadow: u64::MAX, ..Deciding::default() };
    let (cache, key) = (SemanticCache::new(CacheConfig::default()).deciding(deciding), partition("a"));
    let mut rng = fastrand::Rng::with_seed(4);
    for number in 0..200 {
        assert!(ask(&cache, key, number, &near(0, &mut rng), "answer").is_none());
    }
    let (vector, profile) = (near(0, &mut rng), Profile::of(&wording(7)));
    let question = question(&key, &vector, &profile);
    assert!(matches!(cache.look_up(&question, &|_| true), Decision::Miss { would_serve: true, .. }));
    let strictest = Tightening { max_false_hit_rate: 0.0, ..Tightening::default() };
    let question = Question { tightening: strictest, ..question };
    assert!(matches!(cache.look_up(&question, &|_| true), Decision::Miss { would_serve: false, .. }));
}

#[test]
fn a_request_is_decided_by_its_own_policy_and_shadow_where_it_has_them() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    let mut rng = fastrand::Rng::with_seed(6);
    for number in 0..200 {
        ask(&cache, key, number, &near(0, &mut rng), "answer");
    }
    let (vector, profile) = (near(0, &mut rng), Profile::of(&wording(7)));
    let mut asked = question(&key, &vector, &profile);
    let mut serves = |policy, shadow, tightening| {
        (asked.policy, asked.shadow, asked.tightening) = (policy, shadow, tightening);
        matches!(cache.look_up(&asked, &|_| true), Decision::Serve { .. })
    };
    let (any, fixed) = (Tightening::default(), |similarity| Some(Policy::Fixed { similarity }));
    assert!(serves(None, None, any) && serves(fixed(0.9), None, any));
    assert!(!serves(None, Some(u64::MAX), any), "only learnt from");
    assert!(!serves(fixed(1.1), None, any), "not near enough");
    let none = Some(Policy::Calibrated { max_false_hit_rate: 0.0, strict: false });
    assert!(!serves(none, None, any));
    let tighter = Tightening { similarity: 1.1, ..any };
    assert!(!serves(fixed(0.9), None, tighter) && !serves(None, None, tighter), "asking tightens any policy");
}

#[test]
fn a_fixed_threshold_learns_nothing_and_keeps_nothing_to_learn_with() {
    let deciding = Deciding { policy: Policy::Fixed { similarity: 0.9 }, ..Deciding::default() };
    let cache = SemanticCache::new(CacheConfig::default()).deciding(deciding);
    let mut rng = fastrand::Rng::with_seed(7);
    for number in 0..20 {
        ask(&cache, partition("a"), number, &near(number % 2, &mut rng), &format!("answer {}", number % 2));
    }
    assert!(cache.stats().vectors > 0);
    assert!(cache.reports().is_empty());
}

#[test]
fn what_was_learnt_survives_in_its_state_and_foreign_state_is_refused() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    let mut rng = fastrand::Rng::with_seed(5);
    for number in 0..200 {
        ask(&cache, key, number, &near(number % 3, &mut rng), &format!("answer {}", number % 3));
    }
    let kept = serde_json::to_string(&cache.state()).unwrap();
    let other = SemanticCache::new(CacheConfig::default());
    other.restore(serde_json::from_str(&kept).unwrap()).unwrap();
    assert_eq!(other.reports(), cache.reports());
    let foreign = kept.replacen("\"version\":1", "\"version\":2", 1);
    assert!(other.restore(serde_json::from_str(&foreign).unwrap()).is_err());
}

#[test]
fn misses_whose_answer_never_comes_do_not_count_as_unjudged_and_answers_nobody_can_judge_do() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    let mut rng = fastrand::Rng::with_seed(6);
    for number in 0..300 {
        ask(&cache, key, number, &near(number % 3, &mut rng), &format!("answer {}", number % 3));
    }
    let far: Vec<f32> = (0..32).map(|at| if at == 9 { 1.0 } else { 0.3 * (at as f32 / 32.0) }).collect();
    let profile = Profile::of("something else entirely");
    let question = Question {
        partition: &key,
        vector: &far,
        profile: &profile,
        tightening: Tightening::default(),
        policy: None,
        shadow: None,
    };
    let serves = |cache: &SemanticCache, rng: &mut fastrand::Rng| {
        let (vector, profile) = (near(0, rng), Profile::of(&wording(12)));
        let question = Question { vector: &vector, profile: &profile, ..question };
        matches!(cache.look_up(&question, &|_| true), Decision::Serve { .. })
    };
    for _ in 0..300 {
        cache.look_up(&question, &|_| true);
    }
    assert!((0..20).any(|_| serves(&cache, &mut rng)), "as when only the cache is asked");
    for number in 1000..1300 {
        let Decision::Miss { candidate: Some(ticket), .. } = cache.look_up(&question, &|_| true) else {
            continue;
        };
        let insert = Insert {
            partition: key,
            exact: key.exact(&[&number.to_string().into_bytes()]),
            normalised: None,
            vector: None,
            payload: Bytes::from_static(b"?"),
            ttl: None,
            owner: 0,
            note: Bytes::new(),
            tags: Vec::new(),
        };
        cache.remember(insert, profile.clone(), Some(&ticket), &mut |_| None);
    }
    assert!((0..20).all(|_| !serves(&cache, &mut rng)), "nobody says any more whether hits are right");
}

#[test]
fn when_labels_stop_nothing_is_served_and_one_label_ends_that() {
    let shipped = Shipped::built_in();
    let mut control = Control::default();
    for _ in 0..300 {
        control.saw(0.999);
        control.unjudged();
    }
    assert_eq!(control.cut(0.01, shipped.cut(0.01), 1.0), f64::INFINITY);
    control.heard();
    assert!(control.cut(0.01, shipped.cut(0.01), 1.0).is_finite());
}

/// Candidates whose true probability is the model's to a power on the odds of being wrong; answers (wrong, hits, checks, asked).
fn simulate(seed: u64, promise: f64, factor: f64) -> (u64, u64, u64, u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut control, mut wrong, mut hits) = (Control::default(), 0, 0);
    let shipped = logit(1.0 - promise);
    for _ in 0..4000 {
        control.asked();
        let probability = sigmoid(rng.f64() * 9.0 - 3.0);
        let right = rng.f64() < 1.0 - ((1.0 - probability) * factor).min(1.0);
        let cut = control.cut(promise, shipped, 1.0);
        control.saw(probability);
        let label = f64::from(u8::from(!right));
        if logit(probability) < cut {
            control.heard();
            control.label(probability, label, None);
            continue;
        }
        hits += 1;
        wrong += u64::from(!right);
        let chance = control.chance_of_check(probability);
        let checked = rng.f64() < chance;
        control.served(probability, checked);
        if checked {
            control.heard();
            control.label(probability, label, Some(1.0 / chance));
        }
    }
    (wrong, hits, control.checks(), 4000)
}

#[test]
fn the_bound_is_kept_for_a_model_that_is_right_and_for_one_that_is_too_sure() {
    for factor in [0.7, 1.0, 1.5] {
        for promise in [0.01, 0.02, 0.05] {
            let runs: Vec<_> = (1..=40).map(|seed| simulate(seed, promise, factor)).collect();
            let bad = runs.iter().filter(|(wrong, hits, ..)| broken(*wrong, *hits, promise) < 0.05).count();
            let hits: u64 = runs.iter().map(|run| run.1).sum();
            assert!(bad <= 5, "{bad} of 40 at {promise}, factor {factor}");
            assert!(hits > 40 * 300, "{hits} hits at {promise}, factor {factor}");
            assert!(runs.iter().all(|(_, _, checks, asked)| *checks as f64 <= 0.05 * *asked as f64 + 3.0));
        }
    }
}

#[test]
fn a_learner_that_was_told_nothing_serves_what_the_shipped_cut_allows_and_no_more() {
    let (shipped, pool) = (Shipped::built_in(), Default::default());
    let learner = Learner::default();
    for promise in [0.0, 0.001, 0.01, 0.02, 0.05] {
        assert!(!learner.may_serve(shipped, &pool, promise, 0.5), "{promise}");
    }
    assert!(learner.cut(shipped, &pool, 0.01) >= learner.cut(shipped, &pool, 0.05));
}
