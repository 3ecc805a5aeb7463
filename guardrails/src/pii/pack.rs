//! What a pack's file says: recognisers as data. The packs in `packs/` and an operator's own entities have this form.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Recognisers that are turned on together: those of every country, or those of one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Its name, for `--packs` and messages.
    pub pack: String,
    /// What it holds, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Word lists that several rows share: an entry `@name` in `context` or `negative` stands for all words of `name`.
    #[serde(default)]
    pub words: BTreeMap<String, Vec<String>>,
    /// The recognisers.
    pub rows: Vec<Row>,
}

/// One recogniser: a pattern or a finder makes candidates, and evidence decides which of them count.
///
/// All evidence is in decimal log-odds: 0 is one in two, 1 ten to one, -1 one to ten. The score is the probability
/// that the sum stands for: `possible` from 0.3 (-0.37), `likely` from 0.6 (0.18), `certain` from 0.9 (0.95).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The row's own name, unique among all packs: lower case letters, digits and dashes.
    pub id: String,
    /// What it finds, by Presidio's name where it has one: upper case letters, digits and underscores.
    pub entity: String,
    /// Where format and check digit are specified, and what else a reader must know.
    #[serde(default)]
    pub about: String,
    /// A regular expression in the syntax of Rust's `regex`, case-sensitive unless it says `(?i)`; `\d` is an ASCII
    /// digit (those of other scripts are read as such). If it has a group named `value`, the finding is that group.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Instead of a pattern: code by name, for what an expression can't tell.
    #[serde(default)]
    pub finder: Option<String>,
    /// Where the pattern is tried.
    #[serde(default)]
    pub start: Start,
    /// Literals, in any case, without one of which the row has nothing to find; see `start`.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// A check by name. What it calls invalid is dropped; what it calls valid gains `-log10(p)`, where `p` is the
    /// share of random candidates that pass.
    #[serde(default)]
    pub validate: Option<String>,
    /// How likely a candidate is what it looks like before anything else is known.
    #[serde(default)]
    pub prior: f32,
    /// Words that speak for it, up to eight words before or five behind or in the name of the field: whole words in
    /// lower case, also several with spaces; `telefon*` is every word that starts so. Of several the nearest counts.
    #[serde(default)]
    pub context: Vec<String>,
    /// What a context word adds where it stands next to the value; farther away it is less.
    #[serde(default = "default_context_weight")]
    pub context_weight: f32,
    /// Words that speak against it, up to three words before, directly behind or in the name of the field.
    #[serde(default)]
    pub negative: Vec<String>,
    /// What such a word takes away.
    #[serde(default = "default_negative_weight")]
    pub negative_weight: f32,
    /// Whether a finding without a context word is `possible` at most, whatever its check says. For numbers that
    /// nothing but their length tells from others.
    #[serde(default)]
    pub needs_context: bool,
    /// What may not stand directly before and behind.
    #[serde(default)]
    pub edges: Edges,
    /// What happens to a finding if the policy says nothing about the entity.
    #[serde(default)]
    pub action: DefaultAction,
    /// Whether the row is off even if its pack is on, until it is named or all packs are asked for.
    #[serde(default)]
    pub opt_in: bool,
    /// Texts in which it is found as `likely` or better. `<<` and `>>` around each value say where exactly, and are
    /// taken out before reading; without them it is found somewhere.
    pub examples: Vec<String>,
    /// Texts in which it is found as `possible` only; marked in the same way.
    #[serde(default)]
    pub possible: Vec<String>,
    /// Look-alikes: texts in which it is not found as `likely`.
    pub others: Vec<String>,
}

/// Where a row's pattern is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the start of every token (run of ASCII letters and digits) that holds a digit. Cheap: the rule for numbers.
    #[default]
    Token,
    /// There, and also at the one or two short words (five letters at most) that stand directly before such a token, with
    /// one space, dash, dot or slash between: for numbers that are printed in groups and begin with letters.
    Lead,
    /// Where one of the row's keywords starts (a token too, unless `edges` is `any`), so that the pattern starts with them.
    Keyword,
    /// Everywhere, in texts that hold one of the row's keywords, or in all texts if it has none. The dearest.
    Anywhere,
}

/// What may not stand directly before and behind a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Edges {
    /// No letter, digit or underscore; and no digit joined by a dash, dot, slash or comma, no `#`, `$`, `€`, `£` before.
    #[default]
    Number,
    /// No letter, digit or underscore.
    Word,
    /// Anything may.
    Any,
}

/// What happens to a finding if the policy says nothing about its entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DefaultAction {
    /// It is replaced (or blocked) as the policy says for personal data.
    #[default]
    Redact,
    /// It is reported and stays: what answers depend on and what names nobody by itself.
    Log,
}

fn default_context_weight() -> f32 {
    1.5
}

fn default_negative_weight() -> f32 {
    1.0
}
