//! Names of functions. A name that Gemini does not take goes out as another one and comes back as it was.

use std::collections::BTreeMap;

/// The longest that is documented.
const LONGEST: usize = 64;
/// Of a longer name so much stays readable; the rest tells it from others.
const READABLE: usize = 51;

/// Names as they are sent, where they differ, and what the client calls them.
#[derive(Default)]
pub(super) struct Names {
    pub(super) sent: BTreeMap<String, String>,
}

impl Names {
    /// How a function is called there.
    pub(super) fn of(&mut self, name: &str) -> String {
        if is_name(name) {
            return name.to_owned();
        }
        let mut sent: String =
            name.chars().map(|c| if is_letter(c) { c } else { '_' }).take(READABLE).collect();
        if !sent.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            sent.insert(0, '_');
        }
        let hash = blake3::hash(name.as_bytes()).to_hex();
        sent = format!("{sent}_{}", &hash[..10]);
        self.sent.insert(sent.clone(), name.to_owned());
        sent
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_taken_goes_out_as_one_that_is_and_is_known_again() {
        let long = "x".repeat(100);
        let mut names = Names::default();
        assert_eq!(names.of("get_weather"), "get_weather");
        assert!(names.sent.is_empty());
        for name in ["7days", "-x", "mcp/server tool", "größe", &long, ""] {
            let sent = names.of(name);
            assert!(is_name(&sent), "{sent}");
            assert_eq!(names.sent[&sent], name);
            assert_eq!(names.of(name), sent, "the same each time");
        }
        assert_ne!(names.of("a b"), names.of("a/b"));
    }
}
