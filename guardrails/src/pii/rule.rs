//! A row compiled: how its candidates are found and what they score.

use super::checks::{self, Check, Verdict};
use super::finders::{self, Find};
use super::names::intern;
use super::pack::{Edges, Row, Start};
use super::words::{Around, Entries, Lexicon};
use crate::score::{Evidence, LIKELY};
use crate::text::Scan;
use regex::Regex;
use std::ops::Range;

/// How many bytes a pattern may read from where it starts; bounds the work at each place.
pub(crate) const WINDOW: usize = 192;
/// What a row that needs context scores at most without it: possible, not likely.
const WITHOUT_CONTEXT: f32 = LIKELY - 0.05;

/// A row ready to be applied.
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) entity: &'static str,
    pub(crate) how: How,
    /// All that the row says.
    pub(crate) source: String,
    check: Option<&'static Check>,
    prior: f32,
    context: Entries,
    context_weight: f32,
    negative: Entries,
    negative_weight: f32,
    needs_context: bool,
    edges: Edges,
}

/// How a rule's candidates are found.
pub(crate) enum How {
    /// An expression that starts at `Start`.
    Pattern(Box<Regex>, Start),
    /// Code.
    Finder(Find),
}

impl Rule {
    /// Compiles a row, whose words `lexicon` holds.
    pub(crate) fn compile(row: &Row, lexicon: &Lexicon, lists: &Lists<'_>) -> Result<Rule, String> {
        let named = |what: &str, name: &str| format!("{what}: no {what} is called `{name}`");
        let how = match (&row.pattern, &row.finder) {
            (Some(pattern), None) => How::Pattern(Box::new(compile(pattern, row)?), row.start),
            (None, Some(name)) => How::Finder(finders::by_name(name).ok_or_else(|| named("finder", name))?),
            _ => return Err("expected either `pattern` or `finder`".to_owned()),
        };
        if row.start == Start::Keyword && row.keywords.is_empty() && row.pattern.is_some() {
            return Err("keywords: expected at least one, as the pattern starts at a keyword".to_owned());
        }
        let check = match &row.validate {
            Some(name) => Some(checks::by_name(name).ok_or_else(|| named("validate", name))?),
            None => None,
        };
        Ok(Rule {
            id: intern(&row.id),
            entity: intern(&row.entity),
            how,
            source: format!("{row:?}"),
            check,
            prior: row.prior,
            context: lexicon.compile(&lists.expand("context", &row.context)?),
            context_weight: row.context_weight,
            negative: lexicon.compile(&lists.expand("negative", &row.negative)?),
            negative_weight: row.negative_weight,
            needs_context: row.needs_context,
            edges: row.edges,
        })
    }

    /// The span that the expression finds from `start` on, which is within the window.
    pub(crate) fn span(&self, regex: &Regex, scan: &Scan<'_>, window: Range<usize>) -> Option<Range<usize>> {
        let text = &scan.text[window.clone()];
        let span = value(regex, text, 0)?.0;
        let span = window.start + span.start..window.start + span.end;
        self.stands_free(scan, &span).then_some(span)
    }

    /// Whether a keyword at `at` may start a match: if the row has edges, it starts a token.
    pub(crate) fn may_start(&self, scan: &Scan<'_>, at: usize) -> bool {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        self.edges == Edges::Any || !scan.after(at).is_some_and(word) || scan.starts_token(at)
    }

    /// Whether nothing stands around `span` that makes it part of something else.
    pub(crate) fn stands_free(&self, scan: &Scan<'_>, span: &Range<usize>) -> bool {
        match self.edges {
            Edges::Any => true,
            Edges::Word => scan.starts_token(span.start) && scan.ends_token(span.end),
            Edges::Number => {
                // `#` is as good as "number": where context must say of what anyway, it is let pass.
                let signs = if self.needs_context { "$€£¥" } else { "#$€£¥" };
                let sign = scan.before(span.start).is_some_and(|c| signs.contains(c));
                scan.starts_token(span.start)
                    && scan.ends_token(span.end)
                    && !sign
                    && !scan.began_earlier(span.start, "-./,")
                    && !scan.goes_on(span.end, "-./,")
            }
        }
    }

    /// What a candidate has for it without a look around: `None` if its check refuses it, or if no context could
    /// bring it to `min`.
    pub(crate) fn weigh(&self, value: &str, odds: f32, min: f32) -> Option<Evidence> {
        let mut evidence = Evidence::prior(self.prior + odds);
        if let Some(check) = self.check {
            match (check.run)(value) {
                Verdict::Valid => evidence = evidence.checksum(check.random),
                Verdict::Unknown => {}
                Verdict::Doubtful => evidence = evidence.when(true, -1.0),
                Verdict::Invalid => return None,
            }
        }
        (evidence.when(true, self.context_weight.max(0.0)).score() >= min).then_some(evidence)
    }

    /// The score of a weighed candidate (`bare`: one that needs context) with the words around it, if at least `min`.
    pub(crate) fn judge(&self, evidence: Evidence, bare: bool, around: &Around<'_>, min: f32) -> Option<f32> {
        let support = around.support(&self.context);
        let evidence = evidence
            .when(support > 0.0, support * self.context_weight)
            .when(around.is_labelled(&self.negative), -self.negative_weight);
        let most = if (bare || self.needs_context) && support <= 0.0 { WITHOUT_CONTEXT } else { 1.0 };
        Some(evidence.score().min(most)).filter(|score| *score >= min)
    }
}

/// Compiles a row's expression so that it starts where it is tried and, with free edges, ends where a token ends.
fn compile(pattern: &str, row: &Row) -> Result<Regex, String> {
    let end = if row.edges == Edges::Any { "" } else { r"(?-u:\b{end-half})" };
    let start = if row.start == Start::Anywhere { "" } else { r"\A" };
    let pattern = format!("{start}(?:{}){end}", pattern.replace(r"\d", "[0-9]"));
    Regex::new(&pattern).map_err(|e| format!("pattern: {e}"))
}

/// The span of the value in the first match from `from` on, and the end of the match.
pub(crate) fn value(regex: &Regex, text: &str, from: usize) -> Option<(Range<usize>, usize)> {
    if regex.captures_len() == 1 {
        return regex.find_at(text, from).map(|found| (found.range(), found.end()));
    }
    let captures = regex.captures_at(text, from)?;
    let whole = captures.get(0)?;
    Some((captures.name("value").unwrap_or(whole).range(), whole.end()))
}

/// A pack's word lists.
pub(crate) struct Lists<'p>(pub(crate) &'p std::collections::BTreeMap<String, Vec<String>>);

impl Lists<'_> {
    /// A list with every `@name` replaced by the words of `name`.
    pub(crate) fn expand(&self, field: &str, entries: &[String]) -> Result<Vec<String>, String> {
        let mut words = Vec::new();
        for entry in entries {
            match entry.strip_prefix('@') {
                None => words.push(entry.clone()),
                Some(name) => words.extend_from_slice(
                    self.0.get(name).ok_or_else(|| format!("{field}: no word list is called `{name}`"))?,
                ),
            }
        }
        Ok(words)
    }
}
