//! The rows' own examples and look-alikes, and what all rules have in common.

use super::*;

/// Expands a recipe (see `rules`) with characters that look random and are the same every time.
fn expand(recipe: &str) -> String {
    const BASE64: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/";
    const WIDE: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut fill = |alphabet: &[u8], count: usize| -> String {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()] as char
        };
        (0..count).map(|_| next()).collect()
    };
    let mut out = String::new();
    let mut rest = recipe;
    while let Some((head, tail)) = rest.split_once('{') {
        let (slot, tail) = tail.split_once('}').unwrap();
        out.push_str(head);
        out.push_str(&match (slot, &slot[..1]) {
            ("github", _) => {
                let random = fill(&BASE64[..62], 30);
                let mut check = checksum::crc32(random.as_bytes()) as usize;
                let mut digits = [b'0'; 6];
                for digit in digits.iter_mut().rev() {
                    *digit = BASE64[check % 62];
                    check /= 62;
                }
                random + std::str::from_utf8(&digits).unwrap()
            }
            (_, "b") => fill(&BASE64[..62], slot[1..].parse().unwrap()),
            (_, "l") => fill(&BASE64[10..62], slot[1..].parse().unwrap()),
            (_, "s") => fill(BASE64, slot[1..].parse().unwrap()),
            (_, "w") => fill(WIDE, slot[1..].parse().unwrap()),
            (_, "u") => fill(BASE32, slot[1..].parse().unwrap()),
            (_, "d") => fill(b"0123456789", slot[1..].parse().unwrap()),
            (_, "h") => fill(b"0123456789abcdef", slot[1..].parse().unwrap()),
            _ => panic!("no such slot: {slot}"),
        });
        rest = tail;
    }
    out + rest
}

fn found(text: &str) -> Vec<Finding> {
    let mut out = Vec::new();
    Tokens::new(RULES).find(&Scan::new(text, ""), &mut out);
    out
}

#[test]
fn every_rule_finds_its_examples_and_passes_its_look_alikes() {
    for rule in RULES {
        for recipe in rule.examples {
            let text = expand(recipe);
            assert!(
                found(&text).iter().any(|finding| finding.rule == rule.id),
                "{} misses {recipe}",
                rule.id
            );
        }
        for recipe in rule.others {
            let text = expand(recipe);
            let rules: Vec<_> = found(&text).iter().map(|finding| finding.rule).collect();
            assert!(!rules.contains(&rule.id), "{} takes {recipe}", rule.id);
        }
    }
}

#[test]
fn names_of_rules_are_unique() {
    let mut names: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn only_the_secret_part_is_replaced() {
    let text = expand("aws_secret_access_key = {s40}");
    let finding = &found(&text)[0];
    assert_eq!(finding.span, 24..64);
}

#[test]
fn a_pair_of_aws_keys_gives_both_away() {
    let text = expand("AKIA{u16},\n{s40}\n");
    let mut rules: Vec<_> = found(&text).iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    assert_eq!(rules, ["aws-access-key-id", "aws-secret-access-key-pair"]);
}

#[test]
fn a_right_check_value_makes_a_github_token_near_certain() {
    let right = expand("ghp_{github}");
    let wrong = expand("ghp_{b36}");
    assert!(found(&right)[0].score > 0.98);
    assert!(found(&wrong)[0].score < 0.8);
}
