//! Accounts of Google Cloud: where their tokens come from.

mod exchange;
mod external;
mod source;

#[cfg(test)]
mod tests;

pub(super) use exchange::fetch;
pub(super) use source::Source;
pub use source::find;
