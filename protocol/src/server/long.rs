//! The long exchange that a direct connection is, from the server's end (A22; PROTOCOL §5.8).

use super::exchanges::{AtOnce, Held};
use super::{Reject, Server};
use crate::id::RequestId;
use crate::outbox::FlightInfo;
use crate::time::Instant;
use crate::wire::{Refusal, RequestPrefix};
use core::time::Duration;

/// A connection's sender is not made to speak more often than this, whatever its peer asks for.
const WAIT_MIN: Duration = Duration::from_millis(500);

/// Nor to cut what it says into smaller pieces than any message needs (A2).
const BODY_MIN: usize = 32 * 1024;

/// For how long the server may say nothing in the exchange of this request.
pub(super) fn wait(prefix: &RequestPrefix) -> Duration {
    let wait = Duration::from_millis(prefix.wait.min(600_000));
    if prefix.long.is_some() {
        wait.max(WAIT_MIN)
    } else {
        wait
    }
}

impl Server {
    /// The last response that named this request, of a long exchange, has been written: the next may follow.
    pub fn feed_written(&mut self, now: Instant, request: RequestId) {
        self.advance(now);
        if let Some(long) = self
            .exchanges
            .long(request)
            .and_then(|held| held.long.as_mut())
        {
            long.busy = false;
        }
    }

    /// Another bundle came by the connection: it lives. `acked`: how much had been acknowledged before it.
    pub(super) fn on_heard(
        &mut self,
        request: RequestId,
        prefix: &RequestPrefix,
        fine: bool,
        acked: u64,
    ) {
        let (now, acked) = (self.session.now, self.session.outbox.acked() - acked);
        let body_max = self.session.config.body_max();
        let Some(held) = self.exchanges.long(request) else {
            return;
        };
        held.arrived_at = now;
        held.wait = wait(prefix);
        held.answer_max = usize::try_from(prefix.answer_max)
            .map_or(body_max, |n| n.clamp(BODY_MIN, body_max.max(BODY_MIN)));
        if !fine {
            held.at_once = AtOnce::Empty;
        } else if prefix.opening.is_some() || prefix.echo.is_some() {
            held.at_once = AtOnce::Data;
        }
        let number = held.number;
        if let Some(long) = &mut held.long {
            long.pace.on_acked(now, acked);
            if core::mem::take(&mut long.doubted) {
                self.session.outbox.prompt(number);
            }
        }
    }

    /// What comes by the connection can't be read: it carries nothing more.
    pub(super) fn end_long(&mut self, request: RequestId) -> Reject {
        self.session.unread += 1;
        self.stats.unreadable += 1;
        let number = self.exchanges.on_hangup(request).unwrap_or(0);
        self.on_lost(number);
        Reject::new(&self.session.id, number, Refusal::Unreadable)
    }

    /// When what a long exchange carries is late: nothing has come for a timer, though it is to be acknowledged.
    pub(super) fn long_late_at(&self, flight: &FlightInfo) -> Option<Instant> {
        let mut held = self.exchanges.held().iter();
        let held = held.find(|h| h.number == flight.exchange)?;
        let long = held.long.as_ref()?;
        let since = flight.sent_at.max(held.arrived_at);
        Some(since.after(self.timer + long.pace.takes()))
    }
}

impl Held {
    /// Whether something can be said in it now.
    pub(super) fn can_speak(&self) -> bool {
        self.long.as_ref().is_none_or(|long| !long.busy)
    }

    /// When something is said in it though there is nothing to say.
    pub(super) fn ends_at(&self) -> Instant {
        let since = self
            .long
            .as_ref()
            .map_or(self.arrived_at, |long| long.said_at);
        since.after(self.wait)
    }
}
