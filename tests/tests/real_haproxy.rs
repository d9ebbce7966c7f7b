//! A server behind a real haproxy, as Debian configures it.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod traffic;

use real::haproxy;
use traffic::{bounded, everything, listener, pair};

#[test]
fn all_that_an_application_does() {
    bounded(|| {
        let (listener, addr) = listener();
        let Some(haproxy) = haproxy::start(addr) else {
            return;
        };
        let pair = pair(listener, haproxy.addr(), None);
        everything(&pair);
        pair.close();
    });
}
