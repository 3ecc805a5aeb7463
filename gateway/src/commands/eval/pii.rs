//! `sluice eval pii`: findings against spans that people marked.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_guardrails::measure::{Counts, Marked, Tally};
use sluice_guardrails::{Band, Guard};

use crate::commands::scan::{Wanted, code_points};

/// Entities with a form of their own, which rules can find; the others take a model of language.
const STRUCTURED: &[&str] = &[
    "CREDIT_CARD",
    "DATE_TIME",
    "PHONE_NUMBER",
    "EMAIL_ADDRESS",
    "US_SSN",
    "DOMAIN_NAME",
    "IBAN_CODE",
    "IP_ADDRESS",
    "AGE",
    "ZIP_CODE",
    "US_DRIVER_LICENSE",
];
/// Reported beside what is asked for: spans must fit nearly exactly.
const STRICT: f64 = 0.9;

/// What `sluice eval pii` may be told.
#[derive(Args)]
pub struct PiiArgs {
    /// Marked texts, one JSON object a line: {"text", "spans": [{"start", "end", "type"}], "label_set", "weak"?}. Places are
    /// in code points; entities outside of "label_set" don't count; a weak text counts no misses.
    #[arg(long, value_name = "FILE.jsonl")]
    data: PathBuf,
    #[command(flatten)]
    wanted: Wanted,
    /// How well a finding must fit a span: intersection over union, from 0 to 1.
    #[arg(long, value_name = "IOU", default_value_t = 0.5, value_parser = super::share)]
    iou: f64,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// A line of the data; what else it says is left unread.
#[derive(Deserialize)]
struct Row {
    text: String,
    spans: Vec<Span>,
    label_set: BTreeSet<String>,
    #[serde(default)]
    weak: bool,
}

#[derive(Deserialize)]
struct Span {
    start: usize,
    end: usize,
    #[serde(rename = "type")]
    entity: String,
}

/// Scores; the text is for standard output.
pub(super) fn run(args: &PiiArgs) -> Result<String, String> {
    let fields = "\"text\", \"spans\" and \"label_set\"";
    let rows: Vec<(usize, Row)> = super::lines::read(&args.data, fields)?;
    let name = args.data.display().to_string();
    for (number, row) in &rows {
        let length = row.text.chars().count();
        if row.spans.iter().any(|span| span.start >= span.end || span.end > length) {
            return Err(format!(
                "{name}:{number}: expected every span's start before its end, and both within the text"
            ));
        }
    }
    let (guard, min) = args.wanted.guard()?;
    let (mut tally, mut strict) = (Tally::default(), Tally::default());
    for (_, row) in &rows {
        let (marked, found) = (marked(row), found(&guard, min, &row.text));
        tally.add(&marked, &found, &row.label_set, args.iou, row.weak);
        strict.add(&marked, &found, &row.label_set, STRICT, row.weak);
    }
    Ok(if args.json {
        as_json(args, rows.len(), &tally, &strict)
    } else {
        table(args, rows.len(), &tally, &strict)
    })
}

fn marked(row: &Row) -> Vec<Marked> {
    row.spans.iter().map(|span| Marked { entity: span.entity.clone(), span: span.start..span.end }).collect()
}

fn found(guard: &Guard, min: Band, text: &str) -> Vec<Marked> {
    let found = guard.report(text, min);
    let places = code_points(text, &found);
    found.iter().zip(places).map(|(one, span)| Marked { entity: one.entity.to_owned(), span }).collect()
}

fn structured(entity: &str) -> bool {
    STRUCTURED.contains(&entity)
}

fn table(args: &PiiArgs, texts: usize, tally: &Tally, strict: &Tally) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_FULL_CONDENSED);
    let loose = format!("F2 at {}", args.iou);
    let exact = format!("F2 at {STRICT}");
    table.set_header(["entity", "marked", "right", "wrong", "missed", "precision", "recall", &loose, &exact]);
    let mut row = |name: &str, counts: Counts, strict: Counts| {
        let number = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{share:.3}"));
        table.add_row([
            name.to_owned(),
            (counts.right + counts.missed).to_string(),
            counts.right.to_string(),
            counts.wrong.to_string(),
            counts.missed.to_string(),
            number(counts.precision()),
            number(counts.recall()),
            number(counts.f2()),
            number(strict.f2()),
        ]);
    };
    for (entity, counts) in tally.by_entity() {
        row(entity, *counts, strict.by_entity().get(entity).copied().unwrap_or_default());
    }
    row("structured", tally.together(structured), strict.together(structured));
    row("all", tally.together(|_| true), strict.together(|_| true));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let (clean, matched) = tally.clean();
    let mut out =
        format!("\n{texts} texts of {}, packs {}.\n{table}\n", args.data.display(), args.wanted.packs());
    let _ = writeln!(
        out,
        "Of {clean} texts without a span, something of their label set was found in {matched}."
    );
    out
}

fn as_json(args: &PiiArgs, texts: usize, tally: &Tally, strict: &Tally) -> String {
    let figures = |counts: Counts, strict: Counts| {
        json!({
            "right": counts.right, "wrong": counts.wrong, "missed": counts.missed,
            "precision": counts.precision(), "recall": counts.recall(), "f2": counts.f2(), "f2_at_0.9": strict.f2(),
        })
    };
    let by_entity: serde_json::Map<String, Value> = tally
        .by_entity()
        .iter()
        .map(|(entity, counts)| {
            (entity.clone(), figures(*counts, strict.by_entity().get(entity).copied().unwrap_or_default()))
        })
        .collect();
    let (clean, matched) = tally.clean();
    let report = json!({
        "data": args.data.display().to_string(), "texts": texts, "packs": args.wanted.packs(), "iou": args.iou,
        "entities": by_entity,
        "structured": figures(tally.together(structured), strict.together(structured)),
        "all": figures(tally.together(|_| true), strict.together(|_| true)),
        "without_spans": {"texts": clean, "matched": matched},
    });
    format!("{report}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(lines: &str, json: bool) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data.jsonl");
        std::fs::write(&data, lines).unwrap();
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            args: PiiArgs,
        }
        let path = data.to_str().unwrap();
        let words = ["pii", "--data", path].into_iter().chain(json.then_some("--json"));
        run(&<Command as clap::Parser>::parse_from(words).args)
    }

    const LINES: &str = r#"{"text": "é ada@example.org", "spans": [{"start": 2, "end": 17, "type": "EMAIL_ADDRESS"}], "label_set": ["EMAIL_ADDRESS"]}
{"text": "4111111111111111", "spans": [], "label_set": ["EMAIL_ADDRESS"]}
{"text": "4111111111111111", "spans": [], "label_set": ["CREDIT_CARD"]}
"#;

    #[test]
    fn spans_are_scored_by_entity_under_the_rules_of_the_data() {
        let report: Value = serde_json::from_str(&eval(LINES, true).unwrap()).unwrap();
        assert_eq!(report["entities"]["EMAIL_ADDRESS"]["f2"], 1.0);
        assert_eq!(report["entities"]["CREDIT_CARD"]["wrong"], 1);
        assert_eq!(report["structured"]["precision"], 0.5);
        assert_eq!(report["without_spans"], json!({"texts": 2, "matched": 1}));
        assert!(eval(LINES, false).unwrap().contains("structured"));
    }

    #[test]
    fn a_span_outside_of_its_text_is_named_by_line() {
        let bad = LINES.replace("\"end\": 17", "\"end\": 18");
        let problem = eval(&bad, true).unwrap_err();
        assert!(problem.contains("data.jsonl:1: expected every span"), "{problem}");
    }
}
