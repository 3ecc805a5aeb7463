//! Expands recipes (see `rule`) with characters that look random and are the same every time.

use super::checksum;
use std::ops::Range;

const BASE64: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/";
const WIDE: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// The text of a recipe, and what is marked in it.
pub(super) fn expand_marked(recipe: &str) -> (String, Option<Range<usize>>) {
    let text = expand(recipe);
    let (from, to) = (text.find('«'), text.find('»'));
    let plain = text.replace(['«', '»'], "");
    (plain, from.zip(to).map(|(from, to)| from..to - '«'.len_utf8()))
}

pub(super) fn expand(recipe: &str) -> String {
    let mut random = Random(
        recipe
            .bytes()
            .fold(0x9e37_79b9_7f4a_7c15, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte))),
    );
    let mut out = String::new();
    let mut rest = recipe;
    while let Some((head, tail)) = rest.split_once('{') {
        let slot = tail.split_once('}').and_then(|(slot, after)| Some((random.fill_slot(slot)?, after)));
        out.push_str(head);
        rest = match slot {
            Some((filled, after)) => {
                out.push_str(&filled);
                after
            }
            // A brace of the text itself.
            None => {
                out.push('{');
                tail
            }
        };
    }
    out + rest
}

struct Random(u64);

impl Random {
    fn fill(&mut self, alphabet: &[u8], count: usize) -> String {
        let mut next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            alphabet[usize::try_from(self.0 >> 33).unwrap() % alphabet.len()] as char
        };
        (0..count).map(|_| next()).collect()
    }

    fn fill_slot(&mut self, slot: &str) -> Option<String> {
        match slot {
            "open" => return Some("{".to_owned()),
            "close" => return Some("}".to_owned()),
            "uuid" => {
                let groups: Vec<String> = [8, 4, 4, 4, 12].map(|n| self.fill(b"0123456789abcdef", n)).into();
                return Some(groups.join("-"));
            }
            "github" => {
                let body = self.fill(&BASE64[..62], 30);
                let check = checksum::crc32(body.as_bytes());
                return Some(body + &base62(check));
            }
            "grafana" => {
                let body = format!("glsa_{}", self.fill(&BASE64[..62], 32));
                let check = checksum::crc32(body.as_bytes()).swap_bytes();
                return Some(format!("{body}_{check:08x}"));
            }
            "basic" => return Some(encode(&format!("ada:{}", self.fill(&BASE64[..62], 13)))),
            "jwt" => {
                let head = encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
                let body = encode("{\"sub\":\"ada\",\"iat\":1700000000}");
                return Some(format!("{head}.{body}.{}", self.fill(WIDE, 43)).replace('=', ""));
            }
            _ => {}
        }
        let count = slot.get(1..)?.parse().ok()?;
        let alphabet: &[u8] = match &slot[..1] {
            "b" => &BASE64[..62],
            "l" => &BASE64[10..62],
            "s" => BASE64,
            "w" => WIDE,
            "a" => b"0123456789abcdefghijklmnopqrstuvwxyz",
            "A" => &BASE64[..36],
            "u" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            "o" => b"abcdefghijklmnopqrstuvwxyz234567",
            "d" => b"0123456789",
            "h" => b"0123456789abcdef",
            "H" => b"0123456789ABCDEF",
            "Q" => b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
            "k" => b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
            _ => return None,
        };
        Some(self.fill(alphabet, count))
    }
}

fn base62(mut value: u32) -> String {
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE64[value as usize % 62];
        value /= 62;
    }
    String::from_utf8(digits.to_vec()).unwrap()
}

/// Base 64 with padding (RFC 4648).
fn encode(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63] as char;
            out.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    out
}
