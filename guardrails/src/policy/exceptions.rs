//! Exceptions from a policy: for a time, for a reason, and written down whenever they are used.

use super::{Operator, PolicyError};
use crate::channel::Channel;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 3600;

/// What is done with an entity for a while, whatever else the policy says of it. Where several fit, the first does.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Names it in the audit log and in metrics. By default its place, such as `exceptions[0]`.
    #[serde(default)]
    pub id: Option<String>,
    /// The last day on which it holds, in UTC: `2027-01-31`.
    pub until: Day,
    /// Why there is one, for people.
    pub reason: String,
    /// Whose finding it is about, such as `EMAIL_ADDRESS`, or `SECRET`.
    pub entity: String,
    /// Only in this very channel. By default in all.
    #[serde(default)]
    pub channel: Option<Channel>,
    /// Only for this tenant.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Only on this route.
    #[serde(default)]
    pub route: Option<String>,
    /// What is done. Not `off`: the use of an exception is always written down.
    pub action: Operator,
}

impl Exception {
    /// Whether it is about what this tenant asks of this route; none stands for those of whom nothing is said.
    pub(super) fn fits(&self, tenant: Option<&str>, route: Option<&str>) -> bool {
        self.tenant.as_deref().is_none_or(|own| Some(own) == tenant)
            && self.route.as_deref().is_none_or(|own| Some(own) == route)
    }

    /// The name of the one at this place.
    pub fn name(&self, at: usize) -> String {
        self.id.clone().unwrap_or_else(|| format!("exceptions[{at}]"))
    }
}

/// What types can't say.
pub(super) fn check(exceptions: &[Exception]) -> Result<(), PolicyError> {
    for (at, exception) in exceptions.iter().enumerate() {
        let error =
            |field: &str, problem: &str| Err(PolicyError::new(format!("exceptions[{at}].{field}"), problem));
        if exception.reason.trim().is_empty() {
            return error("reason", "expected why there is an exception, for those who read this later");
        }
        if exception.action == Operator::Off {
            return error("action", "expected another action, such as `log`: its use is always written down");
        }
        let name = exception.name(at);
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return error("id", "expected a name of up to 100 bytes");
        }
        if exceptions.iter().take(at).enumerate().any(|(other, earlier)| earlier.name(other) == name) {
            return error("id", "another exception has the same");
        }
    }
    Ok(())
}

/// A day of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String", extend("format" = "date"))]
pub struct Day {
    year: u64,
    month: u64,
    day: u64,
}

impl Day {
    /// Reads `2027-01-31`; from 1970 on.
    pub fn parse(text: &str) -> Option<Day> {
        let number = |text: &str, digits: usize| {
            (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse().ok())?
        };
        let (year, rest) = text.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let (year, month, day): (u64, u64, u64) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (year >= 1970 && (1..=days).contains(&day)).then_some(Day { year, month, day })
    }

    /// The first moment after it, in UTC.
    pub fn end(self) -> SystemTime {
        // Days since 1970, by years that begin in March, so that the leap day is the last of one.
        let Day { year, month, day } = self;
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
        UNIX_EPOCH + Duration::from_secs((days - 719_468 + 1) * DAY)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Day, D::Error> {
        let text = String::deserialize(deserializer)?;
        Day::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a day such as 2027-01-31"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_utc() {
        let end = |text: &str| {
            let end = Day::parse(text).map(|day| day.end().duration_since(UNIX_EPOCH).unwrap().as_secs());
            end.unwrap_or_default()
        };
        // `date -u -d '2000-03-01' +%s` and so on.
        assert_eq!(end("1970-01-01"), 86_400);
        assert_eq!(end("2000-02-29"), 951_868_800);
        assert_eq!(end("2024-02-28"), 1_709_164_800);
        assert_eq!(end("2026-12-31"), 1_798_761_600);
        assert_eq!(end("2100-02-28"), 4_107_542_400);
        assert_eq!(Day::parse("2027-01-31").unwrap().to_string(), "2027-01-31");
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in [
            "",
            "2027",
            "2027-1-31",
            "2027-13-01",
            "2027-00-10",
            "2027-02-29",
            "2100-02-29",
            "2027-04-31",
            "2027-01-00",
            "27-01-01",
            "+027-01-01",
            "2027-01-31T00:00Z",
            "1969-12-31",
            "2027/01/31",
        ] {
            assert!(Day::parse(text).is_none(), "{text}");
        }
    }
}
