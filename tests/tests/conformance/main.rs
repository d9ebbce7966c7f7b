//! The conformance suite: what every runtime promises, for each pair of client and server.
//!
//! `cargo test -p posthole-tests --test conformance blocking_blocking::` plays one pair, and
//! `… half_close_passes_through` one case for all of them.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod blocking;
mod clock;
mod loopback;

use blocking::Blocking;
use loopback::Loopback;

mod blocking_blocking {
    posthole_tests::conformance!(sockets super::Loopback<super::Blocking, super::Blocking>);
}

mod memory {
    posthole_tests::conformance!(memory posthole_tests::conformance::memory::Memory);
}
