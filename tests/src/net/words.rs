//! What a test says to the network, and what comes out of it.

use crate::fault::Outage;
use bytes::Bytes;
use posthole_protocol::{ExchangeId, Failure, RequestId};

/// What comes out of the network at one of its ends.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A request reaches a server.
    Request {
        /// Which server.
        host: usize,
        /// The name of this copy of it.
        request: RequestId,
        /// Its body.
        body: Bytes,
    },
    /// A server learns that nobody waits for this answer.
    Hangup {
        /// Which server.
        host: usize,
        /// Which copy.
        request: RequestId,
    },
    /// A response with status 200 reaches the client.
    Answer {
        /// Which client.
        client: usize,
        /// Which exchange.
        exchange: ExchangeId,
        /// Its body.
        body: Bytes,
    },
    /// The client's HTTP stack reports a failure.
    Failed {
        /// Which client.
        client: usize,
        /// Which exchange.
        exchange: ExchangeId,
        /// What it says.
        why: Failure,
    },
    /// Bundles reach the client on its direct connection, or in an answer that has not ended.
    Bundles {
        /// Which client.
        client: usize,
        /// Which long exchange.
        exchange: ExchangeId,
        /// What came.
        body: Bytes,
    },
    /// A client's direct connection has taken what was written last.
    Written {
        /// Which client.
        client: usize,
        /// Which long exchange.
        exchange: ExchangeId,
    },
    /// A server's direct connection has taken what was written last, or a streamed answer has.
    Said {
        /// Which server.
        host: usize,
        /// Which connection.
        request: RequestId,
    },
    /// What came of a client's dialling.
    Dialled {
        /// Which client.
        client: usize,
        /// Whether there is a connection.
        there: bool,
    },
    /// The client's HTTP stack saw bytes move.
    Progress {
        /// Which client.
        client: usize,
        /// Which exchange.
        exchange: ExchangeId,
    },
}

/// What the path is like.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// One way, towards the server.
    pub delay_up: u64,
    /// One way, towards the client.
    pub delay_down: u64,
    /// So much more at most, drawn anew each time: exchanges overtake one another.
    pub jitter: u64,
    /// Whether a server hears that a client has gone.
    pub hangups: bool,
    /// The largest request a box lets through; others meet 413.
    pub limit_up: Option<usize>,
    /// The largest answer a box lets through; others become 502.
    pub limit_down: Option<usize>,
    /// How many exchanges a queueing box has under way at once; others wait in silence.
    pub lanes: Option<usize>,
    /// After so long a box answers 504 in the server's place.
    pub hold_limit: Option<u64>,
    /// With what status a box refuses all requests but form uploads.
    pub only_forms: Option<u16>,
    /// With what status a box refuses form uploads.
    pub no_forms: Option<u16>,
    /// Whether a box passes on what has come of an answer before it has ended.
    pub streams: bool,
    /// When nothing gets through.
    pub outages: Vec<Outage>,
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions {
            delay_up: 25_000,
            delay_down: 25_000,
            jitter: 0,
            hangups: true,
            limit_up: None,
            limit_down: None,
            lanes: None,
            hold_limit: None,
            only_forms: None,
            no_forms: None,
            streams: true,
            outages: Vec::new(),
        }
    }
}

/// All that was sent, for tests that send it again.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Bodies of requests, with the client.
    pub requests: Vec<(usize, Bytes)>,
    /// Bodies of answers, with the client and the exchange.
    pub answers: Vec<(usize, u64, Bytes)>,
}
