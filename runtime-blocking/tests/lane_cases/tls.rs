//! A lane over TLS: to the server, through a tunnel, to the proxy, and both at once.
//!
//! The certificates in `tls/` are for localhost, 127.0.0.1 and server.example, good until 2126; the authority's
//! key was thrown away. `server-only.pem` is for server.example alone and `proxy-only.pem` for 127.0.0.1 alone, with
//! the same key and of another authority, `names-ca.pem`.

use super::{LONG, TAG, lane, zeros};
use crate::carrier::{Lane, ProxyChoice, Target, TlsChoice};
use crate::script::{Script, Visit, ours};
use posthole_protocol::Failure;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn file(name: &str) -> PathBuf {
    // Beside this file, whichever crate includes it.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../runtime-blocking/tests/lane_cases/tls")
        .join(name)
}

fn server_config(certificate: &str) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(file(certificate))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
    Arc::new(
        config
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap(),
    )
}

fn tls<S: Read + Write>(stream: S) -> BufReader<StreamOwned<ServerConnection, S>> {
    tls_as("server.pem", stream)
}

fn tls_as<S: Read + Write>(
    certificate: &str,
    stream: S,
) -> BufReader<StreamOwned<ServerConnection, S>> {
    BufReader::new(StreamOwned::new(
        ServerConnection::new(server_config(certificate)).unwrap(),
        stream,
    ))
}

/// A request's head and body; `None` at the end.
fn request(stream: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "))
        .map_or(0, |v| v.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Answers each request with its own body.
fn echo(stream: &mut BufReader<impl Read + Write>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some((head, body)) = request(stream) {
        let answer = ours(lines.len() as u64, &[b"\xf8", &body[..]].concat());
        stream.get_mut().write_all(&answer).unwrap();
        lines.push(head.lines().next().unwrap().to_owned());
    }
    lines
}

pub(crate) fn secure(url: &str, proxy: ProxyChoice, authority: &str) -> Lane {
    lane(Target::new(url, TAG, proxy, TlsChoice::CaFile(file(authority))).unwrap())
}

fn converse(lane: &mut Lane) {
    for (exchange, length) in [0, 10, 300_000, 900_000, 10].into_iter().enumerate() {
        let answer = lane
            .exchange(exchange as u64, &zeros(length), LONG, &mut || {})
            .unwrap();
        assert_eq!(answer[1..], vec![0; length][..]);
    }
}

#[test]
fn to_the_server() {
    let server = Script::new(|visit: Visit| echo(&mut tls(visit.stream)));
    let mut lane = secure(
        &server.url("/in").replace("http:", "https:"),
        ProxyChoice::None,
        "ca.pem",
    );
    converse(&mut lane);
    drop(lane);
    assert_eq!(
        server.join(),
        [vec!["POST /in?abababababababab HTTP/1.1"; 5]]
    );
}

#[test]
fn each_authority_of_a_file_is_believed() {
    let server = Script::new(|visit: Visit| echo(&mut tls(visit.stream)).len());
    let url = server.url("/").replace("http:", "https:");
    let pem = |name| std::fs::read_to_string(file(name)).unwrap();
    for (number, order) in [["ca.pem", "other-ca.pem"], ["other-ca.pem", "ca.pem"]]
        .into_iter()
        .enumerate()
    {
        let name = format!("authorities-{}-{number}.pem", std::process::id());
        let both = std::env::temp_dir().join(name);
        std::fs::write(&both, order.map(pem).concat()).unwrap();
        let target = Target::new(
            &url,
            TAG,
            ProxyChoice::None,
            TlsChoice::CaFile(both.clone()),
        );
        converse(&mut lane(target.unwrap()));
        std::fs::remove_file(both).unwrap();
    }
    assert_eq!(server.join(), [5, 5]);
}

#[test]
fn through_a_tunnel() {
    let proxy = Script::new(|mut visit: Visit| {
        let connect = visit.head().unwrap();
        visit.stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        (connect.line, echo(&mut tls(visit.stream)))
    });
    let mut lane = secure(
        "https://server.example/",
        ProxyChoice::Url(proxy.url("")),
        "ca.pem",
    );
    converse(&mut lane);
    drop(lane);
    let (connect, lines) = proxy.join().remove(0);
    assert_eq!(connect, "CONNECT server.example:443 HTTP/1.1");
    assert_eq!(lines, ["POST /?abababababababab HTTP/1.1"; 5]);
}

#[test]
fn to_the_proxy() {
    let proxy = Script::new(|visit: Visit| echo(&mut tls(visit.stream)));
    let named = proxy.url("").replace("http:", "https:");
    let mut lane = secure("http://server.example/", ProxyChoice::Url(named), "ca.pem");
    converse(&mut lane);
    drop(lane);
    assert_eq!(
        proxy.join(),
        [vec![
            "POST http://server.example/?abababababababab HTTP/1.1";
            5
        ]]
    );
}

#[test]
fn to_the_proxy_and_to_the_server() {
    let proxy = Script::new(|visit: Visit| {
        let mut outer = tls(visit.stream);
        let (connect, _) = request(&mut outer).unwrap();
        outer
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .unwrap();
        (
            connect.lines().next().unwrap().to_owned(),
            echo(&mut tls(outer.into_inner())),
        )
    });
    let named = proxy.url("").replace("http:", "https:");
    let mut lane = secure("https://server.example/", ProxyChoice::Url(named), "ca.pem");
    converse(&mut lane);
    drop(lane);
    let (connect, lines) = proxy.join().remove(0);
    assert_eq!(connect, "CONNECT server.example:443 HTTP/1.1");
    assert_eq!(lines.len(), 5);
}

/// With the server's name, or any other, a box in the middle could pose as the proxy.
#[test]
fn a_proxys_certificate_is_checked_against_the_proxys_name() {
    for (certificate, is_good) in [("proxy-only.pem", true), ("server-only.pem", false)] {
        let proxy = Script::new(move |visit: Visit| echo(&mut tls_as(certificate, visit.stream)));
        let named = proxy.url("").replace("http:", "https:");
        let choice = ProxyChoice::Url(named.clone());
        let mut lane = secure("http://server.example/", choice, "names-ca.pem");
        let result = lane.exchange(0, &zeros(1), LONG, &mut || {});
        drop(lane);
        let served = proxy.join().remove(0).len();
        if is_good {
            result.unwrap();
            assert_eq!(served, 1);
            continue;
        }
        let trouble = result.unwrap_err();
        assert_eq!(
            (trouble.failure, trouble.reached),
            (Failure::Connect, false)
        );
        assert!(
            trouble.says.contains("not valid for name") && trouble.says.contains(&named),
            "{}",
            trouble.says
        );
        assert_eq!(served, 0);
    }
}

#[test]
fn a_reused_connection_that_closes_is_replaced() {
    let server = Script::new(|visit: Visit| {
        let number = visit.number as u64;
        let mut stream = tls(visit.stream);
        let first = request(&mut stream);
        stream.get_mut().write_all(&ours(number, b"\xf8")).unwrap();
        // With TLS's own farewell, which is no answer.
        let second = request(&mut stream);
        stream.get_mut().conn.send_close_notify();
        let _ = stream.get_mut().flush();
        (first, second)
    });
    let mut lane = secure(
        &server.url("/").replace("http:", "https:"),
        ProxyChoice::None,
        "ca.pem",
    );
    lane.exchange(0, &zeros(1), LONG, &mut || {}).unwrap();
    lane.exchange(1, &zeros(2), LONG, &mut || {}).unwrap();
    drop(lane);
    let visits = server.join();
    assert_eq!(visits.len(), 2);
    assert_eq!(visits[0].1, visits[1].0, "the same bytes");
}

#[test]
fn an_unknown_authority_is_a_failed_connection() {
    let server = Script::new(|visit: Visit| assert!(echo(&mut tls(visit.stream)).is_empty()));
    let url = server.url("/").replace("http:", "https:");
    let trouble = secure(&url, ProxyChoice::None, "other-ca.pem")
        .exchange(0, &zeros(1), LONG, &mut || {})
        .unwrap_err();
    assert_eq!(
        (trouble.failure, trouble.reached),
        (Failure::Connect, false)
    );
    assert!(
        trouble.says.contains("UnknownIssuer") && trouble.says.contains(&url),
        "{}",
        trouble.says
    );
    server.join();
}

#[test]
fn a_server_without_tls_is_a_failed_connection() {
    let server = Script::new(|mut visit: Visit| {
        visit
            .stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap()
    });
    let url = server.url("/").replace("http:", "https:");
    let trouble = secure(&url, ProxyChoice::None, "ca.pem")
        .exchange(0, &zeros(1), LONG, &mut || {})
        .unwrap_err();
    assert_eq!(
        (trouble.failure, trouble.reached),
        (Failure::Connect, false),
        "{}",
        trouble.says
    );
    server.join();
}

#[test]
fn files_that_are_no_authority() {
    for (name, words) in [
        ("no-such-file", "no-such-file"),
        ("server.key", "there are none in it"),
    ] {
        let choice = TlsChoice::CaFile(file(name));
        let error = Target::new("https://h", TAG, ProxyChoice::None, choice).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn patience_ends_while_a_server_does_not_shake_hands() {
    let server = Script::new(|mut visit| {
        visit.stream.read_exact(&mut [0]).unwrap();
        // Its hello, and then the end.
        visit.stream.read_to_end(&mut Vec::new()).is_ok()
    });
    let url = server.url("/").replace("http:", "https:");
    let target = Target::new(&url, TAG, ProxyChoice::None, TlsChoice::Platform).unwrap();
    let begun = std::time::Instant::now();
    let patience = std::time::Duration::from_millis(300);
    let trouble = lane(target).exchange(0, &zeros(1), patience, &mut || {});
    let trouble = trouble.unwrap_err();
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(20),
        "{}",
        trouble.says
    );
    assert_eq!(server.join(), [true]);
}
