//! Rows applied to a text: one pass over keywords, and expressions only where one of their anchors stands.

use super::finders::Candidate;
use super::pack::{Pack, Row, Start};
use super::rule::{How, Lists, Rule, WINDOW, value};
use super::words::{Around, Lexicon};
use crate::guard::{Class, Finding};
use crate::text::{Scan, floor_boundary};
use aho_corasick::AhoCorasick;
use regex::RegexSet;
use std::ops::Range;

/// Compiled rows of some packs.
pub struct Engine {
    rules: Vec<Rule>,
    lexicon: Lexicon,
    /// What starts at tokens, and what starts at them or the short words before them.
    tokens: Anchored,
    leads: Anchored,
    /// All keywords, and for each the rules that have it.
    keywords: Option<AhoCorasick>,
    owners: Vec<Vec<usize>>,
    /// Rules that read every text.
    always: Vec<usize>,
}

/// How large the automaton of a set may grow on each thread. The default (2 MiB) is outgrown by two dozen rows, and then
/// it is built anew all the time, which is 20 to 80 times slower.
const DFA_BYTES: usize = 32 << 20;

/// Expressions that are tried at the same places.
struct Anchored {
    set: RegexSet,
    /// By number of the expression: its rule.
    rules: Vec<usize>,
}

impl Anchored {
    fn new(rules: &[Rule], start: Start) -> Anchored {
        let mut owners = Vec::new();
        let mut expressions = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            if let How::Pattern(regex, from) = &rule.how
                && from == &start
            {
                owners.push(at);
                expressions.push(regex.as_str());
            }
        }
        // Each expression compiled by itself; a set of them is refused only beyond a size that no rows reach, and then
        // nothing at all could be promised.
        let mut builder = regex::RegexSetBuilder::new(&expressions);
        let set = builder.size_limit(256 << 20).dfa_size_limit(DFA_BYTES).build();
        Anchored { set: set.expect("expressions that compile one by one compile together"), rules: owners }
    }
}

/// What a row or pack says that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pack `{pack}`, row `{row}`: {problem}")]
pub struct RowError {
    /// The pack's name.
    pub pack: String,
    /// The row's id.
    pub row: String,
    /// The field and what was expected.
    pub problem: String,
}

impl Engine {
    /// Compiles the rows of `packs` that `wanted` says.
    ///
    /// # Errors
    /// What is wrong with which row.
    pub fn new(packs: &[&Pack], wanted: &dyn Fn(&Pack, &Row) -> bool) -> Result<Engine, RowError> {
        let rows: Vec<(&Pack, &Row)> =
            packs.iter().flat_map(|&pack| pack.rows.iter().map(move |row| (pack, row))).collect();
        let rows: Vec<_> = rows.into_iter().filter(|(pack, row)| wanted(pack, row)).collect();
        let error = |pack: &Pack, row: &Row, problem: String| RowError {
            pack: pack.pack.clone(),
            row: row.id.clone(),
            problem,
        };
        let mut lexicon = Lexicon::default();
        for (pack, row) in &rows {
            let lists = Lists(&pack.words);
            for (field, entries) in [("context", &row.context), ("negative", &row.negative)] {
                let entries = lists.expand(field, entries).map_err(|problem| error(pack, row, problem))?;
                entries.iter().for_each(|entry| lexicon.add(entry));
            }
        }
        let mut rules = Vec::with_capacity(rows.len());
        for (pack, row) in &rows {
            check_names(row, &rules).map_err(|problem| error(pack, row, problem))?;
            let rule = Rule::compile(row, &lexicon, &Lists(&pack.words));
            rules.push(rule.map_err(|problem| error(pack, row, problem))?);
        }
        let rows: Vec<&Row> = rows.into_iter().map(|(_, row)| row).collect();
        Ok(Engine::assemble(rules, lexicon, &rows))
    }

    fn assemble(rules: Vec<Rule>, lexicon: Lexicon, rows: &[&Row]) -> Engine {
        let mut always = Vec::new();
        let (mut literals, mut owners): (Vec<String>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
        for (at, (rule, row)) in rules.iter().zip(rows).enumerate() {
            match &rule.how {
                How::Pattern(_, Start::Token | Start::Lead) => continue,
                _ if row.keywords.is_empty() => always.push(at),
                _ => {}
            }
            for keyword in row.keywords.iter().map(|keyword| keyword.to_lowercase()) {
                match literals.iter().position(|known| *known == keyword) {
                    Some(known) => owners[known].push(at),
                    None => {
                        literals.push(keyword);
                        owners.push(vec![at]);
                    }
                }
            }
        }
        let (tokens, leads) = (Anchored::new(&rules, Start::Token), Anchored::new(&rules, Start::Lead));
        let keywords = (!literals.is_empty()).then(|| {
            let mut builder = AhoCorasick::builder();
            builder.ascii_case_insensitive(true);
            builder.build(&literals).expect("some thousand short literals build")
        });
        Engine { rules, lexicon, tokens, leads, keywords, owners, always }
    }

    /// Appends everything that scores at least `min`, in no order and possibly overlapping.
    pub fn find(&self, scan: &Scan<'_>, min: f32, out: &mut Vec<Finding>) {
        let mut search = Search { engine: self, scan, min, around: None, out };
        search.tokens();
        search.keywords();
    }

    /// What each row says, for a name that changes with them.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.source.as_str())
    }

    /// The names of the rows, each once.
    pub fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.rules.iter().map(|rule| rule.id)
    }

    /// The entities that the rows find, sorted, each once.
    pub fn entities(&self) -> Vec<&'static str> {
        let mut entities: Vec<_> = self.rules.iter().map(|rule| rule.entity).collect();
        entities.sort_unstable();
        entities.dedup();
        entities
    }
}

/// What a row's names must be.
fn check_names(row: &Row, earlier: &[Rule]) -> Result<(), String> {
    let id = !row.id.is_empty()
        && row.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let entity = row.entity.starts_with(|c: char| c.is_ascii_uppercase())
        && row.entity.len() <= 48
        && row.entity.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if !id {
        Err("id: expected lower case letters, digits and dashes".to_owned())
    } else if !entity {
        Err("entity: expected upper case letters, digits and underscores, 48 at most".to_owned())
    } else if earlier.iter().any(|rule| rule.id == row.id) {
        Err("id: another row has the same".to_owned())
    } else {
        Ok(())
    }
}

/// One text being read.
struct Search<'s, 't> {
    engine: &'s Engine,
    scan: &'s Scan<'t>,
    min: f32,
    /// The words around the span that was judged last: rows often have the same candidate.
    around: Option<(Range<usize>, Around<'t>)>,
    out: &'s mut Vec<Finding>,
}

impl Search<'_, '_> {
    fn window(&self, start: usize) -> Range<usize> {
        start..floor_boundary(self.scan.text, (start + WINDOW).min(self.scan.text.len()))
    }

    fn tokens(&mut self) {
        let engine = self.engine;
        for (anchored, starts) in [
            (&engine.tokens, &self.scan.tokens),
            (&engine.leads, &self.scan.tokens),
            (&engine.leads, &self.scan.leads),
        ] {
            if anchored.rules.is_empty() {
                continue;
            }
            for &start in starts {
                let window = self.window(start);
                for index in &anchored.set.matches(&self.scan.text[window.clone()]) {
                    self.try_pattern(&engine.rules[anchored.rules[index]], window.clone());
                }
            }
        }
    }

    fn try_pattern(&mut self, rule: &Rule, window: Range<usize>) {
        let How::Pattern(regex, _) = &rule.how else { return };
        if let Some(span) = rule.span(regex, self.scan, window) {
            self.judge(rule, Candidate::new(span, 0.0));
        }
    }

    fn keywords(&mut self) {
        let engine = self.engine;
        // For each rule, where its keywords stand.
        let mut hits: Vec<(usize, Range<usize>)> = Vec::new();
        if let Some(keywords) = &engine.keywords {
            for hit in keywords.find_overlapping_iter(self.scan.text) {
                for &owner in &engine.owners[hit.pattern().as_usize()] {
                    match &engine.rules[owner].how {
                        How::Pattern(_, Start::Keyword) => {
                            if engine.rules[owner].may_start(self.scan, hit.start()) {
                                self.try_pattern(&engine.rules[owner], self.window(hit.start()));
                            }
                        }
                        _ => hits.push((owner, hit.range())),
                    }
                }
            }
        }
        hits.sort_by_key(|(owner, hit)| (*owner, hit.start, hit.end));
        for of_rule in hits.chunk_by(|a, b| a.0 == b.0) {
            let places: Vec<_> = of_rule.iter().map(|(_, hit)| hit.clone()).collect();
            self.whole_text(&engine.rules[of_rule[0].0], &places);
        }
        for &always in &engine.always {
            self.whole_text(&engine.rules[always], &[]);
        }
    }

    fn whole_text(&mut self, rule: &Rule, hits: &[Range<usize>]) {
        let mut candidates = Vec::new();
        match &rule.how {
            How::Finder(find) => find(self.scan, hits, &mut candidates),
            How::Pattern(regex, _) => {
                let text = self.scan.text;
                let mut from = 0;
                while let Some((span, end)) = value(regex, text, from).filter(|(_, end)| *end > from) {
                    from = end;
                    candidates.push(Candidate::new(span, 0.0));
                }
                candidates.retain(|candidate| rule.stands_free(self.scan, &candidate.span));
            }
        }
        for candidate in candidates {
            self.judge(rule, candidate);
        }
    }

    fn judge(&mut self, rule: &Rule, candidate: Candidate) {
        let Candidate { span, odds, bare } = candidate;
        let Some(evidence) = rule.weigh(&self.scan.text[span.clone()], odds, self.min) else { return };
        let around = match self.around.take() {
            Some((of, around)) if of == span => around,
            _ => self.engine.lexicon.around(self.scan, &span),
        };
        if let Some(score) = rule.judge(evidence, bare, &around, self.min) {
            let (entity, rule, span) = (rule.entity, rule.id, span.clone());
            self.out.push(Finding { entity, rule, class: Class::Pii, span, score });
        }
        self.around = Some((span, around));
    }
}
