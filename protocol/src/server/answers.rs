//! What answers say, and in how many pieces (PROTOCOL §3.4, §5.6).

use super::exchanges::Held;
use super::{Response, Server};
use crate::id::RequestId;
use crate::session::Room;
use crate::time::{Instant, wire_micros};
use crate::wire::{AnswerPrefix, Chain, Params};
use alloc::vec::Vec;
use bytes::Bytes;

/// Zeros behind a bundle up to `size` bytes in all: nobody reads them (§3.1.3).
fn fill_up(body: &mut Chain, size: usize) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while body.len() < size {
        let some = ZEROS.len().min(size - body.len());
        body.push(Bytes::from_static(&ZEROS[..some]));
    }
}

impl Server {
    /// The next response to send; call until `None`. `now` only stamps it.
    #[must_use]
    pub fn poll_response(&mut self, now: Instant) -> Option<Response> {
        if let Some(response) = self.outgoing.pop_front() {
            return Some(response);
        }
        let answer = self.plan().ok()?;
        let sent_at = self.session.now.max(now);
        // A long one stays, unless it is over.
        let (held, last) = match self.exchanges.stays(answer.number) {
            Some(held) if answer.room.is_some() => (held, false),
            _ => (self.exchanges.take(answer.number)?, true),
        };
        let mut prefix = self.prefix(&held, sent_at);
        let alone = !self.session.outbox.is_flying(held.number);
        let messages = match answer.room {
            Some(room) => {
                let bytes = room.bytes.saturating_sub(prefix.cost() + 16);
                self.session
                    .fill(held.number, sent_at, Room { bytes, ..room })
            }
            None => Vec::new(),
        };
        if !messages.is_empty() {
            self.last_byte = sent_at;
        }
        let within = held.heard().map_or(held.wait, |_| self.more(sent_at));
        if !last && held.heard().is_some() {
            prefix.more = Some(wire_micros(within) / 1000);
        }
        prefix.backlog = self.session.backlog();
        self.told = prefix.backlog;
        let bundle = self.session.next_bundle();
        let mut body = self.session.encode(held.number, bundle, &prefix, &messages);
        if self.pad && held.long.is_none() {
            fill_up(&mut body, held.answer_max);
        }
        self.stats.bytes_out += body.len() as u64 * held.requests.len() as u64;
        self.stats.messages += messages.len() as u64;
        self.stats.resent += messages
            .iter()
            .filter(|m| m.number < self.stats.next)
            .count() as u64;
        self.stats.next = self.session.outbox.next_number();
        self.session.give_back(messages);
        if !last {
            self.exchanges.on_said(held.number, sent_at, within, alone);
        }
        let mut copies = held.requests.into_iter().peekable();
        while let Some(request) = copies.next() {
            if last && held.long.is_none() {
                self.exchanges.on_answered(request, held.number);
            }
            self.outgoing.push_back(Response {
                request,
                exchange: held.number,
                body: if copies.peek().is_some() {
                    body.clone()
                } else {
                    core::mem::take(&mut body)
                },
                last,
            });
        }
        if last && held.long.is_some() {
            self.on_lost(held.number);
        }
        self.finish();
        self.outgoing.pop_front()
    }

    fn prefix(&self, held: &Held, sent_at: Instant) -> AnswerPrefix {
        let config = &self.session.config;
        let opening = (!self.known).then(|| Params {
            streams: config.streams,
            versions: Some((1, 1)),
            ack_delay: Some(wire_micros(config.ack_delay)),
            idle: Some(wire_micros(config.idle)),
            instance: Some(self.instance),
            direct: config.direct_port.map(u64::from),
            ..Params::default()
        });
        AnswerPrefix {
            opening,
            nonce: (!self.vouched).then_some(self.nonce),
            read: true,
            ack: self.session.inbox.ack(),
            credit: config.pool,
            unread: self.session.unread,
            held_for: wire_micros(sent_at.since(held.arrived_at)),
            newest: self.exchanges.newest(),
            held: self.exchanges.list(Some(held.number)),
            backlog: 0,
            more: None,
        }
    }

    /// An empty answer for a request whose exchange has found another way.
    pub(super) fn outgoing_empty(&mut self, request: RequestId, exchange: u64) {
        let bundle = self.session.next_bundle();
        let prefix = AnswerPrefix {
            read: true,
            ack: self.session.inbox.ack(),
            credit: self.session.config.pool,
            newest: self.exchanges.newest(),
            held: self.exchanges.list(Some(exchange)),
            ..AnswerPrefix::default()
        };
        let body = self.session.encode(exchange, bundle, &prefix, &[]);
        self.outgoing.push_back(Response {
            request,
            exchange,
            body,
            last: true,
        });
    }
}
