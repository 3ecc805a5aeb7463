//! What a rule is: a row of the table in `rules`, with its own examples and look-alikes, which run as tests.
//!
//! Examples are recipes, so that no token stands in the source. `{b20}` is 20 characters of base 62, `{l34}` letters,
//! `{a20}` lower case and digits, `{A20}` upper case and digits, `{u16}` and `{o16}` base 32 in upper and lower case, `{h32}` and `{H32}` hexadecimal, `{d12}`
//! digits, `{w93}` base 62 with `-` and `_`, `{s40}` base 64; `{uuid}`, `{github}` (30 of base 62 and their check
//! value), `{grafana}`, `{basic}` (a user and a password in base 64) and `{jwt}`. What stands in `«»` is what has to be
//! replaced; without them it is not said.

use super::check::Check;

/// A kind of secret.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    /// Its name in findings.
    pub(crate) id: &'static str,
    /// The prefilter looks for these (upper or lower case), and only where one stands is the rule tried.
    pub(crate) literals: &'static [&'static str],
    /// How the literal leads to the secret.
    pub(crate) form: Form,
    /// The secret's form. A group `secret` narrows what is replaced.
    pub(crate) pattern: &'static str,
    /// How many bytes from a token's start the expression reads. A token that is longer goes on as long as it looks alike.
    pub(crate) reach: usize,
    /// What must, or need not, stand before a token.
    pub(crate) edge: Edge,
    /// Words of which one must stand in the 200 bytes before, if there are any.
    pub(crate) near: &'static [&'static str],
    /// What is looked at besides the form.
    pub(crate) check: Check,
    /// Recipes of texts with such a secret.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
    pub(crate) examples: &'static [&'static str],
    /// Recipes of texts that look alike and hold none.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
    pub(crate) others: &'static [&'static str],
}

/// How a literal leads to a secret.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// The token starts so many bytes before its literal, mostly none.
    Token(usize),
    /// The literal is part of a name, and the secret the whole value that is given to it (`name = "value"`).
    Named,
    /// The literal stands in a Kubernetes manifest of kind `Secret`.
    Manifest,
}

/// What stands before a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Edge {
    /// No letter and no digit.
    Start,
    /// A digit.
    Digit,
    /// Anything.
    Any,
}

/// A token that tells by its first characters what it is.
pub(crate) const fn token(
    id: &'static str,
    literals: &'static [&'static str],
    pattern: &'static str,
    examples: &'static [&'static str],
    others: &'static [&'static str],
) -> Rule {
    let (form, edge, check) = (Form::Token(0), Edge::Start, Check::Entropy(3.0));
    Rule { id, literals, form, pattern, reach: 640, edge, near: &[], check, examples, others }
}

/// A secret that is known only by the name of what it is the value of.
pub(crate) const fn named(
    id: &'static str,
    literals: &'static [&'static str],
    pattern: &'static str,
    examples: &'static [&'static str],
    others: &'static [&'static str],
) -> Rule {
    Rule { form: Form::Named, check: Check::Value, ..token(id, literals, pattern, examples, others) }
}

/// A token whose literal is a signature after `back` other characters.
pub(crate) const fn signed(
    id: &'static str,
    literals: &'static [&'static str],
    back: usize,
    pattern: &'static str,
    examples: &'static [&'static str],
) -> Rule {
    Rule { form: Form::Token(back), check: Check::Structure, ..token(id, literals, pattern, examples, &[]) }
}
