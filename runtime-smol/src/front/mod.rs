//! The server's side of HTTP: one small seam, and hyper behind it.
//!
//! A front takes requests off connections and hands whole bodies to a [`Service`], which answers each at once or much
//! later. It knows HTTP and sockets and nothing of sessions; the service knows sessions and nothing of HTTP.
//!
//! ```text
//!  connection -> OwnFront, with limits on everything --+
//!                                                      +--> Service::begin(body) -> Pending, becomes a Reply
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
use std::future::Future;
use std::sync::Arc;

/// Takes the body of every POST to our path.
pub trait Service: Send + Sync + 'static {
    /// The exchange, from here to its [`Reply`]. **Dropped before that: whoever sent the request has gone.** Without a
    /// reply (`None`, where this is an `Option`) the connection is closed.
    type Pending: Future<Output: Into<Option<Reply>>> + Send + 'static;

    /// A whole body has come. Called from the connection's task, so it must not block.
    fn begin(&self, body: Bytes) -> Self::Pending;
}

impl<S: Service> Service for Arc<S> {
    type Pending = S::Pending;

    fn begin(&self, body: Bytes) -> Self::Pending {
        S::begin(self, body)
    }
}
