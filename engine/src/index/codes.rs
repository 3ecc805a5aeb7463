//! Vectors as signs: one bit per dimension says whether the vector lies above a centre. The number of bits in which two
//! codes differ grows with the angle between the vectors as seen from there (random hyperplanes: Charikar, STOC 2002), and
//! counting bits is some fifteen times faster than multiplying. What the bits choose is compared exactly afterwards.
//!
//! Seen from the origin sentence vectors all lie in one direction and many bits say the same of all. Seen from their mean
//! each bit halves them. The mean moves while vectors come and go, so whenever as many came as there were then, the centre
//! follows it if it has gone far enough. Recoding is spread over the inserts: up to a border the codes are of the new centre, behind it of the
//! old one, and a query has a code for either side.

use pulp::{Simd, WithSimd};

use super::rows::Rows;
use super::shortlist::Shortlist;
use super::simd::dispatch;

/// Codes side by side in a block: as many 64-bit words as a 256-bit register holds.
const LANES: usize = 4;
/// Codes made anew per insert while the centre follows the mean.
const RECODED_PER_INSERT: usize = 8;
/// The centre stays while the mean is nearer to it than this part of the vectors' mean square distance from their mean:
/// some 2 of 100 bits would become others, and making all codes anew reads all vectors.
const STILL: f32 = 1.0 / 256.0;

/// The codes of all vectors of some [`Rows`], under the same numbers.
pub(super) struct Codes {
    /// 64-bit words per code.
    words: usize,
    /// `words` per block of [`LANES`] codes: word 0 of each code, then word 1 of each, and so on. Codes past the last
    /// vector mean nothing.
    blocks: Vec<[u64; LANES]>,
    len: usize,
    /// The sum of all vectors. In double precision, so that what was added and subtracted leaves no trace.
    sum: Vec<f64>,
    centre: Vec<f32>,
    moving: Option<Moving>,
    /// Inserts until the centre is taken anew.
    inserts_left: usize,
}

/// A new centre, and how many vectors from the first on are coded by it already: whole blocks.
struct Moving {
    centre: Vec<f32>,
    done: usize,
}

impl Codes {
    /// Codes for all these vectors, of which there is at least one. Takes about 0.1 µs each.
    pub(super) fn of(rows: &Rows) -> Self {
        let words = rows.dimension().div_ceil(64);
        let mut codes = Self {
            words,
            blocks: vec![[0; LANES]; rows.len().div_ceil(LANES) * words],
            len: rows.len(),
            sum: vec![0.0; rows.dimension()],
            centre: Vec::new(),
            moving: None,
            inserts_left: rows.len(),
        };
        for slot in 0..rows.len() {
            codes.add(rows.get(slot), 1.0);
        }
        codes.centre = codes.mean();
        for slot in 0..rows.len() {
            codes.encode(slot, rows.get(slot));
        }
        codes
    }

    /// Follows an append to the rows.
    pub(super) fn push(&mut self, rows: &Rows) {
        let slot = self.len;
        if slot.is_multiple_of(LANES) {
            self.blocks.resize(self.blocks.len() + self.words, [0; LANES]);
        }
        self.len += 1;
        self.add(rows.get(slot), 1.0);
        self.encode(slot, rows.get(slot));
        self.recentre(rows);
    }

    /// Follows `rows.swap_remove(slot)`, which took `removed` out.
    pub(super) fn swap_remove(&mut self, slot: usize, removed: &[f32], rows: &Rows) {
        self.add(removed, -1.0);
        self.len -= 1;
        // So few can be others sooner.
        self.inserts_left = self.inserts_left.min(self.len);
        self.blocks.truncate(self.len.div_ceil(LANES) * self.words);
        if slot < self.len {
            self.encode(slot, rows.get(slot));
        }
        self.settle();
    }

    /// Offers every vector by the distance of its code to the query's.
    pub(super) fn scan(&self, query: &[f32], list: &mut Shortlist) {
        let border = self.moving.as_ref().map_or(0, |moving| moving.done);
        let (front, back) = self.blocks.split_at(border / LANES * self.words);
        let mut code = vec![0; self.words];
        if let Some(moving) = &self.moving {
            signs(query, &moving.centre, |word, bits| code[word] = bits);
            dispatch(Scan { blocks: front, code: &code, first: 0, end: border, list });
        }
        signs(query, &self.centre, |word, bits| code[word] = bits);
        dispatch(Scan { blocks: back, code: &code, first: border, end: self.len, list });
    }

    /// The largest distance there can be.
    pub(super) fn farthest(&self) -> usize {
        self.words * 64
    }

    fn add(&mut self, vector: &[f32], times: f64) {
        for (sum, &x) in self.sum.iter_mut().zip(vector) {
            *sum += times * f64::from(x);
        }
    }

    fn mean(&self) -> Vec<f32> {
        self.sum.iter().map(|&sum| (sum / self.len as f64) as f32).collect()
    }

    fn encode(&mut self, slot: usize, vector: &[f32]) {
        let centre = match &self.moving {
            Some(moving) if slot < moving.done => &moving.centre,
            _ => &self.centre,
        };
        let block = &mut self.blocks[slot / LANES * self.words..][..self.words];
        signs(vector, centre, |word, bits| block[word][slot % LANES] = bits);
    }

    /// Takes the centre anew when it is time, or goes on recoding.
    fn recentre(&mut self, rows: &Rows) {
        self.inserts_left = self.inserts_left.saturating_sub(1);
        if let Some(moving) = &mut self.moving {
            let from = moving.done;
            moving.done = (from + RECODED_PER_INSERT).min(self.len);
            for slot in from..moving.done {
                self.encode(slot, rows.get(slot));
            }
            self.settle();
        } else if self.inserts_left == 0 {
            self.inserts_left = self.len;
            let centre = self.mean();
            if self.is_elsewhere(&centre) {
                self.moving = Some(Moving { centre, done: 0 });
            }
        }
    }

    /// Whether the mean has left the centre. The vectors have unit length, so their mean square distance from their
    /// mean is what that lacks of one.
    fn is_elsewhere(&self, mean: &[f32]) -> bool {
        let square = |x: f32| x * x;
        let spread = 1.0 - mean.iter().map(|&x| square(x)).sum::<f32>();
        let apart: f32 = mean.iter().zip(&self.centre).map(|(&x, &y)| square(x - y)).sum();
        apart > STILL * spread
    }

    /// Leaves the old centre behind when no code is of it any more.
    fn settle(&mut self) {
        if let Some(moving) = self.moving.take_if(|moving| moving.done >= self.len) {
            self.centre = moving.centre;
        }
    }
}

/// The signs of `vector - centre`, 64 to a word, handed over word by word.
fn signs(vector: &[f32], centre: &[f32], put: impl FnMut(usize, u64)) {
    struct Signs<'a, P>(&'a [f32], &'a [f32], P);
    impl<P: FnMut(usize, u64)> WithSimd for Signs<'_, P> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self(vector, centre, mut put) = self;
            let (vectors, vector_rest) = vector.as_chunks::<64>();
            let (centres, centre_rest) = centre.as_chunks::<64>();
            for (word, (v, c)) in vectors.iter().zip(centres).enumerate() {
                // A loop of known length over indices: the compiler compares and shifts several at once.
                let mut bits = 0;
                for i in 0..64 {
                    bits |= u64::from(v[i] > c[i]) << i;
                }
                put(word, bits);
            }
            if !vector_rest.is_empty() {
                let above = vector_rest.iter().zip(centre_rest).map(|(v, c)| u64::from(v > c));
                put(vectors.len(), above.enumerate().fold(0, |bits, (i, above)| bits | above << i));
            }
        }
    }
    dispatch(Signs(vector, centre, put));
}

/// Offers the codes of some blocks by their distance to `code`.
struct Scan<'a> {
    blocks: &'a [[u64; LANES]],
    code: &'a [u64],
    /// The slot of the first code.
    first: usize,
    /// The slot after the last.
    end: usize,
    list: &'a mut Shortlist,
}

impl WithSimd for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // The lengths of 384, 768 and 1024 dimensions are known to the compiler; it unrolls them.
        match self.code.len() {
            6 => self.blocks_of::<6>(),
            12 => self.blocks_of::<12>(),
            16 => self.blocks_of::<16>(),
            _ => self.any_blocks(),
        }
    }
}

impl Scan<'_> {
    #[inline(always)]
    fn blocks_of<const WORDS: usize>(mut self) {
        let (blocks, _) = self.blocks.as_chunks::<WORDS>();
        let (code, _) = self.code.as_chunks::<WORDS>();
        let [code] = code else { return };
        for (at, block) in blocks.iter().enumerate() {
            self.offer(at, distances(block, code));
        }
    }

    #[inline(always)]
    fn any_blocks(mut self) {
        let code = self.code;
        for (at, block) in self.blocks.chunks_exact(code.len()).enumerate() {
            self.offer(at, distances_of_any(block, code));
        }
    }

    #[inline(always)]
    fn offer(&mut self, at: usize, distances: [u64; LANES]) {
        let limit = u64::from(self.list.limit());
        if distances.iter().fold(false, |any, &distance| any | (distance < limit)) {
            self.offer_each(at, distances);
        }
    }

    /// The rare case.
    #[cold]
    #[inline(never)]
    fn offer_each(&mut self, at: usize, distances: [u64; LANES]) {
        let first = self.first + at * LANES;
        for (slot, distance) in (first..self.end).zip(distances) {
            if distance < u64::from(self.list.limit()) {
                self.list.offer(distance as u32, slot as u32);
            }
        }
    }
}

/// How many bits of each code of a block differ from `code`. Counted by index up to a known number of words: so the
/// compiler keeps each lane in a lane of a register; by iterators it shuffles the words about.
#[inline(always)]
fn distances<const WORDS: usize>(block: &[[u64; LANES]; WORDS], code: &[u64; WORDS]) -> [u64; LANES] {
    let mut distances = [0_u64; LANES];
    for word in 0..WORDS {
        for lane in 0..LANES {
            add_bits(&mut distances[lane], block[word][lane] ^ code[word]);
        }
    }
    distances
}

/// The same for any number of words.
#[inline(always)]
fn distances_of_any(block: &[[u64; LANES]], code: &[u64]) -> [u64; LANES] {
    let mut distances = [0_u64; LANES];
    for (words, own) in block.iter().zip(code) {
        for (distance, word) in distances.iter_mut().zip(words) {
            add_bits(distance, word ^ own);
        }
    }
    distances
}

/// It can't overflow, and asking whether it does would keep the lanes apart.
#[inline(always)]
fn add_bits(distance: &mut u64, word: u64) {
    *distance = distance.wrapping_add(u64::from(word.count_ones()));
}

#[cfg(test)]
mod tests {
    use super::super::vector::unit;
    use super::*;

    fn vector(dimension: usize, rng: &mut fastrand::Rng) -> Vec<f32> {
        around(&vec![0.2; dimension], rng)
    }

    /// Of unit length, in a direction near to this one.
    fn around(direction: &[f32], rng: &mut fastrand::Rng) -> Vec<f32> {
        unit(&direction.iter().map(|x| x + rng.f32() - 0.5).collect::<Vec<_>>()).unwrap()
    }

    /// The distance of a vector's code to the query's, bit by bit, as seen from the centre that is in force for it.
    fn distance(codes: &Codes, rows: &Rows, slot: usize, query: &[f32]) -> u32 {
        let centre = match &codes.moving {
            Some(moving) if slot < moving.done => &moving.centre,
            _ => &codes.centre,
        };
        let bit = |v: &[f32], i: usize| v[i] > centre[i];
        (0..query.len()).filter(|&i| bit(rows.get(slot), i) != bit(query, i)).count() as u32
    }

    /// Every vector is offered with its own distance: asking for exactly so many gives just those that are so near.
    fn check(codes: &Codes, rows: &Rows, query: &[f32]) {
        let all: Vec<u32> = (0..rows.len()).map(|slot| distance(codes, rows, slot, query)).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        let mut list = Shortlist::default();
        for wanted in [1, 7, rows.len()] {
            list.reset(wanted, codes.farthest());
            codes.scan(query, &mut list);
            let mut found: Vec<u32> = list.slots().iter().map(|&slot| all[slot as usize]).collect();
            found.sort_unstable();
            let wanted = wanted.min(rows.len());
            assert_eq!(found[..wanted], sorted[..wanted], "{} codes", rows.len());
        }
    }

    #[test]
    fn codes_follow_their_vectors_through_inserts_removes_and_moves_of_the_centre() {
        let mut rng = fastrand::Rng::with_seed(7);
        for dimension in [64, 70, 384, 768, 1024] {
            let mut rows = Rows::default();
            (0..10).for_each(|_| rows.push(&vector(dimension, &mut rng)));
            let mut codes = Codes::of(&rows);
            let mut moves = 0;
            for step in 0..400 {
                let still = codes.moving.is_none();
                if rng.f32() < if step < 250 { 0.8 } else { 0.3 } || rows.len() < 3 {
                    rows.push(&vector(dimension, &mut rng));
                    codes.push(&rows);
                } else {
                    let slot = rng.usize(..rows.len());
                    let removed = rows.get(slot).to_vec();
                    rows.swap_remove(slot);
                    codes.swap_remove(slot, &removed, &rows);
                }
                moves += usize::from(still && codes.moving.is_some());
                if step % 7 == 0 {
                    check(&codes, &rows, &vector(dimension, &mut rng));
                }
            }
            assert!(moves >= 3, "the centre moved {moves} times");
        }
    }

    /// One in, one out: the size stays, the vectors are others.
    fn replace_all(codes: &mut Codes, rows: &mut Rows, direction: &[f32], rng: &mut fastrand::Rng) {
        for _ in 0..10 * rows.len() {
            rows.push(&around(direction, rng));
            codes.push(rows);
            let slot = rng.usize(..rows.len());
            let removed = rows.get(slot).to_vec();
            rows.swap_remove(slot);
            codes.swap_remove(slot, &removed, rows);
        }
    }

    #[test]
    fn the_centre_comes_to_the_mean_wherever_the_vectors_go_and_stays_while_they_do() {
        let mut rng = fastrand::Rng::with_seed(8);
        let mut rows = Rows::default();
        let (here, there) =
            (vec![0.5; 64], (0..64).map(|i| if i % 2 == 0 { 0.5 } else { -0.5 }).collect::<Vec<_>>());
        (0..1000).for_each(|_| rows.push(&around(&here, &mut rng)));
        let mut codes = Codes::of(&rows);
        let centre = codes.centre.clone();
        replace_all(&mut codes, &mut rows, &here, &mut rng);
        assert!(codes.moving.is_none() && codes.centre == centre, "the mean is where it was");

        replace_all(&mut codes, &mut rows, &there, &mut rng);
        let apart: f32 = codes.centre.iter().zip(codes.mean()).map(|(x, y)| (x - y) * (x - y)).sum();
        assert!(codes.centre != centre && apart < 0.01, "{apart}");
        check(&codes, &rows, &around(&there, &mut rng));
    }
}
