//! Two machines that speak, exchange by exchange, with nothing between: what they cost is theirs alone.
#![allow(clippy::unwrap_used)] // Nothing fails here but by a bug.

use crate::MS;
use bytes::Bytes;
use posthole_protocol::wire::Chain;
use posthole_protocol::{
    Carrier, Client, Config, Duration, ExchangeId, Instance, Instant, Nonce, Read, RequestId,
    Route, Router, RouterConfig, Server, SessionId, StreamId,
};
use std::hint::black_box;

/// Runs it, and says what that cost.
pub type Count = fn(&mut dyn FnMut()) -> u64;

/// What is written at once.
pub static BLOCK: &[u8] = &[7; 256 * 1024];

/// A body as a runtime hands it over: its memory has an owner already.
fn shared(body: Chain) -> Bytes {
    let body = body.into_bytes();
    drop(body.clone());
    body
}

/// Two machines that speak, exchange by exchange, with nothing between.
pub struct Talk {
    /// One end.
    pub client: Client,
    /// The other.
    pub server: Server,
    now: Instant,
    open: Vec<(ExchangeId, RequestId)>,
    /// Allocations in all calls so far, by what they do.
    pub counts: Counts,
    /// Runs it, and says what that cost.
    count: Count,
}

/// What it came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Bundles.
    pub requests: u64,
    /// Bundles.
    pub answers: u64,
    /// Of bundles made.
    pub sending: u64,
    /// Of bundles taken in, and their bytes read.
    pub receiving: u64,
}

impl Talk {
    /// A session that is open and at rest; `count` runs what it is given.
    pub fn new(count: Count) -> Talk {
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
            count,
        };
        talk.run(200 * MS);
        talk
    }

    /// Lets so much time pass, in steps of a millisecond, which any exchange takes.
    pub fn run(&mut self, micros: u64) {
        for _ in 0..micros / MS {
            self.now = self.now.checked_add(Duration::from_millis(1)).unwrap();
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
            count,
        } = self;
        client.feed_timeout(*now);
        server.feed_timeout(*now);
        loop {
            let mut made = None;
            counts.sending += count(&mut || made = client.poll_request(*now));
            let Some(request) = made else { break };
            counts.requests += 1;
            let (name, body) = (
                RequestId::new(request.exchange.number()),
                shared(request.body),
            );
            open.push((request.exchange, name));
            counts.receiving +=
                count(&mut || server.feed_request(*now, name, body.clone()).unwrap());
        }
        loop {
            let mut made = None;
            counts.sending += count(&mut || made = server.poll_response(*now));
            let Some(response) = made else { break };
            counts.answers += 1;
            let at = open
                .iter()
                .position(|(_, name)| *name == response.request)
                .unwrap();
            let (exchange, _) = open.remove(at);
            let body = shared(response.body);
            counts.receiving +=
                count(&mut || client.feed_response(*now, exchange, body.clone()).unwrap());
        }
        while let Some(exchange) = client.poll_cancel() {
            open.retain(|(other, _)| *other != exchange);
        }
        while client.poll_event().is_some() {}
        while server.poll_event().is_some() {}
    }

    /// What the client writes, as far as there is room.
    pub fn write(&mut self, id: StreamId, data: &'static [u8]) {
        let mut data = Bytes::from_static(data);
        self.client.stream(id).unwrap().write(&mut data).unwrap();
    }

    /// What the server writes, all of which the client reads.
    pub fn reply(&mut self, id: StreamId) {
        let mut data = Bytes::from_static(&BLOCK[..64]);
        self.server.stream(id).unwrap().write(&mut data).unwrap();
        self.run(MS);
        while let Ok(Read::Chunk(bytes)) = self.client.stream(id).unwrap().read(usize::MAX) {
            black_box(bytes);
        }
    }

    /// Messages sent by both.
    pub fn messages(&self) -> u64 {
        self.client.stats().messages + self.server.stats().messages
    }

    /// What the server reads of a stream.
    pub fn read(&mut self, id: StreamId) -> usize {
        let mut read = 0;
        let server = &mut self.server;
        let all = (self.count)(&mut || {
            while let Some(mut stream) = server.stream(id)
                && let Ok(Read::Chunk(bytes)) = stream.read(usize::MAX)
            {
                read += black_box(bytes).len();
            }
        });
        self.counts.receiving += all;
        read
    }
}

/// What an application does with a session in some milliseconds.
pub type Turn = fn(&mut Talk, StreamId);

/// Writes a block, of which the server reads what has come.
pub const BULK: Turn = |talk, id| {
    talk.write(id, BLOCK);
    talk.run(MS);
    talk.read(id);
};

/// Some bytes there and back.
pub const PING: Turn = |talk, id| {
    talk.write(id, &BLOCK[..64]);
    talk.run(MS);
    if talk.read(id) > 0 {
        talk.reply(id);
    }
    talk.run(MS);
};
