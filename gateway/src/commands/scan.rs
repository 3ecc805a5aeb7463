//! `sluice scan`: what is personal or secret, and what attacks a model, in files or standard input.

mod injection;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use sluice_guardrails::pii::Selection;
use sluice_guardrails::{
    Band, Class, Decision, Finding, Guard, InjectionAction, Operator, Policy, Rules, Vault,
};

use super::env;
use crate::policy::{InForce, LivePolicy};

/// Which findings are wanted.
#[derive(Args)]
pub(super) struct Wanted {
    /// Packs of recognisers, such as core,us, or all. Named packs also report what is never replaced (dates, ages, URLs, ZIP
    /// codes ...); without this it is what redaction acts on by default: core and us.
    #[arg(long, value_name = "PACKS", value_delimiter = ',')]
    packs: Vec<String>,
    /// The least likely findings that are told: possible (from 0.3), likely (0.6, the default) or certain (0.9).
    #[arg(long, value_name = "BAND")]
    min: Option<Band>,
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
        Ok((Guard::with(&policy, &selection), self.min.unwrap_or(Band::Likely)))
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
    /// Tell what this policy file does with what it finds: packs, entities, allow lists and recognisers of your own are the
    /// file's, and so is how likely an entity must be. --min leaves out more.
    #[arg(long, value_name = "FILE", conflicts_with = "packs")]
    policy: Option<PathBuf>,
    /// Read one JSON object with a "text" and maybe a "channel" (system, user, tool, document or assistant) and a "system" prompt
    /// a line, and write one with its "findings" and the verdict on "injection" each, in order; places are in code points.
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
    let scanner = Scanner::new(args)?;
    let stdin = [PathBuf::from("-")];
    let files = if args.files.is_empty() { &stdin[..] } else { &args.files[..] };
    let colour =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let mut sum = Summary::default();
    for file in files {
        let reader = open(file)?;
        if args.jsonl {
            lines(&scanner, &name(file), reader, out)?;
        } else {
            let text = read(reader, &name(file))?;
            let found = scanner.scan(&text);
            sum.add(&found);
            let shown = show(&text, found, (files.len() > 1).then(|| name(file)).as_deref(), colour);
            write(out, shown.as_bytes())?;
            let file = (files.len() > 1).then(|| name(file));
            let attack = injection::line(&text, file.as_deref(), colour);
            write(out, attack.unwrap_or_default().as_bytes())?;
        }
    }
    let hint = args.wanted.packs.is_empty() && args.policy.is_none();
    Ok(if args.jsonl { String::new() } else { sum.text(hint) })
}

/// What reads texts.
enum Scanner {
    /// All that packs find from a band on.
    Packs(Box<Guard>, Band),
    /// What a policy does with what it finds, from a band on.
    Policy(Arc<InForce>, Band),
}

/// A finding, and what a policy does with it.
struct Told {
    finding: Finding,
    action: Option<Operator>,
}

impl Scanner {
    fn new(args: &ScanArgs) -> Result<Self, String> {
        let Some(path) = &args.policy else {
            let (guard, min) = args.wanted.guard()?;
            return Ok(Self::Packs(Box::new(guard), min));
        };
        let rules = Rules { file: Some(path.clone()), ..Rules::default() };
        let policy = LivePolicy::open(&rules, None, &env)
            .map_err(|problem| format!("--policy: {}", problem.trim_start_matches("guardrails.file: ")))?;
        Ok(Self::Policy(policy.current(), args.wanted.min.unwrap_or(Band::Possible)))
    }

    /// In the order in which they stand.
    fn scan(&self, text: &str) -> Vec<Told> {
        match self {
            Self::Packs(guard, min) => {
                let found = guard.report(text, *min).into_iter();
                found.map(|finding| Told { finding, action: None }).collect()
            }
            Self::Policy(policy, min) => {
                let mut vault = Vault::new();
                vault.keep_decisions();
                // What would be refused is told like everything else.
                // As for a tenant and a route of which nothing is said.
                drop(vault.redact(policy.guard("", ""), text));
                let likely = vault.decisions().into_iter().filter(|made| Band::of(made.score) >= Some(*min));
                let mut told: Vec<_> = likely.map(Told::of).collect();
                told.sort_by_key(|told| (told.finding.span.start, told.finding.span.end));
                told
            }
        }
    }
}

impl Told {
    fn of(decision: Decision) -> Self {
        let Decision { entity, rule, class, score, action, bytes, .. } = decision;
        let finding = Finding { entity, rule, class, span: bytes, score };
        Self { finding, action: Some(action) }
    }
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
    #[serde(flatten)]
    place: injection::Place,
}

/// Reads a line, writes a line.
fn lines(scanner: &Scanner, name: &str, reader: Box<dyn Read>, out: &mut impl Write) -> Result<(), String> {
    let mut reader = BufReader::new(reader);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        if reader.read_until(b'\n', &mut line).map_err(|e| format!("{name}:{number}: {e}"))? == 0 {
            return out.flush().map_err(|e| format!("standard output: {e}"));
        }
        // Of serde's message only the place: the line may hold somebody's data.
        let Text { text, place } = serde_json::from_slice(&line).map_err(|e| {
            format!(
                "{name}:{number}: expected a JSON object with the string \"text\" and maybe \"channel\" and \"system\" (column {})",
                e.column()
            )
        })?;
        let found: Vec<Finding> = scanner.scan(&text).into_iter().map(|told| told.finding).collect();
        let places = code_points(&text, &found);
        let found: Vec<_> = found
            .iter()
            .zip(places)
            .map(|(finding, place)| {
                let score = (f64::from(finding.score) * 1000.0).round() / 1000.0;
                json!({"entity": finding.entity, "start": place.start, "end": place.end, "score": score})
            })
            .collect();
        write(
            out,
            format!("{}\n", json!({ "findings": found, "injection": injection::verdict(&text, &place) }))
                .as_bytes(),
        )?;
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
fn show(text: &str, mut found: Vec<Told>, file: Option<&str>, colour: bool) -> String {
    let mut out = String::new();
    // Of findings in each other the inner ones are only named, behind the outer.
    found.sort_by_key(|told| (told.finding.span.start, std::cmp::Reverse(told.finding.span.end)));
    let mut next = 0;
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = start + line.len();
        if found.get(next).is_some_and(|told| told.finding.span.start < end) {
            match file {
                Some(file) => write!(out, "{file}:{}: ", number + 1),
                None => write!(out, "{}: ", number + 1),
            }
            .unwrap_or_default();
            let mut done = start;
            while let Some(told) = found.get(next).filter(|told| told.finding.span.start < end) {
                let finding = &told.finding;
                let span = finding.span.start.max(done)..finding.span.end.min(end).max(done);
                plain(&mut out, &text[done..span.start]);
                mark(&mut out, &text[span.clone()], told, colour);
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

fn mark(out: &mut String, value: &str, told: &Told, colour: bool) {
    let Told { finding, action } = told;
    let band = match Band::of(finding.score) {
        Some(Band::Certain) => "certain",
        Some(Band::Likely) => "likely",
        _ => "possible",
    };
    let action = action.map_or_else(String::new, |action| format!(": {}", action.name()));
    let name = format!("[{} {band}{action}]", finding.entity);
    if value.is_empty() {
        out.push_str(&name);
    } else if colour {
        let paint = if finding.class == Class::Secret { "1;31" } else { "1;33" };
        let _ = write!(out, "\x1b[{paint}m");
        plain(out, value);
        let _ = write!(out, "\x1b[0m\x1b[2m{name}\x1b[0m");
    } else {
        out.push('{');
        plain(out, value);
        let _ = write!(out, "}}{name}");
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
    /// By entity, and by what is done with it.
    entities: BTreeMap<(&'static str, Option<&'static str>), usize>,
}

impl Summary {
    fn add(&mut self, found: &[Told]) {
        self.texts += 1;
        self.with += usize::from(!found.is_empty());
        for Told { finding, action } in found {
            *self.entities.entry((finding.entity, action.map(Operator::name))).or_default() += 1;
        }
    }

    fn text(&self, hint: bool) -> String {
        let total: usize = self.entities.values().sum();
        let each = self.entities.iter().map(|((entity, action), count)| match action {
            Some(action) => format!("{count} {entity} ({action})"),
            None => format!("{count} {entity}"),
        });
        let each: Vec<String> = each.collect();
        let findings = if total == 1 { "finding" } else { "findings" };
        let texts = if self.texts == 1 { "text" } else { "texts" };
        let mut text = format!("{total} {findings} in {} of {} {texts}", self.with, self.texts);
        if !each.is_empty() {
            let _ = write!(text, ": {}", each.join(", "));
        }
        text.push('\n');
        if hint {
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

    fn by_default() -> Scanner {
        let (guard, min) = Wanted { packs: Vec::new(), min: None }.guard().unwrap();
        Scanner::Packs(Box::new(guard), min)
    }

    fn scan(text: &str, colour: bool) -> String {
        show(text, by_default().scan(text), None, colour)
    }

    fn by_policy(policy: &str, min: Option<Band>) -> Result<Scanner, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(policy.as_bytes()).unwrap();
        let wanted = Wanted { packs: Vec::new(), min };
        let policy = Some(file.path().to_owned());
        Scanner::new(&ScanArgs { wanted, policy, jsonl: false, files: Vec::new() })
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
    fn by_a_policy_what_it_does_is_shown_and_what_it_allows_is_not() {
        let scanner = by_policy(
            "entities: {EMAIL_ADDRESS: {action: mask}, DATE_TIME: {action: log}, US_SSN: {action: block}}\n\
             allow: {domains: [acme.com]}\n\
             custom: [{id: badge, entity: BADGE, pattern: 'EMP-\\d{6}', start: keyword, keywords: [EMP-], prior: 1, examples: ['<<EMP-123456>>'], others: [EMP-12]}]\n",
            None,
        )
        .unwrap();
        let text = "help@acme.com and ada@example.org, 2024-11-05, EMP-123456, SSN 536-22-8143";
        let found = scanner.scan(text);
        let mut sum = Summary::default();
        sum.add(&found);
        assert_eq!(
            sum.text(false),
            "4 findings in 1 of 1 text: 1 BADGE (tokenise), 1 DATE_TIME (log), 1 EMAIL_ADDRESS (mask), 1 US_SSN (block)\n"
        );
        assert_eq!(
            show(text, found, None, false),
            "1: help@acme.com and {ada@example.org}[EMAIL_ADDRESS certain: mask], {2024-11-05}[DATE_TIME certain: log], \
             {EMP-123456}[BADGE certain: tokenise], SSN {536-22-8143}[US_SSN certain: block]\n"
        );
    }

    #[test]
    fn a_policy_says_how_likely_an_entity_must_be_and_a_band_leaves_out_more() {
        let entities = |policy: &str, min| {
            let found = by_policy(policy, min).unwrap().scan("ssn 219 45 7731; ada@example.org");
            found.iter().map(|told| told.finding.entity).collect::<Vec<_>>()
        };
        assert_eq!(entities("pii: redact\n", None), ["US_SSN", "EMAIL_ADDRESS"]);
        assert_eq!(entities("entities: {US_SSN: {min: certain}}\n", None), ["EMAIL_ADDRESS"]);
        assert_eq!(entities("entities: {US_SSN: {min: certain}}\n", Some(Band::Possible)), ["EMAIL_ADDRESS"]);
        assert_eq!(entities("pii: redact\n", Some(Band::Certain)), ["EMAIL_ADDRESS"]);
    }

    #[test]
    fn a_wrong_policy_is_told_with_its_file_and_field() {
        let problem = by_policy("entities: {EMAIL_ADRESS: {action: mask}}\n", None).err().unwrap();
        assert!(problem.starts_with("--policy: /") && problem.contains("EMAIL_ADRESS"), "{problem}");
        assert!(problem.contains("did you mean `EMAIL_ADDRESS`?"), "{problem}");
    }

    fn answered(scanner: &Scanner, input: &str) -> Result<Vec<serde_json::Value>, String> {
        let input: &'static [u8] = Box::leak(input.as_bytes().into());
        let mut out = Vec::new();
        lines(scanner, "in.jsonl", Box::new(input), &mut out)?;
        let lines = out.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
    }

    #[test]
    fn a_line_is_answered_by_a_line_with_places_in_code_points() {
        let input = "{\"text\": \"é ada@example.org\"}\n{\"text\": \"none\", \"id\": 1}\n";
        let policy = by_policy("entities: {EMAIL_ADDRESS: {action: block}}\n", None).unwrap();
        for scanner in [by_default(), policy] {
            let out = answered(&scanner, input).unwrap();
            let score = out[0]["findings"][0]["score"].clone();
            assert!(score.as_f64().unwrap() > 0.9);
            let found = json!({"entity": "EMAIL_ADDRESS", "start": 2, "end": 17, "score": score});
            assert_eq!(out[0]["findings"], json!([found]));
            assert_eq!(out[1]["findings"], json!([]));
            assert_eq!(out[1]["injection"]["flagged"], false);
        }
    }

    #[test]
    fn a_bad_line_is_named_and_not_repeated() {
        for bad in ["{\"text\": 5555}", "{\"tex\": \"5555\"}", "5555", ""] {
            let problem = answered(&by_default(), &format!("{{\"text\": \"a\"}}\n{bad}\n")).unwrap_err();
            assert!(problem.starts_with("in.jsonl:2: ") && !problem.contains("5555"), "{problem}");
        }
    }

    #[test]
    fn an_unknown_pack_is_named_with_those_that_exist() {
        let wanted = Wanted { packs: vec!["mars".to_owned()], min: None };
        let problem = wanted.guard().unwrap_err();
        assert!(problem.contains("`mars`") && problem.contains("core"), "{problem}");
    }
}
