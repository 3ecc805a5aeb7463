//! Texts made of templates: `{slot}` stands for one of a slot's words, so that a line gives many examples.
//!
//! ```text
//! # a comment
//! colour = red | green |
//! [name-of-the-group user attack]
//! *12 Paint it {colour}.
//! The prompt of the system ||| the text
//! ```

use super::{Channel, Example, is_data};
use std::collections::{BTreeMap, HashSet};

/// What an example counts beside a text that people wrote.
const WEIGHT: f32 = 0.5;

/// What a group's header says.
#[derive(Clone)]
struct Header {
    group: String,
    channel: Channel,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Benign,
    /// What stands in parts and fields beside other texts; nobody says it alone, so nothing is measured by it.
    Piece,
    Attack,
    /// One by its characters: its words are those of any request, and are not learnt from.
    Shape,
    /// A sentence to be planted in benign documents.
    Planted,
}

/// Expands templates. The same text gives the same examples in the same order.
///
/// # Errors
/// The first line that can't be read, by number.
pub fn expand(text: &str) -> Result<Vec<Example>, String> {
    expand_up_to(text, usize::MAX)
}

/// Like [`expand`], but with one example of each line.
///
/// # Errors
/// The first line that can't be read, by number.
pub fn expand_first(text: &str) -> Result<Vec<Example>, String> {
    expand_up_to(text, 1)
}

fn expand_up_to(text: &str, most: usize) -> Result<Vec<Example>, String> {
    let mut slots: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut header: Option<Header> = None;
    let (mut examples, mut planted) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    {
        let fail = |what: &str| format!("line {}: {what}", at + 1);
        if let Some(inner) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).and_then(head) {
            header = Some(inner);
        } else if let Some((name, words)) = line.split_once(" = ").filter(|(name, _)| is_name(name)) {
            slots.insert(name, words.split('|').map(str::trim).collect());
        } else {
            let header =
                header.as_ref().ok_or_else(|| fail("expected a header like [name user attack] first"))?;
            let made = lines(line, &slots, at as u64).map_err(|what| fail(&what))?;
            for text in made.into_iter().take(most) {
                let example = example(header, &text);
                if header.kind == Kind::Planted { planted.push(example) } else { examples.push(example) }
            }
        }
    }
    plant(&planted, &mut examples);
    Ok(examples)
}

fn head(inner: &str) -> Option<Header> {
    let mut words = inner.split(' ');
    let (group, channel, kind) = (words.next()?, words.next()?, words.next()?);
    let channel = match channel {
        "user" => Channel::User,
        "document" => Channel::Document,
        "tool" => Channel::Tool,
        _ => return None,
    };
    let kind = match kind {
        "benign" => Kind::Benign,
        "benign-piece" => Kind::Piece,
        "attack" => Kind::Attack,
        "attack-by-shape" => Kind::Shape,
        "attack-unit" => Kind::Planted,
        _ => return None,
    };
    words.next().is_none().then(|| Header { group: group.to_owned(), channel, kind })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// The texts that a line stands for, each once.
fn lines(line: &str, slots: &BTreeMap<&str, Vec<&str>>, seed: u64) -> Result<Vec<String>, String> {
    let (count, template) = match line.strip_prefix('*').and_then(|rest| rest.split_once(' ')) {
        Some((count, template)) => {
            (count.parse().map_err(|_| "expected a number behind *".to_owned())?, template)
        }
        None => (1, line),
    };
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut made: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count * 4 {
        if made.len() >= count {
            break;
        }
        let text = fill(template, slots, &mut random, 0)?;
        let text = text
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
            .replace("\\n", "\n");
        if seen.insert(text.clone()) {
            made.push(text);
        }
    }
    Ok(made)
}

fn fill(
    template: &str,
    slots: &BTreeMap<&str, Vec<&str>>,
    random: &mut Random,
    depth: u8,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let inner = &rest[open + 1..];
        match inner.find('}').map(|close| (&inner[..close], &inner[close + 1..])) {
            Some((name, after)) if is_name(name) => {
                let words = slots.get(name).ok_or_else(|| format!("no slot named {name}"))?;
                let word = words[random.below(words.len())];
                if depth > 3 {
                    return Err(format!("the slot {name} is within itself"));
                }
                out.push_str(&fill(word, slots, random, depth + 1)?);
                rest = after;
            }
            _ => {
                out.push('{');
                rest = inner;
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn example(header: &Header, text: &str) -> Example {
    let (system, text) = match text.split_once(" ||| ") {
        Some((system, text)) => (Some(system.to_owned()), text),
        None => (None, text),
    };
    let by_context = system.is_some() || header.kind == Kind::Shape;
    let attack = !matches!(header.kind, Kind::Benign | Kind::Piece);
    Example {
        text: text.to_owned(),
        channel: header.channel,
        system,
        attack,
        group: header.group.clone(),
        part: if attack { header.group.clone() } else { String::new() },
        weight: WEIGHT,
        by_context,
        measured: header.kind != Kind::Piece,
        vector: None,
    }
}

/// Plants each sentence in a benign document, at a line's end.
fn plant(planted: &[Example], examples: &mut Vec<Example>) {
    let hosts: Vec<String> =
        examples.iter().filter(|e| is_data(e.channel) && !e.attack).map(|e| e.text.clone()).collect();
    let mut random = Random(0x51ce_d0c5);
    for sentence in planted.iter().filter(|_| !hosts.is_empty()) {
        let host = &hosts[random.below(hosts.len())];
        let lines: Vec<&str> = host.split('\n').collect();
        let at = random.below(lines.len() + 1);
        let text = [&lines[..at], &[sentence.text.as_str()], &lines[at..]].concat().join("\n");
        examples.push(Example { text, ..sentence.clone() });
    }
}

/// xorshift64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_give_each_text_once_and_the_same_every_time() {
        let text = "# note\ncolour = red | green\n[paint user benign]\n*9 Paint it {colour}.\nOne {\"json\": 1}.\n[ask user attack]\nKeep it. ||| Tell {colour}?\n";
        let examples = expand(text).unwrap();
        let mut texts: Vec<_> = examples.iter().map(|e| e.text.as_str()).collect();
        assert_eq!(texts.len(), 4);
        texts.sort_unstable();
        assert_eq!(&texts[..3], ["One {\"json\": 1}.", "Paint it green.", "Paint it red."]);
        assert_eq!(examples[3].system.as_deref(), Some("Keep it."));
        assert!(examples[3].attack && examples[3].by_context && !examples[0].attack);
        let again: Vec<_> = expand(text).unwrap().into_iter().map(|e| e.text).collect();
        assert_eq!(again, examples.into_iter().map(|e| e.text).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_measured_by_pieces() {
        let examples =
            expand("[part user benign-piece]\nthe rules\n[all user benign]\nWhich rules?\n").unwrap();
        let measured: Vec<_> = examples.iter().map(|e| (e.attack, e.measured)).collect();
        assert_eq!(measured, [(false, false), (false, true)]);
    }

    #[test]
    fn sentences_are_planted_in_benign_documents() {
        let text = "[mail document benign]\nHi.\\nBye.\n[evil document attack-unit]\nSend all.\n";
        let examples = expand(text).unwrap();
        assert_eq!(examples.len(), 2);
        assert!(
            examples[1].attack && examples[1].text.contains("Send all.") && examples[1].text.contains("Bye.")
        );
    }

    #[test]
    fn a_line_that_can_not_be_read_is_named() {
        for (text, said) in [
            ("Hello.\n", "line 1: expected a header"),
            ("[a user benign]\nHi {who}.\n", "line 2: no slot named who"),
            ("[a user benign]\n*x Hi.\n", "line 2: expected a number"),
        ] {
            assert!(expand(text).unwrap_err().starts_with(said), "{text}");
        }
    }
}
