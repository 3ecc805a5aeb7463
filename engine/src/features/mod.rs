//! What two prompts say differently, where their vectors look alike.
//!
//! The cosine of two embeddings is blind to what a person sees at once: "raise" and "lower", 5 and 15, Paris and Rome,
//! "from A to B" and "from B to A". A [`Profile`] keeps of a prompt what tells it from another one, as hashes, and
//! [`Differences`] compares two profiles in about a microsecond, without the texts.
//!
//! | to read about | see |
//! |---|---|
//! | cutting a text into words, numbers and literals | `tokens`, `literals`, `numbers` |
//! | words by their stems, and what is known about a word | `words`, `lexicon`, and the lists in `lists/` |
//! | negation, entities, units and dates, direction | `negation`, `entities`, `measures`, `direction` |
//! | putting a profile together; comparing two | `profile`; `compare` |
//!
//! The lists are our own: written for this project by hand, in the forms their heads describe. They hold English in depth
//! and the commonest words of German, French, Spanish, Italian, Portuguese, Dutch and Polish. What no list knows is
//! compared as words.

mod compare;
mod direction;
mod entities;
mod language;
mod lexicon;
mod literals;
mod measures;
mod negation;
mod numbers;
mod profile;
mod tokens;
mod words;

#[cfg(test)]
mod tests;

pub use compare::Differences;
pub use profile::Profile;
