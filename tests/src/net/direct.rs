//! Direct connections: whole bundles on a wire with delay and rate, in order, until it is cut or swallows everything.

use super::{Delivery, Net};
use crate::oracle::Side;
use crate::tally::{numbers_down, numbers_up};
use crate::trace;
use bytes::Bytes;
use posthole_protocol::{Dial, ExchangeId, Failure, Request, RequestId};
use std::collections::VecDeque;
use std::ops::Range;

/// Ids of requests from here on are direct connections.
const WIRES: u64 = 1 << 50;

/// So many bytes a sender's system takes before the wire has carried them.
const BUFFER: u64 = 64 * 1024;

/// Whether a request is a direct connection.
pub(crate) fn is_wire(request: RequestId) -> bool {
    request.number() >= WIRES
}

/// What direct connections meet.
#[derive(Clone, Debug)]
pub struct DirectPath {
    /// Whether one can be made; `None`: dialling is never heard of again for 5 s, then fails.
    pub allowed: Option<bool>,
    /// One way, in microseconds.
    pub delay: u64,
    /// Bytes per second each way.
    pub rate: Option<u64>,
    /// From now on everything vanishes, and nobody is told.
    pub swallow: bool,
    /// Which server is reached.
    pub host: usize,
}

impl Default for DirectPath {
    fn default() -> DirectPath {
        DirectPath {
            allowed: Some(false),
            delay: 25_000,
            rate: None,
            swallow: false,
            host: 0,
        }
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Way {
    /// Until when the wire is taken.
    free: u64,
    moving: VecDeque<(u64, Bytes, Vec<Range<u64>>)>,
    /// When the sender may write again.
    written: Option<u64>,
    /// Everything that was ever sent on it.
    numbers: Vec<Range<u64>>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    client: usize,
    exchange: Option<ExchangeId>,
    request: RequestId,
    host: usize,
    /// Neither end hears of the other from here on.
    dead: bool,
    up: Way,
    down: Way,
    /// When the client's end learns that it is over, and when the server's.
    ends: [Option<u64>; 2],
    /// When dialling ends, and how.
    dials: Option<(u64, bool)>,
}

impl Way {
    fn push(&mut self, now: u64, path: &DirectPath, body: Bytes, numbers: &[Range<u64>]) {
        let micros = |bytes: u64| path.rate.map_or(0, |rate| bytes * 1_000_000 / rate);
        let end = self.free.max(now) + micros(body.len() as u64);
        self.free = end;
        self.written = Some(now.max(end.saturating_sub(micros(BUFFER))));
        self.numbers.extend(numbers.iter().cloned());
        if !path.swallow {
            self.moving
                .push_back((end + path.delay, body, numbers.to_vec()));
        }
    }

    fn next(&self) -> Option<u64> {
        let moving = self.moving.front().map(|(at, ..)| *at);
        [moving, self.written].into_iter().flatten().min()
    }

    fn take(&mut self, now: u64) -> Option<Bytes> {
        self.moving.front().filter(|(at, ..)| *at <= now)?;
        self.moving.pop_front().map(|(_, body, _)| body)
    }
}

impl Wire {
    pub(super) fn next(&self) -> Option<u64> {
        let dials = self.dials.map(|(at, _)| at);
        let ends = self.ends.into_iter().flatten().min();
        [dials, ends, self.up.next(), self.down.next()]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Net {
    /// A client dials.
    pub fn dial(&mut self, now: u64, client: usize, _dial: Dial) {
        let path = &self.direct;
        let (after, there) = match path.allowed {
            Some(there) => (2 * path.delay, there && !path.swallow),
            None => (5_000_000, false),
        };
        self.trace.line(now, format!("c{client} dials"));
        self.sent += 1;
        self.wires.push(Wire {
            client,
            exchange: None,
            request: RequestId::new(WIRES + self.sent),
            host: path.host,
            dead: false,
            up: Way::default(),
            down: Way::default(),
            ends: [None; 2],
            dials: Some((now + after, there)),
        });
    }

    /// The connection that was just dialled has its name.
    pub fn connected(&mut self, now: u64, client: usize, exchange: ExchangeId) {
        self.trace
            .line(now, format!("c{client} #{exchange} is connected"));
        let mut own = self.wires.iter_mut().rev();
        let wire = own.find(|w| w.client == client && w.exchange.is_none());
        wire.expect("it was dialled").exchange = Some(exchange);
    }

    /// A client writes a bundle.
    pub fn write(&mut self, now: u64, client: usize, request: Request) {
        let (exchange, body) = (request.exchange, request.body.into_bytes());
        let id = &self.ids[client];
        let numbers = numbers_up(id, &body);
        let says = trace::request(id, &body);
        self.trace
            .line(now, format!("c{client} {exchange} => {says}"));
        self.trace.body(&body);
        self.tally.sent(client, Side::Client, body.len(), &numbers);
        let path = self.direct.clone();
        let mut wires = self.wires.iter_mut();
        let wire = wires.find(|w| w.client == client && w.exchange == Some(exchange));
        let Some(wire) = wire else {
            self.tally.lost(client, Side::Client, &numbers);
            return;
        };
        assert!(wire.up.written.is_none(), "one bundle at a time");
        let path = DirectPath {
            swallow: path.swallow || wire.dead,
            ..path
        };
        wire.up.push(now, &path, body, &numbers);
    }

    /// A server writes a bundle; after the last one the connection ends.
    pub fn say(&mut self, now: u64, request: RequestId, body: Bytes, last: bool) {
        let Some(wire) = self.wires.iter_mut().find(|w| w.request == request) else {
            return;
        };
        let (client, exchange) = (wire.client, wire.exchange.expect("it is connected"));
        let numbers = numbers_down(&self.ids[client], exchange.number(), &body);
        let says = trace::answer(&self.ids[client], exchange.number(), &body);
        self.trace
            .line(now, format!("s{client} {exchange} <= {says}"));
        self.trace.body(&body);
        self.tally.sent(client, Side::Server, body.len(), &numbers);
        let path = DirectPath {
            swallow: self.direct.swallow || wire.dead,
            ..self.direct.clone()
        };
        assert!(last || wire.down.written.is_none(), "one bundle at a time");
        wire.down.push(now, &path, body, &numbers);
        if last {
            wire.ends[0] = Some(wire.down.free + path.delay);
            wire.down.written = None;
        }
    }

    /// Every direct connection is cut, and both ends hear of it.
    pub fn cut_direct(&mut self, now: u64) {
        self.trace.line(now, "-- direct connections are cut");
        for wire in self.wires.iter_mut().filter(|w| w.exchange.is_some()) {
            wire.dead = true;
            wire.ends = [Some(now), Some(now)];
        }
    }

    /// The connections that are there swallow everything from here on; others do not.
    pub fn swallow_direct(&mut self, now: u64) {
        self.trace.line(now, "-- direct connections swallow");
        for wire in &mut self.wires {
            wire.dead = true;
            wire.up.moving.clear();
            wire.down.moving.clear();
        }
    }

    /// How many there are.
    pub fn direct_connections(&self) -> usize {
        let there = self.wires.iter().filter(|w| w.exchange.is_some());
        there.filter(|w| w.ends == [None; 2]).count()
    }

    pub(super) fn hang_up(&mut self, now: u64, client: usize, exchange: ExchangeId) {
        let delay = self.direct.delay;
        let mut wires = self.wires.iter_mut();
        let wire = wires.find(|w| w.client == client && w.exchange == Some(exchange));
        if let Some(wire) = wire {
            let heard = !wire.dead && !self.direct.swallow && self.conditions.hangups;
            wire.ends[1] = heard.then_some(now + delay);
            (wire.up.written, wire.down.moving) = (None, VecDeque::new());
            if !heard {
                wire.dead = true;
            }
            self.bury(client, exchange);
        }
    }

    /// What was on it may go again.
    fn bury(&mut self, client: usize, exchange: ExchangeId) {
        let mut wires = self.wires.iter();
        let wire = wires.find(|w| w.client == client && w.exchange == Some(exchange));
        if let Some(wire) = wire {
            self.tally.lost(client, Side::Client, &wire.up.numbers);
            self.tally.lost(client, Side::Server, &wire.down.numbers);
        }
    }

    pub(super) fn advance_wires(&mut self, now: u64) {
        let mut gone = Vec::new();
        for wire in &mut self.wires {
            let (client, request, host) = (wire.client, wire.request, wire.host);
            if let Some((_, there)) = wire.dials.take_if(|(at, _)| *at <= now) {
                self.ready.push_back(Delivery::Dialled { client, there });
                if !there {
                    gone.push(request);
                }
            }
            let Some(exchange) = wire.exchange else {
                continue;
            };
            while let Some(body) = wire.up.take(now) {
                self.ready.push_back(Delivery::Request {
                    host,
                    request,
                    body,
                });
            }
            while let Some(body) = wire.down.take(now) {
                self.ready.push_back(Delivery::Bundles {
                    client,
                    exchange,
                    body,
                });
            }
            if wire.up.written.take_if(|at| *at <= now).is_some() && !wire.dead {
                self.ready.push_back(Delivery::Written { client, exchange });
            }
            if wire.down.written.take_if(|at| *at <= now).is_some() && !wire.dead {
                self.ready.push_back(Delivery::Said { host, request });
            }
            if wire.ends[0].take_if(|at| *at <= now).is_some() {
                let why = Failure::Cut;
                self.tally.lost(client, Side::Client, &wire.up.numbers);
                self.tally.lost(client, Side::Server, &wire.down.numbers);
                self.ready.push_back(Delivery::Failed {
                    client,
                    exchange,
                    why,
                });
                gone.extend(wire.ends[1].is_none().then_some(request));
            }
            if wire.ends[1].take_if(|at| *at <= now).is_some() {
                self.ready.push_back(Delivery::Hangup { host, request });
                gone.push(request);
            }
        }
        self.wires.retain(|w| !gone.contains(&w.request));
    }
}
