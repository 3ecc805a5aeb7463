//! One exchange with whoever gives out Azure's tokens: client credentials (RFC 6749 section 4.4) with a secret or a signed assertion
//! (RFC 7523), or a question to the service beside the program.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Application, By, Managed, Shows, Source};
use crate::upstream::Upstream;

/// What a machine's service speaks, and an App Service's.
const OF_MACHINE: &str = "2018-02-01";
const OF_APP_SERVICE: &str = "2019-08-01";
/// No token is good for longer; it also keeps sums of times within their range.
const LONGEST: u64 = 24 * 3600;

/// A fresh token as a header, and how long it is good for.
pub(in crate::provider_api) async fn fetch(
    source: &Source,
    upstream: &Upstream,
) -> Result<(HeaderValue, Duration), String> {
    let request = match &source.by {
        By::Application(application) => of_application(application, &source.scope).await?,
        By::Managed(managed) => of_service(managed, &source.scope)?,
    };
    let (status, body) = upstream.credentials(request).await?;
    read(status, &body, SystemTime::now())
}

fn field(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

async fn of_application(application: &Application, scope: &str) -> Result<Request<Full<Bytes>>, String> {
    let shown = match &application.shows {
        Shows::Secret(secret) => format!("client_secret={}", field(secret.expose())),
        Shows::Token(path) => {
            let token = tokio::fs::read_to_string(path).await;
            let token = token.map_err(|error| format!("{}: {error}", path.display()))?;
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            format!("client_assertion_type={}&client_assertion={}", field(kind), field(token.trim()))
        }
    };
    let (id, scope) = (field(&application.client_id), field(scope));
    let form = format!("grant_type=client_credentials&client_id={id}&scope={scope}&{shown}");
    let request = Request::post(application.token_uri.clone())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)));
    request.map_err(|_| "the request can't be made".to_owned())
}

fn of_service(managed: &Managed, scope: &str) -> Result<Request<Full<Bytes>>, String> {
    let version = if managed.secret.is_some() { OF_APP_SERVICE } else { OF_MACHINE };
    // It has resources where the others have scopes.
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    let mut uri = format!("{}?api-version={version}&resource={}", managed.uri, field(resource));
    if let Some(id) = &managed.client_id {
        uri += &format!("&client_id={}", field(id));
    }
    let request = Request::get(uri);
    let request = match &managed.secret {
        Some(secret) => request.header("x-identity-header", secret.clone()),
        None => request.header("metadata", "true"),
    };
    request.body(Full::default()).map_err(|_| "the request can't be made".to_owned())
}

/// What came back. A word of the protocol may be told, a sentence may quote an account.
pub(super) fn read(
    status: StatusCode,
    body: &[u8],
    now: SystemTime,
) -> Result<(HeaderValue, Duration), String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if !status.is_success() {
        let is_word =
            |word: &&str| word.len() <= 64 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let word = answer["error"].as_str().filter(is_word).unwrap_or_default();
        let hint = match word {
            "invalid_client" => ": is the secret still good, or the token one that the application trusts?",
            "unauthorized_client" => ": is there such an application in this directory?",
            _ => "",
        };
        return Err(format!("status {} {word}{hint}", status.as_u16()).trim_end().to_owned());
    }
    // Some spell numbers as texts, and some tell only when it ends.
    let number = |name: &str| answer[name].as_u64().or_else(|| answer[name].as_str()?.trim().parse().ok());
    let until = |end: u64| end.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let seconds = number("expires_in").or_else(|| number("expires_on").map(until));
    let (Some(token), Some(seconds)) = (answer["access_token"].as_str(), seconds) else {
        return Err("the answer holds no 'access_token' and 'expires_in'".to_owned());
    };
    let header = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut header = header.map_err(|_| "the token can't stand in a header")?;
    header.set_sensitive(true);
    Ok((header, Duration::from_secs(seconds.min(LONGEST))))
}
