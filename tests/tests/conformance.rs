//! The conformance suite: what every runtime promises, for each pair of client and server.
//!
//! `cargo test -p posthole-tests --test conformance blocking_blocking::` plays one pair, and
//! `cargo test -p posthole-tests --test conformance half_close_passes_through` one case for all of them.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod runtimes;

macro_rules! suite {
    ($world:ty) => {
        posthole_tests::conformance!(sockets $world);
    };
}

runtimes::each_pair!(suite);

/// Both sides on tasks whose futures are given up wherever they wait, and begun again.
mod fickle_fickle {
    use crate::runtimes::{Fickle, Loopback, Smol};
    posthole_tests::conformance!(sockets Loopback<Smol<Fickle>, Smol<Fickle>>);
}

/// Where the server takes direct connections, the same holds.
mod direct_blocking_smol {
    use crate::runtimes::{Blocking, Direct, Loopback, Smol};
    posthole_tests::conformance!(sockets Loopback<Direct<Blocking>, Direct<Smol>>);
}

mod direct_smol_blocking {
    use crate::runtimes::{Blocking, Direct, Loopback, Smol};
    posthole_tests::conformance!(sockets Loopback<Direct<Smol>, Direct<Blocking>>);
}

/// The same holds where answers are streamed.
mod streamed_blocking_smol {
    use crate::runtimes::{Blocking, Loopback, Smol, Streamed};
    posthole_tests::conformance!(sockets Loopback<Streamed<Blocking>, Smol>);
}

mod streamed_smol_blocking {
    use crate::runtimes::{Blocking, Loopback, Smol, Streamed};
    posthole_tests::conformance!(sockets Loopback<Streamed<Smol>, Blocking>);
}

mod memory {
    posthole_tests::conformance!(memory posthole_tests::conformance::memory::Memory);
}
