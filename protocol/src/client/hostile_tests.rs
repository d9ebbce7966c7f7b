//! Peers that break every rule their encoder lets them: whatever they send, in whatever order, and however time
//! jumps, neither role panics, spins or keeps more than it may (L4, L6).

use super::*;
use crate::id::{Instance, Nonce, RequestId};
use crate::server::{Route, Router, Server};
use crate::wire::encode;
use crate::wire::{
    Ack, AnswerPrefix, Content, Control, Message, Params, Refusal, RequestPrefix, refusal,
};
use crate::{ResetCode, RouterConfig};
use alloc::vec::Vec;

const TOP: u64 = (1 << 62) - 1;

/// SplitMix64; whether it is wild, and makes of most sessions short ones.
struct Rng(u64, bool);

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
    /// Mostly small, sometimes as large as can be.
    fn number(&mut self, near: u64) -> u64 {
        let least = if self.1 || self.chance(1) { 0 } else { 3 };
        match self.below(20).max(least) {
            0 => TOP,
            1 => TOP - self.below(70),
            2 => self.next() >> 2,
            3 => self.below(1 << 20),
            4..10 => near.saturating_add(self.below(5)).min(TOP),
            _ => self.below(6),
        }
    }

    fn ack(&mut self, near: u64) -> Ack {
        if !self.1 && self.chance(90) {
            let next = near.saturating_sub(self.below(3) * self.below(5));
            let ranges = Vec::new();
            return Ack { next, ranges };
        }
        let next = if self.chance(80) {
            near.min(TOP)
        } else {
            self.number(near)
        };
        let (mut end, mut ranges) = (next, Vec::new());
        for _ in 0..self.below(4) * self.below(20) {
            let start = end.saturating_add(1 + self.number(0));
            let to = start.saturating_add(1 + self.number(0));
            if to > 1 << 62 {
                break;
            }
            ranges.push(start..to);
            end = to;
        }
        Ack { next, ranges }
    }

    fn list(&mut self, below: u64) -> Vec<u64> {
        let (mut list, mut at) = (Vec::new(), below);
        for _ in 0..self.below(3) * self.below(30) {
            let gap = 1 + self.number(0) % 1000;
            let Some(n) = at.checked_sub(gap) else {
                break;
            };
            list.push(n);
            at = n;
        }
        list.truncate(64);
        list
    }

    fn params(&mut self) -> Params {
        Params {
            streams: self.number(16),
            versions: Some((1, 1)),
            ack_delay: self.chance(50).then(|| self.number(250_000)),
            idle: self.chance(50).then(|| self.number(0)),
            instance: self.chance(50).then_some(Instance(1)),
            ..Params::default()
        }
    }

    fn messages(&mut self, next: &mut u64) -> Vec<Message> {
        let (mut messages, mut last) = (Vec::new(), None);
        for _ in 0..self.below(3) * self.below(4) {
            let number = if self.chance(80) {
                *next
            } else {
                self.number(*next)
            };
            if last.is_some_and(|last| number <= last) {
                break;
            }
            last = Some(number);
            *next = (*next).max(number).saturating_add(1);
            if *next > TOP {
                *next = 0;
            }
            let stream = StreamId::from_number(match self.below(10) {
                0 => self.number(0),
                _ => self.below(6),
            });
            let code = ResetCode(3);
            let content = match self.below(10) {
                0 => Content::Void,
                1 => Content::Control(Control::StreamCredit {
                    stream,
                    limit: self.number(20_000),
                }),
                2 => Content::Control(Control::Streams {
                    total: self.number(20),
                }),
                3 => Content::Control(Control::Reset {
                    stream,
                    code,
                    size: self.number(10),
                }),
                4 => Content::Control(Control::Stop { stream, code }),
                5 if self.chance(20) => Content::Control(Control::Close {
                    code: self.below(0x110) as u32,
                    reason: "x".into(),
                }),
                _ => {
                    let len = self.below(3) * self.below(8000);
                    let offset = match self.below(if self.1 { 10 } else { 1000 }) {
                        0 => self.number(0),
                        1..5 => self.below(70_000),
                        5..400 => self.below(16_000),
                        _ => self.below(10),
                    };
                    Content::Data {
                        stream,
                        offset: offset.min(TOP - len),
                        fin: self.chance(10),
                        payload: alloc::vec![7u8; len as usize].into(),
                    }
                }
            };
            messages.push(Message { number, content });
        }
        messages
    }

    fn time(&mut self, now: u64) -> u64 {
        match self.below(40) {
            0 => u64::MAX,
            1 => {
                let by = self.below(64);
                now.saturating_add(self.next() >> by)
            }
            2 => self.below(now),
            3..10 => now,
            _ => {
                let by = self.below(26);
                now.saturating_add(self.below(1 << by))
            }
        }
    }
}

fn play(rng: &mut Rng, stream: Option<Stream<'_>>) {
    let Some(mut stream) = stream else { return };
    match rng.below(12) {
        0 => stream.finish(),
        1 => stream.reset(ResetCode(1)),
        2 => stream.stop(ResetCode(1)),
        3..7 => {
            let _ = stream.read(1 + rng.below(10_000) as usize);
        }
        _ => {
            let len = rng.below(3) * rng.below(40_000);
            let _ = stream.write(&mut alloc::vec![1u8; len as usize].into());
        }
    }
}

fn hostile_client(seed: u64) {
    let mut rng = Rng(seed, seed.is_multiple_of(3));
    let id = SessionId::from_bytes([5; 16]);
    let mut now = 0;
    let at = Instant::from_micros;
    let mut router: Router<()> = Router::new(RouterConfig::default(), Instance(1), Instant::ZERO);
    let opening = RequestPrefix {
        opening: Some(rng.params()),
        ..RequestPrefix::default()
    };
    let body = encode(&id, 0, 0, &opening, &[]).into_bytes();
    let Route::Opening { opening, .. } = router.route(at(0), &body) else {
        panic!("no opening")
    };
    let config = Config::builder().streams(16).pool(100_000).build().unwrap();
    let mut server = Server::new(config, opening, Nonce(3), at(0));
    let (mut exchange, mut bundle, mut next, mut seen) = (0, 0, 0, 0);
    for request in 0..60 {
        now = rng.time(now);
        if rng.chance(70) {
            exchange = if rng.chance(85) {
                (exchange + rng.below(2)).min(TOP)
            } else {
                rng.number(exchange)
            };
            bundle = if rng.chance(85) {
                (bundle + 1).min(TOP)
            } else {
                rng.number(bundle)
            };
            let prefix = RequestPrefix {
                streamed: None,
                opening: rng.chance(30).then(|| rng.params()),
                echo: rng.chance(50).then_some(Nonce(3)),
                ack: rng.ack(seen),
                credit: rng.number(1 << 20),
                unread: rng.number(0),
                timer: rng.number(1_000_000),
                long: rng
                    .chance(30)
                    .then(|| rng.below(9))
                    .filter(|later| exchange + later < TOP),
                open: rng.list(exchange).into(),
                hold: rng.number(1),
                wait: rng.number(10_000),
                answer_max: rng.number(65_536),
                backlog: rng.number(0),
            };
            let messages = rng.messages(&mut next);
            let body = encode(&id, exchange, bundle, &prefix, &messages).into_bytes();
            let _ = router.route(at(now), &body);
            let _ = server.feed_request(at(now), RequestId::new(request), body);
        }
        if rng.chance(20) {
            server.feed_hangup(at(now), RequestId::new(rng.below(60)));
        }
        if rng.chance(50) {
            server.feed_written(at(now), RequestId::new(request));
        }
        for _ in 0..rng.below(4) {
            let stream = StreamId::from_number(rng.below(6));
            play(&mut rng, server.stream(stream));
        }
        if rng.chance(10) {
            let _ = server.open();
        }
        if rng.chance(2) {
            server.close(1, "");
        }
        if rng.chance(50) {
            let mut polls = 0;
            while let Some(response) = server.poll_response(at(now)) {
                drop(response);
                polls += 1;
                assert!(polls < 300, "polls without end");
            }
            seen = server.next_number();
            while server.poll_event().is_some() {}
        }
        server.feed_timeout(at(now));
        if server.next_timeout().is_some_and(|t| t <= at(now)) && now < u64::MAX {
            assert!(server.clone().poll_response(at(now)).is_some(), "C5");
        }
        server.check();
    }
}

fn hostile_server(seed: u64) {
    let mut rng = Rng(seed, seed.is_multiple_of(3));
    let id = SessionId::from_bytes([5; 16]);
    let mut now = 0;
    let at = Instant::from_micros;
    let config = Config::builder().streams(16).pool(100_000).build().unwrap();
    let mut client = Client::new(config, id, at(0));
    if seed.is_multiple_of(2) {
        client.knows_direct(at(0), Duration::from_millis(rng.below(900)));
    }
    let (mut dials, mut long) = (false, None);
    let (mut bundle, mut next, mut open) = (0, 0, Vec::new());
    for _ in 0..60 {
        now = rng.time(now);
        let mut polls = 0;
        if client.poll_dial().is_some() {
            dials = true;
        }
        if dials && rng.chance(50) {
            dials = false;
            if rng.chance(20) {
                client.feed_undialled(at(now));
            } else {
                long = client.feed_dialled(at(now));
            }
        }
        while let Some(request) = client.poll_request(at(now)) {
            if request.long {
                assert_eq!(long, Some(request.exchange));
            } else {
                open.push(request.exchange);
            }
            polls += 1;
            assert!(polls < 40, "polls without end");
        }
        let by_long = long.filter(|_| rng.chance(40));
        if by_long.is_some() || !open.is_empty() && rng.chance(60) {
            let exchange = match by_long {
                Some(long) => long,
                None => open.remove(rng.below(open.len() as u64) as usize),
            };
            bundle = if rng.chance(85) {
                (bundle + 1).min(TOP)
            } else {
                rng.number(bundle)
            };
            let newest = rng.number(exchange.number());
            let prefix = AnswerPrefix {
                more: None,
                opening: rng.chance(30).then(|| rng.params()),
                nonce: rng.chance(30).then(|| Nonce(rng.next())),
                read: rng.chance(90),
                ack: rng.ack(client.session.outbox.next_number()),
                credit: rng.number(1 << 20),
                unread: rng.number(0),
                held_for: rng.number(10_000),
                newest,
                held: rng.list(newest).into(),
                backlog: rng.number(0),
            };
            let messages = rng.messages(&mut next);
            let body = if rng.chance(3) {
                let what = match rng.below(5) {
                    0 => Refusal::Gone(Instance(rng.below(3))),
                    1 => Refusal::Busy(rng.number(0)),
                    2 => Refusal::Unreadable,
                    3 => Refusal::Version(rng.below(3) as u8, rng.below(3) as u8),
                    _ => Refusal::Ended(rng.number(3)),
                };
                refusal(&id, exchange.number(), what)
            } else {
                encode(&id, exchange.number(), bundle, &prefix, &messages)
            };
            let _ = if by_long.is_some() {
                client.feed_bundles(at(now), exchange, body.into_bytes())
            } else {
                client.feed_response(at(now), exchange, body.into_bytes())
            };
        } else if !open.is_empty() && rng.chance(20) {
            let exchange = open.remove(0);
            let _ = client.feed_failure(at(now), exchange, Failure::TooLarge);
        }
        if let Some(exchange) = long.filter(|_| rng.chance(60)) {
            let _ = match rng.below(12) {
                0 => client.feed_failure(at(now), exchange, Failure::Cut),
                1 => client.feed_progress(at(now), exchange),
                _ => client.feed_written(at(now), exchange),
            };
        }
        for _ in 0..rng.below(4) {
            let stream = StreamId::from_number(rng.below(6));
            play(&mut rng, client.stream(stream));
        }
        if rng.chance(10) {
            let _ = client.open();
        }
        if rng.chance(2) {
            client.close(1, "");
        }
        if rng.chance(50) {
            while client.poll_event().is_some() {}
        }
        client.feed_timeout(at(now));
        if client.next_timeout().is_some_and(|t| t <= at(now)) && now < u64::MAX {
            let mut copy = client.clone();
            let says = copy.poll_dial().is_some() || copy.poll_request(at(now)).is_some();
            assert!(says, "C5: {client:#?}");
        }
        client.session.streams.check();
        client.session.outbox.check();
    }
}

fn each_seed(session: fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let from = number("SEED").unwrap_or(0);
    let mut bad = Vec::new();
    for seed in from..from + number("CASES").unwrap_or(500) {
        if std::panic::catch_unwind(|| session(seed)).is_err() {
            std::eprintln!("SEED {seed}");
            bad.push(seed);
        }
    }
    assert!(bad.is_empty(), "seeds that fail: {bad:?}");
}

#[test]
fn no_client_harms_a_server() {
    each_seed(hostile_client);
}

#[test]
fn no_server_harms_a_client() {
    each_seed(hostile_server);
}
