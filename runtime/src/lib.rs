//! What every runtime of posthole needs and that is no I/O.
//!
//! The rules are in [`posthole_protocol`]. Sockets, the clock, sessions' locks, random bytes and whatever runs are in the runtimes:
//! `posthole-blocking` on threads, `posthole-smol` on tasks. What stands between is here once: the loop over a core, what
//! a session keeps of its streams, a server's table of sessions, and the words that an application gets to see.
//!
//! # How a runtime uses it
//! It keeps a [`State`] for each session behind a lock, which is held for calls of this crate only, never while
//! anything waits:
//!
//! ```text
//! lock -> feed (an answer, a request, a write, the deadline) -> State::poll(now) -> unlock -> do the Work
//! ```
//!
//! Who has to wait is registered with a [`Waiters`], under the lock: a thread at a condition variable, or a task's
//! waker. `poll` takes those with news, and the runtime wakes them once the lock is released. On the server a [`House`],
//! behind a lock of its own, finds the session that a request belongs to.
//!
//! ```
//! use posthole_protocol::{Client, Config, Instant, SessionId};
//! use posthole_runtime::{State, Waiters};
//!
//! /// Nobody ever waits.
//! #[derive(Default)]
//! struct Nobody;
//! impl Waiters for Nobody {
//!     type Wake = ();
//!     fn take(&mut self) -> Option<()> { None }
//! }
//!
//! let core = Client::new(Config::default(), SessionId::from_bytes([1; 16]), Instant::ZERO);
//! let mut state: State<(), Nobody> = State::client(core);
//! let work = state.poll(Instant::ZERO);
//! assert_eq!(work.rest.unwrap().requests.len(), 1); // The session's opening, to be sent.
//! assert!(work.alarm.is_some()); // When to poll again at the latest.
//! ```
//!
//! # Map
//! ```text
//! driver machine work wait    the loop: a core of either role, what it is told and has to say, who waits
//! lull                        what has been written and is told to the core by whoever is next
//! ends                        what a session keeps of its streams, and what handles do to them
//! block                       large blocks of memory, used again while they are warm
//! near                        connections that don't leave the machine
//! house                       a server's sessions: which one a request belongs to, which wait to be accepted
//! budget quiet                what strangers may take of a front's memory and of the log
//! options limits error stats reply path     words that runtimes share
//! ```
#![forbid(unsafe_code)]

pub mod block;
mod budget;
mod direct;
mod driver;
mod ends;
mod error;
mod frames;
mod house;
mod limits;
mod lull;
mod machine;
mod near;
mod options;
mod path;
mod quiet;
mod reply;
mod stats;
#[cfg(test)]
mod testing;
mod unsent;
mod wait;
mod work;

pub use budget::{Budget, Lease};
pub use direct::{DirectPlan, HEAD_START};
pub use driver::State;
pub use ends::{Pieces, Tried};
pub use error::{ConnectError, SessionEnded};
pub use frames::{Frames, NotBundles};
pub use house::{House, Visit};
pub use limits::Limits;
pub use lull::{Lull, LullId};
pub use near::{receive_buffer, send_near, socket_to};
pub use options::{Direct, ListenOptions, Options, TlsChoice};
pub use path::News;
pub use quiet::Quiet;
pub use reply::Reply;
pub use stats::Stats;
pub use unsent::Unsent;
pub use wait::Waiters;
pub use work::{Alarm, Rest, Work};
