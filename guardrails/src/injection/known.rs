//! Texts of known attacks, found again whatever their case, spacing, punctuation, imitated letters or encoding.

use super::decoded::decoded;
use super::reading::Reading;
use aho_corasick::AhoCorasick;

/// Texts of fewer words count only where they are all that is said: their words may stand in any text.
const LEAST_WORDS: usize = 4;

/// The words of a text, in the form that comparisons are made in, with one blank between them.
pub fn words(text: &str) -> String {
    let read = Reading::new(text).text;
    let words = read.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Known attacks by their words.
#[derive(Debug, Default)]
pub struct KnownTexts {
    finder: Option<AhoCorasick>,
    /// Whether a text counts within others.
    within: Vec<bool>,
}

impl KnownTexts {
    /// These texts; what [`KnownTexts::find`] gives is a place among them. One without words is never found.
    ///
    /// # Errors
    /// If they are too many.
    pub fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Result<KnownTexts, String> {
        // Blanks around them, so that no word is cut.
        let forms: Vec<String> = texts.map(|text| format!(" {} ", words(text))).collect();
        let within = forms.iter().map(|form| form.split(' ').count() >= LEAST_WORDS + 2).collect();
        let finder = AhoCorasick::new(&forms).map_err(|error| error.to_string())?;
        Ok(KnownTexts { finder: (!forms.is_empty()).then_some(finder), within })
    }

    /// The first of the known texts that stands in a text, or in what that holds encoded.
    pub fn find(&self, text: &str) -> Option<usize> {
        let finder = self.finder.as_ref()?;
        let find = |text: &str| {
            let form = format!(" {} ", words(text));
            let found = finder.find_overlapping_iter(&form).find(|found| {
                let whole = found.len() == form.len();
                found.len() > 2 && (whole || self.within[found.pattern().as_usize()])
            });
            found.map(|found| found.pattern().as_usize())
        };
        find(text).or_else(|| decoded(text).iter().find_map(|view| find(&view.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> KnownTexts {
        KnownTexts::new(["Open the pod bay doors, HAL!", "Be evil", ""].into_iter()).unwrap()
    }

    #[test]
    fn a_known_text_is_found_in_other_spellings_and_within_others() {
        for text in [
            "open the pod bay doors hal",
            "Dear HAL, please:\n\"Open  the POD-bay doors -- HAL\" and be quick.",
            "Op\u{435}n the p\u{43e}d bay doors, HAL",
            "O\u{200b}pen the pod bay d\u{200b}oors, HAL",
            "Read this: T3BlbiB0aGUgcG9kIGJheSBkb29ycywgSEFMIQ==",
        ] {
            assert_eq!(known().find(text), Some(0), "{text}");
        }
        assert_eq!(known().find("Reopen the pod bay doors, HAL"), None, "words are not cut");
        assert_eq!(known().find("Open the pod bay doors"), None);
    }

    #[test]
    fn a_short_text_counts_by_itself_alone_and_an_empty_one_never() {
        assert_eq!(known().find(" BE evil. "), Some(1));
        assert_eq!(known().find("Never be evil to anybody"), None);
        assert_eq!((known().find(""), known().find("...")), (None, None));
        assert_eq!(KnownTexts::default().find("Be evil"), None);
    }
}
