//! The server's side of HTTP: one small seam and the fronts behind it.
//!
//! A front takes requests off connections and hands whole bodies to a [`Service`], which answers each through its
//! [`Responder`], at once or much later. It knows HTTP and sockets and nothing of sessions; the service knows
//! sessions and nothing of HTTP.
//!
//! ```text
//!  connection -> own (default) ---+                       +--> begin(body, responder) -> Ticket
//!  connection -> tiny_http -------+--> Service (driver) --+--> hangup(ticket)
//!  your server -> your front -----+                       responder.respond(reply) <- any thread, any time
//! ```
//!
//! Whoever runs an HTTP server already mounts posthole by implementing these few lines over it: call
//! [`Service::begin`] with the body of each POST to the path, and write each [`Reply`] with the headers that
//! `posthole_protocol::http` names.

mod conn;
pub(crate) mod direct;
mod head;
mod helpers;
pub(crate) mod outgoing;
mod own;
mod reader;
mod reply;
mod request_body;
pub(crate) mod sock;
#[cfg(feature = "tiny_http")]
pub mod tiny;

pub use own::OwnFront;
pub use posthole_runtime::{Limits, Reply};

use bytes::Bytes;
use posthole_protocol::http::Refusal;
use posthole_protocol::wire::Chain;
use std::sync::Arc;

/// Judges a request's head as the default front does: how long it is, once it is there whole. For fronts of others.
///
/// # Errors
/// What to answer instead. Nothing after such a head can be read, so the connection must close.
pub fn judge(bytes: &[u8], path: &str) -> Result<Option<usize>, Refusal> {
    head::parse(bytes, path).map(|head| head.map(|head| head.len))
}

/// Takes the body of every POST to our path. Called from connection threads.
pub trait Service: Send + Sync + 'static {
    /// A whole body has come. Exactly one reply goes to `responder`, at once (from inside this call) or much later
    /// from any thread. The ticket names the exchange for [`Service::hangup`].
    ///
    /// A responder that is dropped without a reply closes its connection.
    fn begin(&self, body: Bytes, responder: Box<dyn Responder>) -> Ticket;

    /// Whoever sent the request has gone, or the reply could not be written whole.
    ///
    /// At most once for each ticket, after the `begin` that returned it, and never from inside
    /// [`Responder::respond`], so a service may hold its lock while it responds. A late reply to it is thrown away.
    fn hangup(&self, ticket: Ticket);
}

/// Where the reply to one request goes.
pub trait Responder: Send {
    /// Sends the reply. Does not wait for the client; failures to write come back as [`Service::hangup`].
    fn respond(self: Box<Self>, reply: Reply);

    /// Whether it can be streamed: then [`pieces`](Responder::pieces) gives where to.
    fn streams(&self) -> bool {
        false
    }

    /// Where the pieces of a streamed reply go, if this one can be written so: each as soon as it is there, and the end
    /// by [`respond`](Responder::respond), whose body is then what is left. `None`: replies are whole.
    fn pieces(&self) -> Option<Arc<dyn Pieces>> {
        None
    }
}

/// Writes a streamed reply.
pub trait Pieces: Send + Sync {
    /// Writes the next piece, after the head if it is the first. Does not wait for the client: `true` says that all of it
    /// has been written, otherwise `then` is called once it has been; failures come back as [`Service::hangup`].
    fn piece(self: Arc<Self>, exchange: u64, bundle: Chain, then: Box<dyn FnOnce() + Send>)
    -> bool;
}

/// Names one request between `begin` and its reply. Made by the service, which alone gives it meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ticket(pub u64);
