//! Where a lane goes, and what it says there: to the server, or through a proxy.

use super::{LONG, TAG, chain, direct, lane, noise, through};
use crate::carrier::{Plain, ProxyChoice, Target, TlsChoice};
use crate::script::{Script, answer, ours};
use posthole_protocol::Failure;
use std::io::Write;
use std::process::Command;

#[test]
fn the_request_on_the_wire() {
    let script = Script::new(|mut visit| {
        let request = visit.request().unwrap();
        visit.stream.write_all(&ours(7, b"\xf8hello")).unwrap();
        assert!(visit.request().is_none());
        vec![request]
    });
    let mut lane = lane(
        direct(&script.url("/in?key=1"))
            .header("X-Extra", "yes")
            .unwrap(),
    );
    let body = noise(1000);
    let answer = lane.exchange(7, &chain(&body), LONG, &mut || {}).unwrap();
    assert_eq!(answer, &b"\xf8hello"[..]);
    drop(lane);
    let request = script.join().remove(0).remove(0);
    assert_eq!(request.line, "POST /in?key=1&abababababababab HTTP/1.1");
    assert_eq!(request.body, body);
    assert_eq!(request.header("host"), Some(script.authority().as_str()));
    assert_eq!(
        request.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(
        request.header("cache-control"),
        Some("no-store, no-transform")
    );
    assert_eq!(request.header("content-length"), Some("1000"));
    assert_eq!(request.header("x-extra"), Some("yes"));
    for absent in [
        "expect",
        "transfer-encoding",
        "cookie",
        "connection",
        "authorization",
        "proxy-authorization",
    ] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
}

#[test]
fn through_a_proxy_in_absolute_form() {
    let proxy = Script::new(|mut visit| {
        let first = visit.request().unwrap();
        visit.stream.write_all(&ours(1, b"\xf8")).unwrap();
        let second = visit.request().unwrap();
        visit.stream.write_all(&ours(2, b"\xf8")).unwrap();
        (first, second)
    });
    let named = format!("http://user:p%40ss@{}", proxy.authority());
    let mut lane = lane(through("http://server.example:8080/in", &named));
    lane.exchange(1, &chain(b"a"), LONG, &mut || {}).unwrap();
    lane.exchange(2, &chain(&noise(300_000)), LONG, &mut || {})
        .unwrap();
    let (first, second) = proxy.join().remove(0);
    for request in [&first, &second] {
        assert_eq!(
            request.line,
            "POST http://server.example:8080/in?abababababababab HTTP/1.1"
        );
        assert_eq!(request.header("host"), Some("server.example:8080"));
        assert_eq!(
            request.header("proxy-authorization"),
            Some("Basic dXNlcjpwQHNz")
        );
        assert_eq!(request.header("authorization"), None);
    }
    assert_eq!((first.body, second.body), (b"a".to_vec(), noise(300_000)));
}

#[test]
fn through_a_proxy_by_connect() {
    let proxy = Script::new(|mut visit| {
        let connect = visit.head().unwrap();
        visit
            .stream
            .write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
            .unwrap();
        let request = visit.request().unwrap();
        visit.stream.write_all(&ours(1, b"\xf8")).unwrap();
        (connect, request)
    });
    let named = format!("http://user:pass@{}", proxy.authority());
    let mut lane =
        lane(through("http://other:word@[2001:db8::1]/in", &named).plain(Plain::Connect));
    lane.exchange(1, &chain(b"a"), LONG, &mut || {}).unwrap();
    let (connect, request) = proxy.join().remove(0);
    assert_eq!(connect.line, "CONNECT [2001:db8::1]:80 HTTP/1.1");
    assert_eq!(connect.header("host"), Some("[2001:db8::1]:80"));
    assert_eq!(
        connect.header("proxy-authorization"),
        Some("Basic dXNlcjpwYXNz")
    );
    assert_eq!(connect.header("authorization"), None);
    assert_eq!(request.line, "POST /in?abababababababab HTTP/1.1");
    assert_eq!(request.header("host"), Some("[2001:db8::1]"));
    assert_eq!(request.header("proxy-authorization"), None);
    assert_eq!(
        request.header("authorization"),
        Some("Basic b3RoZXI6d29yZA==")
    );
}

#[test]
fn a_refused_tunnel_says_who_refused_it() {
    for (status, failure, words) in [
        (
            "403 Forbidden",
            Failure::Refused { status: 403 },
            "squid/5.7",
        ),
        (
            "407 Proxy Authentication Required",
            Failure::Credentials,
            "name and password",
        ),
        (
            "502 Bad Gateway",
            Failure::Middlebox { status: 502 },
            "no answer from the server",
        ),
    ] {
        let proxy = Script::new(move |mut visit| {
            visit.head().unwrap();
            visit
                .stream
                .write_all(&answer(status, "Server: squid/5.7\r\n", b"<html>no"))
                .unwrap();
        });
        let named = format!("http://user:secret@{}", proxy.authority());
        let mut lane = lane(through("http://server.example/", &named).plain(Plain::Connect));
        let trouble = lane
            .exchange(1, &chain(b"a"), LONG, &mut || {})
            .unwrap_err();
        assert_eq!((trouble.failure, trouble.reached), (failure, false));
        assert!(
            trouble.says.contains(words) && trouble.says.contains(&proxy.authority()),
            "{}",
            trouble.says
        );
        assert!(!trouble.says.contains("secret"), "{}", trouble.says);
    }
}

#[test]
fn a_proxy_that_hangs_up_has_made_no_tunnel() {
    for begun in [
        &b""[..],
        b"HTTP/1.1 200 Connection established\r\nVia: x\r\n",
    ] {
        let proxy = Script::new(move |mut visit| {
            visit.head().unwrap();
            visit.stream.write_all(begun).unwrap();
        });
        let proxied = through("http://server.example/", &proxy.url(""));
        let trouble = lane(proxied.plain(Plain::Connect))
            .exchange(1, &chain(b"a"), LONG, &mut || {})
            .unwrap_err();
        assert_eq!(
            (trouble.failure, trouble.reached),
            (Failure::Connect, false)
        );
        assert!(trouble.says.contains("hung up"), "{}", trouble.says);
        assert_eq!(proxy.join().len(), 1);
    }
}

/// Whoever spoke there, it was no answer to the request that had yet to come.
#[test]
fn bytes_behind_the_tunnels_answer_are_not_lost() {
    let proxy = Script::new(|mut visit| {
        visit.head().unwrap();
        visit
            .stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nmore")
            .unwrap();
        if visit.request().is_some() {
            visit.stream.write_all(&ours(1, b"\xf8")).unwrap();
        }
    });
    let proxied = through("http://server.example/", &proxy.url(""));
    let trouble = lane(proxied.plain(Plain::Connect))
        .exchange(1, &chain(b"a"), LONG, &mut || {})
        .unwrap_err();
    // Seen at once, or where the answer ought to begin.
    let says = ["it goes on after its answer", "not HTTP"];
    assert!(
        says.iter().any(|words| trouble.says.contains(words)),
        "{}",
        trouble.says
    );
    assert_eq!(proxy.join().len(), 1);
}

#[test]
fn what_a_target_says_of_itself() {
    let target = through("http://u:secret@h/p?key=secret", "http://v:secret@p:3128");
    assert_eq!(target.describe(), "http://h/p through proxy http://p:3128");
    assert!(!format!("{target:?}").contains("secret"));
    let with_key = target.header("X-Key", "secret").unwrap();
    let lane = format!("{:?}", lane(with_key));
    assert!(
        lane.contains("http://p:3128") && !lane.contains("secret"),
        "{lane}"
    );
    for (url, proxy, words) in [
        (
            "ftp://h",
            ProxyChoice::None,
            "the server's URL can't be used",
        ),
        (
            "http://h",
            ProxyChoice::Url("socks5://p".into()),
            "socks5:// proxies",
        ),
    ] {
        let error = Target::new(url, TAG, proxy, TlsChoice::Platform).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    for header in ["Content-Length", "Expect", "not a name"] {
        assert!(direct("http://h").header(header, "1").is_err());
    }
    assert!(direct("http://h").header("X", "1\r\nY: 2").is_err());
}

/// Set in the process that has a proxy in its environment.
const CHILD: &str = "POSTHOLE_TEST_ENVIRONMENT";

/// What a process has in its environment is another process's here: nothing may change its own while it runs.
#[test]
fn a_proxy_that_the_environment_names() {
    if std::env::var_os(CHILD).is_some() {
        let url = "http://server.example/in";
        let target = Target::new(url, TAG, ProxyChoice::FromEnvironment, TlsChoice::Platform);
        let mut lane = lane(target.unwrap());
        lane.exchange(1, &chain(b"a"), LONG, &mut || {}).unwrap();
        return;
    }
    let proxy = Script::new(|mut visit| {
        let request = visit.request().unwrap();
        visit.stream.write_all(&ours(1, b"\xf8")).unwrap();
        request.line
    });
    let name = "lane_cases::way::a_proxy_that_the_environment_names";
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name]).env(CHILD, "1");
    for unset in ["no_proxy", "NO_PROXY"] {
        child.env_remove(unset);
    }
    child.env("http_proxy", format!("http://{}", proxy.authority()));
    let out = child.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("1 passed"), "{said}");
    let line = "POST http://server.example/in?abababababababab HTTP/1.1";
    assert_eq!(proxy.join(), [line]);
}
