//! Names and ids that this format can't carry, and what stands in their place.

use std::collections::{BTreeMap, BTreeSet};

/// Longest name of a tool, and longest id of a call.
const LONGEST: usize = 64;

/// Names of tools on their way out; each is sent by one name only, and no two by the same.
#[derive(Default)]
pub(super) struct ToolNames {
    /// By what the client calls it.
    sent: BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl ToolNames {
    /// Keeps for these names what they are, where they can be sent as they are.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let taken = names.filter(|name| fits(name)).map(str::to_owned).collect();
        Self { sent: BTreeMap::new(), taken }
    }

    /// What a tool is called there.
    pub(super) fn sent(&mut self, name: &str) -> String {
        if fits(name) {
            self.taken.insert(name.to_owned());
            return name.to_owned();
        }
        if let Some(sent) = self.sent.get(name) {
            return sent.clone();
        }
        let mut free = like(name, name);
        while !self.taken.insert(free.clone()) {
            free = like(name, &free);
        }
        self.sent.insert(name.to_owned(), free.clone());
        free
    }

    /// A name that no tool of the client has.
    pub(super) fn own(&mut self, wish: &str) -> String {
        let mut free = if fits(wish) { wish.to_owned() } else { like(wish, wish) };
        while !self.taken.insert(free.clone()) {
            free = like(wish, &free);
        }
        free
    }

    /// What the client calls the tools that had to be sent under another name, by that.
    pub(super) fn back(self) -> BTreeMap<String, String> {
        self.sent.into_iter().map(|(name, sent)| (sent, name)).collect()
    }
}

/// The id of a call as it can be sent: as it is, or what is made of it, the same each time.
pub(super) fn call_id(id: &str) -> String {
    let fits = !id.is_empty()
        && id.len() <= LONGEST
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
    if fits { id.to_owned() } else { format!("call_{}", short_hash(id, 32)) }
}

fn fits(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST && name.bytes().all(stays)
}

fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// A name that can be sent, looks like `name` and depends on all of `seed`.
fn like(name: &str, seed: &str) -> String {
    let readable = name.bytes().map(|byte| if stays(byte) { char::from(byte) } else { '_' });
    let readable: String = readable.take(LONGEST - 9).collect();
    format!("{readable}_{}", short_hash(seed, 8))
}

fn short_hash(text: &str, digits: usize) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_stays_and_any_other_comes_back() {
        let long = "a".repeat(100);
        let mut names = ToolNames::of(["get_weather", "mcp.find"].into_iter());
        assert_eq!(names.sent("get_weather"), "get_weather");
        for name in ["mcp.find", "größe", "", &long, "a b"] {
            let sent = names.sent(name);
            assert!(fits(&sent) && sent != name, "{name}");
            assert_eq!(names.sent(name), sent, "the same each time");
        }
        let back = names.back();
        assert_eq!(back.len(), 5);
        assert!(back.values().any(|name| *name == long) && back.values().any(|name| name == "mcp.find"));
    }

    #[test]
    fn two_names_never_become_one() {
        let taken = like("a.b", "a.b");
        let mut names = ToolNames::of([taken.as_str()].into_iter());
        let (one, other) = (names.sent("a.b"), names.sent("a b"));
        assert!(one != taken && other != one);
        assert_ne!(names.own("answer"), names.own("answer"));
    }

    #[test]
    fn an_id_that_does_not_fit_is_replaced_the_same_way_each_time() {
        assert_eq!(call_id("call_1:a.b-c"), "call_1:a.b-c");
        for id in ["", "call 1", &"x".repeat(65)] {
            assert!(call_id(id).len() <= LONGEST && call_id(id) == call_id(id) && call_id(id) != id);
        }
    }
}
