//! One HTTP exchange as the network sees it, and what may still happen to it.

use crate::fault::Fault;
use bytes::Bytes;
use posthole_protocol::{ExchangeId, Failure};
use std::ops::Range;

/// One HTTP exchange as the network sees it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) client: usize,
    pub(super) exchange: ExchangeId,
    pub(super) body: Bytes,
    pub(super) patience: u64,
    /// Until when the client waits, unless bytes move.
    pub(super) until: u64,
    /// Whether the client still waits.
    pub(super) open: bool,
    /// Whether it has left a queueing box's line.
    pub(super) started: bool,
    pub(super) fault: Fault,
    pub(super) numbers: Vec<Range<u64>>,
    pub(super) lost: bool,
    pub(super) copies: [Copy; 2],
    /// Of a streamed answer: what has been sent, what a box keeps back, and when its last piece arrives.
    pub(super) pieces: Vec<Range<u64>>,
    pub(super) kept: Vec<u8>,
    pub(super) last_piece: u64,
    /// Nothing more of it arrives.
    pub(super) cut: bool,
    /// What a whole answer has carried, and since when, as long as nobody takes it for lost.
    pub(super) told: Option<(u64, Vec<Range<u64>>)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copy {
    pub(super) arrived: bool,
    pub(super) answered: bool,
    pub(super) hung_up: bool,
}

#[derive(Debug)]
pub(super) enum Happening {
    Arrive {
        call: u64,
        copy: usize,
    },
    Return {
        call: u64,
        body: Bytes,
        numbers: Vec<Range<u64>>,
        intact: bool,
    },
    Piece {
        call: u64,
        body: Bytes,
    },
    Moves {
        client: usize,
        exchange: ExchangeId,
    },
    Said {
        call: u64,
        copy: usize,
    },
    Fail {
        call: u64,
        why: Failure,
    },
    Hangup {
        call: u64,
        copy: usize,
    },
    Patience {
        call: u64,
    },
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) numbers: Vec<Range<u64>>,
    pub(super) intact: bool,
}

impl Call {
    pub(super) fn is_answered(&self) -> bool {
        self.copies.iter().any(|copy| copy.answered)
    }
}
