//! A client and a server joined by a wire that loses nothing, for what can be seen without a network. All else is in
//! the workspace's `tests`.

use super::*;
use crate::event::Read;
use crate::id::{Instance, Nonce, RequestId};
use crate::server::{Route, Router, Server};
use crate::{Carrier, ResetCode, RouterConfig};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

const MS: u64 = 1000;

/// Both machines and what is on the wire, with a fixed delay each way.
struct Pair {
    now: u64,
    delay: u64,
    client: Client,
    server: Server,
    up: VecDeque<(u64, RequestId, Bytes)>,
    down: VecDeque<(u64, u64, Bytes)>,
    exchanges: u64,
    bytes: u64,
    rebasing: bool,
}

impl Pair {
    fn new(config: Config, delay: u64) -> Pair {
        let id = SessionId::from_bytes([7; 16]);
        let router_config = RouterConfig {
            linger: Duration::ZERO,
            ..RouterConfig::default()
        };
        let mut router: Router<()> = Router::new(router_config, Instance(1), Instant::ZERO);
        let mut first = Client::new(config.clone(), id, Instant::ZERO);
        let body = first.poll_request(Instant::ZERO).unwrap().body.into_bytes();
        let Route::Opening { opening, .. } = router.route(Instant::ZERO, &body) else {
            panic!("no opening")
        };
        Pair {
            now: 0,
            delay,
            client: Client::new(config.clone(), id, Instant::ZERO),
            server: Server::new(config, opening, Nonce(3), Instant::ZERO),
            up: VecDeque::new(),
            down: VecDeque::new(),
            exchanges: 0,
            bytes: 0,
            rebasing: false,
        }
    }

    fn at(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// Each machine moved to another zero says the same, by as much earlier.
    fn check_rebase(&self) {
        let (client, server) = (self.client.earliest(), self.server.earliest());
        let back = |zero: Instant| {
            move |at: Instant| Instant::from_micros(at.as_micros() - zero.as_micros())
        };
        let (mut moved, mut plain) = (self.client.clone(), self.client.clone());
        moved.rebase(client);
        assert_eq!(moved.next_timeout(), plain.next_timeout().map(back(client)));
        let at = [Some(self.at()), plain.next_timeout()]
            .into_iter()
            .flatten()
            .max()
            .unwrap();
        plain.feed_timeout(at);
        moved.feed_timeout(back(client)(at));
        assert_eq!(moved.poll_request(back(client)(at)), plain.poll_request(at));
        plain.rebase(client);
        moved.rebase(Instant::ZERO);
        assert_eq!(moved, plain);
        let (mut moved, mut plain) = (self.server.clone(), self.server.clone());
        moved.rebase(server);
        assert_eq!(moved.next_timeout(), plain.next_timeout().map(back(server)));
        let at = [Some(self.at()), plain.next_timeout()]
            .into_iter()
            .flatten()
            .max()
            .unwrap();
        plain.feed_timeout(at);
        moved.feed_timeout(back(server)(at));
        assert_eq!(
            moved.poll_response(back(server)(at)),
            plain.poll_response(at)
        );
        plain.rebase(server);
        moved.rebase(Instant::ZERO);
        assert_eq!(moved, plain);
    }

    /// Both say more and more on a stream, and read it.
    fn talk(&mut self) {
        let id = self.client.open().unwrap();
        for round in 0..20 {
            let bytes = pattern(1 << (round % 18));
            let mut near = self.client.stream(id).unwrap();
            near.write(&mut bytes.clone()).unwrap();
            if let Some(mut far) = self.server.stream(id) {
                far.write(&mut bytes.clone()).unwrap();
            }
            self.run((round + 1) * 130 * MS);
            read_all(self.client.stream(id), &mut Vec::new());
            read_all(self.server.stream(id), &mut Vec::new());
        }
    }

    /// Takes all output, then moves time to whatever comes next. `false`: nothing will.
    fn step(&mut self, until: u64) -> bool {
        if self.rebasing {
            self.check_rebase();
        }
        let mut turns = 0;
        while let Some(r) = self.client.poll_request(self.at()) {
            self.exchanges += 1;
            self.bytes += r.body.len() as u64;
            let request = RequestId::new(r.exchange.number());
            self.up
                .push_back((self.now + self.delay, request, r.body.into_bytes()));
            turns += 1;
            assert!(turns < 100, "the client polls without end");
        }
        while let Some(r) = self.server.poll_response(self.at()) {
            self.bytes += r.body.len() as u64;
            self.down
                .push_back((self.now + self.delay, r.exchange, r.body.into_bytes()));
            turns += 1;
            assert!(turns < 100, "the server polls without end");
        }
        while self.client.poll_cancel().is_some() {}
        let timers = [self.client.next_timeout(), self.server.next_timeout()];
        let wire = [self.up.front().map(|x| x.0), self.down.front().map(|x| x.0)];
        let next = timers
            .into_iter()
            .map(|t| t.map(Instant::as_micros))
            .chain(wire)
            .flatten()
            .min();
        let Some(next) = next.filter(|t| *t <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        if self.up.front().is_some_and(|x| x.0 <= self.now) {
            let (_, request, body) = self.up.pop_front().unwrap();
            let _ = self.server.feed_request(self.at(), request, body);
        } else if self.down.front().is_some_and(|x| x.0 <= self.now) {
            let (_, exchange, body) = self.down.pop_front().unwrap();
            let _ = self
                .client
                .feed_response(self.at(), ExchangeId(exchange), body);
        } else {
            let before = (self.client.clone(), self.server.clone());
            self.client.feed_timeout(self.at());
            self.server.feed_timeout(self.at());
            let moved = before != (self.client.clone(), self.server.clone());
            let soon = [self.client.next_timeout(), self.server.next_timeout()];
            let soon = soon.into_iter().flatten().any(|t| t <= self.at());
            assert!(moved || !soon, "spins at {}: {:#?}", self.now, self.client);
        }
        true
    }

    fn run(&mut self, until: u64) {
        for _ in 0..200_000 {
            if !self.step(until) {
                return;
            }
        }
        panic!("no end before {until}");
    }

    /// Runs until `done`, at most up to `until`.
    fn run_to(&mut self, until: u64, mut done: impl FnMut(&mut Pair) -> bool) {
        for _ in 0..400_000 {
            if done(self) {
                return;
            }
            if !self.step(until) && !done(self) {
                panic!(
                    "not done at {}: {:#?}\n{:#?}",
                    self.now, self.client, self.server
                );
            }
        }
        panic!("no end");
    }
}

fn read_all(stream: Option<Stream<'_>>, into: &mut Vec<u8>) -> bool {
    let Some(mut stream) = stream else {
        return false;
    };
    loop {
        match stream.read(usize::MAX) {
            Ok(Read::Chunk(bytes)) => into.extend_from_slice(&bytes),
            Ok(Read::Blocked) => return false,
            Ok(Read::End) => return true,
            Err(e) => panic!("{e}"),
        }
    }
}

fn pattern(n: usize) -> Bytes {
    (0..n)
        .map(|i| (i * 31 + i / 251) as u8)
        .collect::<Vec<_>>()
        .into()
}

#[test]
fn a_greeting_crosses_and_comes_back() {
    let mut p = Pair::new(Config::default(), 10 * MS);
    let id = p.client.open().unwrap();
    p.client
        .stream(id)
        .unwrap()
        .write(&mut Bytes::from_static(b"hello"))
        .unwrap();
    p.run(60 * MS);
    assert_eq!(p.server.poll_event(), Some(Event::Connected));
    assert_eq!(p.server.accept(), Some(id));
    let mut got = Vec::new();
    assert!(!read_all(p.server.stream(id), &mut got));
    assert_eq!(got, b"hello");
    p.server
        .stream(id)
        .unwrap()
        .write(&mut Bytes::from_static(b"and to you"))
        .unwrap();
    p.run(100 * MS);
    let mut got = Vec::new();
    read_all(p.client.stream(id), &mut got);
    assert_eq!(got, b"and to you");
}

fn bulk(config: Config, delay: u64, size: usize, up: bool) -> Pair {
    let mut p = Pair::new(config, delay);
    let id = p.client.open().unwrap();
    p.client
        .stream(id)
        .unwrap()
        .write(&mut Bytes::from_static(b"x"))
        .unwrap();
    p.run(40 * MS + 8 * delay);
    let mut first = Vec::new();
    read_all(p.server.stream(id), &mut first);
    let whole = pattern(size);
    let (mut left, mut got) = (whole.clone(), Vec::new());
    p.run_to(600_000 * MS, |p| {
        let writer = if up {
            p.client.stream(id)
        } else {
            p.server.stream(id)
        };
        if let Some(mut writer) = writer {
            if !left.is_empty() {
                writer.write(&mut left).unwrap();
            }
            if left.is_empty() {
                writer.finish();
            }
        }
        let reader = if up {
            p.server.stream(id)
        } else {
            p.client.stream(id)
        };
        read_all(reader, &mut got) || got.len() == size
    });
    assert_eq!(got, whole);
    p
}

#[test]
fn s20_bulk_uses_a_long_path() {
    for (up, mb) in [
        (true, 16),
        (false, 16),
        (true, 64),
        (false, 64),
        (true, 256),
        (false, 256),
    ] {
        let p = bulk(Config::default(), 50 * MS, mb << 20, up);
        std::eprintln!(
            "up {up}: {} ms, {} exchanges, {} bytes",
            p.now / MS,
            p.exchanges,
            p.bytes
        );
        assert!(p.now < 13000 * MS, "up {up}: {} ms", p.now / MS);
        assert!(
            p.bytes < ((mb as u64) << 20) + (4 << 20),
            "up {up}: {} bytes",
            p.bytes
        );
    }
}

#[test]
fn a1_a_window_crawls_no_slower_than_its_round_trips() {
    for (requests, up) in [
        (1, true),
        (2, true),
        (4, true),
        (1, false),
        (2, false),
        (4, false),
    ] {
        let config = Config::builder()
            .requests(requests)
            .hold(1)
            .pool(64 * 1024)
            .build()
            .unwrap();
        let p = bulk(config, 50 * MS, 1 << 20, up);
        std::eprintln!(
            "requests {requests} up {up}: {} ms, {} exchanges",
            p.now / MS,
            p.exchanges
        );
        assert!(
            p.now < 8000 * MS,
            "requests {requests} up {up}: {} ms",
            p.now / MS
        );
        assert!(p.bytes < (1 << 20) + 120_000, "copies: {} bytes", p.bytes);
    }
}

#[test]
fn silence_costs_an_exchange_per_wait() {
    let mut p = Pair::new(Config::default(), 10 * MS);
    p.run(3600 * 1000 * MS);
    assert!(p.exchanges <= 3600 / 25 + 6, "{}", p.exchanges);
    assert!(!p.client.session.is_over() && !p.server.is_over());
}

#[test]
fn a_close_is_known_to_both() {
    for by_client in [true, false] {
        let mut p = Pair::new(Config::default(), 10 * MS);
        let id = p.client.open().unwrap();
        p.client
            .stream(id)
            .unwrap()
            .write(&mut pattern(100_000))
            .unwrap();
        p.run(400 * MS);
        if by_client {
            p.client.close(0, "bye")
        } else {
            p.server.close(0, "bye")
        }
        p.run(1000 * MS);
        let last = |events: Vec<Event>| events.last().cloned();
        let client = last(core::iter::from_fn(|| p.client.poll_event()).collect());
        let server = last(core::iter::from_fn(|| p.server.poll_event()).collect());
        let (ours, theirs) = if by_client {
            (client, server)
        } else {
            (server, client)
        };
        assert_eq!(ours, Some(Event::Closed(CloseReason::Local)));
        assert_eq!(
            theirs,
            Some(Event::Closed(CloseReason::Peer {
                code: 0,
                reason: "bye".into()
            }))
        );
        assert!(p.server.is_over() && p.client.poll_request(p.at()).is_none());
    }
}

#[test]
fn a_reset_is_told_and_frees_what_was_kept() {
    // Whichever way the other side ends its own half: it has been told all that there is to say.
    let ways: [fn(Stream<'_>); 2] = [|mut s| s.finish(), |mut s| s.reset(ResetCode(8))];
    for end in ways {
        let mut p = Pair::new(Config::default(), 10 * MS);
        let id = p.client.open().unwrap();
        p.client
            .stream(id)
            .unwrap()
            .write(&mut pattern(1000))
            .unwrap();
        p.run(300 * MS);
        p.client.stream(id).unwrap().reset(ResetCode(9));
        p.client.stream(id).unwrap().stop(ResetCode(9));
        p.run(600 * MS);
        assert_eq!(
            p.server.stream(id).unwrap().read(10),
            Err(crate::ReadError::Reset(ResetCode(9)))
        );
        end(p.server.stream(id).unwrap());
        p.run(900 * MS);
        assert!(p.server.stream(id).is_none());
        assert!(p.client.stream(id).is_none());
    }
}

#[test]
fn a_machine_moved_to_another_zero_behaves_the_same() {
    let streamed = Config::builder().carrier(Carrier::Streamed).build();
    let configs = [Config::default(), Config::model(2), Config::classic()];
    for config in configs.into_iter().chain(streamed) {
        let mut p = Pair::new(config, 10 * MS);
        p.rebasing = true;
        // The server answers whole all the same: when the answer is doubted is a moment, too.
        p.client.reads_pieces();
        p.talk();
        p.run(200_000 * MS);
        p.client.close(0, "");
        p.run(210_000 * MS);
    }
}

/// An end takes no credit: it does not wait until somebody reads.
#[test]
fn an_end_comes_though_all_credit_is_used_up() {
    let write = |bytes: usize, end: bool| {
        let mut p = Pair::new(Config::default(), 10 * MS);
        let id = p.client.open().unwrap();
        let mut data = Bytes::from(alloc::vec![7; bytes]);
        for round in 1..300 {
            p.client.stream(id).unwrap().write(&mut data).unwrap();
            p.run(round * 100 * MS);
        }
        if end {
            assert!(data.is_empty());
            p.client.stream(id).unwrap().finish();
            p.run(40_000 * MS);
        }
        let (mut got, mut stream) = (0, p.server.stream(id).unwrap());
        loop {
            match stream.read(usize::MAX) {
                Ok(Read::Chunk(bytes)) => got += bytes.len(),
                other => return (got, other),
            }
        }
    };
    let (all, more) = write(64 << 20, false);
    assert_eq!(more, Ok(Read::Blocked));
    assert!(all < 64 << 20);
    assert_eq!(write(all, false), (all, Ok(Read::Blocked)));
    assert_eq!(write(all, true), (all, Ok(Read::End)));
}

#[test]
fn what_is_counted_is_what_went_over_the_wire() {
    let mut p = Pair::new(Config::default(), 10 * MS);
    p.talk();
    // Nothing is on its way.
    p.run(1000 * 1000 * MS + p.delay / 2);
    assert!(p.up.is_empty() && p.down.is_empty());
    let (client, server) = (p.client.stats(), p.server.stats());
    assert_eq!(client.bytes_out, server.bytes_in);
    assert_eq!(server.bytes_out, client.bytes_in);
    assert_eq!(client.bytes_out + server.bytes_out, p.bytes);
    assert_eq!(
        (client.exchanges, server.exchanges),
        (p.exchanges, p.exchanges)
    );
    assert!(client.messages > 19 && server.messages > 18);
    for stats in [client, server] {
        assert_eq!((stats.lost, stats.unreadable, stats.resent), (0, 0, 0));
    }
}

/// FINDINGS §3: time in the states of a model must not make them endless.
#[test]
fn an_idle_pair_returns_to_where_it_was_but_for_its_numbers() {
    let mut p = Pair::new(Config::model(2), 10 * MS);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..400 {
        p.step(u64::MAX);
        let mut client = p.client.clone();
        client.rebase(client.earliest());
        let mut exchanges: Vec<_> = client.exchanges.iter().cloned().collect();
        exchanges.iter_mut().for_each(|e| e.number = 0);
        seen.insert(alloc::format!(
            "{:?} {:?} {:?}",
            client.session.now,
            exchanges,
            client.next_timeout()
        ));
    }
    assert!(p.now > 1_000_000 * MS, "{}", p.now);
    assert!(seen.len() < 20, "{} states", seen.len());
}
