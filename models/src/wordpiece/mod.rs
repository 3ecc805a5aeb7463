//! WordPiece without detours: the ids `tokenizers` would give, for the tokenizers and texts this module knows exactly.
//!
//! `tokenizers` keeps for every byte where it came from, splits the text several times and allocates for every word.
//! An embedding needs none of that, so here one pass over the bytes cleans, folds and splits ([`chars`]), and every
//! finished word is cut into pieces ([`pieces`]). What a character becomes is asked of `tokenizers` itself, hence
//! there is no second opinion on Unicode in here. Whatever is not known to come out the same is handed back.

mod chars;
mod pieces;

use crate::tokens::TokenIds;
use chars::{Chars, Kind};
use pieces::{Pieces, Word};
use tokenizers::models::ModelWrapper;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{Encoding, PostProcessor, Token, Tokenizer};

/// A BERT tokenizer for one text at a time.
pub(crate) struct WordPiece {
    chars: Chars,
    pieces: Pieces,
    /// Ids in front of every text, `[CLS]`.
    head: Vec<u32>,
    /// Ids behind every text, `[SEP]`.
    tail: Vec<u32>,
    /// Added tokens and their ids, which stand for themselves wherever they occur in a text; longest first.
    added: Vec<(String, u32)>,
    /// How many pieces fit between head and tail.
    room: usize,
}

impl WordPiece {
    /// The same tokenizer as `tokenizer`, or `None` if any part of that is of another shape than BERT's.
    ///
    /// `max_tokens` counts all ids of a text, markers included.
    pub(crate) fn same_as(tokenizer: &Tokenizer, max_tokens: usize) -> Option<Self> {
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
        if model.continuing_subword_prefix != "##" || tokenizer.get_encode_special_tokens() {
            return None;
        }
        let vocabulary = tokenizer.get_vocab(false);
        let pieces = Pieces::new(&vocabulary, &model.unk_token, model.max_input_chars_per_word)?;
        let (head, tail) = markers(tokenizer.get_post_processor())?;
        let room = max_tokens.checked_sub(head.len() + tail.len()).filter(|room| *room > 0)?;
        let chars = Chars::new(tokenizer.get_normalizer()?, tokenizer.get_pre_tokenizer()?)?;
        Some(Self { chars, pieces, head, tail, added: added(tokenizer)?, room })
    }

    /// The ids of `text`, cut to the limit; `None` if it holds a character this module does not know exactly.
    ///
    /// Reads no further than the limit needs.
    pub(crate) fn encode(&self, text: &str) -> Option<TokenIds> {
        let limit = self.head.len() + self.room;
        // English has about four bytes to a token; a word may be one piece more than the limit.
        let mut ids = Vec::with_capacity(limit.min(text.len() / 3 + 1) + self.tail.len() + self.head.len());
        ids.extend_from_slice(&self.head);
        let mut word = Word::new();
        let mut at = 0;
        while at < text.len() && ids.len() <= limit {
            at = self.chars.ascii_run(text.as_bytes(), at, &mut word);
            let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
            let became = self.chars.get(c);
            match became.kind() {
                Kind::Inside => word.push(became.bytes()),
                Kind::Nothing => {}
                Kind::Unknown => return None,
                Kind::Space => self.pieces.finish(&mut word, &mut ids),
                Kind::Alone => {
                    self.pieces.finish(&mut word, &mut ids);
                    if let Some((token, id)) = self.added_at(&text[at..]) {
                        ids.push(id);
                        at += token.len();
                        continue;
                    }
                    word.push(became.bytes());
                    self.pieces.finish(&mut word, &mut ids);
                }
            }
            at += c.len_utf8();
        }
        self.pieces.finish(&mut word, &mut ids);
        let truncated = ids.len() > limit;
        ids.truncate(limit);
        ids.extend_from_slice(&self.tail);
        Some(TokenIds { ids, truncated })
    }

    /// The added token `text` begins with.
    fn added_at(&self, text: &str) -> Option<(&str, u32)> {
        let found = self.added.iter().find(|(token, _)| text.starts_with(token.as_str()));
        found.map(|(token, id)| (token.as_str(), *id))
    }
}

/// The added tokens, longest first, if they are of the plain kind: found literally in the text as it came, and
/// beginning with ASCII punctuation, so that they need to be looked for only there.
///
/// Whether they swallow spaces around them is of no interest, as spaces give no ids.
fn added(tokenizer: &Tokenizer) -> Option<Vec<(String, u32)>> {
    let mut added = Vec::new();
    for (id, token) in tokenizer.get_added_tokens_decoder() {
        let plain = !token.normalized && !token.single_word;
        if !plain || !token.content.starts_with(|c: char| c.is_ascii_punctuation()) {
            return None;
        }
        added.push((token.content, id));
    }
    added.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
    Some(added)
}

/// What the post-processor puts in front of and behind a text, learnt from what it does to two made-up tokens.
fn markers(processor: Option<&PostProcessorWrapper>) -> Option<(Vec<u32>, Vec<u32>)> {
    let processor = processor.filter(|processor| {
        matches!(processor, PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_))
    })?;
    let probe = [u32::MAX - 1, u32::MAX];
    let tokens = probe.map(|id| Token::new(id, String::new(), (0, 0)));
    let processed = processor.process(Encoding::from_tokens(tokens.into(), 0), None, true).ok()?;
    let ids = processed.get_ids();
    let at = ids.windows(2).position(|pair| pair == probe)?;
    let (head, tail) = (&ids[..at], &ids[at + 2..]);
    let once = !head.iter().chain(tail).any(|id| probe.contains(id));
    once.then(|| (head.to_vec(), tail.to_vec()))
}

#[cfg(test)]
mod tests;
