//! Keyed hashes of values: HMAC-SHA256 (RFC 2104). Without the key nobody can try out which value gives a mark, and the
//! numbers of cards and persons are few enough to try all.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Fewer bytes are no key.
const LEAST_KEY: usize = 16;
/// Bytes of the hash that are shown: 96 bits, among which two of a billion values still hardly ever meet.
const SHOWN: usize = 12;

/// A key for hashes; prints nothing of itself.
pub(crate) struct HashKey(Hmac<Sha256>);

impl HashKey {
    /// # Errors
    /// It is too short.
    pub(crate) fn new(key: &[u8]) -> Result<HashKey, String> {
        if key.len() < LEAST_KEY {
            return Err(format!("expected a key of at least {LEAST_KEY} bytes"));
        }
        Hmac::new_from_slice(key).map(HashKey).map_err(|error| error.to_string())
    }

    pub(crate) fn mac(&self, message: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        message.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// What stands for a value of an entity, in letters alone, `a` for 0 to `p` for 15: so that no rule takes it for a number.
    pub(crate) fn letters(&self, entity: &str, value: &str) -> String {
        let mac = self.mac(&[entity.as_bytes(), &[0], value.as_bytes()]);
        let nibbles = mac[..SHOWN].iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles.map(|nibble| char::from(b'a' + nibble)).collect()
    }
}

/// HMAC-SHA256 of a message, in small hexadecimal digits.
///
/// # Errors
/// The key is too short.
pub fn hmac_sha256(key: &[u8], message: &[&[u8]]) -> Result<String, String> {
    Ok(hex(&HashKey::new(key)?.mac(message)))
}

/// Letters of a hash in a mark.
pub(crate) const LETTERS: usize = 2 * SHOWN;

/// Whether these are the letters of a hash.
pub(crate) fn are_letters(text: &str) -> bool {
    text.len() == LETTERS && text.bytes().all(|byte| (b'a'..=b'p').contains(&byte))
}

/// A hash in small hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_rfc_4231() {
        // RFC 4231, test cases 1, 2 and 6.
        for (key, data, mac) in [
            (&[0x0b; 20][..], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                &b"Jefe"[..],
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131][..],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            let key = HashKey(Hmac::new_from_slice(key).unwrap());
            assert_eq!(hex(&key.mac(&[data.as_bytes()])), mac);
            let (begin, end) = data.as_bytes().split_at(3);
            assert_eq!(hex(&key.mac(&[begin, end])), mac);
        }
    }

    #[test]
    fn a_hash_depends_on_key_entity_and_value_and_is_made_of_letters() {
        let letters = |key: &[u8], entity, value| HashKey::new(key).unwrap().letters(entity, value);
        let one = letters(&[1; 16], "US_SSN", "536228143");
        assert!(are_letters(&one));
        assert_eq!(one, letters(&[1; 16], "US_SSN", "536228143"));
        assert_ne!(one, letters(&[2; 16], "US_SSN", "536228143"));
        assert_ne!(one, letters(&[1; 16], "US_ITIN", "536228143"));
        assert_ne!(one, letters(&[1; 16], "US_SSN", "536228144"));
    }

    #[test]
    fn a_short_key_is_none() {
        assert!(HashKey::new(&[1; 15]).is_err());
    }
}
