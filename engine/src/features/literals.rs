//! What is compared letter by letter: quoted text, code, addresses, paths, placeholders of redacted values.

use super::words;

/// A piece of text that means itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Literal {
    /// The hash of its text, white space at its ends apart.
    pub(super) hash: u32,
    /// Between quotation marks; otherwise code, an address or a placeholder.
    pub(super) quoted: bool,
}

/// A quotation is looked for this far.
const MAX_QUOTED: usize = 400;

/// The literal that begins at `at` with `first`, and where it ends. `fresh`: no letter or digit stands directly before.
pub(super) fn at(text: &str, at: usize, first: char, fresh: bool) -> Option<(Literal, usize)> {
    let rest = &text[at..];
    match first {
        '`' => fenced(rest),
        '<' | '[' | '{' => placeholder(rest),
        '"' => quotation(rest, "\""),
        '“' | '„' => quotation(rest, "”").or_else(|| quotation(rest, "“")),
        '«' => quotation(rest, "»"),
        '「' => quotation(rest, "」"),
        '\'' if fresh => single(rest, '\''),
        '‘' if fresh => single(rest, '’'),
        _ if fresh => word_like(rest),
        _ => None,
    }
    .map(|(literal, length)| (literal, at + length))
}

fn code(text: &str) -> Literal {
    Literal { hash: words::short(words::hash(text.trim().as_bytes())), quoted: false }
}

/// Quoted text is compared without regard to capitals and to how much white space there is.
fn quote(text: &str) -> Literal {
    let mut hash = 1;
    let mut word = String::new();
    for part in text.split_whitespace() {
        words::lower_into(part.trim_end_matches(['.', ',', '?', '!']), &mut word);
        hash = words::chain(hash, words::hash(word.as_bytes()));
    }
    Literal { hash: words::short(hash), quoted: true }
}

/// `code` between one or more backticks.
fn fenced(rest: &str) -> Option<(Literal, usize)> {
    let ticks = rest.len() - rest.trim_start_matches('`').len();
    let fence = &rest[..ticks];
    let length = rest[ticks..].find(fence)?;
    (length > 0).then(|| (code(&rest[ticks..ticks + length]), ticks + length + ticks))
}

/// Placeholders of redacted values: `<EMAIL_1>`, `[PERSON_2]`, `{{NAME}}`.
fn placeholder(rest: &str) -> Option<(Literal, usize)> {
    let name = rest.trim_start_matches(['<', '[', '{']);
    let opened = rest.len() - name.len();
    let length =
        name.bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_').count();
    let closed = name.as_bytes()[length..].iter().take(opened).take_while(|b| b">]}".contains(b)).count();
    (opened <= 2 && length >= 2 && closed == opened)
        .then(|| (code(&rest[..opened + length + closed]), opened + length + closed))
}

fn quotation(rest: &str, close: &str) -> Option<(Literal, usize)> {
    let open = rest.chars().next()?.len_utf8();
    let length = rest[open..].find(close)?;
    let inner = &rest[open..open + length];
    (length <= MAX_QUOTED && inner.contains(char::is_alphanumeric))
        .then(|| (quote(inner), open + length + close.len()))
}

/// Single quotation marks, which are apostrophes elsewhere: the closing one stands at the end of a word.
fn single(rest: &str, close: char) -> Option<(Literal, usize)> {
    let open = rest.chars().next()?.len_utf8();
    let (length, _) = rest[open..].char_indices().take_while(|(i, _)| *i <= MAX_QUOTED).find(|(i, c)| {
        *c == close && !rest[open + i + c.len_utf8()..].chars().next().is_some_and(char::is_alphanumeric)
    })?;
    let inner = &rest[open..open + length];
    let tight = !inner.starts_with(char::is_whitespace) && !inner.ends_with(char::is_whitespace);
    (tight && inner.contains(char::is_alphanumeric)).then(|| (quote(inner), open + length + close.len_utf8()))
}

/// Addresses, paths, options and identifiers, by the signs in them.
fn word_like(rest: &str) -> Option<(Literal, usize)> {
    let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let chunk =
        rest[..length].trim_end_matches(['.', ',', '?', '!', ';', ':', ')', ']', '"', '\'', '”', '’']);
    if chunk.len() < 3 || !is_literal(chunk) {
        return None;
    }
    // A call keeps its brackets.
    let end = if rest[chunk.len()..].starts_with(')') && chunk.contains('(') {
        chunk.len() + 1
    } else {
        chunk.len()
    };
    Some((code(&rest[..end]), end))
}

fn is_literal(chunk: &str) -> bool {
    let bytes = chunk.as_bytes();
    let mut signs = [0u8; 6];
    for b in bytes {
        match b {
            b'@' => signs[0] += 1,
            b'_' => signs[1] += 1,
            b'/' => signs[2] += 1,
            b'\\' => signs[3] += 1,
            b'.' => signs[4] += 1,
            b'(' | b'=' => signs[5] += 1,
            _ => {}
        }
    }
    let [ats, underscores, slashes, backslashes, dots, calls] = signs.map(usize::from);
    let has_letter = chunk.contains(char::is_alphabetic);
    if !has_letter {
        return false;
    }
    let option =
        bytes.starts_with(b"--") || (bytes[0] == b'-' && bytes.len() == 2 && bytes[1].is_ascii_alphabetic());
    let address = ats == 1 && dots >= 1 || chunk.contains("://") || chunk.starts_with("www.");
    let path = backslashes > 0 || slashes >= 2 || (slashes > 0 && (b"/~.".contains(&bytes[0])));
    let name = underscores > 0 && chunk.trim_matches('_').contains('_');
    option || address || path || name || (calls > 0 && chunk.contains("()")) || is_file(chunk, slashes)
}

/// A name with an ending such as ".txt": a dot with letters around it, the ending short and in small letters.
fn is_file(chunk: &str, slashes: usize) -> bool {
    let Some((name, ending)) = chunk.rsplit_once('.') else { return false };
    let plain = ending.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    slashes <= 1
        && (2..=4).contains(&ending.len())
        && plain
        && ending.contains(|c: char| c.is_ascii_alphabetic())
        && name.len() > 1
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}
