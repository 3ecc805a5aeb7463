//! What may stay where it is as long as the request stays in the house: findings that the policy routes, beside those that it
//! replaces.
//!
//! Replacing goes first, byte by byte: where a routed finding overlaps what is replaced or refused, that happens as if the
//! routed one were not there, and what is left of it stays. Only a part of something likelier by a band is no finding of its
//! own, as digits of a card's number that look like a telephone's.

use crate::guard::{Class, Finding};
use crate::pipeline;
use crate::policy::Verdicts;
use crate::score::Band;

/// What is replaced or refused, resolved; and what stays, since it is routed or only logged, one of an entity where several
/// overlap.
pub(crate) fn apart(
    mut acting: Vec<Finding>,
    staying: Vec<Finding>,
    verdicts: Verdicts<'_>,
) -> (Vec<Finding>, Vec<Finding>) {
    let (routed, logged) = part(staying, verdicts);
    let (mut routed, mut logged) = (pipeline::report(routed), pipeline::report(logged));
    let longest = routed.iter().map(|finding| finding.span.len()).max().unwrap_or(0);
    acting.retain(|finding| !is_part_of_a_likelier(finding, &routed, longest, verdicts));
    let acting = pipeline::resolve(acting, verdicts);
    routed.retain(|finding| !is_within(finding, &acting));
    logged.append(&mut routed);
    (acting, logged)
}

/// What is routed among what stays, and what is only logged or tried.
pub(crate) fn part(staying: Vec<Finding>, verdicts: Verdicts<'_>) -> (Vec<Finding>, Vec<Finding>) {
    staying.into_iter().partition(|finding| verdicts.of(finding).routes())
}

/// Whether all that is left of what blocks nothing and is no secret is a part of a routed finding of a higher band. `routed` is
/// sorted by start, and none of it is longer than `longest`.
fn is_part_of_a_likelier(
    finding: &Finding,
    routed: &[Finding],
    longest: usize,
    verdicts: Verdicts<'_>,
) -> bool {
    if finding.class == Class::Secret || verdicts.of(finding).blocks() {
        return false;
    }
    let first = routed.partition_point(|other| other.span.start.saturating_add(longest) < finding.span.end);
    routed[first..]
        .iter()
        .take_while(|other| other.span.start <= finding.span.start)
        .any(|other| finding.span.end <= other.span.end && Band::of(other.score) > Band::of(finding.score))
}

/// Whether a finding lies within one of these, which are sorted and do not overlap: nothing of it stays.
fn is_within(finding: &Finding, replaced: &[Finding]) -> bool {
    let before = replaced.partition_point(|other| other.span.start <= finding.span.start);
    before.checked_sub(1).is_some_and(|last| finding.span.end <= replaced[last].span.end)
}

#[cfg(test)]
mod tests {
    use crate::{Blocked, Channel, Guard, Operator, Rules, Vault};
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::LazyLock;

    fn guard(yaml: &str) -> Guard {
        let rules: Rules = serde_saphyr::from_str(yaml).unwrap();
        Guard::compile(&rules, &|_| Err("no secret".to_owned())).unwrap()
    }

    type Sent = (String, Vec<(&'static str, usize)>);

    /// What is sent, and what keeps it in the house.
    fn sent(guard: &Guard, text: &str) -> Result<Sent, Blocked> {
        let mut vault = Vault::new();
        let sent = vault.redact(guard, text)?.unwrap_or_else(|| text.to_owned());
        Ok((sent, vault.routed().iter().map(|(entity, times)| (*entity, *times)).collect()))
    }

    #[test]
    fn what_is_routed_stays_and_the_rest_is_replaced_as_ever() {
        let guard = guard("{entities: {CREDIT_CARD: {action: route}}}");
        let text = "ada@example.org pays by 4539 1488 0343 6467, or by 4111-1111-1111-1111";
        let (sent, routed) = sent(&guard, text).unwrap();
        assert_eq!(sent, "[EMAIL_ADDRESS_1] pays by 4539 1488 0343 6467, or by 4111-1111-1111-1111");
        assert_eq!(routed, [("CREDIT_CARD", 2)]);
        assert!(guard.inspect("card 4539 1488 0343 6467").is_empty());
    }

    #[test]
    fn a_class_may_be_routed_as_a_whole() {
        let guard = guard("{pii: route, entities: {EMAIL_ADDRESS: {action: redact}}}");
        let (sent, routed) = sent(&guard, "ada@example.org, card 4539 1488 0343 6467").unwrap();
        assert_eq!(
            (sent.as_str(), routed),
            ("[EMAIL_ADDRESS], card 4539 1488 0343 6467", vec![("CREDIT_CARD", 1)])
        );
    }

    #[test]
    fn what_is_replaced_is_replaced_within_what_is_routed_too() {
        let guard = guard("{entities: {URL: {action: route}, EMAIL_ADDRESS: {action: tokenise}}}");
        let (sent, routed) = sent(&guard, "see https://example.net/?to=ada@example.org&x=1").unwrap();
        assert!(
            !sent.contains("ada@") && sent.contains("https://example.net/?to=[EMAIL_ADDRESS_1]"),
            "{sent}"
        );
        assert_eq!(routed, [("URL", 1)], "what is left of it stays in the house");
    }

    #[test]
    fn what_lies_within_something_replaced_keeps_nothing_in_the_house() {
        let guard = guard("{entities: {DOMAIN_NAME: {action: route}}}");
        assert_eq!(
            sent(&guard, "write to ada@example.org").unwrap(),
            ("write to [EMAIL_ADDRESS_1]".to_owned(), vec![])
        );
        assert_eq!(sent(&guard, "look at www.example.org").unwrap().1, [("DOMAIN_NAME", 1)]);
    }

    #[test]
    fn a_block_outranks_a_route() {
        let guard = guard("{entities: {URL: {action: route}, EMAIL_ADDRESS: {action: block}}}");
        let refused = sent(&guard, "see https://example.net/?to=ada@example.org").unwrap_err();
        assert_eq!(refused.entity, "EMAIL_ADDRESS");
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands() {
        let guard = guard("{entities: {URL: {action: route}}}");
        let key = ["AKIA", "Q3EGZ5ZL", "4XYJ2VWT"].concat();
        let (sent, _) = sent(&guard, &format!("get https://example.net/?key={key}")).unwrap();
        assert!(!sent.contains(&key), "{sent}");
    }

    #[test]
    fn every_place_of_a_routed_value_is_told() {
        let guard = guard("{entities: {US_SSN: {action: route}}}");
        let mut value = json!({ "ssn": "536228143", "note": "about 536-22-8143 and ada@example.org" });
        let mut vault = Vault::new();
        vault.keep_decisions();
        vault.redact_json(&guard, &mut value, &|_, _| false).unwrap();
        assert_eq!(value, json!({ "ssn": "536228143", "note": "about 536-22-8143 and [EMAIL_ADDRESS_1]" }));
        assert_eq!(vault.routed().get("US_SSN"), Some(&2));
        let decisions = vault.decisions();
        let routed: Vec<_> = decisions.iter().filter(|d| d.action == Operator::Route).collect();
        assert_eq!(routed.len(), 2);
        assert_eq!(routed[1].bytes, 6..17);
    }

    #[test]
    fn a_value_that_is_replaced_in_one_place_is_replaced_where_it_would_only_be_routed() {
        let guard = guard("{entities: {US_SSN: {action: route}, ABA_ROUTING_NUMBER: {action: tokenise}}}");
        let mut value = json!({ "ssn": "011401533", "note": "our bank's routing number is 011401533" });
        let mut vault = Vault::new();
        vault.redact_json(&guard, &mut value, &|_, _| false).unwrap();
        assert!(!value.to_string().contains("011401533"), "{value}");
        assert!(vault.proof().unwrap().check(value.to_string().as_bytes()).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_text_with_something_routed_in_it_is_never_taken_for_one_without(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12)
        ) {
            let guard = &*ROUTING;
            let text = pieces.concat();
            let mut vault = Vault::new();
            let sent = vault.redact(guard, &text).unwrap().unwrap_or(text);
            prop_assert_eq!(guard.confines(Channel::User, &sent), !vault.routed().is_empty(), "{}", sent);
            prop_assert!(!sent.contains("ada@") && !sent.contains("4539"), "{}", sent);
        }
    }

    const PIECES: &[&str] = &[
        "ssn ",
        "tel. ",
        "my number is ",
        "536-22-8143",
        "536228143",
        "+1 212 555 0142",
        "212 555 0142",
        " ada@example.org ",
        ", card 4539 1488 0343 6467; ",
        "https://example.net/?q=",
        ", ",
        "\n",
        " and a long way of other words until the next of them ",
    ];

    static ROUTING: LazyLock<Guard> = LazyLock::new(|| {
        guard("{entities: {US_SSN: {action: route}, PHONE_NUMBER: {action: route}, URL: {action: route}}}")
    });
}
