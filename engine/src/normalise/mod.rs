//! Which rewritings of a prompt are safe: the form in which two prompts are the same to any reader.
//!
//! What may differ: white space, the encoding of a character (composed or not, full-width or not), typographic or plain
//! quotation marks, capitals of ordinary words, and the punctuation that ends the prompt. What never changes: symbols,
//! numbers, code, quoted text, acronyms, names with capitals inside. Stripping more was measured to merge "C" with "C++".
//! Where in doubt, a word keeps its spelling or the prompt has no normalised form: that costs a hit, never a wrong answer.

mod chars;
mod end;
mod layout;
mod words;

#[cfg(test)]
mod tests;

use unicode_normalization::UnicodeNormalization;

/// Longer prompts have no normalised form: nobody types them twice in different ways.
const MAX_BYTES: usize = 8 * 1024;

/// A piece of a prompt.
#[derive(Clone, Debug)]
enum Token {
    /// White space.
    Gap(String),
    /// What stands between white space.
    Word(String),
    /// What stands between quotation marks, without them.
    Quoted(String),
}

/// The safely normalised form of a prompt. `None` if there is nothing in it, or if rewriting it would not be safe: code,
/// tables, unclear quotation, a task about spelling itself. Two prompts with the same form may share an answer.
/// Normalising the form again changes nothing.
///
/// ```
/// use sluice_engine::normalise;
/// assert_eq!(normalise("  What’s the  capital of France? ").as_deref(), Some("what's the capital of france"));
/// assert_ne!(normalise("What is C++?"), normalise("What is C?"));
/// ```
pub fn normalise(text: &str) -> Option<String> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let mut tokens = tokens(text)?;
    layout::settle(&mut tokens)?;
    if words::are_about_writing(&tokens) {
        return None;
    }
    words::fold_case(&mut tokens);
    end::strip(&mut tokens);
    let form = join(&tokens);
    (!form.is_empty() && form.len() <= MAX_BYTES).then_some(form)
}

/// Cuts a prompt into pieces; `None` if it holds signs of code, or quotation marks that don't pair up around words.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let text: String = text.nfc().map(chars::plain_quote).collect();
    if text.contains(chars::is_code) {
        return None;
    }
    let mut tokens = Vec::new();
    // Even parts are prose, odd ones stand between quotation marks.
    let parts: Vec<&str> = text.split('"').collect();
    if parts.len().is_multiple_of(2) {
        return None;
    }
    for (i, part) in parts.iter().enumerate() {
        if i.is_multiple_of(2) {
            push_prose(part, &mut tokens)?;
            continue;
        }
        let opens = parts[i - 1].chars().next_back().is_none_or(|c| c.is_whitespace() || c == '(');
        let closes = parts[i + 1].chars().next().is_none_or(|c| c.is_whitespace() || ".,?!:)".contains(c));
        if !opens || !closes || !part.contains(char::is_alphanumeric) {
            return None;
        }
        tokens.push(Token::Quoted((*part).to_owned()));
    }
    Some(tokens)
}

/// Cuts unquoted text into words and gaps; `None` if a word looks like code.
fn push_prose(part: &str, tokens: &mut Vec<Token>) -> Option<()> {
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let white = first.is_whitespace();
        let end = rest.find(|c: char| c.is_whitespace() != white).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        if white {
            tokens.push(Token::Gap(piece.to_owned()));
        } else {
            let word: String = piece.chars().map(chars::plain_width).nfc().collect();
            if words::is_code(&word) {
                return None;
            }
            tokens.push(Token::Word(word));
        }
    }
    Some(())
}

fn join(tokens: &[Token]) -> String {
    let mut form = String::new();
    for token in tokens {
        match token {
            Token::Gap(text) | Token::Word(text) => form.push_str(text),
            Token::Quoted(text) => form.extend(["\"", text, "\""]),
        }
    }
    form
}
