//! What goes wrong, in the words that code written for sockets knows. The one place where `io::Error` is made of what
//! the core says.

use posthole_protocol::http::WayError;
use posthole_protocol::{CloseReason, ReadError, WriteError};
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// Why there is no session.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL, the proxy or the TLS settings make no sense.
    Target(WayError),
    /// What is wrong with the address for direct connections.
    Direct(String),
    /// The system has no random bytes to give.
    System(io::Error),
    /// No answer of the server came in time.
    NoAnswer {
        /// How long was waited.
        waited: Duration,
        /// What stood in the way when last tried, if anything said so.
        trouble: Option<String>,
    },
    /// The server answered, and ended it.
    Ended(CloseReason),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Target(error) => error.fmt(f),
            ConnectError::Direct(what) => f.write_str(what),
            ConnectError::System(error) => write!(f, "no random bytes: {error}"),
            ConnectError::NoAnswer {
                waited,
                trouble: None,
            } => {
                write!(f, "no answer within {} s", waited.as_secs_f32())
            }
            ConnectError::NoAnswer {
                waited,
                trouble: Some(trouble),
            } => {
                write!(f, "no answer within {} s: {trouble}", waited.as_secs_f32())
            }
            ConnectError::Ended(reason) => reason.fmt(f),
        }
    }
}

impl Error for ConnectError {}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> io::Error {
        let kind = match &error {
            ConnectError::Target(_) | ConnectError::Direct(_) => ErrorKind::InvalidInput,
            ConnectError::System(error) => error.kind(),
            ConnectError::NoAnswer { .. } => ErrorKind::TimedOut,
            ConnectError::Ended(_) => ErrorKind::ConnectionRefused,
        };
        io::Error::new(kind, error)
    }
}

/// Inside an [`io::Error`]: the session has ended, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnded(pub CloseReason);

impl fmt::Display for SessionEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the session has ended: {}", self.0)
    }
}

impl Error for SessionEnded {}

/// What whoever uses an ended session gets. Never `TimedOut`, which much code takes for a reason to try again.
impl From<SessionEnded> for io::Error {
    fn from(ended: SessionEnded) -> io::Error {
        let kind = match ended.0 {
            CloseReason::Local | CloseReason::Aborted => ErrorKind::NotConnected,
            CloseReason::Peer { .. }
            | CloseReason::GaveUp { .. }
            | CloseReason::Idle { .. }
            | CloseReason::Gone
            | CloseReason::Replaced
            | CloseReason::Stalled { .. }
            | CloseReason::Violation(_)
            | CloseReason::Version { .. }
            | _ => ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, ended)
    }
}

/// A closing session has no reason yet.
pub(crate) fn closed_error(closed: Option<&CloseReason>) -> io::Error {
    closed.map_or_else(
        || io::Error::new(ErrorKind::NotConnected, "the session is being closed"),
        |reason| SessionEnded(reason.clone()).into(),
    )
}

pub(crate) fn read_error(error: ReadError, closed: Option<&CloseReason>) -> io::Error {
    match error {
        ReadError::Closed => closed_error(closed),
        ReadError::Stopped => io::Error::new(ErrorKind::NotConnected, error),
        // Whatever a later core adds: the bytes are not complete.
        ReadError::Reset(_) | _ => io::Error::new(ErrorKind::ConnectionReset, error),
    }
}

pub(crate) fn write_error(error: WriteError, closed: Option<&CloseReason>) -> io::Error {
    match error {
        WriteError::Closed => closed_error(closed),
        WriteError::Finished | WriteError::Stopped(_) | _ => {
            io::Error::new(ErrorKind::BrokenPipe, error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthole_protocol::ResetCode;

    #[test]
    fn what_ended_otherwise_than_here_was_aborted_and_never_timed_out() {
        let silence = Duration::from_secs(90);
        for (reason, expected) in [
            (CloseReason::Local, ErrorKind::NotConnected),
            (CloseReason::Aborted, ErrorKind::NotConnected),
            (
                CloseReason::Peer {
                    code: 0,
                    reason: "bye".into(),
                },
                ErrorKind::ConnectionAborted,
            ),
            (CloseReason::Idle { silence }, ErrorKind::ConnectionAborted),
            (
                CloseReason::GaveUp {
                    silence,
                    exchanges: 9,
                },
                ErrorKind::ConnectionAborted,
            ),
            (CloseReason::Gone, ErrorKind::ConnectionAborted),
            (CloseReason::Replaced, ErrorKind::ConnectionAborted),
        ] {
            for error in [
                SessionEnded(reason.clone()).into(),
                read_error(ReadError::Closed, Some(&reason)),
                write_error(WriteError::Closed, Some(&reason)),
            ] {
                assert_eq!(error.kind(), expected, "{reason}");
                let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
                assert_eq!(inside, Some(&SessionEnded(reason.clone())));
            }
        }
        let closing = read_error(ReadError::Closed, None);
        assert_eq!(closing.kind(), ErrorKind::NotConnected);
        // What ended the stream alone.
        let reset = read_error(ReadError::Reset(ResetCode(1)), None);
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        let stopped = write_error(WriteError::Stopped(ResetCode(1)), None);
        assert_eq!(stopped.kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn only_who_waited_in_vain_was_late() {
        let silent = ConnectError::NoAnswer {
            waited: Duration::from_secs(1),
            trouble: None,
        };
        assert_eq!(io::Error::from(silent).kind(), ErrorKind::TimedOut);
        let nonsense = ConnectError::Direct("x".into());
        assert_eq!(io::Error::from(nonsense).kind(), ErrorKind::InvalidInput);
    }
}
