//! What an answer tells (S7, S8; PROTOCOL §5.6, §7, §8.3).

use super::exchanges::Exchange;
use super::path::Sample;
use super::queue::{Answered, Line};
use super::{Client, Lesson};
use crate::config::SMALL_BODY;
use crate::error::CloseReason;
use crate::id::Instance;
use crate::wire::{AnswerPrefix, Bundle, Decoded, Refusal, decode};
use bytes::Bytes;
use core::time::Duration;

impl Client {
    /// Reads the bundles of a response up to the first that is not to be believed; `entry` is its exchange.
    pub(super) fn on_response(&mut self, entry: &Exchange, mut body: Bytes) {
        let size = body.len();
        self.stats.bytes_in += size as u64;
        let (mut answered, mut news, mut held_for) = (false, false, Duration::ZERO);
        while let Some(bundle) =
            decode::<AnswerPrefix>(&mut body, &self.session.id, Some(entry.number))
        {
            match bundle {
                Ok(Bundle::Session(decoded)) => {
                    held_for = Duration::from_micros(decoded.prefix.held_for);
                    answered = true;
                    news |= self.on_bundle(entry.number, decoded, size);
                }
                Ok(Bundle::Refusal(refusal)) => {
                    self.exchanges.settle(entry.number);
                    self.on_refusal(entry.number, refusal);
                    return;
                }
                Err(_) => {
                    self.session.unread += 1;
                    self.stats.unreadable += 1;
                    break;
                }
            }
            if self.session.is_over() {
                return;
            }
        }
        self.exchanges.settle(entry.number);
        if !answered {
            self.on_lost(entry.number);
            return;
        }
        self.fails.on_answer();
        if let Some(lesson) = self.envelope.on_answer(entry.number) {
            self.lessons.note(lesson);
        }
        self.answered_at = self.session.now;
        self.responded = true;
        self.settle(entry.number);
        self.learn(entry, size, held_for);
        self.on_early(entry, held_for, news);
        self.end_if_done();
    }

    /// Ends a session that both sides have closed.
    pub(super) fn end_if_done(&mut self) {
        if self.session.ending.is_received()
            && self
                .session
                .ending
                .is_acknowledged(self.session.outbox.base())
        {
            let reason = self.session.ending.reason();
            self.session.end(reason);
        }
    }

    /// Takes in one bundle of `exchange`; says whether there was anything in it.
    pub(super) fn on_bundle(
        &mut self,
        exchange: u64,
        decoded: Decoded<AnswerPrefix>,
        size: usize,
    ) -> bool {
        let Decoded {
            bundle,
            prefix,
            messages,
            ..
        } = decoded;
        if !self.answered {
            self.answered = true;
            self.streaming.on_answered(self.session.now);
            self.session.on_connected();
        }
        if let Some(params) = &prefix.opening {
            self.session.on_params(params);
            self.server = params.instance.or(self.server);
            if let Some(port) = params.direct.and_then(|port| u16::try_from(port).ok()) {
                self.direct.port = Some(port);
                self.direct.want(self.session.now);
            }
        }
        let arrived =
            match self
                .session
                .on_bundle(bundle, &prefix.ack, prefix.credit, messages, size)
            {
                Ok(arrived) => arrived,
                Err(violation) => {
                    self.session.on_violation(violation);
                    return true;
                }
            };
        if arrived.news {
            self.last_byte = self.session.now;
        }
        if arrived.newest {
            self.echo_due |= prefix.nonce.is_some() && prefix.nonce != self.nonce;
            self.nonce = prefix.nonce;
            self.hint = prefix.backlog;
            self.queue.on_newest(prefix.newest);
            let now = self.session.now;
            for open in self.exchanges.iter_mut().filter(|e| e.number != exchange) {
                let held = prefix.held.contains(&open.number);
                // What it holds has moved all its bytes.
                open.bulk &= !held;
                if held || open.number > prefix.newest {
                    open.doubted = None;
                } else {
                    open.doubted.get_or_insert(now);
                }
            }
        }
        arrived.news
    }

    fn learn(&mut self, entry: &Exchange, down: usize, held_for: Duration) {
        let elapsed = self.session.now.since(entry.sent_at);
        let is_small = entry.size <= SMALL_BODY && down <= SMALL_BODY;
        let has_waited = is_small && self.learn_line(entry, held_for);
        let sample = Sample {
            net: elapsed.saturating_sub(held_for.min(elapsed)),
            up: entry.size,
            down,
            up_full: entry.full,
            down_full: down * 4 >= entry.answer_max * 3,
            small: is_small && !has_waited,
        };
        self.path.on_answer(&self.session.config, sample);
        let (config, now) = (&self.session.config, self.session.now);
        if !config.learning {
            return;
        }
        if let Some(least) = self.path.round_trip() {
            self.session.on_round_trip(least);
        }
        if let Some(rate) = self.path.rate_up() {
            self.session.on_rate(rate);
        }
        let (config, hold) = (&self.session.config, &mut self.hold);
        if held_for >= entry.wait && !entry.probe && hold.on_held(config, entry.wait) {
            let wait = hold.wait(config, now);
            self.lessons.note(Lesson::HoldWorks { wait });
        }
    }

    /// Whether a small exchange has waited for an older one on the way: how long it took says nothing then.
    fn learn_line(&mut self, entry: &Exchange, held_for: Duration) -> bool {
        let config = &self.session.config;
        if !config.learning || config.requests == 1 {
            return false;
        }
        let answered = Answered {
            number: entry.number,
            sent_at: entry.sent_at,
            held_for,
            overtakes: self.exchanges.iter().any(|e| e.number < entry.number),
        };
        let slack = self.path.round_trip().unwrap_or(config.timer_first) * 4;
        let (line, has_waited) = self.queue.on_answer(
            self.session.now,
            answered,
            slack.max(Duration::from_millis(500)),
        );
        match line {
            Line::Nothing => {}
            Line::Is => self.lessons.note(Lesson::OneAtATime),
            Line::IsNot => self.lessons.note(Lesson::SeveralAtATime),
        }
        has_waited
    }

    /// An empty answer before its time is never by itself a reason for another exchange (A11).
    fn on_early(&mut self, entry: &Exchange, held_for: Duration, news: bool) {
        if news || held_for >= entry.wait * 4 / 5 || self.streaming.heard().is_some() {
            self.early = 0;
            self.held_less = false;
        } else if self.exchanges.is_empty() {
            self.early = self.early.saturating_add(1);
            self.early_at = self.session.now;
        } else {
            self.held_less = true;
        }
    }

    pub(super) fn on_refusal(&mut self, exchange: u64, refusal: Refusal) {
        let now = self.session.now;
        match refusal {
            Refusal::Ended(next) => {
                let delivered = self.session.outbox.next_number() <= next;
                let closing = self.session.ending.is_sent();
                self.session.end(match (delivered, closing) {
                    (true, true) => self.session.ending.reason(),
                    (true, false) => CloseReason::Peer {
                        code: 0,
                        reason: Default::default(),
                    },
                    (false, _) => CloseReason::Gone,
                });
            }
            Refusal::Gone(instance) => self.on_gone(exchange, instance),
            // Who speaks ours has only seen a damaged request.
            Refusal::Version(lowest, highest)
                if !self.answered && !(lowest..=highest).contains(&super::VERSION) =>
            {
                self.session.end(CloseReason::Version { lowest, highest });
            }
            Refusal::Busy(millis) => {
                self.on_lost(exchange);
                self.fails
                    .on_busy(now, Duration::from_millis(millis.min(60_000)));
            }
            Refusal::Unreadable | Refusal::Version(..) => self.on_lost(exchange),
        }
    }

    /// "Gone" from the session's own server is the end; from another one it is a routing slip until it has been
    /// repeated for a while (A13).
    fn on_gone(&mut self, exchange: u64, instance: Instance) {
        if self.session.is_all_but_close_acknowledged() {
            self.session.end(self.session.ending.reason());
            return;
        }
        self.on_lost(exchange);
        if self.server == Some(instance)
            || self
                .fails
                .has_been_gone(self.session.now, &self.session.config)
        {
            self.session.end(CloseReason::Gone);
        }
    }
}
