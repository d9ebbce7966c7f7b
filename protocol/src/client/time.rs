//! What time does to a client: to exchanges that are open, and to its patience (S3b, S9, S22; PROTOCOL §5.4, §5.7).
//!
//! What `next_timeout` reports and what `on_time` does come from the same fates.

use super::{Client, Exchange};
use crate::error::CloseReason;
use crate::time::{Instant, first};

/// What time does to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Overtaken,
    Late,
    Lost,
}

impl Client {
    /// Time enters here.
    pub(super) fn advance(&mut self, now: Instant) {
        let slept = self.session.may_have_slept(now);
        let due = slept.then(|| self.next_timeout()).flatten();
        if self.session.advance(now, due) {
            self.fails.on_jump(self.session.now);
        }
    }

    /// When `feed_timeout` is due; `None`: nothing is waiting for time. A moment that has passed: something is to be
    /// polled.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.session.is_over() {
            return None;
        }
        let plan = match self.plan() {
            Ok(_) => Some(self.session.now),
            Err(at) => at,
        };
        let fates = self.fates();
        let fates = fates.and_then(|fates| fates.map(|(_, at, _)| at).min());
        let give_up = self.fails.give_up_at(&self.session.config);
        let long = self.long_fate().map(|(at, _)| at);
        let streamed = self.stream_fate().map(|(at, _)| at);
        let dial = self.direct.dial_at();
        let flush = self.session.flush_at();
        first(&[plan, fates, long, streamed, dial, give_up, flush])
    }

    /// What time will do to the open exchanges: which, when, and whether it is the end of it.
    fn fates(&self) -> Option<impl Iterator<Item = (u64, Instant, Fate)>> {
        if self.exchanges.is_empty() {
            return None;
        }
        let ends = self.exchanges.iter().flat_map(|e| {
            let patience = e.touched.after(e.patience);
            let doubt = e
                .doubted
                .map(|at| at.max(e.touched).after(self.timer(e.size as u64, 0)));
            [Some(patience), doubt, self.makes_room_at(e)]
                .into_iter()
                .flatten()
                .map(|at| (e.number, at, Fate::Lost))
        });
        // An echo is answered at once, and until it has arrived the application does not hear of the session (A8).
        let echoes = self
            .exchanges
            .iter()
            .filter(|e| e.echoes && self.nonce.is_some());
        let echoes = echoes.map(|e| {
            let late = e
                .touched
                .after(self.timer(e.size as u64, self.fails.streak()) * 2);
            (e.number, late, Fate::Lost)
        });
        let flights = self.session.outbox.flights().filter_map(|f| {
            // What is known of the long exchange's is in `long_fate`.
            let touched = self.exchanges.get(f.exchange)?.touched.max(f.sent_at);
            if f.overtaken && !f.late {
                return Some((f.exchange, f.sent_at, Fate::Overtaken));
            }
            let timer = self.timer(f.bytes, f.again);
            let (after, fate) = if f.late {
                (timer * 2, Fate::Lost)
            } else {
                (timer, Fate::Late)
            };
            Some((f.exchange, touched.after(after), fate))
        });
        Some(ends.chain(echoes).chain(flights))
    }

    /// The first thing that time does to an open exchange by now.
    fn due_fate(&self) -> Option<(u64, Fate)> {
        let mut due = self.fates()?.filter(|(_, at, _)| *at <= self.session.now);
        due.next().map(|(exchange, _, fate)| (exchange, fate))
    }

    /// With no slot left, one past its wait of which nothing has come makes room for a keystroke.
    fn makes_room_at(&self, exchange: &Exchange) -> Option<Instant> {
        let full = self.exchanges.len() >= self.requests().max(2) && !exchange.bulk;
        full.then(|| {
            let answer = self.timer(exchange.answer_max as u64, 0);
            exchange.touched.after(exchange.wait + answer)
        })
    }

    /// S3b, S9: what is late goes in another exchange too; what nobody will hear of is given up.
    pub(super) fn on_time(&mut self) {
        self.on_long_time();
        self.on_stream_time();
        let now = self.session.now;
        // Where much time has passed, what is late is lost next. No round leaves anything for the same round again.
        while let Some((exchange, fate)) = self.due_fate() {
            match fate {
                // There is a slot for a copy soon: later ones come back all the time.
                Fate::Overtaken => {
                    self.session.outbox.late(exchange, now);
                    if let Some(entry) = self.exchanges.iter_mut().find(|e| e.number == exchange) {
                        entry.bulk = false;
                    }
                }
                // With no slot for a copy, the exchange itself makes room (A5).
                Fate::Late if self.exchanges.len() < self.requests() => {
                    self.session.outbox.late(exchange, now);
                    if let Some(entry) = self.exchanges.iter_mut().find(|e| e.number == exchange) {
                        entry.bulk = false;
                    }
                }
                Fate::Late | Fate::Lost => {
                    if self.exchanges.give_up(exchange).is_some() {
                        self.on_lost(exchange);
                    }
                }
            }
        }
        if self
            .fails
            .give_up_at(&self.session.config)
            .is_some_and(|at| at <= now)
        {
            let (silence, exchanges) = self.fails.silence(now);
            self.session.end(CloseReason::GaveUp { silence, exchanges });
        }
        self.session.check_flush();
    }

    /// The fate of an exchange is known: nothing of it will arrive.
    pub(super) fn on_lost(&mut self, exchange: u64) {
        let (now, next) = (self.session.now, self.exchanges.next());
        self.stats.lost += 1;
        self.fails
            .on_lost(&self.session.config, now, exchange, next);
        self.settle(exchange);
        self.untold = true;
        // The nonce may have been in it alone.
        self.echo_due |= self.nonce.is_some() && self.exchanges.is_empty();
    }

    /// What only this exchange carried and was not acknowledged goes again.
    pub(super) fn settle(&mut self, exchange: u64) {
        let (now, config) = (self.session.now, &self.session.config);
        self.session
            .outbox
            .lost(exchange, now, config.retry_first, config.retry_max);
    }
}
