//! What becomes of a character in the canonical form.

use std::ops::Range;

/// What becomes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    /// It stays.
    Keep,
    /// It can't be seen, and is left out.
    Drop,
    /// It is another print of an ASCII character.
    To(char),
    /// It looks like an ASCII letter, and counts as such in a word that is partly ASCII.
    InAsciiWord(char),
}

/// What becomes of a character that is not ASCII.
pub(super) fn fold(c: char) -> Fold {
    match c {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Fold::To(' ')
        }
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{30fb}' => {
            Fold::To('-')
        }
        '\u{2024}' => Fold::To('.'),
        '\u{fe6b}' => Fold::To('@'),
        '\u{fe62}' => Fold::To('+'),
        '\u{ff01}'..='\u{ff5e}' => Fold::To(ascii(c as u32 - 0xff01 + 0x21)),
        _ if is_invisible(c) => Fold::Drop,
        _ => digit(c).map(Fold::To).or_else(|| look_alike(c).map(Fold::InAsciiWord)).unwrap_or(Fold::Keep),
    }
}

fn ascii(code: u32) -> char {
    char::from_u32(code).unwrap_or(' ')
}

/// Characters without width, for directions of writing and variants of glyphs, and tags (Unicode's default ignorables).
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character belongs to the one before it: a combining mark, a variant, a joiner.
pub(super) fn combines(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{200d}' | '\u{e0100}'..='\u{e01ef}')
}

/// The zeros of all scripts' decimal digits (Unicode 14's category Nd, and the scripts added since); nine follow each.
const ZEROS: &[u32] = &[
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0de6,
    0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0,
    0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30,
    0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0,
    0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16130, 0x16a60,
    0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0,
    0x1e4f0, 0x1e5f1, 0x1e950, 0x1fbf0,
];

/// The ASCII digit of the same value.
fn digit(c: char) -> Option<char> {
    let code = c as u32;
    let zero = *ZEROS.get(ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?)?;
    (code - zero < 10).then(|| ascii(code - zero + 0x30))
}

/// The ASCII letter that a letter of another script looks like (from Unicode's confusables, the whole-glyph ones).
fn look_alike(c: char) -> Option<char> {
    /// Pairs of the letter and its ASCII look-alike.
    const LETTERS: &str = "АAВBЕEЅSІIЈJКKМMНHОOРPСCТTУYХXаaеeіiјjоoрpсcуyхxѕsԁdһhԛqԝwѵvүyӏlԌGԚQԜWᴄcᴏoᴠvᴡwᴢz\
ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXοoνvαaιiρpυuϲcϳj\
օoոnսuցgզqհhԱUՕOՏSւiıiɡgɑaɩiǀlꓐBꓑPꓓDꓔTꓖGꓗKꓙJꓚCꓜZꓝFꓟMꓠNꓡLꓢSꓣRꓥVꓦVꓧHꓪWꓫXꓬYꓮAꓰEꓲIꓳOꓴU";
    let code = c as u32;
    match code {
        // Mathematical letters come in alphabets of capitals and small letters.
        0x1d400..=0x1d6a3 => {
            let place = (code - 0x1d400) % 52;
            return Some(ascii(if place < 26 { 0x41 + place } else { 0x61 + place - 26 }));
        }
        0x2160..=0x217f
        | 0x131..=0x26a
        | 0x370..=0x3ff
        | 0x400..=0x58f
        | 0x1d00..=0x1d2b
        | 0xa4d0..=0xa4f7 => {}
        _ => return None,
    }
    let mut letters = LETTERS.chars();
    while let (Some(letter), Some(like)) = (letters.next(), letters.next()) {
        if letter == c {
            return Some(like);
        }
    }
    None
}

/// The word around `at`: letters and digits of any script, and what can't be seen between them.
pub(super) fn word_around(text: &str, at: usize) -> Range<usize> {
    /// Longer words are no structured ones; it also bounds the work.
    const LONGEST: usize = 64;
    let part = |c: &char| c.is_alphanumeric() || is_invisible(*c);
    let before: usize = text[..at].chars().rev().take(LONGEST).take_while(part).map(char::len_utf8).sum();
    let after: usize = text[at..].chars().take(LONGEST).take_while(part).map(char::len_utf8).sum();
    at - before..at + after
}

/// Whether a word holds ASCII letters, or ASCII digits among letters that all look like ASCII.
pub(super) fn is_partly_ascii(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphabetic())
        || (word.bytes().any(|byte| byte.is_ascii_digit())
            && word.chars().all(|c| c.is_ascii() || is_invisible(c) || look_alike(c).is_some()))
}
