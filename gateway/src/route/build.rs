//! Providers and routes from what the operator wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Uri;

use super::budget::Budget;
use super::catalogue::{Auth, Catalogue, Kind};
use super::credentials::Credentials;
use super::health::{Caution, States};
use super::plan::Route;
use super::strategy::Building;
use super::{MOCK, Provider, Routes, Target, target};
use crate::config::{AwsSection, Config, DropParams, ProviderConfig};
use crate::ledger::Prices;
use crate::local::is_loopback_name;
use crate::provider_api::credential::Credential;
use crate::provider_api::tokens::Tokens;
use crate::provider_api::{self, ProviderApi, aws_auth, entra_auth, fill_in, google_auth};
use crate::secret::SecretSource;

/// What [`Routes::build`] found out on its way, for the start-up message.
#[derive(Debug, Default)]
pub struct RouteNotes {
    /// Providers that are there because a variable is set: name and variable.
    pub from_environment: Vec<(String, String)>,
    /// No provider was configured or found, so the mock stands in.
    pub mock_alone: bool,
    /// Providers whose key stands in the file itself.
    pub literal_keys: Vec<String>,
    /// Providers whose key goes over the network without encryption.
    pub open_keys: Vec<String>,
}

/// True if building these providers needs the built-in mock.
pub fn needs_mock(config: &Config, catalogue: &Catalogue, env: &dyn Fn(&str) -> Option<String>) -> bool {
    let named = config.providers.values().any(|p| p.kind == MOCK && p.base_url.is_none());
    named || (config.providers.is_empty() && catalogue.from_environment(env).next().is_none())
}

impl Routes {
    /// Builds what the configuration says. `mock` is the base URL of the built-in mock, where one is running.
    ///
    /// # Errors
    /// One sentence per problem, each naming its field.
    pub fn build(
        config: &Config,
        catalogue: &Catalogue,
        prices: &Prices,
        mock: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, RouteNotes), Vec<String>> {
        let (mut notes, mut problems) = (RouteNotes::default(), Vec::new());
        let mut configs = config.providers.clone();
        if configs.is_empty() {
            for (kind, variable) in catalogue.from_environment(env) {
                notes.from_environment.push((kind.to_owned(), variable.to_owned()));
                configs.insert(kind.to_owned(), ProviderConfig::of_kind(kind));
            }
        }
        if configs.is_empty() {
            notes.mock_alone = true;
            configs.insert(MOCK.to_owned(), ProviderConfig::of_kind(MOCK));
        }
        let mut providers = BTreeMap::new();
        let caution = Arc::new(Caution::of(&config.breaker, &config.cooldown));
        for (name, provider) in &configs {
            let mut keys = provider.api_key.iter().chain(provider.api_keys.iter().map(|key| &key.key));
            if keys.any(|key| matches!(key, SecretSource::Literal(_))) {
                notes.literal_keys.push(name.clone());
            }
            match build_provider((name, provider), catalogue, mock, &caution, env) {
                Ok(provider) => {
                    if provider.credentials.get(0).is_some() && !is_private(&provider.base_url) {
                        notes.open_keys.push(name.clone());
                    }
                    providers.insert(name.clone(), Arc::new(provider));
                }
                Err(mut found) => problems.append(&mut found),
            }
        }
        // A problem with a provider would be told again by each route to it.
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut routes = BTreeMap::new();
        let budget = &config.retry.budget;
        for (at, route) in config.routes.iter().enumerate() {
            let known = |name: &str| {
                known_target(name, &providers)
                    .map(|target| Target { drop_params: route.drop_params, ..target })
            };
            let (field, building) =
                (format!("routes[{at}] ('{}')", route.model), Building { target: &known });
            match Route::build(route, &field, &building, budget) {
                Ok(built) => {
                    if routes.insert(route.model.clone(), built).is_some() {
                        problems
                            .push(format!("routes[{at}]: the model '{}' has a route already", route.model));
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let bare = bare_names(&providers, prices);
        let own = own_names(&providers, catalogue);
        let budget = Arc::new(Budget::new(budget.ratio, budget.per_second));
        Ok((Self { providers, routes, bare, own, budget }, notes))
    }
}

fn build_provider(
    (name, config): (&str, &ProviderConfig),
    catalogue: &Catalogue,
    mock: Option<&str>,
    caution: &Arc<Caution>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Provider, Vec<String>> {
    let field = format!("providers.{name}");
    let mut problems = Vec::new();
    if name.is_empty() || name.contains('/') {
        problems.push(format!("{field}: a provider's name must not be empty or hold a '/'"));
    }
    let Some((kind_name, kind)) = catalogue.get(&config.kind) else {
        problems.push(format!("{field}.kind: {}", catalogue.unknown(&config.kind)));
        return Err(problems);
    };
    let (api, also) = match apis(config, kind) {
        Ok(apis) => apis,
        Err(problem) => {
            problems.push(format!("{field}.api: {problem}"));
            return Err(problems);
        }
    };
    let settings = settings_of(&field, config, kind, env, &mut problems);
    let default = if config.kind == MOCK { mock } else { kind.base_url.as_deref() };
    let base_url = config.base_url.as_deref().or(default).unwrap_or_default();
    let base_url = google_host(&fill_in(base_url.trim_end_matches('/'), &settings));
    // Whose models they are stands in the path: an address that names Google is good for all.
    let base_url = match base_url.strip_suffix("/publishers/google").filter(|_| api.name() == "vertex") {
        Some(base_url) => base_url.to_owned(),
        None => base_url,
    };
    if let Err(problem) = check_url(&base_url, &config.kind) {
        problems.push(format!("{field}.base_url: {problem}"));
    } else if config.in_house && config.base_url.is_none() && !is_local(&base_url) {
        problems
            .push(format!("{field}.in_house: {base_url} is its vendor's: name the 'base_url' of your own"));
    }
    let credential = own_credential(&field, config, kind, &settings, env, &mut problems);
    if config.api_key.is_some() && !config.api_keys.is_empty() {
        problems.push(format!("{field}.api_keys: use either 'api_key' or 'api_keys'"));
    }
    let credentials = Credentials::build(credential, &config.api_keys, kind.auth.presented(), env);
    let credentials = credentials.unwrap_or_else(|found| {
        problems.extend(found.into_iter().map(|problem| format!("{field}.{problem}")));
        Credentials::only(Credential::None)
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Provider {
        name: name.to_owned(),
        kind: kind_name.to_owned(),
        base_url,
        api,
        also,
        quirks: config.quirks.clone().unwrap_or_else(|| kind.quirks.clone()),
        settings,
        in_house: config.in_house,
        credentials,
        states: States::new(Arc::clone(caution)),
    })
}

/// Google's hosts of regions that are none, or several, are called otherwise.
fn google_host(base_url: &str) -> String {
    let host = |region: &str| format!("//{region}-aiplatform.googleapis.com");
    base_url
        .replace(&host("global"), "//aiplatform.googleapis.com")
        .replace(&host("us"), "//aiplatform.us.rep.googleapis.com")
        .replace(&host("eu"), "//aiplatform.eu.rep.googleapis.com")
}

/// How a provider speaks, and how as well. What a kind speaks beside its usual API is known of the catalogue's address alone, and a path
/// of one's own leads to one API.
fn apis(config: &ProviderConfig, kind: &Kind) -> Result<Apis, String> {
    let (named, of_kind) = (config.api.as_slice(), kind.api.as_slice());
    let chosen = if named.is_empty() { of_kind } else { named };
    let family = |name: &String| ["openai", "responses"].contains(&name.as_str());
    if !named.iter().all(|name| of_kind.contains(name) || (of_kind.iter().all(family) && family(name))) {
        let possible =
            if of_kind.iter().all(family) { "openai, responses".to_owned() } else { of_kind.join(", ") };
        return Err(format!("expected what the kind '{}' speaks: {possible}", config.kind));
    }
    if kind.quirks.path.is_some() && config.quirks.is_none() && chosen.first() != of_kind.first() {
        return Err(format!(
            "the kind '{}' has a path of its own, which is that of {}",
            config.kind,
            of_kind.join(", ")
        ));
    }
    let found: Vec<_> = chosen.iter().filter_map(|name| provider_api::find(name)).collect();
    let Some((api, also)) = found.split_first() else {
        return Err("there is no such provider API".to_owned());
    };
    let has_path = config.quirks.as_ref().unwrap_or(&kind.quirks).path.is_some();
    let alone = has_path || (named.is_empty() && config.base_url.is_some());
    Ok((*api, if alone { Vec::new() } else { also.to_vec() }))
}

type Apis = (&'static dyn ProviderApi, Vec<&'static dyn ProviderApi>);

/// The one credential of a provider that is not among several keys.
fn own_credential(
    field: &str,
    config: &ProviderConfig,
    kind: &Kind,
    settings: &BTreeMap<String, String>,
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Credential {
    let key = match (&config.api_key, &kind.auth) {
        (Some(source), _) => Some(source.read(env).map_err(|e| format!("{field}.api_key: {e}"))),
        (None, Auth::None) => None,
        (None, _) if !config.api_keys.is_empty() => None,
        (None, Auth::Azure) if config.entra.is_some() => None,
        (None, Auth::Aws) if config.aws.is_some() || kind.key(env).is_none() => None,
        // The key in the environment is for the catalogue's address. Another one gets a key only if one is named for it.
        (None, _) if config.base_url.is_some() || kind.env.is_empty() => None,
        (None, _) => match kind.key(env) {
            Some((_, key)) => Some(Ok(key)),
            None => {
                let or =
                    if kind.auth == Auth::Azure { ", or say in 'entra' whose tokens are sent" } else { "" };
                let variables = kind.env.join(" or ");
                Some(Err(format!(
                    "{field}.api_key: missing: give env:NAME or file:PATH, or set {variables}{or}"
                )))
            }
        },
    };
    let account = account(config, kind, env).map_err(|e| format!("{field}.credentials: {e}"));
    let account = account.and_then(|account| Ok(account.or(identity(field, config, kind, env)?)));
    let credential = match key.transpose() {
        Err(problem) => {
            problems.push(problem);
            Credential::None
        }
        Ok(None) => Credential::None,
        Ok(Some(key)) => Credential::key(&key, kind.auth.presented()).unwrap_or_else(|| {
            problems.push(format!("{field}.api_key: holds characters that can't stand in an HTTP header"));
            Credential::None
        }),
    };
    let credential = match account {
        Ok(account) => account.map_or(credential, Credential::Tokens),
        Err(problem) => {
            problems.push(problem);
            credential
        }
    };
    match aws_credential(field, config, kind, settings, env) {
        Ok(signing) => signing.unwrap_or(credential),
        Err(problem) => {
            problems.push(problem);
            credential
        }
    }
}

/// The account of Google Cloud that gets the tokens of a provider, for kinds that want one. That of the environment is for the
/// catalogue's address.
fn account(
    config: &ProviderConfig,
    kind: &Kind,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Arc<Tokens>>, String> {
    match (&config.credentials, kind.auth == Auth::Google) {
        (Some(_), false) => Err(format!("the kind '{}' has none", config.kind)),
        (Some(_), true) if config.api_key.is_some() => {
            Err("there is an 'api_key' as well, and only one of them is sent".to_owned())
        }
        (Some(named), true) => google_auth::find(Some(named), env).map(Some),
        (None, true) if config.api_key.is_none() && config.base_url.is_none() => {
            google_auth::find(None, env).map(Some)
        }
        (None, _) => Ok(None),
    }
}

/// The identity of Entra ID that gets the tokens of a provider, for kinds of Azure whose operator says so.
fn identity(
    field: &str,
    config: &ProviderConfig,
    kind: &Kind,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Arc<Tokens>>, String> {
    let Some(section) = &config.entra else { return Ok(None) };
    if kind.auth != Auth::Azure {
        return Err(format!("{field}.entra: the kind '{}' has none", config.kind));
    }
    if config.api_key.is_some() || !config.api_keys.is_empty() {
        return Err(format!("{field}.entra: there is an 'api_key' as well, and only one of them is sent"));
    }
    entra_auth::find(section, env).map(Some).map_err(|problem| format!("{field}.entra{problem}"))
}

/// What requests are signed with, for kinds that sign them and where no key is sent instead. At another address than the
/// catalogue's that has to be said.
fn aws_credential(
    field: &str,
    config: &ProviderConfig,
    kind: &Kind,
    settings: &BTreeMap<String, String>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Credential>, String> {
    let region = settings.get("region").map(String::as_str);
    let has_key = config.api_key.is_some() || !config.api_keys.is_empty();
    match (&config.aws, kind.auth == Auth::Aws) {
        (Some(_), false) => Err(format!("{field}.aws: the kind '{}' has none", config.kind)),
        (Some(_), true) if has_key => {
            Err(format!("{field}.aws: there is an 'api_key' as well, and only one of them is sent"))
        }
        (Some(section), true) => aws_auth::find(field, section, region, env).map(Some),
        (None, true) if !has_key && config.base_url.is_none() && kind.key(env).is_none() => {
            aws_auth::find(field, &AwsSection::default(), region, env).map(Some)
        }
        (None, _) => Ok(None),
    }
}

/// What is said of a provider beside its address: by the operator, by the environment, else by the catalogue.
fn settings_of(
    field: &str,
    config: &ProviderConfig,
    kind: &Kind,
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in config.settings() {
        if !kind.settings.contains_key(name) {
            problems.push(format!("{field}.{name}: the kind '{}' has none", config.kind));
        } else if !is_word(value) {
            problems.push(format!("{field}.{name}: expected letters, digits, '-', '_' and '.' only"));
        }
        settings.insert(name.to_owned(), value.to_owned());
    }
    for (name, setting) in
        kind.settings.iter().filter(|(name, _)| config.settings().all(|(n, _)| n != **name))
    {
        match setting.value(env).filter(|value| is_word(value)) {
            Some(value) => drop(settings.insert(name.clone(), value)),
            None if config.base_url.is_some() => {}
            None if setting.env.is_empty() => problems.push(format!("{field}.{name}: missing")),
            None => problems.push(format!("{field}.{name}: missing, or set {}", setting.env.join(" or "))),
        }
    }
    settings
}

/// What may stand in an address, or in a path of one, without meaning something else there.
fn is_word(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with('.')
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Encrypted, or not leaving this machine.
fn is_private(url: &str) -> bool {
    url.starts_with("https://") || is_local(url)
}

/// On this machine.
fn is_local(url: &str) -> bool {
    url.parse::<Uri>().ok().is_some_and(|uri| uri.host().is_some_and(is_loopback_name))
}

fn check_url(url: &str, kind: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err(format!("missing: the kind '{kind}' has no address of its own"));
    }
    let expected = "expected an address such as https://host/v1";
    let uri: Uri = url.parse().map_err(|_| expected.to_owned())?;
    match (uri.scheme_str(), uri.host(), uri.query()) {
        (Some("http" | "https"), Some(_), None)
            if !uri.authority().is_some_and(|a| a.as_str().contains('@')) =>
        {
            Ok(())
        }
        _ => Err(format!("{expected}, without user name or query")),
    }
}

fn known_target(name: &str, providers: &BTreeMap<String, Arc<Provider>>) -> Result<Target, String> {
    target(name, providers).ok_or_else(|| {
        let known: Vec<&str> = providers.keys().map(String::as_str).collect();
        format!("'{name}' is no PROVIDER/MODEL of the providers {}", known.join(", "))
    })
}

/// `gpt-4o` instead of `openai/gpt-4o`, where one provider serves a model of that name; with several of a kind, the first.
fn bare_names(providers: &BTreeMap<String, Arc<Provider>>, prices: &Prices) -> BTreeMap<String, Target> {
    let mut bare = BTreeMap::new();
    for provider in providers.values() {
        for model in prices.models(&provider.kind) {
            let (provider, drop_params) = (Arc::clone(provider), DropParams::default());
            let target = Target { provider, model: model.to_owned(), drop_params };
            bare.entry(model.to_owned()).or_insert(target);
        }
    }
    bare
}

/// How names of providers' own models begin, and the first provider of each kind.
fn own_names(
    providers: &BTreeMap<String, Arc<Provider>>,
    catalogue: &Catalogue,
) -> Vec<(String, Arc<Provider>)> {
    let mut own: Vec<(String, Arc<Provider>)> = Vec::new();
    for provider in providers.values() {
        for beginning in catalogue.get(&provider.kind).into_iter().flat_map(|(_, kind)| &kind.models) {
            if !own.iter().any(|(other, _)| other == beginning) {
                own.push((beginning.clone(), Arc::clone(provider)));
            }
        }
    }
    own
}

#[cfg(test)]
mod tests;
