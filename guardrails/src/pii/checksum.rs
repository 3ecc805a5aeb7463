//! Check digits: what distinguishes a card, an account or a token from any number of its length.

/// The Luhn formula (ISO/IEC 7812-1, annex B). `digits` must be ASCII digits; the last is the check digit.
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, byte)| {
            let digit = u32::from(byte - b'0') << (i % 2);
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// ISO/IEC 7064 MOD 97-10 as an IBAN uses it (ISO 13616-1): the first four characters moved behind, letters
/// as 10 to 35, remainder 1. `iban` must be ASCII upper-case letters and digits, at least four.
pub(crate) fn iban_mod97(iban: &[u8]) -> bool {
    let (head, tail) = iban.split_at(4);
    let remainder = tail.iter().chain(head).fold(0u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    remainder == 1
}

/// CRC-32 (ISO 3309, the one of gzip), bit by bit: it reads tokens of some 30 bytes.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    !crc
}

/// Reads base 62 with the alphabet `0-9A-Za-z`; `None` if another character or too large for 64 bits.
pub(crate) fn base62(text: &str) -> Option<u64> {
    text.bytes().try_fold(0u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        value.checked_mul(62)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luhn_knows_the_standard_example_and_every_single_digit_error() {
        // ISO/IEC 7812-1 annex B computes check digit 3 for 7992739871.
        let valid = b"79927398713";
        assert!(luhn(valid));
        for at in 0..valid.len() {
            for digit in b'0'..=b'9' {
                let mut other = *valid;
                other[at] = digit;
                assert_eq!(luhn(&other), other == *valid);
            }
        }
    }

    #[test]
    fn mod97_knows_published_ibans_and_refuses_swapped_digits() {
        // Examples printed in the SWIFT IBAN registry.
        for iban in ["GB29NWBK60161331926819", "DE89370400440532013000", "NO9386011117947"] {
            assert!(iban_mod97(iban.as_bytes()));
        }
        assert!(!iban_mod97(b"GB29NWBK60161331926891"));
    }

    #[test]
    fn crc32_and_base62_agree_with_their_published_check_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(base62("10"), Some(62));
        assert_eq!(base62("zz"), Some(61 * 62 + 61));
        assert_eq!(base62("a-b"), None);
    }
}
