//! Why a stream was reset: the codes that travel in a reset between `serve` and `connect`, and their words.

use std::fmt;
use std::io;

use posthole_protocol::{ReadError, WriteError};

/// The reason given with a stream's reset. A code that is not known reads as [`Refusal::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The TCP connection at the other end was reset, or ended in some other way that TCP calls an error.
    Reset,
    /// The stream did not say where it wants to go (`preamble`).
    Preamble,
    /// The server's allow list does not name this destination.
    NotAllowed,
    /// The destination's name has no address.
    NameNotFound,
    /// Nobody listens there.
    ConnectionRefused,
    /// There is no way there.
    Unreachable,
    /// No answer came from there in time.
    TimedOut,
    /// The server carries as many connections as it may, or is being shut down.
    Busy,
    /// It failed in some other way; the server's log says how.
    Failed,
    /// Another client has taken over the port that the server listened on.
    TakenOver,
    /// Another program has the port that the server was to listen on.
    PortTaken,
}

impl Refusal {
    /// Every one of them.
    pub const ALL: [Refusal; 11] = [
        Refusal::Reset,
        Refusal::Preamble,
        Refusal::NotAllowed,
        Refusal::NameNotFound,
        Refusal::ConnectionRefused,
        Refusal::Unreachable,
        Refusal::TimedOut,
        Refusal::Busy,
        Refusal::Failed,
        Refusal::TakenOver,
        Refusal::PortTaken,
    ];

    /// The code on the wire. 0 is left to streams that are dropped without a word.
    pub fn code(self) -> u32 {
        match self {
            Refusal::Reset => 1,
            Refusal::Preamble => 2,
            Refusal::NotAllowed => 3,
            Refusal::NameNotFound => 4,
            Refusal::ConnectionRefused => 5,
            Refusal::Unreachable => 6,
            Refusal::TimedOut => 7,
            Refusal::Busy => 8,
            Refusal::Failed => 9,
            Refusal::TakenOver => 10,
            Refusal::PortTaken => 11,
        }
    }

    /// The reason that a code stands for.
    pub fn from_code(code: u32) -> Refusal {
        Refusal::ALL
            .into_iter()
            .find(|r| r.code() == code)
            .unwrap_or(if code == 0 {
                Refusal::Reset
            } else {
                Refusal::Failed
            })
    }

    /// What to say of an attempt to connect that ended like this.
    pub fn of_connect(error: &io::Error) -> Refusal {
        // `ErrorKind` is non-exhaustive and far longer than what a connect can give.
        #[allow(clippy::wildcard_enum_match_arm)]
        match error.kind() {
            // Without a socket's file nobody listens either.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                Refusal::ConnectionRefused
            }
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Refusal::Unreachable,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Refusal::TimedOut,
            io::ErrorKind::ConnectionReset => Refusal::Reset,
            _ => Refusal::Failed,
        }
    }

    /// Whether the destination was never reached: worth a line of its own, where the end of a connection is not.
    pub fn is_refusal(self) -> bool {
        self != Refusal::Reset
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Reset => "connection reset",
            Refusal::Preamble => "the stream did not say where it wants to go",
            Refusal::NotAllowed => "not allowed by the server (see serve --allow)",
            Refusal::NameNotFound => "name not found",
            Refusal::ConnectionRefused => "connection refused",
            Refusal::Unreachable => "unreachable",
            Refusal::TimedOut => "timed out",
            Refusal::Busy => "the server takes no more connections now",
            Refusal::Failed => "failed (the server's log says how)",
            Refusal::TakenOver => {
                "another client has taken this port over; it is not asked for again"
            }
            Refusal::PortTaken => "another program has this port at the server",
        })
    }
}

/// The reason that the peer gave for ending a stream, if the peer it was.
pub(crate) fn refusal_in(error: &io::Error) -> Option<Refusal> {
    let inner = error.get_ref()?;
    let code = match (
        inner.downcast_ref::<ReadError>(),
        inner.downcast_ref::<WriteError>(),
    ) {
        (Some(ReadError::Reset(code)), _) | (_, Some(WriteError::Stopped(code))) => code.0,
        _ => return None,
    };
    Some(Refusal::from_code(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_from_its_code_and_none_is_zero() {
        for reason in Refusal::ALL {
            assert_eq!(Refusal::from_code(reason.code()), reason);
            assert_ne!(reason.code(), 0);
        }
        assert_eq!(Refusal::from_code(0), Refusal::Reset);
        assert_eq!(Refusal::from_code(77), Refusal::Failed);
    }

    #[test]
    fn what_connect_says_becomes_a_reason() {
        for (kind, reason) in [
            (io::ErrorKind::ConnectionRefused, Refusal::ConnectionRefused),
            (io::ErrorKind::HostUnreachable, Refusal::Unreachable),
            (io::ErrorKind::TimedOut, Refusal::TimedOut),
            (io::ErrorKind::PermissionDenied, Refusal::Failed),
        ] {
            assert_eq!(Refusal::of_connect(&io::Error::from(kind)), reason);
        }
    }
}
