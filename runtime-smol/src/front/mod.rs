//! The server's side of HTTP: one small seam, and hyper behind it.
//!
//! A front takes requests off connections and hands whole bodies to a [`Service`], which answers each at once or much
//! later. It knows HTTP and sockets and nothing of sessions; the service knows sessions and nothing of HTTP.
//!
//! ```text
//!  connection -> OwnFront, with limits on everything --+
//!                                                      +--> Service::begin(body) -> Pending, becomes an Outcome
//!  connection -> your hyper server -> Mount -----------+                            or is dropped: the client has gone
//! ```
//!
//! # Files
//! ```text
//! own.rs           accepts connections, counts them, turns them away, stops
//! task.rs          one connection: drives hyper, keeps the time, ends it
//! conn.rs          ... what it is doing, as its task, its requests and its socket share it
//! wire.rs          what hyper gets for a socket: it sees what the connection is doing
//! mount.rs         one request: read, begun, answered; a hyper service
//! request_body.rs  a body, whole, with its bounds
//! answer.rs        replies and refusals as hyper writes them
//! ```

mod answer;
mod conn;
pub(crate) mod direct;
mod mount;
mod own;
mod request_body;
mod task;
mod wire;

pub use answer::Answer;
pub use mount::{Abandoned, Mount};
pub use own::OwnFront;
pub use posthole_runtime::{Limits, Reply};

use bytes::Bytes;
use posthole_protocol::wire::Chain;
use smol::stream::Stream;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Takes the body of every POST to our path.
pub trait Service: Send + Sync + 'static {
    /// The exchange, from here to its [`Outcome`]: a [`Reply`], or one that comes in pieces. **Dropped before that:
    /// whoever sent the request has gone.** Without a reply (`None`, where this is an `Option`) the connection is closed.
    type Pending: Future<Output: Into<Outcome>> + Send + 'static;

    /// A whole body has come. Called from the connection's task, so it must not block.
    fn begin(&self, body: Bytes) -> Self::Pending;
}

impl<S: Service> Service for Arc<S> {
    type Pending = S::Pending;

    fn begin(&self, body: Bytes) -> Self::Pending {
        S::begin(self, body)
    }
}

/// What becomes of a request.
pub enum Outcome {
    /// A whole reply.
    Reply(Reply),
    /// A reply with status 200 whose body comes piece by piece, each to be written as soon as it is there.
    Streamed {
        /// The exchange it answers, for its head.
        exchange: u64,
        /// The body.
        pieces: Pieces,
    },
    /// No reply at all: the connection is closed.
    Abandoned,
}

/// The body of a streamed reply. Asked for the next piece, it takes those before for written. An error: there will be no
/// end of it, and the connection is closed. **Dropped before its end: whoever sent the request has gone.**
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Chain, Abandoned>> + Send>>;

impl Outcome {
    /// The whole reply, if it is one.
    pub fn into_reply(self) -> Option<Reply> {
        match self {
            Outcome::Reply(reply) => Some(reply),
            Outcome::Streamed { .. } | Outcome::Abandoned => None,
        }
    }
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Outcome {
        Outcome::Reply(reply)
    }
}

impl From<Option<Reply>> for Outcome {
    fn from(reply: Option<Reply>) -> Outcome {
        reply.map_or(Outcome::Abandoned, Outcome::Reply)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Reply(reply) => f.debug_tuple("Reply").field(reply).finish(),
            Outcome::Streamed { exchange, .. } => f
                .debug_struct("Streamed")
                .field("exchange", exchange)
                .finish_non_exhaustive(),
            Outcome::Abandoned => f.write_str("Abandoned"),
        }
    }
}
