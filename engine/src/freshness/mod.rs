//! What a prompt says about how long, for whom and on what its answer depends: lists of words, nothing learned.
//!
//! The lists are for the common cases of four languages. Where a word can mean both, the reading is chosen that serves
//! less: a short lifetime too many costs a call, a stale or foreign answer costs trust.

mod words;

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use words::{BELONGINGS, EMPTY, HOW_TO, POSSESSIVES, Phrase, TIMELESS, TIMELY};

/// Words that are looked at. A prompt that says later what it depends on says a lot before that.
const MOST_WORDS: usize = 2048;
/// Fewer words with content of their own than this need what came before them.
const CONTENT: usize = 3;
/// Words between a possessive and what is possessed, such as "my last two orders".
const BETWEEN: usize = 2;
/// Words that the longest of the timeless names has.
const LONGEST_NAME: usize = 4;

/// What the answer to a prompt depends on beside the prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dependence {
    /// On when it is asked: "today", "current price", "the latest".
    pub on_time: bool,
    /// On who asks: "my balance". Asking how to do something with what one has is the same for everybody.
    pub on_person: bool,
    /// On what was said before: "yes, do it", "and the second one?". It says little by itself.
    pub on_context: bool,
}

/// What the answer to this text depends on.
pub fn dependence(text: &str) -> Dependence {
    let words = words_of(text);
    Dependence {
        on_time: is_timely(&words),
        on_person: is_personal(&words),
        on_context: content(&words) < CONTENT,
    }
}

/// Lower case without accents; everything but letters and digits separates.
fn words_of(text: &str) -> Vec<String> {
    let plain = |word: &str| -> String {
        if word.is_ascii() {
            return word.to_ascii_lowercase();
        }
        word.to_lowercase().nfd().filter(|c| !is_combining_mark(*c)).collect()
    };
    let is_separator = |c: char| !(c.is_alphanumeric() || is_combining_mark(c));
    text.split(is_separator).filter(|word| !word.is_empty()).take(MOST_WORDS).map(plain).collect()
}

/// The phrases by their first word, and those that begin with the beginning of a word.
struct Timely {
    by_first: HashMap<&'static str, Vec<&'static Phrase>>,
    by_beginning: Vec<&'static Phrase>,
}

static TIMELY_BY_WORD: LazyLock<Timely> = LazyLock::new(|| {
    let mut timely = Timely { by_first: HashMap::new(), by_beginning: Vec::new() };
    for phrase in TIMELY {
        match phrase.words.split(' ').next() {
            Some(first) if !first.ends_with('*') => timely.by_first.entry(first).or_default().push(phrase),
            _ => timely.by_beginning.push(phrase),
        }
    }
    timely
});

static EMPTY_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| EMPTY.iter().copied().collect());

fn is_timely(words: &[String]) -> bool {
    let timely = &*TIMELY_BY_WORD;
    (0..words.len()).any(|at| {
        let by_first = timely.by_first.get(words[at].as_str()).into_iter().flatten();
        by_first.chain(&timely.by_beginning).any(|phrase| stands_at(phrase, words, at))
    })
}

fn stands_at(phrase: &Phrase, words: &[String], at: usize) -> bool {
    let Some(length) = matched(phrase.words, &words[at..]) else { return false };
    let has = |list: &str, word: Option<&String>| {
        word.is_some_and(|word| list.split_whitespace().any(|w| w == word))
    };
    let excepted = has(phrase.not_after, at.checked_sub(1).and_then(|before| words.get(before)))
        || has(phrase.not_before, words.get(at + length));
    let covers = |from: usize| {
        TIMELESS.iter().any(|name| matched(name, &words[from..]).is_some_and(|length| from + length > at))
    };
    !excepted && !(at.saturating_sub(LONGEST_NAME)..=at).any(covers)
}

/// How many words the phrase is long, if the text begins with it.
fn matched(phrase: &str, words: &[String]) -> Option<usize> {
    let mut length = 0;
    for wanted in phrase.split(' ') {
        if !is_word(wanted, words.get(length)?) {
            return None;
        }
        length += 1;
    }
    Some(length)
}

fn is_word(wanted: &str, word: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => word.starts_with(beginning),
        None => wanted == word,
    }
}

fn is_personal(words: &[String]) -> bool {
    let is_one_of = |list: &[&str], word: &String| list.iter().any(|wanted| is_word(wanted, word));
    let owns = |at: usize| {
        let near = words[at + 1..].iter().take(BETWEEN + 1);
        is_one_of(POSSESSIVES, &words[at]) && near.into_iter().any(|word| is_one_of(BELONGINGS, word))
    };
    let asks_how =
        || (0..words.len()).any(|at| HOW_TO.iter().any(|way| matched(way, &words[at..]).is_some()));
    (0..words.len()).any(owns) && !asks_how()
}

/// How many words say something by themselves. Scripts without spaces say a word in two signs or so.
fn content(words: &[String]) -> usize {
    let weight = |word: &String| match word.chars().filter(|c| is_unspaced(*c)).count() {
        0 => usize::from(!EMPTY_WORDS.contains(word.as_str())),
        signs => signs.div_ceil(2),
    };
    words.iter().map(weight).sum()
}

/// Han, kana, Thai, Lao, Khmer and Burmese letters.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_about_the_day_or_the_hour_depend_on_time() {
        for text in [
            "What's the weather like in Turin?",
            "Who is the current prime minister?",
            "What is open now?",
            "Show me today's menu",
            "price of gold",
            "Give me the latest headlines",
            "Is there a train this weekend?",
            "What's the EUR/USD exchange rate?",
            "what time is it in Tokyo",
            "Wie ist das Wetter in Köln?",
            "Was kostet das heute?",
            "Wer ist der aktuelle Bürgermeister?",
            "Was läuft nächste Woche im Kino?",
            "Quel temps fait-il aujourd’hui ?",
            "Le prix du gaz en ce moment",
            "Qui est l'actuel ministre ?",
            "¿Qué tiempo hace en Sevilla?",
            "¿Cuál es el precio del oro hoy?",
            "¿Está abierto mañana?",
        ] {
            assert!(dependence(text).on_time, "{text}");
        }
    }

    #[test]
    fn words_of_time_that_mean_something_else_do_not() {
        for text in [
            "How do I open a current account?",
            "I want to change my current password",
            "Now that I have a card, how do I use it?",
            "From now on send letters by e-mail",
            "My card was declined, what now?",
            "Where is the price list of the spa?",
            "Explain how alternating current works",
            "I need it by Friday at the latest",
            "Which weather station should I buy?",
            "How do I subscribe to the newsletter?",
            "Guten Morgen, wie ändere ich meine PIN?",
            "Hier ist mein Vertrag",
            "Bis jetzt kam keine Karte an",
            "Por la mañana no puedo",
            "Jusqu'à maintenant rien",
            "How do I reset my password?",
        ] {
            assert!(!dependence(text).on_time, "{text}");
        }
    }

    #[test]
    fn what_somebody_has_depends_on_who_asks_and_how_to_do_things_does_not() {
        for text in [
            "What is my balance?",
            "Where is our last order?",
            "Why was my card declined?",
            "Wo ist meine Bestellung?",
            "Zeig mir mein Guthaben",
            "Où est ma commande ?",
            "¿Cuál es mi saldo?",
        ] {
            assert!(dependence(text).on_person, "{text}");
        }
        for text in [
            "How do I close my account?",
            "Can I change my order?",
            "Wie kann ich mein Konto schließen?",
            "Comment fermer mon compte ?",
            "¿Cómo puedo cerrar mi cuenta?",
            "What is a balance sheet?",
            "My favourite colour is blue, what goes with it?",
        ] {
            assert!(!dependence(text).on_person, "{text}");
        }
    }

    #[test]
    fn what_says_little_by_itself_depends_on_what_came_before() {
        for text in [
            "Yes, do it",
            "And the second one?",
            "why?",
            "What about the blue one?",
            "Ja, mach das bitte",
            "Und die andere?",
            "Oui, vas-y",
            "Sí, por favor",
            "",
            "???",
            "好的",
        ] {
            assert!(dependence(text).on_context, "{text}");
        }
        for text in [
            "How do I reset my forgotten banking password?",
            "Explain photosynthesis for small children",
            "请帮我取消第二个订单",
        ] {
            assert!(!dependence(text).on_context, "{text}");
        }
    }

    #[test]
    fn every_phrase_of_the_lists_can_be_met() {
        assert!(TIMELESS.iter().all(|name| name.split(' ').count() <= LONGEST_NAME));
        for phrase in TIMELY {
            let text = phrase.words.replace('*', "");
            assert!(dependence(&text).on_time, "{text}");
            assert_eq!(words_of(&text).join(" "), text, "in the form in which texts are compared");
        }
    }
}
