//! Workload identity federation: a token of somebody else's, of a cluster or another cloud, is exchanged for one of Google's (RFC 8693),
//! and that for one of a service account where the file names one (<https://google.aip.dev/auth/4117>).

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::exchange::{LONGEST, SCOPE, read};
use super::source::is_private;
use crate::local::is_beside;
use crate::upstream::Upstream;

/// How long a service account's token is to be good for.
const LIFETIME: &str = "3600s";

/// A file of the type `external_account`.
#[derive(Deserialize)]
pub(super) struct File {
    audience: Option<String>,
    subject_token_type: Option<String>,
    token_url: Option<String>,
    service_account_impersonation_url: Option<String>,
    workforce_pool_user_project: Option<String>,
    #[serde(default)]
    credential_source: Map<String, Value>,
}

/// An identity of elsewhere that Google trusts.
pub(in crate::provider_api) struct External {
    audience: String,
    token_type: String,
    token_uri: Uri,
    /// Where it becomes a service account, if it does.
    impersonation: Option<Uri>,
    subject: Subject,
    /// The field of a JSON object that the token is in; none: it is all that is there.
    field: Option<String>,
}

/// Where the token is that is exchanged. It is read anew each time.
enum Subject {
    File(PathBuf),
    Url(Uri, HeaderMap),
}

impl External {
    /// Reads a file's content. `name`: what holds it.
    ///
    /// # Errors
    /// What is missing or wrong, without a secret.
    pub(super) fn new(file: File, name: &str) -> Result<Self, String> {
        let needed =
            |field: &str, value: Option<String>| value.ok_or_else(|| format!("{name}: '{field}' is missing"));
        let private = |field: &str, text: &str| {
            let uri = text.parse::<Uri>().ok().filter(is_private);
            uri.ok_or_else(|| format!("{name}: '{field}' must begin with https://"))
        };
        if file.workforce_pool_user_project.is_some() {
            return Err(format!(
                "{name}: identities of a workforce are not followed, those of workloads are"
            ));
        }
        let token_url = needed("token_url", file.token_url)?;
        let impersonation = file.service_account_impersonation_url.as_deref();
        let impersonation = impersonation.map(|url| private("service_account_impersonation_url", url));
        let source = &file.credential_source;
        Ok(Self {
            audience: needed("audience", file.audience)?,
            token_type: needed("subject_token_type", file.subject_token_type)?,
            token_uri: private("token_url", &token_url)?,
            impersonation: impersonation.transpose()?,
            subject: Subject::of(source)
                .map_err(|problem| format!("{name}: 'credential_source' {problem}"))?,
            field: field(source)
                .map_err(|problem| format!("{name}: 'credential_source.format' {problem}"))?,
        })
    }

    /// A fresh token as a header, and how long it is good for.
    pub(super) async fn fetch(&self, upstream: &Upstream) -> Result<(HeaderValue, Duration), String> {
        let shown = self.subject.read(upstream).await?;
        let token = self.picked(&shown)?;
        let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
        let said = [
            ("grant_type", grant),
            ("audience", &self.audience),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", &self.token_type),
            ("subject_token", token.trim()),
        ];
        let pairs =
            said.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        let kind = "application/x-www-form-urlencoded";
        let (status, body) = asked(upstream, &self.token_uri, (kind, None), pairs.join("&")).await?;
        let (header, lifetime) = read(status, &body)?;
        let Some(uri) = &self.impersonation else { return Ok((header, lifetime)) };
        let wish = json!({ "scope": [SCOPE], "lifetime": LIFETIME }).to_string();
        let (status, body) = asked(upstream, uri, ("application/json", Some(header)), wish).await?;
        of_account(status, &body, SystemTime::now())
    }

    /// The token in what was read.
    fn picked(&self, shown: &str) -> Result<String, String> {
        let Some(field) = &self.field else { return Ok(shown.to_owned()) };
        let shown: Value = serde_json::from_str(shown).unwrap_or_default();
        let token = shown.get(field).and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| format!("what is to be exchanged has no '{field}'"))
    }
}

impl Subject {
    fn of(source: &Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| source.get(name).and_then(Value::as_str);
        if let Some(path) = text("file") {
            return Ok(Self::File(PathBuf::from(path)));
        }
        let Some(url) = text("url").filter(|_| !source.contains_key("environment_id")) else {
            return Err(
                "must have a 'file' or a 'url': those of AWS and of programs are not followed".to_owned()
            );
        };
        let uri = url.parse::<Uri>().ok().filter(|uri| is_private(uri) || uri.host().is_some_and(is_beside));
        let uri = uri.ok_or("'url' must begin with https://, or be beside this machine")?;
        let headers = source.get("headers").and_then(Value::as_object).into_iter().flatten();
        let headers = headers.map(|(name, value)| {
            let name = name.parse::<HeaderName>().ok()?;
            Some((name, HeaderValue::from_str(value.as_str()?).ok()?))
        });
        let headers = headers.collect::<Option<HeaderMap>>();
        Ok(Self::Url(uri, headers.ok_or("'headers' must be names and texts")?))
    }

    async fn read(&self, upstream: &Upstream) -> Result<String, String> {
        match self {
            Self::File(path) => {
                let token = tokio::fs::read_to_string(path).await;
                token.map_err(|error| format!("{}: {error}", path.display()))
            }
            Self::Url(uri, headers) => {
                let mut request = Request::new(Full::new(Bytes::new()));
                *request.uri_mut() = uri.clone();
                *request.headers_mut() = headers.clone();
                let (status, body) = upstream.credentials(request).await?;
                if !status.is_success() {
                    return Err(format!(
                        "what is to be exchanged is not given out: status {}",
                        status.as_u16()
                    ));
                }
                String::from_utf8(body.to_vec()).map_err(|_| "what is to be exchanged is no text".to_owned())
            }
        }
    }
}

/// The field that the token is in.
fn field(source: &Map<String, Value>) -> Result<Option<String>, String> {
    let Some(format) = source.get("format") else { return Ok(None) };
    match (format["type"].as_str(), format["subject_token_field_name"].as_str()) {
        (None | Some("text"), _) => Ok(None),
        (Some("json"), Some(field)) => Ok(Some(field.to_owned())),
        (Some("json"), None) => Err("names no 'subject_token_field_name'".to_owned()),
        _ => Err("'type' must be text or json".to_owned()),
    }
}

async fn asked(
    upstream: &Upstream,
    uri: &Uri,
    (kind, token): (&'static str, Option<HeaderValue>),
    body: String,
) -> Result<(StatusCode, Bytes), String> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    (*request.method_mut(), *request.uri_mut()) = (http::Method::POST, uri.clone());
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    request.headers_mut().extend(token.map(|token| (header::AUTHORIZATION, token)));
    upstream.credentials(request).await
}

/// What came of becoming a service account: `accessToken` and `expireTime`.
fn of_account(status: StatusCode, body: &[u8], now: SystemTime) -> Result<(HeaderValue, Duration), String> {
    let problem = |words: &str| format!("the service account's token: {words}");
    if !status.is_success() {
        return Err(problem(&format!("status {}", status.as_u16())));
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let ends = answer["expireTime"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let (Some(token), Some(ends)) = (answer["accessToken"].as_str(), ends) else {
        return Err(problem("the answer holds no 'accessToken' and 'expireTime'"));
    };
    let header = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut header = header.map_err(|_| problem("it can't stand in a header"))?;
    header.set_sensitive(true);
    let lifetime = SystemTime::from(ends).duration_since(now).unwrap_or_default();
    Ok((header, lifetime.min(Duration::from_secs(LONGEST))))
}
