//! What may become of a single character, and which ones forbid any rewriting.

use unicode_normalization::char::decompose_compatible;

/// The plain form of a typographic or full-width quotation mark, apostrophe or backtick; any other character unchanged.
pub(super) fn plain_quote(c: char) -> char {
    match c {
        '“' | '”' | '„' | '‟' | '＂' => '"',
        '‘' | '’' | '‚' | '‛' | '＇' => '\'',
        '｀' => '`',
        other => other,
    }
}

/// The ordinary form of a full-width or half-width character (Unicode block FF00–FFEF), width being its only difference.
pub(super) fn plain_width(c: char) -> char {
    if !matches!(c, '\u{ff01}'..='\u{ff5e}' | '\u{ff61}'..='\u{ff9f}') {
        return c;
    }
    let mut plain = c;
    decompose_compatible(c, |part| plain = part);
    plain
}

/// Whether the character is a sign of code, markup or a table, or a control that is no ordinary white space.
pub(super) fn is_code(c: char) -> bool {
    match plain_width(c) {
        '`' | '{' | '}' | '\\' | '|' | '=' | '<' | '>' | '~' | '^' | '_' => true,
        '\u{2028}' | '\u{2029}' => true,
        '\t' | '\n' | '\r' => false,
        other => other.is_control(),
    }
}
