//! A server behind a real haproxy, as Debian configures it.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod runtimes;

use posthole_tests::conformance::pair::{Pair, listener};
use posthole_tests::conformance::runtime::{Dial, Listener};
use posthole_tests::conformance::talk::everything;
use posthole_tests::conformance::world::World;
use real::haproxy;

runtimes::tests_for_each_pair! {
    all_that_an_application_does,
}

fn all_that_an_application_does<W: World>() {
    let listener = listener::<W>();
    let Some(haproxy) = haproxy::start(listener.addr()) else {
        return;
    };
    let pair = Pair::<W>::at(listener, haproxy.addr(), Dial::default());
    everything(&pair);
    pair.close();
}
