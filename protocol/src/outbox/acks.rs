//! What an acknowledgement says: which messages are forgotten, and what follows for those that still fly.

use super::flight::lighten;
use super::{Outbox, payload_len};
use crate::error::Violation;
use crate::id::StreamId;
use crate::time::Instant;
use crate::wire::{Ack, Content, Control};
use smallvec::SmallVec;

/// What an acknowledgement told of one message of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) stream: StreamId,
    pub(crate) bytes: u64,
    pub(crate) what: DeliveredWhat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveredWhat {
    Data,
    Fin,
    Reset,
}

impl Outbox {
    /// Forgets what has arrived; `tell` hears of every message of a stream that was not known to have arrived.
    /// Says whether anything was new.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        ack: &Ack,
        mut tell: impl FnMut(Delivered),
    ) -> Result<bool, Violation> {
        let end = self.next_number();
        if ack.next > end || ack.ranges.last().is_some_and(|r| r.end > end) {
            return Err(Violation::Acknowledgement);
        }
        let mut news = false;
        for range in core::iter::once(&(self.base..ack.next)).chain(&ack.ranges) {
            for number in range.start.max(self.base)..range.end {
                if let Some(content) = self.acknowledge(number) {
                    news = true;
                    delivered(&content).into_iter().for_each(&mut tell);
                }
            }
        }
        while self.items.front().is_some_and(|i| i.acked) {
            self.items.pop_front();
            self.base += 1;
        }
        if news {
            let (base, items) = (self.base, &self.items);
            let open = |n: u64| items.get((n - base) as usize).is_some_and(|i| !i.acked);
            let mut done = SmallVec::<[_; 4]>::new();
            self.flights.retain_mut(|f| {
                if f.is_long() && f.on_progress(base) {
                    f.sent_at = now;
                }
                let mut left = f.numbers.iter().map(|r| r.start.max(base)..r.end);
                let flies = left.any(|mut range| range.any(open));
                if !flies && f.bundles == 0 {
                    done.push((f.sent_at, f.bytes));
                }
                flies
            });
            for flight in self.flights.iter_mut().filter(|f| f.bundles == 0) {
                let passed = |(sent_at, bytes): &&(Instant, u64)| {
                    *sent_at > flight.sent_at && *bytes >= flight.bytes
                };
                let by = done.iter().filter(passed).count().min(255) as u8;
                flight.overtaken = flight.overtaken.saturating_add(by);
            }
        }
        Ok(news)
    }

    /// This message has arrived. Its content, if that is news.
    fn acknowledge(&mut self, number: u64) -> Option<Content> {
        let item = self.items.get_mut((number - self.base) as usize)?;
        if core::mem::replace(&mut item.acked, true) {
            return None;
        }
        let content = core::mem::replace(&mut item.content, Content::Void);
        self.due.remove(&number);
        let bytes = payload_len(&content);
        lighten(&mut self.flights, number, bytes);
        self.bytes -= bytes;
        self.acked += bytes;
        Some(content)
    }
}

fn delivered(content: &Content) -> Option<Delivered> {
    match content {
        Content::Data {
            stream,
            payload,
            fin,
            ..
        } => Some(Delivered {
            stream: *stream,
            bytes: payload.len() as u64,
            what: if *fin {
                DeliveredWhat::Fin
            } else {
                DeliveredWhat::Data
            },
        }),
        Content::Control(Control::Reset { stream, .. }) => Some(Delivered {
            stream: *stream,
            bytes: 0,
            what: DeliveredWhat::Reset,
        }),
        Content::Void | Content::Control(_) => None,
    }
}
