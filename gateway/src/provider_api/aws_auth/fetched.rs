//! Credentials that a service beside the gateway gives out for a while: of its container (ECS, EKS), or of its machine (EC2).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use serde_json::Value;

use super::sts::Role;
use super::{Env, UNFIT, made};
use crate::local::is_loopback_name;
use crate::upstream::Upstream;

/// Where ECS has the credentials of a task.
const TASKS: &str = "http://169.254.170.2";
/// The other addresses at which they may be had without encryption: EKS's.
const PODS: &[&str] = &["169.254.170.23", "fd00:ec2::23"];
/// Where EC2 has what it tells a machine of itself.
const INSTANCE: &str = "http://169.254.169.254/latest";

/// Where credentials are fetched.
pub(super) enum Place {
    /// From the service of the container.
    Container {
        /// The whole address.
        uri: Uri,
        /// What shows it that it is us who ask.
        token: Token,
    },
    /// From the machine's own, after asking it for a token (IMDSv2).
    Instance,
    /// From the token service, which gives them for a role.
    Role(Box<Role>),
}

/// What is sent in `Authorization`.
pub(super) enum Token {
    None,
    Value(HeaderValue),
    /// Read each time, since it changes.
    File(PathBuf),
}

impl Place {
    /// What the environment says of the container; none if it says nothing.
    pub(super) fn of_container(env: Env<'_>) -> Option<Result<Self, String>> {
        let set =
            |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let (name, address) = match set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            Some(path) => ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", format!("{TASKS}{path}")),
            None => ("AWS_CONTAINER_CREDENTIALS_FULL_URI", set("AWS_CONTAINER_CREDENTIALS_FULL_URI")?),
        };
        let Some(uri) = address.parse::<Uri>().ok().filter(may_be_asked) else {
            return Some(Err(format!(
                "{name}: expected an address with https, or of this machine or container"
            )));
        };
        let token =
            match (set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), set("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
                (Some(path), _) => Token::File(PathBuf::from(path)),
                (None, Some(value)) => match secret_header(&value) {
                    Ok(value) => Token::Value(value),
                    Err(_) => return Some(Err(format!("AWS_CONTAINER_AUTHORIZATION_TOKEN: {UNFIT}"))),
                },
                (None, None) => Token::None,
            };
        Some(Ok(Self::Container { uri, token }))
    }

    /// Fetches credentials.
    ///
    /// # Errors
    /// What went wrong, without the secret.
    pub(super) async fn fetch(&self, upstream: &Upstream) -> Result<Credentials, String> {
        let answer = match self {
            Self::Container { uri, token } => {
                let token = match token {
                    Token::None => None,
                    Token::Value(value) => Some(value.clone()),
                    Token::File(path) => {
                        let read = tokio::fs::read_to_string(path).await;
                        let token = read.map_err(|error| format!("{}: {error}", path.display()))?;
                        Some(secret_header(token.trim())?)
                    }
                };
                let headers = token.map(|token| (header::AUTHORIZATION, token));
                asked(upstream, Method::GET, uri.clone(), headers).await?
            }
            Self::Instance => of_instance(upstream, INSTANCE).await?,
            Self::Role(role) => return role.fetch(upstream).await,
        };
        read(&answer, SystemTime::now())
    }
}

/// The role's credentials of the machine whose service is at `base`.
pub(super) async fn of_instance(upstream: &Upstream, base: &str) -> Result<Bytes, String> {
    let uri =
        |path: &str| format!("{base}{path}").parse::<Uri>().map_err(|_| "the role's name is none".to_owned());
    let lifetime =
        (HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"), HeaderValue::from_static("300"));
    let token = asked(upstream, Method::PUT, uri("/api/token")?, Some(lifetime)).await?;
    let token = secret_header(&String::from_utf8_lossy(&token))?;
    let token = || Some((HeaderName::from_static("x-aws-ec2-metadata-token"), token.clone()));
    let roles = asked(upstream, Method::GET, uri("/meta-data/iam/security-credentials/")?, token()).await?;
    let roles = String::from_utf8_lossy(&roles).into_owned();
    let role = roles.lines().next().map(str::trim).filter(|role| !role.is_empty());
    let role = role.ok_or_else(|| "the machine has no role".to_owned())?;
    asked(upstream, Method::GET, uri(&format!("/meta-data/iam/security-credentials/{role}"))?, token()).await
}

async fn asked(
    upstream: &Upstream,
    method: Method,
    uri: Uri,
    header: Option<(HeaderName, HeaderValue)>,
) -> Result<Bytes, String> {
    let mut request = Request::new(Full::new(Bytes::new()));
    (*request.method_mut(), *request.uri_mut()) = (method, uri);
    request.headers_mut().extend(header.map(|(name, value)| (Some(name), value)));
    let (status, answer) =
        upstream.credentials(request).await.map_err(|problem| format!("no AWS credentials: {problem}"))?;
    if status.is_success() {
        Ok(answer)
    } else {
        Err(format!("no AWS credentials: the service answers {}", status.as_u16()))
    }
}

fn secret_header(value: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(value).map_err(|_| format!("a token {UNFIT}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Encrypted, or at an address that leaves neither machine nor container.
fn may_be_asked(uri: &Uri) -> bool {
    let Some(host) = uri.host() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>().ok();
    let is_own = || {
        let known = std::iter::once("169.254.170.2").chain(PODS.iter().copied());
        known.filter_map(|known| known.parse::<IpAddr>().ok()).any(|known| Some(known) == address)
    };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_own() || is_loopback_name(uri.host().unwrap_or_default()),
        _ => false,
    }
}

/// Reads `AccessKeyId`, `SecretAccessKey`, `Token` and `Expiration`.
fn read(answer: &[u8], now: SystemTime) -> Result<Credentials, String> {
    let wrong = || "no AWS credentials: the answer can't be read".to_owned();
    let answer: Value = serde_json::from_slice(answer).map_err(|_| wrong())?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let (Some(id), Some(secret)) = (text("AccessKeyId"), text("SecretAccessKey")) else {
        return Err(wrong());
    };
    let expires =
        text("Expiration").map(|at| at.parse::<jiff::Timestamp>().map_err(|_| wrong())).transpose()?;
    let expires = expires.map(SystemTime::from);
    if expires.is_some_and(|at| at <= now) {
        return Err("no AWS credentials: those that were given have expired".to_owned());
    }
    made(id, secret, text("Token"), expires).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_credentials_are_fetched_only_from_where_they_can_be() {
        let at = |name: &'static str, value: &'static str| {
            let env = move |asked: &str| (asked == name).then(|| value.to_owned());
            Place::of_container(&env).map(|place| match place {
                Ok(Place::Container { uri, .. }) => uri.to_string(),
                Ok(_) => "elsewhere".to_owned(),
                Err(problem) => problem,
            })
        };
        let relative = at("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x");
        assert_eq!(relative.as_deref(), Some("http://169.254.170.2/v2/x"));
        let full = |value| at("AWS_CONTAINER_CREDENTIALS_FULL_URI", value).unwrap();
        for fine in [
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1",
            "http://127.0.0.1:9/x",
            "https://h.example/x",
        ] {
            assert_eq!(full(fine), fine);
        }
        for wrong in ["http://h.example/x", "http://169.254.169.254/x", "ftp://127.0.0.1/x", "x"] {
            assert!(full(wrong).contains("AWS_CONTAINER_CREDENTIALS_FULL_URI: expected"), "{wrong}");
        }
        assert!(at("SOMETHING", "else").is_none());
    }

    #[test]
    fn credentials_are_read_with_the_time_until_which_they_hold() {
        let answer = |expires: &str| {
            let answer = serde_json::json!({ "AccessKeyId": "ASIA1", "SecretAccessKey": "hunter2", "Token": "t", "Expiration": expires });
            read(answer.to_string().as_bytes(), SystemTime::UNIX_EPOCH)
        };
        let read_one = answer("2026-02-25T06:03:31Z").unwrap();
        assert_eq!((read_one.access_key_id(), read_one.session_token()), ("ASIA1", Some("t")));
        assert!(read_one.expiry().is_some());
        for wrong in ["1960-01-01T00:00:00Z", "soon"] {
            assert!(!answer(wrong).unwrap_err().contains("hunter2"));
        }
        for wrong in ["", "{}", "[]", r#"{"AccessKeyId":"a","SecretAccessKey":"hunter2 x"}"#] {
            assert!(!read(wrong.as_bytes(), SystemTime::UNIX_EPOCH).unwrap_err().contains("hunter2"));
        }
    }
}
