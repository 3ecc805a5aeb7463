//! What goes wrong with semantic caches elsewhere: neighbours of other partitions, and wrong ones that hide the right ones.

use proptest::prelude::*;

use super::*;
use crate::decide::Tightening;
use crate::partition::KeyHasher;

fn partition(name: &str) -> PartitionKey {
    let mut hasher = KeyHasher::new(&[7; 32]);
    hasher.field("tenant", name.as_bytes());
    hasher.partition()
}

/// A direction in the plane.
fn at(degrees: f32) -> Vec<f32> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    vec![cos, sin]
}

/// A prompt, by its number.
fn prompt(number: usize) -> String {
    format!("question {number} about something")
}

fn decide(cache: &SemanticCache, key: &PartitionKey, number: usize, vector: &[f32]) -> Decision {
    let profile = Profile::of(&prompt(number));
    let question = Question {
        partition: key,
        vector,
        profile: &profile,
        tightening: Tightening::default(),
        policy: None,
        shadow: None,
    };
    cache.look_up(&question, &|_| true)
}

fn remember(
    cache: &SemanticCache,
    (key, number): (&PartitionKey, usize),
    vector: &[f32],
    fresh: &str,
    ticket: Option<&Ticket>,
) {
    let text = prompt(number);
    let insert = Insert {
        partition: *key,
        exact: key.exact(&[text.as_bytes()]),
        normalised: None,
        vector: Some(vector.to_vec()),
        payload: Bytes::copy_from_slice(fresh.as_bytes()),
        ttl: None,
        owner: 0,
        note: Bytes::new(),
        tags: Vec::new(),
    };
    cache.remember(insert, Profile::of(&text), ticket, &mut |answer| Some(answer.payload == fresh));
}

/// What would be served: the answer, and the candidate that a miss had.
fn considered(decision: &Decision) -> Option<String> {
    let entry = match decision {
        Decision::Serve { hit, .. } => &hit.entry,
        Decision::Miss { candidate, .. } => candidate.as_ref()?.candidate(),
    };
    Some(String::from_utf8(entry.payload().to_vec()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_policy_sees_an_answer_of_another_partition_as_hit_candidate_or_rival(
        steps in proptest::collection::vec((0usize..3, 0u16..60, 0u8..4), 1..120), policy in 0usize..3,
    ) {
        let policy = [
            Policy::Fixed { similarity: -1.0 },
            Policy::Calibrated { max_false_hit_rate: 1.0, strict: false },
            Policy::Verified { max_error_rate: 1.0 },
        ][policy];
        let cache = SemanticCache::new(CacheConfig::default()).deciding(Deciding { policy, ..Deciding::default() });
        let partitions = ["a", "b", "c"].map(partition);
        let mut asked = [0; 3];
        for (number, (owner, degrees, answer)) in steps.into_iter().enumerate() {
            let (key, vector) = (partitions[owner], at(f32::from(degrees)));
            let own = format!("{owner} ");
            let decision = decide(&cache, &key, number, &vector);
            let told = considered(&decision);
            prop_assert!(told.as_ref().is_none_or(|told| told.starts_with(&own)), "{told:?} to {owner}");
            // What was said wrong too often is taken out, so later there may be nothing; the second time there is something.
            prop_assert!(asked[owner] > 1 || told.is_some() == (asked[owner] == 1));
            let ticket = match decision {
                Decision::Serve { spot_check, .. } => spot_check,
                Decision::Miss { candidate, .. } => candidate,
            };
            for known in ticket.iter().flat_map(Ticket::answers) {
                prop_assert!(known.payload.starts_with(own.as_bytes()));
            }
            remember(&cache, (&key, number), &vector, &format!("{owner} {answer}"), ticket.as_ref());
            asked[owner] += 1;
        }
    }
}

#[test]
fn a_wrong_prompt_that_lies_nearest_does_not_hide_an_answer_that_many_near_prompts_have() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    for number in 0..12 {
        // Far enough apart that each is remembered.
        let vector = at(11.0 * number as f32);
        let ticket = match decide(&cache, &key, number, &vector) {
            Decision::Serve { spot_check, .. } => spot_check,
            Decision::Miss { candidate, .. } => candidate,
        };
        remember(&cache, (&key, number), &vector, "right", ticket.as_ref());
    }
    remember(&cache, (&key, 100), &at(61.5), "wrong", None);
    let asked = at(61.0);
    let nearest = cache.semantic(&key, &asked, 0.0, &|_| true).unwrap();
    assert_eq!(nearest.entry.payload(), "wrong");
    assert_eq!(considered(&decide(&cache, &key, 200, &asked)).unwrap(), "right");
}

#[test]
fn a_prompt_whose_candidate_was_wrong_gets_an_entry_of_its_own() {
    let (cache, key) = (SemanticCache::new(CacheConfig::default()), partition("a"));
    remember(&cache, (&key, 0), &at(0.0), "old", None);
    let vector = at(1.0);
    let Decision::Miss { candidate: Some(ticket), .. } = decide(&cache, &key, 1, &vector) else {
        panic!("a lone prompt is a candidate and no more")
    };
    remember(&cache, (&key, 1), &vector, "new", Some(&ticket));
    let found = cache.exact(&key.exact(&[prompt(1).as_bytes()]), &|_| true).unwrap();
    assert_eq!(found.entry.payload(), "new");
    let nearest = cache.semantic(&key, &vector, 0.0, &|_| true).unwrap();
    assert_eq!(nearest.entry.payload(), "new", "it is found by the next one");
}
