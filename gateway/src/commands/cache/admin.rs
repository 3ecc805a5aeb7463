//! A client of a gateway's admin address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Longest report or error that is read.
const MOST_BYTES: usize = 16 << 20;

/// A gateway's admin address, and the key for it.
pub(super) struct Admin {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

/// Why the gateway did not do it.
#[derive(Debug)]
pub(super) enum Refused {
    /// The body is larger than it takes.
    TooLarge,
    /// Anything else, in words.
    Otherwise(String),
}

impl Admin {
    /// The gateway at this URL, else the one that a configuration has listen at `configured`.
    pub(super) fn new(url: Option<&str>, configured: SocketAddr, key: Option<&str>) -> Result<Self, String> {
        let base = match url {
            Some(url) => base_of(url)?,
            None => format!("http://{}", reachable(configured)),
        };
        let authorization = match key {
            Some(key) => {
                let wrong =
                    |_| "--key: expected a virtual key of the gateway, without line breaks".to_owned();
                let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(wrong)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), base, authorization })
    }

    /// Asks for an answer of any length, which is given as soon as its head is there.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Refused> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|e| self.failed(&e.to_string()))?;
        let response = self.client.request(request).await.map_err(|e| {
            let cause = std::error::Error::source(&e).map_or_else(String::new, |cause| format!(": {cause}"));
            self.failed(&format!("{e}{cause}"))
        })?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::PAYLOAD_TOO_LARGE => Err(Refused::TooLarge),
            status => {
                let said = read(response).await.unwrap_or_default();
                let said = said.pointer("/error/message").and_then(Value::as_str).map(str::to_owned);
                let hint =
                    if status == StatusCode::UNAUTHORIZED { " (--key or SLUICE_ADMIN_KEY)" } else { "" };
                let said = said.unwrap_or_else(|| "it is no gateway that knows this command".to_owned());
                Err(self.failed(&format!("{said}{hint}, status {}", status.as_u16())))
            }
        }
    }

    /// Posts a body and reads the JSON that comes back.
    pub(super) async fn post(&self, path: &str, body: Bytes) -> Result<Value, Refused> {
        let response = self.open(Method::POST, path, body).await?;
        read(response).await.ok_or_else(|| self.failed("its answer broke off or is no JSON"))
    }

    fn failed(&self, problem: &str) -> Refused {
        Refused::Otherwise(format!("the gateway's admin address {}: {problem}", self.base))
    }
}

async fn read(response: Response<Incoming>) -> Option<Value> {
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}

/// The part of a URL that stands before the path of an endpoint.
fn base_of(url: &str) -> Result<String, String> {
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let good = whole.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            // A name or password in it would be shown by errors.
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    let expected = || "--admin: expected a URL such as http://127.0.0.1:8081".to_owned();
    good.then(|| whole.trim_end_matches('/').to_owned()).ok_or_else(expected)
}

/// Who listens everywhere is to be reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_host_and_port() {
        for (url, base) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("https://gateway.example/sluice/", "https://gateway.example/sluice"),
            ("localhost:8081", "http://localhost:8081"),
        ] {
            assert_eq!(base_of(url).as_deref(), Ok(base));
        }
        for url in ["", "ftp://x", "http://", "http://u:hunter2@x:1", "http://x:1?key=hunter2", "a b"] {
            let error = base_of(url).unwrap_err();
            assert!(error.starts_with("--admin: expected") && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_this_machine() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reached("[::]:1"), "[::1]:1");
        assert_eq!(reached("10.0.0.5:1"), "10.0.0.5:1");
    }
}
