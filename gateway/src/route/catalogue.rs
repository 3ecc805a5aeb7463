//! The catalogue of provider kinds: `catalogue/providers.yaml`. An OpenAI-compatible provider is a few lines of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::MOCK;
use crate::config::Words;
use crate::provider_api::Quirks;
use crate::provider_api::credential::Presented;
use crate::secret::Secret;

/// One kind of provider.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Where its API is; none where only the operator can know.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Environment variables that hold its key, the usual one first.
    #[serde(default)]
    pub env: Vec<String>,
    /// Whether it wants a key.
    #[serde(default)]
    pub auth: Auth,
    /// The provider APIs it speaks, the usual one first.
    #[serde(default = "openai")]
    pub api: Words,
    /// In what it differs from others of this API.
    #[serde(default)]
    pub quirks: Quirks,
    /// What has to be known of it beside its address, by the names that stand in braces there.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// How the names of its own models begin: without a provider's name in front they mean the first of this kind.
    #[serde(default)]
    pub models: Vec<String>,
    /// Other names of the kind.
    #[serde(default)]
    pub aliases: Vec<String>,
}

fn openai() -> Words {
    Words::One("openai".to_owned())
}

/// Something that an operator may say of a provider, such as its region.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setting {
    /// Environment variables that hold it, the usual one first.
    pub env: Vec<String>,
    /// What it is where nobody says.
    pub default: Option<String>,
}

impl Setting {
    /// Its value, by the environment or by default.
    pub fn value(&self, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let found =
            self.env.iter().filter_map(|variable| env(variable)).find(|value| !value.trim().is_empty());
        found.map(|value| value.trim().to_owned()).or_else(|| self.default.clone())
    }
}

/// Whether a provider wants a key, and how it is presented.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// `x-api-key: KEY`.
    XApiKey,
    /// `api-key: KEY`.
    ApiKey,
    /// `x-goog-api-key: KEY`.
    XGoogApiKey,
    /// `Authorization: Bearer TOKEN` of an account of Google Cloud; a key that the operator gives goes in `x-goog-api-key`.
    Google,
    /// `api-key: KEY`, or `Authorization: Bearer TOKEN` of an identity of Microsoft Entra ID.
    Azure,
    /// `Authorization: Bearer KEY`, or without a key a signature by AWS credentials.
    Aws,
    /// Not by itself; a key that the operator gives is still sent.
    None,
}

impl Auth {
    /// How a key is presented.
    pub fn presented(&self) -> Presented {
        match self {
            Self::Bearer | Self::Aws | Self::None => Presented::Bearer,
            Self::XApiKey => Presented::In("x-api-key"),
            Self::ApiKey | Self::Azure => Presented::In("api-key"),
            Self::XGoogApiKey | Self::Google => Presented::In("x-goog-api-key"),
        }
    }
}

impl Kind {
    /// Whether its address is known once the environment is.
    fn has_address(&self, env: &dyn Fn(&str) -> Option<String>) -> bool {
        self.base_url.is_some() && self.settings.values().all(|setting| setting.value(env).is_some())
    }

    /// The variable that holds the key, and the key. An empty variable is as good as none.
    pub fn key<'k>(&'k self, env: &dyn Fn(&str) -> Option<String>) -> Option<(&'k str, Secret)> {
        self.env.iter().find_map(|variable| {
            let value = env(variable)?.trim().to_owned();
            (!value.is_empty()).then(|| (variable.as_str(), Secret::new(value)))
        })
    }
}

/// All kinds by name.
pub struct Catalogue(BTreeMap<String, Kind>);

impl Catalogue {
    /// The catalogue that ships with this binary, and the built-in mock.
    ///
    /// # Errors
    /// What is wrong with the file; a test makes sure that it is right.
    pub fn shipped() -> Result<Self, String> {
        let mut kinds: BTreeMap<String, Kind> =
            serde_saphyr::from_str(include_str!("../../catalogue/providers.yaml"))
                .map_err(|e| format!("catalogue/providers.yaml: {}", e.without_snippet()))?;
        kinds.insert(MOCK.to_owned(), Kind { auth: Auth::None, api: openai(), ..Kind::default() });
        Ok(Self(kinds))
    }

    /// The kind of this name or alias, under its own name.
    pub fn get(&self, name: &str) -> Option<(&str, &Kind)> {
        let named =
            |(own, kind): &(&String, &Kind)| *own == name || kind.aliases.iter().any(|alias| alias == name);
        self.0.iter().find(named).map(|(own, kind)| (own.as_str(), kind))
    }

    /// The kinds whose key is set, with the variable that says so.
    pub fn from_environment<'c>(
        &'c self,
        env: &'c dyn Fn(&str) -> Option<String>,
    ) -> impl Iterator<Item = (&'c str, &'c str)> {
        self.0.iter().filter(|(_, kind)| kind.has_address(env)).filter_map(move |(name, kind)| {
            let (variable, _) = kind.key(env)?;
            Some((name.as_str(), variable))
        })
    }

    /// What to say about a kind that is not there.
    pub fn unknown(&self, name: &str) -> String {
        let near = self
            .0
            .keys()
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let hint = near
            .filter(|near| strsim::jaro_winkler(near, name) > 0.8)
            .map_or_else(String::new, |near| format!(": did you mean '{near}'?"));
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        format!("unknown kind '{name}'{hint} (possible: {})", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider_api;

    #[test]
    fn every_shipped_kind_has_an_address_over_tls_or_on_this_machine() {
        for (name, kind) in Catalogue::shipped().unwrap().0 {
            if let Some(url) = &kind.base_url {
                let local = ["http://127.0.0.1:", "http://localhost:"].iter().any(|p| url.starts_with(p));
                assert!((url.starts_with("https://") || local) && !url.ends_with('/'), "{name}: {url}");
            }
        }
    }

    #[test]
    fn every_shipped_kind_speaks_an_api_that_there_is_and_names_its_settings() {
        for (name, kind) in Catalogue::shipped().unwrap().0 {
            let apis = kind.api.as_slice();
            assert!(
                !apis.is_empty() && apis.iter().all(|api| provider_api::find(api).is_some()),
                "{name}: {apis:?}"
            );
            let url = kind.base_url.unwrap_or_default();
            for setting in url.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                assert!(kind.settings.contains_key(setting), "{name}: {setting}");
            }
        }
    }

    #[test]
    fn no_name_or_alias_stands_for_two_kinds() {
        let catalogue = Catalogue::shipped().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for name in catalogue.0.iter().flat_map(|(name, kind)| std::iter::once(name).chain(&kind.aliases)) {
            assert!(seen.insert(name.clone()), "{name}");
        }
        assert!(catalogue.get("openai").is_some() && catalogue.get("openai_compatible").is_some());
    }
}
