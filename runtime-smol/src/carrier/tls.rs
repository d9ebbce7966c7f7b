//! TLS with a proxy or server.

use super::socket::{Stream, TlsStream};
use futures_rustls::TlsConnector;
use posthole_protocol::http::WayError as ConnectError;
use posthole_runtime::TlsChoice;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Reads whom to believe.
pub(super) fn config(choice: TlsChoice) -> Result<Arc<ClientConfig>, ConnectError> {
    let wrong = |why: rustls::Error| ConnectError::Tls(format!("no TLS: {why}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong)?;
    let builder = match choice {
        TlsChoice::Platform => builder.with_platform_verifier().map_err(wrong)?,
        TlsChoice::CaFile(path) => builder.with_root_certificates(read(&path)?),
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

fn read(path: &Path) -> Result<RootCertStore, ConnectError> {
    let wrong = |why: &dyn std::fmt::Display| {
        ConnectError::Tls(format!("no certificates from {}: {why}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))? {
        let certificate = certificate.map_err(|e| wrong(&e))?;
        roots.add(certificate).map_err(|e| wrong(&e))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"there are none in it"));
    }
    Ok(roots)
}

/// Shakes hands over `below`.
pub(super) async fn connect(
    config: &Arc<ClientConfig>,
    host: &str,
    below: Stream,
) -> io::Result<TlsStream> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(config.clone())
        .connect(name, below)
        .await
}
