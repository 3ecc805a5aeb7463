//! Which words are names: those of our lists, and those that only a name is written like.

use super::lexicon::{Lexeme, Name};
use super::tokens::{Kind, Token};

/// True if the token is a name. `known` is what the lists say of it, `stop` whether it is a function word, `shouted` whether
/// the prompt writes most words with capitals, `next` the token after it.
pub(super) fn is_name(
    token: &Token,
    known: Option<&Lexeme>,
    stop: bool,
    shouted: bool,
    next: Option<&Token>,
) -> bool {
    let shape = token.shape;
    match known.and_then(|k| k.name) {
        Some(Name::Any) => return true,
        Some(Name::Capital) => return shape.capital && !shouted && (!shape.starts || shape.acronym || !stop),
        None => {}
    }
    if shouted || stop || !shape.capital && !shape.mixed || known.is_some_and(|k| k.common || k.question > 0)
    {
        return false;
    }
    if shape.acronym || shape.mixed {
        return true;
    }
    // At the start of a sentence every word has a capital; two in a row are a name all the same.
    !shape.starts
        || next.is_some_and(|n| matches!(n.kind, Kind::Word { .. }) && n.shape.capital && !n.shape.starts)
}
