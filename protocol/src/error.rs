//! What can be wrong. Who is at fault decides where it shows: the caller gets an `Err` from the verb, the peer's
//! fault ends the session with [`CloseReason::Violation`], and what happens in between is an input: [`Failure`].

use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// An application's reason for a reset or stop, carried to the other side; its meaning is the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResetCode(pub u32);

/// How an exchange came to nothing, as far as HTTP tells. The client core treats every one of these as a lost
/// exchange: what it carried goes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// No connection could be made: nothing of the request has left.
    Connect,
    /// The connection ended before a whole answer was here.
    Cut,
    /// The patience that came with the request ran out.
    TimedOut,
    /// A box refused the body for its size (413).
    TooLarge,
    /// A box answered instead of the server.
    Middlebox {
        /// The HTTP status it gave.
        status: u16,
    },
    /// A proxy asks for credentials, or for others than it was given (407).
    Credentials,
    /// Something refuses this client or place for good (401, 403, 404, 405 …); tried again all the same.
    Refused {
        /// The HTTP status it gave.
        status: u16,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect => f.write_str("no connection could be made"),
            Failure::Cut => f.write_str("the connection ended before the answer"),
            Failure::TimedOut => f.write_str("no answer came in time"),
            Failure::TooLarge => {
                f.write_str("the request was too large for a box on the way (413)")
            }
            Failure::Middlebox { status } => {
                write!(f, "something other than the server answered with {status}")
            }
            Failure::Credentials => f.write_str("a proxy asks for credentials (407)"),
            Failure::Refused { status } => {
                write!(f, "something on the way refused the request with {status}")
            }
        }
    }
}

/// An exchange that is not open was fed to a client; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownExchange;

impl fmt::Display for UnknownExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this exchange is not open (any more)")
    }
}

impl core::error::Error for UnknownExchange {}

/// Why no stream can be opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// As many streams are open as the peer allows; `Event::Writable` has no id for this: try again after any
    /// stream has ended (`Event::CanOpen`).
    Full,
    /// The session is closing or has ended.
    Closed,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::Full => "as many streams are open as the peer allows",
            OpenError::Closed => "the session has ended",
        })
    }
}

impl core::error::Error for OpenError {}

/// Why nothing can be written to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// `finish` or `reset` was called before.
    Finished,
    /// The peer asked for no more, with this code.
    Stopped(ResetCode),
    /// The session is closing or has ended.
    Closed,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Finished => f.write_str("this side of the stream was already finished"),
            WriteError::Stopped(code) => write!(
                f,
                "the peer reads no more from this stream (code {})",
                code.0
            ),
            WriteError::Closed => f.write_str("the session has ended"),
        }
    }
}

impl core::error::Error for WriteError {}

/// Why nothing can be read from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer reset the stream, with this code.
    Reset(ResetCode),
    /// `stop` was called before.
    Stopped,
    /// The session ended before the stream did.
    Closed,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Reset(code) => write!(f, "the peer reset the stream (code {})", code.0),
            ReadError::Stopped => f.write_str("reading was stopped"),
            ReadError::Closed => f.write_str("the session ended before the stream did"),
        }
    }
}

impl core::error::Error for ReadError {}

/// Which rule of PROTOCOL.md the peer broke; one variant per rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// Data or a final size beyond the credit given (§6.3).
    Credit,
    /// A stream beyond the number allowed, or one that is not the peer's to open (§6.1).
    StreamCount,
    /// Two different final sizes, or data beyond the final size (§6.5).
    FinalSize,
    /// Two different bytes at one offset cannot be seen, but an offset beyond 2^62 can (§6.2).
    Offset,
    /// An acknowledgement of a message that was never sent (§4.4).
    Acknowledgement,
    /// Parts of a stream with more gaps between them than messages can leave (§6.2).
    Scattered,
    /// A control message that is to be understood and is not (§3.6).
    NotUnderstood,
    /// A control message whose fields don't parse (§3.6).
    Malformed,
}

impl Violation {
    /// The code sent in CLOSE (§8.4).
    pub const fn code(self) -> u32 {
        match self {
            Violation::Credit => 0x101,
            Violation::StreamCount => 0x102,
            Violation::FinalSize => 0x103,
            Violation::Offset => 0x104,
            Violation::Acknowledgement => 0x105,
            Violation::NotUnderstood => 0x106,
            Violation::Malformed => 0x107,
            Violation::Scattered => 0x108,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Violation::Credit => "sent more than it had credit for",
            Violation::StreamCount => "opened a stream that it may not open",
            Violation::FinalSize => "contradicted the final size of a stream",
            Violation::Offset => "used an offset beyond 2^62",
            Violation::Acknowledgement => "acknowledged a message that was never sent",
            Violation::NotUnderstood => {
                "sent a control message that has to be understood and is not"
            }
            Violation::Malformed => "sent a control message that makes no sense",
            Violation::Scattered => "sent a stream in more scattered parts than it may",
        })
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed it and the peer knows: everything sent was acknowledged.
    Local,
    /// The peer closed it.
    Peer {
        /// The peer's code: 0 for an ordinary end, below 0x100 the application's, from there the protocol's (§8.4).
        code: u32,
        /// The peer's words, at most 256 bytes.
        reason: String,
    },
    /// This side aborted it without waiting for the peer.
    Aborted,
    /// The client gave up: no answer for so long, in so many exchanges (S9).
    GaveUp {
        /// How long no answer came.
        silence: Duration,
        /// Exchanges begun and failed meanwhile.
        exchanges: u32,
    },
    /// The server heard no request for so long (S9).
    Idle {
        /// How long.
        silence: Duration,
    },
    /// The server does not know the session (any more): it was restarted, or forgot it.
    Gone,
    /// A new session of the same client took this one's place.
    Replaced,
    /// A close got no further for so long; this much was not acknowledged.
    Stalled {
        /// Bytes of streams that may not have arrived.
        unacknowledged: u64,
    },
    /// The peer broke a rule.
    Violation(Violation),
    /// The peer speaks only other versions.
    Version {
        /// The lowest version it speaks.
        lowest: u8,
        /// The highest version it speaks.
        highest: u8,
    },
}

impl CloseReason {
    /// Whether the session ended as somebody wanted, with nothing lost.
    pub fn is_clean(&self) -> bool {
        matches!(self, CloseReason::Local | CloseReason::Peer { code: 0, .. })
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Local => f.write_str("closed by this side"),
            CloseReason::Peer { code, reason } if reason.is_empty() => {
                write!(f, "closed by the peer (code {code})")
            }
            CloseReason::Peer { code, reason } => {
                write!(f, "closed by the peer (code {code}): {reason}")
            }
            CloseReason::Aborted => f.write_str("aborted by this side"),
            CloseReason::GaveUp { silence, exchanges } => {
                write!(
                    f,
                    "no answer from the server for {} s, in {exchanges} exchanges",
                    silence.as_secs()
                )
            }
            CloseReason::Idle { silence } => {
                write!(f, "no request from the client for {} s", silence.as_secs())
            }
            CloseReason::Gone => {
                f.write_str("the server does not know this session any more (was it restarted?)")
            }
            CloseReason::Replaced => {
                f.write_str("the client opened a new session in place of this one")
            }
            CloseReason::Stalled { unacknowledged } => {
                write!(
                    f,
                    "closing got no further; {unacknowledged} bytes may not have arrived"
                )
            }
            CloseReason::Violation(v) => write!(f, "the peer {v}"),
            CloseReason::Version { lowest, highest } => {
                write!(
                    f,
                    "the server speaks versions {lowest} to {highest} of the protocol only"
                )
            }
        }
    }
}
