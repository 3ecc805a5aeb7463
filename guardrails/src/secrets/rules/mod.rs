//! The table of rules, by family. Forms are taken from the providers' own documentation.

mod chat;
mod cloud;
mod code;
mod generic;
mod hosting;
mod models;
mod observability;
mod payments;
mod saas;

use super::check::{self, Check};
use super::rule::{Edge, Form, Rule, named, signed, token};
use std::sync::LazyLock;

/// All rules, those of a provider before those for anything with a telling name.
pub(crate) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    [
        models::RULES,
        cloud::RULES,
        hosting::RULES,
        code::RULES,
        chat::RULES,
        payments::RULES,
        observability::RULES,
        saas::RULES,
        generic::RULES,
    ]
    .concat()
});
