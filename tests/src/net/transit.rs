//! What happens to exchanges on their way.

use super::{Answer, Call, Delivery, Happening, Net};
use crate::fault::Fate;
use crate::oracle::Side;
use crate::tally::requests;
use bytes::Bytes;
use posthole_protocol::http::form;
use posthole_protocol::{Failure, RequestId};
use std::ops::Range;

impl Net {
    /// The next thing that comes out by `now`.
    pub fn take(&mut self, now: u64) -> Option<Delivery> {
        let (through, moved_up) = self.up.advance(now);
        for (call, ()) in through {
            self.passed_up(now, call);
        }
        let (through, moved_down) = self.down.advance(now);
        for (call, answer) in through {
            let late = self
                .calls
                .get(&call)
                .map_or(0, |call| call.fault.response_delay);
            self.back(now, call, late, answer);
        }
        for id in moved_up.into_iter().chain(moved_down) {
            if let Some(call) = self.calls.get_mut(&id).filter(|call| call.open) {
                call.until = now.saturating_add(call.patience);
                self.ready.push_back(Delivery::Progress {
                    client: call.client,
                    exchange: call.exchange,
                });
            }
        }
        self.advance_wires(now);
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                return Some(delivery);
            }
            let entry = self
                .queue
                .first_entry()
                .filter(|entry| entry.key().0 <= now)?;
            let happening = entry.remove();
            self.happen(now, happening);
        }
    }

    fn happen(&mut self, now: u64, happening: Happening) {
        match happening {
            Happening::Arrive { call: id, copy } => {
                let Some(call) = self.calls.get_mut(&id) else {
                    return;
                };
                if call.copies[copy].hung_up {
                    return;
                }
                call.copies[copy].arrived = true;
                let Some(body) = call.fault.request.apply(&call.body) else {
                    return;
                };
                let host = call.fault.host;
                self.trace.line(
                    now,
                    format!("s{} #{} arrives", call.client, call.exchange.number()),
                );
                let (client, body) = (call.client, form::open(body));
                self.note_overdue(now, client, &body);
                let request = RequestId::new(id * 2 + copy as u64);
                self.ready.push_back(Delivery::Request {
                    host,
                    request,
                    body,
                });
            }
            Happening::Return {
                call: id,
                body,
                numbers,
                intact,
            } => {
                let Some(call) = self.calls.get_mut(&id) else {
                    return;
                };
                let (client, exchange, open) = (call.client, call.exchange, call.open);
                if !open || !intact {
                    self.lose_answer(id, &numbers);
                    self.lose(id);
                }
                if open {
                    self.trace.line(
                        now,
                        format!(
                            "c{client} #{} answered, {} B",
                            exchange.number(),
                            body.len()
                        ),
                    );
                    self.settle(id);
                    self.ready.push_back(Delivery::Answer {
                        client,
                        exchange,
                        body,
                    });
                }
            }
            Happening::Piece { call, body } => self.piece_arrives(now, call, body),
            Happening::Moves { client, exchange } => {
                self.ready
                    .push_back(Delivery::Progress { client, exchange });
            }
            Happening::Said { call: id, copy } => {
                let Some(call) = self.calls.get(&id) else {
                    return;
                };
                self.ready.push_back(Delivery::Said {
                    host: call.fault.host,
                    request: RequestId::new(id * 2 + copy as u64),
                });
            }
            Happening::Fail { call, why } => self.fail(now, call, why),
            Happening::Hangup { call: id, copy } => {
                let Some(call) = self.calls.get_mut(&id) else {
                    return;
                };
                let state = &mut call.copies[copy];
                if state.answered || state.hung_up {
                    return;
                }
                state.hung_up = true;
                if state.arrived {
                    let request = RequestId::new(id * 2 + copy as u64);
                    self.ready.push_back(Delivery::Hangup {
                        host: call.fault.host,
                        request,
                    });
                }
            }
            Happening::Patience { call: id } => {
                let Some(call) = self.calls.get(&id).filter(|call| call.open) else {
                    return;
                };
                let until = call.until;
                if now < until {
                    self.at(until, Happening::Patience { call: id });
                } else {
                    self.fail(now, id, Failure::TimedOut);
                }
            }
        }
    }

    /// Lets those who wait in line start, as far as the box has lanes.
    pub(super) fn start(&mut self, now: u64) {
        while let Some(&id) = self.line.front() {
            if self
                .conditions
                .lanes
                .is_some_and(|lanes| self.busy() >= lanes)
            {
                return;
            }
            self.line.pop_front();
            let Some(call) = self.calls.get_mut(&id).filter(|call| call.open) else {
                continue;
            };
            call.started = true;
            let size = call.body.len();
            if self.up.push(now, id, size, ()).is_some() {
                self.passed_up(now, id);
            }
        }
    }

    /// How many exchanges are under way at a queueing box.
    fn busy(&self) -> usize {
        self.calls
            .values()
            .filter(|call| call.open && call.started && !call.is_answered())
            .count()
    }

    /// The last byte of a request has left.
    fn passed_up(&mut self, now: u64, id: u64) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let fault = call.fault;
        if fault.request != Fate::Pass {
            self.lose(id);
        }
        match fault.request {
            Fate::Lose => {}
            Fate::Fail(why) => {
                let then = now + self.delay_up() + self.delay_down();
                self.at(then, Happening::Fail { call: id, why });
            }
            Fate::Pass | Fate::Cut(_) | Fate::Corrupt(_) => {
                let then = now + self.delay_up() + fault.request_delay;
                self.at(then, Happening::Arrive { call: id, copy: 0 });
                if let Some(duplicate) = fault.duplicate {
                    self.at(
                        then + duplicate.after,
                        Happening::Arrive { call: id, copy: 1 },
                    );
                }
            }
        }
    }

    /// The last byte of an answer has left.
    pub(super) fn back(&mut self, now: u64, call: u64, late: u64, answer: Answer) {
        let mut then = now + self.delay_down() + late;
        if let Some(call) = self.calls.get(&call) {
            then = then.max(call.last_piece);
        }
        let Answer {
            body,
            numbers,
            intact,
        } = answer;
        self.at(
            then,
            Happening::Return {
                call,
                body,
                numbers,
                intact,
            },
        );
    }

    fn fail(&mut self, now: u64, id: u64, why: Failure) {
        let Some(call) = self.calls.get(&id).filter(|call| call.open) else {
            return;
        };
        let (client, exchange) = (call.client, call.exchange);
        self.trace.line(
            now,
            format!("c{client} #{} fails: {why}", exchange.number()),
        );
        self.close(now, id);
        self.ready.push_back(Delivery::Failed {
            client,
            exchange,
            why,
        });
        self.start(now);
    }

    pub(super) fn fail_all(&mut self, now: u64, why: Failure, which: impl Fn(&Call) -> bool) {
        let open: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.open && which(call))
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            self.fail(now, id, why);
        }
    }

    /// The client waits for it no longer, and it is lost.
    pub(super) fn close(&mut self, now: u64, id: u64) {
        self.lose(id);
        self.settle(id);
        self.up.drop_call(id);
        let client = self.calls.get(&id).map_or(0, |call| call.client);
        if let Some(call) = self.calls.get_mut(&id) {
            let pieces = std::mem::take(&mut call.pieces);
            self.tally.lost(client, Side::Server, &pieces);
        }
        for answer in self.down.drop_call(id) {
            self.lose_answer(id, &answer.numbers);
        }
        let returning = |happening: &Happening| matches!(happening, Happening::Return { call, .. } if *call == id);
        let late: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, h)| returning(h))
            .map(|(at, _)| *at)
            .collect();
        for at in late {
            if let Some(Happening::Return { numbers, .. }) = self.queue.remove(&at) {
                self.lose_answer(id, &numbers);
            }
        }
        if self.conditions.hangups {
            let then = now + self.delay_up();
            for copy in 0..2 {
                self.at(then, Happening::Hangup { call: id, copy });
            }
        }
    }

    fn settle(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.open = false;
        }
    }

    /// §5.6.5: what the newest request still lists three timers after the answer counts as lost, though that request may have
    /// been long on its way.
    fn note_overdue(&mut self, now: u64, client: usize, body: &Bytes) {
        let Some(bundle) = requests(&self.ids[client], body).into_iter().next() else {
            return;
        };
        let newest = self.newest.entry(client).or_default();
        if bundle.bundle < *newest {
            return;
        }
        *newest = bundle.bundle;
        let listed = self.calls.values_mut().filter(|call| {
            call.client == client && bundle.prefix.open.contains(&call.exchange.number())
        });
        for call in listed {
            let is_overdue = |(at, _): &mut (u64, _)| now - *at > 3 * bundle.prefix.timer;
            if let Some((_, numbers)) = call.told.take_if(is_overdue) {
                self.tally.lost(client, Side::Server, &numbers);
            }
        }
    }

    /// Nothing of this answer arrives.
    pub(super) fn lose_answer(&mut self, id: u64, numbers: &[Range<u64>]) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.told.take().is_some() {
            self.tally.lost(call.client, Side::Server, numbers);
        }
    }

    pub(super) fn lose(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id).filter(|call| !call.lost) {
            call.lost = true;
            self.tally.lost(call.client, Side::Client, &call.numbers);
        }
    }

    pub(super) fn outage(&self, now: u64) -> Option<Fate> {
        self.conditions
            .outages
            .iter()
            .find(|o| o.from <= now && now < o.until)
            .map(|o| o.fate)
    }

    pub(super) fn delay_up(&mut self) -> u64 {
        self.conditions.delay_up + self.rng.below(self.conditions.jitter + 1)
    }

    pub(super) fn delay_down(&mut self) -> u64 {
        self.conditions.delay_down + self.rng.below(self.conditions.jitter + 1)
    }

    pub(super) fn at(&mut self, when: u64, happening: Happening) {
        self.seq += 1;
        self.queue.insert((when, self.seq), happening);
    }
}
