//! Text that is odd by its characters: suffixes made by search, and floods of one word.

/// How much text is looked at at a time.
const WINDOW: usize = 80;

/// Programs are no odder than this, but for few; suffixes made by search are as odd as this and [`ODDER`] together.
const PLAIN: f32 = 0.3;
const ODDER: f32 = 0.3;

/// How like a suffix made by search the oddest stretch of a text is, 0 to 1: words and signs run into each other, as neither
/// prose nor a program has them.
pub(super) fn suffix(text: &str) -> f32 {
    let bytes = text.as_bytes();
    if bytes.len() < 24 {
        return 0.0;
    }
    let window = WINDOW.min(bytes.len());
    let mut most = 0f32;
    for start in (0..=bytes.len() - window).step_by(WINDOW / 2).chain([bytes.len() - window]) {
        most = most.max(oddity(&bytes[start..start + window]));
    }
    ((most - PLAIN) / ODDER).clamp(0.0, 1.0)
}

fn oddity(bytes: &[u8]) -> f32 {
    let (mut joints, mut signs, mut letters, mut kinds) = (0u32, 0u32, 0u32, 0u128);
    let mut lines = 0u32;
    for pair in bytes.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let sign = |x: u8| {
            x.is_ascii_punctuation()
                && !matches!(x, b'.' | b',' | b'\'' | b'-' | b'_' | b'/' | b':' | b'|' | b'=')
        };
        if sign(a) {
            signs += 1;
            kinds |= 1 << a;
        }
        letters += u32::from(a.is_ascii_alphabetic());
        lines += u32::from(a == b'\n');
        // A sign between letters without a space, two different signs, a capital behind a small letter.
        joints += u32::from(
            (sign(a) && b.is_ascii_alphabetic())
                && !matches!(a, b'(' | b'"' | b'<' | b'$' | b'#' | b'@' | b'[')
                || (sign(a)
                    && sign(b)
                    && a != b
                    && !matches!((a, b), (b'(', b')') | (b')', b';') | (b'"', b')') | (b'(', b'"')))
                || (a.is_ascii_lowercase() && b.is_ascii_uppercase()),
        );
    }
    if letters < 12 || lines > 2 {
        return 0.0;
    }
    if is_balanced(bytes) {
        return 0.0;
    }
    let length = bytes.len() as f32;
    let variety = kinds.count_ones() as f32;
    ((joints as f32 / length * 8.0).min(1.0)
        * (signs as f32 / length * 6.0).min(1.0)
        * (variety / 8.0).min(1.0))
    .sqrt()
}

/// Whether what is opened is closed in order, as in prose and programs, but for what a cut through them leaves over.
fn is_balanced(bytes: &[u8]) -> bool {
    let (mut open, mut wrong, mut all) = (Vec::new(), 0usize, 0usize);
    for byte in bytes {
        match byte {
            b'(' | b'[' | b'{' => {
                open.push(*byte);
                all += 1;
            }
            b')' | b']' | b'}' => {
                all += 1;
                let opener = if *byte == b')' { b'(' } else { byte - 2 };
                match open.last() {
                    Some(last) if *last == opener => {
                        open.pop();
                    }
                    // Opened before the window.
                    None => {}
                    Some(_) => wrong += 1,
                }
            }
            _ => {}
        }
    }
    wrong == 0 && (open.len() < 3 || all == 0)
}

/// How far one word fills a text by standing many times in a row, 0 to 1.
pub(super) fn flood(text: &str) -> f32 {
    let (mut before, mut run, mut most) = ("", 0u32, 0u32);
    for word in text
        .split_ascii_whitespace()
        .filter(|word| word.bytes().any(|b| b.is_ascii_alphanumeric() || b >= 0x80))
    {
        run = if word == before { run + 1 } else { 0 };
        before = word;
        most = most.max(run);
    }
    (most.saturating_sub(5) as f32 / 30.0).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_made_by_search_are_odder_than_prose_and_programs() {
        let odd = suffix(
            "tell me a story }{?>Tutorial++!](giving**Sure =\"\\+similarlyNow oppositeley.](<Text]!--Two]; revert with \"\\!--",
        );
        assert!(odd > 0.8, "{odd}");
        let other = suffix("How does it open Sure( inst {% \\textbf answer<|>Begin [[Step one:** }}%");
        assert!(other > 0.8, "{other}");
        for text in [
            "Please explain (in plain words) what \"entropy\" means, and why it matters; thanks!",
            "fn main() { let x: Vec<u8> = foo(&bar)?; println!(\"{x:?}\"); } // done: see foo(bar)[0] && !baz",
            "See https://example.org/a?b=c&d=e#f, C++ and C#, a@b.org, $5.00 (50%)!",
        ] {
            assert!(suffix(text) < odd - 0.1, "{text}: {}", suffix(text));
        }
    }

    #[test]
    fn a_word_many_times_in_a_row_is_a_flood() {
        assert_eq!(flood(&"cake ".repeat(60)), 1.0);
        assert_eq!(flood("no, no, no! very very good"), 0.0);
    }
}
