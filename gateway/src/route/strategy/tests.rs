//! Which order comes of strategies, of how targets stand, and of what is known of a request.

use std::time::Duration;

use super::super::cooldown::Why;
use super::super::health::Attempt;
use super::super::health::tests::{answered, failed};
use super::super::test_target;
use super::*;

/// A target of a provider of its own, with this model.
fn target(model: &str) -> Target {
    Target { model: model.to_owned(), ..test_target() }
}

fn state(target: &Target) -> Arc<TargetState> {
    target.provider.states.of(&target.model)
}

fn nodes(targets: &[Target]) -> Vec<Node> {
    targets.iter().cloned().map(Node::Target).collect()
}

fn models(node: &Node, facts: &Facts, now: Instant, explain: bool) -> Vec<String> {
    let asked = Asked { model: "chat", facts, now, explain };
    node.order(&asked).into_iter().map(|step| step.target.model).collect()
}

/// The order in which streams are sent, with nothing left to chance.
fn order(node: &Node, now: Instant) -> Vec<String> {
    models(node, &Facts { stream: true, ..Facts::default() }, now, true)
}

/// Which of them are first in many draws.
fn firsts(node: &Node, now: Instant) -> std::collections::BTreeSet<String> {
    let facts = Facts { stream: true, ..Facts::default() };
    (0..400).map(|_| models(node, &facts, now, false).swap_remove(0)).collect()
}

#[test]
fn the_fastest_is_the_one_that_began_soonest_and_failures_never_make_one_fast() {
    let (targets, now) = (["slow", "quick", "broken"].map(target), Instant::now());
    let node = Node::Fastest(nodes(&targets));
    answered(&state(&targets[0]), now, 800);
    answered(&state(&targets[1]), now, 100);
    answered(&state(&targets[2]), now, 90);
    for _ in 0..3 {
        failed(&state(&targets[2]), now, 1);
    }
    let later = now + Duration::from_secs(1);
    assert_eq!(order(&node, later), ["quick", "broken", "slow"]);
    assert!(!firsts(&node, later).contains("slow"), "the better of two is never the worst of all");
}

#[test]
fn one_that_was_not_measured_yet_counts_as_the_middle_one() {
    let (targets, now) = (["slow", "new", "quick"].map(target), Instant::now());
    answered(&state(&targets[0]), now, 800);
    answered(&state(&targets[2]), now, 100);
    let busy = |target: &Target| Attempt::begin(&state(target), true, false, now).unwrap();
    let node = Node::Fastest(nodes(&targets));
    let later = now + Duration::from_secs(1);
    assert_eq!(order(&node, later)[0], "quick");
    let _waiting: Vec<_> = (0..20).map(|_| busy(&targets[2])).collect();
    assert_ne!(order(&node, later)[0], "quick", "twenty are waiting for it");
}

#[test]
fn who_is_left_alone_goes_last_and_who_may_be_tried_again_goes_first() {
    let now = Instant::now();
    let strategies: [fn(Vec<Node>) -> Node; 2] =
        [Node::Fastest, |nodes| Node::Weighted(nodes.into_iter().map(|node| (1, node)).collect())];
    for strategy in strategies {
        let targets = ["dead", "limited", "well", "good"].map(target);
        (0..5).for_each(|_| failed(&state(&targets[0]), now, 0));
        let hour = Duration::from_secs(3600);
        state(&targets[1]).cooldowns.change(0, |cooldown| cooldown.asked(hour, Why::RateLimited, now));
        let node = strategy(nodes(&targets));
        for explain in [false, true] {
            let facts = Facts::default();
            let early = models(&node, &facts, now, explain);
            assert_eq!(early.len(), 4);
            assert!(early[2..].contains(&"dead".to_owned()) && early[2..].contains(&"limited".to_owned()));
            let later = models(&node, &facts, now + Duration::from_secs(2), explain);
            assert_eq!((later[0].as_str(), later[3].as_str()), ("dead", "limited"));
        }
    }
}

#[test]
fn a_chain_is_as_good_as_the_first_of_it_that_can_be_asked() {
    let (targets, now) = (["dead", "spare", "other"].map(target), Instant::now());
    (0..5).for_each(|_| failed(&state(&targets[0]), now, 0));
    answered(&state(&targets[1]), now, 50);
    answered(&state(&targets[2]), now, 500);
    let chain = Node::Ordered(nodes(&targets[..2]));
    let node = Node::Fastest(vec![chain, Node::Target(targets[2].clone())]);
    assert_eq!(order(&node, now), ["dead", "spare", "other"]);
}

#[test]
fn by_weight_everybody_comes_first_at_some_time_but_those_without() {
    let (targets, now) = (["often", "seldom", "never"].map(target), Instant::now());
    let weights = [30, 10, 0];
    let node = Node::Weighted(weights.into_iter().zip(nodes(&targets)).collect());
    assert_eq!(order(&node, now), ["often", "seldom", "never"]);
    assert!(!firsts(&node, now).contains("never") && firsts(&node, now).contains("often"));
}

#[test]
fn numbers_fall_where_the_weights_stand() {
    let at = |chance| draw(&[1.0, 0.0, 3.0], chance);
    assert_eq!([0.0, 0.24, 0.26, 0.999].map(at), [0, 0, 2, 2]);
    assert_eq!(draw(&[0.0, 0.0], 0.5), 0);
}

fn branches() -> Node {
    let yaml = "{fastest: [{conditional: [{when: {tenant: acme}, use: [gold, silver]}, {when: {stream: true}, use: [live]}, {else: [rest]}]}]}";
    let read: TargetNode = serde_saphyr::from_str(yaml).unwrap();
    let known = |name: &str| Ok(target(name));
    Building { target: &known }.ordered(&[read], "targets", 0).unwrap()
}

#[test]
fn only_the_first_branch_whose_conditions_hold_is_asked_and_branches_have_names() {
    let (node, now) = (branches(), Instant::now());
    let acme = Facts { tenant: "acme".to_owned(), stream: true, ..Facts::default() };
    let live = Facts { stream: true, ..Facts::default() };
    let cases = [
        (&acme, vec!["gold", "silver"], "0."),
        (&live, vec!["live"], "1."),
        (&Facts::default(), vec!["rest"], "else."),
    ];
    for (facts, expected, name) in cases {
        assert_eq!(models(&node, facts, now, false), expected);
        let mut branch = String::new();
        node.branch("chat", facts, &mut branch);
        assert_eq!(branch, name);
    }
    assert!(node.is_conditional());
}

#[test]
fn strategies_do_not_stand_in_each_other_without_end() {
    let mut node = TargetNode::Target("a".to_owned());
    for _ in 0..40 {
        node = TargetNode::Strategy(Strategy::Ordered(vec![node]));
    }
    let known = |name: &str| Ok(target(name));
    let told = Building { target: &known }.ordered(&[node], "targets", 0).err().unwrap();
    assert!(told.contains("more than 16 deep"), "{told}");
}
