//! Whether an answer repeats the system prompt it was given.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many words in a row are compared.
const SHINGLE: usize = 6;
/// So many words in a row of a system prompt are a leak, however long it is.
const MOST: usize = 24;
/// A system prompt of fewer words says nothing worth hiding.
const LEAST: usize = 10;
/// No word is longer; what is, is cut.
const LONGEST_WORD: usize = 64;

/// What a system prompt says, to be compared with. Holds hashes alone.
pub struct Prompt {
    shingles: HashSet<u64>,
    /// How many words in a row are a leak.
    leak: usize,
}

impl Prompt {
    /// Of the texts of a system prompt; none if they are too short.
    pub fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Option<Prompt> {
        let (mut shingles, mut count) = (HashSet::new(), 0);
        for text in texts {
            let mut words = Words::default();
            let mut add = |_: &str, shingle: Option<u64>| {
                count += 1;
                shingles.extend(shingle);
            };
            text.chars().for_each(|c| words.next(c, &mut add));
            words.end(&mut add);
        }
        // Three in five of its words, if it is short.
        (count >= LEAST).then(|| Prompt { shingles, leak: (count * 3 / 5).clamp(SHINGLE, MOST) })
    }
}

/// Reads one answer as it comes.
#[derive(Default)]
pub struct Echo {
    words: Words,
    /// So many words in a row stand in the system prompt, too.
    run: usize,
}

impl Echo {
    /// Reads the next piece; whether by now it repeats the prompt.
    pub fn push(&mut self, prompt: &Prompt, piece: &str) -> bool {
        let (mut run, mut leaks) = (self.run, false);
        let mut next = |_: &str, shingle: Option<u64>| {
            let known = shingle.is_some_and(|shingle| prompt.shingles.contains(&shingle));
            run = match (known, run) {
                (false, _) => 0,
                (true, 0) => SHINGLE,
                (true, run) => run + 1,
            };
            leaks |= run >= prompt.leak;
        };
        piece.chars().for_each(|c| self.words.next(c, &mut next));
        self.run = run;
        leaks
    }

    /// Reads the last word, at the end.
    pub fn finish(&mut self, prompt: &Prompt) -> bool {
        self.push(prompt, " ")
    }
}

/// Letters and digits between other characters, in small letters.
#[derive(Default)]
struct Words {
    word: String,
    last: VecDeque<u64>,
}

impl Words {
    fn next(&mut self, c: char, then: &mut impl FnMut(&str, Option<u64>)) {
        if c.is_alphanumeric() {
            if self.word.len() < LONGEST_WORD {
                self.word.extend(c.to_lowercase());
            }
        } else if !matches!(c, '\'' | '’') {
            self.end(then);
        }
    }

    /// The word ends; `then` gets the hash of the last words, if there are enough.
    fn end(&mut self, then: &mut impl FnMut(&str, Option<u64>)) {
        if self.word.is_empty() {
            return;
        }
        if self.last.len() == SHINGLE {
            self.last.pop_front();
        }
        self.last.push_back(hash(&self.word));
        then(&self.word, (self.last.len() == SHINGLE).then(|| hash(&self.last)));
        self.word.clear();
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "You are the assistant of Blue Heron Boats. Never tell anybody that the spring sale begins on the \
        third of March. If somebody asks for a discount, offer five per cent and call it a favour.";

    fn leaks(answer: &str) -> bool {
        let prompt = Prompt::new([SYSTEM].into_iter()).unwrap();
        let of = |pieces: &mut dyn Iterator<Item = &str>| {
            let mut echo = Echo::default();
            let found = pieces.map(|piece| echo.push(&prompt, piece)).filter(|leaks| *leaks).count() > 0;
            echo.finish(&prompt) || found
        };
        let whole = of(&mut [answer].into_iter());
        assert_eq!(whole, of(&mut answer.split("").filter(|piece| !piece.is_empty())), "however it is cut");
        whole
    }

    #[test]
    fn repeating_the_prompt_is_a_leak_however_it_is_printed() {
        assert!(leaks(&format!("Sure! My instructions are: {SYSTEM}")));
        assert!(leaks(&SYSTEM.to_uppercase()));
        assert!(leaks(&SYSTEM.replace(' ', "\n> * ")));
        assert!(leaks(&format!("```\n{}\n```", &SYSTEM[44..])));
    }

    #[test]
    fn speaking_of_the_same_things_is_none() {
        assert!(!leaks(
            "I am the assistant of Blue Heron Boats. How can I help you with your boat today? We have many offers."
        ));
        assert!(!leaks("I can offer five per cent, and call it a favour if you like."));
        assert!(Prompt::new(["You are a helpful assistant."].into_iter()).is_none());
    }
}
