//! The rows' own examples and look-alikes, and what all rules have in common.

mod files;
mod recipe;

use super::*;
use crate::pii::checksum;
use crate::{Action, Guard, Masker, OutputRules, Rules};
use recipe::{expand, expand_marked};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// What `work` counted in this thread.
    pub(super) static WORK: Cell<usize> = const { Cell::new(0) };
}

fn found(text: &str) -> Vec<Finding> {
    found_labelled(text, "")
}

fn found_labelled(text: &str, label: &str) -> Vec<Finding> {
    let mut out = Vec::new();
    Tokens.find(&Scan::new(text, label), &mut out);
    out
}

#[test]
fn every_rule_finds_its_examples_and_passes_its_look_alikes() {
    let mut wrong = Vec::new();
    for rule in RULES.iter() {
        for recipe in rule.examples {
            let (text, marked) = expand_marked(recipe);
            let mine: Vec<_> = found(&text).into_iter().filter(|finding| finding.rule == rule.id).collect();
            let right = mine.iter().any(|finding| marked.as_ref().is_none_or(|span| finding.span == *span));
            if !right {
                let shown: Vec<_> = mine.iter().map(|finding| &text[finding.span.clone()]).collect();
                wrong.push(format!("{} misses {recipe}: {text}: {shown:?}", rule.id));
            }
        }
        for recipe in rule.others {
            let text = expand(recipe);
            if found(&text).iter().any(|finding| finding.rule == rule.id) {
                wrong.push(format!("{} takes {recipe}: {text}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_are_masked_in_answers_that_come_letter_by_letter() {
    let output = OutputRules { secrets: Action::Redact, ..OutputRules::default() };
    let guard = Guard::compile(&Rules { output, ..Rules::default() }, &|_| Ok(Vec::new())).unwrap();
    let guard = guard.answers().unwrap();
    let mut left = Vec::new();
    for (rule, recipe) in RULES.iter().flat_map(|rule| rule.examples.iter().map(move |recipe| (rule, recipe)))
    {
        let (text, _) = expand_marked(recipe);
        let mut masker = Masker::new(Arc::clone(guard), crate::Form::Text);
        let mut out: String = text.split("").map(|letter| masker.push(letter).unwrap()).collect();
        out += &masker.finish().unwrap();
        if guard.inspect(&text).iter().any(|finding| out.contains(&text[finding.span.clone()])) {
            left.push(rule.id);
        }
    }
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_rule_has_examples_look_alikes_and_a_name_of_its_own() {
    let mut names: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    names.sort_unstable();
    assert!(names.len() >= 150, "{}", names.len());
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    for rule in RULES.iter() {
        assert!(!rule.examples.is_empty(), "{}", rule.id);
        assert!(rule.literals.iter().all(|literal| literal.len() >= 3), "{}", rule.id);
        assert!(!rule.others.is_empty() || rule.form != Form::Token(0), "{}", rule.id);
        let marked = rule.examples.iter().all(|recipe| recipe.contains('«'));
        assert!(marked || !rule.pattern.contains("?P<secret>"), "{}", rule.id);
    }
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
fn a_right_check_value_makes_a_token_near_certain() {
    for (right, wrong) in
        [("ghp_{github}", "ghp_{b36}"), ("npm_{github}", "npm_{b36}"), ("{grafana}", "glsa_{b32}_{h8}")]
    {
        assert!(found(&expand(right))[0].score > 0.98);
        assert!(found(&expand(wrong))[0].score < 0.8);
    }
}

#[test]
fn what_has_a_form_is_certain_and_what_has_only_a_name_is_likely() {
    for rule in RULES.iter() {
        let (text, _) = expand_marked(rule.examples[0]);
        let score = found(&text).into_iter().find(|finding| finding.rule == rule.id).unwrap().score;
        let certain = rule.form != Form::Named
            && matches!(rule.check, check::Check::Entropy(_) | check::Check::Structure);
        assert_eq!(
            score >= 0.9,
            certain || matches!(rule.check, check::Check::Custom(_)) && score >= 0.9,
            "{}",
            rule.id
        );
        assert!(score >= 0.6, "{}", rule.id);
    }
}

#[test]
fn a_placeholder_is_no_secret() {
    for text in [
        "password: [SECRET_1]",
        "postgres://app:[SECRET_1]@db/x",
        "Authorization: Bearer [SECRET_12]",
        "key=[SECRET_3]",
    ] {
        assert!(found(text).is_empty(), "{text}");
    }
}

#[test]
fn a_value_with_a_telling_label_is_a_secret() {
    let token = expand("{b32}");
    for (label, text) in
        [("api_key", token.as_str()), ("password", "Kr4tz!baum"), ("DD_API_KEY", &expand("{h32}"))]
    {
        let found = found_labelled(text, label);
        assert_eq!(found.first().map(|finding| finding.span.clone()), Some(0..text.len()), "{label}");
        assert!(found_labelled(text, "comment").is_empty());
        assert!(found_labelled(text, "password_hash").is_empty());
    }
    assert!(found_labelled("the password is in the safe", "password").is_empty());
}

#[test]
fn an_escape_before_a_token_does_not_hide_it() {
    for recipe in ["a\\nAKIA{u16}", "?key%3DAKIA{u16}", "«AKIA{u16}»"] {
        assert!(found(&expand(recipe)).iter().any(|finding| finding.rule == "aws-access-key-id"), "{recipe}");
    }
}

#[test]
fn a_token_longer_than_the_window_is_found_whole() {
    let text = expand("AWS_SESSION_TOKEN=IQoJb3JpZ2lu{s5000} done");
    assert!(found(&text).iter().any(|finding| finding.span == (18..text.len() - 5)));
    let text = expand("use {jwt} now").replace('.', &expand(".{b3000}"));
    assert!(found(&text).iter().any(|finding| finding.span == (4..text.len() - 4)));
}

#[test]
fn texts_of_any_characters_are_read_without_harm() {
    for literal in RULES.iter().flat_map(|rule| rule.literals) {
        for text in [
            format!("ä{literal}ö"),
            format!("{literal}=\"€€€€€€€€€€€€€€€€"),
            format!("€{literal}: 密码密码密码密码密码\u{1F600}"),
        ] {
            for finding in found(&text) {
                assert!(text.get(finding.span).is_some());
            }
        }
    }
}

#[test]
fn a_text_four_times_as_long_is_at_most_about_four_times_the_work() {
    let work = |unit: &str, bytes: usize| {
        WORK.set(0);
        found(&unit.repeat(bytes / unit.len()));
        WORK.get()
    };
    let mut literals: Vec<_> = RULES.iter().flat_map(|rule| rule.literals).collect();
    literals.sort_unstable();
    literals.dedup();
    for literal in literals {
        for joiner in ["", "-", "=\""] {
            let unit = format!("{literal}{joiner}");
            let (short, long) = (work(&unit, 8 * 1024), work(&unit, 32 * 1024));
            // The windows at a text's end are cut, which a short text has more of.
            assert!(long <= 6 * short + 8 * 1024, "{unit:?}: {short}, {long}");
        }
    }
}
