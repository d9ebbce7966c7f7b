//! Streamed answers: their pieces arrive one after another, until a box cuts or swallows the rest, or keeps all of it back
//! until the end.

use super::{Delivery, Happening, Net};
use crate::fault::{AnswerInfo, Fate};
use crate::oracle::Side;
use crate::tally::numbers_down;
use crate::trace;
use bytes::Bytes;
use posthole_protocol::{Failure, RequestId};

/// How often the client's HTTP stack tells that bytes move.
const PROGRESS: u64 = 50_000;

impl Net {
    /// A server says something in an answer that goes on.
    ///
    /// # Panics
    /// If that request never came, or its answer has ended.
    pub fn piece(&mut self, now: u64, request: RequestId, body: Bytes) {
        let (id, copy) = (request.number() / 2, (request.number() % 2) as usize);
        let call = self
            .calls
            .get(&id)
            .expect("an answer to a request that never came");
        assert!(
            call.copies[copy].arrived && !call.copies[copy].answered,
            "more of an answer that has ended, or was not asked for"
        );
        let (client, exchange) = (call.client, call.exchange.number());
        let numbers = numbers_down(&self.ids[client], exchange, &body);
        let says = trace::answer(&self.ids[client], exchange, &body);
        self.trace
            .line(now, format!("s{client} #{exchange} <~ {says}"));
        self.trace.body(&body);
        self.tally.sent(client, Side::Server, body.len(), &numbers);
        let messages = numbers.iter().map(|range| range.end - range.start).sum();
        let wins = call
            .fault
            .duplicate
            .is_none_or(|duplicate| duplicate.second_wins == (copy == 1));
        let nowhere = call.copies[copy].hung_up || !call.open || call.cut || !wins;
        let mut fate = call.fault.response;
        if fate == Fate::Pass {
            fate = (self.answer_rule)(&AnswerInfo {
                nth: self.answered,
                client,
                exchange,
                now,
                size: body.len(),
                messages,
            });
        }
        self.answered += 1;
        if let Some(outage) = self.outage(now) {
            fate = outage;
        }
        // What it takes to be written: its turn on the wire.
        let wire = self
            .down
            .rate
            .map_or(0, |rate| body.len() as u64 * 1_000_000 / rate.max(1));
        self.at(now + wire, Happening::Said { call: id, copy });
        let late = self.delay_down();
        let (streams, down) = (self.conditions.streams, now + wire + late);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if nowhere {
            self.tally.lost(client, Side::Server, &numbers);
            return;
        }
        call.pieces.extend(numbers.iter().cloned());
        let (client, exchange) = (call.client, call.exchange);
        let then = call.last_piece.max(down + call.fault.response_delay);
        call.last_piece = then;
        let moves = streams && fate == Fate::Pass;
        if fate != Fate::Pass {
            self.trace.line(
                now,
                format!("s{client} #{} piece meets {fate:?}", exchange.number()),
            );
        }
        if fate == Fate::Pass && !streams {
            call.kept.extend_from_slice(&body);
            return;
        }
        // Its bytes come one after another, if there is a rate.
        let steps = if moves { wire / PROGRESS } else { 0 };
        for step in 1..=steps {
            let at = then.saturating_sub(step * PROGRESS);
            self.at(at, Happening::Moves { client, exchange });
        }
        match fate {
            Fate::Pass => self.at(then, Happening::Piece { call: id, body }),
            Fate::Lose => self.cut(id),
            Fate::Fail(why) => {
                self.cut(id);
                self.at(then, Happening::Fail { call: id, why });
            }
            Fate::Cut(_) | Fate::Corrupt(_) => {
                // Looks like its end.
                if matches!(fate, Fate::Cut(_)) {
                    self.cut(id);
                }
                if let Some(body) = fate.apply(&body) {
                    self.at(then, Happening::Piece { call: id, body });
                }
                if matches!(fate, Fate::Cut(_)) {
                    let why = Failure::Cut;
                    self.at(then, Happening::Fail { call: id, why });
                }
            }
        }
    }

    /// Nothing more of this one arrives.
    fn cut(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.cut = true;
        }
    }

    pub(super) fn piece_arrives(&mut self, now: u64, id: u64, body: Bytes) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.open) else {
            return;
        };
        call.until = now.saturating_add(call.patience);
        let (client, exchange) = (call.client, call.exchange);
        let size = body.len();
        self.trace.line(
            now,
            format!("c{client} #{} hears {size} B", exchange.number()),
        );
        self.ready.push_back(Delivery::Bundles {
            client,
            exchange,
            body,
        });
    }
}
