//! Words: which are code, which are ordinary, and when a capital is only a habit of writing.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Token;

/// Beginnings of words by which a prompt is about letters, signs or bytes, so that its own spelling may matter.
const ABOUT_WRITING: [&str; 36] = [
    "anagram",
    "ascii",
    "base64",
    "binary",
    "capitali",
    "charact",
    "checksum",
    "csv",
    "decod",
    "encod",
    "encrypt",
    "glob",
    "grammar",
    "hash",
    "hex",
    "html",
    "indent",
    "json",
    "lowercas",
    "md5",
    "newline",
    "passphrase",
    "password",
    "proofread",
    "punctuat",
    "regex",
    "regexp",
    "sha",
    "spell",
    "string",
    "substring",
    "typo",
    "unicode",
    "uppercas",
    "whitespac",
    "wildcard",
];
/// Those of the above that are too short to stand for every word that begins with them.
const WHOLE_WORDS: [&str; 3] = ["glob", "hex", "sha"];

/// Whether a word looks like code: a call, a path of names, a variable, a statement, an unclear apostrophe.
pub(super) fn is_code(word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || is_combining_mark(c);
    let chars: Vec<char> = word.chars().collect();
    chars.iter().enumerate().any(|(i, &c)| {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(i + 1).copied();
        let follows_word = before.is_some_and(in_word);
        match c {
            '\'' => !follows_word || !after.is_some_and(in_word),
            '(' | '[' => follows_word,
            ':' => after == Some(':'),
            ';' => after.is_some(),
            '$' => after.is_some_and(char::is_alphabetic),
            _ => false,
        }
    })
}

/// A word without the brackets and punctuation of the sentence around it.
pub(super) fn core(word: &str) -> &str {
    word.trim_start_matches('(').trim_end_matches([',', '.', ';', ':', '!', '?', ')', '。', '।', '؟'])
}

/// Whether it consists of letters only, apart from apostrophes and hyphens inside.
pub(super) fn is_plain(core: &str) -> bool {
    let letter = |c: char| c.is_alphabetic() || is_combining_mark(c);
    core.starts_with(char::is_alphabetic)
        && core.ends_with(letter)
        && core.chars().all(|c| letter(c) || matches!(c, '\'' | '-'))
}

/// How a word is capitalised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A capital and small letters, or `I`: the capital may be a habit of writing.
    Title,
    /// `A`: an article at the start of a sentence, a name elsewhere.
    LoneA,
    /// Nothing that could be folded: small letters, an acronym, a lone letter, a number, a sign.
    Fixed,
    /// Letters in an arrangement of which no part is a habit: `iPhone`, `C++`, `U.S.`, `--Force`, `a/b`.
    Technical,
}

fn shape(core: &str) -> Shape {
    if !is_plain(core) {
        // Other quotation marks than the plain ones are not paired up; what they enclose is left alone this way.
        let special = core.contains(|c: char| c.is_alphabetic() || "«»‹›「」『』".contains(c));
        return if special { Shape::Technical } else { Shape::Fixed };
    }
    match core {
        "I" => return Shape::Title,
        "A" => return Shape::LoneA,
        _ => {}
    }
    let letters = || core.chars().filter(|c| c.is_alphabetic());
    let capitals = letters().filter(|c| c.is_uppercase()).count();
    if capitals == 0 || capitals == letters().count() {
        Shape::Fixed
    } else if capitals == 1 && core.starts_with(char::is_uppercase) {
        Shape::Title
    } else {
        Shape::Technical
    }
}

/// Whether the prompt speaks of letters, signs or encodings.
pub(super) fn are_about_writing(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| {
        let (Token::Word(text) | Token::Quoted(text) | Token::Gap(text)) = token;
        let word = core(text).to_lowercase();
        ABOUT_WRITING
            .iter()
            .any(|stem| if WHOLE_WORDS.contains(stem) { word == *stem } else { word.starts_with(stem) })
    })
}

/// Writes ordinary words small. If some word shows that capitals matter here (it is technical, or appears with and without
/// a capital), only the first words of sentences.
pub(super) fn fold_case(tokens: &mut [Token]) {
    let starts = sentence_starts(tokens);
    let words = || {
        tokens.iter().zip(&starts).filter_map(|(token, &start)| match token {
            Token::Word(word) => Some((core(word), start)),
            _ => None,
        })
    };
    let inside: HashSet<&str> = words().filter(|&(_, start)| !start).map(|(core, _)| core).collect();
    let capitals_matter = words().any(|(core, _)| shape(core) == Shape::Technical)
        || inside
            .iter()
            .any(|core| shape(core) == Shape::Title && inside.contains(core.to_lowercase().as_str()));
    for (token, start) in tokens.iter_mut().zip(starts) {
        let Token::Word(word) = token else { continue };
        let fold = match shape(core(word)) {
            Shape::Title => start || !capitals_matter,
            Shape::LoneA => start,
            Shape::Fixed | Shape::Technical => false,
        };
        if fold {
            // Title: the only capital is the first letter.
            *word = word.chars().flat_map(char::to_lowercase).nfc().collect();
        }
    }
}

/// Whether the next word starts a sentence.
pub(super) fn ends_sentence(word: &str) -> bool {
    word.ends_with(['.', '?', '!', ':', '。', '।', '؟'])
}

/// For every token, whether it is the first word of a sentence.
fn sentence_starts(tokens: &[Token]) -> Vec<bool> {
    let mut at_start = true;
    let mut starts = Vec::with_capacity(tokens.len());
    for token in tokens {
        starts.push(at_start);
        at_start = match token {
            Token::Gap(gap) => at_start || gap.contains('\n'),
            Token::Word(word) => ends_sentence(word),
            Token::Quoted(_) => false,
        };
    }
    starts
}
