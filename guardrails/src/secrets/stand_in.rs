//! What only stands for a secret: documentation keys, `your-api-key`, `${VAR}`, `sk-xxxx`.

use super::literals::Literals;
use std::sync::LazyLock;

/// Parts of keys that the providers print in their own documentation, and of keys that every emulator has.
const PRINTED: &[&str] = &[
    // AWS, "IAM identifiers".
    "iosfodnn7",
    "bpxrficy",
    // Stripe's test account of its documentation.
    "4ec39hqlyjwdarjtt1zdp7dc",
    // Microsoft's storage and Cosmos DB emulators.
    "eby8vdm02xnocqflqu",
    "c2y6ydjf5/r+ob0n8a7cgv",
    // The token that jwt.io opens with: its payload.
    "eyjzdwiioiixmjm0nty3odkwiiwibmftzsi6ikpvag4grg9l",
    // RFC 7617 (Aladdin's), RFC 6749 and RFC 6750.
    "qwxhzgrpbjpvcgvu",
    "czzcagrsa3f0mzpnwdfmqmf0m2jw",
    "2yotnfzfejr1zcsicmwpaa",
    "tgzv3jokf0xg5qx2tlkwia",
    "mf_9.b5f-4.1jqm",
    // GitHub's announcement of its formats.
    "16c7e42f292c6912e7710c838347ae178b4a",
];

/// Words that no random token has and every placeholder has.
const WORDS: &str = "example your placeholder redacted changeme change_me change-me insert replace dummy sample notreal \
    not-real not_a_real fake masked hidden xxxx **** .... ____ ---- #### 0000000 1111111 process.env \
    os.environ getenv env. env[ secrets. vault: ssm: (sensitive •••";

/// Whether `token` only stands for a secret.
pub(super) fn is_stand_in(token: &str) -> bool {
    static KNOWN: LazyLock<Literals> =
        LazyLock::new(|| Literals::of(WORDS.split_whitespace().chain(PRINTED.iter().copied())));
    const SIGNS: &[&[u8; 2]] = &[b"${", b"{{", b"}}", b"#{", b"$(", b"%("];
    let pair = |pair: &[u8]| SIGNS.iter().any(|sign| pair == *sign);
    let variable = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    token.contains(['<', '>'])
        || token.as_bytes().windows(2).any(pair)
        || token.strip_prefix('$').is_some_and(variable)
        || (token.starts_with('%') && token.ends_with('%'))
        || counts_up(token.as_bytes())
        || KNOWN.any(token)
}

/// Whether eight characters in a row count up (`12345678`, `abcdefgh`).
fn counts_up(token: &[u8]) -> bool {
    let mut run = 1;
    token.windows(2).any(|pair| {
        run = if pair[1].to_ascii_lowercase() == pair[0].to_ascii_lowercase().wrapping_add(1) {
            run + 1
        } else {
            1
        };
        run >= 8
    })
}

#[cfg(test)]
mod tests {
    use super::is_stand_in;

    #[test]
    fn placeholders_are_known_in_every_dress() {
        for text in [
            "your-api-key",
            "${API_KEY}",
            "{{ api_key }}",
            "process.env.API_KEY",
            "<token>",
            "sk-xxxxxxxx",
            "$API_KEY",
            "%API_KEY%",
            "AKIAIOSFODNN7EXAMPLE",
            "12345678",
            "****************",
            "${{ secrets.TOKEN }}",
        ] {
            assert!(is_stand_in(text), "{text}");
        }
        assert!(!is_stand_in("hun7er!"));
    }
}
