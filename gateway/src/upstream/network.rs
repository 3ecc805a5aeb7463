//! What all threads' connections share: names, proxies, whom to trust, and what providers differ in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderValue, Uri};
use rustls::{ClientConfig, RootCertStore};

use super::dial::Route;
use super::dns::{Resolver, System};
use super::meter::Meter;
use super::pool::{Origin, Terms};
use super::proxy::{Proxies, Proxy};
use super::{UpstreamError, tls};
use crate::config::{Config, Http, ProviderConfig, Span, TimeoutSection};

/// What the connections of all threads share.
pub struct Network {
    terms: Terms,
    resolver: Arc<Resolver>,
    proxies: Proxies,
    tls: Speaking,
    special: HashMap<Key, Special>,
    meter: Meter,
}

/// How to speak TLS, by the versions of HTTP that may be spoken.
struct Speaking([Arc<ClientConfig>; 3]);

/// Scheme and authority of an address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    tls: bool,
    authority: Authority,
}

/// How a provider's address is reached.
#[derive(Clone)]
struct Special {
    label: Arc<str>,
    http: Http,
    tls: Option<Arc<ClientConfig>>,
    /// None: as any other; nothing inside: without one.
    proxy: Option<Option<Arc<Proxy>>>,
}

impl Key {
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self { tls, authority: uri.authority()?.clone() })
    }
}

impl Speaking {
    fn build(roots: RootCertStore) -> Result<Self, String> {
        let roots = Arc::new(roots);
        let client = |http| tls::client(Arc::clone(&roots), http);
        Ok(Self([client(Http::Auto)?, client(Http::One)?, client(Http::Two)?]))
    }

    fn of(&self, http: Http) -> Arc<ClientConfig> {
        let [auto, one, two] = &self.0;
        Arc::clone(match http {
            Http::Auto => auto,
            Http::One => one,
            Http::Two => two,
        })
    }
}

impl Network {
    /// What the configuration says; `providers` gives each provider's name and base URL. `env` looks up environment variables.
    ///
    /// # Errors
    /// One sentence per problem, each naming its field.
    pub fn build<'a>(
        config: &Config,
        providers: impl Iterator<Item = (&'a str, &'a str)>,
        env: &dyn Fn(&str) -> Option<String>,
        meter: Meter,
    ) -> Result<Self, Vec<String>> {
        let mut problems = config.connections.problems();
        let mut note = |problem: String| problems.push(problem);
        let proxies = Proxies::build(config.proxy.as_ref(), env).map_err(&mut note).ok();
        let tls = tls::roots(&config.tls).and_then(Speaking::build).map_err(&mut note).ok();
        let mut special = HashMap::<Key, (Special, &ProviderConfig)>::new();
        for (name, base_url) in providers {
            let Some(own) = config.providers.get(name) else { continue };
            let Some(key) = base_url.parse().ok().and_then(|uri| Key::of(&uri)) else { continue };
            match special.get(&key) {
                Some((_, other)) if other.reached_as(own) => {}
                Some((other, _)) => note(format!(
                    "providers.{name}: has the host of providers.{}, so 'http', 'ca_file' and 'proxy' must be the same",
                    other.label
                )),
                None => match Special::build(name, own, env) {
                    Ok(made) => drop(special.insert(key, (made, own))),
                    Err(problem) => note(format!("providers.{name}.{problem}")),
                },
            }
        }
        let special = special.into_iter().map(|(key, (special, _))| (key, special)).collect();
        match (proxies, tls) {
            (Some(proxies), Some(tls)) if problems.is_empty() => {
                let resolver = Resolver::new(Box::new(System), config.connections.dns_ttl.0, meter.clone());
                let terms = Terms::of(&config.connections, config.timeouts.connect.0);
                Ok(Self { terms, resolver, proxies, tls, special, meter })
            }
            _ => Err(problems),
        }
    }

    /// What holds where nothing is configured, without proxies.
    pub(super) fn plain(connect: Duration) -> Result<Self, Vec<String>> {
        let timeouts = TimeoutSection { connect: Span(connect), ..TimeoutSection::default() };
        let config = Config { timeouts, ..Config::default() };
        Self::build(&config, std::iter::empty(), &|_| None, Meter::default())
    }

    /// The same with names of a test.
    #[cfg(test)]
    pub(super) fn with_names(mut self, lookup: Box<dyn super::dns::Lookup>, ttl: Duration) -> Self {
        self.resolver = Resolver::new(lookup, ttl, self.meter.clone());
        self
    }

    /// An address, without connections yet.
    ///
    /// # Errors
    /// [`UpstreamError::Connect`] if nobody can be found by it.
    pub(super) fn origin(&self, uri: &Uri, key: &Key) -> Result<Origin, UpstreamError> {
        let nobody = || UpstreamError::Connect("the address has no host".to_owned());
        let host = uri.host().ok_or_else(nobody)?;
        let special = self.special.get(key).cloned().unwrap_or_else(|| Special::any(host));
        let port = uri.port_u16();
        let default = if key.tls { 443 } else { 80 };
        let header = match port.filter(|port| *port != default) {
            Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
            None => HeaderValue::from_str(host),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let proxy = special.proxy.unwrap_or_else(|| self.proxies.before(uri));
        let looked_up = proxy.as_ref().map_or(bare.as_str(), |proxy| proxy.host.as_str());
        let name = self.resolver.name(looked_up);
        let tls = key.tls.then(|| special.tls.unwrap_or_else(|| self.tls.of(special.http)));
        let route = Route {
            host: bare,
            port: port.unwrap_or(default),
            tls,
            http: special.http,
            proxy: proxy.map(|proxy| (proxy, self.tls.of(Http::One))),
            name,
        };
        let header = header.map_err(|_| nobody())?;
        Ok(Origin::new(route, self.terms.clone(), header, special.label, self.meter.clone()))
    }
}

impl Special {
    fn build(
        name: &str,
        config: &ProviderConfig,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let http = config.http;
        let tls = config.ca_file.as_deref().map(|file| {
            let roots = tls::roots_of(file).map_err(|problem| format!("ca_file: {problem}"))?;
            tls::client(Arc::new(roots), http)
        });
        let proxy = config
            .proxy
            .as_ref()
            .map(|source| Proxy::named(source, env).map_err(|problem| format!("proxy: {problem}")));
        Ok(Self { label: Arc::from(name), http, tls: tls.transpose()?, proxy: proxy.transpose()? })
    }

    /// An address that no provider has.
    fn any(host: &str) -> Self {
        Self { label: Arc::from(host), http: Http::Auto, tls: None, proxy: None }
    }
}
