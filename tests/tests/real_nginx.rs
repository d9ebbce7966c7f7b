//! A server behind a real nginx, as Debian configures it.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod traffic;

use real::nginx;
use traffic::{MIB, both_ways, bounded, everything, listener, pair};

/// S17: to the server, nginx speaks HTTP/1.0 and closes after each answer; its limit for a body is 1 MiB.
#[test]
fn all_that_an_application_does() {
    bounded(|| {
        let (listener, addr) = listener();
        let Some(nginx) = nginx::start(addr) else {
            return;
        };
        let pair = pair(listener, nginx.addr(), None);
        everything(&pair);
        pair.close();
        let log = nginx.log("error.log");
        assert!(!log.contains("too large body"), "{log}");
    });
}

/// 413 teaches the client to send less at a time.
#[test]
fn a_smaller_limit_for_bodies_is_learned() {
    bounded(|| {
        let (listener, addr) = listener();
        let Some(nginx) = nginx::start_with(addr, "client_max_body_size 100k;") else {
            return;
        };
        let pair = pair(listener, nginx.addr(), None);
        both_ways(&pair, 1, 16 * MIB);
        pair.close();
        let refused = nginx.log("error.log").matches("too large body").count();
        assert!(
            (1..20).contains(&refused),
            "{refused} bodies were too large"
        );
    });
}
