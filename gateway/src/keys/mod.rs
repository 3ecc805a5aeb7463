//! Virtual keys: who is asking, and whose cached answers they may see.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};

use crate::aliases;
use crate::config::KeyConfig;
use crate::error::ApiError;
use crate::secret::{Secret, SecretSource};

/// The headers in which clients send a key, in the order we look. None of them is ever forwarded.
pub const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// Who is asking.
#[derive(Debug, PartialEq)]
pub struct Caller {
    /// The key's name, for logs.
    pub key: String,
    /// Who may share cached answers.
    pub tenant: String,
    /// Whether other keys are of the same tenant.
    pub shares_tenant: bool,
    /// The models that it may use; none if all.
    pub models: Option<Vec<String>>,
}

impl Caller {
    /// Whether it may use a model of this name.
    pub fn may_use(&self, model: &str) -> bool {
        let fits = |allowed: &String| match allowed.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => model == allowed,
        };
        self.models.as_ref().is_none_or(|models| models.iter().any(fits))
    }
}

/// All virtual keys. Looked up by a keyed hash, so that the time it takes says nothing about a key.
pub struct Keys {
    hash_key: [u8; 32],
    callers: HashMap<[u8; 32], Arc<Caller>>,
    anonymous: Option<Arc<Caller>>,
}

impl Keys {
    /// Reads every key. Without any, everybody is the one anonymous caller.
    ///
    /// # Errors
    /// One sentence per problem.
    pub fn build(
        configs: &[KeyConfig],
        hash_key: [u8; 32],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let (mut callers, mut problems) = (HashMap::new(), Vec::new());
        let mut names = BTreeSet::new();
        for (at, config) in configs.iter().enumerate() {
            let field = format!("keys[{at}] ('{}')", config.name);
            if config.name.is_empty() || !names.insert(&config.name) {
                problems.push(format!("{field}: the name must be there and be the only one of its kind"));
            }
            if matches!(config.secret, SecretSource::Literal(_)) {
                problems.push(format!(
                    "{field}.secret: a virtual key does not belong into this file: use env:NAME or file:PATH"
                ));
                continue;
            }
            let tenant = tenant_of(config);
            let shares_tenant = configs.iter().filter(|other| tenant_of(other) == tenant).nth(1).is_some();
            let (key, models) = (config.name.clone(), config.models.clone());
            let caller = Arc::new(Caller { key, tenant, shares_tenant, models });
            match config.secret.read(env) {
                Err(problem) => problems.push(format!("{field}.secret: {problem}")),
                Ok(secret) => {
                    if callers.insert(hash(&hash_key, secret.expose()), caller).is_some() {
                        problems.push(format!("{field}.secret: another key has the same secret"));
                    }
                }
            }
        }
        let anonymous = configs.is_empty().then(|| "anonymous".to_owned()).map(|name| {
            Arc::new(Caller { key: name.clone(), tenant: name, shares_tenant: false, models: None })
        });
        if problems.is_empty() { Ok(Self { hash_key, callers, anonymous }) } else { Err(problems) }
    }

    /// True if there is no key, so that anybody may ask.
    pub fn are_none(&self) -> bool {
        self.anonymous.is_some()
    }

    /// Every tenant, once.
    pub fn tenants(&self) -> BTreeSet<&str> {
        self.callers.values().chain(&self.anonymous).map(|caller| caller.tenant.as_str()).collect()
    }

    /// Somebody of this tenant, for what is done in its name.
    pub fn of_tenant(&self, tenant: &str) -> Option<Arc<Caller>> {
        self.callers.values().chain(&self.anonymous).find(|caller| caller.tenant == tenant).cloned()
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// [`ApiError::KeyMissing`] and [`ApiError::KeyUnknown`].
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Caller>, ApiError> {
        if let Some(anonymous) = &self.anonymous {
            return Ok(Arc::clone(anonymous));
        }
        let sent = credential(headers).ok_or(ApiError::KeyMissing)?;
        self.callers.get(&hash(&self.hash_key, sent.expose())).cloned().ok_or(ApiError::KeyUnknown)
    }
}

/// By default each key is a tenant of its own.
fn tenant_of(config: &KeyConfig) -> String {
    config.tenant.clone().unwrap_or_else(|| format!("key:{}", config.name))
}

fn hash(key: &[u8; 32], secret: &str) -> [u8; 32] {
    *blake3::keyed_hash(key, secret.as_bytes()).as_bytes()
}

fn credential(headers: &HeaderMap) -> Option<Secret> {
    let own = CREDENTIAL_HEADERS.iter().find_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?.trim();
        let value = if *name == AUTHORIZATION.as_str() {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())?
        } else {
            value
        };
        (!value.is_empty()).then_some(value)
    });
    own.or_else(|| aliases::key(headers)).map(|key| Secret::new(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let config = |name: &str, tenant: Option<&str>| KeyConfig {
            name: name.to_owned(),
            secret: SecretSource::Env(name.to_owned()),
            tenant: tenant.map(str::to_owned),
            models: None,
        };
        let env = |name: &str| Some(format!("sk-{name}"));
        Keys::build(&[config("a", None), config("b", Some("shared"))], [7; 32], &env).unwrap()
    }

    fn ask(name: &'static str, value: &str) -> Result<Arc<Caller>, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        keys().authenticate(&headers)
    }

    #[test]
    fn a_key_is_taken_from_each_of_its_headers() {
        for (name, value) in [
            ("authorization", "Bearer sk-a"),
            ("authorization", "bearer  sk-a"),
            ("x-api-key", "sk-a"),
            ("api-key", "sk-a"),
        ] {
            assert_eq!(ask(name, value).unwrap().tenant, "key:a");
        }
        assert_eq!(ask("x-api-key", "sk-b").unwrap().tenant, "shared");
    }

    #[test]
    fn a_key_knows_whether_it_has_its_tenant_for_itself() {
        let config = |name: &str, tenant: Option<&str>| KeyConfig {
            name: name.to_owned(),
            secret: SecretSource::Env(name.to_owned()),
            tenant: tenant.map(str::to_owned),
            models: None,
        };
        let env = |name: &str| Some(format!("sk-{name}"));
        let configs = [config("a", None), config("b", Some("key:a")), config("c", Some("alone"))];
        let keys = Keys::build(&configs, [7; 32], &env).unwrap();
        let shares: Vec<bool> = ["sk-a", "sk-b", "sk-c"]
            .map(|secret| {
                let mut headers = HeaderMap::new();
                headers.insert("x-api-key", secret.parse().unwrap());
                keys.authenticate(&headers).unwrap().shares_tenant
            })
            .into();
        assert_eq!(shares, [true, true, false]);
        assert_eq!(keys.tenants().into_iter().collect::<Vec<_>>(), ["alone", "key:a"]);
        assert!(keys.of_tenant("key:a").is_some_and(|caller| caller.shares_tenant));
        assert!(keys.of_tenant("a").is_none() && keys.of_tenant("anonymous").is_none());
    }

    #[test]
    fn a_missing_and_an_unknown_key_are_told_apart() {
        assert!(matches!(keys().authenticate(&HeaderMap::new()), Err(ApiError::KeyMissing)));
        assert!(matches!(ask("authorization", "Basic sk-a"), Err(ApiError::KeyMissing)));
        assert!(matches!(ask("authorization", "Bearer sk-c"), Err(ApiError::KeyUnknown)));
    }

    #[test]
    fn without_keys_everybody_is_one_anonymous_caller() {
        let keys = Keys::build(&[], [0; 32], &|_| None).unwrap();
        assert_eq!(keys.authenticate(&HeaderMap::new()).unwrap().tenant, "anonymous");
    }

    #[test]
    fn a_key_may_use_the_models_that_it_names() {
        let caller = |models: &[&str]| {
            let models = Some(models.iter().map(|model| (*model).to_owned()).collect());
            Caller { key: String::new(), tenant: String::new(), shares_tenant: false, models }
        };
        let some = caller(&["chat", "openai/*"]);
        assert!(some.may_use("chat") && some.may_use("openai/gpt-4o") && some.may_use("openai/"));
        assert!(!some.may_use("chats") && !some.may_use("azure/gpt-4o") && !some.may_use("openai"));
        assert!(caller(&["*"]).may_use("anything") && !caller(&[]).may_use("anything"));
    }

    #[test]
    fn a_literal_a_missing_and_a_doubled_secret_are_refused() {
        let config = |secret| KeyConfig { name: "a".to_owned(), secret, tenant: None, models: None };
        let none = |_: &str| None;
        let literal = SecretSource::Literal(Secret::new("sk-x".to_owned()));
        let errors =
            Keys::build(&[config(literal), config(SecretSource::Env("NOPE".to_owned()))], [0; 32], &none)
                .err()
                .unwrap()
                .join("\n");
        assert!(errors.contains("keys[0] ('a').secret") && errors.contains("NOPE is not set"), "{errors}");
        assert!(errors.contains("only one of its kind") && !errors.contains("sk-x"), "{errors}");
    }
}
