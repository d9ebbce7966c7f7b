//! One stream as the table keeps it: both halves, and what it has to say and to tell.

use super::recv::{RecvHalf, RecvState};
use super::send::{SendHalf, SendState};
use super::{WORTH_SAYING, share};
use crate::config::OWN_CREDIT;
use crate::error::ResetCode;
use crate::event::Event;
use crate::id::StreamId;
use crate::wire::Control;

/// The queue that a stream with something to send is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Queue {
    None,
    /// Had nothing to send before: a keystroke goes ahead of other streams' backlog.
    Fresh,
    Bulk,
    /// Has no credit: not waiting (A3).
    NoCredit,
}

/// How much a control message of a stream matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Say {
    Nothing,
    /// Travels with the next bundle, or soon.
    Lazy,
    /// Is a reason for a bundle.
    Urgent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) send: SendHalf,
    pub(super) recv: RecvHalf,
    /// Opened by us, and the peer has not been told.
    pub(super) hello: bool,
    pub(super) queue: Queue,
    pub(super) say: Say,
    pub(super) news: bool,
    pub(super) finished: bool,
}

/// What a stream has of what all share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    /// Of the peer's pool.
    pub(super) charged: u64,
    /// Of the pool for what is to be sent.
    pub(super) pooled: u64,
    /// Of the pool for what was received.
    pub(super) received: u64,
}

impl Entry {
    pub(super) fn shares(&self) -> Shares {
        Shares {
            charged: self.send.charged(),
            pooled: self.send.pooled(),
            received: self.recv.charged(),
        }
    }

    pub(super) fn has_read_news(&self) -> bool {
        match self.recv.state {
            RecvState::Open => self.recv.has_bytes() || self.recv.at_end(),
            RecvState::Reset { .. } | RecvState::Ended | RecvState::Stopped { .. } => true,
        }
    }

    /// Whether and how much this stream has something to say.
    pub(super) fn say_level(&self, pool: u64, received: u64) -> Say {
        if matches!(self.send.state, SendState::Reset { said: false, .. })
            || (matches!(self.recv.state, RecvState::Stopped { said: false, .. })
                && self.recv.size.is_none())
        {
            return Say::Urgent;
        }
        let recv = &self.recv;
        let grows = recv.could_announce() - recv.announced;
        if grows == 0 || matches!(recv.state, RecvState::Reset { .. }) {
            return Say::Nothing;
        }
        if recv.size.is_some_and(|size| size <= recv.announced) {
            return Say::Nothing; // the peer has sent all it has
        }
        if recv.size.is_some() && recv.consumed() == recv.highest {
            return Say::Lazy; // the peer's pool gets the rest back
        }
        if grows < WORTH_SAYING || recv.highest + WORTH_SAYING < recv.announced {
            return Say::Nothing;
        }
        let others = received - recv.charged();
        let window = OWN_CREDIT + share(pool, others);
        let left = (recv.announced + share(pool, others)).saturating_sub(recv.highest);
        if left < window / 2 || grows >= window / 2 {
            Say::Urgent
        } else {
            Say::Lazy
        }
    }

    /// Says one thing and notes that it is said.
    pub(super) fn say(&mut self, id: StreamId) -> Option<Control> {
        if let SendState::Reset {
            code,
            said: said @ false,
        } = &mut self.send.state
        {
            *said = true;
            self.hello = false;
            return Some(Control::Reset {
                stream: id,
                code: *code,
                size: self.send.sent,
            });
        }
        if let RecvState::Stopped {
            code,
            said: said @ false,
        } = &mut self.recv.state
        {
            *said = true;
            if self.recv.size.is_none() {
                return Some(Control::Stop {
                    stream: id,
                    code: *code,
                });
            }
        }
        let limit = self.recv.could_announce();
        if limit == self.recv.announced {
            return None;
        }
        self.recv.announced = limit;
        Some(Control::StreamCredit { stream: id, limit })
    }

    pub(super) fn next_news(
        &mut self,
        id: StreamId,
        room: u64,
        closing: bool,
        closed: bool,
    ) -> Option<Event> {
        if core::mem::take(&mut self.finished) {
            return Some(Event::Finished(id));
        }
        if self.recv.blocked && (closed || self.has_read_news()) {
            self.recv.blocked = false;
            return Some(Event::Readable(id));
        }
        if self.send.is_news(room, closing) {
            self.send.blocked = false;
            return Some(Event::Writable(id));
        }
        None
    }

    /// Gives up the sending half.
    pub(super) fn reset(&mut self, code: ResetCode) -> bool {
        if matches!(
            self.send.state,
            SendState::Done { .. } | SendState::Reset { .. }
        ) {
            return false;
        }
        self.send.queue.clear();
        self.send.unacked = 0;
        self.send.state = SendState::Reset { code, said: false };
        true
    }
}
