//! What a request says about the cache, in `Cache-Control` (RFC 9111, section 5.2.1) and in headers of our own. It may ask
//! for less than the configuration allows, never for more.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::error::ApiError;

static MODE: HeaderName = HeaderName::from_static("x-sluice-cache");
static SIMILARITY: HeaderName = HeaderName::from_static("x-sluice-cache-similarity");
static TTL: HeaderName = HeaderName::from_static("x-sluice-cache-ttl");
static NAMESPACE: HeaderName = HeaderName::from_static("x-sluice-cache-namespace");
static TAGS: HeaderName = HeaderName::from_static("x-sluice-cache-tags");

/// Longest namespace, in bytes.
const NAMESPACE_BYTES: usize = 128;
/// Most tags of one answer.
const MOST_TAGS: usize = 16;
/// Longest tag, in bytes.
const TAG_BYTES: usize = 64;
/// What a number of seconds is cut to that is too large (RFC 9111, section 1.2.2).
const MOST_SECONDS: u64 = 1 << 31;

/// What a request wants of the cache. By default all it can give.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wishes {
    /// An answer out of the cache will do.
    pub(super) serve: bool,
    /// The answer may be remembered.
    pub(super) store: bool,
    /// Why one of the two is not so.
    pub(super) because: &'static str,
    /// Only the very same request's answer will do.
    pub(super) exact_only: bool,
    /// No provider is to be asked.
    pub(super) only_if_cached: bool,
    /// The answer may be no older.
    pub(super) max_age: Option<Duration>,
    /// The answer may have been stale for so long, where the configuration allows that.
    pub(super) max_stale: Option<Duration>,
    /// The same, when no provider answers.
    pub(super) stale_if_error: Option<Duration>,
    /// Least similarity of the prompts; 0 if it was not said.
    pub(super) similarity: f32,
    /// The answer is to be remembered no longer.
    pub(super) ttl: Option<Duration>,
    /// Answers are shared inside this part of the tenant alone.
    pub(super) namespace: Option<String>,
    /// Names by which the answer can be made to be forgotten.
    pub(super) tags: Vec<String>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            serve: true,
            store: true,
            because: "",
            exact_only: false,
            only_if_cached: false,
            max_age: None,
            max_stale: None,
            stale_if_error: None,
            similarity: 0.0,
            ttl: None,
            namespace: None,
            tags: Vec::new(),
        }
    }
}

impl Wishes {
    /// Reads the headers. Directives of `Cache-Control` that are unknown, or are for responses, are passed over.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with the name of a header of ours that is there twice or has another form than it should.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut wishes = Self::default();
        for line in headers.get_all(header::CACHE_CONTROL) {
            // What is no text holds no directive that we know.
            line.to_str().unwrap_or_default().split(',').for_each(|directive| wishes.directive(directive));
        }
        if let Some(mode) = one(headers, &MODE)? {
            match mode.to_ascii_lowercase().as_str() {
                "off" => wishes.nothing("off"),
                "refresh" => wishes.refresh("refresh"),
                "exact" => wishes.exact_only = true,
                "semantic" => {}
                _ => return Err(wrong(&MODE, "must be one of off, exact, semantic, refresh")),
            }
        }
        if let Some(text) = one(headers, &SIMILARITY)? {
            let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
            wishes.similarity = number.ok_or_else(|| wrong(&SIMILARITY, "must be a number from 0 to 1"))?;
        }
        if let Some(text) = one(headers, &TTL)? {
            let form = "must be a time longer than 0, such as 30s, 5m, 2h, or 3600 for seconds";
            wishes.ttl = Some(lifetime(text).ok_or_else(|| wrong(&TTL, form))?);
        }
        if let Some(text) = one(headers, &NAMESPACE)? {
            if !(1..=NAMESPACE_BYTES).contains(&text.len()) {
                return Err(wrong(&NAMESPACE, &format!("must be a text of 1 to {NAMESPACE_BYTES} bytes")));
            }
            wishes.namespace = Some(text.to_owned());
        }
        for line in headers.get_all(&TAGS) {
            wishes.tags.extend(text(&TAGS, line)?.split(',').map(|tag| tag.trim().to_owned()));
        }
        let fits = |tag: &String| (1..=TAG_BYTES).contains(&tag.len());
        if wishes.tags.len() > MOST_TAGS || !wishes.tags.iter().all(fits) {
            let form =
                format!("must be 1 to {MOST_TAGS} words of up to {TAG_BYTES} bytes, with commas between");
            return Err(wrong(&TAGS, &form));
        }
        Ok(wishes)
    }

    fn directive(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.nothing("no_store"),
            "no-cache" => self.refresh("no_cache"),
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => {
                // A number that is none makes what we have too old, as RFC 9111 advises in section 4.2.1.
                let age = Duration::from_secs(seconds(value).unwrap_or(0));
                self.max_age = Some(self.max_age.map_or(age, |other| other.min(age)));
            }
            // Without a number, however long it has been stale.
            "max-stale" if value.is_empty() => self.max_stale = Some(Duration::from_secs(MOST_SECONDS)),
            "max-stale" => self.max_stale = Some(Duration::from_secs(seconds(value).unwrap_or(0))),
            "stale-if-error" => self.stale_if_error = Some(Duration::from_secs(seconds(value).unwrap_or(0))),
            _ => {}
        }
    }

    /// The cache has no part in this request.
    fn nothing(&mut self, because: &'static str) {
        (self.serve, self.store, self.because) = (false, false, because);
    }

    /// A fresh answer is wanted, which may be remembered.
    fn refresh(&mut self, because: &'static str) {
        if self.serve {
            (self.serve, self.because) = (false, because);
        }
    }
}

/// The number of seconds of a directive, also in quotes; cut to what a cache need know.
fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim().trim_matches('"');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // Digits alone can fail in one way only: there are too many.
    is_number.then(|| digits.parse().unwrap_or(MOST_SECONDS).min(MOST_SECONDS))
}

/// A time with a unit, or a number of seconds.
fn lifetime(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "" | "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(24 * 3600),
        _ => return None,
    };
    let count = u32::try_from(seconds(digits)?).ok()?;
    unit.checked_mul(count).filter(|time| !time.is_zero())
}

/// The header's text, if it is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    if headers.get_all(name).iter().nth(1).is_some() {
        return Err(wrong(name, "must be there once"));
    }
    text(name, value).map(Some)
}

fn text<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, ApiError> {
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| wrong(name, "must be UTF-8"))?;
    Ok(text.trim())
}

fn wrong(name: &HeaderName, form: &str) -> ApiError {
    ApiError::invalid(name.as_str(), format!("the header '{name}' {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<Wishes, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Wishes::read(&headers).map_err(|error| match error {
            ApiError::Invalid { param, message } if message.contains(&param) => param,
            other => panic!("{other}"),
        })
    }

    fn control(value: &str) -> Wishes {
        read(&[("cache-control", value)]).unwrap()
    }

    #[test]
    fn without_a_word_the_cache_does_what_it_can() {
        assert_eq!(read(&[]), Ok(Wishes::default()));
        assert_eq!(read(&[("x-sluice-cache", "semantic")]), Ok(Wishes::default()));
    }

    #[test]
    fn cache_control_is_read_as_the_rfc_has_it() {
        let all = Wishes::default();
        let age = |seconds| Wishes { max_age: Some(Duration::from_secs(seconds)), ..Wishes::default() };
        let not = |because, store| Wishes { serve: false, store, because, ..Wishes::default() };
        for (value, expected) in [
            ("no-store", not("no_store", false)),
            ("No-Cache", not("no_cache", true)),
            ("no-cache, no-store", not("no_store", false)),
            ("no-store, no-cache", not("no_store", false)),
            ("only-if-cached", Wishes { only_if_cached: true, ..all.clone() }),
            ("max-age=60", age(60)),
            (" MAX-AGE=\"60\" ,, ", age(60)),
            ("max-age=60, max-age=5", age(5)),
            ("max-age=99999999999999999999999", age(MOST_SECONDS)),
            ("max-age=soon", age(0)),
            ("max-age", age(0)),
            ("max-age=-1", age(0)),
            ("max-stale", Wishes { max_stale: Some(Duration::from_secs(MOST_SECONDS)), ..all.clone() }),
            ("max-stale=5", Wishes { max_stale: Some(Duration::from_secs(5)), ..all.clone() }),
            ("stale-if-error=5", Wishes { stale_if_error: Some(Duration::from_secs(5)), ..all.clone() }),
            ("private, min-fresh=3, s-maxage=4, x=\"y\", no-transform", all.clone()),
            ("", all),
        ] {
            assert_eq!(control(value), expected, "{value}");
        }
        let lines = [("cache-control", "max-age=9"), ("cache-control", "no-store")];
        assert_eq!(read(&lines).unwrap(), Wishes { max_age: age(9).max_age, ..not("no_store", false) });
    }

    #[test]
    fn our_own_headers_are_read() {
        let mode = |mode| read(&[("x-sluice-cache", mode)]).unwrap();
        assert!(!mode("off").serve && !mode("off").store);
        assert!(!mode("Refresh").serve && mode("refresh").store);
        assert!(mode("exact").exact_only && mode("exact").serve);
        let ttl = |text| read(&[("x-sluice-cache-ttl", text)]).map(|wishes| wishes.ttl.unwrap());
        for (text, seconds) in [("30s", 30), ("3600", 3600), ("2h", 7200), ("1d", 86400), ("5m", 300)] {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let namespace = read(&[("x-sluice-cache-namespace", "Größe 1")]).unwrap().namespace;
        assert_eq!(namespace.as_deref(), Some("Größe 1"));
        let tags = read(&[("x-sluice-cache-tags", "a, b"), ("x-sluice-cache-tags", "c")]).unwrap().tags;
        assert_eq!(tags, ["a", "b", "c"]);
        assert_eq!(read(&[("x-sluice-cache-similarity", " 0.95 ")]).unwrap().similarity, 0.95);
    }

    #[test]
    fn a_wrong_value_of_our_own_headers_is_refused_by_name() {
        let (long, many) = ("x".repeat(129), ["t"; 17].join(","));
        for (name, value) in [
            ("x-sluice-cache", ""),
            ("x-sluice-cache", "on"),
            ("x-sluice-cache-similarity", "NaN"),
            ("x-sluice-cache-similarity", "1.1"),
            ("x-sluice-cache-ttl", ""),
            ("x-sluice-cache-ttl", "0"),
            ("x-sluice-cache-ttl", "-5"),
            ("x-sluice-cache-ttl", "s"),
            ("x-sluice-cache-ttl", "5 years"),
            ("x-sluice-cache-namespace", ""),
            ("x-sluice-cache-namespace", &long),
            ("x-sluice-cache-tags", ""),
            ("x-sluice-cache-tags", "a,,b"),
            ("x-sluice-cache-tags", &long),
            ("x-sluice-cache-tags", &many),
        ] {
            assert_eq!(read(&[(name, value)]), Err(name.to_owned()), "{name}: {value}");
        }
        let twice = [("x-sluice-cache", "exact"), ("x-sluice-cache", "off")];
        assert_eq!(read(&twice), Err("x-sluice-cache".to_owned()));
    }
}
