//! posthole's sessions, streams and listeners as tasks on smol, with hyper for HTTP: for code written for `async-net`.
//!
//! All rules are in [`posthole_protocol`]; here are sockets, tasks and the clock. Names and files are those of
//! `posthole-blocking`, so that the two read side by side.
//!
//! # Map
//! ```text
//! carrier      exchanges begin: one connection each, HTTP on it
//! front        ... and arrive: limits on what strangers may do, hyper, a seam
//! io           sockets and time as hyper wants them
//! spawn        where tasks run
//! ```
#![forbid(unsafe_code)]

pub mod front;
pub mod io;
pub mod spawn;
