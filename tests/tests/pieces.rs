//! Streamed answers over real sockets (PROTOCOL §5.9): what a server says comes piece by piece in one response.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod runtimes;

use posthole_protocol::{Carrier, Config};
use posthole_tests::conformance::pair::{Pair, anywhere};
use posthole_tests::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use posthole_tests::conformance::talk::{MIB, receive, sending};
use posthole_tests::conformance::world::World;
use std::io::{Read, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

runtimes::tests_for_each_pair! {
    a_server_says_much_in_one_answer,
    a_piece_that_was_cut_off_comes_again,
}

fn streamed() -> Config {
    Config::builder()
        .carrier(Carrier::Streamed)
        .build()
        .unwrap()
}

/// Words of the server's, until a hundred of them took no more than twenty exchanges; then bulk.
fn a_server_says_much_in_one_answer<W: World>() {
    let pair = Pair::<W>::with(streamed(), Config::default());
    let (near, far) = pair.stream();
    let mut most = u64::MAX;
    for _ in 0..200 {
        let before = pair.client.stats().exchanges;
        for word in 0..100_u32 {
            far.write_all(&word.to_be_bytes()).unwrap();
            let mut got = [0; 4];
            near.read_exact(&mut got).unwrap();
            assert_eq!(got, word.to_be_bytes());
        }
        most = most.min(pair.client.stats().exchanges - before);
        if most <= 20 {
            break;
        }
        W::pause(std::time::Duration::from_millis(50));
    }
    assert!(most <= 20, "a hundred words took {most} exchanges");
    let sends = sending::<W>(&far, 1, 16 * MIB);
    receive(&near, 1, 16 * MIB, |_| {});
    sends.join();
    near.finish().unwrap();
    pair.close();
}

/// Every connection ends after some hundred thousand bytes of answers.
fn a_piece_that_was_cut_off_comes_again<W: World>() {
    let listener = W::Server::bind(anywhere(), Config::default()).unwrap();
    let by = cutter(listener.addr());
    let pair = Pair::<W>::at(listener, by, Dial::with(streamed()));
    let mut seed = 0;
    while pair.client.stats().lost < 10 {
        assert!(seed < 100, "nothing is ever lost");
        let (near, far) = pair.stream();
        let sends = sending::<W>(&far, seed, 2 * MIB);
        receive(&near, seed, 2 * MIB, |_| {});
        sends.join();
        near.finish().unwrap();
        seed += 1;
    }
    pair.close();
}

/// A relay whose connections do.
fn cutter(to: SocketAddr) -> SocketAddr {
    let relay = TcpListener::bind(anywhere()).unwrap();
    let addr = relay.local_addr().unwrap();
    thread::spawn(move || {
        for (count, near) in (0_u64..).zip(relay.incoming()).take(5_000) {
            let (near, Ok(far)) = (near.unwrap(), TcpStream::connect(to)) else {
                return;
            };
            let (back, forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || {
                let _ = copy(&mut &near, &mut &forth);
                let _ = forth.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let most = 300_000 + 70_000 * (count % 7);
                let _ = copy(&mut (&far).take(most), &mut &back);
                let _ = back.shutdown(Shutdown::Both);
                let _ = far.shutdown(Shutdown::Both);
            });
        }
    });
    addr
}
