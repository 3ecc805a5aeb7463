//! Where tokens come from: what Google's own libraries call application default credentials
//! (<https://google.aip.dev/auth/4110>).

use std::fmt;
use std::sync::Arc;

use http::Uri;
use rustls::crypto::ring::sign::RsaSigningKey;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use serde::Deserialize;

use super::external::{self, External};
use crate::local::is_loopback_name;
use crate::provider_api::tokens::{self, Tokens};
use crate::secret::{Secret, SecretSource};

/// The variable that names the file.
const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// The variable that says where the metadata server is.
const METADATA_HOST: &str = "GCE_METADATA_HOST";
/// Where it is where nobody says.
const METADATA: &str = "metadata.google.internal";
/// Where `gcloud auth application-default login` leaves them, in the home folder.
const WELL_KNOWN: &str = ".config/gcloud/application_default_credentials.json";
/// Where tokens are given out, by default.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// Whose tokens they are.
pub(in crate::provider_api) enum Source {
    /// A program's account, which signs what it asks with.
    ServiceAccount(ServiceAccount),
    /// A person's, who agreed once.
    User(User),
    /// That of the machine.
    Metadata(Uri),
    /// One of elsewhere, which Google trusts.
    External(Box<External>),
}

pub(in crate::provider_api) struct ServiceAccount {
    pub(super) email: String,
    pub(super) key_id: Option<String>,
    pub(super) key: Arc<dyn SigningKey>,
    pub(super) audience: String,
    pub(super) token_uri: Uri,
}

pub(in crate::provider_api) struct User {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) refresh_token: Secret,
    pub(super) token_uri: Uri,
}

/// Whose they are, for problems.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount(account) => write!(f, "the service account {}", account.email),
            Self::User(_) => f.write_str("the account of a user"),
            Self::Metadata(_) => f.write_str("the account of this machine"),
            Self::External(_) => f.write_str("the external account"),
        }
    }
}

/// A file of credentials.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    #[serde(flatten)]
    external: external::File,
}

/// The account that the operator names: a file, a variable that holds a file's content or its path, or `metadata`. Where none is
/// named, that of the environment, else of the home folder, else of the machine if it says where to ask.
///
/// # Errors
/// What is missing or wrong, without a secret.
pub fn find(
    named: Option<&SecretSource>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Arc<Tokens>, String> {
    let machine = || {
        let host = env(METADATA_HOST).unwrap_or_else(|| METADATA.to_owned());
        metadata(&host)
    };
    let source = match named {
        Some(SecretSource::File(path)) => read(path)?,
        Some(SecretSource::Env(name)) => {
            let value = env(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
            if value.trim_start().starts_with('{') { parse(&value, name)? } else { read(value.trim())? }
        }
        Some(SecretSource::Literal(word)) if word.expose() == "metadata" => machine()?,
        Some(SecretSource::Literal(_)) => {
            return Err("expected file:PATH, env:NAME or metadata".to_owned());
        }
        None => match env(FILE).filter(|path| !path.trim().is_empty()) {
            Some(path) => read(path.trim())?,
            None => match well_known(env) {
                Some(path) => read(&path)?,
                None if env(METADATA_HOST).is_some() => machine()?,
                None => return Err(format!("missing: give file:PATH, env:NAME or metadata, or set {FILE}")),
            },
        },
    };
    Ok(Arc::new(Tokens::new(tokens::Source::Google(source))))
}

fn well_known(env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let path = format!("{}/{WELL_KNOWN}", env("HOME")?);
    std::fs::exists(&path).is_ok_and(|exists| exists).then_some(path)
}

fn metadata(host: &str) -> Result<Source, String> {
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let uri = format!("http://{host}{path}").parse();
    uri.map(Source::Metadata).map_err(|_| format!("{METADATA_HOST}: expected HOST or HOST:PORT"))
}

fn read(path: &str) -> Result<Source, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("the file {path} can't be read: {e}"))?;
    parse(&text, path)
}

/// Reads a file's content. `name`: what holds it. serde's messages may quote values, so they are not repeated.
fn parse(text: &str, name: &str) -> Result<Source, String> {
    let file: File = serde_json::from_str(text).map_err(|e| {
        format!("{name} holds no credentials of Google (at line {} column {})", e.line(), e.column())
    })?;
    let needed =
        |field: &str, value: Option<String>| value.ok_or_else(|| format!("{name}: '{field}' is missing"));
    let named = file.token_uri.as_deref().unwrap_or(TOKEN_URI);
    let token_uri = named.parse::<Uri>().ok().filter(is_private);
    let token_uri = token_uri.ok_or_else(|| format!("{name}: 'token_uri' must begin with https://"))?;
    match file.kind.as_str() {
        "service_account" => Ok(Source::ServiceAccount(ServiceAccount {
            email: needed("client_email", file.client_email)?,
            key_id: file.private_key_id,
            key: key(&needed("private_key", file.private_key)?)
                .ok_or_else(|| format!("{name}: 'private_key' must be an RSA key in PEM"))?,
            audience: named.to_owned(),
            token_uri,
        })),
        "authorized_user" => Ok(Source::User(User {
            client_id: needed("client_id", file.client_id)?,
            client_secret: Secret::new(needed("client_secret", file.client_secret)?),
            refresh_token: Secret::new(needed("refresh_token", file.refresh_token)?),
            token_uri,
        })),
        "external_account" => {
            External::new(file.external, name).map(|account| Source::External(Box::new(account)))
        }
        _ => Err(format!("{name}: 'type' must be service_account, authorized_user or external_account")),
    }
}

/// What is sent there buys a token: it goes out encrypted, or not at all.
pub(super) fn is_private(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| uri.scheme_str() == Some("https") || is_loopback_name(host))
}

fn key(pem: &str) -> Option<Arc<dyn SigningKey>> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    Some(Arc::new(RsaSigningKey::new(&der).ok()?))
}
