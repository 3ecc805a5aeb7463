//! Texts for measuring: prose, and dialogues in which people give their data, the same for the same seed.

use fastrand::Rng;

const NAMES: &[&str] =
    &["Ada", "Grace", "Jonas", "Mrs. Okafor", "Professor Lind", "Anna", "the Harbor Office", "Miller & Sons"];
const NOUNS: &[&str] = &[
    "orchard",
    "committee",
    "proposal",
    "contract",
    "delivery",
    "server",
    "neighbour",
    "invoice",
    "ballot",
    "mixture",
    "report",
    "meeting",
    "agreement",
    "winter",
    "shipment",
    "question",
    "database",
    "refund",
    "calendar",
    "teacher",
    "garden",
    "answer",
];
const VERBS: &[&str] = &[
    "settled",
    "postponed",
    "explained",
    "repaired",
    "described",
    "counted",
    "refused",
    "translated",
    "forgot",
    "announced",
    "reviewed",
    "compared",
    "delivered",
    "summarised",
    "doubted",
    "cancelled",
];
const ADJECTIVES: &[&str] = &[
    "grey",
    "unexpected",
    "long-running",
    "friendly",
    "second",
    "well-known",
    "quiet",
    "expensive",
    "useful",
    "earlier",
];
const ENDS: &[&str] = &[
    "before anybody noticed",
    "in the end",
    "which took longer than planned",
    "for 2 hours",
    "after the third reminder",
    "as we agreed",
    "because it wasn't clear who decides",
    "by 12 percent",
    "in spite of everything",
    "until Friday",
];
const SHAPES: &[&str] = &[
    "The {adj} {noun} {verb} the {noun} {end}. ",
    "{Name} {verb} the {noun}, and the {noun} was {adj}. ",
    "\"We could try a {adj} {noun},\" said {Name}, who had {verb} it {end}. ",
    "Nobody {verb} the {noun}; it's a {adj} {noun} (see the {noun}). ",
    "There were {n} {adj} proposals, none of them new: the {noun}, the {noun} and the {noun}. ",
    "Please summarise what was {verb}, name the {n} main reasons, and keep the tone {adj}.\n",
    "## The {adj} {noun}\n\n- the {noun} was {verb}\n- **the {noun}** {end}\n\n",
];
const GIVEN: &[&str] = &[
    "My address is {email}, write to me there. ",
    "You can call {phone} after six. ",
    "I paid with {card} and was charged twice. ",
    "Refund it to {iban}, please. ",
    "My SSN is {ssn}, if you need it. ",
    "The server at {ip} does not answer since {date}. ",
    "Order {order} from {date} has not come. ",
    "It is all at https://www.example.com/{noun}/{order}. ",
];

/// Writes texts.
pub(crate) struct Texts(Rng);

impl Texts {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// Prose of about so many bytes, without anybody's data.
    pub(crate) fn prose(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            let shape = self.one(SHAPES);
            text += &self.filled(shape);
        }
        cut(text, bytes)
    }

    /// A dialogue of about so many bytes: in every third sentence somebody gives a value.
    pub(crate) fn dialogue(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        for at in 0.. {
            if text.len() >= bytes {
                break;
            }
            if at % 6 == 0 {
                text += if at % 12 == 0 { "\n\nCustomer: " } else { "\n\nAgent: " };
            }
            let shape = if at % 3 == 1 { self.one(GIVEN) } else { self.one(&SHAPES[..5]) };
            text += &self.filled(shape);
        }
        cut(text, bytes)
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of[self.0.usize(..of.len())]
    }

    fn filled(&mut self, shape: &str) -> String {
        let mut out = String::new();
        let mut rest = shape;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
            out += before;
            out += &self.word(name);
            rest = behind;
        }
        out + rest
    }

    fn word(&mut self, name: &str) -> String {
        match name {
            "adj" => self.one(ADJECTIVES).to_owned(),
            "noun" => self.one(NOUNS).to_owned(),
            "verb" => self.one(VERBS).to_owned(),
            "end" => self.one(ENDS).to_owned(),
            "Name" => {
                let name = self.one(NAMES);
                name[..1].to_uppercase() + &name[1..]
            }
            "n" => self.0.u32(2..9).to_string(),
            "email" => format!("{}.{}@{}.example.org", self.one(NOUNS), self.digits(2), self.one(NOUNS)),
            "phone" => format!("+1 212-555-{}", self.digits(4)),
            "card" => {
                let body = format!("45391488{}", self.digits(7));
                grouped(&format!("{body}{}", luhn(&body)))
            }
            "iban" => {
                let account = format!("50010517{}", self.digits(10));
                grouped(&format!("DE{:02}{account}", 98 - rest_of_97(&format!("{account}131400"))))
            }
            "ssn" => format!("536-{}-{}", self.0.u32(10..99), self.0.u32(1000..9999)),
            "ip" => format!("91.198.{}.{}", self.0.u32(1..250), self.0.u32(1..250)),
            "date" => format!("2024-{:02}-{:02}", self.0.u32(1..13), self.0.u32(1..29)),
            _ => format!("{}-{}", self.digits(2), self.digits(4)),
        }
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| self.0.digit(10)).collect()
    }
}

fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(bytes); // all of it is ASCII
    text
}

fn grouped(text: &str) -> String {
    text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

fn luhn(body: &str) -> u32 {
    let digits = body.bytes().rev().map(|byte| u32::from(byte - b'0')).enumerate();
    let sum: u32 = digits.map(|(at, d)| if at % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { d }).sum();
    (10 - sum % 10) % 10
}

fn rest_of_97(digits: &str) -> u32 {
    digits.bytes().fold(0, |rest, byte| (rest * 10 + u32::from(byte - b'0')) % 97)
}
