//! Peers made by hand, for what no honest machine would send. They speak through `wire` and nothing else.

use crate::end::End;
use crate::host::{Host, Taken};
use crate::settings;
use crate::tally::{answers, requests};
use bytes::Bytes;
use posthole_protocol::wire::{
    Ack, AnswerPrefix, Chain, Content, Decoded, Head, Message, Params, Refusal, RequestPrefix,
    encode, refusal,
};
use posthole_protocol::{
    Client, CloseReason, Config, Event, ExchangeId, Instance, Instant, RequestId, Server,
};
use posthole_protocol::{SessionId, StreamId};

/// A little more than the time for which an opening's answer may wait for a reply to ride on it.
const GRACE: u64 = 30_000;

/// A client made by hand before a real server.
pub struct FakeClient {
    /// The server.
    pub host: Host,
    /// Microseconds.
    pub now: u64,
    /// The session.
    pub id: SessionId,
    /// What stands before the messages of the next request.
    pub prefix: RequestPrefix,
    /// The next exchange.
    pub exchange: u64,
    /// The next bundle.
    pub bundle: u64,
    /// The next message.
    pub message: u64,
    /// All answers so far, read.
    pub answers: Vec<Decoded<AnswerPrefix>>,
    /// The bodies of all answers so far.
    pub bodies: Vec<Bytes>,
    next_request: u64,
}

impl FakeClient {
    /// A client that has shown that it is no copy: its opening was answered and the nonce echoed.
    pub fn connected(config: Config) -> FakeClient {
        let mut fake = FakeClient::new(config);
        fake.send(&[]);
        fake.run_for(GRACE);
        let answer = fake
            .answers
            .first()
            .expect("the answer to an opening is not held (§7)");
        fake.prefix.echo = answer.prefix.nonce;
        fake.prefix.opening = None;
        fake.send(&[]);
        fake.run_for(GRACE);
        fake
    }

    /// A client that is about to send its opening to a server that has run for a while.
    pub fn new(config: Config) -> FakeClient {
        let host = Host::new(config, settings::router(), 7, 0);
        let opening = Params {
            streams: 100,
            ..Params::default()
        };
        let prefix = RequestPrefix {
            opening: Some(opening),
            credit: 65_536,
            timer: 1_000_000,
            hold: 1,
            wait: 12_000,
            answer_max: 1_000_000,
            ..RequestPrefix::default()
        };
        FakeClient {
            host,
            now: 1_000_000_000,
            id: SessionId::from_bytes(*b"made by hand, 16"),
            prefix,
            exchange: 0,
            bundle: 0,
            message: 0,
            answers: Vec::new(),
            bodies: Vec::new(),
            next_request: 0,
        }
    }

    /// The body of the next request with these messages, which take the next numbers.
    pub fn body(&mut self, contents: &[Content]) -> Bytes {
        let messages: Vec<Message> = (self.message..).zip(contents).map(numbered).collect();
        self.message += messages.len() as u64;
        self.body_of(&messages)
    }

    /// The body of the next request with exactly these messages.
    pub fn body_of(&mut self, messages: &[Message]) -> Bytes {
        let body =
            encode(&self.id, self.exchange, self.bundle, &self.prefix, messages).into_bytes();
        self.exchange += 1;
        self.bundle += 1;
        body
    }

    /// Sends a request with these messages.
    pub fn send(&mut self, contents: &[Content]) -> RequestId {
        let body = self.body(contents);
        self.put(body)
    }

    /// Puts any bytes before the server.
    pub fn put(&mut self, body: Bytes) -> RequestId {
        let request = RequestId::new(self.next_request);
        self.next_request += 1;
        match self.host.take(self.now, request, body) {
            Taken::Answer(chain) => self.keep(chain),
            Taken::By(_) | Taken::NotOurs => {}
        }
        self.collect();
        request
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, micros: u64) {
        let end = self.now + micros;
        while let Some(at) = self.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            let now = Instant::from_micros(self.now);
            if let Some(session) = self.session() {
                session.machine.feed_timeout(now);
            }
            self.collect();
            assert!(
                self.deadline().is_none_or(|next| next > self.now),
                "C5: a busy loop"
            );
        }
        self.now = end;
    }

    /// How many requests were put before the server.
    pub fn asked(&self) -> u64 {
        self.next_request
    }

    /// The server's end of the session.
    pub fn session(&mut self) -> Option<&mut End<Server>> {
        let id = self.id;
        self.host
            .sessions
            .iter_mut()
            .rev()
            .find(|end| end.machine.id() == id)
    }

    /// How the session ended at the server.
    pub fn closed(&mut self) -> Option<CloseReason> {
        self.session().and_then(|end| end.closed.clone())
    }

    fn deadline(&mut self) -> Option<u64> {
        self.session()
            .and_then(|end| end.machine.next_timeout())
            .map(Instant::as_micros)
    }

    fn collect(&mut self) {
        let now = Instant::from_micros(self.now);
        loop {
            let Some(session) = self.session() else {
                return;
            };
            while let Some(event) = session.machine.poll_event() {
                if let Event::Closed(reason) = &event {
                    session.closed = Some(reason.clone());
                }
                session.events.push(event);
            }
            let Some(response) = session.machine.poll_response(now) else {
                return;
            };
            self.keep(response.body);
        }
    }

    fn keep(&mut self, chain: Chain) {
        let body = chain.into_bytes();
        if let Some(head) = Head::peek(&body) {
            self.answers.extend(answers(&self.id, head.exchange, &body));
        }
        self.bodies.push(body);
    }
}

/// A server made by hand before a real client.
pub struct FakeServer {
    /// The client.
    pub client: Client,
    /// Microseconds.
    pub now: u64,
    /// What stands before the messages of the next answer; acknowledgement and `newest` are kept up to date.
    pub prefix: AnswerPrefix,
    /// Requests without an answer, oldest first.
    pub open: Vec<(ExchangeId, Decoded<RequestPrefix>)>,
    /// How many requests came.
    pub requests: u64,
    /// How the session ended at the client.
    pub closed: Option<CloseReason>,
    /// The next bundle.
    pub bundle: u64,
    /// The next message.
    pub message: u64,
    id: SessionId,
}

impl FakeServer {
    /// A server that has answered the opening.
    pub fn connected(config: Config) -> FakeServer {
        let mut fake = FakeServer::unanswered(config);
        fake.answer(&[]);
        fake.prefix.opening = None;
        fake
    }

    /// A server that has the opening before it.
    pub fn unanswered(config: Config) -> FakeServer {
        let id = SessionId::from_bytes(*b"made by hand, 16");
        let now = 1_000_000;
        let opening = Params {
            streams: 100,
            instance: Some(Instance(1)),
            ..Params::default()
        };
        let mut fake = FakeServer {
            client: Client::new(config, id, Instant::from_micros(now)),
            now,
            prefix: AnswerPrefix {
                opening: Some(opening),
                read: true,
                credit: 65_536,
                ..AnswerPrefix::default()
            },
            open: Vec::new(),
            requests: 0,
            closed: None,
            bundle: 0,
            message: 0,
            id,
        };
        fake.collect();
        fake
    }

    /// The body of an answer to `exchange` with exactly these messages.
    pub fn body_of(&mut self, exchange: ExchangeId, messages: &[Message]) -> Bytes {
        let body = encode(
            &self.id,
            exchange.number(),
            self.bundle,
            &self.prefix,
            messages,
        )
        .into_bytes();
        self.bundle += 1;
        body
    }

    /// Answers the oldest open request with these messages, which take the next numbers.
    ///
    /// # Panics
    /// If no request is open.
    pub fn answer(&mut self, contents: &[Content]) {
        let messages: Vec<Message> = (self.message..).zip(contents).map(numbered).collect();
        self.message += messages.len() as u64;
        let (exchange, _) = self.open.remove(0);
        let body = self.body_of(exchange, &messages);
        self.client
            .feed_response(Instant::from_micros(self.now), exchange, body)
            .expect("it is open");
        self.collect();
    }

    /// Refuses the oldest open request.
    ///
    /// # Panics
    /// If no request is open.
    pub fn refuse(&mut self, what: Refusal) {
        let (exchange, _) = self.open.remove(0);
        let body = refusal(&self.id, exchange.number(), what).into_bytes();
        self.client
            .feed_response(Instant::from_micros(self.now), exchange, body)
            .expect("it is open");
        self.collect();
    }

    /// Takes an open request off the list, the oldest being 0.
    pub fn take(&mut self, which: usize) -> Option<(ExchangeId, Decoded<RequestPrefix>)> {
        (which < self.open.len()).then(|| self.open.remove(which))
    }

    /// Lets so much time pass. How many requests came.
    pub fn run_for(&mut self, micros: u64) -> u64 {
        let before = self.requests;
        let end = self.now + micros;
        while let Some(at) = self
            .client
            .next_timeout()
            .map(Instant::as_micros)
            .filter(|&at| at <= end)
        {
            self.now = self.now.max(at);
            self.client.feed_timeout(Instant::from_micros(self.now));
            let did = self.collect();
            let next = self.client.next_timeout().map(Instant::as_micros);
            assert!(
                did || next.is_none_or(|next| next > self.now),
                "C5: a busy loop"
            );
        }
        self.now = end;
        self.requests - before
    }

    /// Answers whatever still comes for ten seconds, for what a client says at its end.
    pub fn last_words(&mut self) {
        for _ in 0..100 {
            self.run_for(100_000);
            while self.closed.is_none() && !self.open.is_empty() {
                self.answer(&[]);
            }
        }
    }

    /// Takes all outputs. Whether there were any.
    pub fn collect(&mut self) -> bool {
        let mut did = false;
        while let Some(event) = self.client.poll_event() {
            did = true;
            if let Event::Closed(reason) = event {
                self.closed = Some(reason);
            }
        }
        while let Some(exchange) = self.client.poll_cancel() {
            did = true;
            self.open.retain(|(open, _)| *open != exchange);
        }
        while let Some(request) = self.client.poll_request(Instant::from_micros(self.now)) {
            did = true;
            self.requests += 1;
            let body = request.body.into_bytes();
            for bundle in requests(&self.id, &body) {
                for (count, message) in bundle.messages.clone() {
                    self.prefix.ack.next = self.prefix.ack.next.max(message.number + count);
                }
                let next = self.prefix.ack.next;
                self.prefix.ack.ranges.retain(|range| range.start > next);
                self.prefix.newest = self.prefix.newest.max(bundle.exchange);
                self.open.push((request.exchange, bundle));
            }
        }
        did
    }
}

/// Makes length and check of a request's bundle true again after its bytes were changed by hand.
pub fn seal(id: &SessionId, mut bundle: Vec<u8>) -> Bytes {
    let length = u32::try_from(bundle.len()).expect("a bundle of a test");
    bundle[4..8].copy_from_slice(&length.to_be_bytes());
    let mut check = crc32fast::Hasher::new();
    check.update(id.as_bytes());
    check.update(&bundle[..8]);
    check.update(&bundle[12..]);
    bundle[8..12].copy_from_slice(&check.finalize().to_be_bytes());
    bundle.into()
}

/// A data message.
pub fn data(stream: u64, offset: u64, payload: &'static [u8]) -> Content {
    Content::Data {
        stream: StreamId::from_number(stream),
        offset,
        fin: false,
        payload: Bytes::from_static(payload),
    }
}

/// A data message that ends its stream.
pub fn last(stream: u64, offset: u64, payload: &'static [u8]) -> Content {
    Content::Data {
        stream: StreamId::from_number(stream),
        offset,
        fin: true,
        payload: Bytes::from_static(payload),
    }
}

/// Everything below `next` has arrived.
pub fn ack(next: u64) -> Ack {
    Ack {
        next,
        ranges: Vec::new(),
    }
}

fn numbered((number, content): (u64, &Content)) -> Message {
    Message {
        number,
        content: content.clone(),
    }
}
