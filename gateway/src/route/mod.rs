//! Which providers there are, and which targets answer for a model.

pub mod answer;
pub mod asking;
mod budget;
pub mod catalogue;
mod conditions;
mod cooldown;
mod credentials;
mod explain;
mod failover;
mod failure;
mod health;
pub(crate) mod passed;
mod plan;
mod refusal;
mod retry_after;
mod strategy;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderValue, Uri};

use crate::config::{AwsSection, Config, DropParams, ProviderConfig};
use crate::error::ApiError;
use crate::keys::Caller;
use crate::ledger::Prices;
use crate::local::is_loopback_name;
use crate::provider_api::credential::Credential;
use crate::provider_api::google_auth::Google;
use crate::provider_api::{self, Encoding, ProviderApi, Quirks, aws_auth, fill_in, google_auth};
use crate::secret::{Secret, SecretSource};
use budget::Budget;
use catalogue::{Auth, Catalogue, Kind};
pub use conditions::Facts;
use credentials::Credentials;
pub use health::Shown;
use health::{Caution, States};
use plan::Route;
use strategy::Building;

/// Names go into logs, headers and errors.
const LONGEST_MODEL_NAME: usize = 256;

/// The kind of the built-in scripted provider.
pub const MOCK: &str = "mock";

/// Where models are served.
pub struct Provider {
    /// The operator's name for it.
    pub name: String,
    /// Its kind in the catalogue.
    pub kind: String,
    /// Base URL without a slash at the end.
    pub base_url: String,
    /// How it speaks.
    pub api: &'static dyn ProviderApi,
    /// In what it differs from others of its API.
    pub quirks: Quirks,
    /// What is said of it beside its address, by name.
    pub settings: BTreeMap<String, String>,
    /// Whether it may see what is not to leave the house.
    pub in_house: bool,
    /// What shows it that a request is ours, and which of them are of use at the moment.
    pub credentials: Credentials,
    /// How its targets fare.
    pub states: States,
}

impl Provider {
    /// The address of a path of its API.
    ///
    /// # Errors
    /// Never for a provider that [`Routes::build`] made: it checked the base URL.
    pub fn uri(&self, path: &str) -> Result<Uri, http::uri::InvalidUri> {
        format!("{}{path}", self.base_url).parse()
    }

    /// What encoding a request for it has to know.
    pub fn encoding<'a>(&'a self, model: &'a str, stream: bool, drop_params: DropParams) -> Encoding<'a> {
        Encoding { model, stream, quirks: &self.quirks, settings: &self.settings, drop_params }
    }
}

/// A provider and the name of a model there.
#[derive(Clone)]
pub struct Target {
    /// Where.
    pub provider: Arc<Provider>,
    /// What the provider calls the model.
    pub model: String,
    /// What becomes of fields that it does not take.
    pub drop_params: DropParams,
}

impl Target {
    /// `PROVIDER/MODEL`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.provider.name, self.model)
    }

    /// Whether the other one is the same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.provider, &other.provider) && self.model == other.model
    }
}

/// All providers and routes.
pub struct Routes {
    providers: BTreeMap<String, Arc<Provider>>,
    routes: BTreeMap<String, Route>,
    /// Models of the price table by their bare name.
    bare: BTreeMap<String, Target>,
    /// Who is meant by the name of a model that nobody lists, by how it begins.
    own: Vec<(String, Arc<Provider>)>,
    /// For asking again where there is no route.
    budget: Arc<Budget>,
}

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

    /// The targets that may answer for a model: of a route, else `PROVIDER/MODEL`, else a bare name that the price table knows, else
    /// one that begins like those of a provider's own models.
    ///
    /// # Errors
    /// [`ApiError::ModelNotFound`].
    pub fn resolve(&self, model: &str) -> Result<Vec<Target>, ApiError> {
        if model.len() > LONGEST_MODEL_NAME {
            return Err(ApiError::invalid(
                "model",
                format!("'model' is longer than {LONGEST_MODEL_NAME} bytes"),
            ));
        }
        if let Some(route) = self.routes.get(model) {
            return Ok(route.targets().to_vec());
        }
        if let Some(target) = target(model, &self.providers) {
            return Ok(vec![target]);
        }
        if let Some(target) = self.bare.get(model) {
            return Ok(vec![target.clone()]);
        }
        if let Some((_, provider)) = self.own.iter().find(|(beginning, _)| model.starts_with(beginning)) {
            let (provider, drop_params) = (Arc::clone(provider), DropParams::default());
            return Ok(vec![Target { provider, model: model.to_owned(), drop_params }]);
        }
        let names: Vec<&str> = self.providers.keys().map(String::as_str).collect();
        let routes: Vec<&str> = self.routes.keys().map(String::as_str).take(20).collect();
        let hint = if routes.is_empty() {
            format!("use PROVIDER/MODEL with one of the providers {}", names.join(", "))
        } else {
            format!("there are routes for {} and the providers {}", routes.join(", "), names.join(", "))
        };
        Err(ApiError::ModelNotFound { model: model.chars().take(100).collect(), hint })
    }

    /// The same for somebody who may not use every model.
    ///
    /// # Errors
    /// [`ApiError::ModelNotFound`] and [`ApiError::ModelNotAllowed`].
    pub fn resolve_for(&self, caller: &Caller, model: &str) -> Result<Vec<Target>, ApiError> {
        let targets = self.resolve(model)?;
        // A bare name means the one target that is called so; a route is allowed by its own name alone.
        let stands_for = |target: &Target| !self.routes.contains_key(model) && caller.may_use(&target.name());
        if caller.may_use(model) || targets.first().is_some_and(stands_for) {
            return Ok(targets);
        }
        Err(ApiError::ModelNotAllowed { model: model.to_owned() })
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.get(name)
    }

    /// The name and base URL of each provider.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        self.providers.values().map(|provider| (provider.name.as_str(), provider.base_url.as_str()))
    }

    /// Whether any provider is in the house.
    pub fn any_in_house(&self) -> bool {
        self.providers.values().any(|provider| provider.in_house)
    }

    /// Every model name that can be listed: id and who serves it.
    pub fn list(&self) -> Vec<(String, String)> {
        let routes = self.routes.iter().map(|(model, route)| {
            (model.clone(), route.targets().first().map_or_else(String::new, |t| t.provider.name.clone()))
        });
        let bare = self.bare.values().map(|target| (target.name(), target.provider.name.clone()));
        routes.chain(bare).collect()
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
    let Some(api) = provider_api::find(&kind.api) else {
        problems.push(format!("{field}.kind: there is no provider API '{}'", kind.api));
        return Err(problems);
    };
    let settings = settings_of(&field, config, kind, env, &mut problems);
    let default = if config.kind == MOCK { mock } else { kind.base_url.as_deref() };
    let base_url = config.base_url.as_deref().or(default).unwrap_or_default();
    // Google's one region that is none has a host without a region.
    let base_url =
        fill_in(base_url.trim_end_matches('/'), &settings).replace("//global-aiplatform.", "//aiplatform.");
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
        quirks: config.quirks.clone().unwrap_or_else(|| kind.quirks.clone()),
        settings,
        in_house: config.in_house,
        credentials,
        states: States::new(Arc::clone(caution)),
    })
}

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
        (None, Auth::Aws) if config.aws.is_some() || kind.key(env).is_none() => None,
        // The key in the environment is for the catalogue's address. Another one gets a key only if one is named for it.
        (None, _) if config.base_url.is_some() || kind.env.is_empty() => None,
        (None, _) => match kind.key(env) {
            Some((_, key)) => Some(Ok(key)),
            None => Some(Err(format!(
                "{field}.api_key: missing: give env:NAME or file:PATH, or set {}",
                kind.env.join(" or ")
            ))),
        },
    };
    let account = account(config, kind, env).map_err(|e| format!("{field}.credentials: {e}"));
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
        Ok(account) => account.map_or(credential, Credential::Google),
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
) -> Result<Option<Arc<Google>>, String> {
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

/// The header that presents a key.
pub(crate) fn bearer(key: &Secret) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
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

/// A whole address that is posted to.
pub(crate) fn post_address(url: &str) -> Result<Uri, String> {
    let expected = "expected an address such as https://host/path";
    let uri: Uri = url.parse().map_err(|_| expected.to_owned())?;
    let names_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) if !names_user => Ok(uri),
        _ => Err(format!("{expected}, without user name")),
    }
}

fn target(name: &str, providers: &BTreeMap<String, Arc<Provider>>) -> Option<Target> {
    let (provider, model) = name.split_once('/')?;
    let provider = providers.get(provider)?;
    let (provider, drop_params) = (Arc::clone(provider), DropParams::default());
    (!model.is_empty()).then(|| Target { provider, model: model.to_owned(), drop_params })
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

/// A target that nobody asks.
#[cfg(test)]
pub(crate) fn test_target() -> Target {
    use crate::provider_api::openai::OpenAi;

    let provider = Provider {
        name: "p".to_owned(),
        kind: MOCK.to_owned(),
        base_url: "http://127.0.0.1:1/v1".to_owned(),
        api: &OpenAi,
        quirks: Quirks::default(),
        settings: BTreeMap::new(),
        in_house: false,
        credentials: Credentials::only(Credential::None),
        states: States::new(Arc::new(Caution::of(&Default::default(), &Default::default()))),
    };
    Target { provider: Arc::new(provider), model: "m".to_owned(), drop_params: DropParams::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn build(yaml: &str, env: &[(&str, &str)]) -> Result<(Routes, RouteNotes), String> {
        let config = parse(yaml, "test").map_err(|e| e.to_string())?;
        let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let (catalogue, prices) = (Catalogue::shipped().unwrap(), Prices::shipped().unwrap());
        Routes::build(&config, &catalogue, &prices, Some("http://127.0.0.1:1/v1"), &lookup)
            .map_err(|p| p.join("\n"))
    }

    #[test]
    fn keys_in_the_environment_enable_their_providers() {
        let (routes, notes) = build("", &[("OPENAI_API_KEY", "sk-1"), ("GROQ_API_KEY", "g")]).unwrap();
        assert!(!notes.mock_alone && notes.from_environment.len() == 2);
        let targets = routes.resolve("openai/gpt-4o").unwrap();
        assert_eq!(
            targets[0].provider.uri("/chat/completions").unwrap(),
            "https://api.openai.com/v1/chat/completions"
        );
        assert_eq!(routes.resolve("gpt-4o").unwrap()[0].name(), "openai/gpt-4o");
    }

    #[test]
    fn a_model_that_nobody_lists_is_its_vendor_s_by_its_name() {
        let yaml = "providers:\n  a: {kind: anthropic, api_key: k}\n  b: {kind: anthropic, api_key: k}\n  c: {kind: ollama}\nroutes: [{model: claude-work, targets: [c/m]}]\n";
        let (routes, _) = build(yaml, &[]).unwrap();
        let of = |model: &str| routes.resolve(model).map(|targets| targets[0].name()).ok();
        assert_eq!(of("claude-later-9").as_deref(), Some("a/claude-later-9"));
        assert_eq!(of("claude-work").as_deref(), Some("c/m"), "a route has the first word");
        assert_eq!((of("gpt-9"), of("llama")), (None, None), "nobody of that kind is there");
    }

    #[test]
    fn without_any_provider_the_mock_stands_in_and_it_is_said() {
        let (routes, notes) = build("", &[]).unwrap();
        assert!(notes.mock_alone);
        assert_eq!(routes.resolve("mock").unwrap()[0].name(), "mock/mock");
        assert_eq!(routes.resolve("mock/any/thing").unwrap()[0].model, "any/thing");
    }

    #[test]
    fn a_route_lists_its_targets_in_order() {
        let yaml = "providers:\n  a: {kind: ollama}\n  b: {kind: openai_compatible, base_url: 'http://h:1/v1/', api_key: x}\nroutes:\n  - {model: chat, targets: [a/one, b/org/two]}\n";
        let (routes, notes) = build(yaml, &[]).unwrap();
        let names: Vec<String> = routes.resolve("chat").unwrap().iter().map(Target::name).collect();
        assert_eq!(names, ["a/one", "b/org/two"]);
        assert_eq!(notes.literal_keys, ["b"]);
        assert_eq!(routes.resolve("b/m").unwrap()[0].provider.base_url, "http://h:1/v1");
        assert!(matches!(routes.resolve("nope"), Err(ApiError::ModelNotFound { .. })));
    }

    #[test]
    fn a_provider_is_in_the_house_only_if_its_operator_says_so() {
        let yaml = "providers:\n  a: {kind: ollama}\n  b: {kind: ollama, in_house: true}\n  c: {kind: openai, base_url: 'https://llm.corp.example/v1', in_house: true}\nroutes:\n  - {model: chat, targets: [a/x, b/x, c/x]}\n";
        let (routes, _) = build(yaml, &[]).unwrap();
        let inside = |model: &str| -> Vec<bool> {
            routes.resolve(model).unwrap().iter().map(|target| target.provider.in_house).collect()
        };
        assert_eq!(inside("chat"), [false, true, true]);
        assert_eq!(inside("b/y"), [true], "a target without a route is its provider's");
        let (found, _) = build("", &[("OPENAI_API_KEY", "sk-1")]).unwrap();
        assert!(!found.resolve("gpt-4o").unwrap()[0].provider.in_house);
    }

    #[test]
    fn settings_stand_in_addresses_and_paths() {
        let yaml = "providers:\n  a: {kind: azure, resource: contoso, api_key: k}\n  b: {kind: azure, resource: other, api_version: 2025-01-01-preview, api_key: k}\n";
        let (routes, _) = build(yaml, &[]).unwrap();
        let address = |name: &str| {
            let target = routes.resolve(name).unwrap().swap_remove(0);
            let how = target.provider.encoding(&target.model, false, DropParams::Drop);
            target.provider.api.path(&how).map(|path| format!("{}{path}", target.provider.base_url))
        };
        assert_eq!(
            address("a/gpt-5").unwrap(),
            "https://contoso.openai.azure.com/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21"
        );
        assert!(address("b/gpt-5").unwrap().ends_with("?api-version=2025-01-01-preview"));
        for elsewhere in ["a/../x", "a/x/y", "a/x?y=z", "a/x%2Fy", "a/x#y"] {
            assert!(address(elsewhere).is_err(), "{elsewhere}");
        }
        let (found, _) = build("", &[("AZURE_OPENAI_API_KEY", "k"), ("AZURE_OPENAI_RESOURCE", "r")]).unwrap();
        assert!(found.resolve("azure/gpt-5").is_ok());
        let (none, notes) = build("", &[("AZURE_OPENAI_API_KEY", "k")]).unwrap();
        assert!(notes.mock_alone && none.resolve("azure/gpt-5").is_err(), "nobody knows where it is");
    }

    #[test]
    fn every_mistake_is_told_with_its_field() {
        let cases = [
            (
                "providers: {a: {kind: opnai}}",
                "providers.a.kind: unknown kind 'opnai': did you mean 'openai'?",
            ),
            (
                "providers: {a: {kind: openai}}",
                "providers.a.api_key: missing: give env:NAME or file:PATH, or set OPENAI_API_KEY",
            ),
            ("providers: {a: {kind: openai_compatible}}", "providers.a.base_url: missing"),
            (
                "providers: {a: {kind: azure, api_key: x}}",
                "providers.a.resource: missing, or set AZURE_OPENAI_RESOURCE",
            ),
            (
                "providers: {a: {kind: azure, api_key: x, resource: 'evil.example/'}}",
                "providers.a.resource: expected letters",
            ),
            ("providers: {a: {kind: ollama, region: x}}", "providers.a.region: the kind 'ollama' has none"),
            ("providers: {a: {kind: ollama, base_url: 'ftp://x'}}", "providers.a.base_url: expected"),
            ("providers: {a: {kind: ollama, base_url: 'http://me:pw@x/v1'}}", "without user name"),
            (
                "providers: {a: {kind: ollama, api_key: 'env:NONE'}}",
                "providers.a.api_key: the environment variable NONE",
            ),
            ("providers: {a/b: {kind: ollama}}", "must not be empty or hold a '/'"),
            (
                "providers: {a: {kind: openai, api_key: x, in_house: true}}",
                "providers.a.in_house: https://api.openai.com/v1 is its vendor's: name the 'base_url'",
            ),
            (
                "providers: {a: {kind: ollama}}\nroutes: [{model: m, targets: [b/x]}]",
                "routes[0] ('m').targets: 'b/x'",
            ),
            (
                "providers: {a: {kind: ollama}}\nroutes: [{model: m, targets: []}]",
                "routes[0] ('m').targets: name at least",
            ),
        ];
        for (yaml, words) in cases {
            let error = build(yaml, &[]).err().unwrap();
            assert!(error.contains(words) && !error.contains("pw@"), "{yaml} gave {error}");
        }
    }
}
