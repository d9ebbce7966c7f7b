//! What the peer says of streams, and what of it breaks a rule (PROTOCOL §6).

use super::Streams;
use super::send::SendState;
use crate::error::Violation;
use crate::id::StreamId;
use crate::outbox::{Delivered, DeliveredWhat};
use crate::wire::Control;
use bytes::Bytes;

impl Streams {
    /// Makes sure that the peer may speak of this stream, and that it is there if it should be.
    fn reach(&mut self, id: StreamId) -> Result<(), Violation> {
        let index = id.0 >> 1;
        if self.is_ours(id) {
            return if index < self.opened {
                Ok(())
            } else {
                Err(Violation::StreamCount)
            };
        }
        if index >= self.theirs_told {
            return Err(Violation::StreamCount);
        }
        while self.theirs <= index {
            let id = StreamId(self.theirs * 2 + (self.side as u64 ^ 1));
            self.theirs += 1;
            self.add(id, false);
            self.incoming.push_back(id);
            self.incoming_news = true;
        }
        Ok(())
    }

    pub(crate) fn on_data(
        &mut self,
        id: StreamId,
        offset: u64,
        payload: Bytes,
        fin: bool,
        body: usize,
    ) -> Result<(), Violation> {
        self.reach(id)?;
        if let Some(result) = self.update(id, |e| e.recv.insert(offset, payload, fin, body)) {
            result?;
        }
        if self.received > self.pool {
            Err(Violation::Credit)
        } else {
            Ok(())
        }
    }

    pub(crate) fn on_control(&mut self, control: &Control) -> Result<(), Violation> {
        match *control {
            Control::StreamCredit { stream, limit } => {
                self.reach(stream)?;
                let grew = self.update(stream, |e| {
                    let grew = limit > e.send.limit;
                    e.send.limit = limit.max(e.send.limit);
                    grew
                });
                if grew == Some(true) {
                    self.on_credit();
                }
            }
            Control::Streams { total } => {
                self.may_open = self.may_open.max(total);
            }
            Control::Reset { stream, code, size } => {
                self.reach(stream)?;
                let (pool, received) = (self.pool, self.received);
                let reset = self.update(stream, |e| {
                    // What it says it sent must have had credit, though none of it is kept.
                    let others = received - e.recv.charged();
                    if others + size.saturating_sub(e.recv.announced) > pool {
                        return Err(Violation::Credit);
                    }
                    e.recv.on_reset(code, size)
                });
                reset.unwrap_or(Ok(()))?;
            }
            Control::Stop { stream, code } => {
                self.reach(stream)?;
                self.update(stream, |e| {
                    if !matches!(
                        e.send.state,
                        SendState::Done { .. } | SendState::Reset { .. }
                    ) {
                        e.send.stopped = Some(code);
                    }
                });
            }
            Control::Close { .. } | Control::Unknown => {}
            Control::NotUnderstood => return Err(Violation::NotUnderstood),
            Control::Malformed => return Err(Violation::Malformed),
        }
        Ok(())
    }

    /// The pool that the peer offers; never shrinks.
    pub(crate) fn on_pool(&mut self, pool: u64) {
        if pool > self.peer_pool {
            self.peer_pool = pool;
            self.on_credit();
        }
    }

    pub(crate) fn on_delivered(&mut self, told: Delivered) {
        self.update(told.stream, |e| {
            e.send.unacked = e.send.unacked.saturating_sub(told.bytes);
            match told.what {
                DeliveredWhat::Data => {}
                DeliveredWhat::Fin => {
                    if let SendState::Sent { fin } = &mut e.send.state {
                        *fin = true;
                    }
                }
                DeliveredWhat::Reset => e.send.state = SendState::Done { reset: true },
            }
            if e.send.state == (SendState::Sent { fin: true }) && e.send.unacked == 0 {
                e.send.state = SendState::Done { reset: false };
                e.finished = true;
            }
        });
    }
}
