//! The punctuation that ends a prompt: stripped after ordinary words, kept wherever it could be part of something.

use super::{Token, words};

/// Question and exclamation marks in a row that are still only emphasis.
const MAX_MARKS: usize = 3;

/// Takes the closing punctuation away, where it is nothing but that.
pub(super) fn strip(tokens: &mut Vec<Token>) {
    loop {
        let before_last = match tokens.as_slice() {
            [.., before, Token::Gap(_), _] | [.., before, _] => Some(before),
            _ => None,
        };
        let alone = match before_last {
            Some(Token::Quoted(_)) => true,
            Some(Token::Word(word)) => words::is_plain(words::core(word)),
            Some(Token::Gap(_)) | None => false,
        };
        let Some(Token::Word(word)) = tokens.last_mut() else { return };
        let Some(length) = strippable(word, alone) else { return };
        word.truncate(word.len() - length);
        if word.is_empty() {
            tokens.pop();
            if matches!(tokens.last(), Some(Token::Gap(_))) {
                tokens.pop();
            }
        }
    }
}

/// How many bytes of closing punctuation the last word may lose. `alone`: whether it may consist of nothing else.
fn strippable(word: &str, alone: bool) -> Option<usize> {
    let marks = word.len() - word.trim_end_matches(['?', '!', '؟']).len();
    let (stem, end) = word.split_at(word.len() - marks);
    if marks > 0 {
        let emphasis = end.chars().count() <= MAX_MARKS;
        let ends_sentence = if stem.is_empty() {
            alone
        } else if words::is_plain(words::core(stem)) {
            // "(ab)?" may be a pattern.
            !stem.starts_with('(')
        } else {
            end == "?" && is_complete(stem)
        };
        return (emphasis && ends_sentence).then_some(marks);
    }
    let stem = word.strip_suffix(['.', '。', '।'])?;
    let ends_sentence = if stem.is_empty() {
        alone
    } else {
        // Not after a lone letter (an initial), nor after another stop (an ellipsis).
        words::is_plain(stem) && stem.chars().count() > 1
    };
    ends_sentence.then_some(word.len() - stem.len())
}

/// Whether something with digits or signs can't go on with a question mark: a number, `C++`, `C#`, `U.S.`.
fn is_complete(stem: &str) -> bool {
    let before_sign = stem.trim_end_matches(['+', '#', '%']);
    let signs = &stem[before_sign.len()..];
    let named = matches!(signs, "" | "++" | "#" | "%") && before_sign.ends_with(char::is_alphanumeric);
    named || (stem.ends_with('.') && !stem.ends_with("..") && stem.contains(char::is_alphabetic))
}
