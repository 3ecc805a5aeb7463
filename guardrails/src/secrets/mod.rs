//! Credentials: rules as data, found by one pass over their literal beginnings.

mod private_key;
mod rules;

use crate::guard::{Class, Finding, Recogniser};
use crate::pii::checksum;
use crate::text::{Scan, floor_boundary};
use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;
pub(crate) use rules::{Check, RULES, Rule};

/// The entity of all secrets, also the name in their placeholders.
pub const ENTITY: &str = "SECRET";

/// How far a rule's expression may read from the start of its literal.
const WINDOW: usize = 512;

/// The table of recognisers of secrets: the rules, and private key blocks.
pub fn recognisers() -> Vec<Box<dyn Recogniser>> {
    vec![Box::new(Tokens::new(RULES)), Box::new(private_key::PrivateKey::new())]
}

/// Applies rules at the places where one of their literals stands.
struct Tokens {
    rules: &'static [Rule],
    compiled: Vec<Regex>,
    literals: AhoCorasick,
    /// For each literal, its rule.
    owners: Vec<usize>,
}

impl Tokens {
    fn new(rules: &'static [Rule]) -> Tokens {
        let (owners, literals): (Vec<usize>, Vec<&str>) = rules
            .iter()
            .enumerate()
            .flat_map(|(owner, rule)| rule.literals.iter().map(move |literal| (owner, *literal)))
            .unzip();
        let compile = |rule: &Rule| Regex::new(&format!(r"\A(?:{})", rule.pattern));
        // The table is constant and a test compiles every row of it.
        let compiled =
            rules.iter().map(|rule| compile(rule).expect("a rule's expression compiles")).collect();
        let literals = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(literals)
            .expect("a few hundred short literals build");
        Tokens { rules, compiled, literals, owners }
    }

    fn try_rule(&self, scan: &Scan<'_>, owner: usize, start: usize) -> Option<Finding> {
        let rule = &self.rules[owner];
        let in_word = scan.before(start).is_some_and(|c| c.is_ascii_alphanumeric());
        if rule.starts_token && in_word {
            return None;
        }
        let end = floor_boundary(scan.text, (start + WINDOW).min(scan.text.len()));
        let captures = self.compiled[owner].captures(&scan.text[start..end])?;
        let secret = captures.name("secret").or(captures.get(0))?;
        let span = start + secret.start()..start + secret.end();
        let token = secret.as_str();
        let goes_on = scan.after(span.end).is_some_and(|c| c.is_ascii_alphanumeric());
        if goes_on || is_stand_in(token) {
            return None;
        }
        let score = rule.check.score(token)?;
        Some(Finding { entity: ENTITY, rule: rule.id, class: Class::Secret, span, score })
    }
}

impl Recogniser for Tokens {
    fn entity(&self) -> &'static str {
        ENTITY
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        for hit in self.literals.find_overlapping_iter(scan.text) {
            out.extend(self.try_rule(scan, self.owners[hit.pattern().as_usize()], hit.start()));
        }
    }
}

impl Check {
    /// How likely a token that has the rule's form is one; `None` if it can't be.
    fn score(self, token: &str) -> Option<f32> {
        const NO_PASSWORDS: &[&str] = &["password", "passwd", "pass", "pwd", "secret", "token", "user"];
        if distinct(token) < 8 && !matches!(self, Check::Password) {
            return None;
        }
        match self {
            Check::Structure => Some(0.95),
            Check::Password => {
                (!NO_PASSWORDS.iter().any(|word| word.eq_ignore_ascii_case(token))).then_some(0.8)
            }
            Check::Entropy(bits) => (entropy(token) >= bits).then_some(0.85),
            Check::Mixed(bits) => {
                let has = |kind: fn(&char) -> bool| token.chars().any(|c| kind(&c));
                let mixed = has(char::is_ascii_uppercase)
                    && has(char::is_ascii_lowercase)
                    && has(char::is_ascii_digit);
                (mixed && entropy(token) >= bits).then_some(0.8)
            }
            Check::GithubCrc => {
                // A wrong check value lowers the score only: better a shredded typo than a leaked new format.
                let body = token.split_once('_')?.1;
                let (random, check) = body.split_at_checked(body.len().checked_sub(6)?)?;
                let valid = checksum::base62(check) == Some(u64::from(checksum::crc32(random.as_bytes())));
                Some(if valid { 0.99 } else { 0.7 })
            }
        }
    }
}

/// Whether a token only stands for a secret: documentation keys, `your-api-key`, `${VAR}`, `sk-xxxx`.
fn is_stand_in(token: &str) -> bool {
    const WORDS: &[&str] = &[
        "example",
        "your",
        "placeholder",
        "redacted",
        "changeme",
        "change_me",
        "insert",
        "replace",
        "dummy",
        "xxxx",
        "****",
        "....",
        "____",
        "----",
        "0000000",
        "1111111",
        "${",
        "{{",
        "<",
        ">",
    ];
    let lower = token.to_ascii_lowercase();
    let variable = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    WORDS.iter().any(|word| lower.contains(word))
        || token.strip_prefix('$').is_some_and(variable)
        || counts_up(lower.as_bytes())
}

/// Whether eight characters in a row count up (`12345678`, `abcdefgh`).
fn counts_up(token: &[u8]) -> bool {
    let mut run = 1;
    token.windows(2).any(|pair| {
        run = if pair[1] == pair[0].wrapping_add(1) { run + 1 } else { 1 };
        run >= 8
    })
}

fn distinct(token: &str) -> usize {
    let mut seen = [false; 256];
    token.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// Shannon entropy of a token's bytes, in bits per byte.
fn entropy(token: &str) -> f32 {
    let mut counts = [0u16; 256];
    token.bytes().for_each(|byte| counts[usize::from(byte)] = counts[usize::from(byte)].saturating_add(1));
    #[expect(clippy::cast_precision_loss, reason = "a token is at most a window long")]
    let total = token.len() as f32;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f32::from(*count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests;
