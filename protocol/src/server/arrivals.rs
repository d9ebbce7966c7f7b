//! What requests bring: whose exchange each is, and what its bundles say (PROTOCOL §5.6).

use super::exchanges::{Arrival, AtOnce, Held, Kind, Long};
use super::{Reject, Server, long};
use crate::config::SMALL_BODY;
use crate::id::RequestId;
use crate::time::Instant;
use crate::wire::{Bundle, Decoded, MAX_PAYLOAD, Messages, Refusal, RequestPrefix, decode};
use bytes::Bytes;
use core::time::Duration;
use smallvec::smallvec;

impl Server {
    /// A request came: its whole body. On `Ok` exactly one response will name `request`, or a hang-up.
    ///
    /// Of a long exchange each further bundle of its connection is fed in the same way, under the same name, and any
    /// number of responses name it, of which one is the last. An error ends it.
    ///
    /// # Errors
    /// If it can't be read, is too old, or comes after the end; the error is the answer.
    pub fn feed_request(
        &mut self,
        now: Instant,
        request: RequestId,
        mut body: Bytes,
    ) -> Result<(), Reject> {
        let size = body.len();
        let claimed = crate::wire::Head::peek(&body).map_or(0, |head| head.exchange);
        let reject = |server: &Server, what| Reject::new(&server.session.id, claimed, what);
        self.advance(now);
        if self.is_done() || self.session.is_over() {
            return Err(reject(self, self.last_word()));
        }
        self.stats.bytes_in += size as u64;
        let first = match decode::<RequestPrefix>(&mut body, &self.session.id, None) {
            Some(Ok(Bundle::Session(first))) if !self.exchanges.is_too_old(first.exchange) => first,
            _ if self.exchanges.is_duplex(request) => return Err(self.end_long(request)),
            _ => {
                self.session.unread += 1;
                self.stats.unreadable += 1;
                return Err(reject(self, Refusal::Unreadable));
            }
        };
        self.last_request = self.session.now;
        self.stats.exchanges += 1;
        self.again = self.heard;
        self.heard = true;
        let number = first.exchange;
        let long = first.prefix.long.is_some();
        match self.exchanges.duplex(request) {
            Some(own) if own != number || !long => return Err(self.end_long(request)),
            None if self.exchanges.is_anothers(number, long) => {
                return Err(reject(self, Refusal::Unreadable));
            }
            Some(_) | None => {}
        }
        let missed = self.session.missed;
        self.on_bundle(request, first, size);
        while let Some(Ok(Bundle::Session(more))) =
            decode::<RequestPrefix>(&mut body, &self.session.id, None)
        {
            if more.exchange != number {
                break;
            }
            if more.prefix.long.is_some() {
                self.on_bundle(request, more, size);
            } else {
                self.take_in(number, more.bundle, &more.prefix, more.messages, size);
            }
        }
        if self.vouched && (self.again || self.session.inbox.next() > 0) {
            self.session.on_connected();
        }
        // While it lives, its client would not say again what counts as not arrived (§5.8.4).
        if self.session.missed > missed && self.exchanges.is_duplex(request) {
            return Err(self.end_long(request));
        }
        Ok(())
    }

    /// Takes in the first bundle of a request and finds its exchange a place.
    fn on_bundle(&mut self, request: RequestId, decoded: Decoded<RequestPrefix>, size: usize) {
        let Decoded {
            exchange: number,
            bundle,
            prefix,
            messages,
        } = decoded;
        let opening = prefix.opening.is_some();
        let acked = self.session.outbox.acked();
        let fine = self.take_in(number, bundle, &prefix, messages, size);
        if self.exchanges.is_duplex(request) {
            self.on_heard(request, &prefix, fine, acked);
            return;
        }
        match self.exchanges.on_arrival(number) {
            // Whoever tries a connection, or a streamed answer, learns at once that it works.
            Arrival::New if prefix.long.is_some() || self.may_stream(&prefix) => {
                self.hold_request(request, number, &prefix, size, AtOnce::Data)
            }
            // No connection is tried under an old number.
            _ if prefix.long.is_some() => {
                self.hold_request(request, number, &prefix, size, AtOnce::Empty)
            }
            Arrival::New if opening && !self.vouched => {
                self.hold_request(request, number, &prefix, size, AtOnce::Data)
            }
            // Nor is an echo held for long, so that its sender learns that it has arrived.
            Arrival::New if opening || prefix.echo.is_some() => {
                self.hold_request(request, number, &prefix, size, AtOnce::Grace)
            }
            Arrival::New => self.hold_request(request, number, &prefix, size, AtOnce::No),
            // Nobody waits for it, says a newer request (A14).
            Arrival::Unlisted => self.hold_request(request, number, &prefix, size, AtOnce::Empty),
            // The two newest copies get the same answer; one before them is not waited for (A21).
            Arrival::Held => {
                let copy = self.exchanges.add_copy(number, request);
                if let Some(old) = copy.replaced {
                    self.outgoing_empty(old, number);
                }
                if copy.streamed {
                    self.session.outbox.anew(number, self.session.now);
                }
            }
            Arrival::Answered => {
                // Its answer did not get through, or not yet: what it carried may go in a second one (A21).
                self.session.outbox.late(number, self.session.now);
                self.hold_request(request, number, &prefix, size, AtOnce::Data);
            }
        }
    }

    /// Whether the answer to this request is streamed, if it is a new one: not while its client may be a copy, or tries
    /// what comes through.
    fn may_stream(&self, prefix: &RequestPrefix) -> bool {
        self.pieces
            && prefix.streamed == Some(0)
            && prefix.opening.is_none()
            && self.vouched
            && !self.pad
    }

    fn hold_request(
        &mut self,
        request: RequestId,
        number: u64,
        prefix: &RequestPrefix,
        size: usize,
        at_once: AtOnce,
    ) {
        let body_max = self.session.config.body_max();
        let long = Long::of(
            prefix,
            at_once == AtOnce::Data && self.may_stream(prefix),
            &self.session.config,
            self.session.now,
        );
        // A client has one streamed answer at most: nobody waits for an older one.
        let streams = long.as_ref().is_some_and(|l| l.kind != Kind::Duplex);
        if let Some(old) = self.exchanges.streamed().filter(|_| streams) {
            old.at_once = AtOnce::Empty;
        }
        self.exchanges.hold(Held {
            number,
            requests: smallvec![request],
            arrived_at: self.session.now,
            wait: long::wait(prefix),
            answer_max: usize::try_from(prefix.answer_max)
                .unwrap_or(body_max)
                .clamp(SMALL_BODY, body_max),
            is_bulk: size > MAX_PAYLOAD && prefix.long.is_none(),
            at_once,
            long,
        });
    }

    /// What a bundle says, wherever it came. `false`: its sender broke a rule.
    fn take_in(
        &mut self,
        exchange: u64,
        bundle: u64,
        prefix: &RequestPrefix,
        messages: Messages,
        size: usize,
    ) -> bool {
        let (before, acked) = (self.acknowledged(), self.session.outbox.acked());
        let arrived =
            match self
                .session
                .on_bundle(bundle, &prefix.ack, prefix.credit, messages, size)
            {
                Ok(arrived) => arrived,
                Err(violation) => {
                    self.session.on_violation(violation);
                    return false;
                }
            };
        self.learn_rate(before);
        if !self.vouched && prefix.echo == Some(self.nonce) {
            self.vouched = true;
            self.session.ending.unvouched = false;
            self.session.check_close();
        }
        self.known |= prefix.opening.is_none();
        if arrived.news {
            self.last_byte = self.session.now;
        }
        if arrived.newest {
            self.hold = usize::try_from(prefix.hold).unwrap_or(1).clamp(1, 64);
            self.timer = Duration::from_micros(prefix.timer).clamp(
                self.session.config.timer_min,
                self.session.config.timer_max * 2,
            );
            self.hint = prefix.backlog;
            self.newest_at = self.session.now;
            // Of a long exchange itself the list says nothing: that it speaks says it.
            let (mut newest, mut listed) = (exchange, prefix.open.clone());
            if let Some(later) = prefix.long {
                newest = exchange.saturating_add(later).saturating_add(1);
                listed.push(exchange);
            }
            self.exchanges.on_newest(newest, &listed);
            let heard = prefix.streamed.filter(|below| *below > 0);
            self.on_stream_heard(heard.map(|below| exchange - below), acked);
            let lost = self.lost(newest, &listed);
            lost.into_iter().for_each(|e| self.on_lost(e));
        }
        true
    }
}
