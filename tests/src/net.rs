//! The network: HTTP exchanges in virtual time, with delay, rate and faults.
//!
//! It plays everything between the two machines: the client's HTTP stack with its patience, the boxes on the way,
//! and the server's HTTP stack. What it knows of each exchange's fate is the measure for L5.

use crate::fault::{AnswerInfo, AnswerRule, ExchangeInfo, Fate, Fault, Outage, Rule};
use crate::link::Link;
use crate::oracle::Side;
use crate::rng::Rng;
use crate::tally::{Tally, numbers_down, numbers_up};
use crate::trace::{self, Trace};
use bytes::Bytes;
use posthole_protocol::{ExchangeId, Failure, Request, RequestId, SessionId};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// What comes out of the network at one of its ends.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A request reaches a server.
    Request {
        /// Which server.
        host: usize,
        /// The name of this copy of it.
        request: RequestId,
        /// Its body.
        body: Bytes,
    },
    /// A server learns that nobody waits for this answer.
    Hangup {
        /// Which server.
        host: usize,
        /// Which copy.
        request: RequestId,
    },
    /// A response with status 200 reaches the client.
    Answer {
        /// Which client.
        client: usize,
        /// Which exchange.
        exchange: ExchangeId,
        /// Its body.
        body: Bytes,
    },
    /// The client's HTTP stack reports a failure.
    Failed {
        /// Which client.
        client: usize,
        /// Which exchange.
        exchange: ExchangeId,
        /// What it says.
        why: Failure,
    },
    /// The client's HTTP stack saw bytes move.
    Progress {
        /// Which client.
        client: usize,
        /// Which exchange.
        exchange: ExchangeId,
    },
}

/// What the path is like.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// One way, towards the server.
    pub delay_up: u64,
    /// One way, towards the client.
    pub delay_down: u64,
    /// So much more at most, drawn anew each time: exchanges overtake one another.
    pub jitter: u64,
    /// Whether a server hears that a client has gone.
    pub hangups: bool,
    /// The largest request a box lets through; others meet 413.
    pub limit_up: Option<usize>,
    /// The largest answer a box lets through; others become 502.
    pub limit_down: Option<usize>,
    /// How many exchanges a queueing box has under way at once; others wait in silence.
    pub lanes: Option<usize>,
    /// When nothing gets through.
    pub outages: Vec<Outage>,
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions {
            delay_up: 25_000,
            delay_down: 25_000,
            jitter: 0,
            hangups: true,
            limit_up: None,
            limit_down: None,
            lanes: None,
            outages: Vec::new(),
        }
    }
}

/// One HTTP exchange as the network sees it.
#[derive(Debug)]
struct Call {
    client: usize,
    exchange: ExchangeId,
    body: Bytes,
    patience: u64,
    /// Until when the client waits, unless bytes move.
    until: u64,
    /// Whether the client still waits.
    open: bool,
    /// Whether it has left a queueing box's line.
    started: bool,
    fault: Fault,
    numbers: Vec<Range<u64>>,
    lost: bool,
    copies: [Copy; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Copy {
    arrived: bool,
    answered: bool,
    hung_up: bool,
}

#[derive(Debug)]
enum Happening {
    Arrive {
        call: u64,
        copy: usize,
    },
    Return {
        call: u64,
        body: Bytes,
        numbers: Vec<Range<u64>>,
        intact: bool,
    },
    Fail {
        call: u64,
        why: Failure,
    },
    Hangup {
        call: u64,
        copy: usize,
    },
    Patience {
        call: u64,
    },
}

#[derive(Debug)]
struct Answer {
    body: Bytes,
    numbers: Vec<Range<u64>>,
    intact: bool,
}

/// All that was sent, for tests that send it again.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Bodies of requests, with the client.
    pub requests: Vec<(usize, Bytes)>,
    /// Bodies of answers, with the client and the exchange.
    pub answers: Vec<(usize, u64, Bytes)>,
}

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
    /// What was counted.
    pub tally: Tally,
    /// What happened.
    pub trace: Trace,
    /// What was sent, if asked for.
    pub record: Option<Record>,
    ids: Vec<SessionId>,
    calls: BTreeMap<u64, Call>,
    line: VecDeque<u64>,
    queue: BTreeMap<(u64, u64), Happening>,
    ready: VecDeque<Delivery>,
    seq: u64,
    sent: u64,
    answered: u64,
    rng: Rng,
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
            tally: Tally::default(),
            trace: Trace::default(),
            record: None,
            ids: Vec::new(),
            calls: BTreeMap::new(),
            line: VecDeque::new(),
            queue: BTreeMap::new(),
            ready: VecDeque::new(),
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
        self.tally.sent(client, Side::Client, body.len(), &numbers);
        self.trace.line(
            now,
            format!(
                "c{client} #{exchange} -> {}",
                trace::request(&self.ids[client], &body)
            ),
        );
        if let Some(record) = &mut self.record {
            record.requests.push((client, body.clone()));
        }
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
        if fault != Fault::NONE {
            self.trace
                .line(now, format!("c{client} #{exchange} meets {fault:?}"));
        }
        let call = self.sent;
        self.sent += 1;
        let patience = u64::try_from(request.patience.as_micros()).unwrap_or(u64::MAX);
        let until = now.saturating_add(patience);
        self.at(until, Happening::Patience { call });
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
        let (client, exchange) = (call.client, call.exchange.number());
        let gone = call.copies[copy].hung_up;
        let wins = call
            .fault
            .duplicate
            .is_none_or(|duplicate| duplicate.second_wins == (copy == 1));
        let (mut fate, late) = (call.fault.response, call.fault.response_delay);
        let numbers = numbers_down(&self.ids[client], exchange, &body);
        self.tally.sent(client, Side::Server, body.len(), &numbers);
        self.trace.line(
            now,
            format!(
                "s{client} #{exchange} <- {}",
                trace::answer(&self.ids[client], exchange, &body)
            ),
        );
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
        if gone || !wins {
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
                self.tally.lost(client, Side::Server, &numbers);
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
        [queued, ready, self.up.next(), self.down.next()]
            .into_iter()
            .flatten()
            .min()
    }

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
                    self.tally.lost(client, Side::Server, &numbers);
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
    fn start(&mut self, now: u64) {
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
    fn back(&mut self, now: u64, call: u64, late: u64, answer: Answer) {
        let then = now + self.delay_down() + late;
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

    fn fail_all(&mut self, now: u64, why: Failure, which: impl Fn(&Call) -> bool) {
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
    fn close(&mut self, now: u64, id: u64) {
        self.lose(id);
        self.settle(id);
        self.up.drop_call(id);
        for answer in self.down.drop_call(id) {
            let client = self.calls.get(&id).map_or(0, |call| call.client);
            self.tally.lost(client, Side::Server, &answer.numbers);
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

    fn lose(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id).filter(|call| !call.lost) {
            call.lost = true;
            self.tally.lost(call.client, Side::Client, &call.numbers);
        }
    }

    fn outage(&self, now: u64) -> Option<Fate> {
        self.conditions
            .outages
            .iter()
            .find(|o| o.from <= now && now < o.until)
            .map(|o| o.fate)
    }

    fn delay_up(&mut self) -> u64 {
        self.conditions.delay_up + self.rng.below(self.conditions.jitter + 1)
    }

    fn delay_down(&mut self) -> u64 {
        self.conditions.delay_down + self.rng.below(self.conditions.jitter + 1)
    }

    fn at(&mut self, when: u64, happening: Happening) {
        self.seq += 1;
        self.queue.insert((when, self.seq), happening);
    }
}

impl Call {
    fn is_answered(&self) -> bool {
        self.copies.iter().any(|copy| copy.answered)
    }
}
