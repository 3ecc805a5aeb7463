//! Words and numbers of the report: escaped, formatted, and two prompts with what differs marked.

use std::collections::HashMap;

/// Most letters of a prompt that are shown.
const LETTERS: usize = 600;

/// Text as it may stand in an element or an attribute. Control characters, which no page may hold, become blanks.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Marks that reverse the direction of writing could make the page say something else.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => out.push(' '),
            letter if letter.is_control() && letter != '\n' => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

/// A share in percent, with as many digits as say something; safe in HTML as it is.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        _ if percent == 0.0 => "0 %".to_owned(),
        _ if percent == 100.0 => "100 %".to_owned(),
        _ if percent >= 99.95 => "over 99.9 %".to_owned(),
        _ if percent < 0.01 => "under 0.01 %".to_owned(),
        _ if percent < 9.95 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// A share in percent without needless zeros: for ticks and promises.
pub(super) fn round_percent(share: f64) -> String {
    let text = format!("{:.2}", 100.0 * share);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A count with marks between thousands.
pub(super) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0.0 && out != "0" { format!("-{out}") } else { out }
}

/// Two prompts as HTML, the words that only one of them has in `<mark>`; or those that stand elsewhere in it.
pub(super) fn side_by_side(a: &str, b: &str) -> (String, String) {
    let (a, b) = (shortened(a), shortened(b));
    let (words_a, words_b): (Vec<&str>, Vec<&str>) =
        (a.split_whitespace().collect(), b.split_whitespace().collect());
    let (in_a, in_b) = common(&words_a, &words_b);
    (marked(&words_a, &in_a), marked(&words_b, &in_b))
}

fn shortened(text: &str) -> String {
    let mut letters = text.chars();
    let mut out: String = letters.by_ref().take(LETTERS).collect();
    if letters.next().is_some() {
        out.push('…');
    }
    out
}

/// Which words of either belong to the longest common sequence; case and punctuation around a word don't count.
fn common(a: &[&str], b: &[&str]) -> (Vec<bool>, Vec<bool>) {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut number = |word: &&str| {
        let bare = word.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase();
        // A word that is nothing but marks stands for itself.
        let bare = if bare.is_empty() { (*word).to_owned() } else { bare };
        let next = numbers.len();
        *numbers.entry(bare).or_insert(next)
    };
    let (a, b): (Vec<usize>, Vec<usize>) =
        (a.iter().map(&mut number).collect(), b.iter().map(&mut number).collect());
    let wide = b.len() + 1;
    // longest[i * wide + j]: of a from i on and b from j on.
    let mut longest = vec![0_u32; (a.len() + 1) * wide];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * wide + j] = if a[i] == b[j] {
                longest[(i + 1) * wide + j + 1] + 1
            } else {
                longest[(i + 1) * wide + j].max(longest[i * wide + j + 1])
            };
        }
    }
    let (mut in_a, mut in_b) = (vec![false; a.len()], vec![false; b.len()]);
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            (in_a[i], in_b[j]) = (true, true);
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * wide + j] >= longest[i * wide + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    (in_a, in_b)
}

fn marked(words: &[&str], common: &[bool]) -> String {
    let word = |(word, common): (&&str, &bool)| {
        if *common { escape(word) } else { format!("<mark>{}</mark>", escape(word)) }
    };
    words.iter().zip(common).map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_taken_for_markup() {
        assert_eq!(
            escape("<script>\"a\" & 'b'</script>"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;"
        );
        assert_eq!(escape("a\u{0}b\u{202e}c\nd"), "a b c\nd");
    }

    #[test]
    fn words_that_only_one_prompt_has_are_marked() {
        let (a, b) = side_by_side("How can i RAISE my daily limit?", "how can I lower my limit");
        assert_eq!(a, "How can i <mark>RAISE</mark> my <mark>daily</mark> limit?");
        assert_eq!(b, "how can I <mark>lower</mark> my limit");
        let (a, b) = side_by_side("<script>x</script>", "");
        assert_eq!((a.as_str(), b.as_str()), ("<mark>&lt;script&gt;x&lt;/script&gt;</mark>", ""));
        let long = "word ".repeat(5000);
        assert!(side_by_side(&long, &long).0.len() < 700);
    }

    #[test]
    fn numbers_have_as_many_digits_as_say_something() {
        let written = [0.0, 0.00001, 0.0084, 0.0531, 0.561, 0.9998, 1.0].map(percent);
        assert_eq!(written, ["0 %", "under 0.01 %", "0.84 %", "5.31 %", "56.1 %", "over 99.9 %", "100 %"]);
        assert_eq!([0.005, 0.01, 0.5].map(round_percent), ["0.5 %", "1 %", "50 %"]);
        assert_eq!(
            [0.0, 999.0, 1000.0, 1_234_567.0, -1200.0].map(count),
            ["0", "999", "1,000", "1,234,567", "-1,200"]
        );
    }
}
