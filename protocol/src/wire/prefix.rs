//! What stands before the messages (PROTOCOL §3.3 to §3.5).

use crate::id::{Instance, Nonce, SessionId};
use alloc::vec::Vec;
use core::ops::Range;

/// How many ranges an acknowledgement holds at most.
pub const MAX_RANGES: usize = 64;

/// What has arrived: everything below `next`, and these ranges above it (rising, never adjacent).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ack {
    /// Everything below this number has arrived.
    pub next: u64,
    /// What has arrived beyond it.
    pub ranges: Vec<Range<u64>>,
}

/// What a side says of itself at the opening (PROTOCOL §3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params {
    /// How many streams the receiver of this may open at first.
    pub streams: u64,
    /// Lowest and highest version spoken.
    pub versions: Option<(u8, u8)>,
    /// Microseconds for which this side may owe an acknowledgement.
    pub ack_delay: Option<u64>,
    /// Microseconds of silence after which this side ends the session.
    pub idle: Option<u64>,
    /// The server's instance.
    pub instance: Option<Instance>,
    /// The largest body that the server reads.
    pub body_max: Option<u64>,
    /// The session that this one replaces.
    pub replaces: Option<SessionId>,
}

/// The prefix of a request (PROTOCOL §3.3), without the ids, which stand in the head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestPrefix {
    /// Present until the server has answered.
    pub opening: Option<Params>,
    /// The nonce of the server's answer.
    pub echo: Option<Nonce>,
    /// What has arrived.
    pub ack: Ack,
    /// The pool, in bytes.
    pub credit: u64,
    /// Answers that could not be read so far.
    pub unread: u64,
    /// The re-send timer in microseconds.
    pub timer: u64,
    /// The numbers of the other exchanges that are open, falling.
    pub open: Vec<u64>,
    /// How many exchanges the server is to hold.
    pub hold: u64,
    /// How many milliseconds it may hold this one.
    pub wait: u64,
    /// The largest answer wanted, in bytes.
    pub answer_max: u64,
    /// Bytes that could be sent at once, were there room.
    pub backlog: u64,
}

/// The prefix of an answer (PROTOCOL §3.4), without the numbers, which stand in the head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnswerPrefix {
    /// Present until the client has shown that it knows.
    pub opening: Option<Params>,
    /// To be echoed in the next request.
    pub nonce: Option<Nonce>,
    /// Whether the messages of this exchange's request were read.
    pub read: bool,
    /// What has arrived.
    pub ack: Ack,
    /// The pool, in bytes.
    pub credit: u64,
    /// Requests that could not be read so far.
    pub unread: u64,
    /// Microseconds from the request's arrival to this answer.
    pub held_for: u64,
    /// The newest exchange that has arrived.
    pub newest: u64,
    /// The exchanges that the server still holds, falling.
    pub held: Vec<u64>,
    /// Bytes that could be sent at once, were there room.
    pub backlog: u64,
}

impl RequestPrefix {
    /// The most bytes that head and prefix take together.
    pub fn cost(&self) -> usize {
        todo!()
    }
}

impl AnswerPrefix {
    /// The most bytes that head and prefix take together.
    pub fn cost(&self) -> usize {
        todo!()
    }
}
