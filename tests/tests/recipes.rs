//! The configurations under `docs/recipes`: several servers behind an existing web server, at a path of it (S18).
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod runtimes;

use posthole_tests::conformance::pair::listener;
use posthole_tests::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use posthole_tests::conformance::world::World;
use real::{Proxy, haproxy, nginx};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

runtimes::tests_for_each_pair! {
    nginx_sends_each_session_to_one_of_two_servers,
    haproxy_sends_each_session_to_one_of_two_servers,
}

/// So many that all at one server is less likely than a broken machine: 1 in 2^23.
const SESSIONS: usize = 24;

fn nginx_sends_each_session_to_one_of_two_servers<W: World>() {
    each_session_stays_at_one_of_two_servers::<W>(nginx::start_recipe);
}

fn haproxy_sends_each_session_to_one_of_two_servers<W: World>() {
    each_session_stays_at_one_of_two_servers::<W>(haproxy::start_recipe);
}

fn each_session_stays_at_one_of_two_servers<W: World>(start: fn([SocketAddr; 2]) -> Option<Proxy>) {
    let servers = [(); 2].map(|()| Arc::new(listener::<W>()));
    let Some(proxy) = start([servers[0].addr(), servers[1].addr()]) else {
        return;
    };
    let accepting = servers.clone().map(|server| {
        thread::spawn(move || {
            let mut sessions = Vec::new();
            while let Ok(session) = server.accept() {
                let stream = session.accept().unwrap();
                let echo = thread::spawn(move || {
                    let all = stream.read_to_end().unwrap();
                    stream.write_all(&all).unwrap();
                    stream.finish().unwrap();
                });
                sessions.push((session, echo));
            }
            for (session, echo) in &sessions {
                let reason = session.wait_closed();
                assert!(reason.is_clean(), "{reason}");
                assert!(echo.is_finished());
            }
            sessions.len()
        })
    });
    let clients: Vec<_> = (0..SESSIONS)
        .map(|n| {
            let url = format!("http://{}/tunnel", proxy.addr());
            thread::spawn(move || {
                let session = W::Client::connect(&url, Dial::default()).unwrap();
                let stream = session.open().unwrap();
                let sent: Vec<u8> = (0..300_000).map(|i| (i * 7 + n) as u8).collect();
                // In pieces, so that there are many requests.
                for piece in sent.chunks(100_000) {
                    stream.write_all(piece).unwrap();
                    thread::sleep(Duration::from_millis(20));
                }
                stream.finish().unwrap();
                assert_eq!(stream.read_to_end().unwrap(), sent);
                let lost = session.stats().lost;
                session.close().unwrap();
                lost
            })
        })
        .collect();
    // "Gone", from a server that does not know the session, is a lost exchange first (A13). Where every other request went to
    // the wrong server each session had some; a busy machine may have one in all.
    let lost: u64 = clients.into_iter().map(|c| c.join().unwrap()).sum();
    assert!(lost < SESSIONS as u64 / 2, "{lost} exchanges were lost");
    for server in &servers {
        server.close(Duration::from_secs(5));
    }
    let counts = accepting.map(|thread| thread.join().unwrap());
    assert_eq!(counts.iter().sum::<usize>(), SESSIONS);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
