//! The sending half of one stream (PROTOCOL §6).

use super::WORTH_WAKING;
use super::pieces::Pieces;
use crate::config::OWN_CREDIT;
use crate::error::ResetCode;

/// How far the sending half has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SendState {
    /// The application may write.
    Open,
    /// It has finished; the last bytes, and that they are the last, have yet to be numbered.
    Finishing,
    /// The end has its number; not everything is acknowledged. `fin`: the end is.
    Sent { fin: bool },
    /// Given up by the application or the peer's wish; to be told (`said`) and acknowledged.
    Reset { code: ResetCode, said: bool },
    /// The peer has everything, or knows of the reset.
    Done { reset: bool },
}

/// Bytes written by the application and not yet confirmed by the peer.
///
/// Invariant: what was written = what is acknowledged + `unacked` + `queue`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SendHalf {
    pub(crate) state: SendState,
    pub(crate) queue: Pieces,
    /// The offset up to which bytes have got their numbers.
    pub(crate) sent: u64,
    pub(crate) unacked: u64,
    /// The offset up to which the stream's own credit reaches.
    pub(crate) limit: u64,
    /// The peer's code, if it wants no more.
    pub(crate) stopped: Option<ResetCode>,
    /// The application knows of that, or doesn't mean to write more.
    pub(crate) stop_told: bool,
    /// A write did not take everything, and the application waits for news.
    pub(crate) blocked: bool,
}

impl SendHalf {
    pub(crate) fn new() -> SendHalf {
        SendHalf {
            state: SendState::Open,
            queue: Pieces::default(),
            sent: 0,
            unacked: 0,
            limit: OWN_CREDIT,
            stopped: None,
            stop_told: false,
            blocked: false,
        }
    }

    /// Bytes kept.
    pub(crate) fn buffered(&self) -> u64 {
        self.queue.len() + self.unacked
    }

    /// Bytes kept beyond what the stream owns: its share of the session's send pool.
    pub(crate) fn pooled(&self) -> u64 {
        self.buffered().saturating_sub(OWN_CREDIT)
    }

    /// Bytes sent beyond the stream's own credit: its share of the peer's pool. A reset stream has none once the
    /// peer knows.
    pub(crate) fn charged(&self) -> u64 {
        match self.state {
            SendState::Done { reset: true } => 0,
            SendState::Open
            | SendState::Finishing
            | SendState::Sent { .. }
            | SendState::Reset { .. }
            | SendState::Done { reset: false } => self.sent.saturating_sub(self.limit),
        }
    }

    /// Whether so much room is reason to wake the writer: at least as much as still waits, so that each wake moves many
    /// bytes, as sockets have it.
    pub(crate) fn is_worth_waking(&self, room: u64) -> bool {
        room >= WORTH_WAKING.max(self.queue.len())
    }

    /// Whether a writer that waits is to be told, with so much room.
    pub(crate) fn is_news(&self, room: u64, closing: bool) -> bool {
        self.blocked && (closing || self.state != SendState::Open || self.is_worth_waking(room))
    }

    /// Whether there is something to be numbered, credit aside.
    pub(crate) fn is_waiting(&self) -> bool {
        match self.state {
            SendState::Open => !self.queue.is_empty(),
            SendState::Finishing => true,
            SendState::Sent { .. } | SendState::Reset { .. } | SendState::Done { .. } => false,
        }
    }

    /// Whether nothing of this half matters any more: the peer has it all, its credit is back, and the application
    /// knows if it was stopped.
    pub(crate) fn is_over(&self) -> bool {
        let told = self.stopped.is_none() || self.stop_told;
        matches!(self.state, SendState::Done { .. }) && self.charged() == 0 && told
    }
}
