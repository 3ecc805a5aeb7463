//! Durations and sizes as people write them: `250ms`, `24h`, `256MiB`.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// A duration: a number with `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", description = "a number with ms, s, m, h or d, such as 30s or 24h")]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// So many milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A size in bytes: a number with `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB` or `GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", description = "a number with B, KiB, MiB, GiB, kB, MB or GB, such as 256MiB")]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many mebibytes.
    pub const fn mebibytes(n: u64) -> Self {
        Self(n << 20)
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A duration as people write it: a number with `ms`, `s`, `m`, `h` or `d`.
pub fn duration(text: &str) -> Option<Duration> {
    scaled(text, DURATIONS).map(Duration::from_millis)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        scaled(&text, DURATIONS).map(Self::millis).ok_or_else(|| {
            de::Error::custom("expected a duration: a number with ms, s, m, h or d, such as 30s")
        })
    }
}

/// A part of the cache's memory: a size, or a percentage of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", description = "a size such as 64MiB, or a percentage such as 25%")]
pub enum Portion {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths.
    Percent(u64),
}

impl Portion {
    /// The bytes that it is of `all`.
    pub fn of(self, all: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.min(all),
            Self::Percent(hundredths) => (u128::from(all) * u128::from(hundredths) / 100) as u64,
        }
    }
}

impl<'de> Deserialize<'de> for Portion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let portion = match text.strip_suffix('%') {
            Some(digits) => {
                digits.trim().parse().ok().filter(|part| (1..=100).contains(part)).map(Self::Percent)
            }
            None => scaled(&text, SIZES).filter(|bytes| *bytes > 0).map(Self::Bytes),
        };
        portion.ok_or_else(|| {
            de::Error::custom("expected a size such as 64MiB, or a percentage from 1% to 100%")
        })
    }
}

/// How answers are kept that hold for the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", description = "a duration such as 60s, 'bypass', or 'as_any'")]
pub enum TimeSensitive {
    /// For so long.
    Ttl(Span),
    /// Not at all.
    Bypass,
    /// As any other.
    AsAny,
}

impl<'de> Deserialize<'de> for TimeSensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "bypass" => Ok(Self::Bypass),
            "as_any" => Ok(Self::AsAny),
            _ => scaled(&text, DURATIONS)
                .map(Span::millis)
                .map(Self::Ttl)
                .ok_or_else(|| de::Error::custom("expected a duration such as 60s, 'bypass', or 'as_any'")),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        scaled(&text, SIZES).map(Self).ok_or_else(|| {
            de::Error::custom("expected a size: a number with B, KiB, MiB or GiB, such as 256MiB")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_a_size_or_a_percentage() {
        let read = |text: &str| serde_json::from_value::<Portion>(text.into()).ok().map(|it| it.of(1000));
        for (text, bytes) in
            [("25%", Some(250)), ("100 %", Some(1000)), ("300B", Some(300)), ("1MiB", Some(1000))]
        {
            assert_eq!(read(text), bytes, "{text}");
        }
        for wrong in ["0%", "101%", "2.5%", "%", "25", "0B", "-5%", "a lot"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        assert_eq!(scaled("24h", DURATIONS), Some(86_400_000));
        assert_eq!(scaled("250 ms", DURATIONS), Some(250));
        assert_eq!(scaled("256MiB", SIZES), Some(256 << 20));
        for wrong in ["", "5", "h", "-1s", "1.5h", "99999999999999999999d", "99999999999999d", "5 weeks"] {
            assert_eq!(scaled(wrong, DURATIONS), None, "{wrong}");
        }
    }
}
