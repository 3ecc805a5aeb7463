//! `sluice scan` reads files and standard input, and says what is wrong with them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::sluice;

/// What a run left behind.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// Its output, of a run that went well.
    fn lines(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The problem, of a run that failed.
    fn problem(&self) -> &str {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        self.err.strip_prefix("error: ").unwrap()
    }
}

fn scan(words: &[&str], input: &str) -> Ran {
    let all: Vec<&str> = ["scan"].into_iter().chain(words.iter().copied()).collect();
    let mut child =
        sluice(&all).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    // On a thread of its own: both sides write. One that reads nothing may be gone by now.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn standard_input_is_shown_with_what_is_in_it_and_counted_beside() {
    for words in [&[][..], &["-"]] {
        let ran = scan(words, "Hello,\nI am zoe.quill@example.org.\nCard 4539 1488 0343 6467\n");
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            ran.out,
            "2: I am {zoe.quill@example.org}[EMAIL_ADDRESS certain].\n3: Card {4539 1488 0343 6467}[CREDIT_CARD certain]\n"
        );
        assert!(
            ran.err.starts_with("2 findings in 1 of 1 text: 1 CREDIT_CARD, 1 EMAIL_ADDRESS\n"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn files_are_read_in_order_and_named_and_packs_and_bands_choose() {
    let folder = tempfile::tempdir().unwrap();
    let one = file(&folder, "one.txt", "from zoe.quill@example.org\n");
    let two = file(&folder, "two.txt", "nothing\n\non 2024-11-05\n");
    let ran = scan(&["--packs", "core,us", path(&two), path(&one), "-"], "ssn 536-22-8143");
    let (one, two) = (one.display(), two.display());
    assert_eq!(
        ran.out,
        format!(
            "{two}:3: on {{2024-11-05}}[DATE_TIME certain]\n{one}:1: from {{zoe.quill@example.org}}[EMAIL_ADDRESS certain]\n\
             standard input:1: ssn {{536-22-8143}}[US_SSN certain]\n"
        )
    );
    assert!(ran.err.starts_with("3 findings in 3 of 3 texts"), "{}", ran.err);
    let number = "my account number 536228143 is open";
    assert!(scan(&["--min", "certain"], number).out.is_empty());
    assert!(!scan(&["--packs", "all", "--min", "possible"], number).out.is_empty());
}

#[test]
fn json_lines_are_answered_in_order_with_places_in_code_points() {
    let folder = tempfile::tempdir().unwrap();
    let mut input = String::new();
    for n in 0..400 {
        let text =
            if n % 3 == 0 { format!("é{} z{n}@example.org", "ü".repeat(n)) } else { "none".to_owned() };
        input += &format!("{}\n", json!({ "id": n, "text": text }));
    }
    let first = file(&folder, "first.jsonl", "{\"text\": \"4539 1488 0343 6467\"}\n{\"text\": \"\"}");
    let ran = scan(&["--jsonl", path(&first), "-"], &input);
    assert!(ran.err.is_empty(), "{}", ran.err);
    let lines = ran.lines();
    assert_eq!(lines.len(), 402);
    let score = &lines[0]["findings"][0]["score"];
    assert!((0.9..=1.0).contains(&score.as_f64().unwrap()));
    let card = json!({ "entity": "CREDIT_CARD", "start": 0, "end": 19, "score": score });
    assert_eq!((&lines[0]["findings"], &lines[1]["findings"]), (&json!([card]), &json!([])));
    for (n, line) in lines[2..].iter().enumerate() {
        let places: Vec<_> = line["findings"].as_array().unwrap().iter().collect();
        let places: Vec<_> =
            places.iter().map(|found| (found["start"].clone(), found["end"].clone())).collect();
        let start = n + 2;
        let end = start + format!("z{n}@example.org").len();
        let expected = if n % 3 == 0 { vec![(json!(start), json!(end))] } else { Vec::new() };
        assert_eq!(places, expected, "line {n}");
    }
}

#[test]
fn a_policy_file_decides_what_is_told_and_what_is_done_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let policy = "entities:\n  EMAIL_ADDRESS: {action: mask}\n  DATE_TIME: {action: log}\n  CREDIT_CARD: {action: block}\n\
                  allow: {domains: [acme.com]}\n\
                  custom:\n  - {id: badge, entity: BADGE, pattern: 'EMP-\\d{6}', start: keyword, keywords: [EMP-], prior: 1, examples: ['I am <<EMP-123456>>'], others: [EMP-12]}\n";
    let policy = file(&folder, "policy.yaml", policy);
    let text =
        "To help@acme.com and zoe.quill@example.org: on 2024-11-05 EMP-123456 paid by 4539 1488 0343 6467.";
    let ran = scan(&["--policy", path(&policy)], text);
    assert_eq!(
        ran.out,
        "1: To help@acme.com and {zoe.quill@example.org}[EMAIL_ADDRESS certain: mask]: on {2024-11-05}[DATE_TIME certain: log] \
         {EMP-123456}[BADGE certain: tokenise] paid by {4539 1488 0343 6467}[CREDIT_CARD certain: block].\n"
    );
    assert_eq!(
        ran.err,
        "4 findings in 1 of 1 text: 1 BADGE (tokenise), 1 CREDIT_CARD (block), 1 DATE_TIME (log), 1 EMAIL_ADDRESS (mask)\n"
    );
    let line = json!({ "text": text }).to_string();
    let found = scan(&["--jsonl", "--policy", path(&policy)], &line).lines();
    let found = found[0]["findings"].as_array().unwrap();
    assert_eq!(found.len(), 4);
    for finding in found {
        let fields: Vec<_> = finding.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["entity", "start", "end", "score"]);
    }
}

#[test]
fn what_is_wrong_with_the_input_is_told_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere.txt");
    let good = file(&folder, "good.txt", "from zoe.quill@example.org\n");
    let ran = scan(&[path(&good), path(&nowhere)], "");
    assert!(ran.problem().starts_with(path(&nowhere)), "{}", ran.err);
    assert!(ran.out.contains("zoe.quill"), "what was read before is told");

    let broken = file(
        &folder,
        "broken.jsonl",
        "{\"text\": \"a\"}\n{\"text\": \"zoe.quill@example.org\"}\n{\"text\": \"zoe",
    );
    let ran = scan(&["--jsonl", path(&broken)], "");
    let place = format!("{}:3: expected a JSON object with the string \"text\"", broken.display());
    assert!(ran.problem().starts_with(&place) && !ran.err.contains("zoe"), "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 2, "the lines before it are answered");
    let ran = scan(&["--jsonl"], "{\"words\": \"a\"}\n");
    assert!(ran.problem().starts_with("standard input:1: "), "{}", ran.err);

    let binary = folder.path().join("binary");
    std::fs::write(&binary, [b'a', 0xff]).unwrap();
    let ran = scan(&[path(&binary)], "");
    assert!(ran.problem().ends_with("binary: no UTF-8 from byte 1 on\n"), "{}", ran.err);
}

#[test]
fn what_is_wrong_with_the_arguments_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let ran = scan(&["--packs", "core,mars"], "");
    assert!(
        ran.problem().starts_with("--packs: ") && ran.err.contains("`mars`") && ran.err.contains("core"),
        "{}",
        ran.err
    );
    let ran = scan(&["--min", "surely"], "");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("--min") && ran.err.contains("likely"), "{}", ran.err);

    let policy = file(&folder, "policy.yaml", "entities: {EMAIL_ADRESS: {action: mask}}\n");
    let ran = scan(&["--policy", path(&policy)], "");
    let place = format!("--policy: {}: ", policy.display());
    assert!(ran.problem().starts_with(&place) && ran.err.contains("`EMAIL_ADDRESS`"), "{}", ran.err);
    let ran = scan(&["--policy", path(&folder.path().join("nowhere.yaml"))], "");
    assert!(ran.problem().starts_with("--policy: ") && ran.err.contains("nowhere.yaml"), "{}", ran.err);
    let ran = scan(&["--policy", path(&policy), "--packs", "core"], "");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("--policy") && ran.err.contains("--packs"), "{}", ran.err);
}
