//! White space: which gaps are all the same, and which may be a table, a list or code.

use super::{Token, words};

/// Trims the ends and reduces every gap to a space, a line break or an empty line; `None` if the layout may mean
/// something: indentation, columns, tabs between anything but words.
pub(super) fn settle(tokens: &mut Vec<Token>) -> Option<()> {
    if matches!(tokens.last(), Some(Token::Gap(_))) {
        tokens.pop();
    }
    if matches!(tokens.first(), Some(Token::Gap(_))) {
        tokens.remove(0);
    }
    let has_lines = tokens.iter().any(|token| matches!(token, Token::Gap(gap) if gap.contains(['\n', '\r'])));
    for i in 0..tokens.len() {
        if let Token::Gap(gap) = &tokens[i] {
            let settled = if gap.contains(['\n', '\r']) {
                line_break(gap)
            } else {
                space(gap, tokens.get(i.wrapping_sub(1)), tokens.get(i + 1), has_lines)
            }?;
            tokens[i] = Token::Gap(settled.to_owned());
        }
    }
    Some(())
}

fn line_break(gap: &str) -> Option<&'static str> {
    let gap = gap.replace("\r\n", "\n").replace('\r', "\n");
    if !gap.ends_with('\n') {
        return None;
    }
    Some(if gap.matches('\n').count() == 1 { "\n" } else { "\n\n" })
}

fn space(gap: &str, before: Option<&Token>, after: Option<&Token>, has_lines: bool) -> Option<&'static str> {
    let plain = |token: Option<&Token>| matches!(token, Some(Token::Word(word)) if words::is_plain(words::core(word)));
    let ends_sentence = matches!(before, Some(Token::Word(word)) if words::ends_sentence(word));
    let safe = if gap.contains('\t') {
        !has_lines && plain(before) && plain(after)
    } else {
        !has_lines || gap.chars().count() == 1 || ends_sentence
    };
    safe.then_some(" ")
}
