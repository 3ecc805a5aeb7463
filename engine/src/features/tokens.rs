//! Cuts a prompt into tokens in one pass: words, numbers, literals.
//!
//! Scripts without spaces between words become pairs of characters (bigrams), which overlap much as words do.

use super::{literals, numbers, words};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A word, by the hash of its stem.
    Word {
        /// That hash.
        stem: u64,
    },
    /// A number as it was written in digits.
    Number(numbers::Written),
    /// Something compared letter by letter.
    Literal(literals::Literal),
    /// Two neighbouring characters of a script without spaces.
    Bigram,
}

/// How a word was written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// Begins with a capital.
    pub(super) capital: bool,
    /// At least two letters, all of them capitals.
    pub(super) acronym: bool,
    /// A capital after a small letter: "iPhone".
    pub(super) mixed: bool,
    /// The first word of a sentence.
    pub(super) starts: bool,
    /// Ended in "n't".
    pub(super) negated: bool,
}

/// A piece of a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The hash of its form in lower case.
    pub(super) surface: u64,
    pub(super) shape: Shape,
    /// Punctuation stands before it.
    pub(super) after_break: bool,
    /// It follows the token before without white space or a break ("iPhone12").
    pub(super) joined: bool,
}

/// Tokens beyond this many are not read: nobody means two prompts of that length to share an answer.
const MAX_TOKENS: usize = 4096;

/// A prompt cut into tokens, and what was seen on the way.
#[derive(Default)]
pub(super) struct Cut {
    pub(super) tokens: Vec<Token>,
    pub(super) scripts: super::language::Scripts,
    /// True if most words begin with a capital, so that capitals tell nothing.
    pub(super) shouted: bool,
    /// There was more text than is read: the hash of what follows.
    pub(super) rest: Option<u64>,
}

/// Cuts `text`.
pub(super) fn cut(text: &str) -> Cut {
    let mut scanner = Scanner { text, starts: true, ..Scanner::default() };
    scanner.cut.tokens.reserve(text.len() / 5 + 4);
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if scanner.cut.tokens.len() >= MAX_TOKENS {
            scanner.cut.rest = Some(words::hash(&text.as_bytes()[at..]));
            break;
        }
        at = scanner.step(at, c);
    }
    let (all, capitals) = (scanner.words, scanner.capitals);
    scanner.cut.shouted = all >= 3 && capitals * 10 >= all * 7;
    scanner.cut
}

#[derive(Default)]
struct Scanner<'a> {
    text: &'a str,
    cut: Cut,
    buffer: String,
    /// The next word is the first of a sentence.
    starts: bool,
    after_break: bool,
    after_space: bool,
    /// Words inside sentences, and how many of them have capitals.
    words: u32,
    capitals: u32,
}

impl Scanner<'_> {
    /// Reads what begins at `at` with `c`, and says where to go on.
    fn step(&mut self, at: usize, c: char) -> usize {
        let next = at + c.len_utf8();
        if c.is_whitespace() {
            self.after_space = true;
            if c == '\n' {
                (self.starts, self.after_break) = (true, true);
            }
            return next;
        }
        let fresh = self.after_space || at == 0 || self.after_break;
        if let Some((literal, end)) = literals::at(self.text, at, c, fresh) {
            self.push(Kind::Literal(literal), u64::from(literal.hash), Shape::default());
            // The words between quotation marks are read too; other literals are not words.
            return if literal.quoted { next } else { end };
        }
        if let Some((number, end)) = numbers::at(self.text, at, fresh) {
            self.push(Kind::Number(number), number.surface(), Shape::default());
            self.starts = false;
            return end;
        }
        if c.is_alphabetic() {
            return self.word(at, c);
        }
        match c {
            '.' | '!' | '?' | ':' | '…' => (self.starts, self.after_break) = (true, true),
            ',' | ';' | '(' | ')' | '|' | '–' | '—' | '/' => self.after_break = true,
            '&' | '+' | '=' | '%' | '<' | '>' | '*' | '^' | '#' | '$' | '€' | '£' => self.symbol(c),
            _ if !c.is_ascii() && !c.is_control() => self.foreign(c),
            _ => {}
        }
        next
    }

    /// A sign that stands for a word: an operator, an emoji.
    fn symbol(&mut self, c: char) {
        if c == '&' {
            return self.push(
                Kind::Word { stem: words::hash(b"and") },
                words::hash(b"and"),
                Shape::default(),
            );
        }
        let hash = words::hash(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.push(Kind::Word { stem: hash }, hash, Shape::default());
    }

    /// A sign outside ASCII that is no letter: punctuation of other scripts, or something like an emoji.
    fn foreign(&mut self, c: char) {
        match c {
            '。' | '？' | '！' | '؟' | '।' => (self.starts, self.after_break) = (true, true),
            '、' | '，' | '；' | '：' | '،' | '«' | '»' | '„' | '“' | '”' | '‘' | '’' | '「' | '」' | '¿'
            | '¡' => {
                self.after_break = true;
            }
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' => {}
            _ => self.symbol(c),
        }
    }

    fn word(&mut self, at: usize, first: char) -> usize {
        self.cut.scripts.see(first);
        if super::language::has_no_spaces(first) {
            return self.bigram(at, first);
        }
        let end = at + word_length(&self.text[at..]);
        let raw = &self.text[at..end];
        let mut shape = shape_of(raw);
        words::lower_into(raw, &mut self.buffer);
        self.buffer.retain(|c| c != '.');
        shape.negated = words::strip_clitic(&mut self.buffer);
        shape.starts = std::mem::replace(&mut self.starts, false);
        let surface = words::hash(self.buffer.as_bytes());
        words::stem(&mut self.buffer);
        let stem = words::mark_negated(words::hash(self.buffer.as_bytes()), shape.negated);
        self.words += u32::from(!shape.starts);
        self.capitals += u32::from(shape.capital && !shape.starts);
        self.push(Kind::Word { stem }, surface, shape);
        end
    }

    fn bigram(&mut self, at: usize, first: char) -> usize {
        let after = at + first.len_utf8();
        let second = self.text[after..].chars().next().filter(|c| super::language::has_no_spaces(*c));
        let end = after + second.map_or(0, char::len_utf8);
        // A run's last character stands alone only where the run has no other.
        let inner = self.cut.tokens.last().is_some_and(|t| t.kind == Kind::Bigram) && !self.after_space;
        if second.is_some() || !inner || self.after_break {
            self.push(Kind::Bigram, words::hash(&self.text.as_bytes()[at..end]), Shape::default());
        }
        after
    }

    fn push(&mut self, kind: Kind, surface: u64, shape: Shape) {
        let joined = !self.after_space && !self.after_break && !self.cut.tokens.is_empty();
        self.cut.tokens.push(Token { kind, surface, shape, after_break: self.after_break, joined });
        (self.after_break, self.after_space) = (false, false);
    }
}

/// The length in bytes of the word `text` begins with: letters, marks, inner apostrophes, "U.S.", and the signs of "C++".
fn word_length(text: &str) -> usize {
    let mut end = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let inner = |next: Option<&(usize, char)>| next.is_some_and(|(_, n)| n.is_alphabetic());
        let is_mark = ('\u{300}'..='\u{36f}').contains(&c) || matches!(c, '\u{200c}' | '\u{200d}');
        if c.is_alphabetic() || is_mark || (!c.is_ascii() && c.is_alphanumeric() && !c.is_numeric()) {
            if super::language::has_no_spaces(c) {
                break;
            }
            end = at + c.len_utf8();
        } else if !(matches!(c, '\'' | '’' | 'ʼ') && inner(chars.peek())) {
            break;
        }
    }
    let after = &text[end..];
    let short = end == 1;
    if short && after.starts_with("++") {
        return end + 2;
    }
    if short && after.starts_with('#') {
        return end + 1;
    }
    end + if short { dotted(after) } else { 0 }
}

/// How far the letters of an abbreviation such as "U.S." go on after its first letter.
fn dotted(after: &str) -> usize {
    let bytes = after.as_bytes();
    let mut end = 0;
    while bytes.get(end) == Some(&b'.')
        && bytes.get(end + 1).is_some_and(u8::is_ascii_alphabetic)
        && !bytes.get(end + 2).is_some_and(u8::is_ascii_alphanumeric)
    {
        end += 2;
    }
    end
}

fn shape_of(raw: &str) -> Shape {
    let mut letters = raw.chars().filter(|c| c.is_alphabetic());
    let capital = letters.next().is_some_and(char::is_uppercase);
    let (mut upper, mut lower) = (u32::from(capital), u32::from(!capital));
    let mut mixed = false;
    for c in letters {
        if c.is_uppercase() {
            mixed |= lower > 0;
            upper += 1;
        } else {
            lower += 1;
        }
    }
    Shape { capital, acronym: upper >= 2 && lower == 0, mixed, ..Shape::default() }
}
