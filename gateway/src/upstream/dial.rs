//! One connection: name, TCP, proxy and TLS within one time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::dns::Name;
use super::proxy::Proxy;
use super::tls::H2;
use crate::config::Http;

/// Head start of an address over the next (RFC 8305 recommends it).
const HEAD_START: Duration = Duration::from_millis(250);

/// Bytes in and out.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// How to get to an address.
pub(super) struct Route {
    /// The host, without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// How to speak TLS; none for plain HTTP.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Which versions of HTTP may be spoken.
    pub(super) http: Http,
    /// What stands before it, and how to speak TLS with that.
    pub(super) proxy: Option<(Arc<Proxy>, Arc<ClientConfig>)>,
    /// The name that is looked up, the proxy's if there is one; none if it is an address.
    pub(super) name: Option<Arc<Name>>,
}

/// A connection on which HTTP may begin.
pub(super) struct Dialled {
    /// The bytes.
    pub(super) io: Box<dyn Io>,
    /// Who is at the other end, or the proxy.
    pub(super) address: IpAddr,
    /// Whether HTTP/2 is spoken.
    pub(super) http2: bool,
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) struct Undialled {
    /// In one word, for metrics.
    pub(super) outcome: &'static str,
    /// In words.
    pub(super) words: String,
}

fn undialled<E: ToString>(outcome: &'static str) -> impl Fn(E) -> Undialled {
    move |error| Undialled { outcome, words: error.to_string() }
}

impl Route {
    /// Whether whole addresses are sent to a proxy, which sends them on. Everything else goes through a tunnel.
    pub(super) fn forwards(&self) -> bool {
        self.proxy.is_some() && self.tls.is_none() && self.http != Http::Two
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Undialled`], without credentials of a proxy.
    pub(super) async fn dial(&self) -> Result<Dialled, Undialled> {
        let (host, port) = match &self.proxy {
            Some((proxy, _)) => (proxy.host.as_str(), proxy.port),
            None => (self.host.as_str(), self.port),
        };
        let addresses = match &self.name {
            Some(name) => name.addresses().await.map_err(|words| Undialled {
                outcome: "dns",
                words: format!("the name {host} could not be looked up: {words}"),
            })?,
            None => vec![host.parse().map_err(undialled::<std::net::AddrParseError>("dns"))?],
        };
        let tcp = race(&addresses, port).await.map_err(undialled::<io::Error>("refused"))?;
        let address = tcp.peer_addr().map_err(undialled::<io::Error>("refused"))?.ip();
        // Only a matter of speed.
        drop(tcp.set_nodelay(true));
        let mut io: Box<dyn Io> = Box::new(tcp);
        if let Some((proxy, tls)) = &self.proxy {
            if proxy.tls {
                (io, _) = speak_tls(io, tls, &proxy.host).await.map_err(undialled::<String>("proxy"))?;
            }
            if !self.forwards() {
                let to = format!("{}:{}", bracketed(&self.host), self.port);
                proxy.tunnel(&mut io, &to).await.map_err(undialled::<String>("proxy"))?;
            }
        }
        let Some(tls) = &self.tls else {
            return Ok(Dialled { io, address, http2: self.http == Http::Two });
        };
        let (io, alpn) = speak_tls(io, tls, &self.host).await.map_err(undialled::<String>("tls"))?;
        let http2 = alpn.as_deref() == Some(H2);
        if self.http == Http::Two && !http2 {
            let words = "the server does not speak HTTP/2 (http: 2)".to_owned();
            return Err(Undialled { outcome: "protocol", words });
        }
        Ok(Dialled { io, address, http2 })
    }
}

/// An address as it stands in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

type Spoken = (Box<dyn Io>, Option<Vec<u8>>);

async fn speak_tls(io: Box<dyn Io>, config: &Arc<ClientConfig>, host: &str) -> Result<Spoken, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let speaking = TlsConnector::from(Arc::clone(config)).connect(name, io);
    let stream = speaking.await.map_err(|error| format!("TLS: {error}"))?;
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    Ok((Box::new(stream), alpn))
}

/// The first of several addresses that connects: each has a head start over the next, unless it fails before.
async fn race(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut left = alternating(addresses).into_iter();
    let mut trying = FuturesUnordered::new();
    let mut first = None;
    loop {
        if let Some(address) = left.next() {
            trying.push(TcpStream::connect(SocketAddr::new(address, port)));
        }
        let more = left.len() > 0;
        tokio::select! {
            tried = trying.next() => match tried {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => {
                    first.get_or_insert(error);
                }
                None => return Err(first.unwrap_or_else(|| io::Error::other("the name has no address"))),
            },
            () = tokio::time::sleep(HEAD_START), if more => {}
        }
    }
}

/// The addresses with their families in turn, beginning with the one that the resolver put first.
fn alternating(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut one, mut other): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    one.reverse();
    other.reverse();
    let mut turn = Vec::with_capacity(addresses.len());
    while let Some(address) = one.pop() {
        turn.push(address);
        turn.extend(other.pop());
    }
    other.reverse();
    turn.extend(other);
    turn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_in_the_resolver_s_order() {
        let all: Vec<IpAddr> = ["::1", "::2", "1.1.1.1", "::3", "1.1.1.2"].map(|a| a.parse().unwrap()).into();
        let turn: Vec<String> = alternating(&all).iter().map(ToString::to_string).collect();
        assert_eq!(turn, ["::1", "1.1.1.1", "::2", "1.1.1.2", "::3"]);
        let more: Vec<IpAddr> = ["1.1.1.1", "::1", "::2", "::3"].map(|a| a.parse().unwrap()).into();
        let turn: Vec<String> = alternating(&more).iter().map(ToString::to_string).collect();
        assert_eq!(turn, ["1.1.1.1", "::1", "::2", "::3"]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_over_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = ["127.0.0.1", "127.0.0.3", "127.0.0.2"].map(|a| a.parse().unwrap());
        let stream = race(&addresses, port).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip(), addresses[2]);
        drop(listener);
        assert!(race(&addresses, port).await.is_err() && race(&[], port).await.is_err());
    }
}
