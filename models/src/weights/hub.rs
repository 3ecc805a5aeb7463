//! Plain downloads from a model hub: `{base}/{repository}/resolve/{revision}/{file}`.

use super::error::SourceFailure;
use super::folder::Folder;
use super::progress::{Progress, Running};
use super::{PullOptions, store};
use crate::registry::FileSpec;
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// The hub asked when neither the options nor `HF_ENDPOINT` name another.
pub const HUB: &str = "https://huggingface.co";

/// A model's place at a hub.
#[derive(Clone, Copy)]
pub(super) struct Repository {
    /// `owner/name`.
    pub(super) name: &'static str,
    /// A branch or a commit.
    pub(super) revision: &'static str,
}

/// A hub and how patient we are with it.
pub(super) struct Hub {
    base: String,
    shown: String,
    agent: Agent,
    stall: Duration,
}

impl Hub {
    pub(super) fn new(options: &PullOptions) -> Self {
        let variable = || std::env::var("HF_ENDPOINT").ok().filter(|value| !value.is_empty());
        let base = options.hub.clone().or_else(variable).unwrap_or_else(|| HUB.to_owned());
        let base = base.trim_end_matches('/').to_owned();
        let config = Agent::config_builder()
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_send_request(Some(options.stall_timeout))
            .timeout_recv_response(Some(options.stall_timeout))
            .timeout_per_read(Some(options.stall_timeout))
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots()).build());
        let shown = without_credentials(&base);
        Self { base, shown, agent: config.build().new_agent(), stall: options.stall_timeout }
    }

    /// The hub's address, fit for a log.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Fetches the missing files in turn and takes each that arrived off the list. The first failure ends it: a hub
    /// that hangs is not waited for a second time.
    pub(super) fn fetch(
        &self,
        repository: Repository,
        missing: &mut Vec<&FileSpec>,
        folder: &Folder,
        progress: &dyn Progress,
    ) -> Result<(), SourceFailure> {
        while let Some(file) = missing.first() {
            self.fetch_file(repository, file, folder, progress).map_err(|reason| SourceFailure {
                origin: self.shown.clone(),
                file: file.name.to_owned(),
                reason,
            })?;
            missing.remove(0);
        }
        Ok(())
    }

    fn fetch_file(
        &self,
        Repository { name, revision }: Repository,
        file: &FileSpec,
        folder: &Folder,
        progress: &dyn Progress,
    ) -> Result<(), String> {
        let url = format!("{}/{name}/resolve/{revision}/{}", self.base, file.name);
        let answer = self.agent.get(&url).call().map_err(|error| said(&error))?;
        let total = file.bytes.or_else(|| answer.body().content_length());
        let running = Running::start(progress, file.name, total);
        let source = format!("{}/{name}@{revision}", self.shown);
        let mut body = Paced::new(answer.into_body().into_reader(), self.stall, Instant::now);
        store::write(&folder.path, file, &source, &mut body, &running)
    }
}

/// What went wrong in words that hold no address: a mirror's address may hold a password.
fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(status) => format!("answered with status {status}"),
        ureq::Error::Timeout(step) => format!("no answer in time ({step})"),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            "its address is malformed; expected http:// or https:// and a host".to_owned()
        }
        other => other.to_string(),
    }
}

/// The address without `user:password@`.
fn without_credentials(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.rsplit('@').next().unwrap_or_default().to_owned();
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The certificate authorities to trust: those of the file in `SSL_CERT_FILE`, as OpenSSL has it (a company's own
/// proxy needs that), else Mozilla's.
fn roots() -> RootCerts {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return RootCerts::WebPki;
    };
    let certificates: Vec<Certificate<'static>> = std::fs::read(path)
        .map(|pem| {
            parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect()
        })
        .unwrap_or_default();
    if certificates.is_empty() {
        tracing::warn!("SSL_CERT_FILE names no readable certificates; using the built-in ones");
        return RootCerts::WebPki;
    }
    RootCerts::from(certificates)
}

/// A reader that gives up on a source which trickles: each window of the stall timeout must bring [`SLOWEST`].
struct Paced<R, C> {
    inner: R,
    window: Duration,
    clock: C,
    since: Instant,
    bytes: u64,
}

/// Bytes per second below which a download counts as halted.
const SLOWEST: u64 = 8 << 10;

impl<R: Read, C: FnMut() -> Instant> Paced<R, C> {
    fn new(inner: R, window: Duration, mut clock: C) -> Self {
        let since = clock();
        Self { inner, window, clock, since, bytes: 0 }
    }
}

impl<R: Read, C: FnMut() -> Instant> Read for Paced<R, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes += n as u64;
        let now = (self.clock)();
        if n > 0 && now.duration_since(self.since) > self.window {
            if (self.bytes as f64) < SLOWEST as f64 * self.window.as_secs_f64() {
                let seconds = self.window.as_secs_f64();
                let message = format!("only {} bytes in {seconds:.0} seconds", self.bytes);
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            self.since = now;
            self.bytes = 0;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `content` in steps of `step` bytes with `pause` on the clock between them.
    fn read_at_pace(content: usize, step: usize, pause: Duration) -> io::Result<usize> {
        struct Steps(usize, usize);
        impl Read for Steps {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.0.min(self.1).min(buffer.len());
                self.0 -= n;
                Ok(n)
            }
        }
        let mut now = Instant::now();
        let clock = || {
            now += pause;
            now
        };
        let mut paced = Paced::new(Steps(content, step), Duration::from_secs(15), clock);
        io::copy(&mut paced, &mut io::sink()).map(|n| n as usize)
    }

    #[test]
    fn a_trickle_is_given_up() {
        let error = read_at_pace(1000, 1, Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_slow_but_steady_source_is_read_to_its_end() {
        assert_eq!(read_at_pace(1_000_000, 20_000, Duration::from_secs(1)).unwrap(), 1_000_000);
    }

    #[test]
    fn a_small_file_may_come_slowly() {
        assert_eq!(read_at_pace(100, 50, Duration::from_secs(5)).unwrap(), 100);
    }

    #[test]
    fn a_password_in_the_address_is_never_shown() {
        for (address, shown) in [
            ("https://user:secret@mirror.example/hub", "https://mirror.example/hub"),
            ("https://mirror.example/a@b", "https://mirror.example/a@b"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("user:secret@mirror", "mirror"),
        ] {
            let hub = Hub::new(&PullOptions { hub: Some(address.to_owned()), ..PullOptions::default() });
            assert_eq!(hub.shown(), shown);
        }
        let malformed = said(&ureq::Error::BadUri("https://user:secret@".to_owned()));
        assert!(!malformed.contains("secret"));
    }
}
