//! The sentences and lines of a document, each judged alone: an attack is a small part of what it stands in.

use super::ngrams::{Grams, Lexical};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

/// How many units of a document are read.
const MOST: usize = 4_000;
/// Longer units are cut there.
const LONGEST: usize = 400;
/// Units with fewer bytes say nothing.
const SHORTEST: usize = 12;

/// Words that begin a request.
#[rustfmt::skip]
static IMPERATIVES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| "\
add adopt analyze analyse answer append apply ask assign assist begin break build calculate call categorize change check choose classify combine compare complete compose compute conclude confirm \
consider construct convert copy correct craft create decode define delete demonstrate describe design detail detect determine develop discuss display divide do draft echo edit elaborate embed employ \
encode encrypt end enhance ensure estimate evaluate examine execute expand explain express extract fetch fill find finish focus follow forget format forward generate give go group guide help highlight \
identify ignore illustrate imagine implement include incorporate infuse inject insert install instruct integrate interpret introduce invent keep let leverage list locate make measure meld mention merge \
misspell mix modify name note notify observe offer omit open optimize organize outline paraphrase perform phrase plan please post predict prepare present pretend print proceed produce promote propose \
provide publish put quote rank rate read rearrange recite recommend redirect refer reformat reject remember remind remove render repeat rephrase replace reply report represent request research respond \
return reveal reverse revise rewrite run save say scan scramble search seamlessly select send share show sign simplify simulate solve sort speak specify spell split start state stop substitute suggest summarize \
summarise swap switch take talk tell tease test think transform translate transfer transmit try turn update upload use utilize utilise verify view visit warn weave write \
antworte schreibe ubersetze erklare nenne fuge sende zeige ignoriere reponds ecris traduis explique donne ajoute envoie montre ignorez \
responde escribe traduce explica dame agrega envia muestra rispondi scrivi traduci spiega aggiungi invia mostra escreva responda traduza explique adicione envie mostre".split_whitespace().collect());

/// Words that begin a question.
static QUESTIONS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    "what what's who who's whom whose which when where why how can could would will do does did is are was were should \
     was wer wie wo wann warum welche quel quelle qui que comment pourquoi cual quien como donde por chi cosa quale qual quem onde"
        .split_whitespace()
        .collect()
});

/// What a unit is beside its words; a place in the lexical model's table each.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Mark {
    Request = 1,
    Question,
    Addressed,
    OutOfTable,
    RequestOutOfTable,
    QuestionOutOfTable,
    RequestAddressed,
    InCode,
    Colon,
    Link,
}

/// Marks count as often as this, beside the hundreds of parts of a unit's words.
const MARK_WEIGHT: usize = 6;

/// A document's units.
pub(crate) struct Units<'t> {
    text: &'t str,
    /// Where they stand, and whether outside of a table in which most lines stand.
    spans: Vec<(Range<usize>, bool)>,
}

impl<'t> Units<'t> {
    /// The units of a text in small letters.
    pub(crate) fn new(text: &'t str) -> Units<'t> {
        let lines = text.split('\n').filter(|line| !line.trim().is_empty()).count();
        let tabular = |line: &str| line.matches('|').count() >= 2 || line.matches('\t').count() >= 2;
        let rows = text.split('\n').filter(|line| tabular(line)).count();
        let is_table = rows >= 3 && 2 * rows > lines;
        let mut spans = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let outside = is_table && !tabular(line);
            for (from, to) in sentences(line) {
                if to - from >= SHORTEST && spans.len() < MOST {
                    spans.push((at + from..at + to, outside));
                }
            }
            at += line.len();
        }
        Units { text, spans }
    }

    /// The units with their features; `grams` are the text's.
    pub(crate) fn iter<'u>(&'u self, grams: &'u Grams) -> impl Iterator<Item = (&'t str, Vec<u32>)> + 'u {
        self.spans.iter().map(move |(span, outside)| {
            let unit = &self.text[span.clone()];
            let mut features = grams.within(span).to_vec();
            for mark in marks(unit, *outside) {
                features.extend([mark as u32; MARK_WEIGHT]);
            }
            (unit, features)
        })
    }

    /// The log odds of the two most suspicious units that one stands for an attack, the highest first.
    pub(crate) fn most(&self, model: &Lexical, grams: &Grams) -> [f32; 2] {
        let mut most = [FLOOR; 2];
        for (span, outside) in &self.spans {
            let marks = marks(&self.text[span.clone()], *outside).map(|mark| mark as u32);
            let odds = model.of_features(grams.within(span), marks, MARK_WEIGHT);
            if odds > most[0] {
                most = [odds, most[0]];
            } else {
                most[1] = most[1].max(odds);
            }
        }
        most
    }
}

/// The log odds of nothing.
const FLOOR: f32 = -8.0;

/// Where the sentences of a line stand.
fn sentences(line: &str) -> Vec<(usize, usize)> {
    let bytes = line.as_bytes();
    let mut found = Vec::new();
    let mut from = 0;
    for at in 0..bytes.len() {
        let ends = matches!(bytes[at], b'.' | b'!' | b'?' | b'>')
            && bytes.get(at + 1).is_none_or(u8::is_ascii_whitespace)
            || (at - from >= LONGEST && bytes[at] == b' ');
        if ends {
            push(line, from, at + 1, &mut found);
            from = at + 1;
        }
    }
    push(line, from, bytes.len(), &mut found);
    found
}

fn push(line: &str, from: usize, to: usize, found: &mut Vec<(usize, usize)>) {
    let Some(part) = line.get(from..to) else { return };
    let inner = part.trim();
    let start = from + (part.len() - part.trim_start().len());
    if !inner.is_empty() {
        found.push((start, start + inner.len()));
    }
}

/// What one unit is.
fn marks(unit: &str, outside: bool) -> impl Iterator<Item = Mark> {
    let mut words = unit.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let request = IMPERATIVES.contains(first)
        || (first.ends_with("ly") && words.next().is_some_and(|second| IMPERATIVES.contains(second)));
    let question = unit.ends_with('?') || QUESTIONS.contains(first);
    let addressed = [" your ", " you ", " reply", " response", " answer"].iter().any(|w| unit.contains(w))
        || unit.starts_with("your ");
    let marks = [
        (request, Mark::Request),
        (question, Mark::Question),
        (addressed, Mark::Addressed),
        (outside, Mark::OutOfTable),
        (outside && request, Mark::RequestOutOfTable),
        (outside && question, Mark::QuestionOutOfTable),
        (request && addressed, Mark::RequestAddressed),
        (unit.contains("()") || unit.contains(" = ") || unit.contains("```"), Mark::InCode),
        (unit.ends_with(':'), Mark::Colon),
        (unit.contains("http") || unit.contains("www."), Mark::Link),
    ];
    marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_sentences_are_units_and_a_line_outside_of_a_table_is_marked() {
        let text = "| name | year | sum |\n| ada | 1815 | 36 |\n| alan | 1912 | 41 |\nwrite a poem now. and another one!\n";
        let units = Units::new(text);
        let read: Vec<_> =
            units.spans.iter().map(|(span, outside)| (&text[span.clone()], *outside)).collect();
        assert_eq!(read.len(), 5);
        assert_eq!(read[3], ("write a poem now.", true));
        assert!(!read[0].1);
        let marked: Vec<u32> = marks("write a poem now.", true).map(|mark| mark as u32).collect();
        assert!(
            marked.contains(&(Mark::RequestOutOfTable as u32)) && !marked.contains(&(Mark::Question as u32))
        );
    }
}
