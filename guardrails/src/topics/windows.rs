//! A long text in pieces that can be compared: a vector of all of it would tell of none of its subjects.

/// Shorter sentences are taken together: by themselves they say too little to be about something.
const LEAST_SENTENCE: usize = 48;

/// The whole text in pieces of at most `most` bytes, cut behind sentences where there are any, else behind words. Pieces without a
/// letter or digit are left out.
pub fn pieces(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while rest.len() > most {
        let limit = rest.floor_char_boundary(most).max(rest.ceil_char_boundary(1));
        let head = &rest[..limit];
        let cut = ends(head)
            .last()
            .or_else(|| head.rfind(char::is_whitespace).filter(|at| *at > 0))
            .unwrap_or(limit);
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece.trim());
        rest = after.trim_start();
    }
    pieces.push(rest);
    pieces.retain(|piece| piece.contains(char::is_alphanumeric));
    pieces
}

/// The sentences of a text, short ones with what follows them; none if it is only one.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut begin = 0;
    for end in ends(text).chain([text.len()]) {
        if text[begin..end].trim().len() >= LEAST_SENTENCE {
            sentences.push(text[begin..end].trim());
            begin = end;
        }
    }
    if text[begin..].contains(char::is_alphanumeric) {
        sentences.push(text[begin..].trim());
    }
    if sentences.len() > 1 { sentences } else { Vec::new() }
}

/// Behind each mark that ends a sentence and is followed by a blank, and behind each line. Marks of scripts without blanks need none.
fn ends(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.char_indices().filter_map(|(at, mark)| {
        let end = at + mark.len_utf8();
        let ends = match mark {
            '\n' | '。' | '！' | '？' => true,
            '.' | '!' | '?' | ';' => text[end..].starts_with(char::is_whitespace),
            _ => false,
        };
        (ends && end < text.len()).then_some(end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_cut_behind_sentences() {
        let text = "The first sentence is about trees and what they drink. Yes! The second one, version 2.5, is about stones.";
        assert_eq!(
            sentences(text),
            [
                "The first sentence is about trees and what they drink.",
                "Yes! The second one, version 2.5, is about stones."
            ]
        );
        assert_eq!(sentences("Only one sentence, however long it may be, has no parts."), [""; 0]);
        assert_eq!(pieces("One two. Three four. Five", 12), ["One two.", "Three four.", "Five"]);
        assert_eq!(pieces("abcdefgh ijk", 9), ["abcdefgh", "ijk"]);
        assert_eq!(pieces(" ... ", 40), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_letter_is_lost_and_no_piece_too_long(text in "\\PC{0,200}", most in 4_usize..60) {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            let pieces = pieces(&text, most);
            prop_assert!(pieces.iter().all(|piece| piece.len() <= most));
            prop_assert_eq!(letters(&pieces.concat()), letters(&text));
            let sentences = sentences(&text);
            prop_assert!(sentences.is_empty() || letters(&sentences.concat()) == letters(&text));
        }
    }
}
