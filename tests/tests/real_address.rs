//! A client whose machine gets another address in mid-transfer, in a network of its own.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod runtimes;

use posthole_protocol::Config;
use posthole_tests::conformance::pair::connect;
use posthole_tests::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use posthole_tests::conformance::talk::{echoing, receive};
use posthole_tests::conformance::world::{World, spawn};
use posthole_tests::pattern::Pattern;
use real::namespace::Namespace;
use std::env;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

runtimes::tests_for_each_pair! {
    a_client_that_gets_another_address,
}

/// What is sent and comes back, and in how many steps of a tenth of a second.
const LENGTH: usize = 4_000_000;
const STEPS: usize = 40;

/// The client's process runs in the namespace: this test, run again there.
fn a_client_that_gets_another_address<W: World>() {
    const SERVER: &str = "POSTHOLE_TEST_SERVER";
    if let Ok(server) = env::var(SERVER) {
        return client_in_the_namespace::<W>(server.parse().unwrap());
    }
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let at = SocketAddr::from((namespace.outer(), 0));
    let listener = W::Server::bind(at, Config::default()).unwrap();
    let addr = listener.addr();
    let serves = spawn::<W, _>(move || {
        let session = listener.accept().unwrap();
        echoing::<W>(session.accept().unwrap()).join();
        session.wait_closed()
    });
    let this = thread::current();
    let mut client = namespace
        .command(&env::current_exe().unwrap())
        .args(["--exact", this.name().unwrap(), "--nocapture"])
        .env(SERVER, addr.to_string())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(1_500));
    namespace.change_address();
    assert!(client.wait().unwrap().success());
    assert!(serves.join().is_clean());
}

fn client_in_the_namespace<W: World>(server: SocketAddr) {
    let session = connect::<W>(server, Dial::default()).unwrap();
    let stream = session.open().unwrap();
    let sends = stream.clone();
    let sending = spawn::<W, _>(move || {
        let mut pattern = Pattern::new(5);
        let mut piece = vec![0; LENGTH / STEPS];
        for _ in 0..STEPS {
            pattern.fill(&mut piece);
            sends.write_all(&piece).unwrap();
            W::pause(Duration::from_millis(100));
        }
        sends.finish().unwrap();
    });
    receive(&stream, 5, LENGTH, |_| {});
    sending.join();
    session.close().unwrap();
}
