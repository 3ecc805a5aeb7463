//! Which headers go along, there and back: those that belong to an API, and no others. What names a person, a session or an account
//! of the client's has no business at a provider.

use http::{HeaderMap, HeaderName, header};

use crate::aliases::is_for_gateways;
use crate::keys::CREDENTIAL_HEADERS;

/// Of requests, by their whole names and beginnings.
const SENT: &[&str] = &["accept", "content-type", "idempotency-key", "x-title", "http-referer"];
const SENT_BEGINNINGS: &[&str] = &["anthropic-", "openai-", "x-goog-", "x-amzn-bedrock-", "x-ms-", "cohere-"];

/// Whose account pays is for the operator to say, and what a client's library tells about itself is nobody's business.
const KEPT: &[&str] = &[
    "x-goog-api-key",
    "x-goog-user-project",
    "x-goog-api-client",
    "x-goog-iam-authorization-token",
    "x-goog-iam-authority-selector",
    "openai-organization",
    "openai-project",
    "anthropic-dangerous-direct-browser-access",
];

/// Of answers.
const TOLD: &[&str] = &[
    "content-type",
    "content-disposition",
    "content-language",
    "cache-control",
    "etag",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "request-id",
    "openai-processing-ms",
    "openai-version",
    "openai-model",
    "apim-request-id",
];
const TOLD_BEGINNINGS: &[&str] = &["x-ratelimit-", "anthropic-ratelimit-", "x-amzn-"];

/// What of a request's headers goes to the provider.
pub(super) fn sent(headers: &HeaderMap) -> HeaderMap {
    let goes = |name: &HeaderName| {
        is_one(name, SENT, SENT_BEGINNINGS)
            && !KEPT.contains(&name.as_str())
            && !CREDENTIAL_HEADERS.contains(&name.as_str())
            && !is_for_gateways(name)
    };
    chosen(headers, goes)
}

/// What of an answer's headers goes to the client. `compressed`: its body goes on as it is, and was compressed unasked.
pub(super) fn told(headers: &HeaderMap, compressed: bool) -> HeaderMap {
    chosen(headers, |name| {
        is_one(name, TOLD, TOLD_BEGINNINGS) || (compressed && *name == header::CONTENT_ENCODING)
    })
}

fn chosen(headers: &HeaderMap, goes: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let some = headers.iter().filter(|(name, _)| goes(name));
    some.map(|(name, value)| (name.clone(), value.clone())).fold(
        HeaderMap::new(),
        |mut all, (name, value)| {
            all.append(name, value);
            all
        },
    )
}

fn is_one(name: &HeaderName, names: &[&str], beginnings: &[&str]) -> bool {
    let name = name.as_str();
    names.contains(&name) || beginnings.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn names(names: &[&'static str], choose: impl Fn(&HeaderMap) -> HeaderMap) -> Vec<String> {
        let headers: HeaderMap =
            names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect();
        choose(&headers).keys().map(ToString::to_string).collect()
    }

    #[test]
    fn no_credential_and_nothing_of_a_person_goes_along() {
        for name in [
            "authorization",
            "x-api-key",
            "api-key",
            "x-goog-api-key",
            "x-goog-user-project",
            "cookie",
            "host",
            "content-length",
            "connection",
            "transfer-encoding",
            "x-forwarded-for",
            "x-real-ip",
            "user-agent",
            "x-sluice-cache",
            "x-portkey-api-key",
            "helicone-auth",
            "cf-aig-authorization",
            "x-user-email",
            "accept-encoding",
            "openai-organization",
            "proxy-authorization",
            "x-amz-security-token",
        ] {
            assert_eq!(names(&[name], sent), [""; 0], "{name}");
        }
        for name in
            ["anthropic-version", "anthropic-beta", "openai-beta", "content-type", "x-amzn-bedrock-trace"]
        {
            assert_eq!(names(&[name], sent), [name]);
        }
    }

    #[test]
    fn an_answer_tells_limits_and_no_accounts() {
        for name in [
            "retry-after",
            "x-ratelimit-remaining-tokens",
            "anthropic-ratelimit-requests-limit",
            "x-amzn-errortype",
        ] {
            assert_eq!(names(&[name], |all| told(all, false)), [name]);
        }
        for name in [
            "set-cookie",
            "openai-organization",
            "location",
            "x-sluice-provider",
            "content-length",
            "content-encoding",
        ] {
            assert_eq!(names(&[name], |all| told(all, false)), [""; 0], "{name}");
        }
        assert_eq!(names(&["content-encoding"], |all| told(all, true)), ["content-encoding"]);
    }
}
