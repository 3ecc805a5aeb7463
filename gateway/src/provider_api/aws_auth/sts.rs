//! Roles: credentials for a while that AWS's token service (STS) gives to who shows a token of a cluster's, or signs with others.

use std::path::PathBuf;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Env, Source, made, signed, xml};
use crate::config::AwsSection;
use crate::local::is_loopback_name;
use crate::upstream::Upstream;

/// What the service is called in signatures.
const SERVICE: &str = "sts";
/// The variable that says where it is, as AWS's own tools read it.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_STS";
/// What a session is called where nobody says: it shows in AWS's logs.
const SESSION: &str = "sluice";

/// A role, and how it is got.
pub(super) struct Role {
    arn: String,
    session: String,
    external_id: Option<String>,
    endpoint: Uri,
    region: String,
    by: By,
}

enum By {
    /// The token in this file, which somebody renews.
    Token(PathBuf),
    /// Other credentials.
    Keys(Box<Source>),
}

impl Role {
    /// That of a web identity: the section's, else the one that a cluster puts into the environment. None if neither says anything.
    /// Problems begin with `: ` or with the field below the section.
    pub(super) fn of_web_identity(
        section: &AwsSection,
        region: &str,
        env: Env<'_>,
    ) -> Option<Result<Self, String>> {
        let (field, path, arn) = match &section.web_identity_token_file {
            Some(path) => {
                (".role_arn", path.clone(), section.role_arn.clone().or_else(|| set(env, "AWS_ROLE_ARN")))
            }
            None => (": AWS_ROLE_ARN", set(env, "AWS_WEB_IDENTITY_TOKEN_FILE")?, set(env, "AWS_ROLE_ARN")),
        };
        let Some(arn) = arn else {
            return Some(Err(format!("{field}: missing: a web identity is shown for a role")));
        };
        let session = section.role_session_name.clone().or_else(|| set(env, "AWS_ROLE_SESSION_NAME"));
        let by = By::Token(PathBuf::from(path));
        Some(Self::new((field, arn), session, (region, env), by))
    }

    /// The section's, got with these credentials.
    pub(super) fn of_keys(
        arn: &str,
        section: &AwsSection,
        (region, env): (&str, Env<'_>),
        source: Source,
    ) -> Result<Self, String> {
        let (arn, session) = ((".role_arn", arn.to_owned()), section.role_session_name.clone());
        let role = Self::new(arn, session, (region, env), By::Keys(Box::new(source)))?;
        Ok(Self { external_id: section.external_id.clone(), ..role })
    }

    fn new(
        (field, arn): (&str, String),
        session: Option<String>,
        (region, env): (&str, Env<'_>),
        by: By,
    ) -> Result<Self, String> {
        let is_arn = arn.starts_with("arn:") && arn.contains(":role/");
        if !is_arn || !arn.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{field}: expected arn:aws:iam::ACCOUNT:role/NAME"));
        }
        let session = session.unwrap_or_else(|| SESSION.to_owned());
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if !(2..=64).contains(&session.len()) || !session.bytes().all(fits) {
            return Err(".role_session_name: expected 2 to 64 letters, digits and _+=,.@-".to_owned());
        }
        let endpoint = endpoint(region, env)?;
        Ok(Self { arn, session, external_id: None, endpoint, region: region.to_owned(), by })
    }

    /// Fetches its credentials.
    ///
    /// # Errors
    /// What went wrong, without a secret.
    pub(super) async fn fetch(&self, upstream: &Upstream) -> Result<Credentials, String> {
        let problem = |problem: String| format!("no AWS credentials: the role {}: {problem}", self.arn);
        let request = self.request(upstream).await.map_err(problem)?;
        let (status, answer) = upstream.credentials(request).await.map_err(problem)?;
        read(status, &answer, SystemTime::now()).map_err(problem)
    }

    async fn request(&self, upstream: &Upstream) -> Result<Request<Full<Bytes>>, String> {
        let (action, shown, keys) = match &self.by {
            By::Token(path) => {
                let token = tokio::fs::read_to_string(path).await;
                let token = token.map_err(|error| format!("{}: {error}", path.display()))?;
                let token = Some(("WebIdentityToken", token.trim().to_owned()));
                ("AssumeRoleWithWebIdentity", token, None)
            }
            By::Keys(source) => {
                let keys = match &**source {
                    Source::Known(credentials) => credentials.clone(),
                    Source::At(place) => Box::pin(place.fetch(upstream)).await?,
                };
                let external = self.external_id.clone().map(|id| ("ExternalId", id));
                ("AssumeRole", external, Some(keys))
            }
        };
        let mut form = format!("Action={action}&Version=2011-06-15");
        let said = [("RoleArn", self.arn.clone()), ("RoleSessionName", self.session.clone())];
        for (name, value) in said.into_iter().chain(shown) {
            form += &format!("&{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
        }
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        let body = Bytes::from(form);
        let made = Request::post(self.endpoint.clone()).header(header::CONTENT_TYPE, kind);
        let mut request =
            made.body(Full::new(body.clone())).map_err(|_| "the request can't be made".to_owned())?;
        if let Some(keys) = keys {
            signed(&mut request, &body, keys, (&self.region, SERVICE), SystemTime::now())?;
        }
        Ok(request)
    }
}

fn set(env: Env<'_>, name: &str) -> Option<String> {
    env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The service of the region. What is shown there buys credentials: it goes out encrypted, or not at all.
fn endpoint(region: &str, env: Env<'_>) -> Result<Uri, String> {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let named = set(env, ENDPOINT).unwrap_or_else(|| format!("https://sts.{region}.{domain}/"));
    let is_private = |uri: &Uri| {
        uri.host().is_some_and(|host| uri.scheme_str() == Some("https") || is_loopback_name(host))
    };
    let uri = named.parse::<Uri>().ok().filter(is_private);
    uri.ok_or_else(|| format!(": {ENDPOINT}: expected an address that begins with https://"))
}

/// Reads credentials, or the word for why there are none: a sentence may quote an account or a token.
fn read(status: StatusCode, answer: &[u8], now: SystemTime) -> Result<Credentials, String> {
    let leaves = std::str::from_utf8(answer).ok().and_then(xml::leaves).unwrap_or_default();
    if !status.is_success() {
        let is_word = |word: &&str| word.len() <= 64 && word.bytes().all(|b| b.is_ascii_alphanumeric());
        let word = xml::text(&leaves, "Error", "Code").filter(is_word).unwrap_or_default();
        return Err(format!("the token service answers {} {word}", status.as_u16()).trim_end().to_owned());
    }
    let wrong = || "the token service's answer can't be read".to_owned();
    let text = |name: &str| xml::text(&leaves, "Credentials", name).ok_or_else(wrong);
    let expires: jiff::Timestamp = text("Expiration")?.parse().map_err(|_| wrong())?;
    let expires = SystemTime::from(expires);
    if expires <= now {
        return Err("those that were given have expired".to_owned());
    }
    let token = text("SessionToken")?;
    made(text("AccessKeyId")?, text("SecretAccessKey")?, Some(token), Some(expires)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(expires: &str) -> String {
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><AssumedRoleUser>\
             <Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
             <SecretAccessKey>hunter2</SecretAccessKey><SessionToken>t/1==</SessionToken><Expiration>{expires}</Expiration>\
             </Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )
    }

    #[test]
    fn credentials_are_read_and_what_is_wrong_is_told_without_them() {
        let read = |status: u16, text: &str| {
            read(StatusCode::from_u16(status).unwrap(), text.as_bytes(), SystemTime::UNIX_EPOCH)
        };
        let good = read(200, &answer("2026-11-26T12:00:00Z")).unwrap();
        assert_eq!((good.access_key_id(), good.session_token()), ("ASIA1", Some("t/1==")));
        assert!(good.expiry().is_some());
        let refused = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>hunter2</Message></Error></ErrorResponse>";
        let odd = "<ErrorResponse><Error><Code>hunter2 is wrong</Code></Error></ErrorResponse>";
        let cases = [
            (400, refused.to_owned(), "the token service answers 400 InvalidIdentityToken"),
            (403, odd.to_owned(), "the token service answers 403"),
            (503, "<html>".to_owned(), "the token service answers 503"),
            (200, answer("1960-01-01T00:00:00Z"), "those that were given have expired"),
            (200, answer("soon"), "the token service's answer can't be read"),
            (
                200,
                answer("2026-11-26T12:00:00Z").replace("hunter2", "hunter2 x"),
                "the token service's answer can't be read",
            ),
            (200, "{}".to_owned(), "the token service's answer can't be read"),
        ];
        for (status, text, problem) in cases {
            assert_eq!(read(status, &text).unwrap_err(), problem, "{text}");
        }
    }

    #[test]
    fn the_service_is_that_of_the_region_or_one_that_is_safe_to_ask() {
        let at = |region: &str, named: Option<&str>| {
            endpoint(region, &|name| named.filter(|_| name == ENDPOINT).map(str::to_owned))
                .map(|uri| uri.to_string())
        };
        assert_eq!(at("eu-west-1", None).unwrap(), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(at("cn-north-1", None).unwrap(), "https://sts.cn-north-1.amazonaws.com.cn/");
        assert_eq!(at("x", Some("http://127.0.0.1:9/")).unwrap(), "http://127.0.0.1:9/");
        assert!(at("x", Some("http://sts.example/")).unwrap_err().contains("AWS_ENDPOINT_URL_STS: expected"));
    }
}
