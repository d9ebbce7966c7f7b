//! The network: HTTP exchanges in virtual time, with delay, rate and faults.
//!
//! It plays everything between the two machines: the client's HTTP stack with its patience, the boxes on the way,
//! and the server's HTTP stack. What it knows of each exchange's fate is the measure for L5.

use crate::fault::{AnswerInfo, AnswerRule, ExchangeInfo, Fate, Fault, Rule};
use crate::link::Link;
use crate::oracle::Side;
use crate::rng::Rng;
use crate::tally::{Tally, numbers_down, numbers_up};
use crate::trace::{self, Trace};
use bytes::Bytes;
use posthole_protocol::http::{Form, Tag};
use posthole_protocol::{ExchangeId, Failure, Request, RequestId, SessionId};
use std::collections::{BTreeMap, VecDeque};

mod call;
pub(crate) mod direct;
mod pieces;
mod transit;
mod words;

use call::{Answer, Call, Copy, Happening};
pub use direct::DirectPath;
use direct::Wire;
pub use words::{Conditions, Delivery, Record};

/// The network between all clients and all servers.
pub struct Net {
    /// What the path is like; may be changed in mid-run.
    pub conditions: Conditions,
    /// Requests on their way; its rate may be set.
    pub up: Link<()>,
    /// Answers on their way; its rate may be set.
    down: Link<Answer>,
    /// Decides each exchange's fate.
    pub rule: Rule,
    /// Decides the fate of each answer that its exchange's rule lets pass.
    pub answer_rule: AnswerRule,
    /// What direct connections meet.
    pub direct: DirectPath,
    /// What was counted.
    pub tally: Tally,
    /// What happened.
    pub trace: Trace,
    /// What was sent, if asked for.
    pub record: Option<Record>,
    ids: Vec<SessionId>,
    calls: BTreeMap<u64, Call>,
    wires: Vec<Wire>,
    line: VecDeque<u64>,
    queue: BTreeMap<(u64, u64), Happening>,
    ready: VecDeque<Delivery>,
    seq: u64,
    sent: u64,
    answered: u64,
    rng: Rng,
    /// Of each client, the highest number of a bundle that a server has seen.
    newest: BTreeMap<usize, u64>,
}

impl Net {
    /// A clean network.
    pub fn new(seed: u64) -> Net {
        Net {
            conditions: Conditions::default(),
            up: Link::new(),
            down: Link::new(),
            rule: Box::new(|_| Fault::NONE),
            answer_rule: Box::new(|_| Fate::Pass),
            direct: DirectPath::default(),
            wires: Vec::new(),
            tally: Tally::default(),
            trace: Trace::default(),
            record: None,
            ids: Vec::new(),
            calls: BTreeMap::new(),
            line: VecDeque::new(),
            queue: BTreeMap::new(),
            ready: VecDeque::new(),
            newest: BTreeMap::new(),
            seq: 0,
            sent: 0,
            answered: 0,
            rng: Rng::new(seed ^ 0x6e65_7477_6f72_6b21),
        }
    }

    /// Bytes per second, each way; `None`: no limit.
    pub fn set_rate(&mut self, up: Option<u64>, down: Option<u64>) {
        self.up.rate = up;
        self.down.rate = down;
    }

    /// From now on everything arrives.
    pub fn heal(&mut self) {
        self.rule = Box::new(|_| Fault::NONE);
        self.answer_rule = Box::new(|_| Fate::Pass);
        self.conditions.outages.clear();
        self.direct.swallow = false;
    }

    /// How many of a client's exchanges are open, as its HTTP stack sees it.
    pub fn open(&self, client: usize) -> usize {
        self.calls
            .values()
            .filter(|call| call.open && call.client == client)
            .count()
    }

    /// How many requests wait at servers for their answers.
    pub fn held(&self) -> usize {
        let copies = self.calls.values().flat_map(|call| call.copies);
        copies
            .filter(|copy| copy.arrived && !copy.answered && !copy.hung_up)
            .count()
    }

    /// A client's session id, by which its bodies can be read.
    pub fn add_client(&mut self, id: SessionId) {
        self.ids.push(id);
    }

    /// The client sends a request.
    pub fn send(&mut self, now: u64, client: usize, request: Request) {
        let body = request.body.into_bytes();
        let exchange = request.exchange.number();
        let numbers = numbers_up(&self.ids[client], &body);
        self.trace.line(
            now,
            format!(
                "c{client} #{exchange} -> {}",
                trace::request(&self.ids[client], &body)
            ),
        );
        self.trace.body(&body);
        self.tally.sent(client, Side::Client, body.len(), &numbers);
        if let Some(record) = &mut self.record {
            record.requests.push((client, body.clone()));
        }
        let body = if request.form {
            Form::new(Tag::from_bytes([0xf0; 8]))
                .put(body.into())
                .into_bytes()
        } else {
            body
        };
        let messages = numbers.iter().map(|range| range.end - range.start).sum();
        let info = ExchangeInfo {
            nth: self.sent,
            client,
            exchange,
            now,
            size: body.len(),
            messages,
        };
        let mut fault = (self.rule)(&info);
        if let Some(fate) = self.outage(now) {
            fault.request = fate;
        } else if self
            .conditions
            .limit_up
            .is_some_and(|limit| body.len() > limit)
        {
            fault.request = Fate::Fail(Failure::TooLarge);
        }
        let refuses = if request.form {
            self.conditions.no_forms
        } else {
            self.conditions.only_forms
        };
        if let Some(status) = refuses {
            fault.request = Fate::Fail(Failure::Refused { status });
        }
        if fault != Fault::NONE {
            self.trace
                .line(now, format!("c{client} #{exchange} meets {fault:?}"));
        }
        let call = self.sent;
        self.sent += 1;
        let patience = u64::try_from(request.patience.as_micros()).unwrap_or(u64::MAX);
        let until = now.saturating_add(patience);
        self.at(until, Happening::Patience { call });
        if let Some(limit) = self.conditions.hold_limit {
            let why = Failure::Middlebox { status: 504 };
            self.at(now + limit, Happening::Fail { call, why });
        }
        self.calls.insert(
            call,
            Call {
                client,
                exchange: request.exchange,
                body,
                patience,
                until,
                open: true,
                started: false,
                fault,
                numbers,
                lost: false,
                copies: [Copy::default(); 2],
                pieces: Vec::new(),
                kept: Vec::new(),
                last_piece: 0,
                cut: false,
                told: None,
            },
        );
        self.line.push_back(call);
        self.start(now);
    }

    /// The server answers a request with status 200.
    ///
    /// # Panics
    /// If that request was answered before, or never came: the contract is one response for each.
    pub fn answer(&mut self, now: u64, request: RequestId, body: Bytes) {
        let (id, copy) = (request.number() / 2, (request.number() % 2) as usize);
        let call = self
            .calls
            .get_mut(&id)
            .expect("an answer to a request that never came");
        assert!(
            call.copies[copy].arrived,
            "an answer to a request that has not come"
        );
        assert!(
            !call.copies[copy].answered,
            "two answers to one request: {request:?}"
        );
        call.copies[copy].answered = true;
        let cut = call.cut;
        let body = if call.kept.is_empty() {
            body
        } else {
            Bytes::from([std::mem::take(&mut call.kept), body.to_vec()].concat())
        };
        let (client, exchange) = (call.client, call.exchange.number());
        let gone = call.copies[copy].hung_up || !call.open;
        let wins = call
            .fault
            .duplicate
            .is_none_or(|duplicate| duplicate.second_wins == (copy == 1));
        let (mut fate, late) = (call.fault.response, call.fault.response_delay);
        let numbers = numbers_down(&self.ids[client], exchange, &body);
        self.trace.line(
            now,
            format!(
                "s{client} #{exchange} <- {}",
                trace::answer(&self.ids[client], exchange, &body)
            ),
        );
        // Of two copies of a request that a box made, one answer goes nowhere.
        let nowhere = gone || !wins;
        if nowhere {
            self.tally.lost(client, Side::Server, &numbers);
        } else {
            call.told = Some((now, numbers.clone()));
        }
        self.trace.body(&body);
        self.tally.sent(client, Side::Server, body.len(), &numbers);
        if let Some(record) = &mut self.record {
            record.answers.push((client, exchange, body.clone()));
        }
        let messages = numbers.iter().map(|range| range.end - range.start).sum();
        if fate == Fate::Pass {
            let info = AnswerInfo {
                nth: self.answered,
                client,
                exchange,
                now,
                size: body.len(),
                messages,
            };
            fate = (self.answer_rule)(&info);
        }
        self.answered += 1;
        if let Some(outage) = self.outage(now) {
            fate = outage;
        } else if self
            .conditions
            .limit_down
            .is_some_and(|limit| body.len() > limit)
        {
            fate = Fate::Fail(Failure::Middlebox { status: 502 });
        }
        if nowhere || cut {
            fate = Fate::Lose;
        }
        if fate != Fate::Pass {
            self.trace
                .line(now, format!("s{client} #{exchange} answer meets {fate:?}"));
        }
        match (fate.apply(&body), fate) {
            (Some(body), _) => {
                let size = body.len();
                let answer = Answer {
                    body,
                    numbers,
                    intact: fate == Fate::Pass,
                };
                if let Some(answer) = self.down.push(now, id, size, answer) {
                    self.back(now, id, late, answer);
                }
            }
            (None, fate) => {
                if !nowhere {
                    self.lose_answer(id, &numbers);
                }
                if wins {
                    self.lose(id);
                }
                if let (Fate::Fail(why), true) = (fate, wins) {
                    let then = now + self.delay_down();
                    self.at(then, Happening::Fail { call: id, why });
                }
            }
        }
        self.start(now);
    }

    /// A server refuses a request: what it carried was not read.
    pub fn turned_away(&mut self, request: RequestId) {
        self.lose(request.number() / 2);
    }

    /// The server's HTTP stack answers with a failure of its own.
    pub fn refuse(&mut self, now: u64, request: RequestId, why: Failure) {
        let (id, copy) = (request.number() / 2, (request.number() % 2) as usize);
        let call = self
            .calls
            .get_mut(&id)
            .expect("a refusal of a request that never came");
        call.copies[copy].answered = true;
        let then = now + self.delay_down();
        self.lose(id);
        self.at(then, Happening::Fail { call: id, why });
    }

    /// The client cancels an exchange.
    pub fn cancel(&mut self, now: u64, client: usize, exchange: ExchangeId) {
        self.trace
            .line(now, format!("c{client} #{} cancelled", exchange.number()));
        self.hang_up(now, client, exchange);
        let found = self
            .calls
            .iter()
            .find(|(_, call)| call.open && call.client == client && call.exchange == exchange);
        if let Some((&id, _)) = found {
            self.close(now, id);
        }
        self.start(now);
    }

    /// Ends a client's open exchange, for an answer that the test gives in its place.
    pub fn steal(&mut self, now: u64, client: usize, exchange: u64) -> Option<ExchangeId> {
        let mut open = self
            .calls
            .iter()
            .filter(|(_, call)| call.open && call.client == client);
        let (id, call) = open.find(|(_, call)| call.exchange.number() == exchange)?;
        let (id, exchange) = (*id, call.exchange);
        self.close(now, id);
        Some(exchange)
    }

    /// Every connection is reset.
    pub fn kill(&mut self, now: u64) {
        self.trace.line(now, "-- all connections are reset");
        self.fail_all(now, Failure::Cut, |_| true);
    }

    /// Every connection to a server is reset.
    pub fn kill_host(&mut self, now: u64, host: usize) {
        self.fail_all(now, Failure::Cut, |call| call.fault.host == host);
    }

    /// When something happens next.
    pub fn next(&self) -> Option<u64> {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let ready = self.ready.front().map(|_| 0);
        let wires = self.wires.iter().filter_map(Wire::next).min();
        [queued, ready, wires, self.up.next(), self.down.next()]
            .into_iter()
            .flatten()
            .min()
    }
}
