//! Credentials: rules as data, found by one pass over the literals that they hang on.

mod assign;
mod check;
mod literals;
mod manifest;
mod names;
mod private_key;
mod rule;
mod rules;
mod stand_in;

use crate::guard::{Class, Finding, Recogniser};
use crate::text::{Scan, ceil_boundary, floor_boundary};
use assign::Assigned;
use literals::Literals;
pub(crate) use private_key::RULE as PRIVATE_KEY_RULE;
use regex::bytes::{Regex, RegexBuilder};
use rule::{Edge, Form, Rule};
pub(crate) use rules::RULES;
use std::ops::Range;
use std::sync::{LazyLock, OnceLock};

/// The entity of all secrets, also the name in their placeholders.
pub const ENTITY: &str = "SECRET";

/// Raised whenever this module's code finds or replaces otherwise than before; the rules' own texts count by themselves.
pub(crate) const VERSION: u32 = 2;

/// Bytes that every token and every value has, so that most words need no expression.
const LEAST_TOKEN: usize = 16;
const LEAST_VALUE: usize = 8;

/// A value longer than this holds no other name and value for the same rule. Bounds what is read again and again where
/// many names follow one another without a blank.
const LONG: usize = 256;
const LONGEST: usize = 4096;

/// The table of recognisers of secrets: the rules, and private key blocks.
pub fn recognisers() -> Vec<Box<dyn Recogniser>> {
    vec![Box::new(Tokens), Box::new(private_key::PrivateKey::new())]
}

/// Made once, at the first use: the rules are the same for every policy.
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(&RULES));

/// Applies all rules at the places where one of their literals stands.
struct Tokens;

impl Recogniser for Tokens {
    fn entity(&self) -> &'static str {
        ENTITY
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        TABLE.find(scan, out);
    }
}

/// The value that was read last: several rules hang on one literal.
#[derive(Default)]
struct Last {
    hit: Range<usize>,
    assigned: Option<Assigned>,
}

impl Last {
    fn read(&mut self, text: &str, hit: Range<usize>) -> Option<&Assigned> {
        if self.hit != hit {
            self.assigned = assign::read(text, hit.clone());
            self.hit = hit;
            work(self.assigned.as_ref().map_or(0, |assigned| assigned.value.len()));
        }
        self.assigned.as_ref()
    }
}

struct Table {
    rules: &'static [Rule],
    /// Each rule's expression; compiled when a literal of it is first seen.
    compiled: Vec<OnceLock<Regex>>,
    literals: Literals,
}

impl Table {
    fn new(rules: &'static [Rule]) -> Table {
        let literals = rules.iter().enumerate();
        let literals =
            literals.flat_map(|(owner, rule)| rule.literals.iter().map(move |text| (owner, *text)));
        let literals = Literals::new(literals);
        Table { rules, compiled: rules.iter().map(|_| OnceLock::new()).collect(), literals }
    }

    /// Every literal leads to one try of its rule, which reads a bounded stretch; what was found is not read again.
    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        // For each rule, up to where the text is done with.
        let mut done = Vec::new();
        let mut last = Last::default();
        self.literals.find(scan.text, |hit, owner| {
            done.resize(self.rules.len(), 0);
            if hit.start >= done[owner] {
                done[owner] = self.try_rule(scan, owner, hit, &mut last, out);
            }
        });
        if !scan.label.is_empty() {
            self.find_labelled(scan, out);
        }
    }

    /// A text that is the value of something with a telling name.
    fn find_labelled(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        self.literals.find(scan.label, |_, owner| {
            if self.rules[owner].form == Form::Named {
                out.extend(self.judge_value(scan, owner, scan.label, 0..scan.text.len(), true));
            }
        });
    }

    /// Tries a rule where its literal stands, and says up to where the rule is done with the text.
    fn try_rule(
        &self,
        scan: &Scan<'_>,
        owner: usize,
        hit: Range<usize>,
        last: &mut Last,
        out: &mut Vec<Finding>,
    ) -> usize {
        let rule = &self.rules[owner];
        match rule.form {
            Form::Token(back) => match hit.start.checked_sub(back) {
                Some(start) if scan.text.is_char_boundary(start) => self.try_token(scan, owner, start, out),
                _ => 0,
            },
            Form::Named => {
                let Some(assigned) = last.read(scan.text, hit) else { return 0 };
                let value = assigned.value.clone();
                let name = &scan.text[floor(scan, &assigned.name)];
                let long = if value.len() > LONG { value.end } else { 0 };
                out.extend(self.judge_value(scan, owner, name, value, assigned.literal));
                long
            }
            Form::Manifest => {
                if scan.after(hit.end).is_some_and(|c| c.is_alphanumeric()) {
                    return 0;
                }
                let (values, end) = manifest::values(scan.text, hit.start);
                work(end - hit.start);
                out.extend(
                    values.into_iter().filter_map(|value| self.judge_value(scan, owner, "", value, true)),
                );
                end
            }
        }
    }

    fn try_token(&self, scan: &Scan<'_>, owner: usize, start: usize, out: &mut Vec<Finding>) -> usize {
        let rule = &self.rules[owner];
        let may_start = match rule.edge {
            Edge::Any => true,
            Edge::Start => starts(scan.text, start),
            Edge::Digit => scan.before(start).is_some_and(|c| c.is_ascii_digit()),
        };
        if !may_start || !is_near(scan.text, start, rule.near) {
            return 0;
        }
        let window = (start + rule.reach).min(scan.text.len());
        let whole = !rule.pattern.contains("?P<secret>");
        if whole && !is_long_enough(&scan.text.as_bytes()[start..window]) {
            return 0;
        }
        work(window - start);
        let Some(captures) = self.expression(owner).captures(&scan.text.as_bytes()[start..window]) else {
            return 0;
        };
        let Some(secret) = captures.name("secret").or(captures.get(0)) else { return 0 };
        let mut end = start + secret.end();
        if end == window {
            let more = &scan.text.as_bytes()[end..];
            end += more.iter().take_while(|byte| goes_on(**byte)).count();
            work(end - window);
        }
        let span = floor_boundary(scan.text, start + secret.start())..ceil_boundary(scan.text, end);
        let bytes = scan.text.as_bytes();
        let cut = bytes[..span.end].last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.get(span.end).is_some_and(u8::is_ascii_alphanumeric);
        let judged = if cut { None } else { judge(scan, rule, span, true) };
        // What was extended past the window is not read again, so that no text is read more than a bounded number of times.
        let done = if judged.is_some() || end > window { end } else { 0 };
        out.extend(judged);
        done
    }

    /// Whether the whole value of something named `name` is of the rule's form.
    fn judge_value(
        &self,
        scan: &Scan<'_>,
        owner: usize,
        name: &str,
        value: Range<usize>,
        literal: bool,
    ) -> Option<Finding> {
        let rule = &self.rules[owner];
        let least = if rule.form == Form::Named { LEAST_VALUE } else { 3 };
        let text = scan.text.get(value.clone()).filter(|text| (least..LONGEST).contains(&text.len()))?;
        let provider = matches!(rule.check, check::Check::Value);
        let may_be = self.expression(owner).is_match(text.as_bytes()) && names::may_be_secret(name, provider);
        if may_be { judge(scan, rule, value, literal) } else { None }
    }

    fn expression(&self, owner: usize) -> &Regex {
        self.compiled[owner].get_or_init(|| compile(&self.rules[owner]))
    }
}

/// Expressions are read as bytes: a negated class takes any. The table is constant, and a test compiles every row.
fn compile(rule: &Rule) -> Regex {
    let end = if matches!(rule.form, Form::Token(_)) { "" } else { r"\z" };
    let pattern = format!(r"\A(?:{}){end}", rule.pattern);
    RegexBuilder::new(&pattern).unicode(false).build().expect("a rule's expression compiles")
}

fn judge(scan: &Scan<'_>, rule: &Rule, span: Range<usize>, literal: bool) -> Option<Finding> {
    let token = scan.text.get(span.clone())?;
    let score = rule.check.score(token, literal).filter(|_| !stand_in::is_stand_in(token))?;
    Some(Finding { entity: ENTITY, rule: rule.id, class: Class::Secret, span, score })
}

/// Whether there are enough bytes without a blank or a quote.
fn is_long_enough(text: &[u8]) -> bool {
    let ends =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'(' | b')' | b',' | b';');
    text.get(..LEAST_TOKEN).is_some_and(|head| !head.iter().any(ends))
}

/// Whether a token may start at `at`: no letter and no digit before, but for those of an escape (`\n`, `%20`).
fn starts(text: &str, at: usize) -> bool {
    match text.as_bytes()[..at] {
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => true,
        [.., last] => !last.is_ascii_alphanumeric(),
        [] => true,
    }
}

/// Whether one of `words` (lower case) stands in the 200 bytes before `at`, or there are none.
fn is_near(text: &str, at: usize, words: &[&str]) -> bool {
    let before = &text.as_bytes()[at.saturating_sub(200)..at];
    let same = |part: &[u8], word: &str| {
        part[0].eq_ignore_ascii_case(&word.as_bytes()[0]) && part.eq_ignore_ascii_case(word.as_bytes())
    };
    let stands = |word: &&str| before.windows(word.len()).any(|part| same(part, word));
    words.is_empty() || words.iter().any(stands)
}

/// Whether a token that is longer than the window goes on with this byte.
fn goes_on(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'.')
}

/// A name's whole characters.
fn floor(scan: &Scan<'_>, name: &Range<usize>) -> Range<usize> {
    let start = floor_boundary(scan.text, name.start);
    start..floor_boundary(scan.text, name.end).max(start)
}

/// Counts the bytes that rules read beyond the one pass, for the test that says it is linear.
fn work(bytes: usize) {
    #[cfg(test)]
    tests::WORK.with(|work| work.set(work.get() + bytes));
    let _ = bytes;
}

#[cfg(test)]
mod tests;
