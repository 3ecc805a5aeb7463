//! What is looked at besides a token's form: randomness, check values, what is encoded in it.

use super::literals::Literals;
use crate::pii::checksum;
use std::sync::LazyLock;

/// What makes a token of the right form believable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// The form says it all.
    Structure,
    /// At least so many bits of entropy per character.
    Entropy(f32),
    /// Upper case, lower case and digits, and at least so many bits of entropy per character.
    Mixed(f32),
    /// None: a password may be anything but the word itself.
    Password,
    /// The value of something named like a provider's key: looks made by a machine.
    Value,
    /// The value of something named like a password: not just a word.
    Chosen,
    /// The value of something named like a token: looks made by a machine, and is no digest, path or identifier.
    Made,
    /// A function that gives the score.
    Custom(fn(&str) -> Option<f32>),
}

impl Check {
    /// How likely a token that has the rule's form is one; `None` if it can't be. `literal` says that the text is
    /// surely a value (quoted, or in a file of settings) and no expression of a program.
    pub(super) fn score(self, token: &str, literal: bool) -> Option<f32> {
        if distinct(token) < 8 && !matches!(self, Check::Password | Check::Chosen) {
            return None;
        }
        match self {
            Check::Structure => Some(0.95),
            Check::Entropy(bits) => (entropy(token) >= bits && !is_slug(token)).then_some(0.9),
            Check::Mixed(bits) => {
                let mixed = classes(token)[..3].iter().all(|class| *class);
                (mixed && entropy(token) >= bits).then_some(0.8)
            }
            Check::Password => is_password(token).then_some(0.8),
            Check::Value => (entropy(token) >= 2.8 && is_random(token, 0.12)).then_some(0.8),
            Check::Chosen => is_chosen(token, literal).then_some(0.7),
            Check::Made => (is_made(token) && (literal || !is_camel(token))).then_some(0.7),
            Check::Custom(check) => check(token),
        }
    }
}

/// GitHub's and npm's: the last six characters are the CRC-32 of the others, in base 62. A wrong check value lowers
/// the score only: better a shredded typo than a leaked new format.
pub(super) fn github(token: &str) -> Option<f32> {
    let body = token.split_once('_')?.1;
    let (random, check) = body.split_at_checked(body.len().checked_sub(6)?)?;
    let valid = checksum::base62(check) == Some(u64::from(checksum::crc32(random.as_bytes())));
    let plausible = entropy(body) >= 3.0 && is_random(body, 0.12);
    if valid { Some(0.99) } else { plausible.then_some(0.7) }
}

/// Grafana's: eight hexadecimal digits are the CRC-32 of all before them, least significant byte first.
pub(super) fn grafana(token: &str) -> Option<f32> {
    let (body, check) = token.rsplit_once('_')?;
    let expected = checksum::crc32(body.as_bytes()).swap_bytes();
    let valid = u32::from_str_radix(check, 16).ok()? == expected;
    Some(if valid { 0.99 } else { 0.7 })
}

/// A JSON web token (RFC 7519): its first part is a JSON object in base 64 with an algorithm.
pub(super) fn jwt(token: &str) -> Option<f32> {
    let header = decode_base64(token.split('.').next()?)?;
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&header).ok()?;
    header.get("alg")?.is_string().then_some(0.95)
}

/// User and password in base 64 (RFC 7617).
pub(super) fn basic(token: &str) -> Option<f32> {
    let text = String::from_utf8(decode_base64(token)?).ok()?;
    let (user, password) = text.split_once(':')?;
    let printed = !text.chars().any(char::is_control);
    (printed && !user.is_empty() && is_password(password) && !super::stand_in::is_stand_in(password))
        .then_some(0.95)
}

/// What follows `Bearer`: as good as anything that a machine made.
pub(super) fn bearer(token: &str) -> Option<f32> {
    (is_made(token) || (is_uuid(token) && entropy(token) > 2.8)).then_some(0.8)
}

/// Whether a text may be a password at all.
fn is_password(token: &str) -> bool {
    const WORDS: &str = "password passwd pass pwd pw secret token user username apikey api_key null none true false undefined \
        string x-oauth-basic oauth2 x-token-auth test foo bar";
    // What closes a call or a list stands behind a word, too.
    let bare = token.trim_end_matches([')', ',', ';', '.']);
    token.len() >= 3
        && !WORDS.split_whitespace().any(|word| word.eq_ignore_ascii_case(bare))
        && !["self.", "this."].iter().any(|start| token.starts_with(start))
        && !token.bytes().all(|byte| byte.is_ascii_digit())
        && !token.starts_with(['%', '(', '`', '*'])
        && !token
            .strip_prefix('$')
            .is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        && !token.contains(['{', '}'])
}

/// Whether the value of something named like a password is one, and neither a word, an expression nor a place.
fn is_chosen(token: &str, literal: bool) -> bool {
    let [lower, upper, digit, symbol] = classes(token);
    let place = token.starts_with(['/', '.', '~', '^', '@', '$', '%', '#'])
        || token.contains("://")
        || token.contains(":\\")
        || token.contains("->")
        || token.contains("::");
    let code = token.contains(['(', ')', '[', ']', '{', '}', '<', '>', '\\', '=', '"', '\'', '`', '|']);
    if !is_password(token)
        || place
        || (code && !literal)
        || token.contains(['[', ']', '{', '}', '\\', '<', '>'])
    {
        return false;
    }
    let number = token.starts_with("0x") && token.len() < 20;
    if number
        || is_address(token)
        || is_uuid(token)
        || !(lower || upper)
        || is_prose(token)
        || is_digest(token)
    {
        return false;
    }
    let identifier =
        token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    let kinds = [lower, upper, digit, symbol].iter().filter(|kind| **kind).count();
    let mixed = kinds >= 3 && (literal || !identifier || digits >= 2) && (digit || literal);
    mixed || (digit && churn(token) >= 0.25 && entropy(token) >= 2.9)
}

/// Whether a text looks made by a machine and is no digest with its name, no path, no picture, no public key.
fn is_made(token: &str) -> bool {
    const NOT: &str = "sha1- sha256- sha384- sha512- sha1: sha256: sha512: md5: md5- data: iVBORw0KGgo /9j/ R0lGOD \
        AAAAB3NzaC1 AAAAC3NzaC1 AAAAE2VjZHNh ssh- http urn: arn: / ./ ~/ $2a$ $2b$ $2y$ $argon2 pbkdf2";
    let least = if token.bytes().all(|byte| byte.is_ascii_hexdigit()) { 3.0 } else { 3.5 };
    !NOT.split_whitespace().any(|start| token.starts_with(start))
        && token.len() >= 16
        && !token.contains("://")
        && !is_uuid(token)
        && !is_prose(token)
        && !is_file(token)
        && classes(token)[2]
        && is_random(token, 0.17)
        && entropy(token) >= least
}

/// Whether letters and digits, or letters of both cases, take turns about as often as by chance.
fn is_random(token: &str, least: f32) -> bool {
    let [lower, upper, digit, _] = classes(token);
    (lower || upper) && (digit || (lower && upper)) && (churn(token) >= least || is_uuid(token))
}

/// Whether a text is put together of words of programs and sentences, as `user_password_field_v2`.
fn is_prose(token: &str) -> bool {
    const WORDS: &str = "password secret token public private value encode base64 string config default service account \
        access client field param header sample undefined function object request response session manager \
        provider version update number";
    static KNOWN: LazyLock<Literals> = LazyLock::new(|| Literals::of(WORDS.split_whitespace()));
    is_slug(token) || (token.len() <= 80 && KNOWN.any(token))
}

/// Whether a text looks like the name of a type or variable with a number in it, as `X509KeyUsageFlags`.
fn is_camel(token: &str) -> bool {
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    token.bytes().all(|byte| byte.is_ascii_alphanumeric()) && digits <= 4 && churn(token) < 0.3
}

/// Whether a long text has nothing but lower case and what joins words.
fn is_slug(token: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    token.len() >= 16 && token.bytes().all(plain)
}

/// Whether a text ends like a file's name.
fn is_file(token: &str) -> bool {
    token.rsplit_once('.').is_some_and(|(stem, end)| {
        (2..=4).contains(&end.len())
            && end.bytes().all(|byte| byte.is_ascii_lowercase())
            && (stem.contains(['/', '-', '_']) || churn(stem) < 0.3)
    })
}

fn is_address(token: &str) -> bool {
    token.split_once('@').is_some_and(|(_, host)| {
        host.rsplit_once('.')
            .is_some_and(|(_, end)| end.len() >= 2 && end.bytes().all(|b| b.is_ascii_alphabetic()))
    })
}

/// Whether a text is a digest by its length and alphabet.
fn is_digest(token: &str) -> bool {
    matches!(token.len(), 32 | 40 | 64 | 96 | 128) && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn is_uuid(token: &str) -> bool {
    let bytes = token.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether a text has lower case, upper case, digits, and signs that join no words.
fn classes(token: &str) -> [bool; 4] {
    let has = |kind: fn(char) -> bool| token.chars().any(kind);
    [
        has(|c| c.is_lowercase() || (c.is_alphabetic() && !c.is_uppercase())),
        has(char::is_uppercase),
        has(|c| c.is_ascii_digit()),
        has(|c| c.is_ascii_punctuation() && !"_-./:,;".contains(c)),
    ]
}

/// How often, per character, lower case, upper case and digits follow one another directly. The capital that begins
/// a word does not count: `newUserName2` has 3 of 12, chance has nearly half.
fn churn(token: &str) -> f32 {
    let kind = |byte: u8| match byte {
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        b'0'..=b'9' => 3,
        _ => 0,
    };
    let changes = token.as_bytes().windows(2).filter(|pair| {
        let (a, b) = (kind(pair[0]), kind(pair[1]));
        a != 0 && b != 0 && a != b && (a, b) != (2, 1)
    });
    share(changes.count(), token.len())
}

fn distinct(token: &str) -> usize {
    let mut seen = [false; 256];
    token.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// Shannon entropy of a token's bytes, in bits per byte.
pub(super) fn entropy(token: &str) -> f32 {
    let mut counts = [0usize; 256];
    token.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| share(*count, token.len()))
        .map(|share| -share * share.log2())
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "a token has some thousand bytes")]
fn share(part: usize, whole: usize) -> f32 {
    part as f32 / whole.max(1) as f32
}

/// Reads base 64 of either alphabet (RFC 4648, 4 and 5), padded or not.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_of_both_alphabets_is_read() {
        // RFC 4648, section 10.
        for (text, decoded) in
            [("", ""), ("Zg==", "f"), ("Zm8", "fo"), ("Zm9vYmE=", "fooba"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(decode_base64(text).unwrap(), decoded.as_bytes());
        }
        assert_eq!(decode_base64("-_-_"), decode_base64("+/+/"));
        assert_eq!(decode_base64("a.b"), None);
    }

    #[test]
    fn entropy_is_that_of_the_characters() {
        assert!(entropy("aaaa").abs() < 1e-6);
        assert!((entropy("abcdefgh") - 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_password_is_no_word_no_expression_and_no_place() {
        for password in ["Kr4tz!baum", "hun7er!22x", "Sommer2024", "kq7d82hsx1"] {
            assert!(is_chosen(password, true), "{password}");
        }
        for other in [
            "required",
            "self.password_1",
            "getPassword2()",
            "/run/secrets/db1",
            "ada@example.org",
            "AES-256-CBC",
            "2024-05-17",
            "correcthorse",
            "https://x.test/A1",
            "9f86d081884c7d659a2feaa0c55ad015",
        ] {
            assert!(!is_chosen(other, false), "{other}");
        }
    }
}
