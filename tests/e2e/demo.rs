//! `sluice demo` does what it shows.

use std::io::Write;

use clap::Parser;
use sluice::commands::demo::{DemoArgs, run};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: DemoArgs,
}

fn demo(words: &[&str]) -> Result<String, String> {
    sluice_tests::gate::install_tls();
    run(&Command::parse_from(["demo"].iter().chain(words)).args)
}

/// The figure in the row that begins with these words.
fn figure(table: &str, row: &str) -> String {
    let cells =
        |line: &str| line.split("  ").map(|c| c.trim_matches(['│', ' ']).to_owned()).collect::<Vec<_>>();
    let rows =
        table.lines().map(|line| cells(line).into_iter().filter(|c| !c.is_empty()).collect::<Vec<_>>());
    let mut found =
        rows.filter(|cells| cells.len() > 1 && cells[0].starts_with(row)).map(|cells| cells[1].clone());
    found.next().unwrap_or_else(|| panic!("no row '{row}' in{table}"))
}

#[test]
fn a_short_demo_runs_through_and_shows_what_was_promised() {
    let table = demo(&["--requests", "100"]).unwrap();
    let number = |row: &str| figure(&table, row).parse::<u32>().unwrap_or_else(|_| panic!("{row} in{table}"));
    assert_eq!(number("Questions asked"), 100);
    assert!(table.contains("0 failed"), "{table}");
    assert!(number("exact") > 0 && number("semantic") > 0 && number("Fallbacks survived") > 0, "{table}");
    assert!(number("Provider calls") < 100);
    assert!(number("Questions with personal data") > 0);
    assert_eq!(number("values seen by a provider"), 0, "{table}");
    assert!(figure(&table, "Saved").starts_with('$') && table.contains("p50 / p99"));
    // The graph is an approximation; among so few entries it should hardly ever differ.
    assert!(number("Same decision by the HNSW index") >= 98, "{table}");
}

#[test]
fn a_stream_of_ones_own_is_asked_in_its_order() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for n in 0..12 {
        let (prompt, intent) =
            [("How do I reset my password?", "reset"), ("When do you open?", "hours")][n % 2];
        writeln!(file, "{{\"id\": \"q{n}\", \"prompt\": \"{prompt}\", \"intent\": \"{intent}\"}}").unwrap();
    }
    let table = demo(&["--stream", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(figure(&table, "Questions asked"), "12");
    assert_eq!(figure(&table, "Answered from the cache"), "10");
    assert_eq!(figure(&table, "False hits"), "0");
}

#[test]
fn a_mistake_in_its_arguments_or_files_is_told() {
    assert!(demo(&["--similarity", "2"]).unwrap_err().contains("--similarity"));
    assert!(
        demo(&["--model", "no-such-model"]).unwrap_err().contains("'no-such-model' is not in the registry")
    );
    assert!(demo(&["--stream", "no/such.jsonl"]).unwrap_err().contains("no/such.jsonl"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{\"id\": \"a\", \"prompt\": \"x\", \"intent\": \"y\"}\nnot JSON\n").unwrap();
    let told = demo(&["--stream", file.path().to_str().unwrap()]).unwrap_err();
    assert!(told.contains('2'), "the line is named: {told}");
}
