//! What a front lets strangers use.

use std::time::{Duration, Instant};

/// Bounds on what clients, and strangers, may make a front spend.
///
/// Memory that a front can be made to hold is at most `bodies`, and for each connection the head and what serving it
/// takes (on threads the part of the stack that is touched, on tasks 64 KiB), beside what the service keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once; one more is told 503 and closed. 4096, as each has a thread: an idle one was measured
    /// at 16 KiB, so 64 MiB. [For tasks](Limits::for_tasks) 16,384.
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
    /// Stack of a connection's thread in bytes, where connections have threads; the service runs on it. 128 KiB, of which
    /// only what is touched becomes memory; 20 KiB have been measured to do for a service that echoes.
    pub stack: usize,
}

/// For a front with a thread for each connection.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            head: 16 * 1024,
            head_time: Duration::from_secs(10),
            body: 1024 * 1024,
            bodies: 64 * 1024 * 1024,
            body_time: Duration::from_secs(10),
            min_rate: 500,
            idle: Duration::from_secs(150),
            linger: 8 * 1024 * 1024,
            linger_time: Duration::from_secs(5),
            stack: 128 * 1024,
        }
    }
}

impl Limits {
    /// As the default, for a front with a task for each connection: 16,384 connections, which is ten thousand clients
    /// and the second connections of those that send just then. An idle one was measured at 9.7 KiB, so 155 MiB.
    pub fn for_tasks() -> Limits {
        Limits {
            connections: 16_384,
            ..Limits::default()
        }
    }

    /// How long `bytes` may take on the wire.
    pub fn time_for(&self, bytes: usize) -> Duration {
        let bytes = bytes as u64 / u64::from(self.min_rate.max(1));
        self.body_time.saturating_add(Duration::from_secs(bytes))
    }

    /// When the next byte is late of a body, or of a reply on its way out, of which so many have moved since it
    /// `begun`; `None`: never.
    pub fn late(&self, begun: Instant, moved: usize) -> Option<Instant> {
        begun.checked_add(self.time_for(moved))
    }

    /// How often whoever serves a connection looks at the clock while a request is partly here: often enough that no
    /// deadline is passed by much, and seldom enough to cost nothing.
    pub fn tick(&self) -> Duration {
        Duration::from_secs(1)
            .min(self.head_time)
            .min(self.body_time)
            .min(self.linger_time)
            .max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // Fronts take the system's time; any moment does.
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn bytes_have_time_by_their_rate() {
        let limits = Limits::default();
        assert_eq!(limits.time_for(0), 10 * SEC);
        assert_eq!(limits.time_for(5_000), 20 * SEC);
        let begun = Instant::now();
        assert_eq!(limits.late(begun, 5_000), begun.checked_add(20 * SEC));
    }

    #[test]
    fn the_lowest_rate_is_a_byte_a_second_and_the_longest_time_never_ends() {
        let limits = Limits {
            min_rate: 0,
            ..Limits::default()
        };
        assert_eq!(limits.time_for(7), 17 * SEC);
        let limits = Limits {
            body_time: Duration::MAX,
            ..limits
        };
        assert_eq!(limits.time_for(7), Duration::MAX);
        assert_eq!(limits.late(Instant::now(), 7), None);
    }

    /// squid keeps connections for 120 s.
    #[test]
    fn connections_outlast_those_of_boxes() {
        assert!(Limits::default().idle > 120 * SEC);
        assert!(Limits::for_tasks().idle > 120 * SEC);
    }
}
