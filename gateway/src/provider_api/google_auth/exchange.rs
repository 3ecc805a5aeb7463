//! One exchange with whoever gives out tokens: a signed claim (RFC 7523), a refresh token (RFC 6749 section 6), or a question to the
//! metadata server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::SignatureScheme;
use serde::Deserialize;
use serde_json::json;

use super::source::{ServiceAccount, Source, User};
use crate::upstream::Upstream;

/// What a token is good for.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The longest that a claim may be good for.
const CLAIM: u64 = 3600;
/// No token is good for longer; it also keeps sums of times within their range.
pub(super) const LONGEST: u64 = 24 * 3600;

/// A fresh token as a header, and how long it is good for.
pub(in crate::provider_api) async fn fetch(
    source: &Source,
    upstream: &Upstream,
) -> Result<(HeaderValue, Duration), String> {
    if let Source::External(external) = source {
        return external.fetch(upstream).await;
    }
    let (status, body) = upstream.credentials(request(source)?).await?;
    read(status, &body)
}

fn request(source: &Source) -> Result<Request<Full<Bytes>>, String> {
    let form = |uri: &Uri, form: String| {
        let kind = "application/x-www-form-urlencoded";
        Request::post(uri.clone()).header(header::CONTENT_TYPE, kind).body(Full::new(Bytes::from(form)))
    };
    let request = match source {
        Source::ServiceAccount(account) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
            form(&account.token_uri, format!("grant_type={grant}&assertion={}", claim(account, now)?))
        }
        Source::User(User { client_id, client_secret, refresh_token, token_uri }) => {
            let field = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let (secret, token) = (field(client_secret.expose()), field(refresh_token.expose()));
            let id = field(client_id);
            form(
                token_uri,
                format!(
                    "grant_type=refresh_token&client_id={id}&client_secret={secret}&refresh_token={token}"
                ),
            )
        }
        Source::Metadata(uri) => {
            Request::get(uri.clone()).header("metadata-flavor", "Google").body(Full::default())
        }
        Source::External(_) => return Err("it takes two steps".to_owned()),
    };
    request.map_err(|_| "the request can't be made".to_owned())
}

/// What a service account asks with, signed with its key.
fn claim(account: &ServiceAccount, now: u64) -> Result<String, String> {
    let mut head = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = &account.key_id {
        head["kid"] = json!(id);
    }
    let claims = json!({
        "iss": account.email, "scope": SCOPE, "aud": account.audience, "iat": now, "exp": now + CLAIM,
    });
    let encoded = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let said = format!("{}.{}", encoded(head.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
    let signer = account.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
    let signature = signer.and_then(|signer| signer.sign(said.as_bytes()).ok());
    let signature = signature.ok_or("the key can't sign")?;
    Ok(format!("{said}.{}", encoded(&signature)))
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// What came back. A word of the protocol may be told, a sentence may quote an account.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<(HeaderValue, Duration), String> {
    if !status.is_success() {
        let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
        let is_word =
            |word: &str| word.len() <= 64 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let word = refusal.map(|refusal| refusal.error).filter(|word| is_word(word));
        let hint = match word.as_deref() {
            Some("invalid_grant") => ": is the clock right, and is the key or the consent still good?",
            _ => "",
        };
        return Err(format!("status {} {}{hint}", status.as_u16(), word.unwrap_or_default())
            .trim_end()
            .to_owned());
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "the answer holds no 'access_token' and 'expires_in'")?;
    let header = HeaderValue::from_str(&format!("Bearer {}", answer.access_token));
    let mut header = header.map_err(|_| "the token can't stand in a header")?;
    header.set_sensitive(true);
    Ok((header, Duration::from_secs(answer.expires_in.min(LONGEST))))
}
