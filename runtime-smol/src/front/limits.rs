//! What a front lets strangers use.

use std::time::{Duration, Instant};

/// Bounds on what clients, and strangers, may make a front spend.
///
/// Memory that a front can be made to hold is at most `connections * (head + 64 KiB) + bodies`, beside what the
/// service keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once; one more is told 503 and closed. 16384: room for ten thousand clients and the second
    /// connections of some.
    pub connections: usize,
    /// Bytes of a request's head, 431 beyond. 16 KiB, the default of Node.js; heads of ours through boxes are
    /// below 1 KiB.
    pub head: usize,
    /// From the first byte of a head to its last, 408 beyond. 10 s: Apache's `mod_reqtimeout` begins at 20 s, and a
    /// head of ours is one packet.
    pub head_time: Duration,
    /// Bytes of one body, 413 beyond. 1 MiB: the largest that nginx passes on as Debian configures it.
    pub body: usize,
    /// Bytes that all bodies being read may have allocated together, 503 with `Retry-After` beyond. 64 MiB.
    pub bodies: usize,
    /// How long a body may take beside what [`min_rate`](Self::min_rate) allows for its bytes, 408 beyond. 10 s, as
    /// Apache's `mod_reqtimeout` in Debian's configuration. The same holds for replies and their readers.
    pub body_time: Duration,
    /// Bytes per second that a body must come in at, or a reply be taken at. 500, as Apache's `MinRate`.
    pub min_rate: u32,
    /// How long a connection stays open without a request. 150 s: the server must outlast the boxes' idle time
    /// (squid 120 s, AWS and others 60 s), or a request crosses the close on the wire and is lost.
    pub idle: Duration,
    /// Bytes still taken after a refusal, so that the client, still sending, gets to read it. 8 MiB.
    pub linger: usize,
    /// How long they are taken for. 5 s.
    pub linger_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 16 * 1024,
            head: 16 * 1024,
            head_time: Duration::from_secs(10),
            body: 1024 * 1024,
            bodies: 64 * 1024 * 1024,
            body_time: Duration::from_secs(10),
            min_rate: 500,
            idle: Duration::from_secs(150),
            linger: 8 * 1024 * 1024,
            linger_time: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// When the next byte is late of a body, or of a reply on its way out, of which so many have moved since it
    /// `begun`; `None`: never.
    pub(super) fn late(&self, begun: Instant, moved: usize) -> Option<Instant> {
        let time = Duration::from_secs(moved as u64 / u64::from(self.min_rate.max(1)));
        begun.checked_add(self.body_time.checked_add(time)?)
    }
}
