//! posthole's sessions, streams and listeners as tasks on smol, with hyper for HTTP: for code written for `async-net`.
//!
//! [`connect`] gives a [`Session`] with a server, a [`Listener`] accepts them. Either side opens [`Stream`]s on it, which
//! behave like `async_net::TcpStream`s and live on while connections, proxies and addresses come and go.
//! All rules are in [`posthole_protocol`], what any runtime needs in [`posthole_runtime`]; here are sockets, tasks and
//! the clock. Names and files are those of `posthole-blocking`, so that the two read side by side.
//!
//! # Example
//! ```
//! use posthole_smol::{ListenOptions, Listener, Options, connect};
//! use smol::io::{AsyncReadExt, AsyncWriteExt};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     smol::block_on(async {
//!         let listener = Listener::bind("127.0.0.1:0", ListenOptions::new()).await?;
//!         let url = format!("http://{}/", listener.local_addr()?);
//!         let server = smol::spawn(async move {
//!             let session = listener.accept().await?;
//!             let mut stream = session.accept().await?;
//!             let mut text = String::new();
//!             stream.read_to_string(&mut text).await?;
//!             stream.write_all(text.to_uppercase().as_bytes()).await?;
//!             stream.close().await
//!         });
//!         let session = connect(&url, Options::new()).await?;
//!         let mut stream = session.open().await?;
//!         stream.write_all(b"hello").await?;
//!         stream.close().await?; // The writing half.
//!         let mut answer = String::new();
//!         stream.read_to_string(&mut answer).await?;
//!         assert_eq!(answer, "HELLO");
//!         Ok(server.await?)
//!     })
//! }
//! ```
//!
//! # Tasks
//! An application's read or write runs the protocol itself; no task stands between. Beside the application's own there
//! are:
//!
//! - per session, one that waits for its core's deadline; on a session without traffic it is woken once per hold;
//! - per client session, one for each exchange that is open: at most [`Config::requests`], 12 by default, and while
//!   nothing moves the one that the server holds. One without work ends after 4 s;
//! - per listener, one that accepts and one per HTTP connection.
//!
//! They run where a [`Spawner`] starts them: on smol's global executor, or with [`connect_on`],
//! [`Listener::bind_on`] and [`Handler::new_on`] on any other, best looped by [`spawn::run`]. Timers and
//! sockets are `async-io`'s, whose reactor runs in a thread of its own if nobody else drives it; applications may wait
//! for all futures here on any executor. An executor that is dropped ends its sessions.
//!
//! # Cancelling
//! Every future may be dropped at any point. Its documentation says what that means; mostly nothing: what it would have
//! given is given to the next one.
//!
//! # Map
//! ```text
//! session stream          the handles
//! driver work             round the loop: lock, feed, take what the core says, unlock, do it
//! client lanes carrier    exchanges begin: tasks, and HTTP under them
//! server handler pending front    exchanges end: the sessions' house, held requests, and HTTP under them
//! timer wait wire         the clock and the deadlines; tasks that wait; direct connections
//! clock simulation        what time it is; and for tests an executor, a clock and a network of a seed's
//! spawn io                where tasks run; sockets and time as hyper wants them
//! ```
#![forbid(unsafe_code)]

pub mod carrier;
mod client;
mod clock;
mod driver;
pub mod front;
mod handler;
pub mod io;
mod lanes;
mod pending;
mod random;
mod server;
mod session;
#[cfg(test)]
mod simulation;
pub mod spawn;
mod stream;
mod timer;
mod turn;
mod wait;
mod wire;
mod work;

pub use client::{connect, connect_on};
pub use handler::Handler;
pub use pending::Pending;
pub use posthole_protocol::{
    Carrier, CloseReason, Config, Learned, ReadError, ResetCode, RouterConfig, StreamId, WriteError,
};
pub use posthole_runtime::{ConnectError, Direct, ListenOptions, Options, SessionEnded, Stats};
pub use server::{Incoming, Listener};
pub use session::Session;
pub use spawn::Spawner;
pub use stream::Stream;
