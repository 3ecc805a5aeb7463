//! What the report promises, tried on a small stream of ours and on logs made up here.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Parser;
use sluice_engine::decide::prior::Shipped;
use sluice_engine::replay::{Line, Options, Stream, order};
use sluice_models::{Embedder, HashedEmbedder};

use super::findings::{Findings, PROMISES, Pair, Tally};
use super::{TuneArgs, log, page, shadow, sweep};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    tune: TuneArgs,
}

/// Questions of the fixtures with vectors of their words; a few of them asked again, one whose answer can't be shared.
fn small() -> (Vec<Line>, Vec<Vec<f32>>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cache/support_shop.jsonl");
    let log::Input::Stream(mut lines) = log::read(&path).unwrap() else { panic!("a stream was expected") };
    lines.truncate(120);
    let again: Vec<Line> = lines.iter().step_by(7).cloned().collect();
    lines.extend(again.into_iter().enumerate().map(|(at, line)| Line { id: format!("again-{at}"), ..line }));
    lines[3].shareable = false;
    lines[5].prompt = "<script>alert('cancel')</script> cancel my order & \"more\"".to_owned();
    let embedder = HashedEmbedder::new(64);
    let vectors = lines.iter().map(|line| embedder.embed(&line.prompt).unwrap().vector).collect();
    (lines, vectors)
}

fn swept(lines: &[Line], vectors: &[Vec<f32>]) -> Findings {
    sweep::sweep(&sweep::Setting {
        file: "<shop> & more.jsonl".to_owned(),
        model: "words".to_owned(),
        lines,
        vectors,
        shipped: Shipped::built_in(),
        seed: 0,
        seeds: 2,
        price: 20.0,
    })
    .unwrap()
}

fn shadow_log(lines: usize) -> String {
    let mut text = String::new();
    for at in 0..lines {
        let confidence = if at % 50 == 0 { 0.5 } else { 0.998 };
        let object = serde_json::json!({
            "id": format!("r{at}"), "request": 3 * at + 1, "ts": 1_760_000_000 + at, "similarity": 0.93, "confidence": confidence,
            "right": at % 50 != 0, "prompt": "<script>steal()</script> raise my limit", "matched_prompt": "lower my limit",
        });
        let _ = writeln!(text, "{object}");
    }
    text
}

/// Checks that every tag is closed by its own and nothing is left over; returns the names of all elements.
fn elements(page: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let mut seen = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(open.last().is_none_or(|o| o != "pre") || !text.contains('>'), "{text}");
        let raw = open.last().is_some_and(|name| name == "style" || name == "script");
        let end = at + rest[at..].find('>').expect("a tag that ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "before {}", &rest[..rest.len().min(80)]);
            continue;
        }
        assert!(!raw, "markup within style or script: {tag}");
        let name: String = tag.chars().take_while(|c| !c.is_whitespace() && *c != '/').collect();
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        seen.push(name.clone());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    seen
}

#[test]
fn the_page_is_well_formed_and_holds_every_section_and_no_markup_of_a_prompt() {
    let (lines, vectors) = small();
    let mut findings = swept(&lines, &vectors);
    findings.risky.push(Pair {
        asked: Some(lines[5].prompt.clone()),
        remembered: Some("</td></table><img src=x onerror=alert(1)>".to_owned()),
        similarity: 0.9,
        confidence: None,
        right: None,
    });
    let page = page::render(&findings, "Sat, 21 Nov 2026 12:00:00 GMT");
    let elements = elements(&page);
    let count = |name: &str| elements.iter().filter(|element| *element == name).count();
    assert_eq!((count("script"), count("figure"), count("h1"), count("img")), (1, 5, 1, 0));
    assert!(page.contains("&lt;script&gt;alert(&#39;cancel&#39;)&lt;/script&gt;"));
    assert!(page.contains("&lt;shop&gt; &amp; more.jsonl") && page.contains("21 Nov 2026"));
    for heading in [
        "What to do",
        "The choices",
        "How many hits, how many of them right",
        "What a wrong answer may cost",
        "Wrong hits over time",
        "Right hits over time",
        "Can its confidence be trusted?",
        "the riskiest hits",
        "How this was measured",
    ] {
        assert!(page.contains(heading), "{heading}");
    }
    for unwanted in ["NaN", "inf%", "http://", "https://", "url(http", "@import"] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
}

#[test]
fn the_figures_are_those_of_a_replay() {
    let (lines, vectors) = small();
    let findings = swept(&lines, &vectors);
    let stream = Stream::new(&lines, &vectors, &[]);
    let replayed = |policy: &str| {
        let counts = [0, 1].map(|seed| {
            let options = Options { policy: policy.parse().unwrap(), seed, ..Options::default() };
            stream.replay(&order(lines.len(), seed), &options, Shipped::built_in(), &mut |_| {}).total
        });
        assert!(counts[0].right > 0, "{policy} serves equal requests at least");
        Tally::mean(&counts)
    };
    let page = page::render(&findings, "");
    let at = |similarity: f64| {
        findings.fixed.iter().find(|point| (point.setting - similarity).abs() < 1e-9).unwrap()
    };
    for similarity in [0.75, 0.9] {
        let tally = at(similarity).tally;
        assert_eq!(tally, replayed(&format!("fixed:{similarity}")));
        assert!(page.contains(&format!(
            "cosine from {similarity:.2}: {} of requests answered from the cache, {} of requests rightly; {} of hits wrong",
            super::text::percent(tally.hit_rate()),
            super::text::percent(tally.right_rate()),
            super::text::percent(tally.false_hit_rate()),
        )));
    }
    for (policy, promise) in findings.promised.iter().zip(PROMISES) {
        assert_eq!(policy.tally, replayed(&format!("calibrated:{promise}")));
        assert!(page.contains(&format!("{:.1}</td>", 100.0 * policy.tally.cost(20.0))));
    }
    assert!(at(0.7).tally.hits() > at(0.99).tally.hits() && at(0.7).tally.uncounted > 0.0);
    assert_eq!(at(0.9).tenths.len(), 10);
    assert!((at(0.9).tenths.iter().map(|tenth| tenth.right).sum::<f64>() - at(0.9).tally.right).abs() < 1e-9);
}

#[test]
fn a_shadow_log_becomes_a_page_too_with_its_prompts_or_without() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, shadow_log(2000).as_bytes()).unwrap();
    let log::Input::Shadow(mut lines) = log::read(file.path()).unwrap() else {
        panic!("a shadow log was expected")
    };
    let findings = shadow::sweep("shadow.jsonl", &lines, 50.0);
    // 1960 sure candidates, all right, of 5998 requests.
    let choice = findings.choice().unwrap();
    assert_eq!((choice.promise, choice.tally.right, choice.tally.requests), (0.005, 1960.0, 5998.0));
    assert!(page::yaml(&findings).contains("max_false_hit_rate: 0.005 "));
    let page = page::render(&findings, "");
    elements(&page);
    assert!(
        page.contains("&lt;script&gt;steal()&lt;/script&gt;") && page.contains("<mark>lower</mark> my limit")
    );
    assert!(page.contains("Thu, 09 Oct 2025"), "dates of the log");
    for line in &mut lines {
        (line.prompt, line.matched_prompt) = (None, None);
    }
    let page = page::render(&shadow::sweep("shadow.jsonl", &lines, 50.0), "");
    elements(&page);
    assert!(page.contains("not in the log"));
}

#[test]
fn a_log_of_one_line_is_a_page_that_recommends_to_watch() {
    for text in [
        "{\"id\":\"1\",\"similarity\":0.9,\"confidence\":0.99}",
        "{\"id\":\"1\",\"similarity\":0.1,\"confidence\":0,\"right\":false}",
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let out = file.path().with_extension("html");
        let command = Command::try_parse_from([
            "tune",
            "--log",
            file.path().to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ]);
        let said = super::run(&command.unwrap().tune).unwrap();
        assert!(said.contains("shadow: always"), "{said}");
        let page = std::fs::read_to_string(&out).unwrap();
        elements(&page);
        assert!(page.contains("watch only") && !page.contains("NaN"));
        std::fs::remove_file(out).unwrap();
    }
}

#[test]
fn settings_to_paste_are_yaml_that_names_policy_and_promise() {
    #[derive(serde::Deserialize)]
    struct Config {
        cache: std::collections::BTreeMap<String, serde_json::Value>,
    }
    let findings = shadow::sweep("shadow.jsonl", &[], 50.0);
    let config: Config = serde_saphyr::from_str(&page::yaml(&findings)).unwrap();
    assert_eq!(config.cache["policy"], "calibrated");
    assert_eq!(config.cache["max_false_hit_rate"], 0.01);
    assert_eq!(config.cache["shadow"], "always");
}

#[test]
fn what_it_may_be_told_is_checked() {
    let parse =
        |words: &[&str]| Command::try_parse_from(["tune", "--log", "a", "--out", "b"].iter().chain(words));
    for (words, said) in [
        (&["--price-of-wrong", "-1"], "0 or more"),
        (&["--price-of-wrong", "NaN"], "0 or more"),
        (&["--seeds", "0"], "1..=100"),
    ] {
        let error = parse(words).err().unwrap().to_string();
        assert!(error.contains(words[0]) && error.contains(said), "{error}");
    }
    let missing = parse(&[]).ok().unwrap();
    assert!(super::run(&missing.tune).unwrap_err().starts_with("a: "));
}
