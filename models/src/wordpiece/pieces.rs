//! The vocabulary, and words cut into its pieces: always the longest that fits (Wu et al. 2016, greedy
//! longest-match-first as in BERT).

use std::collections::HashMap;

/// Bytes of a word that are kept. A word that does not fit has more than [`MAX_CHARS`] characters.
pub(super) const WORD_BYTES: usize = 512;
/// The highest limit on a word's characters this module can keep.
const MAX_CHARS: usize = 127;
/// Bytes of a piece that are compared as one number.
const HEAD: usize = 8;

/// The word being read, in its final spelling.
pub(super) struct Word {
    /// Some bytes longer than a word, so that eight can be read from any place in it.
    bytes: [u8; WORD_BYTES + HEAD],
    len: usize,
}

impl Word {
    pub(super) fn new() -> Self {
        Self { bytes: [0; WORD_BYTES + HEAD], len: 0 }
    }

    /// Adds `bytes`, or as many as there is room for.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.fill(bytes.iter().copied());
    }

    /// Adds `bytes` until there is no room. Takes none that it does not add.
    #[inline]
    pub(super) fn fill(&mut self, bytes: impl Iterator<Item = u8>) {
        let room = self.bytes[..WORD_BYTES].get_mut(self.len..).unwrap_or_default();
        self.len += room.iter_mut().zip(bytes).map(|(to, byte)| *to = byte).count();
    }

    /// Whether it has more than `limit` characters, `limit` being at most [`MAX_CHARS`].
    fn longer_than(&self, limit: usize) -> bool {
        self.len > limit && {
            let starts = self.bytes[..self.len].iter().filter(|byte| **byte & 0xC0 != 0x80);
            starts.count() > limit
        }
    }
}

/// The first eight bytes from `at` on as a number, of which `len` count.
#[inline]
fn head(bytes: &[u8], at: usize, len: usize) -> u64 {
    let eight = bytes.get(at..).and_then(|rest| rest.first_chunk::<HEAD>());
    let number = eight.map_or(0, |eight| u64::from_le_bytes(*eight));
    if len < HEAD { number & ((1 << (8 * len)) - 1) } else { number }
}

/// A place in a [`Table`]: 16 bytes, so that most pieces are found within one cache line.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The piece's first eight bytes, filled up with zeros; 0 if the place is free.
    head: u64,
    id: u32,
    /// Where its other bytes are in [`Table::rest`], with their number in front; 0 if there are none.
    rest: u32,
}

/// Pieces to ids: open addressing, at most half full.
struct Table {
    slots: Vec<Slot>,
    rest: Vec<u8>,
    /// Bytes of the longest piece.
    longest: usize,
    shift: u32,
}

impl Table {
    /// `None` if a piece is of a kind the table cannot tell apart: longer than 255 bytes, or with a NUL.
    fn new(pieces: &[(&str, u32)]) -> Option<Self> {
        let size = (2 * pieces.len()).next_power_of_two().max(2);
        let mut table = Self {
            slots: vec![Slot::default(); size],
            rest: vec![0],
            longest: 0,
            shift: u64::BITS - size.trailing_zeros(),
        };
        for (piece, id) in pieces {
            if piece.contains('\0') {
                return None;
            }
            let len = u8::try_from(piece.len()).ok()?;
            let mut bytes = piece.as_bytes().to_vec();
            bytes.resize(piece.len() + HEAD, 0);
            let mut slot = Slot { head: head(&bytes, 0, piece.len()), id: *id, rest: 0 };
            if piece.len() > HEAD {
                slot.rest = u32::try_from(table.rest.len()).ok()?;
                table.rest.push(len - HEAD as u8);
                table.rest.extend_from_slice(&piece.as_bytes()[HEAD..]);
            }
            let mut place = table.place(slot.head, &bytes, 0, piece.len());
            while table.slots[place].head != 0 {
                place = (place + 1) & (size - 1);
            }
            table.slots[place] = slot;
            table.longest = table.longest.max(piece.len());
        }
        Some(table)
    }

    /// Where to look first: Fibonacci hashing (Knuth, TAOCP 3, 6.4) of the first and the last eight bytes.
    #[inline]
    fn place(&self, first: u64, bytes: &[u8], at: usize, len: usize) -> usize {
        let last = if len > HEAD { head(bytes, at + len - HEAD, HEAD).rotate_left(23) } else { 0 };
        ((first ^ last).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// The id of the piece made of the `len` bytes from `at` on. Eight readable bytes must follow them.
    #[inline]
    fn get(&self, bytes: &[u8], at: usize, len: usize) -> Option<u32> {
        let first = head(bytes, at, len);
        let mut place = self.place(first, bytes, at, len);
        loop {
            let slot = self.slots.get(place)?;
            if slot.head == first && self.same_rest(slot, bytes, at, len) {
                return Some(slot.id);
            }
            if slot.head == 0 {
                return None;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    /// Whether what follows the first eight bytes is the same too.
    #[inline]
    fn same_rest(&self, slot: &Slot, bytes: &[u8], at: usize, len: usize) -> bool {
        if len <= HEAD {
            return slot.rest == 0;
        }
        let rest = slot.rest as usize;
        let theirs = self.rest.get(rest).and_then(|n| self.rest.get(rest + 1..rest + 1 + usize::from(*n)));
        slot.rest != 0 && theirs == bytes.get(at + HEAD..at + len)
    }
}

/// A WordPiece vocabulary.
pub(super) struct Pieces {
    /// Pieces that begin a word.
    initial: Table,
    /// Pieces that continue one, without their `##`.
    following: Table,
    /// What stands for a word that cannot be put together.
    unknown: u32,
    max_chars: usize,
}

impl Pieces {
    /// `None` if the vocabulary lacks `unknown`, or is of a kind the tables cannot hold.
    pub(super) fn new(vocabulary: &HashMap<String, u32>, unknown: &str, max_chars: usize) -> Option<Self> {
        if max_chars > MAX_CHARS {
            return None;
        }
        let (mut initial, mut following) = (Vec::new(), Vec::new());
        for (piece, id) in vocabulary {
            // A word that begins with `##` is that character alone, so these pieces never begin one.
            match piece.strip_prefix("##") {
                Some(piece) => following.push((piece, *id)),
                None => initial.push((piece.as_str(), *id)),
            }
        }
        for pieces in [&mut initial, &mut following] {
            pieces.retain(|(piece, _)| !piece.is_empty());
            // What was common in training has low ids, and should be found at the first place.
            pieces.sort_by_key(|(_, id)| *id);
        }
        Some(Self {
            initial: Table::new(&initial)?,
            following: Table::new(&following)?,
            unknown: *vocabulary.get(unknown)?,
            max_chars,
        })
    }

    /// Adds the pieces of `word` to `ids`, if there is a word, and empties it.
    #[inline]
    pub(super) fn finish(&self, word: &mut Word, ids: &mut Vec<u32>) {
        if word.len == 0 {
            return;
        }
        match self.initial.get(&word.bytes, 0, word.len) {
            Some(id) if word.len <= self.max_chars => ids.push(id),
            _ => self.cut(word, ids),
        }
        word.len = 0;
    }

    /// Adds the pieces of a word, one or many.
    fn cut(&self, word: &Word, ids: &mut Vec<u32>) {
        let before = ids.len();
        if word.longer_than(self.max_chars) {
            ids.push(self.unknown);
            return;
        }
        let (mut at, mut table) = (0, &self.initial);
        while at < word.len {
            // A length that ends within a character finds nothing, since all pieces are whole characters.
            let longest = table.longest.min(word.len - at);
            let found = (1..=longest).rev().find_map(|len| Some((len, table.get(&word.bytes, at, len)?)));
            let Some((len, id)) = found else {
                ids.truncate(before);
                ids.push(self.unknown);
                return;
            };
            ids.push(id);
            at += len;
            table = &self.following;
        }
    }
}
