//! Proxies: which one stands before a provider, and how to get through it.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::Io;
use crate::local::is_beside;
use crate::secret::SecretSource;

/// What a proxy answers to CONNECT is short.
const MAX_HEAD: usize = 16 * 1024;

const EXPECTED: &str =
    "expected http://HOST:PORT or https://HOST:PORT, with USER:PASSWORD@ before the host if it asks for them";

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A proxy.
pub(super) struct Proxy {
    /// Whether it is spoken to over TLS.
    pub(super) tls: bool,
    /// Its name or address, without brackets.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// Who we are to it.
    pub(super) authorization: Option<HeaderValue>,
}

/// Which addresses are reached through which proxy.
pub(super) struct Proxies(Option<Matcher>);

impl Proxies {
    /// What the field `proxy` says, else the environment's variables, in upper or lower case.
    ///
    /// # Errors
    /// A sentence that names the field or the variable, and never its value.
    pub(super) fn build(setting: Option<&SecretSource>, env: Env<'_>) -> Result<Self, String> {
        let builder = match setting {
            Some(SecretSource::Literal(word)) if word.expose() == "off" => return Ok(Self(None)),
            Some(source) => {
                let url = source.read(env).map_err(|problem| format!("proxy: {problem}"))?;
                check(url.expose()).map_err(|()| format!("proxy: {EXPECTED}; or 'off' for none"))?;
                Matcher::builder().all(url.expose().to_owned())
            }
            None => Matcher::builder()
                .all(variable("ALL_PROXY", env)?)
                .http(variable("HTTP_PROXY", env)?)
                .https(variable("HTTPS_PROXY", env)?),
        };
        let except: Vec<String> = either("NO_PROXY", env)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            // `*` alone means everything; before a domain many write it, and mean its subdomains.
            .map(|entry| if entry == "*" { entry } else { entry.trim_start_matches('*') })
            .map(str::to_owned)
            .collect();
        Ok(Self(Some(builder.no(except.join(",")).build())))
    }

    /// The proxy before an address; none stands before this machine and what is right beside it.
    pub(super) fn before(&self, uri: &Uri) -> Option<Arc<Proxy>> {
        if uri.host().is_none_or(is_beside) {
            return None;
        }
        let found = self.0.as_ref()?.intercept(uri)?;
        of(found.uri(), found.basic_auth().cloned()).map(Arc::new)
    }
}

impl Proxy {
    /// The proxy that a field names for one provider alone; none for `off`.
    ///
    /// # Errors
    /// A sentence without the field's name, and without its value.
    pub(super) fn named(source: &SecretSource, env: Env<'_>) -> Result<Option<Arc<Self>>, String> {
        if matches!(source, SecretSource::Literal(word) if word.expose() == "off") {
            return Ok(None);
        }
        let url = source.read(env)?;
        check(url.expose())
            .map(|proxy| Some(Arc::new(proxy)))
            .map_err(|()| format!("{EXPECTED}; or 'off' for none"))
    }

    /// Asks for a tunnel to a host and port.
    ///
    /// # Errors
    /// What the proxy said: its status, and nothing else of its answer.
    pub(super) async fn tunnel(&self, io: &mut Box<dyn Io>, to: &str) -> Result<(), String> {
        let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            head.extend_from_slice(b"Proxy-Authorization: ");
            head.extend_from_slice(authorization.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let broken = |error: std::io::Error| format!("the proxy broke the connection: {error}");
        io.write_all(&head).await.map_err(broken)?;
        io.flush().await.map_err(broken)?;
        // Byte by byte, so that nothing behind the head is taken: what follows belongs to the tunnel.
        let mut answer = Vec::with_capacity(128);
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(io.read_u8().await.map_err(broken)?);
            if answer.len() > MAX_HEAD {
                return Err("the proxy's answer to CONNECT does not end".to_owned());
            }
        }
        match status(&answer) {
            Some(200..=299) => Ok(()),
            Some(407) => Err("the proxy asks for other credentials (status 407)".to_owned()),
            Some(status) => Err(format!("the proxy refused to connect (status {status})")),
            None => Err("the proxy's answer to CONNECT is no HTTP".to_owned()),
        }
    }
}

/// The status of an answer's first line.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn either(name: &str, env: Env<'_>) -> Option<String> {
    let value = env(name).filter(|value| !value.trim().is_empty());
    value.or_else(|| env(&name.to_lowercase())).map(|value| value.trim().to_owned())
}

fn variable(name: &str, env: Env<'_>) -> Result<String, String> {
    match either(name, env) {
        Some(url) if !url.is_empty() => match check(&url) {
            Ok(_) => Ok(url),
            Err(()) => Err(format!("the environment variable {name}: {EXPECTED}; 'proxy: off' ignores it")),
        },
        _ => Ok(String::new()),
    }
}

/// Reads a proxy's address as the matcher does, which passes over what it can't read. We must not: requests would go out without
/// the proxy that somebody wanted.
fn check(url: &str) -> Result<Proxy, ()> {
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let matcher = Matcher::builder().all(whole).build();
    let found = matcher.intercept(&Uri::from_static("https://any.example/")).ok_or(())?;
    of(found.uri(), found.basic_auth().cloned()).ok_or(())
}

fn of(uri: &Uri, authorization: Option<HeaderValue>) -> Option<Proxy> {
    let tls = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    (!host.is_empty()).then_some(Proxy { tls, host, port, authorization })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn proxies(setting: Option<&str>, variables: &[(&str, &str)]) -> Result<Proxies, String> {
        let env = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let setting = setting.map(SecretSource::of);
        Proxies::build(setting.as_ref(), &env)
    }

    fn before(proxies: &Proxies, uri: &'static str) -> Option<String> {
        proxies.before(&Uri::from_static(uri)).map(|proxy| format!("{}:{}", proxy.host, proxy.port))
    }

    #[test]
    fn variables_are_read_in_either_case_and_each_scheme_has_its_own() {
        let found = proxies(None, &[("https_proxy", "http://secure:1"), ("HTTP_PROXY", "plain:2")]).unwrap();
        assert_eq!(before(&found, "https://api.example/v1").as_deref(), Some("secure:1"));
        assert_eq!(before(&found, "http://api.example/v1").as_deref(), Some("plain:2"));
        let all = proxies(None, &[("ALL_PROXY", "https://any"), ("HTTPS_PROXY", "")]).unwrap();
        assert_eq!(before(&all, "https://api.example/v1").as_deref(), Some("any:443"));
        assert!(before(&proxies(None, &[]).unwrap(), "https://api.example/v1").is_none());
    }

    #[test]
    fn exceptions_go_without_and_so_does_this_machine() {
        let variables =
            [("ALL_PROXY", "http://p:1"), ("NO_PROXY", "corp.example, *.lab.example ,10.0.0.0/8")];
        let found = proxies(None, &variables).unwrap();
        for direct in [
            "https://corp.example/",
            "https://llm.corp.example/",
            "http://a.lab.example:8000/",
            "http://10.1.2.3/",
            "http://127.0.0.1:9/",
            "http://localhost/",
            "http://[::1]:1/",
        ] {
            assert_eq!(before(&found, direct), None, "{direct}");
        }
        for through in ["https://notcorp.example/", "http://11.1.2.3/", "https://corp.example.org/"] {
            assert!(before(&found, through).is_some(), "{through}");
        }
        let none = proxies(None, &[("ALL_PROXY", "http://p:1"), ("no_proxy", "*")]).unwrap();
        assert_eq!(before(&none, "https://api.example/"), None);
    }

    #[test]
    fn the_configuration_goes_before_the_environment() {
        let variables = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "corp.example")];
        assert_eq!(before(&proxies(Some("off"), &variables).unwrap(), "https://api.example/"), None);
        let own = proxies(Some("http://own:3"), &variables).unwrap();
        assert_eq!(before(&own, "https://api.example/").as_deref(), Some("own:3"));
        assert_eq!(before(&own, "https://corp.example/"), None);
    }

    #[test]
    fn an_address_that_can_t_be_used_is_told_without_being_quoted() {
        for wrong in
            ["socks5://me:hunter2@p:1", "http://me:hunter2@", "ftp://me:hunter2@p", "me:hunter2@p:x y"]
        {
            let told = proxies(None, &[("HTTPS_PROXY", wrong)]).err().unwrap();
            assert!(told.contains("HTTPS_PROXY") && told.contains("http://HOST:PORT"), "{told}");
            let own = SecretSource::Literal(Secret::new(wrong.to_owned()));
            let also = Proxy::named(&own, &|_| None).err().unwrap();
            let config = Proxies::build(Some(&own), &|_| None).err().unwrap();
            assert!(config.starts_with("proxy: "), "{config}");
            assert!(![told, also, config].iter().any(|words| words.contains("hunter2")));
        }
    }

    #[test]
    fn the_credentials_of_an_address_become_a_header_that_is_not_shown() {
        let proxy = Proxy::named(&SecretSource::of("http://me:p%40ss@p:1"), &|_| None).unwrap().unwrap();
        let header = proxy.authorization.as_ref().unwrap();
        assert_eq!(header.as_bytes(), b"Basic bWU6cEBzcw==");
        assert!(header.is_sensitive() && proxy.host == "p");
    }

    #[test]
    fn only_a_status_in_the_two_hundreds_opens_a_tunnel() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 No\r\n\r\n"), Some(407));
        assert_eq!((status(b"SSH-2.0\r\n\r\n"), status(b"HTTP/1.1")), (None, None));
    }
}
