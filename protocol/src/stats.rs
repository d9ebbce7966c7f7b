//! What has happened so far, in numbers. Decides nothing, so it is left out of equality and hashes.

use core::hash::{Hash, Hasher};

/// Counts since a session began.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Exchanges begun (client) or arrived (server).
    pub exchanges: u64,
    /// Exchanges that came to nothing, as far as this side knows.
    pub lost: u64,
    /// Bundles that could not be read.
    pub unreadable: u64,
    /// Messages sent, copies counted.
    pub messages: u64,
    /// Messages that were sent again.
    pub resent: u64,
    /// Bytes of bodies sent.
    pub bytes_out: u64,
    /// Bytes of bodies received.
    pub bytes_in: u64,
    /// The number from which on a message was never sent before.
    pub(crate) next: u64,
}

impl PartialEq for Stats {
    fn eq(&self, _: &Stats) -> bool {
        true
    }
}

impl Eq for Stats {}

impl Hash for Stats {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
