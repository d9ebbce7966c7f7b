//! Connecting to a destination that was allowed: its addresses are tried one after the other. What there is to know of
//! it without doing it.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::refusal::Refusal;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NotDialled {
    /// For the client.
    pub(crate) why: Refusal,
    /// For the log, in the system's words.
    detail: Option<io::Error>,
}

impl NotDialled {
    /// The name has no address; `detail` if that is the resolver's word.
    pub(crate) fn not_found(detail: Option<io::Error>) -> NotDialled {
        NotDialled {
            why: Refusal::NameNotFound,
            detail,
        }
    }

    /// The last address that was tried did not answer, or in this way.
    pub(crate) fn of_connect(detail: io::Error) -> NotDialled {
        NotDialled {
            why: Refusal::of_connect(&detail),
            detail: Some(detail),
        }
    }
}

impl fmt::Display for NotDialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{} ({detail})", self.why),
            None => self.why.fmt(f),
        }
    }
}

/// How long to try one address, if `others` are left besides and all must be tried by `until`.
pub(crate) fn share(until: Instant, others: usize) -> Duration {
    let left = until.saturating_duration_since(Instant::now());
    let all = u32::try_from(others + 1).unwrap_or(u32::MAX);
    // Zero is not a time-out; a millisecond at least gives loopback its chance.
    (left / all).max(Duration::from_millis(1))
}
