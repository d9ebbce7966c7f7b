//! Through a real squid, as Debian configures it.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod traffic;

use posthole_blocking::connect;
use real::namespace::Namespace;
use real::{nginx, squid};
use std::env;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use traffic::{MIB, both_ways, bounded, echo, everything, listener, options, pair, receive, send};

#[test]
fn all_that_an_application_does() {
    bounded(|| {
        let Some(squid) = squid::start() else { return };
        let (listener, addr) = listener();
        let pair = pair(listener, addr, Some(&squid.url()));
        everything(&pair);
        pair.close();
        assert!(
            squid
                .log("access.log")
                .contains(&format!("POST http://{addr}/"))
        );
    });
}

#[test]
fn through_squid_and_then_nginx() {
    bounded(|| {
        let (listener, addr) = listener();
        let (Some(squid), Some(nginx)) = (squid::start(), nginx::start(addr)) else {
            return;
        };
        let pair = pair(listener, nginx.addr(), Some(&squid.url()));
        everything(&pair);
        pair.close();
    });
}

/// S8: the path may break at any time; the application never learns of it.
#[test]
fn killed_in_mid_transfer_and_restarted_two_seconds_later() {
    const LENGTH: usize = 16 * MIB;
    bounded(|| {
        let Some(mut squid) = squid::start() else {
            return;
        };
        let (listener, addr) = listener();
        let pair = pair(listener, addr, Some(&squid.url()));
        let (near, far) = pair.stream();
        thread::scope(|scope| {
            // Both readers stop after a quarter until squid is dead: flow control keeps the rest from being sent.
            let (reached, quarter) = channel();
            let go_on: Vec<_> = [(&near, 1), (&far, 0)]
                .map(|(from, seed)| {
                    let (go, killed) = channel::<()>();
                    let reached = reached.clone();
                    scope.spawn(move || {
                        let mut is_stopped = false;
                        receive(from, seed, LENGTH, |so_far| {
                            if so_far >= LENGTH / 4 && !is_stopped {
                                is_stopped = true;
                                reached.send(()).unwrap();
                                killed.recv().unwrap();
                            }
                        });
                    });
                    go
                })
                .into();
            scope.spawn(|| send(&near, 0, LENGTH));
            scope.spawn(|| send(&far, 1, LENGTH));
            for _ in 0..2 {
                quarter.recv().unwrap();
            }
            squid.kill();
            for go in go_on {
                go.send(()).unwrap();
            }
            thread::sleep(Duration::from_secs(2));
            squid.restart();
        });
        assert!(pair.client.stats().lost > 0);
        pair.close();
    });
}

#[test]
fn credentials_in_the_proxy_url() {
    bounded(|| {
        let Some(squid) = squid::start_with_passwords() else {
            return;
        };
        let (listener, addr) = listener();
        let proxy = format!("http://user:open%20sesame@{}", squid.addr());
        let pair = pair(listener, addr, Some(&proxy));
        both_ways(&pair, 3, MIB);
        pair.close();
    });
}

#[test]
fn a_proxy_that_asks_for_credentials_is_named() {
    bounded(|| {
        let Some(squid) = squid::start_with_passwords() else {
            return;
        };
        let (listener, addr) = listener();
        for (given, credentials) in [("none", ""), ("wrong", "user:close%20sesame@")] {
            let proxy = format!("http://{credentials}{}", squid.addr());
            let options = options(Some(&proxy)).connect_timeout(Duration::from_secs(3));
            let error = connect(&format!("http://{addr}/"), options).unwrap_err();
            let text = error.to_string();
            eprintln!("{given}: {text}");
            assert!(text.contains(&squid.addr().to_string()), "{text}");
            assert!(
                text.contains("407") || text.contains("credentials"),
                "{text}"
            );
            assert!(!text.contains("sesame"), "{text}");
        }
        assert_eq!(listener.sessions(), 0);
    });
}

/// The client's process runs in a network of its own, which reaches squid and nothing else: this test, run again there.
#[test]
fn a_client_that_reaches_only_the_proxy() {
    const SERVER: &str = "POSTHOLE_TEST_SERVER";
    const PROXY: &str = "POSTHOLE_TEST_PROXY";
    if let (Ok(server), Ok(proxy)) = (env::var(SERVER), env::var(PROXY)) {
        return bounded(move || client_in_the_namespace(server.parse().unwrap(), &proxy));
    }
    bounded(|| {
        let Some(namespace) = Namespace::new() else {
            return;
        };
        let Some(squid) = squid::start_for_the_network(namespace.outer()) else {
            return;
        };
        let (listener, addr) = listener();
        let serves = thread::spawn(move || echo(&listener));
        let status = namespace
            .command(&env::current_exe().unwrap())
            .args([
                "--exact",
                "a_client_that_reaches_only_the_proxy",
                "--nocapture",
            ])
            .env(SERVER, addr.to_string())
            .env(PROXY, squid.url())
            .status()
            .unwrap();
        assert!(status.success());
        serves.join().unwrap();
    });
}

fn client_in_the_namespace(server: SocketAddr, proxy: &str) {
    let direct = TcpStream::connect_timeout(&server, Duration::from_secs(2));
    assert!(
        direct.is_err(),
        "the server can be reached without the proxy"
    );
    let session = connect(&format!("http://{server}/"), options(Some(proxy))).unwrap();
    let stream = session.open().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| send(&stream, 5, 4 * MIB));
        receive(&stream, 5, 4 * MIB, |_| {});
    });
    let _ = stream.shutdown(Shutdown::Both);
    session.close().unwrap();
}
