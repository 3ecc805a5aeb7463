//! How long a provider wants to be left alone, from whichever header it says so in.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// No provider means more than this by a wait; it also keeps sums of times within their range.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// A larger number of seconds is a date.
const IS_A_DATE: f64 = 30.0 * 86_400.0;

/// Headers of how many requests and tokens are left, and when there will be all of them: with a duration as Go writes them
/// (OpenAI, Groq) or with seconds (Cerebras).
const LIMITS: [(&str, &str); 4] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
    ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
];

/// How long to wait: `retry-after-ms`, `Retry-After` (seconds or a date, RFC 9110 section 10.2.3), and after too many requests
/// also what Google says in the error and what the `x-ratelimit` headers say.
pub(super) fn retry_after(
    status: StatusCode,
    headers: &HeaderMap,
    error: Option<&Value>,
    now: SystemTime,
) -> Option<Duration> {
    let limited = || {
        let told = error.and_then(retry_info).or_else(|| reset(headers, now)).or_else(|| limits(headers));
        told.or_else(|| draft(headers))
    };
    let wait = asked(headers, now).or_else(|| (status == StatusCode::TOO_MANY_REQUESTS).then(limited)?)?;
    Some(wait.min(LONGEST_WAIT))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim)
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| *number >= 0.0)
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// What it asks for in so many words. The finer one goes first: both say the same.
fn asked(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let ms =
        ["retry-after-ms", "x-ms-retry-after-ms"].into_iter().find_map(|name| number(text(headers, name)?));
    if let Some(ms) = ms {
        return seconds(ms / 1000.0);
    }
    let value = text(headers, "retry-after")?;
    match value.parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => httpdate::parse_http_date(value).ok().map(|at| at.duration_since(now).unwrap_or_default()),
    }
}

/// `google.rpc.RetryInfo` among the details of an error.
fn retry_info(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    seconds(number(delay.strip_suffix('s')?)?)
}

/// `x-ratelimit-reset`: seconds, or when in seconds or milliseconds since 1970.
fn reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let number = number(text(headers, "x-ratelimit-reset")?)?;
    if number < IS_A_DATE {
        return seconds(number);
    }
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let at = seconds(if number > 1e12 { number / 1000.0 } else { number })?;
    Some(at.saturating_sub(since))
}

/// When what is used up will be there again; where it is not said what is, when the first of all is.
fn limits(headers: &HeaderMap) -> Option<Duration> {
    let times = LIMITS.map(|(left, reset)| {
        let used_up = text(headers, left).and_then(number) == Some(0.0);
        Some((used_up, go_duration(text(headers, reset)?)?))
    });
    let times: Vec<(bool, Duration)> = times.into_iter().flatten().collect();
    let used_up = times.iter().filter(|(used_up, _)| *used_up).map(|(_, time)| *time).max();
    used_up.or_else(|| times.iter().map(|(_, time)| *time).min())
}

/// `RateLimit: "name";r=0;t=30` of the IETF's draft.
fn draft(headers: &HeaderMap) -> Option<Duration> {
    let parameters = text(headers, "ratelimit")?.split(';');
    let time = parameters.filter_map(|parameter| parameter.trim().strip_prefix("t=")).find_map(number)?;
    seconds(time)
}

/// `120ms`, `7.66s`, `6m0s`, `1h2m3s`, or a bare number of seconds.
fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 6] =
        [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    if let Some(bare) = number(text) {
        return seconds(bare);
    }
    let (mut left, mut sum) = (text, 0.0);
    while !left.is_empty() {
        let end = left.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, rest) = left.split_at(end);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        sum += number(digits)? * factor;
        left = &rest[unit.len()..];
    }
    (!text.is_empty()).then(|| seconds(sum))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(status: StatusCode, headers: &[(&'static str, &str)]) -> Option<Duration> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        retry_after(status, &map, None, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
    }

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn a_wait_is_read_in_every_form_that_providers_use() {
        let read = |name, value: &str| read(StatusCode::TOO_MANY_REQUESTS, &[(name, value)]);
        assert_eq!(read("retry-after-ms", "1500"), ms(1500));
        assert_eq!(read("x-ms-retry-after-ms", "20"), ms(20));
        assert_eq!(read("retry-after", "2"), ms(2000));
        assert_eq!(read("retry-after", "Fri, 15 Jan 2027 08:00:09 GMT"), ms(9000));
        assert_eq!(read("retry-after", "1e19"), Some(LONGEST_WAIT));
        assert_eq!(read("retry-after-ms", "99999999999999999999"), Some(LONGEST_WAIT));
        assert_eq!(read("x-ratelimit-reset", "30"), ms(30_000));
        assert_eq!(read("x-ratelimit-reset", "1800000007"), ms(7000));
        assert_eq!(read("x-ratelimit-reset", "1800000007500"), ms(7500));
        for (text, wait) in
            [("120ms", 120), ("7.66s", 7660), ("6m0s", 360_000), ("1h0m1s", 3_601_000), ("3", 3000)]
        {
            assert_eq!(read("x-ratelimit-reset-requests", text), ms(wait), "{text}");
        }
        assert_eq!(read("ratelimit", "\"default\";r=0;t=30"), ms(30_000));
        for wrong in ["soon", "-5", "NaN", "1e300"] {
            assert_eq!(read("retry-after", wrong), None, "{wrong}");
            assert_eq!(read("x-ratelimit-reset-tokens", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_finest_word_counts_and_of_the_limits_the_one_that_is_used_up() {
        let all = [("retry-after-ms", "700"), ("retry-after", "1"), ("x-ratelimit-reset-requests", "9s")];
        assert_eq!(read(StatusCode::TOO_MANY_REQUESTS, &all), ms(700));
        let limits = [
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-tokens", "6s"),
            ("x-ratelimit-remaining-requests", "12"),
            ("x-ratelimit-remaining-tokens", "0"),
        ];
        assert_eq!(read(StatusCode::TOO_MANY_REQUESTS, &limits), ms(6000));
        assert_eq!(read(StatusCode::TOO_MANY_REQUESTS, &limits[..2]), ms(1000));
        assert_eq!(read(StatusCode::INTERNAL_SERVER_ERROR, &limits), None, "it is well within its limits");
    }

    #[test]
    fn google_says_it_in_the_error() {
        let kind = "type.googleapis.com/google.rpc.RetryInfo";
        let error =
            json!({ "code": 429, "details": [{ "reason": "x" }, { "@type": kind, "retryDelay": "58.5s" }] });
        let wait =
            retry_after(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), Some(&error), SystemTime::now());
        assert_eq!(wait, ms(58_500));
    }
}
