//! What others make of bytes: escapes undone, layer by layer.

use memchr::{memchr, memchr2};

use super::Leak;

/// How many layers of JSON within JSON strings are undone; one more than are redacted inside.
const LAYERS: usize = 6;
/// How often percent signs are undone in each.
const PERCENTS: usize = 2;

/// Whether bytes can mean others than they are.
pub(super) fn is_encoded(bytes: &[u8]) -> bool {
    memchr2(b'\\', b'%', bytes).is_some()
}

/// Calls `look` with the bytes as they are, and for each layer of escapes with what is under it.
pub(super) fn each(bytes: &[u8], look: &mut dyn FnMut(&[u8]) -> Result<(), Leak>) -> Result<(), Leak> {
    with_percents(bytes, look)?;
    under(bytes, look)
}

/// The same for a string of a JSON document, which with escapes is read by nobody as it is.
pub(super) fn of_string(bytes: &[u8], look: &mut dyn FnMut(&[u8]) -> Result<(), Leak>) -> Result<(), Leak> {
    if memchr(b'\\', bytes).is_some() { under(bytes, look) } else { with_percents(bytes, look) }
}

fn under(bytes: &[u8], look: &mut dyn FnMut(&[u8]) -> Result<(), Leak>) -> Result<(), Leak> {
    let mut current: Option<Vec<u8>> = None;
    for _ in 0..LAYERS {
        let reading = current.as_deref().unwrap_or(bytes);
        let Some(first) = memchr(b'\\', reading) else { break };
        let next = unescaped(reading, first);
        with_percents(&next, look)?;
        current = Some(next);
    }
    Ok(())
}

fn with_percents(bytes: &[u8], look: &mut dyn FnMut(&[u8]) -> Result<(), Leak>) -> Result<(), Leak> {
    look(bytes)?;
    let mut current: Option<Vec<u8>> = None;
    for _ in 0..PERCENTS {
        let Some(under) = without_percents(current.as_deref().unwrap_or(bytes)) else { break };
        look(&under)?;
        current = Some(under);
    }
    Ok(())
}

/// The bytes with `%41` as `A`; `None` if there is nothing of the kind.
fn without_percents(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut copied, mut from) = (Vec::new(), 0, 0);
    while let Some(at) = bytes.get(from..).and_then(|rest| memchr(b'%', rest)) {
        let at = from + at;
        from = at + 1;
        if let Some(byte) = bytes.get(at + 1..at + 3).and_then(number)
            && let Ok(byte) = u8::try_from(byte)
        {
            out.extend_from_slice(&bytes[copied..at]);
            out.push(byte);
            copied = at + 3;
            from = copied;
        }
    }
    (copied > 0).then(|| {
        out.extend_from_slice(&bytes[copied..]);
        out
    })
}

/// One layer of JSON's escapes undone, the first of which is at `first`. The backslash of what is no escape is left
/// out, as Markdown's.
fn unescaped(bytes: &[u8], first: usize) -> Vec<u8> {
    let (mut out, mut copied, mut backslash) = (Vec::with_capacity(bytes.len()), 0, Some(first));
    while let Some(at) = backslash {
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 2;
        match bytes.get(at + 1) {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'u') => match character(&bytes[at..]) {
                Some((character, length)) => {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    copied = at + length;
                }
                None => out.push(b'u'),
            },
            Some(other) => out.push(*other),
            None => copied = bytes.len(),
        }
        backslash = bytes.get(copied..).and_then(|rest| memchr(b'\\', rest)).map(|at| copied + at);
    }
    out.extend_from_slice(&bytes[copied.min(bytes.len())..]);
    out
}

/// The character of `\u00e9` or of a pair of surrogates, and how many bytes it takes.
fn character(bytes: &[u8]) -> Option<(char, usize)> {
    let high = number(bytes.get(2..6)?)?;
    if let Some(character) = char::from_u32(high) {
        return Some((character, 6));
    }
    let low = (bytes.get(6..8)? == b"\\u").then(|| number(bytes.get(8..12)?)).flatten();
    let pair = low.filter(|low| high < 0xdc00 && (0xdc00..0xe000).contains(low));
    let character = pair.and_then(|low| char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)));
    Some(character.map_or((char::REPLACEMENT_CHARACTER, 6), |character| (character, 12)))
}

/// A number in hexadecimal digits.
fn number(digits: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    digits.iter().try_fold(0, |number, byte| Some(number * 16 + digit(byte)?))
}
