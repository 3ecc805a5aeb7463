//! Identities of Microsoft Entra ID: an application with its secret, one that trusts a cluster's tokens, or the machine's own.

mod exchange;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderValue, Uri};

use super::tokens::{self, Tokens};
use crate::config::EntraSection;
use crate::local::is_loopback_name;
use crate::secret::{Secret, SecretSource};

pub(super) use exchange::fetch;

/// Where tokens are given out, unless AZURE_AUTHORITY_HOST says otherwise.
const AUTHORITY: &str = "https://login.microsoftonline.com/";
/// What tokens are for.
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
/// Where a machine has its own.
const MACHINE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Whose tokens they are. No `Debug`: it holds secrets.
pub(super) struct Source {
    scope: String,
    by: By,
}

enum By {
    Application(Application),
    /// That of the machine, or the App Service.
    Managed(Managed),
}

struct Application {
    token_uri: Uri,
    client_id: String,
    shows: Shows,
}

/// What shows that it is the application.
enum Shows {
    Secret(Secret),
    /// A token in this file, which somebody renews.
    Token(PathBuf),
}

struct Managed {
    uri: Uri,
    client_id: Option<String>,
    /// What shows an App Service that it is us who ask; none: a machine is asked.
    secret: Option<HeaderValue>,
}

/// Whose they are, for problems.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            By::Application(application) => write!(f, "the application {}", application.client_id),
            By::Managed(_) => f.write_str("the managed identity"),
        }
    }
}

/// The identity that the section says, else the environment.
///
/// # Errors
/// What is missing or wrong, without a secret. It begins with `: ` or with the field below the section.
pub fn find(section: &EntraSection, env: Env<'_>) -> Result<Arc<Tokens>, String> {
    let by = if section.managed_identity { managed_by(section, env)? } else { by(section, env)? };
    let scope = section.scope.clone().unwrap_or_else(|| SCOPE.to_owned());
    if scope.is_empty() || !scope.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            ".scope: expected an address such as https://cognitiveservices.azure.com/.default".to_owned()
        );
    }
    Ok(Arc::new(Tokens::new(tokens::Source::Entra(Source { scope, by }))))
}

fn by(section: &EntraSection, env: Env<'_>) -> Result<By, String> {
    let shows = shows(section, env)?;
    let Some(shows) = shows else {
        return match set(env, "IDENTITY_ENDPOINT") {
            Some(_) => managed(section, env),
            None => Err(": missing: give a 'client_secret', a 'federated_token_file' or 'managed_identity', or set AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE".to_owned()),
        };
    };
    let needed = |field: &str, value: &Option<String>, name: &str| {
        let value = value.clone().or_else(|| set(env, name));
        let value = value.ok_or_else(|| format!(".{field}: missing, or set {name}"))?;
        if is_word(&value) {
            Ok(value)
        } else {
            Err(format!(".{field}: expected letters, digits, '-', '_' and '.' only"))
        }
    };
    let tenant = needed("tenant_id", &section.tenant_id, "AZURE_TENANT_ID")?;
    let client_id = needed("client_id", &section.client_id, "AZURE_CLIENT_ID")?;
    let authority = set(env, "AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
    let uri = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/')).parse::<Uri>();
    let token_uri = uri.ok().filter(is_private);
    let token_uri =
        token_uri.ok_or(": AZURE_AUTHORITY_HOST: expected an address that begins with https://")?;
    Ok(By::Application(Application { token_uri, client_id, shows }))
}

/// What the section says, else the environment; none if neither says anything.
fn shows(section: &EntraSection, env: Env<'_>) -> Result<Option<Shows>, String> {
    match (&section.client_secret, &section.federated_token_file) {
        (Some(_), Some(_)) => {
            Err(": give a 'client_secret' or a 'federated_token_file', and only one of them".to_owned())
        }
        (Some(SecretSource::Literal(_)), None) => {
            Err(".client_secret: does not belong into this file: expected env:NAME or file:PATH".to_owned())
        }
        (Some(secret), None) => {
            let secret = secret.read(env).map_err(|problem| format!(".client_secret: {problem}"))?;
            Ok(Some(Shows::Secret(secret)))
        }
        (None, Some(path)) => Ok(Some(Shows::Token(PathBuf::from(path)))),
        (None, None) => {
            let secret = set(env, "AZURE_CLIENT_SECRET").map(|secret| Shows::Secret(Secret::new(secret)));
            let token =
                || set(env, "AZURE_FEDERATED_TOKEN_FILE").map(|path| Shows::Token(PathBuf::from(path)));
            Ok(secret.or_else(token))
        }
    }
}

fn managed_by(section: &EntraSection, env: Env<'_>) -> Result<By, String> {
    let others = [
        section.client_secret.is_some(),
        section.federated_token_file.is_some(),
        section.tenant_id.is_some(),
    ];
    if others.contains(&true) {
        return Err(
            ": 'managed_identity' needs neither 'tenant_id' nor a secret: give it alone or not at all"
                .to_owned(),
        );
    }
    managed(section, env)
}

fn managed(section: &EntraSection, env: Env<'_>) -> Result<By, String> {
    let client_id = section.client_id.clone().or_else(|| set(env, "AZURE_CLIENT_ID"));
    if !client_id.as_deref().is_none_or(is_word) {
        return Err(".client_id: expected letters, digits, '-', '_' and '.' only".to_owned());
    }
    let (uri, secret) = match (set(env, "IDENTITY_ENDPOINT"), set(env, "IDENTITY_HEADER")) {
        (Some(uri), Some(secret)) => {
            // It is beside the program, and without encryption.
            let uri = uri.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
            let uri = uri.ok_or(": IDENTITY_ENDPOINT: expected an address")?;
            let secret = HeaderValue::from_str(&secret);
            let mut secret = secret
                .map_err(|_| ": IDENTITY_HEADER: holds characters that can't stand in an HTTP header")?;
            secret.set_sensitive(true);
            (uri, Some(secret))
        }
        _ => (Uri::from_static(MACHINE), None),
    };
    Ok(By::Managed(Managed { uri, client_id, secret }))
}

fn set(env: Env<'_>, name: &str) -> Option<String> {
    env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// What may stand in an address: ids, and domains of tenants.
fn is_word(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with('.')
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// What is sent there buys a token: it goes out encrypted, or not at all.
fn is_private(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| uri.scheme_str() == Some("https") || is_loopback_name(host))
}
