//! About how many tokens a text has, where nobody who counts can be asked: some three and a half characters of ASCII are one, of
//! other scripts each is about one.

/// Characters of ASCII a token.
const ASCII_A_TOKEN: f64 = 3.5;

/// An estimate for a text.
pub fn of_text(text: &str) -> f64 {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = if ascii == text.len() { 0 } else { text.chars().count() - ascii };
    ascii as f64 / ASCII_A_TOKEN + others as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_other_scripts_are_a_token_each() {
        assert!((of_text(&"x".repeat(35)) - 10.0).abs() < 1e-9);
        assert!((of_text("你好") - 2.0).abs() < 1e-9);
        assert!((of_text("") - 0.0).abs() < 1e-9);
    }
}
