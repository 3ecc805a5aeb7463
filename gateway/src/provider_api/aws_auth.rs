//! AWS credentials: where they come from, how long they are kept, and the signature of a request by them (Signature Version 4).

mod fetched;
mod profile;
mod sts;
#[cfg(test)]
mod tests;
mod xml;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, Request};

use super::credential::Credential;
use crate::config::AwsSection;
use crate::secret::{Secret, SecretSource};
use crate::upstream::Upstream;
use fetched::Place;
use sts::Role;

/// What requests to Bedrock are signed for.
const SERVICE: &str = "bedrock";
/// Credentials that expire are fetched anew so long before.
const EARLY: Duration = Duration::from_secs(5 * 60);

/// After a failure so long passes before the next attempt.
const BACKOFF: Duration = Duration::from_secs(1);

type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Signs requests of one provider. No `Debug`: it holds secrets.
pub struct Aws {
    region: String,
    source: Source,
    /// What was fetched last.
    held: RwLock<Option<Credentials>>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
    /// When it failed last, and why: nobody is asked again at once.
    failed: Mutex<Option<(Instant, String)>>,
}

/// Where credentials come from.
enum Source {
    /// They are known, and don't expire as far as is known.
    Known(Credentials),
    /// They are fetched, and expire.
    At(Place),
}

/// What one request is signed with. No `Debug`: it holds secrets.
pub struct Signing {
    credentials: Credentials,
    region: String,
}

/// The credentials of a provider: what its section says, else what the environment, the shared credentials file and the container
/// have, in this order.
///
/// # Errors
/// A sentence that begins with the field.
pub fn find(
    field: &str,
    section: &AwsSection,
    region: Option<&str>,
    env: Env<'_>,
) -> Result<Credential, String> {
    let source = source(section, region, env).map_err(|problem| format!("{field}.aws{problem}"))?;
    let Some(region) = region else {
        return Err(format!("{field}.region: missing: requests are signed for a region"));
    };
    let (held, fetching, failed) = (RwLock::default(), tokio::sync::Mutex::default(), Mutex::default());
    Ok(Credential::Aws(Arc::new(Aws { region: region.to_owned(), source, held, fetching, failed })))
}

/// Problems begin with `: ` or with the field below the section.
fn source(section: &AwsSection, region: Option<&str>, env: Env<'_>) -> Result<Source, String> {
    let ways = [
        section.access_key_id.is_some(),
        section.profile.is_some(),
        section.instance_role,
        section.web_identity_token_file.is_some(),
    ];
    if ways.iter().filter(|way| **way).count() > 1 {
        return Err(
            ": give a key, a profile, 'instance_role' or 'web_identity_token_file', and only one of them"
                .to_owned(),
        );
    }
    // That there is none is told where it is missing.
    let region = region.unwrap_or_default();
    if section.web_identity_token_file.is_some() {
        if section.external_id.is_some() {
            return Err(".external_id: a web identity has none".to_owned());
        }
        let role = Role::of_web_identity(section, region, env).transpose()?;
        return role.map(of_role).ok_or_else(|| ".web_identity_token_file: is empty".to_owned());
    }
    let Some(arn) = &section.role_arn else {
        for (name, value) in
            [("role_session_name", &section.role_session_name), ("external_id", &section.external_id)]
        {
            if value.is_some() {
                return Err(format!(".{name}: wants a 'role_arn' beside it"));
            }
        }
        return own(section, region, env);
    };
    let own = own(section, region, env)?;
    Role::of_keys(arn, section, (region, env), own).map(of_role)
}

fn of_role(role: Role) -> Source {
    Source::At(Place::Role(Box::new(role)))
}

/// Credentials that are no role which is assumed on their account.
fn own(section: &AwsSection, region: &str, env: Env<'_>) -> Result<Source, String> {
    if let Some(id) = &section.access_key_id {
        return keys(id, section, env).map(Source::Known);
    }
    for (name, value) in
        [("secret_access_key", &section.secret_access_key), ("session_token", &section.session_token)]
    {
        if value.is_some() {
            return Err(format!(".{name}: wants an 'access_key_id' beside it"));
        }
    }
    if section.instance_role {
        return Ok(Source::At(Place::Instance));
    }
    if let Some(name) = &section.profile {
        return profile::read(name, env).map(Source::Known).map_err(|problem| format!(".profile: {problem}"));
    }
    let set = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    if let (Some(id), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        let made = known(&id, &secret, set("AWS_SESSION_TOKEN").as_deref());
        return made.map(Source::Known).ok_or_else(|| format!(": AWS_ACCESS_KEY_ID and its secret: {UNFIT}"));
    }
    let found = Role::of_web_identity(&AwsSection::default(), region, env);
    if let Some(role) = found {
        return role.map(of_role);
    }
    match set("AWS_PROFILE") {
        Some(name) => {
            return profile::read(&name, env).map(Source::Known).map_err(|problem| format!(": {problem}"));
        }
        None => {
            if let Ok(found) = profile::read("default", env) {
                return Ok(Source::Known(found));
            }
        }
    }
    if let Some(place) = Place::of_container(env) {
        return place.map(Source::At).map_err(|problem| format!(": {problem}"));
    }
    Err(": missing: set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a key, a profile, 'instance_role' or 'web_identity_token_file' here".to_owned())
}

fn keys(id: &SecretSource, section: &AwsSection, env: Env<'_>) -> Result<Credentials, String> {
    let read = |name: &str, source: &SecretSource| match source {
        SecretSource::Literal(_) if name != "access_key_id" => {
            Err(format!(".{name}: does not belong into this file: expected env:NAME or file:PATH"))
        }
        source => source.read(env).map_err(|problem| format!(".{name}: {problem}")),
    };
    let secret = section.secret_access_key.as_ref();
    let secret = secret.ok_or_else(|| ".secret_access_key: missing".to_owned())?;
    let (id, secret) = (read("access_key_id", id)?, read("secret_access_key", secret)?);
    let token: Option<Secret> =
        section.session_token.as_ref().map(|token| read("session_token", token)).transpose()?;
    let made = known(id.expose(), secret.expose(), token.as_ref().map(Secret::expose));
    made.ok_or_else(|| format!(".access_key_id: {UNFIT}"))
}

/// What is wrong with credentials that can't be sent.
const UNFIT: &str = "holds characters that can't stand in an HTTP header";

/// Credentials that don't expire; none if they can't stand in a header.
fn known(id: &str, secret: &str, token: Option<&str>) -> Option<Credentials> {
    made(id, secret, token, None)
}

fn made(id: &str, secret: &str, token: Option<&str>, expires: Option<SystemTime>) -> Option<Credentials> {
    let fits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits(id) || !fits(secret) || !token.is_none_or(fits) {
        return None;
    }
    Some(Credentials::new(id, secret, token.map(str::to_owned), expires, "sluice"))
}

impl Aws {
    /// What a request is signed with now. Credentials that expire soon are fetched anew by one request, while the others go on with
    /// those there are.
    ///
    /// # Errors
    /// What went wrong, without the secret.
    pub async fn ready(&self, upstream: &Upstream) -> Result<Signing, String> {
        let place = match &self.source {
            Source::Known(credentials) => return Ok(self.signing(credentials.clone())),
            Source::At(place) => place,
        };
        let held = self.held(SystemTime::now() + EARLY);
        if let Some(credentials) = held {
            return Ok(self.signing(credentials));
        }
        let usable = self.held(SystemTime::now());
        let guard = match (self.fetching.try_lock(), usable.clone()) {
            (Ok(guard), _) => guard,
            (Err(_), Some(credentials)) => return Ok(self.signing(credentials)),
            (Err(_), None) => self.fetching.lock().await,
        };
        // Whoever had it before may have fetched them.
        if let Some(credentials) = self.held(SystemTime::now() + EARLY) {
            return Ok(self.signing(credentials));
        }
        if let Some(problem) = self.failed_just_now() {
            return usable.map(|credentials| self.signing(credentials)).ok_or(problem);
        }
        let fetched = place.fetch(upstream).await;
        let failed = fetched.as_ref().err().map(|problem| (Instant::now(), problem.clone()));
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        let outcome = match (fetched, usable) {
            (Ok(credentials), _) => {
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(credentials.clone());
                Ok(self.signing(credentials))
            }
            (Err(problem), Some(credentials)) => {
                tracing::warn!(problem, "AWS credentials can't be fetched anew; those there are still hold");
                Ok(self.signing(credentials))
            }
            (Err(problem), None) => Err(problem),
        };
        drop(guard);
        outcome
    }

    fn failed_just_now(&self) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = failed.as_ref().filter(|(at, _)| at.elapsed() < BACKOFF);
        recent.map(|(_, problem)| problem.clone())
    }

    /// What was fetched, if it still holds then.
    fn held(&self, then: SystemTime) -> Option<Credentials> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().filter(|credentials| credentials.expiry().is_none_or(|expiry| expiry > then))
    }

    fn signing(&self, credentials: Credentials) -> Signing {
        Signing { credentials, region: self.region.clone() }
    }
}

impl Signing {
    /// Signs a request whose address, headers and body are what they will be.
    ///
    /// # Errors
    /// What went wrong, without the secret.
    pub fn apply<B>(self, request: &mut Request<B>, body: &[u8]) -> Result<(), String> {
        let Self { credentials, region } = self;
        signed(request, body, credentials, (&region, SERVICE), SystemTime::now())
    }
}

fn signed<B>(
    request: &mut Request<B>,
    body: &[u8],
    credentials: Credentials,
    (region, service): (&str, &str),
    now: SystemTime,
) -> Result<(), String> {
    // The path is encoded once more for it, which is what this service does too.
    let settings = SigningSettings::default();
    let identity = credentials.into();
    let params = SigningParams::builder().identity(&identity).region(region).name(service).time(now);
    let params = params.settings(settings).build().map_err(|error| error.to_string())?;
    // Those that nobody on the way has reason to change.
    let headers: Vec<(&str, &str)> = [CONTENT_TYPE, ACCEPT]
        .iter()
        .filter_map(|name| {
            let value = request.headers().get(name)?.to_str().ok()?;
            Some((name.as_str(), value))
        })
        .collect();
    let uri = request.uri().to_string();
    let method = request.method().to_string();
    let signable = SignableRequest::new(&method, &uri, headers.into_iter(), SignableBody::Bytes(body));
    let unsigned = |_| "the request can't be signed".to_owned();
    let output = sign(signable.map_err(unsigned)?, &params.into()).map_err(unsigned)?;
    let (instructions, _) = output.into_parts();
    instructions.apply_to_request_http1x(request);
    for name in [AUTHORIZATION, HeaderName::from_static("x-amz-security-token")] {
        if let Some(value) = request.headers_mut().get_mut(name) {
            value.set_sensitive(true);
        }
    }
    Ok(())
}
