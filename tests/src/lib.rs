//! A virtual world for posthole's core: two real machines, a network that lies, and time that only the test moves.
//!
//! - [`pair`]: clients and servers over one network, stepped from deadline to deadline, checked after every step
//! - [`net`], [`fault`], [`link`]: HTTP exchanges with delay, rate and faults, all from one seed
//! - [`app`], [`end`]: applications that talk over streams by events alone, as an embedder would
//! - [`oracle`]: what was read is a prefix of what was written
//! - [`tally`], [`trace`]: what went over the wire, counted and drawn
//! - [`chaos`]: random operations under random faults
//! - [`craft`]: peers made by hand, for what no honest machine would send
//! - [`settings`]: the configurations that the tests use
//!
//! And for tests over real sockets as well:
//! - [`mod@conformance`]: what every runtime promises to applications
//! - [`mod@bounded`], [`mod@pattern`]: tests that fail instead of hanging, bytes of which none can be missed
#![forbid(unsafe_code)]

pub mod app;
pub mod bounded;
pub mod chaos;
pub mod conformance;
pub mod craft;
pub mod end;
pub mod fault;
pub mod host;
pub mod link;
pub mod mutants;
pub mod net;
pub mod oracle;
pub mod pair;
pub mod pattern;
pub mod rng;
pub mod settings;
pub mod talk;
pub mod tally;
pub mod trace;

/// A millisecond in the harness's unit, the microsecond.
pub const MS: u64 = 1_000;
/// A second in the harness's unit, the microsecond.
pub const SEC: u64 = 1_000_000;

// README's examples are compiled and run here, where all the crates that they use are known.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
