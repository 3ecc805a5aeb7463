//! Finders by name: code for what an expression can't tell.

mod age;
mod card;
mod date;
mod email;
mod iban;
mod ip;
mod mac;
mod numbering;
mod phone;
mod url;

use crate::text::Scan;
use std::ops::Range;

/// What a finder may have found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) span: Range<usize>,
    /// What its print says for it beyond the row's prior, in decimal log-odds.
    pub(crate) odds: f32,
    /// Whether this print is nothing without context, even if the row's others are.
    pub(crate) bare: bool,
}

impl Candidate {
    pub(crate) fn new(span: Range<usize>, odds: f32) -> Candidate {
        Candidate { span, odds, bare: false }
    }
}

/// Appends the candidates of a text. `hits` is where the row's keywords stand. Runs in time linear in the text.
pub(crate) type Find = fn(scan: &Scan<'_>, hits: &[Range<usize>], out: &mut Vec<Candidate>);

/// All finders.
const FINDERS: &[(&str, Find)] = &[
    ("age", age::find),
    ("card", card::find),
    ("date", date::numeric),
    ("date-month", date::month),
    ("date-year", date::year),
    ("domain", url::domains),
    ("email", email::find),
    ("iban", iban::find),
    ("ip-other", ip::other),
    ("ip-public", ip::public),
    ("mac", mac::find),
    ("phone", phone::find),
    ("phone-grouped", phone::grouped),
    ("url", url::urls),
    ("url-bare", url::bare),
];

/// The finder called `name`.
pub(crate) fn by_name(name: &str) -> Option<Find> {
    FINDERS.iter().find(|(known, _)| *known == name).map(|(_, find)| *find)
}
