//! What keeps a session from beginning.

use crate::carrier;
use posthole_protocol::CloseReason;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// Why there is no session.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL, the proxy or the TLS settings make no sense.
    Target(carrier::ConnectError),
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
            ConnectError::Target(_) => ErrorKind::InvalidInput,
            ConnectError::System(error) => error.kind(),
            ConnectError::NoAnswer { .. } => ErrorKind::TimedOut,
            ConnectError::Ended(_) => ErrorKind::ConnectionRefused,
        };
        io::Error::new(kind, error)
    }
}
