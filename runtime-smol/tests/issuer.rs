//! Who has issued a server's certificate, asked without believing it.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "tls")]

use posthole_protocol::http::Tag;
use posthole_smol::carrier::{ProxyChoice, Target, TlsChoice, issuer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

fn target(url: &str) -> Target {
    let tag = Tag::from_bytes([7; 8]);
    Target::new(url, tag, ProxyChoice::None, TlsChoice::Platform).unwrap()
}

fn ask(url: &str) -> Result<Option<String>, String> {
    let asked = issuer(target(url), Duration::from_secs(10));
    smol::block_on(asked).map_err(|trouble| trouble.says)
}

/// A TLS server whose authority no platform knows.
fn server() -> String {
    let file = |name: &str| {
        let folder = "../runtime-blocking/tests/lane_cases/tls";
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(folder)
            .join(name)
    };
    let chain = CertificateDer::pem_file_iter(file("server.pem")).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut session = ServerConnection::new(config.clone()).unwrap();
            // The client hangs up when it has seen enough.
            let _ = session.complete_io(&mut stream.unwrap());
        }
    });
    url
}

#[test]
fn an_authority_that_nobody_believes_is_named() {
    let name = ask(&server()).unwrap().unwrap();
    assert!(name.contains("posthole"), "{name}");
}

/// Its proxy's would be another's.
#[test]
fn behind_a_proxy_that_speaks_tls_nobody_is_asked() {
    let (tag, proxy) = (Tag::from_bytes([7; 8]), ProxyChoice::Url(server()));
    let target = Target::new("https://server.example/", tag, proxy, TlsChoice::Platform);
    let asked = issuer(target.unwrap(), Duration::from_secs(10));
    let asked = smol::block_on(asked).map_err(|trouble| trouble.says);
    assert_eq!(asked, Ok(None));
}

#[test]
fn without_tls_there_is_none_and_without_a_server_an_error() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    assert_eq!(ask(&format!("http://{addr}/")), Ok(None));
    let why = ask(&format!("https://{addr}/")).unwrap_err();
    assert!(why.contains("refused"), "{why}");
}
