//! How a bundle travels: a [`Lane`] is one keep-alive HTTP connection that carries one exchange at a time, over ureq.
//!
//! Knows nothing of sessions, streams and messages: a body goes out, a body comes back or a [`Trouble`] says why not.
//! ureq speaks HTTP; the connection under it is our own (`socket`), because patience, cancelling, a head and body in
//! one write, and reading an answer that came before the request had left, are decided there. How to get to the server
//! is in `dial`; where it is, by which way, what is said on it and when to give up is in [`posthole_protocol::http`].
//!
//! ```text
//! Lane -> ureq -> Line -> [TLS to the server] -> [TLS to the proxy] -> Socket
//!           \___ Dial makes these _________________________________/      \___ Watch: patience, cancel
//! ```

mod body;
mod dial;
pub(crate) mod direct;
mod lane;
mod line;
mod socket;
mod target;
mod watch;

pub use dial::connect;
pub use lane::{Hear, How, Lane};
pub use posthole_protocol::http::{Plain, ProxyChoice, Trouble, WayError as ConnectError};
pub use posthole_runtime::TlsChoice;
pub use target::Target;
pub use watch::Canceller;
