//! `sluice scan`: what is personal or secret in files or standard input.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use sluice_guardrails::pii::Selection;
use sluice_guardrails::{Band, Class, Finding, Guard, InjectionAction, Policy};

/// Which findings are wanted.
#[derive(Args)]
pub(super) struct Wanted {
    /// Packs of recognisers, such as core,us, or all. Named packs also report what is never replaced (dates, ages, URLs, ZIP
    /// codes ...); without this it is what redaction acts on by default: core and us.
    #[arg(long, value_name = "PACKS", value_delimiter = ',')]
    packs: Vec<String>,
    /// The least likely findings that are told: possible (from 0.3), likely (0.6) or certain (0.9).
    #[arg(long, value_name = "BAND", default_value = "likely")]
    min: Band,
}

impl Wanted {
    /// The guard that finds them, and the least band.
    pub(super) fn guard(&self) -> Result<(Guard, Band), String> {
        let policy = Policy { injection: InjectionAction::Off, ..Policy::default() };
        let selection = if self.packs.is_empty() {
            Selection::default()
        } else {
            Selection::of(&self.packs).map_err(|problem| format!("--packs: {problem}"))?
        };
        Ok((Guard::with(&policy, &selection), self.min))
    }

    /// The packs, for reports.
    pub(super) fn packs(&self) -> String {
        if self.packs.is_empty() { "default".to_owned() } else { self.packs.join(",") }
    }
}

/// What `sluice scan` may be told.
#[derive(Args)]
pub struct ScanArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Read one JSON object with a "text" a line, and write one with its "findings" each, in order; places are in code
    /// points.
    #[arg(long)]
    jsonl: bool,
    /// Files to read; none, or `-`, is standard input.
    files: Vec<PathBuf>,
}

/// Scans; writes findings to `out` as they come. The returned text is the summary, for standard error.
///
/// # Errors
/// What can't be read, by file and line.
pub fn run(args: &ScanArgs, out: &mut impl Write) -> Result<String, String> {
    let (guard, min) = args.wanted.guard()?;
    let stdin = [PathBuf::from("-")];
    let files = if args.files.is_empty() { &stdin[..] } else { &args.files[..] };
    let colour =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let mut sum = Summary::default();
    for file in files {
        let reader = open(file)?;
        if args.jsonl {
            lines(&guard, min, &name(file), reader, out)?;
        } else {
            let text = read(reader, &name(file))?;
            let found = guard.report(&text, min);
            sum.add(&found);
            let shown = show(&text, &found, (files.len() > 1).then(|| name(file)).as_deref(), colour);
            write(out, shown.as_bytes())?;
        }
    }
    Ok(if args.jsonl { String::new() } else { sum.text(args.wanted.packs.is_empty()) })
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

fn open(file: &Path) -> Result<Box<dyn Read>, String> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    std::fs::File::open(file)
        .map(|file| Box::new(file) as Box<dyn Read>)
        .map_err(|e| format!("{}: {e}", file.display()))
}

fn read(mut reader: Box<dyn Read>, name: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    String::from_utf8(bytes)
        .map_err(|e| format!("{name}: no UTF-8 from byte {} on", e.utf8_error().valid_up_to()))
}

/// Nobody reading on is the end of the work, and told as such.
fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), String> {
    out.write_all(bytes).map_err(|e| format!("standard output: {e}"))
}

/// A line of `--jsonl`; other fields are left unread.
#[derive(Deserialize)]
struct Text {
    text: String,
}

/// Reads a line, writes a line.
fn lines(
    guard: &Guard,
    min: Band,
    name: &str,
    reader: Box<dyn Read>,
    out: &mut impl Write,
) -> Result<(), String> {
    let mut reader = BufReader::new(reader);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        if reader.read_until(b'\n', &mut line).map_err(|e| format!("{name}:{number}: {e}"))? == 0 {
            return out.flush().map_err(|e| format!("standard output: {e}"));
        }
        // Of serde's message only the place: the line may hold somebody's data.
        let Text { text } = serde_json::from_slice(&line).map_err(|e| {
            format!(
                "{name}:{number}: expected a JSON object with the string \"text\" (column {})",
                e.column()
            )
        })?;
        let found = guard.report(&text, min);
        let places = code_points(&text, &found);
        let found: Vec<_> = found
            .iter()
            .zip(places)
            .map(|(finding, place)| {
                let score = (f64::from(finding.score) * 1000.0).round() / 1000.0;
                json!({"entity": finding.entity, "start": place.start, "end": place.end, "score": score})
            })
            .collect();
        write(out, format!("{}\n", json!({ "findings": found })).as_bytes())?;
    }
}

/// Where findings stand in code points rather than bytes.
pub(super) fn code_points(text: &str, found: &[Finding]) -> Vec<Range<usize>> {
    if text.is_ascii() {
        return found.iter().map(|finding| finding.span.clone()).collect();
    }
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let place = |byte: usize| starts.partition_point(|start| *start < byte);
    found.iter().map(|finding| place(finding.span.start)..place(finding.span.end)).collect()
}

/// The lines in which something was found, with each finding marked and named.
fn show(text: &str, found: &[Finding], file: Option<&str>, colour: bool) -> String {
    let mut out = String::new();
    // Of findings in each other the inner ones are only named, behind the outer.
    let mut found = found.to_vec();
    found.sort_by_key(|finding| (finding.span.start, std::cmp::Reverse(finding.span.end)));
    let mut next = 0;
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = start + line.len();
        if found.get(next).is_some_and(|finding| finding.span.start < end) {
            match file {
                Some(file) => write!(out, "{file}:{}: ", number + 1),
                None => write!(out, "{}: ", number + 1),
            }
            .unwrap_or_default();
            let mut done = start;
            while let Some(finding) = found.get(next).filter(|finding| finding.span.start < end) {
                let span = finding.span.start.max(done)..finding.span.end.min(end).max(done);
                plain(&mut out, &text[done..span.start]);
                mark(&mut out, &text[span.clone()], finding, colour);
                done = span.end;
                next += 1;
            }
            plain(&mut out, text[done..end].trim_end_matches(['\n', '\r']));
            out.push('\n');
        }
        start = end;
    }
    out
}

fn mark(out: &mut String, value: &str, finding: &Finding, colour: bool) {
    let band = match Band::of(finding.score) {
        Some(Band::Certain) => "certain",
        Some(Band::Likely) => "likely",
        _ => "possible",
    };
    if value.is_empty() {
        let _ = write!(out, "[{} {band}]", finding.entity);
    } else if colour {
        let paint = if finding.class == Class::Secret { "1;31" } else { "1;33" };
        let _ = write!(out, "\x1b[{paint}m");
        plain(out, value);
        let _ = write!(out, "\x1b[0m\x1b[2m[{} {band}]\x1b[0m", finding.entity);
    } else {
        out.push('{');
        plain(out, value);
        let _ = write!(out, "}}[{} {band}]", finding.entity);
    }
}

/// Control characters would speak to the terminal.
fn plain(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }));
}

#[derive(Default)]
struct Summary {
    texts: usize,
    with: usize,
    entities: BTreeMap<&'static str, usize>,
}

impl Summary {
    fn add(&mut self, found: &[Finding]) {
        self.texts += 1;
        self.with += usize::from(!found.is_empty());
        found.iter().for_each(|finding| *self.entities.entry(finding.entity).or_default() += 1);
    }

    fn text(&self, default: bool) -> String {
        let total: usize = self.entities.values().sum();
        let each: Vec<String> =
            self.entities.iter().map(|(entity, count)| format!("{count} {entity}")).collect();
        let findings = if total == 1 { "finding" } else { "findings" };
        let texts = if self.texts == 1 { "text" } else { "texts" };
        let mut text = format!("{total} {findings} in {} of {} {texts}", self.with, self.texts);
        if !each.is_empty() {
            let _ = write!(text, ": {}", each.join(", "));
        }
        text.push('\n');
        if default {
            text.push_str(
                "What is never replaced by default (dates, ages, URLs ...) is not shown: --packs core,us\n",
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str, colour: bool) -> String {
        let wanted = Wanted { packs: Vec::new(), min: Band::Likely };
        let (guard, min) = wanted.guard().unwrap();
        show(text, &guard.report(text, min), None, colour)
    }

    #[test]
    fn lines_with_findings_are_shown_with_each_marked() {
        let shown = scan("nothing\nMail ada@example.org or\x1b[2J bob@example.org.\n", false);
        assert_eq!(
            shown,
            "2: Mail {ada@example.org}[EMAIL_ADDRESS certain] or\u{fffd}[2J {bob@example.org}[EMAIL_ADDRESS certain].\n"
        );
        assert!(scan("Mail ada@example.org", true).contains("\x1b[1;33mada@example.org\x1b[0m"));
    }

    #[test]
    fn a_line_is_answered_by_a_line_with_places_in_code_points() {
        let guard = Wanted { packs: Vec::new(), min: Band::Likely }.guard().unwrap().0;
        let input = "{\"text\": \"é ada@example.org\"}\n{\"text\": \"none\", \"id\": 1}\n";
        let mut out = Vec::new();
        lines(&guard, Band::Likely, "x", Box::new(input.as_bytes()), &mut out).unwrap();
        let out: Vec<serde_json::Value> = out
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        assert_eq!(out[0]["findings"][0]["entity"], "EMAIL_ADDRESS");
        assert_eq!((&out[0]["findings"][0]["start"], &out[0]["findings"][0]["end"]), (&json!(2), &json!(17)));
        assert_eq!(out[1], json!({"findings": []}));
    }

    #[test]
    fn a_bad_line_is_named_and_not_repeated() {
        let guard = Wanted { packs: Vec::new(), min: Band::Likely }.guard().unwrap().0;
        for bad in ["{\"text\": 5555}", "{\"tex\": \"5555\"}", "5555", ""] {
            let input = format!("{{\"text\": \"a\"}}\n{bad}\n");
            let input: &'static [u8] = Box::leak(input.into_bytes().into_boxed_slice());
            let problem =
                lines(&guard, Band::Likely, "in.jsonl", Box::new(input), &mut Vec::new()).unwrap_err();
            assert!(problem.starts_with("in.jsonl:2: ") && !problem.contains("5555"), "{problem}");
        }
    }

    #[test]
    fn an_unknown_pack_is_named_with_those_that_exist() {
        let wanted = Wanted { packs: vec!["mars".to_owned()], min: Band::Likely };
        let problem = wanted.guard().unwrap_err();
        assert!(problem.contains("`mars`") && problem.contains("core"), "{problem}");
    }
}
