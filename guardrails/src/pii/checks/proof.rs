//! What every check has to prove: it knows published numbers, catches mistyped ones, and passes as many random ones as
//! its table says.

use super::{Verdict, by_name};

/// One check, with what is known of it from outside.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Numbers that the issuer, the standard or an encyclopedia prints as examples.
    pub(super) published: &'static [&'static str],
    /// What a random candidate looks like: `d` is a digit, `l` a letter, `x` either, all else stands for itself.
    pub(super) form: &'static str,
    /// The share of numbers with one wrong digit or letter that are caught; 1 where the algorithm promises it.
    pub(super) errors: f64,
    /// The share of numbers with two neighbours swapped that are caught.
    pub(super) swaps: f64,
}

/// Holds all cases to what they say.
pub(super) fn prove(cases: &[Case]) {
    let broken: Vec<String> = cases.iter().flat_map(broken).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn broken(case: &Case) -> Vec<String> {
    let name = case.name;
    let Some(check) = by_name(name) else { return vec![format!("no check is called {name}")] };
    let mut broken = Vec::new();
    for number in case.published.iter().filter(|number| (check.run)(number) != Verdict::Valid) {
        broken.push(format!("{name}: {number} does not pass"));
    }
    for (what, promised, change) in
        [("single errors", case.errors, mistyped as fn(&str) -> Vec<String>), ("swaps", case.swaps, swapped)]
    {
        let caught = share(case.published, change, check.run);
        if caught < promised {
            broken.push(format!("{name}: {caught:.3} of {what} are caught, not {promised}"));
        }
    }
    let (stated, measured) = (f64::from(check.random), chance(case.form, check.run));
    if (measured - stated).abs() > 0.1 * stated {
        broken.push(format!("{name}: {measured:.5} of random candidates pass, not {stated:.5}"));
    }
    broken
}

/// The share of changed numbers that do not pass.
fn share(numbers: &[&str], change: fn(&str) -> Vec<String>, run: fn(&str) -> Verdict) -> f64 {
    if numbers.is_empty() {
        return 1.0;
    }
    let changed: Vec<String> = numbers.iter().flat_map(|number| change(number)).collect();
    let caught = changed.iter().filter(|number| run(number) != Verdict::Valid).count();
    f64::from(u32::try_from(caught).unwrap()) / f64::from(u32::try_from(changed.len().max(1)).unwrap())
}

/// `number` with each digit replaced by each other digit, and each letter by each other letter.
fn mistyped(number: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (at, byte) in number.bytes().enumerate() {
        let range = match byte {
            b'0'..=b'9' => b'0'..=b'9',
            b'A'..=b'Z' => b'A'..=b'Z',
            _ => continue,
        };
        for other in range.filter(|other| *other != byte) {
            let mut changed = number.to_owned().into_bytes();
            changed[at] = other;
            all.push(String::from_utf8(changed).unwrap());
        }
    }
    all
}

/// `number` with each two different neighbouring digits swapped.
fn swapped(number: &str) -> Vec<String> {
    let mut all = Vec::new();
    for at in 1..number.len() {
        let mut bytes = number.to_owned().into_bytes();
        if bytes[at - 1] != bytes[at] && bytes[at - 1].is_ascii_digit() && bytes[at].is_ascii_digit() {
            bytes.swap(at - 1, at);
            all.push(String::from_utf8(bytes).unwrap());
        }
    }
    all
}

/// The share of random candidates that pass, from as many as tell it within a few per cent.
fn chance(form: &str, run: fn(&str) -> Verdict) -> f64 {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut tried, mut passed) = (0, 0);
    while tried < 20_000 || (passed < 2_500 && tried < 6_000_000) {
        let candidate: String = form.bytes().map(|byte| char::from(random.fill(byte))).collect();
        tried += 1;
        passed += u32::from(run(&candidate) == Verdict::Valid);
    }
    f64::from(passed) / f64::from(tried)
}

/// Xorshift (Marsaglia 2003), seeded: the same sample on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u8) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u8::try_from((self.0 >> 11) % u64::from(limit)).unwrap()
    }

    fn fill(&mut self, byte: u8) -> u8 {
        match byte {
            b'd' => b'0' + self.below(10),
            b'l' => b'A' + self.below(26),
            b'x' => match self.below(36) {
                digit @ 0..=9 => b'0' + digit,
                letter => b'A' + letter - 10,
            },
            other => other,
        }
    }
}
