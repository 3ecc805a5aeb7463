//! Whom we trust: the certificate authorities by which providers prove who they are.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Http, Roots, TlsSection};

/// What stands behind HTTP/1.1 and HTTP/2 in ALPN.
pub(super) const H2: &[u8] = b"h2";
const H1: &[u8] = b"http/1.1";

/// The authorities that the section `tls` names.
///
/// # Errors
/// A sentence that names the field.
pub(super) fn roots(section: &TlsSection) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match section.roots {
        Roots::Bundled => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Roots::System => {
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 {
                return Err("tls.roots: the system has no certificate authorities".to_owned());
            }
        }
        Roots::None if section.ca_file.is_none() => {
            return Err("tls.roots: with 'none', name whom to trust in 'ca_file'".to_owned());
        }
        Roots::None => {}
    }
    if let Some(file) = &section.ca_file {
        add(&mut roots, file).map_err(|problem| format!("tls.ca_file: {problem}"))?;
    }
    Ok(roots)
}

/// The authorities of one file alone.
///
/// # Errors
/// A sentence about the file.
pub(super) fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    add(&mut roots, file)?;
    Ok(roots)
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let path = file.display();
    let unreadable = |error: pem::Error| match error {
        pem::Error::Io(error) => format!("the file {path} can't be read: {error}"),
        other => format!("the file {path} is no PEM: {other}"),
    };
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
        count += 1;
        roots
            .add(certificate.map_err(unreadable)?)
            .map_err(|error| format!("the certificate number {count} in {path} can't be used: {error}"))?;
    }
    if count == 0 {
        return Err(format!(
            "the file {path} holds no certificate: expected PEM with -----BEGIN CERTIFICATE-----"
        ));
    }
    Ok(())
}

/// How to speak TLS with somebody whom these vouch for.
///
/// # Errors
/// What rustls says; it knows its own versions of TLS.
pub(super) fn client(roots: Arc<RootCertStore>, http: Http) -> Result<Arc<ClientConfig>, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match http {
        Http::Auto => vec![H2.to_vec(), H1.to_vec()],
        Http::One => vec![H1.to_vec()],
        Http::Two => vec![H2.to_vec()],
    };
    Ok(Arc::new(config))
}
