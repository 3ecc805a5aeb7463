//! Find → resolve → decide: from a text to the spans that must not leave, and what is to be done with each.
//! The last step, operate, is the vault's.

use crate::guard::Finding;
use crate::policy::Verdicts;
use crate::score::Band;
use std::collections::BTreeMap;

/// What is worth telling of findings that may overlap. Of one entity's the likeliest, then longest, stands for those
/// it touches. Of different entities', one gives way to another whose band is higher, or whose score is if both are
/// likely; but an address of the web and what stands in it are both told, and so are a telephone number and whose it is.
pub(crate) fn report(mut found: Vec<Finding>) -> Vec<Finding> {
    const KIN: &[&[&str]] =
        &[&["URL", "DOMAIN_NAME", "IP_ADDRESS"], &["PHONE_NUMBER", "PH_MOBILE_NUMBER", "TR_PHONE_NUMBER"]];
    found.retain(|finding| !finding.span.is_empty());
    found.sort_by(|a, b| {
        let length = |finding: &Finding| std::cmp::Reverse(finding.span.len());
        b.score.total_cmp(&a.score).then(length(a).cmp(&length(b))).then(a.span.start.cmp(&b.span.start))
    });
    // By start, to look only at what may overlap; no finding is longer than the longest so far.
    let mut kept: BTreeMap<(usize, &str), Finding> = BTreeMap::new();
    let mut longest = 0;
    for next in found {
        let near = (next.span.start.saturating_sub(longest), "")..(next.span.end, "");
        let gives_way = kept.range(near).any(|(_, better)| {
            let overlap = better.span.start < next.span.end && next.span.start < better.span.end;
            let beaten = Band::of(better.score) > Band::of(next.score) || next.score >= Band::Likely.least();
            let both = KIN.iter().any(|kin| kin.contains(&better.entity) && kin.contains(&next.entity));
            overlap && (better.entity == next.entity || (beaten && !both))
        });
        if !gives_way {
            longest = longest.max(next.span.len());
            kept.insert((next.span.start, next.entity), next);
        }
    }
    kept.into_values().collect()
}

/// Sorts by start and merges what overlaps into its union, so that no byte of any found value is left over.
/// The name of a union is that of its strongest member: what blocks before what is replaced, secrets before personal data,
/// what is likelier before what lies within it, what tells less of the value before what tells more, then the longer, the
/// likelier, the earlier.
pub(crate) fn resolve(mut found: Vec<Finding>, verdicts: Verdicts<'_>) -> Vec<Finding> {
    found.retain(|finding| !finding.span.is_empty());
    found.sort_by_key(|finding| (finding.span.start, finding.span.end));
    let mut resolved: Vec<(Finding, Finding)> = Vec::with_capacity(found.len());
    for next in found {
        match resolved.last_mut() {
            Some((union, strongest)) if next.span.start < union.span.end => {
                let end = union.span.end.max(next.span.end);
                if outranks(&next, strongest, verdicts) {
                    strongest.clone_from(&next);
                }
                *union = Finding { span: union.span.start..end, ..strongest.clone() };
            }
            _ => resolved.push((next.clone(), next)),
        }
    }
    resolved.into_iter().map(|(union, _)| union).collect()
}

fn outranks(a: &Finding, b: &Finding, verdicts: Verdicts<'_>) -> bool {
    // What lies within something likelier is a part of it, as a telephone number is of a card's.
    let within = |inner: &Finding, outer: &Finding| {
        let covered = outer.span.start <= inner.span.start && inner.span.end <= outer.span.end;
        let alike = verdicts.is_urgent(inner) == verdicts.is_urgent(outer);
        covered
            && alike
            && (outer.score > inner.score || outer.span != inner.span && outer.score >= inner.score)
    };
    if within(a, b) || within(b, a) {
        return within(b, a);
    }
    match verdicts.rank(a).cmp(&verdicts.rank(b)) {
        std::cmp::Ordering::Equal => a.score > b.score,
        order => order.is_gt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::guard::Class;
    use crate::policy::{Action, Plan, Policy};
    use proptest::prelude::*;
    use std::ops::Range;

    fn finding(entity: &'static str, class: Class, span: Range<usize>, score: f32) -> Finding {
        Finding { entity, rule: entity, class, span, score }
    }

    #[test]
    fn what_overlaps_becomes_its_union_named_by_the_strongest() {
        let policy = Plan::of_classes(&Policy::default());
        let found = vec![
            finding("PHONE_NUMBER", Class::Pii, 10..30, 0.99),
            finding("SECRET", Class::Secret, 5..12, 0.7),
            finding("IP_ADDRESS", Class::Pii, 28..40, 0.9),
            finding("US_SSN", Class::Pii, 40..51, 0.9),
        ];
        let resolved = resolve(found, policy.verdicts(Channel::User, "", None));
        let short: Vec<_> = resolved.iter().map(|f| (f.entity, f.span.clone())).collect();
        assert_eq!(short, [("SECRET", 5..40), ("US_SSN", 40..51)]);
    }

    #[test]
    fn what_blocks_outranks_what_is_redacted() {
        let policy = Plan::of_classes(&Policy { pii: Action::Block, ..Policy::default() });
        let found = vec![
            finding("SECRET", Class::Secret, 0..20, 1.0),
            finding("EMAIL_ADDRESS", Class::Pii, 15..18, 0.9),
        ];
        assert_eq!(resolve(found, policy.verdicts(Channel::User, "", None))[0].class, Class::Pii);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_byte_of_every_finding_is_in_exactly_one_resolved_span(
            spans in prop::collection::vec((0usize..200, 1usize..40, any::<bool>()), 0..30)
        ) {
            let found: Vec<_> = spans.iter().map(|&(start, len, secret)| {
                let class = if secret { Class::Secret } else { Class::Pii };
                finding("X", class, start..start + len, 0.9)
            }).collect();
            let plan = Plan::of_classes(&Policy::default());
            let resolved = resolve(found.clone(), plan.verdicts(Channel::User, "", None));
            for pair in resolved.windows(2) {
                prop_assert!(pair[0].span.end <= pair[1].span.start);
            }
            for at in 0..240 {
                let wanted = found.iter().any(|f| f.span.contains(&at));
                let covered = resolved.iter().filter(|f| f.span.contains(&at)).count();
                prop_assert_eq!(covered, usize::from(wanted));
            }
        }
    }
}
