//! Text to token ids, the way the model was trained to see them.

use crate::embedder::EmbedError;
use crate::wordpiece::WordPiece;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::{Tokenizer, TruncationParams};

/// A model's tokenizer with our settings: no padding, cut at `max_tokens`.
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    /// The same, much faster, for tokenizers and texts it knows exactly.
    pub(crate) fast: Option<WordPiece>,
    /// Whether an ideograph is a word of its own, as BERT has it by default.
    parts_ideographs: bool,
    max_tokens: usize,
}

/// A text as the model takes it, markers included. Its type ids are all 0 and its attention mask is all 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenIds {
    pub(crate) ids: Vec<u32>,
    /// Whether the text had more tokens than the model takes.
    pub(crate) truncated: bool,
}

impl Tokens {
    /// Reads a `tokenizer.json`. Its own padding and truncation are replaced: the file of all-MiniLM-L6-v2 says 128
    /// for both, where the model is defined with 256 and a single text needs no padding at all.
    ///
    /// The error says what the tokenizer library found wrong with the file, or that it gives type ids.
    pub(crate) fn from_json(json: &[u8], max_tokens: usize) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| e.to_string())?;
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| e.to_string())?;
        tokenizer.with_padding(None);
        let letter = tokenizer.encode_fast("a", true).map_err(|e| e.to_string())?;
        if letter.get_type_ids().iter().any(|id| *id != 0) {
            return Err(
                "post_processor gives a type id other than 0, expected 0 for a single text".to_owned()
            );
        }
        let fast = WordPiece::same_as(&tokenizer, max_tokens);
        let parts_ideographs = matches!(tokenizer.get_normalizer(),
            Some(NormalizerWrapper::BertNormalizer(bert)) if bert.handle_chinese_chars);
        Ok(Self { tokenizer, fast, parts_ideographs, max_tokens })
    }

    /// The ids of one text, cut at the limit.
    pub(crate) fn encode(&self, text: &str) -> Result<TokenIds, EmbedError> {
        match self.fast.as_ref().and_then(|fast| fast.encode(text)) {
            Some(ids) => Ok(ids),
            None => self.encode_slowly(text),
        }
    }

    /// The ids of one text as `tokenizers` finds them.
    pub(crate) fn encode_slowly(&self, text: &str) -> Result<TokenIds, EmbedError> {
        let text = enough(text, self.max_tokens, self.parts_ideographs);
        // The library's own message is left out, since it may quote the text.
        let encoding = self
            .tokenizer
            .encode_fast(text, true)
            .map_err(|_| EmbedError::Tokenize("the text could not be encoded".to_owned()))?;
        Ok(TokenIds { ids: encoding.get_ids().to_vec(), truncated: !encoding.get_overflowing().is_empty() })
    }
}

/// The beginning of `text` that surely holds `tokens` tokens or more, so that a megabyte is not tokenized for the
/// sake of its first 256 tokens.
///
/// Counts only what is at least one token of its own for a BERT tokenizer: ASCII letter-digit runs right after an
/// ASCII space or punctuation mark, and CJK ideographs if `parts_ideographs`. It cuts only in front of such a place,
/// where the tokenizer cuts words too, hence the first `tokens` tokens stay what they were.
fn enough(text: &str, tokens: usize, parts_ideographs: bool) -> &str {
    let mut counted = 0;
    let mut after_break = true;
    for (at, c) in text.char_indices() {
        let ideograph = parts_ideographs && matches!(c, '\u{4E00}'..='\u{9FFF}');
        if ideograph || (after_break && c.is_ascii_alphanumeric()) {
            if counted == tokens {
                return &text[..at];
            }
            counted += 1;
        }
        after_break = c.is_ascii_punctuation() || matches!(c, ' ' | '\n' | '\r' | '\t');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A WordPiece tokenizer over single letters and digits, with the settings of the real file: padded to and
    /// cut at 128.
    fn letters(max_tokens: usize) -> Tokens {
        let mut vocabulary = vec!["[PAD]".to_owned(), "[UNK]".into(), "[CLS]".into(), "[SEP]".into()];
        for c in ('a'..='z').chain('0'..='9') {
            vocabulary.push(c.to_string());
            vocabulary.push(format!("##{c}"));
        }
        vocabulary.extend("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~中文字".chars().map(String::from));
        let ids: serde_json::Map<_, _> =
            vocabulary.iter().enumerate().map(|(i, token)| (token.clone(), i.into())).collect();
        let marker = |id: u32, token: &str| {
            serde_json::json!({"id": id, "content": token, "single_word": false, "lstrip": false,
                               "rstrip": false, "normalized": false, "special": true})
        };
        let json = serde_json::json!({
            "version": "1.0",
            "truncation": {"max_length": 128, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null,
                        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
            "added_tokens": [marker(0, "[PAD]"), marker(1, "[UNK]"), marker(2, "[CLS]"), marker(3, "[SEP]")],
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                           "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                           {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                                   "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
            "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": ids},
        });
        Tokens::from_json(json.to_string().as_bytes(), max_tokens).unwrap()
    }

    #[test]
    fn a_short_text_is_not_padded() {
        let tokens = letters(256).encode("abc").unwrap();
        assert_eq!(tokens.ids.len(), 5);
        assert!(!tokens.truncated);
    }

    #[test]
    fn the_empty_text_is_its_two_markers() {
        for text in ["", "   \n", "\u{0}"] {
            assert_eq!(letters(256).encode(text).unwrap().ids, [2, 3], "{text:?}");
        }
    }

    #[test]
    fn a_text_is_cut_at_the_models_limit_and_not_at_the_files() {
        let fits = letters(256).encode(&"a ".repeat(254)).unwrap();
        assert_eq!((fits.ids.len(), fits.truncated), (256, false));
        let cut = letters(256).encode(&"a ".repeat(255)).unwrap();
        assert_eq!((cut.ids.len(), cut.truncated), (256, true));
        assert_eq!(cut.ids.last(), Some(&3), "the end marker survives the cut");
    }

    #[test]
    fn only_the_beginning_of_a_long_text_is_tokenized() {
        assert_eq!(enough("a b c d", 2, true), "a b ");
        assert_eq!(enough("a,b;c", 2, true), "a,b;");
        assert_eq!(enough("中文字", 2, true), "中文");
        assert_eq!(enough("中文字", 2, false), "中文字", "one word, if ideographs are not parted");
        assert_eq!(enough(&"word ".repeat(100_000), 256, true).len(), 256 * 5);
        let unbroken = "x".repeat(1000);
        assert_eq!(enough(&unbroken, 2, true), unbroken, "one word is one word however long");
    }

    #[test]
    fn a_file_which_is_no_tokenizer_is_refused() {
        assert!(Tokens::from_json(b"{}", 256).is_err());
    }

    proptest! {
        /// The cut must be invisible: same ids, same flag as if everything had been tokenized.
        #[test]
        fn cutting_early_changes_nothing(
            parts in prop::collection::vec(prop_oneof![
                "[a-c]{1,3}", "[ \t\n]", "[!-/]", Just("[SEP]".to_owned()), Just("[".to_owned()),
                Just("\u{301}".to_owned()), Just("\u{200B}".to_owned()), Just("\u{0}".to_owned()),
                Just("é".to_owned()), Just("中".to_owned()), Just("🙂".to_owned()), Just("x".repeat(120)),
            ], 0..60)
        ) {
            let text = parts.concat();
            let tokens = letters(8);
            let cut = tokens.encode(&text).unwrap();
            let whole = tokens.tokenizer.encode_fast(text.as_str(), true).unwrap();
            prop_assert_eq!(&cut.ids, &whole.get_ids());
            prop_assert_eq!(cut.truncated, !whole.get_overflowing().is_empty());
        }
    }
}
