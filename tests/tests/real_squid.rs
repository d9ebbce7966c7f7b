//! Through a real squid, as Debian configures it.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod runtimes;

use posthole_tests::conformance::pair::{Pair, connect, listener};
use posthole_tests::conformance::runtime::{Dial, Listener, Session, Stream};
use posthole_tests::conformance::talk::{
    MIB, both_ways, echoing, everything, receive, receiving, sending,
};
use posthole_tests::conformance::world::{Task, World, join_all, spawn};
use real::namespace::Namespace;
use real::{nginx, squid};
use std::env;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

runtimes::tests_for_each_pair! {
    all_that_an_application_does,
    through_squid_and_then_nginx,
    killed_in_mid_transfer_and_restarted_two_seconds_later,
    credentials_in_the_proxy_url,
    a_proxy_that_asks_for_credentials_is_named,
    a_client_that_reaches_only_the_proxy,
}

/// A session through this proxy.
fn through<W: World>(proxy: String) -> Pair<W> {
    let listener = listener::<W>();
    let addr = listener.addr();
    Pair::at(listener, addr, Dial::through(proxy))
}

fn all_that_an_application_does<W: World>() {
    let Some(squid) = squid::start() else { return };
    let pair = through::<W>(squid.url());
    everything(&pair);
    let asked = format!("POST http://{}/", pair.listener.addr());
    pair.close();
    assert!(squid.log("access.log").contains(&asked));
}

fn through_squid_and_then_nginx<W: World>() {
    let listener = listener::<W>();
    let (Some(squid), Some(nginx)) = (squid::start(), nginx::start(listener.addr())) else {
        return;
    };
    let pair = Pair::<W>::at(listener, nginx.addr(), Dial::through(squid.url()));
    everything(&pair);
    pair.close();
}

/// S8: the path may break at any time; the application never learns of it.
fn killed_in_mid_transfer_and_restarted_two_seconds_later<W: World>() {
    const LENGTH: usize = 16 * MIB;
    let Some(mut squid) = squid::start() else {
        return;
    };
    let pair = through::<W>(squid.url());
    let (near, far) = pair.stream();
    let sends = [
        sending::<W>(&near, 0, LENGTH),
        sending::<W>(&far, 1, LENGTH),
    ];
    // Both readers stop after a quarter until squid is dead: flow control keeps the rest from being sent.
    let (near_stops, near_goes_on) = stops_at_a_quarter::<W>(near, 1, LENGTH);
    let (far_stops, far_goes_on) = stops_at_a_quarter::<W>(far, 0, LENGTH);
    near_stops.recv().unwrap();
    far_stops.recv().unwrap();
    squid.kill();
    let reads = [near_goes_on(), far_goes_on()];
    thread::sleep(Duration::from_secs(2));
    squid.restart();
    join_all(reads);
    join_all(sends);
    assert!(pair.client.stats().lost > 0);
    pair.close();
}

/// Reads in a thread of its own, which tells when it has a quarter and goes on when told.
fn stops_at_a_quarter<W: World>(
    from: impl Stream,
    seed: u64,
    length: usize,
) -> (Receiver<()>, impl FnOnce() -> Task<()>) {
    let (tell, stops) = channel();
    let (go_on, told) = channel::<()>();
    let reads = spawn::<W, _>(move || {
        let mut is_stopped = false;
        receive(&from, seed, length, |so_far| {
            if so_far >= length / 4 && !is_stopped {
                is_stopped = true;
                tell.send(()).unwrap();
                told.recv().unwrap();
            }
        });
    });
    let goes_on = move || {
        go_on.send(()).unwrap();
        reads
    };
    (stops, goes_on)
}

fn credentials_in_the_proxy_url<W: World>() {
    let Some(squid) = squid::start_with_passwords() else {
        return;
    };
    let pair = through::<W>(format!("http://user:open%20sesame@{}", squid.addr()));
    both_ways(&pair, 3, MIB);
    pair.close();
}

fn a_proxy_that_asks_for_credentials_is_named<W: World>() {
    let Some(squid) = squid::start_with_passwords() else {
        return;
    };
    let listener = listener::<W>();
    for (given, credentials) in [("none", ""), ("wrong", "user:close%20sesame@")] {
        let how = Dial {
            timeout: Duration::from_secs(3),
            ..Dial::through(format!("http://{credentials}{}", squid.addr()))
        };
        let error = connect::<W>(listener.addr(), how).err().unwrap();
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
}

/// The client's process runs in a network of its own, which reaches squid and nothing else: this test, run again there.
fn a_client_that_reaches_only_the_proxy<W: World>() {
    const SERVER: &str = "POSTHOLE_TEST_SERVER";
    const PROXY: &str = "POSTHOLE_TEST_PROXY";
    if let (Ok(server), Ok(proxy)) = (env::var(SERVER), env::var(PROXY)) {
        return client_in_the_namespace::<W>(server.parse().unwrap(), proxy);
    }
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let Some(squid) = squid::start_for_the_network(namespace.outer()) else {
        return;
    };
    let listener = listener::<W>();
    let addr = listener.addr();
    let serves = spawn::<W, _>(move || {
        let session = listener.accept().unwrap();
        while let Ok(stream) = session.accept() {
            echoing::<W>(stream).join();
        }
    });
    let this = thread::current();
    let status = namespace
        .command(&env::current_exe().unwrap())
        .args(["--exact", this.name().unwrap(), "--nocapture"])
        .env(SERVER, addr.to_string())
        .env(PROXY, squid.url())
        .status()
        .unwrap();
    assert!(status.success());
    serves.join();
}

fn client_in_the_namespace<W: World>(server: SocketAddr, proxy: String) {
    let direct = TcpStream::connect_timeout(&server, Duration::from_secs(2));
    assert!(
        direct.is_err(),
        "the server can be reached without the proxy"
    );
    let session = connect::<W>(server, Dial::through(proxy)).unwrap();
    let stream = session.open().unwrap();
    let tasks = [
        sending::<W>(&stream, 5, 4 * MIB),
        receiving::<W>(&stream, 5, 4 * MIB),
    ];
    join_all(tasks);
    drop(stream);
    session.close().unwrap();
}
