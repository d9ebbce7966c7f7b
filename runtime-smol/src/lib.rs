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

pub mod carrier;
mod client;
mod driver;
pub mod front;
mod handler;
pub mod io;
mod lanes;
mod random;
mod server;
mod session;
pub mod spawn;
mod stream;
mod timer;
mod wait;
mod work;

pub use client::{connect, connect_on};
pub use handler::{Handler, Pending};
pub use posthole_protocol::{
    CloseReason, Config, ReadError, ResetCode, RouterConfig, StreamId, WriteError,
};
pub use posthole_runtime::{ConnectError, ListenOptions, Options, SessionEnded, Stats};
pub use server::{Incoming, Listener};
pub use session::Session;
pub use spawn::Spawner;
pub use stream::Stream;
