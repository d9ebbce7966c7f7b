//! Random whole machines: both roles, a router and a wire that loses, doubles, reorders, delays, damages and fails,
//! with applications that write, read, finish, reset, stop and close at random. Every byte is checked, and so are
//! C2, C5, L1, L5, the sums of the streams, and that everything ends once the wire heals.

use super::*;
use crate::event::Read;
use crate::id::{Instance, Nonce, RequestId};
use crate::server::{Route, Router, Server};
use crate::{ReadError, ResetCode, RouterConfig, WriteError};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

const MS: u64 = 1000;
const SEC: u64 = 1000 * MS;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

enum Packet {
    Request(RequestId, Bytes),
    Answer(u64, Bytes),
    Failure(u64, Failure),
    Hangup(RequestId),
}

/// One direction of one stream, as both applications know it.
#[derive(Default, Debug)]
struct Flow {
    written: u64,
    pending: u64,
    finished: bool,
    finished_told: bool,
    reset: bool,
    stopped: bool,
    read: u64,
    ended: bool,
    failed: Option<ReadError>,
}

#[derive(Default, Debug)]
struct Faults {
    lose: u64,
    fail: u64,
    double: u64,
    damage: u64,
    hangup: u64,
    jitter: u64,
}

struct World {
    rng: Rng,
    now: u64,
    delay: u64,
    faults: Faults,
    client: Client,
    server: Option<Server>,
    config: Config,
    router: Router<()>,
    wire: BTreeMap<(u64, u64), Packet>,
    seq: u64,
    requests: u64,
    open_requests: Vec<(RequestId, u64)>,
    /// By stream and the side that writes: 0 the client.
    flows: BTreeMap<(u64, usize), Flow>,
    known: [Vec<StreamId>; 2],
    closed: [Option<CloseReason>; 2],
    closing: [bool; 2],
    full: [bool; 2],
    ghosts: Vec<Bytes>,
    polls: u64,
    lost_request: Option<u64>,
    lost_answer: Option<u64>,
    answers: u64,
    trace: Vec<alloc::string::String>,
}

fn byte(stream: u64, side: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8) ^ (stream * 77) ^ (side as u64 * 13)) as u8
}

macro_rules! note {
    ($w:expr, $($x:tt)*) => { if $w.trace.capacity() > 0 { let l = std::format!($($x)*); let t = $w.now; $w.trace.push(std::format!("{}.{:03} {}", t / MS, t % MS, l)); std::eprintln!("{}", $w.trace.last().unwrap()); } };
}

fn config(rng: &mut Rng) -> Config {
    let base = Config::builder()
        .give_up(Duration::from_secs(20_000))
        .idle(Duration::from_secs(60_000));
    let requests = rng.pick(&[1u8, 2, 2, 3, 4, 8]);
    let hold = if requests > 2 { rng.pick(&[1, 2]) } else { 1 };
    let mut built = base
        .requests(requests)
        .hold(hold)
        .pool(rng.pick(&[64 << 10, 64 << 10, 100_000, 24 << 20]))
        .send_pool(rng.pick(&[0, 10, 40_000, 24 << 20]))
        .streams(rng.pick(&[16, 17, 2048]))
        .body_first(rng.pick(&[32 << 10, 64 << 10]))
        .body_max(rng.pick(&[64 << 10, 1_000_000]))
        .bundle_messages(rng.pick(&[1, 2, 10, u16::MAX, u16::MAX]))
        .build()
        .unwrap();
    match rng.below(10) {
        0 => {
            built.classic = true;
            built.learning = false;
            built.bundle_messages = 10;
            built.gather = Duration::from_secs(1);
            built.grace = Duration::ZERO;
        }
        1 => {
            built.learning = false;
            built.gather = Duration::ZERO;
        }
        _ => {}
    }
    built
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng(seed);
        let (config, server_config) = (config(&mut rng), config(&mut rng));
        // Half of them begin while the router can't vouch (A8).
        let start = rng.pick(&[0, 2000 * SEC]);
        let router_config = RouterConfig {
            linger: Duration::from_secs(1000),
            ..RouterConfig::default()
        };
        let id = SessionId::from_bytes([seed as u8; 16]);
        let delay = rng.pick(&[0, 10, MS, 10 * MS, 50 * MS, 300 * MS]);
        let level = rng.pick(&[0, 1, 5, 20, 50]);
        let mut some = |most: u64| rng.below(2) * rng.below(most + 1);
        let faults = Faults {
            lose: some(level),
            fail: some(level),
            double: some(level),
            damage: some(level),
            hangup: some(level),
            jitter: some(1) * some(2 * delay + 5 * MS),
        };
        let trace = if std::env::var("TRACE").is_ok() {
            Vec::with_capacity(1000)
        } else {
            Vec::new()
        };
        World {
            now: start,
            delay,
            faults,
            client: Client::new(config, id, Instant::from_micros(start)),
            server: None,
            config: server_config,
            router: Router::new(router_config, Instance(1), Instant::ZERO),
            wire: BTreeMap::new(),
            seq: 0,
            requests: 0,
            open_requests: Vec::new(),
            flows: BTreeMap::new(),
            known: [Vec::new(), Vec::new()],
            closed: [None, None],
            closing: [false; 2],
            full: [false; 2],
            ghosts: Vec::new(),
            polls: 0,
            lost_request: None,
            lost_answer: None,
            answers: 0,
            trace,
            rng,
        }
    }

    fn at(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    fn post(&mut self, packet: Packet) {
        let jitter = self.rng.below(self.faults.jitter + 1);
        self.seq += 1;
        self.wire
            .insert((self.now + self.delay + jitter, self.seq), packet);
    }

    // --- the wire ------------------------------------------------------------------------------------------

    fn send_request(&mut self, request: Request) {
        let exchange = request.exchange.number();
        let body = request.body.into_bytes();
        note!(self, "C> e{exchange} {} bytes", body.len());
        if self.ghosts.len() < 50 {
            self.ghosts.push(body.clone());
        }
        if self.rng.chance(self.faults.lose) || self.lost_request == Some(exchange) {
            note!(self, "   lost");
            return;
        }
        if self.rng.chance(self.faults.fail) {
            note!(self, "   fails");
            let why = self.rng.pick(&[
                Failure::Cut,
                Failure::TimedOut,
                Failure::TooLarge,
                Failure::Middlebox { status: 502 },
            ]);
            self.post(Packet::Failure(exchange, why));
            if self.rng.chance(50) {
                return;
            }
        }
        let copies = 1 + u64::from(self.rng.chance(self.faults.double)) * (1 + self.rng.below(3));
        for _ in 0..copies {
            self.requests += 1;
            let rid = RequestId::new(self.requests);
            self.open_requests.push((rid, exchange));
            let body = self.damaged(body.clone());
            self.post(Packet::Request(rid, body));
            if self.rng.chance(self.faults.hangup) {
                self.post(Packet::Hangup(rid));
                self.post(Packet::Failure(exchange, Failure::Cut));
            }
        }
    }

    fn damaged(&mut self, body: Bytes) -> Bytes {
        if !self.rng.chance(self.faults.damage) || body.is_empty() {
            return body;
        }
        let at = self.rng.below(body.len() as u64) as usize;
        if self.rng.chance(50) {
            return body.slice(..at);
        }
        let mut bad = body.to_vec();
        bad[at] ^= 1 << self.rng.below(8);
        bad.into()
    }

    fn send_answer(&mut self, rid: RequestId, exchange: u64, body: Bytes) {
        note!(self, "S> e{exchange} {rid:?} {} bytes", body.len());
        let before = self.open_requests.len();
        self.open_requests.retain(|(r, _)| *r != rid);
        assert!(before > self.open_requests.len(), "answered twice: {rid:?}");
        self.answers += 1;
        if self.rng.chance(self.faults.lose) || self.lost_answer == Some(self.answers - 1) {
            note!(self, "   lost");
            return;
        }
        if self.rng.chance(self.faults.fail) {
            note!(self, "   fails");
            self.post(Packet::Failure(exchange, Failure::Cut));
            if self.rng.chance(50) {
                self.post(Packet::Hangup(rid));
            }
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.faults.double));
        for _ in 0..copies {
            let body = self.damaged(body.clone());
            self.post(Packet::Answer(exchange, body));
        }
    }

    fn arrive(&mut self, packet: Packet) {
        let now = self.at();
        match packet {
            Packet::Request(rid, body) => {
                if !self.open_requests.iter().any(|(r, _)| *r == rid) {
                    return; // its connection has gone
                }
                let route = self.router.route(now, &body);
                note!(
                    self,
                    "S< {rid:?} {}",
                    match &route {
                        Route::Session(()) => "session",
                        Route::Opening { .. } => "opening",
                        Route::Reject(_) => "reject",
                        Route::NotOurs => "not ours",
                    }
                );
                let reject = match route {
                    Route::Session(()) => {
                        let server = self.server.as_mut().unwrap();
                        server.feed_request(now, rid, body).err()
                    }
                    Route::Opening { opening, .. } => {
                        assert!(self.server.is_none(), "a ghost opens a session");
                        let mut server = Server::new(self.config.clone(), opening, Nonce(3), now);
                        self.router.insert(server.id(), ());
                        let err = server.feed_request(now, rid, body).err();
                        self.server = Some(server);
                        err
                    }
                    Route::Reject(reject) => Some(reject),
                    Route::NotOurs => {
                        let exchange = self.exchange_of(rid);
                        self.post(Packet::Failure(exchange, Failure::Refused { status: 400 }));
                        None
                    }
                };
                if let Some(reject) = reject {
                    let exchange = self.exchange_of(rid);
                    note!(self, "   rejected e{exchange}");
                    self.send_answer(rid, exchange, reject.body().into_bytes());
                }
            }
            Packet::Answer(exchange, body) => {
                let known = self
                    .client
                    .feed_response(now, ExchangeId(exchange), body)
                    .is_ok();
                note!(
                    self,
                    "C< e{exchange} {}",
                    if known { "" } else { "unknown" }
                );
            }
            Packet::Failure(exchange, why) => {
                let known = self
                    .client
                    .feed_failure(now, ExchangeId(exchange), why)
                    .is_ok();
                note!(
                    self,
                    "C< e{exchange} {why:?} {}",
                    if known { "" } else { "unknown" }
                );
            }
            Packet::Hangup(rid) => {
                note!(self, "S< hangup {rid:?}");
                self.open_requests.retain(|(r, _)| *r != rid);
                if let Some(server) = &mut self.server {
                    server.feed_hangup(now, rid);
                }
            }
        }
    }

    fn exchange_of(&self, rid: RequestId) -> u64 {
        self.open_requests
            .iter()
            .find(|(r, _)| *r == rid)
            .map_or(0, |(_, e)| *e)
    }

    // --- polls and time ------------------------------------------------------------------------------------

    fn drain(&mut self) {
        let mut turns = 0;
        while let Some(request) = self.client.poll_request(self.at()) {
            self.send_request(request);
            self.polls += 1;
            turns += 1;
            assert!(turns < 70, "the client polls without end");
        }
        let later = Instant::from_micros(self.now + self.rng.below(SEC));
        assert!(self.client.poll_request(later).is_none(), "C2, client");
        while let Some(exchange) = self.client.poll_cancel() {
            note!(self, "C  cancels {exchange}");
            if self.rng.chance(50) {
                let rids: Vec<_> = self
                    .open_requests
                    .iter()
                    .filter(|(_, e)| *e == exchange.number())
                    .map(|(r, _)| *r)
                    .collect();
                rids.into_iter().for_each(|r| self.post(Packet::Hangup(r)));
            }
        }
        turns = 0;
        while let Some(mut server) = self.server.take() {
            let response = server.poll_response(self.at());
            if response.is_none() {
                assert!(server.poll_response(later).is_none(), "C2, server");
            }
            let over = server.is_over();
            if over {
                let _ = self.router.ended(self.at(), server.id(), &server);
            }
            self.server = Some(server);
            let Some(r) = response else { break };
            self.send_answer(r.request, r.exchange, r.body.into_bytes());
            turns += 1;
            assert!(turns < 300, "the server polls without end");
        }
    }

    fn timers(&mut self) {
        let at = self.at();
        self.client.feed_timeout(at);
        if self.client.next_timeout().is_some_and(|t| t <= at) {
            let mut copy = self.client.clone();
            assert!(
                copy.poll_request(at).is_some() || copy.poll_cancel().is_some(),
                "C5, client at {at}: {:#?}",
                self.client
            );
        }
        if let Some(server) = &mut self.server {
            server.feed_timeout(at);
            if server.next_timeout().is_some_and(|t| t <= at) {
                let mut copy = server.clone();
                assert!(
                    copy.poll_response(at).is_some(),
                    "C5, server at {at}: {server:#?}"
                );
            }
        }
    }

    fn check(&self) {
        self.client.session.streams.check();
        self.client.session.outbox.check();
        if let Some(server) = &self.server {
            server.check();
        }
    }

    /// Moves on to the next thing that happens, at most to `until`.
    fn step(&mut self, until: u64) {
        self.drain();
        self.check();
        let timer = [
            self.client.next_timeout(),
            self.server.as_ref().and_then(Server::next_timeout),
        ];
        let timer = timer.into_iter().flatten().map(Instant::as_micros).min();
        let wire = self.wire.keys().next().map(|k| k.0);
        let next = timer.into_iter().chain(wire).min().unwrap_or(until);
        self.now = self.now.max(next.min(until));
        if self.rng.chance(5) {
            self.now += self.rng.below(20 * MS);
        }
        while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
            let packet = entry.remove();
            self.arrive(packet);
            if self.rng.chance(50) {
                self.drain();
            }
        }
        self.timers();
    }

    // --- the applications ----------------------------------------------------------------------------------

    fn stream(&mut self, side: usize, id: StreamId) -> Option<Stream<'_>> {
        if side == 0 {
            self.client.stream(id)
        } else {
            self.server.as_mut()?.stream(id)
        }
    }

    fn learn(&mut self, side: usize, id: StreamId) {
        self.known[side].push(id);
        for s in [0, 1] {
            self.flows.entry((id.number(), s)).or_default();
        }
    }

    fn open(&mut self, side: usize) {
        let id = if side == 0 {
            self.client.open()
        } else {
            match &mut self.server {
                Some(server) => server.open(),
                None => return,
            }
        };
        match id {
            Ok(id) => {
                note!(self, "{side}: opens {id}");
                self.learn(side, id);
                self.read_all(side, id);
            }
            Err(OpenError::Full) => self.full[side] = true,
            Err(OpenError::Closed) => {
                assert!(self.closing[0] || self.closing[1], "{side} can't open")
            }
        }
    }

    fn accept(&mut self, side: usize) {
        loop {
            let id = if side == 0 {
                self.client.accept()
            } else {
                self.server.as_mut().and_then(Server::accept)
            };
            let Some(id) = id else { return };
            note!(self, "{side}: accepts {id}");
            self.learn(side, id);
        }
    }

    /// Writes what is pending, and says whether that went on.
    fn write(&mut self, side: usize, id: StreamId) -> bool {
        let key = (id.number(), side);
        let (written, pending) = (self.flows[&key].written, self.flows[&key].pending);
        let mut data: Bytes = (written..written + pending)
            .map(|o| byte(key.0, side, o))
            .collect();
        let Some(mut stream) = self.stream(side, id) else {
            return true;
        };
        let result = stream.write(&mut data);
        let closing = self.closing[0] || self.closing[1];
        let flow = self.flows.get_mut(&key).unwrap();
        match result {
            Ok(n) => {
                flow.written += n as u64;
                flow.pending -= n as u64;
                assert!(!flow.finished && !flow.reset);
                n > 0 || pending == 0
            }
            Err(WriteError::Stopped(_)) => {
                assert!(flow.stopped);
                flow.pending = 0;
                true
            }
            Err(WriteError::Finished) => {
                assert!(flow.finished || flow.reset);
                flow.pending = 0;
                true
            }
            Err(_) => {
                assert!(closing, "write: closed");
                flow.pending = 0;
                true
            }
        }
    }

    /// Reads at most `max` bytes; says whether there was anything to tell.
    fn read(&mut self, side: usize, id: StreamId, max: usize) -> bool {
        let key = (id.number(), 1 - side);
        let Some(mut stream) = self.stream(side, id) else {
            return true;
        };
        let result = stream.read(max);
        let closing = self.closing[0] || self.closing[1];
        let flow = self.flows.get_mut(&key).unwrap();
        match result {
            Ok(Read::Chunk(bytes)) => {
                assert!(!flow.ended && flow.failed.is_none() && !flow.stopped);
                assert!(flow.read + bytes.len() as u64 <= flow.written, "too much");
                for b in bytes {
                    assert_eq!(b, byte(key.0, key.1, flow.read), "{key:?} at {}", flow.read);
                    flow.read += 1;
                }
                true
            }
            Ok(Read::Blocked) => {
                assert!(flow.failed.is_none() && !flow.ended);
                false
            }
            Ok(Read::End) => {
                assert!(
                    flow.finished && flow.read == flow.written,
                    "{key:?} {flow:?}"
                );
                flow.ended = true;
                true
            }
            Err(why) => {
                match why {
                    ReadError::Reset(_) => assert!(flow.reset || flow.stopped, "{key:?} {flow:?}"),
                    ReadError::Stopped => assert!(flow.stopped, "{key:?} {flow:?}"),
                    _ => assert!(closing, "{key:?} {flow:?}"),
                }
                flow.failed = Some(why);
                true
            }
        }
    }

    fn read_all(&mut self, side: usize, id: StreamId) {
        let key = (id.number(), 1 - side);
        loop {
            let told = self.read(side, id, usize::MAX);
            let gone = self.stream(side, id).is_none();
            if !told || self.flows[&key].ended || self.flows[&key].failed.is_some() || gone {
                return;
            }
        }
    }

    fn events(&mut self, side: usize) {
        loop {
            let event = if side == 0 {
                self.client.poll_event()
            } else {
                self.server.as_mut().and_then(Server::poll_event)
            };
            let Some(event) = event else { return };
            note!(self, "{side}: {event:?}");
            assert!(self.closed[side].is_none(), "C7: {event:?} after Closed");
            match event {
                Event::Connected => {}
                Event::Incoming => {
                    let known = self.known[side].len();
                    self.accept(side);
                    for id in self.known[side][known..].to_vec() {
                        self.read_all(side, id);
                    }
                }
                Event::CanOpen => {
                    self.full[side] = false;
                    self.open(side);
                    assert!(!self.full[side] || self.closing[0] || self.closing[1]);
                }
                Event::Readable(id) => {
                    let max = 1 + self.rng.below(1000) as usize;
                    assert!(self.read(side, id, max), "not readable: {id}");
                    self.read_all(side, id);
                }
                Event::Writable(id) => {
                    assert!(self.write(side, id), "not writable: {id}");
                }
                Event::Finished(id) => {
                    let flow = self.flows.get_mut(&(id.number(), side)).unwrap();
                    assert!(flow.finished && !flow.finished_told, "{id} {flow:?}");
                    flow.finished_told = true;
                }
                Event::Closed(why) => self.closed[side] = Some(why),
            }
        }
    }

    fn op(&mut self) {
        let side = self.rng.below(2) as usize;
        let count = self.known[side].len() as u64;
        let recent = count - self.rng.below(count.min(4) + 1).min(count);
        let some = if count == 0 {
            None
        } else {
            let at = if self.rng.chance(50) {
                recent.min(count - 1)
            } else {
                self.rng.below(count)
            };
            Some(self.known[side][at as usize])
        };
        let what = self.rng.below(100);
        let Some(id) = some.filter(|_| what >= 10) else {
            match what {
                0..6 => self.open(side),
                6..9 => self.accept(side),
                _ => self.events(side),
            }
            return;
        };
        let key = (id.number(), side);
        match what {
            10..40 => {
                let size = self.rng.pick(&[0, 1, 1, 10, 100, 3000, 20_000, 200_000]);
                note!(self, "{side}: writes {size} to {id}");
                let flow = self.flows.get_mut(&key).unwrap();
                if !flow.finished && !flow.reset {
                    flow.pending += size;
                    self.write(side, id);
                }
            }
            40..75 => {
                let max = self.rng.pick(&[1, 10, 1000, 100_000, usize::MAX]);
                self.read(side, id, max);
            }
            75..80 => self.events(side),
            80..86 => {
                if let Some(mut stream) = self.stream(side, id) {
                    stream.finish();
                    note!(self, "{side}: finishes {id}");
                    let flow = self.flows.get_mut(&key).unwrap();
                    flow.pending = 0;
                    flow.finished = true;
                }
            }
            86..89 => {
                if let Some(mut stream) = self.stream(side, id) {
                    stream.reset(ResetCode(7));
                    note!(self, "{side}: resets {id}");
                    let flow = self.flows.get_mut(&key).unwrap();
                    flow.pending = 0;
                    flow.reset = true;
                }
            }
            89..92 => {
                if let Some(mut stream) = self.stream(side, id) {
                    stream.stop(ResetCode(8));
                    note!(self, "{side}: stops {id}");
                    self.flows
                        .get_mut(&(id.number(), 1 - side))
                        .unwrap()
                        .stopped = true;
                }
            }
            _ => {
                let time = self.rng.pick(&[0, MS, 30 * MS, SEC, 5 * SEC]);
                let until = self.now + self.rng.below(time + 1);
                self.run(until);
            }
        }
    }

    fn run(&mut self, until: u64) {
        let (mut steps, mut last) = (0, self.now);
        while self.now < until {
            self.step(until);
            steps = if self.now == last { steps + 1 } else { 0 };
            last = self.now;
            assert!(steps < 1000, "spins at {}", self.now);
        }
        self.drain();
    }

    /// Lets time pass with applications that only do what events ask for.
    fn settle(&mut self, until: u64) {
        for side in [0, 1] {
            self.accept(side);
            for id in self.known[side].clone() {
                self.write(side, id);
                self.read_all(side, id);
            }
        }
        let mut steps = 0;
        while self.now < until {
            self.step(until);
            self.events(0);
            self.events(1);
            steps += 1;
            assert!(steps < 100_000, "no rest");
        }
        self.drain();
    }
}

fn random_session(seed: u64) {
    let mut w = World::new(seed);
    note!(
        w,
        "{:?} delay {} {:#?} {:#?}",
        w.faults,
        w.delay,
        w.client.session.config,
        w.config
    );
    let ops = w.rng.pick(&[5, 20, 60, 200]);
    let close_early = w.rng.chance(25);
    for _ in 0..ops {
        w.op();
        if w.rng.chance(50) {
            let until = w.now + w.rng.below(20 * MS);
            w.run(until);
        }
        if w.rng.chance(1)
            && w.server
                .as_ref()
                .is_some_and(|s| s.is_connected() && !s.is_over())
        {
            w.now += w.rng.below(3600 * SEC);
        }
    }
    if close_early {
        let side = w.rng.below(2) as usize;
        close(&mut w, side);
        if w.rng.chance(30) {
            let until = w.now + w.rng.below(2 * SEC);
            w.run(until);
            close(&mut w, 1 - side);
        }
    } else {
        w.faults = Faults::default();
        note!(w, "--- heals");
        // A classic server says one thing per wait.
        let classic = w.client.session.config.classic || w.config.classic;
        let until = w.now + if classic { 4000 * SEC } else { 200 * SEC };
        w.settle(until);
        for (key, flow) in &w.flows {
            let out = flow.reset || flow.stopped;
            assert!(
                out || (flow.read == flow.written && flow.pending == 0),
                "{key:?} not delivered: {flow:?}"
            );
            assert!(
                out || !flow.finished || (flow.ended && flow.finished_told),
                "{key:?} {flow:?}"
            );
            if flow.reset && !flow.stopped {
                assert!(flow.ended || flow.failed.is_some(), "{key:?}: {flow:?}");
            }
        }
        assert_eq!(w.closed, [None, None]);
        if w.server.is_some() {
            assert!(w.client.session.outbox.is_empty(), "{:#?}", w.client);
            assert!(w.server.as_ref().unwrap().is_flushed());
        }
        // Everything ends: nothing may be left.
        for side in [0, 1] {
            for id in w.known[side].clone() {
                if let Some(mut stream) = w.stream(side, id) {
                    stream.finish();
                    let flow = w.flows.get_mut(&(id.number(), side)).unwrap();
                    if !flow.reset {
                        flow.finished = true;
                    }
                }
            }
        }
        let known = w.known.clone();
        let until = w.now + if classic { 1000 * SEC } else { 100 * SEC };
        w.settle(until);
        for side in [0, 1] {
            for id in known[side].clone() {
                assert!(
                    w.stream(side, id).is_none(),
                    "side {side} keeps {id}: {:?} {:?}",
                    w.flows[&(id.number(), 0)],
                    w.flows[&(id.number(), 1)]
                );
            }
        }
        assert!(!w.full[0] && !w.full[1], "never told that it can open");
        let polls = w.polls;
        let until = w.now + 1000 * SEC;
        w.settle(until);
        let wait = w.client.session.config.wait_first.as_secs().min(5);
        assert!(
            w.polls - polls < 2 * 1000 / wait + 10,
            "{} polls while idle",
            w.polls - polls
        );
        let side = w.rng.below(2) as usize;
        close(&mut w, side);
    }
    w.faults = Faults::default();
    note!(w, "--- closing");
    let until = w.now + 400 * SEC;
    w.settle(until);
    if w.server.is_none() || w.closing == [false, false] {
        return;
    }
    for side in [0, 1] {
        let why = w.closed[side]
            .clone()
            .unwrap_or_else(|| panic!("{side} never ends"));
        assert!(
            why.is_clean() || matches!(why, CloseReason::Peer { code: 5, .. }),
            "{side}: {why:?}"
        );
        if why == CloseReason::Local && w.closing == [side == 0, side == 1] {
            for (key, flow) in w.flows.iter().filter(|(k, _)| k.1 == side) {
                assert!(
                    flow.reset || flow.stopped || flow.read == flow.written,
                    "closed with {key:?} not delivered: {flow:?}"
                );
            }
        }
    }
    for body in w.ghosts.clone() {
        w.requests += 1;
        let rid = RequestId::new(w.requests);
        w.open_requests.push((rid, 0));
        w.arrive(Packet::Request(rid, body));
    }
}

fn close(w: &mut World, side: usize) {
    note!(w, "{side}: closes");
    if side == 0 {
        w.client.close(5, "bye");
    } else if let Some(server) = &mut w.server {
        server.close(5, "bye");
    } else {
        return;
    }
    w.closing[side] = true;
}

#[test]
fn random_sessions_keep_every_promise() {
    each_seed(random_session);
}

/// On a wire that loses nothing, what may be sent arrives soon: no deadline but gathering, an acknowledgement's delay
/// and, with one slot, its wait stands before it.
fn prompt_session(seed: u64) {
    let mut w = World::new(seed);
    let jitter = w.faults.jitter;
    w.faults = Faults {
        jitter,
        ..Faults::default()
    };
    note!(
        w,
        "delay {} {:#?} {:#?}",
        w.delay,
        w.client.session.config,
        w.config
    );
    let first = w.client.open().unwrap();
    w.learn(0, first);
    w.read_all(0, first);
    w.flows.get_mut(&(0, 0)).unwrap().pending = 1;
    w.write(0, first);
    let until = w.now + 10 * SEC;
    w.settle(until);
    let ops = w.rng.pick(&[1, 2, 5, 20]);
    for _ in 0..ops {
        for _ in 0..1 + w.rng.below(3) {
            let side = w.rng.below(2) as usize;
            match w.rng.below(10) {
                0 => w.open(side),
                1 => {
                    let id = w.rng.pick(&w.known[side].clone());
                    let key = (id.number(), side);
                    if !w.flows[&key].finished
                        && let Some(mut stream) = w.stream(side, id)
                    {
                        stream.finish();
                        w.flows.get_mut(&key).unwrap().finished = true;
                    }
                }
                _ => {
                    let id = w.rng.pick(&w.known[side].clone());
                    let key = (id.number(), side);
                    let size = w.rng.pick(&[1, 1, 10, 3000, 20_000, 300_000]);
                    if !w.flows[&key].finished {
                        w.flows.get_mut(&key).unwrap().pending += size;
                        w.write(side, id);
                    }
                }
            }
        }
        let (begun, most) = (w.now, w.rng.pick(&[10 * MS, 100 * MS, 3 * SEC, 30 * SEC]));
        let alone = w.client.session.config.requests == 1;
        let classic = w.client.session.config.classic || w.config.classic;
        let few = w
            .client
            .session
            .config
            .bundle_messages
            .min(w.config.bundle_messages)
            < 20;
        // Windows of 16 KiB at worst, some round trips each.
        let trip = 2 * (w.delay + jitter);
        let slow = if alone { 6 * SEC } else { SEC };
        let bound = 5 * slow + 80 * trip + if few || classic { 400 * SEC } else { 0 };
        let done = |w: &World| {
            w.flows.values().all(|f| {
                f.read == f.written && f.pending == 0 && (!f.finished || f.ended && f.finished_told)
            })
        };
        while !done(&w) {
            let next = w.now + MS;
            let at = [
                w.client.next_timeout(),
                w.server.as_ref().and_then(Server::next_timeout),
            ];
            let at = at.into_iter().flatten().map(Instant::as_micros).min();
            let at = at
                .into_iter()
                .chain(w.wire.keys().map(|k| k.0))
                .min()
                .unwrap_or(next);
            let until = at.max(w.now + 1);
            w.settle_on(until);
            assert!(w.now - begun < bound, "stalls from {begun}: {:?}", w.flows);
        }
        let took = w.now - begun;
        note!(w, "took {took}");
        let until = w.now + w.rng.below(most);
        w.settle_on(until);
    }
}

impl World {
    /// Lets time pass with applications that act on events alone.
    fn settle_on(&mut self, until: u64) {
        while self.now < until {
            self.step(until);
            self.events(0);
            self.events(1);
        }
    }
}

#[test]
fn what_may_be_sent_arrives_soon() {
    each_seed(prompt_session);
}

fn each_seed(session: fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let from = number("SEED").unwrap_or(0);
    let cases = number("CASES").unwrap_or(300);
    let mut bad = Vec::new();
    for seed in from..from + cases {
        if std::panic::catch_unwind(|| session(seed)).is_err() {
            std::eprintln!("SEED {seed}");
            bad.push(seed);
        }
    }
    assert!(bad.is_empty(), "seeds that fail: {bad:?}");
}

/// D3: one request or answer vanishes without a word. Gives the longest time that a byte of either side's took.
fn black_hole(
    requests: u8,
    trusted: bool,
    lost: (Option<u64>, Option<u64>),
    pause: u64,
) -> [u64; 2] {
    let mut w = World::new(1);
    w.faults = Faults::default();
    w.delay = 50 * MS;
    let config = Config::builder().requests(requests).build().unwrap();
    let start = if trusted { 2000 * SEC } else { 0 };
    w.now = start;
    w.config = config.clone();
    w.client = Client::new(config, SessionId::from_bytes([1; 16]), w.at());
    (w.lost_request, w.lost_answer) = lost;
    let id = w.client.open().unwrap();
    w.learn(0, id);
    w.read_all(0, id);
    let mut longest = [0, 0];
    for turn in 0..12 {
        let begun = w.now;
        for side in [0, 1] {
            if w.known[side].contains(&id) && turn % 3 != side {
                w.flows.get_mut(&(0, side)).unwrap().pending += 1;
                w.write(side, id);
            }
        }
        let mut open = [true, true];
        while open != [false, false] || w.now < begun + pause {
            let at = [
                w.client.next_timeout(),
                w.server.as_ref().and_then(Server::next_timeout),
            ];
            let at = at.into_iter().flatten().map(Instant::as_micros).min();
            let at = at
                .into_iter()
                .chain(w.wire.keys().map(|k| k.0))
                .chain([begun + pause].into_iter().filter(|t| *t > w.now))
                .min()
                .unwrap_or(w.now + 1);
            w.settle_on(at.max(w.now + 1));
            for side in [0, 1] {
                let flow = &w.flows[&(0, side)];
                if open[side] && flow.read == flow.written {
                    open[side] = false;
                    longest[side] = longest[side].max(w.now - begun);
                }
            }
            assert!(w.now < begun + 100 * SEC, "never arrives");
        }
    }
    longest
}

#[test]
fn d3_a_vanished_exchange_is_noticed_by_the_timer() {
    let mut bad = Vec::new();
    for (requests, trusted) in [(2, true), (2, false), (8, true), (8, false)] {
        for pause in [30 * MS, 500 * MS, 3 * SEC] {
            for k in 0..20 {
                for lost in [(Some(k), None), (None, Some(k)), (Some(k), Some(k))] {
                    let [up, down] = black_hole(requests, trusted, lost, pause);
                    let waits = u64::from(lost.0.is_some()) + u64::from(lost.1.is_some());
                    if up > 4 * SEC || down > (waits * 12 + 4) * SEC {
                        bad.push((requests, trusted, pause / MS, lost, up / MS, down / MS));
                    }
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_path_slower_than_the_first_timers_still_works() {
    for (config, trusted) in [
        (Config::default(), true),
        (Config::default(), false),
        (Config::classic(), true),
        (Config::classic(), false),
    ] {
        let most = if config.classic { 3 } else { 7 };
        for delay in [600 * MS, SEC, 2 * SEC, 3 * SEC, most * SEC] {
            let mut w = World::new(1);
            w.faults = Faults::default();
            w.delay = delay;
            w.now = if trusted { 2000 * SEC } else { 0 };
            w.config = config.clone();
            w.client = Client::new(config.clone(), SessionId::from_bytes([1; 16]), w.at());
            let id = w.client.open().unwrap();
            w.learn(0, id);
            w.read_all(0, id);
            for side in [0, 1] {
                w.flows.get_mut(&(0, side)).unwrap().pending = 3000;
            }
            w.write(0, id);
            let until = w.now + 100 * SEC;
            w.settle_on(until);
            w.write(1, id);
            let until = w.now + 100 * SEC;
            w.settle_on(until);
            let read = [w.flows[&(0, 0)].read, w.flows[&(0, 1)].read];
            assert_eq!(
                read,
                [3000, 3000],
                "{delay} us, trusted: {trusted}, {config:?}"
            );
        }
    }
}
