//! Personal data: packs of recognisers, which are data, and the engine that applies them.

pub(crate) mod checks;
pub(crate) mod checksum;
mod engine;
mod finders;
mod load;
pub(crate) mod names;
mod pack;
mod rule;
mod words;

pub use checks::{Check, Verdict};
pub use engine::{Engine, RowError};
pub(crate) use load::entity;
pub use load::{DEFAULT_PACKS, Selection, built_in};
pub use pack::{DefaultAction, Edges, Pack, Row, Start};

/// Makes the name of an entity that others find one that is known from now on, so that placeholders of it are. For names that an
/// operator writes, which are few: they are kept for the life of the process.
pub fn know(entity: &str) -> &'static str {
    names::intern(entity)
}

/// The form in which two prints of one value are equal: numbers of cards, accounts and persons lose their
/// separators and case; everything else is taken as written.
pub(crate) fn normalised(entity: &str, value: &str) -> String {
    const AS_WRITTEN: &[&str] = &[
        "EMAIL_ADDRESS",
        "PHONE_NUMBER",
        "IP_ADDRESS",
        "URL",
        "DOMAIN_NAME",
        "DATE_TIME",
        "DE_KFZ",
        "ADDRESS",
        "AGE",
        "CRYPTO",
        "GEO_COORDINATES",
        "SECRET",
    ];
    if AS_WRITTEN.contains(&entity) || !value.bytes().any(|byte| byte.is_ascii_digit()) {
        value.to_owned()
    } else {
        value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
    }
}

/// What the default packs find in a text as likely, for the finders' own tests.
#[cfg(test)]
fn found(entity: &str, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    Selection::default().engine().find(&crate::text::Scan::new(text, ""), crate::score::LIKELY, &mut out);
    out.retain(|finding| finding.entity == entity);
    out.sort_by_key(|finding| finding.span.start);
    out.into_iter().map(|finding| text[finding.span].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_prints_of_a_card_are_one_value() {
        assert_eq!(
            normalised("CREDIT_CARD", "4111 1111 1111 1111"),
            normalised("CREDIT_CARD", "4111-1111-1111-1111")
        );
        assert_ne!(normalised("EMAIL_ADDRESS", "A@b.org"), normalised("EMAIL_ADDRESS", "a@b.org"));
    }
}
