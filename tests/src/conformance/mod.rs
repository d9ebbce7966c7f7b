//! What every runtime promises to applications, written once and run for each pair of client and server.
//!
//! A *case* is a function that is generic over a [`World`](world::World): two runtimes, and what lies between them. It knows handles
//! by the traits here, in blocking terms, and neither sockets nor tasks. [`conformance`](crate::conformance!) makes a
//! `#[test]` of every case for one world; `tests/tests/runtimes` has those with sockets, [`memory`] the one without.
//!
//! ```text
//! runtime     what a runtime must offer: connect, bind, sessions, streams, listeners
//! world       two runtimes and the path between them; threads and time as cases see them
//! pair talk   what cases have in common: a session by its two ends, and what is said over it
//! cancel      futures given up at every point at which they wait
//! memory      the world without sockets
//! cases/      the cases, a file for each subject; list.rs names them all
//! ```

pub mod cancel;
pub mod cases;
mod list;
pub mod memory;
pub mod pair;
pub mod runtime;
pub mod talk;
pub mod world;
