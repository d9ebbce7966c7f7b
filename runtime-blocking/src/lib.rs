//! posthole's sessions, streams and listeners on threads: for code written for `std::net`.
//!
//! [`connect`] gives a [`Session`] with a server, a [`Listener`] accepts them. Either side opens [`Stream`]s on it, which
//! behave like [`TcpStream`](std::net::TcpStream)s and live on while connections, proxies and addresses come and go.
//! All rules are in [`posthole_protocol`]; here are sockets, threads and the clock.
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
//!   at once; a session that nobody speaks for has none.
//!
//! # Map
//! ```text
//! session stream ends     the handles, and what a session keeps of their streams
//! driver work             the loop: lock, feed, take what the core says, unlock, do it
//! machine                 the core of either role
//! client lanes carrier    exchanges begin: threads, and HTTP under them
//! server handler front    exchanges end: which session, and HTTP under it
//! timer path              the clock and the deadlines; what is logged of the way
//! ```
#![forbid(unsafe_code)]

pub mod block;
pub mod carrier;
mod client;
mod driver;
mod ends;
mod error;
pub mod front;
mod handler;
mod lanes;
mod machine;
mod options;
mod path;
mod random;
mod server;
mod session;
mod stream;
mod timer;
mod work;

pub use client::connect;
pub use error::{ConnectError, SessionEnded};
pub use handler::Handler;
pub use options::{FrontChoice, ListenOptions, Options};
pub use posthole_protocol::{
    CloseReason, Config, ReadError, ResetCode, RouterConfig, StreamId, WriteError,
};
pub use server::Listener;
pub use session::{Session, Stats};
pub use stream::Stream;
