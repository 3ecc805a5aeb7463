//! Headers of other gateways that mean the same as ours, so that clients written for those need not change: Portkey's, LiteLLM's,
//! Cloudflare's, Helicone's and Bifrost's, as their documentation has them in 2026.
//!
//! They are read before anything else and become ours. As with ours, they can only tighten what is configured; where several speak
//! of one thing the strictest counts, and a header of ours that is there has the last word.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Map, Value};

use crate::error::ApiError;

static CACHE: HeaderName = HeaderName::from_static("x-sluice-cache");
static NAMESPACE: HeaderName = HeaderName::from_static("x-sluice-cache-namespace");
static SIMILARITY: HeaderName = HeaderName::from_static("x-sluice-cache-similarity");
static TTL: HeaderName = HeaderName::from_static("x-sluice-cache-ttl");
static METADATA: HeaderName = HeaderName::from_static("x-sluice-metadata");
static TIMEOUT: HeaderName = HeaderName::from_static("x-sluice-timeout");
static RETRIES: HeaderName = HeaderName::from_static("x-sluice-retries");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a header of theirs that says yes or no does to the cache.
const SWITCHES: &[(&str, bool, &str)] = &[
    ("cf-aig-skip-cache", true, "off"),
    ("helicone-cache-enabled", false, "off"),
    ("x-bf-cache-no-store", true, "off"),
    // It is about logs, and turns their cache off as well.
    ("x-portkey-debug", false, "off"),
    ("x-portkey-cache-force-refresh", true, "refresh"),
];

/// Modes of the cache, the strictest first.
const MODES: &[&str] = &["off", "refresh", "exact", "semantic"];

/// Names for a part of the cache that is shared; the first that is there counts.
const NAMESPACES: &[&str] =
    &["x-portkey-cache-namespace", "x-bf-cache-key", "helicone-cache-seed", "cf-aig-cache-key"];

/// How long an answer may be kept.
const TTLS: &[&str] = &["cf-aig-cache-ttl", "x-bf-cache-ttl"];

/// How long all of it may take, and milliseconds in their unit.
const TIMEOUTS: &[(&str, f64)] = &[("x-portkey-request-timeout", 1.0), ("x-litellm-timeout", 1000.0)];

/// How often a target may be asked again, and how many of these are the first attempt.
const RETRY_COUNTS: &[(&str, u32)] = &[
    ("x-portkey-retry-count", 0),
    ("x-litellm-num-retries", 0),
    ("helicone-retry-num", 0),
    ("cf-aig-max-attempts", 1),
];

/// JSON objects that say more about a request, and beginnings of headers each of which says one thing.
const METADATA_OBJECTS: &[&str] = &["x-litellm-spend-logs-metadata", "cf-aig-metadata", "x-portkey-metadata"];
const METADATA_PREFIXES: &[&str] = &["helicone-property-", "x-bf-dim-"];

/// Names for a request, or for what it is a part of.
const TRACES: &[&str] = &["x-portkey-trace-id", "x-litellm-trace-id", "cf-aig-otel-trace-id"];

/// Puts headers of ours in the place of theirs.
///
/// # Errors
/// [`ApiError::Invalid`] with the name of a header that has another form than it should.
pub fn translate(headers: &mut HeaderMap) -> Result<(), ApiError> {
    // Most requests have none of them.
    let foreign = ["x-portkey-", "x-litellm-", "x-bf-", "cf-aig-", "helicone-"];
    if !headers.keys().any(|name| foreign.iter().any(|prefix| name.as_str().starts_with(prefix))) {
        return Ok(());
    }
    cache(headers)?;
    if let Some(namespace) = NAMESPACES.iter().find_map(|name| headers.get(*name).cloned()) {
        put(headers, &NAMESPACE, namespace);
    }
    let shortest = times(headers, TTLS.iter().map(|name| (*name, 1000.0)))?;
    put_number(headers, &TTL, shortest.map(|ms| (ms / 1000).max(1)), "s");
    let shortest = times(headers, TIMEOUTS.iter().copied())?;
    put_number(headers, &TIMEOUT, shortest.map(|ms| ms.max(1)), "ms");
    retries(headers)?;
    metadata(headers)?;
    if let Some(trace) = TRACES.iter().find_map(|name| headers.get(*name).cloned()) {
        put(headers, &REQUEST_ID, trace);
    }
    Ok(())
}

fn cache(headers: &mut HeaderMap) -> Result<(), ApiError> {
    let mut modes = Vec::new();
    for (name, when, mode) in SWITCHES {
        if let Some(text) = text(headers, name)? {
            let set = match text.to_ascii_lowercase().as_str() {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(wrong(name, "must be true or false")),
            };
            modes.extend((set == *when).then_some(*mode));
        }
    }
    match text(headers, "x-bf-cache-type")? {
        None | Some("semantic") => {}
        Some("direct") => modes.push("exact"),
        Some(_) => return Err(wrong("x-bf-cache-type", "must be direct or semantic")),
    }
    if let Some(strictest) = MODES.iter().find(|mode| modes.contains(*mode)) {
        put(headers, &CACHE, HeaderValue::from_static(strictest));
    }
    if let Some(threshold) = headers.get("x-bf-cache-threshold").cloned() {
        put(headers, &SIMILARITY, threshold);
    }
    Ok(())
}

/// The shortest of these times, in milliseconds. Numbers count in the header's own unit; some are written with one.
fn times<'n>(
    headers: &HeaderMap,
    names: impl Iterator<Item = (&'n str, f64)>,
) -> Result<Option<u64>, ApiError> {
    let mut shortest: Option<u64> = None;
    for (name, unit) in names {
        let Some(text) = text(headers, name)? else { continue };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" => unit,
            "ms" => 1.0,
            "s" => 1000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return Err(wrong(name, "must be a time")),
        };
        let time =
            digits.parse::<f64>().ok().map(|count| count * unit).filter(|ms| *ms > 0.0 && ms.is_finite());
        let time = time.ok_or_else(|| wrong(name, "must be a time longer than 0"))?.ceil();
        let time = if time < 1e12 { time as u64 } else { 1_000_000_000_000 };
        shortest = Some(shortest.map_or(time, |other| other.min(time)));
    }
    Ok(shortest)
}

fn retries(headers: &mut HeaderMap) -> Result<(), ApiError> {
    let mut fewest: Option<u32> = None;
    for (name, first) in RETRY_COUNTS {
        let Some(text) = text(headers, name)? else { continue };
        let count: u32 = text.parse().map_err(|_| wrong(name, "must be a number"))?;
        let count = count.saturating_sub(*first);
        fewest = Some(fewest.map_or(count, |other| other.min(count)));
    }
    put_number(headers, &RETRIES, fewest.map(u64::from), "");
    Ok(())
}

/// All that is said about a request in one object; of two that say the same thing the later in the list counts, and what our own
/// header says counts most.
fn metadata(headers: &mut HeaderMap) -> Result<(), ApiError> {
    let mut all = Map::new();
    for (name, value) in headers.iter() {
        let key = METADATA_PREFIXES.iter().find_map(|prefix| name.as_str().strip_prefix(prefix));
        if let (Some(key), Ok(value)) = (key.filter(|key| !key.is_empty()), value.to_str()) {
            all.insert(key.to_owned(), Value::from(value));
        }
    }
    for name in METADATA_OBJECTS.iter().copied().chain([METADATA.as_str()]) {
        let Some(text) = text(headers, name)? else { continue };
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => all.extend(object),
            _ => return Err(wrong(name, "must be a JSON object")),
        }
    }
    if !all.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(ascii(&Value::Object(all)).as_bytes())
    {
        headers.insert(&METADATA, value);
    }
    Ok(())
}

/// JSON of ASCII alone, as a header can carry it.
fn ascii(value: &Value) -> String {
    let mut units = [0; 2];
    let mut out = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn put(headers: &mut HeaderMap, name: &'static HeaderName, value: HeaderValue) {
    if !headers.contains_key(name) {
        headers.insert(name, value);
    }
}

fn put_number(headers: &mut HeaderMap, name: &'static HeaderName, number: Option<u64>, unit: &str) {
    if let Some(value) = number.and_then(|number| HeaderValue::from_str(&format!("{number}{unit}")).ok()) {
        put(headers, name, value);
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(|text| Some(text.trim())).map_err(|_| wrong(name, "must be ASCII"))
}

fn wrong(name: &str, form: &str) -> ApiError {
    ApiError::invalid(name, format!("the header '{name}' {form}"))
}

/// The key of ours that a client of another gateway sends in its own header, where it sends one.
pub fn key(headers: &HeaderMap) -> Option<&str> {
    const PLAIN: &[&str] = &["x-goog-api-key", "x-portkey-api-key", "x-litellm-api-key", "x-bf-vk"];
    const BEARER: &[&str] = &["cf-aig-authorization", "helicone-auth"];
    let plain = |name: &&str| headers.get(*name)?.to_str().ok().map(str::trim);
    let bearer = |name: &&str| {
        let (scheme, token) = headers.get(*name)?.to_str().ok()?.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    };
    let found = PLAIN.iter().find_map(plain).or_else(|| BEARER.iter().find_map(bearer))?;
    // Some clients write the scheme in front of it in every header.
    Some(found.strip_prefix("Bearer ").unwrap_or(found)).filter(|key| !key.is_empty())
}

/// Whether a header is for a gateway and not for a provider.
pub fn is_for_gateways(name: &HeaderName) -> bool {
    let ours = ["x-sluice-", "x-portkey-", "x-litellm-", "x-bf-", "cf-aig-", "helicone-"];
    ours.iter().any(|prefix| name.as_str().starts_with(prefix)) || *name == header::AUTHORIZATION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(lines: &[(&'static str, &str)]) -> Result<Vec<(String, String)>, String> {
        let lines = lines.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        let mut headers: HeaderMap = lines.collect();
        translate(&mut headers).map_err(|error| error.to_string())?;
        let ours =
            headers.iter().filter(|(name, _)| name.as_str().starts_with("x-sluice-") || **name == REQUEST_ID);
        let mut ours: Vec<(String, String)> =
            ours.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        ours.sort();
        Ok(ours)
    }

    #[test]
    fn each_header_of_others_becomes_ours() {
        for (theirs, value, ours, means) in [
            ("x-portkey-cache-force-refresh", "true", "x-sluice-cache", "refresh"),
            ("cf-aig-skip-cache", "true", "x-sluice-cache", "off"),
            ("helicone-cache-enabled", "false", "x-sluice-cache", "off"),
            ("x-bf-cache-no-store", "true", "x-sluice-cache", "off"),
            ("x-bf-cache-type", "direct", "x-sluice-cache", "exact"),
            ("x-bf-cache-threshold", "0.97", "x-sluice-cache-similarity", "0.97"),
            ("x-bf-cache-key", "a", "x-sluice-cache-namespace", "a"),
            ("x-portkey-cache-namespace", "b", "x-sluice-cache-namespace", "b"),
            ("helicone-cache-seed", "7", "x-sluice-cache-namespace", "7"),
            ("cf-aig-cache-ttl", "3600", "x-sluice-cache-ttl", "3600s"),
            ("x-bf-cache-ttl", "5m", "x-sluice-cache-ttl", "300s"),
            ("x-portkey-request-timeout", "1500", "x-sluice-timeout", "1500ms"),
            ("x-litellm-timeout", "0.5", "x-sluice-timeout", "500ms"),
            ("x-litellm-num-retries", "0", "x-sluice-retries", "0"),
            ("cf-aig-max-attempts", "3", "x-sluice-retries", "2"),
            ("x-portkey-metadata", "{\"plan\":\"gold\"}", "x-sluice-metadata", "{\"plan\":\"gold\"}"),
            ("helicone-property-plan", "gold", "x-sluice-metadata", "{\"plan\":\"gold\"}"),
            ("x-bf-dim-plan", "gold", "x-sluice-metadata", "{\"plan\":\"gold\"}"),
            ("x-portkey-trace-id", "t-1", "x-request-id", "t-1"),
        ] {
            let expected = vec![(ours.to_owned(), means.to_owned())];
            assert_eq!(translated(&[(theirs, value)]), Ok(expected), "{theirs}");
        }
    }

    #[test]
    fn what_allows_more_than_is_allowed_anyway_does_nothing() {
        for (name, value) in [
            ("cf-aig-skip-cache", "false"),
            ("helicone-cache-enabled", "true"),
            ("x-portkey-debug", "true"),
            ("x-bf-cache-type", "semantic"),
            ("x-portkey-provider", "openai"),
        ] {
            assert_eq!(translated(&[(name, value)]), Ok(vec![]), "{name}");
        }
    }

    #[test]
    fn the_strictest_counts_and_ours_most() {
        let cache = |lines: &[(&'static str, &str)]| translated(lines).unwrap().remove(0).1;
        let (refresh, off) = (("x-portkey-cache-force-refresh", "true"), ("cf-aig-skip-cache", "true"));
        assert_eq!(cache(&[refresh, off, ("x-bf-cache-type", "direct")]), "off");
        assert_eq!(cache(&[off, ("x-sluice-cache", "exact")]), "exact");
        let times = [("x-portkey-request-timeout", "9000"), ("x-litellm-timeout", "2")];
        assert_eq!(cache(&times), "2000ms");
        let metadata = [
            ("helicone-property-plan", "a"),
            ("x-portkey-metadata", "{\"plan\":\"b\",\"team\":\"x\"}"),
            ("x-sluice-metadata", "{\"plan\":\"c\"}"),
        ];
        assert_eq!(cache(&metadata), "{\"plan\":\"c\",\"team\":\"x\"}");
        assert_eq!(cache(&[("x-portkey-metadata", "{\"plan\":\"\\u00fc\"}")]), "{\"plan\":\"\\u00fc\"}");
    }

    #[test]
    fn a_header_of_another_form_is_named() {
        for (name, value) in [
            ("cf-aig-skip-cache", "perhaps"),
            ("x-bf-cache-type", "fuzzy"),
            ("x-litellm-timeout", "soon"),
            ("x-portkey-request-timeout", "-5"),
            ("cf-aig-max-attempts", "many"),
            ("x-portkey-metadata", "plan=gold"),
        ] {
            let error = translated(&[(name, value)]).unwrap_err();
            assert!(error.contains(name) && !error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_key_is_found_in_whatever_header_a_client_has_for_it() {
        for (name, value) in [
            ("x-goog-api-key", "sk-1"),
            ("x-portkey-api-key", "sk-1"),
            ("x-litellm-api-key", "Bearer sk-1"),
            ("x-bf-vk", "sk-1"),
            ("cf-aig-authorization", "Bearer sk-1"),
            ("helicone-auth", "bearer sk-1"),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )]);
            assert_eq!(key(&headers), Some("sk-1"), "{name}");
            assert!(is_for_gateways(&HeaderName::from_static(name)) || name == "x-goog-api-key");
        }
    }
}
