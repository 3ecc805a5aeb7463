//! Personal data, by recognisers of one family per file.

pub(crate) mod checks;
pub(crate) mod checksum;
mod contact;
mod engine;
mod finance;
mod finders;
mod identity;
mod load;
pub(crate) mod names;
mod network;
mod numbering;
mod pack;
mod phone;
mod rule;
mod words;

pub use checks::{Check, Verdict};
pub use engine::{Engine, Reach, RowError};
pub use load::{DEFAULT_PACKS, built_in};
pub use pack::{DefaultAction, Edges, Pack, Row, Start};

use crate::guard::{Class, Finding, Recogniser};
use std::ops::Range;

/// Raised whenever a recogniser changes what it finds; part of a guard's fingerprint.
pub(crate) const VERSION: u32 = 1;

/// The names of all entities, which are also the names in placeholders.
pub const ENTITIES: &[&str] =
    &["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS"];

/// The table of recognisers, one per entity.
pub fn recognisers() -> Vec<Box<dyn Recogniser>> {
    vec![
        Box::new(contact::Email),
        Box::new(phone::Phone),
        Box::new(finance::CreditCard),
        Box::new(finance::Iban),
        Box::new(identity::UsSsn),
        Box::new(network::IpAddress),
    ]
}

/// The form in which two prints of one value are equal: numbers of cards, accounts and persons lose their
/// separators and case; everything else is taken as written.
pub(crate) fn normalised(entity: &str, value: &str) -> String {
    match entity {
        "CREDIT_CARD" | "IBAN_CODE" | "US_SSN" => {
            value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
        }
        _ => value.to_owned(),
    }
}

fn finding(entity: &'static str, rule: &'static str, span: Range<usize>, score: f32) -> Finding {
    Finding { entity, rule, class: Class::Pii, span, score }
}

/// What one recogniser finds in a text, for the families' own tests.
#[cfg(test)]
fn found(recogniser: &dyn Recogniser, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    recogniser.find(&crate::text::Scan::new(text, ""), &mut out);
    out.into_iter().map(|finding| text[finding.span].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_names_agree() {
        let mut table: Vec<_> = recognisers().iter().map(|recogniser| recogniser.entity()).collect();
        let mut names = ENTITIES.to_vec();
        table.sort_unstable();
        names.sort_unstable();
        assert_eq!(table, names);
    }

    #[test]
    fn two_prints_of_a_card_are_one_value() {
        assert_eq!(
            normalised("CREDIT_CARD", "4111 1111 1111 1111"),
            normalised("CREDIT_CARD", "4111-1111-1111-1111")
        );
        assert_ne!(normalised("EMAIL_ADDRESS", "A@b.org"), normalised("EMAIL_ADDRESS", "a@b.org"));
    }
}
