//! Which language and script a prompt is in: a vote of function words, and the characters themselves.

use super::lexicon::LANGUAGES;

/// No language is clear.
pub(super) const UNKNOWN: u8 = 0;
/// A script other than Latin has this code or a higher one; languages with lists have 1 to 8.
const SCRIPTS: u8 = 16;

/// Letters seen per script.
#[derive(Clone, Copy, Default)]
pub(super) struct Scripts {
    counts: [u16; 9],
}

impl Scripts {
    /// Counts the first letter of a word.
    pub(super) fn see(&mut self, c: char) {
        let script = match c as u32 {
            ..=0x24f | 0x1e00..=0x1eff => 0,
            0x370..=0x3ff => 1,
            0x400..=0x52f => 2,
            0x590..=0x5ff => 3,
            0x600..=0x77f | 0xfb50..=0xfdff | 0xfe70..=0xfeff => 4,
            0x900..=0xdff => 5,
            0xe00..=0xeff => 6,
            // Kana says Japanese even among Han characters.
            0x3040..=0x30ff | 0x31f0..=0x31ff => 7,
            0xac00..=0xd7af | 0x1100..=0x11ff => 8,
            _ => return,
        };
        self.counts[script] = self.counts[script].saturating_add(1);
    }
}

/// True for letters of scripts that put no spaces between words.
pub(super) fn has_no_spaces(c: char) -> bool {
    matches!(c as u32,
        0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x2e80..=0x2fdf | 0x3005..=0x3007 | 0x3040..=0x30ff
        | 0x31f0..=0x31ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// How many function words of each language there were.
#[derive(Clone, Copy, Default)]
pub(super) struct Votes([u16; LANGUAGES.len()]);

impl Votes {
    /// Counts a word that is a function word in the languages of `bits`.
    pub(super) fn count(&mut self, bits: u8) {
        for (i, votes) in self.0.iter_mut().enumerate() {
            *votes = votes.saturating_add(u16::from(bits >> i & 1));
        }
    }

    /// The code of the language, [`UNKNOWN`] where less than two words and one more than of any other speak for it.
    /// `han`: there are Han characters.
    pub(super) fn language(self, scripts: Scripts, han: bool) -> u8 {
        if let Some(foreign) =
            (1..9).max_by_key(|s| scripts.counts[*s]).filter(|s| scripts.counts[*s] > scripts.counts[0])
        {
            return SCRIPTS + foreign as u8;
        }
        if han && scripts.counts[0] == 0 {
            return SCRIPTS;
        }
        let best = (0..self.0.len()).max_by_key(|i| (self.0[*i], self.0.len() - i)).unwrap_or(0);
        let second = (0..self.0.len()).filter(|i| *i != best).map(|i| self.0[i]).max().unwrap_or(0);
        if self.0[best] >= 2 && self.0[best] > second { best as u8 + 1 } else { UNKNOWN }
    }
}

/// The bit of a language's code in a word's `stops`; English where none is clear.
pub(super) fn stop_bit(language: u8) -> u8 {
    match language {
        UNKNOWN => 1,
        1..=8 => 1 << (language - 1),
        _ => 0,
    }
}
