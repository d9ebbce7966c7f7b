//! What the machines cost, in numbers that are the same on every run: allocations, memory, bytes on the wire.
//!
//! `cargo test -p posthole-tests --test budgets -- --nocapture` prints them; docs/verification.md has them.
#![allow(clippy::unwrap_used)] // A test fails by it.

use allocation_counter::measure;
use bytes::Bytes;
use posthole_protocol::wire::Chain;
use posthole_protocol::{
    Carrier, Client, Config, ExchangeId, Instance, Instant, Nonce, Read, RequestId, Route, Router,
    RouterConfig, Server, SessionId, StreamId,
};
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::rng::Rng;
use posthole_tests::{MS, SEC, settings};
use std::hint::black_box;

static BLOCK: &[u8] = &[7; 256 * 1024];

/// A body as a runtime hands it over: its memory has an owner already.
fn shared(body: Chain) -> Bytes {
    let body = body.into_bytes();
    drop(body.clone());
    body
}

/// Two machines that speak, exchange by exchange, with nothing between.
struct Talk {
    client: Client,
    server: Server,
    now: Instant,
    open: Vec<(ExchangeId, RequestId)>,
    /// Allocations in all calls so far, by what they do.
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    answers: u64,
    /// Of bundles made.
    sending: u64,
    /// Of bundles taken in, and their bytes read.
    receiving: u64,
}

impl Talk {
    fn new() -> Talk {
        let now = Instant::from_micros(1_000_000);
        let config = Config::builder()
            .carrier(Carrier::Exchange)
            .build()
            .unwrap();
        let mut client = Client::new(config.clone(), SessionId::from_bytes([3; 16]), now);
        let request = client.poll_request(now).unwrap();
        let body = request.body.into_bytes();
        let mut router: Router<()> = Router::new(RouterConfig::default(), Instance(1), now);
        let Route::Opening { opening, .. } = router.route(now, &body) else {
            panic!("it opens");
        };
        let mut server = Server::new(config, opening, Nonce(3), now);
        let first = RequestId::new(0);
        server.feed_request(now, first, body).unwrap();
        let mut talk = Talk {
            client,
            server,
            now,
            open: vec![(request.exchange, first)],
            counts: Counts::default(),
        };
        talk.run(200 * MS);
        talk
    }

    /// Lets so much time pass, in steps of a millisecond, which any exchange takes.
    fn run(&mut self, micros: u64) {
        for _ in 0..micros / MS {
            self.now = self
                .now
                .checked_add(posthole_protocol::Duration::from_millis(1))
                .unwrap();
            self.step();
        }
    }

    fn step(&mut self) {
        let Talk {
            client,
            server,
            now,
            open,
            counts,
        } = self;
        client.feed_timeout(*now);
        server.feed_timeout(*now);
        loop {
            let mut made = None;
            counts.sending += measure(|| made = client.poll_request(*now)).count_total;
            let Some(request) = made else { break };
            counts.requests += 1;
            let (name, body) = (
                RequestId::new(request.exchange.number()),
                shared(request.body),
            );
            open.push((request.exchange, name));
            counts.receiving +=
                measure(|| server.feed_request(*now, name, body).unwrap()).count_total;
        }
        loop {
            let mut made = None;
            counts.sending += measure(|| made = server.poll_response(*now)).count_total;
            let Some(response) = made else { break };
            counts.answers += 1;
            let at = open
                .iter()
                .position(|(_, name)| *name == response.request)
                .unwrap();
            let (exchange, _) = open.remove(at);
            let body = shared(response.body);
            let fed = measure(|| client.feed_response(*now, exchange, body).unwrap());
            counts.receiving += fed.count_total;
        }
        while let Some(exchange) = client.poll_cancel() {
            open.retain(|(other, _)| *other != exchange);
        }
        while client.poll_event().is_some() {}
        while server.poll_event().is_some() {}
    }

    /// What the client writes, as far as there is room.
    fn write(&mut self, id: StreamId, data: &'static [u8]) {
        let mut data = Bytes::from_static(data);
        self.client.stream(id).unwrap().write(&mut data).unwrap();
    }

    /// What the server writes, all of which the client reads.
    fn reply(&mut self, id: StreamId) {
        let mut data = Bytes::from_static(&BLOCK[..64]);
        self.server.stream(id).unwrap().write(&mut data).unwrap();
        self.run(MS);
        while let Ok(Read::Chunk(bytes)) = self.client.stream(id).unwrap().read(usize::MAX) {
            black_box(bytes);
        }
    }

    /// Messages sent by both.
    fn messages(&self) -> u64 {
        self.client.stats().messages + self.server.stats().messages
    }

    /// What the server reads of a stream.
    fn read(&mut self, id: StreamId) -> usize {
        let mut read = 0;
        let server = &mut self.server;
        let all = measure(|| {
            while let Some(mut stream) = server.stream(id)
                && let Ok(Read::Chunk(bytes)) = stream.read(usize::MAX)
            {
                read += black_box(bytes).len();
            }
        });
        self.counts.receiving += all.count_total;
        read
    }
}

/// What an application does with a session in one millisecond.
type Turn = fn(&mut Talk, StreamId);

/// In steady state a bundle costs at most one block of memory where it is made, and none where it is taken in.
#[test]
fn allocations_in_steady_state() {
    let bulk: Turn = |talk, id| {
        talk.write(id, BLOCK);
        talk.run(MS);
        talk.read(id);
    };
    let ping: Turn = |talk, id| {
        talk.write(id, &BLOCK[..64]);
        talk.run(MS);
        if talk.read(id) > 0 {
            talk.reply(id);
        }
        talk.run(MS);
    };
    for (name, turn, blocks) in [("bulk", bulk, 1.0), ("ping-pong", ping, 0.5)] {
        let mut talk = Talk::new();
        let id = talk.client.open().unwrap();
        for _ in 0..200 {
            turn(&mut talk, id);
        }
        talk.counts = Counts::default();
        let before = talk.messages();
        for _ in 0..1_000 {
            turn(&mut talk, id);
        }
        let Counts {
            requests,
            answers,
            sending,
            receiving,
        } = talk.counts;
        let messages = talk.messages() - before;
        let per = |n: u64, all: u64| n as f64 / all as f64;
        let sent = per(sending, requests + answers);
        println!(
            "{name}: {requests} requests, {answers} answers, {messages} messages; allocations per bundle: {sent:.2} to make, \
             {:.2} to take in; per message {:.2}",
            per(receiving, requests + answers),
            per(sending + receiving, messages)
        );
        assert!(messages >= 1_000, "{name}");
        assert!(sent <= blocks, "{name}: {sent}");
        assert_eq!(receiving, 0, "{name}");
    }
}

/// What an idle session keeps at either side, and a stream that is open and idle.
#[test]
fn memory_of_what_is_idle() {
    let mut kept = None;
    let session = measure(|| kept = Some(Talk::new())).bytes_current;
    let mut talk = kept.unwrap();
    let streams = measure(|| {
        for _ in 0..15 {
            let id = talk.client.open().unwrap();
            talk.client
                .stream(id)
                .unwrap()
                .write(&mut Bytes::from_static(b"x"))
                .unwrap();
            talk.run(30 * MS);
            talk.read(id);
        }
        talk.run(500 * MS);
    })
    .bytes_current;
    println!(
        "idle: {session} bytes a session, {} a stream, both sides together",
        streams / 15
    );
    assert!(session <= 3_200, "{session}");
    assert!(streams / 15 <= 1_700, "{}", streams / 15);
}

/// Bytes on the wire for each byte delivered, both ways together, where so many of a hundred exchanges are lost.
#[test]
fn bytes_on_the_wire() {
    for (percent, bound) in [(0, 1.01), (1, 1.02), (5, 1.03), (10, 1.05), (20, 1.25)] {
        let client = Config::builder()
            .carrier(Carrier::Exchange)
            .build()
            .unwrap();
        let mut pair = Pair::many(5, 1, client, settings::tuned());
        pair.net.set_rate(Some(12_500_000), Some(12_500_000));
        let mut rng = Rng::new(9);
        pair.net.rule = Box::new(move |_| match (rng.percent(percent), rng.percent(50)) {
            (true, true) => Fault::request(Fate::Lose),
            (true, false) => Fault::response(Fate::Lose),
            (false, _) => Fault::NONE,
        });
        pair.serve(Script::bulk(10_000_000));
        pair.client().play(Script::bulk(10_000_000));
        pair.run_to_end(600 * SEC);
        let sent: u64 = [Side::Client, Side::Server]
            .iter()
            .map(|side| pair.net.tally.way(0, *side).bytes)
            .sum();
        let share = sent as f64 / 20e6;
        println!("lost {percent} %: {share:.3} bytes on the wire for each one delivered");
        assert!(share <= bound, "{percent} %: {share}");
    }
}
