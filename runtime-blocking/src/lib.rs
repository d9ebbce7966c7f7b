//! posthole's sessions, streams and listeners on threads: for code written for `std::net`.
//!
//! [`connect`] gives a [`Session`] with a server, a [`Listener`] accepts them. Either side opens [`Stream`]s on it, which
//! behave like [`TcpStream`](std::net::TcpStream)s and live on while connections, proxies and addresses come and go.
//! All rules are in [`posthole_protocol`], what any runtime needs in [`posthole_runtime`]; here are sockets, threads and
//! the clock.
//!
//! # Threads
//! An application's read or write runs the protocol itself; no thread stands between. Beside the application's own
//! there are:
//!
//! - one timer, for all sessions of the process;
//! - per client session, one for each exchange that is open: at most [`Config::requests`], 12 by default, and
//!   while nothing moves the one that the server holds. One without work ends after 4 s;
//! - per listener, one that accepts, one per HTTP connection, at most
//!   [`Limits::connections`](front::Limits::connections), and for a moment one per reply that a socket did not take
//!   at once; a session that nobody speaks for has none;
//! - per direct connection one that reads, at either end, and one that writes while the socket has no room.
//!
//! # Map
//! ```text
//! session stream          the handles
//! driver work             round the loop: lock, feed, take what the core says, unlock, do it
//! client lanes carrier    exchanges begin: threads, and HTTP under them
//! server handler front    exchanges end: the sessions' house, and HTTP under it
//! wire relay              direct connections; bytes passed on by whoever brings them
//! timer wait              the clock and the deadlines; threads that wait
//! ```
#![forbid(unsafe_code)]

pub mod carrier;
mod client;
mod driver;
pub mod front;
mod handler;
mod lanes;
mod random;
mod relay;
mod server;
mod session;
mod stream;
mod sync;
mod timer;
mod wait;
mod wire;
mod work;

pub use client::connect;
pub use handler::Handler;
pub use posthole_protocol::{
    Carrier, CloseReason, Config, Learned, ReadError, ResetCode, RouterConfig, StreamId, WriteError,
};
pub use posthole_runtime::{ConnectError, Direct, ListenOptions, Options, SessionEnded, Stats};
pub use server::{FrontChoice, Listener};
pub use session::Session;
pub use stream::Stream;
