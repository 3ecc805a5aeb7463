//! What becomes of a character: dropped, a space, a word of its own, or part of a word, in what spelling.
//!
//! BERT's normalizer and pre-tokenizer treat every character by itself, but for one thing: the decomposition that
//! precedes stripping accents also reorders combining marks (Unicode Standard Annex 15, canonical ordering). A mark
//! that could be reordered and is not dropped is [`Kind::Unknown`]; with these out of the way, a table by character
//! says everything. It is filled from `tokenizers`, a character at a time, when it first turns up.

use super::pieces::Word;
use std::sync::OnceLock;
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

/// How a character acts on the word in front of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Its bytes go on with the word.
    Inside,
    /// It ends the word.
    Space,
    /// It ends the word and its bytes are a word too.
    Alone,
    /// It leaves no trace.
    Nothing,
    /// What it does cannot be said without its neighbours.
    Unknown,
}

/// The longest spelling kept, in bytes: a Hangul syllable taken apart.
const SPELLING: usize = 9;

/// What becomes of one character.
#[derive(Clone, Copy)]
pub(super) struct Became {
    kind: Kind,
    len: u8,
    bytes: [u8; SPELLING],
}

impl Became {
    const UNKNOWN: Self = Self { kind: Kind::Unknown, len: 0, bytes: [0; SPELLING] };

    fn new(kind: Kind, spelling: &str) -> Self {
        let mut bytes = [0; SPELLING];
        // A word with a NUL could not be told from a shorter one when it is looked up.
        let (Some(room), false) = (bytes.get_mut(..spelling.len()), spelling.contains('\0')) else {
            return Self::UNKNOWN;
        };
        room.copy_from_slice(spelling.as_bytes());
        Self { kind, len: spelling.len() as u8, bytes }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its spelling in UTF-8; empty for a space and for nothing.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

const PAGE: usize = 128;
/// Up to U+1FFFF: all scripts and emoji in use but for the rare ideographs.
const PAGES: usize = 0x2_0000 / PAGE;

type Page = [OnceLock<Became>; PAGE];

/// The table of characters.
pub(super) struct Chars {
    normalizer: BertNormalizer,
    /// For ASCII letters and digits their spelling, for all other bytes 0.
    spelt: [u8; 256],
    ascii: [Became; 128],
    pages: Box<[OnceLock<Box<Page>>]>,
}

impl Chars {
    /// A table for these settings, or `None` if they are not BERT's.
    pub(super) fn new(normalizer: &NormalizerWrapper, pre: &PreTokenizerWrapper) -> Option<Self> {
        let (NormalizerWrapper::BertNormalizer(normalizer), PreTokenizerWrapper::BertPreTokenizer(_)) =
            (normalizer, pre)
        else {
            return None;
        };
        let pages = std::iter::repeat_with(OnceLock::new).take(PAGES).collect();
        let ascii = [Became::UNKNOWN; 128];
        let mut chars = Self { normalizer: *normalizer, spelt: [0; 256], ascii, pages };
        for c in '\0'..='\u{7F}' {
            let became = chars.ask(c)?;
            chars.ascii[c as usize] = became;
            if let (Kind::Inside, [byte]) = (became.kind, became.bytes()) {
                chars.spelt[c as usize] = *byte;
            }
        }
        Some(chars)
    }

    /// What becomes of `c`. Takes some microseconds the first time, as long as `tokenizers` does for a word.
    #[inline]
    pub(super) fn get(&self, c: char) -> &Became {
        if let Some(became) = self.ascii.get(c as usize) {
            return became;
        }
        let (page, at) = (c as usize / PAGE, c as usize % PAGE);
        let Some(page) = self.pages.get(page) else { return &Became::UNKNOWN };
        let page = page.get_or_init(|| Box::new([const { OnceLock::new() }; PAGE]));
        page[at].get_or_init(|| self.ask(c).unwrap_or(Became::UNKNOWN))
    }

    /// Adds the ASCII letters and digits from `at` on to `word`, if it has room for them. Returns where it stopped.
    #[inline]
    pub(super) fn ascii_run(&self, text: &[u8], at: usize, word: &mut Word) -> usize {
        let mut end = at;
        word.fill(text.get(at..).unwrap_or_default().iter().map_while(|byte| {
            let spelt = self.spelt[usize::from(*byte)];
            end += usize::from(spelt != 0);
            (spelt != 0).then_some(spelt)
        }));
        end
    }

    /// What `tokenizers` makes of `c`.
    fn ask(&self, c: char) -> Option<Became> {
        let mut normalized = NormalizedString::from(c.to_string());
        self.normalizer.normalize(&mut normalized).ok()?;
        let normalized = normalized.get();
        let reorders = self.normalizer.strip_accents.unwrap_or(self.normalizer.lowercase);
        if reorders && !normalized.chars().all(stays_put) {
            return None;
        }
        // Between two letters it shows whether it parts them.
        let mut between = PreTokenizedString::from(format!("b{normalized}e"));
        BertPreTokenizer.pre_tokenize(&mut between).ok()?;
        let splits = between.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let words: Vec<&str> = splits.iter().map(|(word, ..)| *word).collect();
        match words.as_slice() {
            ["be"] => Some(Became::new(Kind::Nothing, "")),
            ["b", "e"] => Some(Became::new(Kind::Space, "")),
            ["b", alone, "e"] => Some(Became::new(Kind::Alone, alone)),
            [_] => Some(Became::new(Kind::Inside, normalized)),
            _ => None,
        }
    }
}

/// Whether canonical ordering leaves `c` where it is: behind U+0345, whose class is the highest, any other class but
/// 0 moves to the front.
fn stays_put(c: char) -> bool {
    const LAST: char = '\u{345}';
    let mut probe = NormalizedString::from(format!("{LAST}{c}"));
    probe.nfd();
    c != LAST && probe.get().starts_with(LAST)
}
