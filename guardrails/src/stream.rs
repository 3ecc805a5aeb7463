//! Puts originals back into text that arrives in pieces.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Placeholders and what stands for each. Says nothing of itself in logs.
#[derive(Default)]
pub(crate) struct Table {
    originals: BTreeMap<String, String>,
    longest: usize,
}

/// What stands at an opening bracket.
enum At<'t> {
    /// A placeholder of so many bytes, and its original.
    Token(usize, &'t str),
    /// The beginning of one, cut off by the end of the text.
    Beginning,
    /// Something else.
    Other,
}

impl Table {
    pub(crate) fn new(originals: BTreeMap<String, String>) -> Table {
        let longest = originals.keys().map(String::len).max().unwrap_or(0);
        Table { originals, longest }
    }

    pub(crate) fn knows(&self, token: &str) -> bool {
        self.originals.contains_key(token)
    }

    /// Appends `text` with originals in place of placeholders to `out`, and returns what is left at the end
    /// because more text decides it.
    pub(crate) fn replace<'t>(&self, mut text: &'t str, out: &mut String) -> &'t str {
        if self.originals.is_empty() {
            out.push_str(text);
            return "";
        }
        while let Some(bracket) = text.find('[') {
            out.push_str(&text[..bracket]);
            text = &text[bracket..];
            match self.at(text) {
                At::Token(len, original) => {
                    out.push_str(original);
                    text = &text[len..];
                }
                At::Beginning => return text,
                At::Other => {
                    out.push('[');
                    text = &text[1..];
                }
            }
        }
        out.push_str(text);
        ""
    }

    fn at(&self, text: &str) -> At<'_> {
        if let Some(end) = text.bytes().take(self.longest).position(|byte| byte == b']') {
            return match self.originals.get(&text[..=end]) {
                Some(original) => At::Token(end + 1, original),
                None => At::Other,
            };
        }
        // Keys are sorted: if any begins with `text`, the first one not before it does.
        let from = (std::ops::Bound::Included(text), std::ops::Bound::Unbounded);
        let next = self.originals.range::<str, _>(from).next();
        if next.is_some_and(|(token, _)| token.starts_with(text)) { At::Beginning } else { At::Other }
    }
}

/// Rehydrates one stream: a choice's content, or the arguments of one tool call.
///
/// Text comes out as it goes in, except that an end which may be the beginning of an issued placeholder waits
/// for the next piece. However the text is cut, the pieces together are what [`crate::Vault::rehydrate`] makes
/// of the whole.
pub struct Rehydrator {
    table: Arc<Table>,
    held: String,
}

impl Rehydrator {
    pub(crate) fn new(table: Arc<Table>) -> Rehydrator {
        Rehydrator { table, held: String::new() }
    }

    /// Takes the next piece and returns what is certain by now.
    pub fn push(&mut self, chunk: &str) -> String {
        let mut out = String::with_capacity(self.held.len() + chunk.len());
        if self.held.is_empty() {
            self.held = self.table.replace(chunk, &mut out).to_owned();
        } else {
            self.held.push_str(chunk);
            let text = std::mem::take(&mut self.held);
            self.held = self.table.replace(&text, &mut out).to_owned();
        }
        out
    }

    /// Returns what was still held back, at the end of the stream.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

impl fmt::Debug for Rehydrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehydrator").field("held_bytes", &self.held.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Arc<Table> {
        let pairs = [("[US_SSN_1]", "one"), ("[US_SSN_10]", "ten"), ("[EMAIL_ADDRESS_2]", "ada@example.org")];
        Arc::new(Table::new(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()))
    }

    fn whole(text: &str) -> String {
        let mut rehydrator = Rehydrator::new(table());
        rehydrator.push(text) + &rehydrator.finish()
    }

    #[test]
    fn only_the_beginning_of_an_issued_placeholder_is_held_back() {
        let mut rehydrator = Rehydrator::new(table());
        assert_eq!(rehydrator.push("see [1] and [US_"), "see [1] and ");
        assert_eq!(rehydrator.push("SSN_1"), "");
        assert_eq!(rehydrator.push("1] or [US_SSN_1"), "[US_SSN_11] or ");
        assert_eq!(rehydrator.push("0]!"), "ten!");
        assert_eq!(rehydrator.push("[EMAIL_ADDRESS_1"), "[EMAIL_ADDRESS_1");
        assert_eq!(rehydrator.push("[EM"), "");
        assert_eq!(rehydrator.finish(), "[EM");
        assert_eq!(rehydrator.finish(), "");
    }

    #[test]
    fn brackets_in_brackets_do_not_hide_a_placeholder() {
        assert_eq!(whole("[[US_SSN_1]] [US_SSN_[US_SSN_10]"), "[one] [US_SSN_ten");
    }

    #[test]
    fn a_stream_cut_anywhere_is_the_whole() {
        let text = "Dear [US_SSN_1], [EMAIL_ADDRESS_2]é[US_SSN_10] [US_SSN_100] [[EMAIL_ADDRESS_2]] ü [US_";
        let cuts: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
        for &a in &cuts {
            for &b in cuts.iter().filter(|b| **b >= a) {
                let mut rehydrator = Rehydrator::new(table());
                let pieces = [&text[..a], &text[a..b], &text[b..]].map(|piece| rehydrator.push(piece));
                assert_eq!(pieces.concat() + &rehydrator.finish(), whole(text));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_stream_of_single_characters_is_the_whole(
            parts in prop::collection::vec(prop_oneof![
                Just("[US_SSN_1]"), Just("[US_SSN_1"), Just("[US_SSN_10]"), Just("[EMAIL_ADDRESS_2]"),
                Just("["), Just("]"), Just("ü"), Just("[[US"), Just("_SSN_1]"), Just("text "),
            ], 0..30)
        ) {
            let text = parts.concat();
            let mut rehydrator = Rehydrator::new(table());
            let pieces: String = text.chars().map(|c| rehydrator.push(c.encode_utf8(&mut [0; 4]))).collect();
            prop_assert_eq!(pieces + &rehydrator.finish(), whole(&text));
        }
    }
}
