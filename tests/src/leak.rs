//! Does a value stand anywhere in these bytes, in whatever spelling?

use serde_json::Value;

/// True if `bytes` hold `value`: as it is, escaped as JSON escapes, or without the separators that people put between
/// letters and digits.
///
/// ```
/// use sluice_tests::leak::holds;
/// assert!(holds(b"{\"a\":\"zoe\\u0040example.org\"}", "zoe@example.org"));
/// assert!(holds(b"card 4539-1488-0343-6467", "4539 1488 0343 6467"));
/// assert!(holds(br#"{"arguments":"{\"n\":4539148803436467}"}"#, "4539 1488 0343 6467"));
/// assert!(!holds(b"card [CREDIT_CARD_1]", "4539 1488 0343 6467"));
/// ```
pub fn holds(bytes: &[u8], value: &str) -> bool {
    let raw = String::from_utf8_lossy(bytes).to_lowercase();
    let (value, escaped) = (value.to_lowercase(), Value::from(value.to_lowercase()).to_string());
    let escaped = &escaped[1..escaped.len() - 1];
    let decoded = unescaped(&unescaped(&raw));
    [&raw, &decoded]
        .iter()
        .any(|text| text.contains(&value) || text.contains(escaped) || bare(text).contains(&bare(&value)))
}

fn bare(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric() || *c == '@').collect()
}

/// The text with JSON's escapes of characters undone, wherever they stand.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let code =
            rest.strip_prefix('u').and_then(|r| r.get(..4)).and_then(|h| u32::from_str_radix(h, 16).ok());
        match code.and_then(char::from_u32) {
            Some(character) => {
                out.push(character);
                rest = &rest[5..];
            }
            None => {
                if let Some(next) = rest.chars().next() {
                    out.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
    }
    out + rest
}
