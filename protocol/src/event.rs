//! What the application should know.

use crate::error::CloseReason;
use crate::id::StreamId;
use crate::learned::Lesson;

/// News from a session. Each is derived from the session's state when it is polled, so that an embedder who polls
/// late loses nothing and one who never polls costs no memory (C1, C6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The peer has answered for the first time: the session is there.
    Connected,
    /// The peer opened a stream; `accept` gives it.
    Incoming,
    /// `open` said `Full`, and would not any more.
    CanOpen,
    /// A `read` that was `Blocked` would give bytes, the end, or an error.
    Readable(StreamId),
    /// A `write` that did not take everything would take more, or give an error.
    Writable(StreamId),
    /// Everything written to a stream that was finished has been acknowledged.
    Finished(StreamId),
    /// A client has learned something of its way to the server.
    Learned(Lesson),
    /// The session has ended. Comes once, last.
    Closed(CloseReason),
}

/// What a `read` gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The next bytes, at least one.
    Chunk(bytes::Bytes),
    /// Nothing now: wait for [`Event::Readable`].
    Blocked,
    /// The peer finished the stream and everything has been read.
    End,
}
