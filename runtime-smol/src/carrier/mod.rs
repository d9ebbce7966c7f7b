//! How a bundle travels: a [`Lane`] is one keep-alive HTTP connection that carries one exchange at a time, over hyper.
//!
//! Knows nothing of sessions, streams and messages: a body goes out, a body comes back or a [`Trouble`] says why not.
//! hyper writes the request and reads the answer's head; the connection under it is our own (`socket`), because
//! patience, and reading an answer that came before the request had left, are decided there. A body whose length is
//! known is read by ourselves, straight into the memory that it stays in (`attempt`). How to get to the server is in
//! `dial`; where it is, by which way, what is said on it and when to give up is in [`posthole_protocol::http`].
//!
//! ```text
//! Lane -> attempt -> hyper -> Line -> [TLS to the server] -> [TLS to the proxy] -> Wire
//!                               \___ Dial makes these ______________________________/   \___ Pulse: what has moved
//! ```

mod attempt;
mod dial;
pub(crate) mod direct;
#[cfg(feature = "tls")]
mod issuer;
mod lane;
mod socket;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod watch;

pub(crate) use attempt::Pieces;
#[cfg(feature = "tls")]
pub use issuer::issuer;
pub(crate) use lane::How;
pub use lane::Lane;
pub use posthole_protocol::http::{Plain, ProxyChoice, Trouble, WayError as ConnectError};
pub use posthole_runtime::TlsChoice;
pub use target::Target;
