//! How a session ends (S10, A24; PROTOCOL §8).
//!
//! ```text
//! Open ──want──> Wanted ──nothing left to send──> Sent ──┐
//!   └──── the peer's CLOSE, everything before it here ───┴──> over, once both have been sent and received
//! ```

use crate::error::CloseReason;
use crate::time::Instant;
use alloc::string::String;

/// Our own CLOSE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Ours {
    #[default]
    Open,
    /// To be sent when nothing else is left.
    Wanted { code: u32, reason: String },
    /// Sent as this message.
    Sent { number: u64 },
}

/// The peer's CLOSE; in force once everything before it has arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Theirs {
    number: u64,
    code: u32,
    reason: String,
    in_force: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ending {
    pub(crate) ours: Ours,
    theirs: Option<Theirs>,
    /// The peer may be a copy of an old one: its CLOSE waits until it is known not to be.
    pub(crate) unvouched: bool,
    /// It was this side that began.
    by_us: bool,
    /// Over as soon as CLOSE has been sent, for this reason.
    pub(crate) dying: Option<CloseReason>,
    /// When closing last got further.
    pub(crate) progress_at: Option<Instant>,
    pub(crate) over: Option<CloseReason>,
    told: bool,
}

impl Ending {
    /// This side ends the session; it has not said so yet.
    pub(crate) fn want(&mut self, code: u32, reason: String, dying: Option<CloseReason>) {
        // A broken rule is said in place of whatever was to be said.
        if self.ours == Ours::Open || dying.is_some() {
            self.ours = Ours::Wanted { code, reason };
            self.by_us = true;
            self.dying = dying;
        }
    }

    pub(crate) fn on_close(&mut self, number: u64, code: u32, reason: String) {
        self.theirs.get_or_insert(Theirs {
            number,
            code,
            reason,
            in_force: false,
        });
    }

    /// Everything below `next` has arrived. A CLOSE for a broken rule waits for nothing (§8.4). Says whether the peer's CLOSE comes into force by that.
    pub(crate) fn on_inbox(&mut self, next: u64) -> bool {
        let Some(theirs) = self
            .theirs
            .as_mut()
            .filter(|t| !t.in_force && !self.unvouched && (t.number < next || t.code >= 0x100))
        else {
            return false;
        };
        theirs.in_force = true;
        if self.ours == Ours::Open {
            self.ours = Ours::Wanted {
                code: 0,
                reason: String::new(),
            };
        }
        true
    }

    /// CLOSE is being sent as message `number`.
    pub(crate) fn on_sent(&mut self, number: u64) -> Option<(u32, String)> {
        if let Some(reason) = self.dying.take() {
            self.over.get_or_insert(reason);
        }
        match core::mem::replace(&mut self.ours, Ours::Sent { number }) {
            Ours::Wanted { code, reason } => Some((code, reason)),
            was @ (Ours::Open | Ours::Sent { .. }) => {
                self.ours = was;
                None
            }
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.ours != Ours::Open
    }

    pub(crate) fn is_wanted(&self) -> bool {
        matches!(self.ours, Ours::Wanted { .. })
    }

    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.ours, Ours::Sent { .. })
    }

    /// Whether our CLOSE has arrived, where every message below `base` has.
    pub(crate) fn is_acknowledged(&self, base: u64) -> bool {
        matches!(self.ours, Ours::Sent { number } if number < base)
    }

    /// Whether our CLOSE is all of `base..next`, the messages that were not acknowledged.
    pub(crate) fn is_all_that_is_left(&self, base: u64, next: u64) -> bool {
        matches!(self.ours, Ours::Sent { number } if number <= base && number + 1 == next)
    }

    /// Whether the peer's CLOSE is in force.
    pub(crate) fn is_received(&self) -> bool {
        self.theirs.as_ref().is_some_and(|t| t.in_force)
    }

    /// Why a session ends whose CLOSE was both sent and received.
    pub(crate) fn reason(&self) -> CloseReason {
        match &self.theirs {
            Some(theirs) if !self.by_us => CloseReason::Peer {
                code: theirs.code,
                reason: theirs.reason.clone(),
            },
            _ => CloseReason::Local,
        }
    }

    pub(crate) fn poll_closed(&mut self) -> Option<CloseReason> {
        if self.told {
            return None;
        }
        let over = self.over.clone()?;
        self.told = true;
        Some(over)
    }
}
