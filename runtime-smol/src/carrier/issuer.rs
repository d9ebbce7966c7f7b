//! Who has issued a server's certificate, whether it is believed or not: where that is not who should have, somebody
//! between reads what passes.

use super::dial::reach;
use super::target::Target;
use super::watch::{Pulse, Watch};
use crate::io::Alarm;
use posthole_protocol::http::Trouble;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Asks for the server's certificate and says who has issued it, as it is written there: organization and name. `None`
/// where no TLS is spoken with the server, or none that can be looked into. Nothing else is sent.
///
/// Cancel-safe: dropped, it closes its connection.
///
/// # Errors
/// If the server can't be reached, within `patience` for each step.
pub async fn issuer(mut target: Target, patience: Duration) -> Result<Option<String>, Trouble> {
    if !target.way.has_tls_to_server() || target.way.has_tls_to_proxy() {
        return Ok(None);
    }
    let issued = Arc::new(Issued::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| Trouble::no_tls(target.way.url(), &why))?
        .dangerous()
        .with_custom_certificate_verifier(issued.clone())
        .with_no_client_auth();
    target.tls = Some(Arc::new(config));
    let (pulse, mut alarm, mut progress) = (Arc::new(Pulse::default()), Alarm::never(), || ());
    let mut watch = Watch::new(&pulse, &mut alarm, patience, &mut progress);
    let reached = reach(&target, &mut watch).await;
    match (issued.0.get(), reached) {
        (Some(name), _) => Ok(Some(name.clone())),
        (None, Err(trouble)) => Err(trouble),
        (None, Ok(_)) => Ok(None),
    }
}

/// Believes nobody, and remembers who is said to have issued the certificate: the connection ends there.
#[derive(Default)]
struct Issued(OnceLock<String>);

/// Nobody is believed here: the certificate has been looked at.
fn seen_enough() -> Error {
    Error::General("seen enough".to_owned())
}

impl ServerCertVerifier for Issued {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) {
            let _ = self.0.set(names(certificate.issuer()));
        }
        Err(seen_enough())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(seen_enough())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(seen_enough())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Issued").field(&self.0).finish()
    }
}

/// organizationName and commonName (RFC 5280, appendix A.1), as DER has them: 2.5.4.10 and 2.5.4.3.
const WANTED: [[u8; 5]; 2] = [[6, 3, 0x55, 4, 10], [6, 3, 0x55, 4, 3]];

/// The organization and the name in a distinguished name; printable, at most 80 characters of each.
fn names(name: &[u8]) -> String {
    let find = |wanted: &[u8; 5]| {
        let at = name.windows(5).position(|window| window == wanted)?;
        // Tag, length, text; 127 bytes at most (the bound is 64).
        let [_, length, rest @ ..] = name.get(at + 5..)? else {
            return None;
        };
        let text = rest.get(..usize::from(*length))?;
        let text = String::from_utf8_lossy(text);
        Some(text.chars().filter(|c| !c.is_control()).take(80).collect())
    };
    let mut found: Vec<String> = WANTED.iter().filter_map(find).collect();
    found.dedup();
    found.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_rubbish_is_none() {
        let mut name = vec![0x31, 9, 0x30, 7, 6, 3, 0x55, 4, 6, 0x13, 2, b'X', b'Y'];
        name.extend_from_slice(&[6, 3, 0x55, 4, 10, 0x0c, 4]);
        name.extend_from_slice(b"ACME");
        name.extend_from_slice(&[6, 3, 0x55, 4, 3, 0x13, 8]);
        name.extend_from_slice(b"Proxy\x1b[1");
        assert_eq!(names(&name), "ACME, Proxy[1");
        for end in 0..name.len() {
            let _ = names(&name[..end]);
        }
        assert_eq!(names(&[6, 3, 0x55, 4, 3, 0x13, 200, 1]), "");
    }
}
