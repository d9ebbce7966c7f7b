//! A server behind a real nginx, as Debian configures it.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod runtimes;

use posthole_tests::conformance::pair::{Pair, listener};
use posthole_tests::conformance::runtime::{Dial, Listener};
use posthole_tests::conformance::talk::{MIB, both_ways, everything};
use posthole_tests::conformance::world::World;
use real::nginx;

runtimes::tests_for_each_pair! {
    all_that_an_application_does,
    a_smaller_limit_for_bodies_is_learned,
}

/// S17: to the server, nginx speaks HTTP/1.0 and closes after each answer; its limit for a body is 1 MiB.
fn all_that_an_application_does<W: World>() {
    let listener = listener::<W>();
    let Some(nginx) = nginx::start(listener.addr()) else {
        return;
    };
    let pair = Pair::<W>::at(listener, nginx.addr(), Dial::default());
    everything(&pair);
    pair.close();
    let log = nginx.log("error.log");
    assert!(!log.contains("too large body"), "{log}");
}

/// 413 teaches the client to send less at a time.
fn a_smaller_limit_for_bodies_is_learned<W: World>() {
    let listener = listener::<W>();
    let Some(nginx) = nginx::start_with(listener.addr(), "client_max_body_size 100k;") else {
        return;
    };
    let pair = Pair::<W>::at(listener, nginx.addr(), Dial::default());
    both_ways(&pair, 1, 16 * MIB);
    pair.close();
    let refused = nginx.log("error.log").matches("too large body").count();
    assert!(
        (1..20).contains(&refused),
        "{refused} bodies were too large"
    );
}
