//! What is dangerous in an answer whoever it is about: addresses that a reader's program may follow by itself, addresses that
//! are programs, what steers a terminal, and marks that were planted to be found.

mod echo;
mod escapes;
mod links;
mod marks;
mod url;

pub use echo::{Echo, Prompt};

use crate::guard::Recogniser;
use crate::policy::PolicyError;

/// An address that is loaded as soon as the answer is shown: of an image, a style, a script.
pub const IMAGE_LINK: &str = "IMAGE_LINK";
/// An address that somebody may follow.
pub const LINK: &str = "LINK";
/// An address that runs when it is followed, or holds a document of its own: `javascript:`, `data:`.
pub const ACTIVE_URL: &str = "ACTIVE_URL";
/// Characters that steer a terminal.
pub const ANSI_ESCAPE: &str = "ANSI_ESCAPE";
/// A mark of the operator's that must never come out.
pub const CANARY: &str = "CANARY";

/// All of them.
pub const ENTITIES: &[&str] = &[ACTIVE_URL, ANSI_ESCAPE, CANARY, IMAGE_LINK, LINK];

/// What finds them. `domains`: those, and what is below them, to which addresses may lead; `canaries`: the marks.
///
/// # Errors
/// A mark that is too short to be one.
pub(crate) fn recognisers(
    domains: &[String],
    canaries: &[String],
) -> Result<Vec<Box<dyn Recogniser>>, PolicyError> {
    let marks = marks::Marks::new(canaries)?;
    Ok(vec![Box::new(links::Links::new(domains)), Box::new(escapes::Escapes), Box::new(marks)])
}

#[cfg(test)]
mod tests;
