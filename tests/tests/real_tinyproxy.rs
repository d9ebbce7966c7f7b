//! Through a real tinyproxy, as Debian configures it: it closes after each exchange without saying so.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod traffic;

use real::tinyproxy;
use traffic::{bounded, everything, listener, pair};

#[test]
fn all_that_an_application_does() {
    bounded(|| {
        let Some(tinyproxy) = tinyproxy::start() else {
            return;
        };
        let (listener, addr) = listener();
        let pair = pair(listener, addr, Some(&tinyproxy.url()));
        everything(&pair);
        pair.close();
    });
}
