//! Through a real tinyproxy, as Debian configures it: it closes after each exchange without saying so.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod runtimes;

use posthole_tests::conformance::pair::{Pair, listener};
use posthole_tests::conformance::runtime::{Dial, Listener};
use posthole_tests::conformance::talk::everything;
use posthole_tests::conformance::world::World;
use real::tinyproxy;

runtimes::tests_for_each_pair! {
    all_that_an_application_does,
}

fn all_that_an_application_does<W: World>() {
    let Some(tinyproxy) = tinyproxy::start() else {
        return;
    };
    let listener = listener::<W>();
    let addr = listener.addr();
    let pair = Pair::<W>::at(listener, addr, Dial::through(tinyproxy.url()));
    everything(&pair);
    pair.close();
}
