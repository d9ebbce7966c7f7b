//! The requests that are sent, and what they say (PROTOCOL §3.3, §5.3).

use super::exchanges::Exchange;
use super::schedule::{self, Way};
use super::{Client, Request, VERSION};
use crate::config::SMALL_BODY;
use crate::id::ExchangeId;
use crate::time::{Instant, wire_micros};
use crate::wire::{Chain, Message, Params, RequestPrefix};
use core::time::Duration;

impl Client {
    /// The next request to send; call until `None`. `now` only stamps it.
    #[must_use]
    pub fn poll_request(&mut self, now: Instant) -> Option<Request> {
        if self.session.is_over() {
            return None;
        }
        let plan = self.plan().ok()?;
        let sent_at = self.session.now.max(now);
        let long = self.direct.long.as_ref().filter(|_| plan.way == Way::Long);
        let number = long.map_or(self.exchanges.next(), |long| long.exchange);
        let mut prefix = self.prefix(&plan, number);
        let room = plan.room.bytes.saturating_sub(prefix.cost() + 16);
        let room = crate::session::Room {
            bytes: room,
            ..plan.room
        };
        let alone = !self.session.outbox.is_flying(number);
        let messages = self.session.fill(number, sent_at, room);
        prefix.backlog = self.session.backlog();
        let bundle = self.session.next_bundle();
        let body = self.session.encode(number, bundle, &prefix, &messages);

        self.count(&body, &messages);
        if !messages.is_empty() {
            self.last_byte = sent_at;
            self.held_less = false;
        }
        self.session.give_back(messages);
        self.last_sent = sent_at;
        self.responded = false;
        (self.echo_due, self.untold) = (false, false);
        self.streaming.on_told();
        if let Some(long) = self.direct.long.as_mut().filter(|_| plan.way == Way::Long) {
            (long.busy, long.sent, long.wait) = (true, Some(sent_at), plan.wait);
            if alone {
                long.pace.on_first(sent_at);
            }
            let patience = self.session.config.patience + self.session.config.wait;
            return Some(Request {
                exchange: ExchangeId(number),
                body,
                patience,
                long: true,
                streamed: false,
                form: false,
            });
        }
        if plan.way == Way::Streamed {
            self.exchanges.open_streamed();
            self.streaming.on_asked(sent_at, number);
            self.stats.exchanges += 1;
            let patience = self.session.config.patience + self.session.config.wait;
            return Some(Request {
                exchange: ExchangeId(number),
                body,
                patience,
                long: false,
                streamed: true,
                form: self.envelope.is_form(),
            });
        }

        let full = body.len() * 4 >= self.path.body_up() * 3;
        let transfer = self.path.transfer(body.len() as u64);
        let patience = if plan.probe {
            // Longer each time, or a path slower than this would never be heard of.
            self.timer(0, self.fails.streak()) * 2
        } else {
            plan.wait + self.session.config.patience
        };
        let patience = patience + transfer;
        self.queue.on_sent(sent_at, number);
        self.stats.exchanges += 1;
        self.exchanges.push(Exchange {
            number,
            sent_at,
            touched: sent_at,
            patience,
            // The answer to an opening is not held (§5.6.1): if it doesn't come soon, another one asks.
            wait: if self.answered {
                plan.wait
            } else {
                Duration::ZERO
            },
            size: body.len(),
            full,
            answer_max: self.part_of(self.path.body_down()),
            bulk: body.len() > SMALL_BODY,
            probe: plan.probe,
            echoes: prefix.echo.is_some(),
            doubted: None,
        });
        Some(Request {
            exchange: ExchangeId(number),
            body,
            patience,
            long: false,
            streamed: false,
            form: self.envelope.is_form(),
        })
    }

    fn count(&mut self, body: &Chain, messages: &[Message]) {
        let stats = &mut self.stats;
        stats.bytes_out += body.len() as u64;
        stats.messages += messages.len() as u64;
        stats.resent += messages.iter().filter(|m| m.number < stats.next).count() as u64;
        stats.next = self.session.outbox.next_number();
    }

    fn prefix(&self, plan: &schedule::Plan, number: u64) -> RequestPrefix {
        let config = &self.session.config;
        let opening = (!self.answered).then(|| Params {
            streams: config.streams,
            versions: Some((VERSION, VERSION)),
            ack_delay: Some(wire_micros(config.ack_delay)),
            replaces: self.replaces,
            ..Params::default()
        });
        let is_long = plan.way == Way::Long;
        let long = self.direct.long.as_ref().filter(|_| is_long);
        let streamed = match plan.way {
            Way::Streamed => Some(0),
            Way::Short => self.streaming.heard().map(|heard| number - heard),
            Way::Long => None,
        };
        let timer = long.map_or_else(
            || self.timer(0, 0),
            |long| long.timer(config, self.session.peer_ack_delay),
        );
        // The streamed answer is one of those that are held.
        let is_beside = self.streaming.heard().is_some() && self.polls_beside();
        RequestPrefix {
            opening,
            echo: self.nonce,
            ack: self.session.inbox.ack(),
            credit: config.pool,
            unread: self.session.unread,
            timer: wire_micros(timer),
            long: is_long.then(|| self.exchanges.next() - 1 - number),
            streamed,
            open: self.exchanges.list(Some(number)),
            hold: (self.hold() + usize::from(is_beside)) as u64,
            wait: wire_micros(plan.wait) / 1000,
            answer_max: if plan.probe {
                SMALL_BODY
            } else if plan.way != Way::Short {
                self.session.config.body_max()
            } else {
                self.part_of(self.path.body_down())
            } as u64,
            backlog: 0,
        }
    }
}
