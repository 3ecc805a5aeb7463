//! Which providers there are, and which targets answer for a model.

pub mod answer;
pub mod asking;
mod budget;
mod build;
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

use crate::client_api::Format;
use crate::config::DropParams;
use crate::error::ApiError;
use crate::keys::Caller;
use crate::provider_api::{Encoding, ProviderApi, Quirks};
use crate::secret::Secret;
use budget::Budget;
pub use build::{RouteNotes, needs_mock};
pub use conditions::Facts;
use credentials::Credentials;
pub(crate) use failure::LEFT_ALONE;
pub use health::Shown;
use health::States;
use plan::Route;

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
    /// How it speaks, but for models that have a way of their own ([`Target::api`]).
    pub api: &'static dyn ProviderApi,
    /// How it speaks as well, with clients whose format that is.
    pub also: Vec<&'static dyn ProviderApi>,
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

    /// How it is asked for a model by a client of this format: as the client speaks, where it speaks so, too.
    fn api_for(&self, format: Format, model: &str) -> &'static dyn ProviderApi {
        let find = |format| self.also.iter().copied().find(|api| api.format() == Some(format));
        let alone = self.quirks.responses_models.iter().any(|prefix| model.starts_with(prefix.as_str()));
        if alone {
            let items = Some(Format::OpenAiResponses);
            let mut apis = [self.api].into_iter().chain(self.also.iter().copied());
            if let Some(api) = apis.find(|api| api.format() == items) {
                return api;
            }
        }
        let own = if self.api.format() == Some(format) { None } else { find(format) };
        own.or_else(|| self.api.of_model(model)).unwrap_or(self.api)
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

    /// How it is asked by a client of this format.
    pub fn api(&self, format: Format) -> &'static dyn ProviderApi {
        self.provider.api_for(format, &self.model)
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

impl Routes {
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

/// The header that presents a key.
pub(crate) fn bearer(key: &Secret) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
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

/// A target that nobody asks.
#[cfg(test)]
pub(crate) fn test_target() -> Target {
    use crate::provider_api::credential::Credential;
    use crate::provider_api::openai::OpenAi;
    use health::Caution;

    let provider = Provider {
        name: "p".to_owned(),
        kind: MOCK.to_owned(),
        base_url: "http://127.0.0.1:1/v1".to_owned(),
        api: &OpenAi,
        also: Vec::new(),
        quirks: Quirks::default(),
        settings: BTreeMap::new(),
        in_house: false,
        credentials: Credentials::only(Credential::None),
        states: States::new(Arc::new(Caution::of(&Default::default(), &Default::default()))),
    };
    Target { provider: Arc::new(provider), model: "m".to_owned(), drop_params: DropParams::default() }
}
