//! A client and a server's house in one thread, for tests: every request arrives, every answer too.

use crate::{Alarm, House, Rest, State, Tried, Waiters, Work};
use bytes::Bytes;
use posthole_protocol::{
    Client, Config, ExchangeId, Instance, Instant, Nonce, RouterConfig, SessionId, StreamId,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Who waits, by name.
#[derive(Debug, Default)]
pub(crate) struct Names(pub(crate) Vec<&'static str>);

impl Waiters for Names {
    type Wake = Vec<&'static str>;

    fn take(&mut self) -> Option<Vec<&'static str>> {
        (!self.0.is_empty()).then(|| std::mem::take(&mut self.0))
    }
}

/// A session; who asked is known by the exchange.
pub(crate) type Session = State<ExchangeId, Names>;

/// A server's session, as the house keeps it, and its number there.
pub(crate) type Resident = (Rc<RefCell<Session>>, u32);

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Session,
    pub(crate) house: House<Resident, u32, Names>,
    /// Names that were woken, in their order.
    pub(crate) woken: Vec<&'static str>,
    /// Status of every answer that was not 200.
    pub(crate) refused: Vec<u16>,
    /// What the client's last request was.
    pub(crate) last_body: Bytes,
    pub(crate) client_alarms: Vec<Alarm>,
}

pub(crate) fn client(secret: u8, config: Config) -> Session {
    State::client(Client::new(
        config,
        SessionId::from_bytes([secret; 16]),
        Instant::ZERO,
    ))
}

impl Pair {
    pub(crate) fn new(config: Config) -> Pair {
        let instance = Instance(7);
        Pair {
            now: Instant::ZERO,
            client: client(1, config.clone()),
            house: House::new(config, RouterConfig::default(), instance, Instant::ZERO),
            woken: Vec::new(),
            refused: Vec::new(),
            last_body: Bytes::new(),
            client_alarms: Vec::new(),
        }
    }

    /// A pair whose session is there on both sides.
    pub(crate) fn connected() -> (Pair, Rc<RefCell<Session>>) {
        let mut pair = Pair::new(Config::default());
        pair.run();
        let number = pair.house.accept();
        assert!(matches!(number, Ok(Tried::Done(1))), "{number:?}");
        let server = pair.house.sessions().next().map(|at| at.0.clone());
        (pair, server.expect("just accepted"))
    }

    /// A stream of the client's, by its id; the server has accepted it and read its first byte.
    pub(crate) fn stream(&mut self, server: &RefCell<Session>) -> StreamId {
        let Ok(Tried::Done(id)) = self.client.open() else {
            panic!("no stream")
        };
        let put = self.client.put(id, &mut Bytes::from_static(b"!"));
        assert!(put.is_ok());
        self.run();
        let mut server = server.borrow_mut();
        assert!(matches!(server.accept(), Ok(Tried::Done(_))));
        assert!(matches!(server.take(id, 9), Ok(Tried::Done(first)) if first == "!"));
        id
    }

    pub(crate) fn after(&mut self, time: Duration) {
        self.now = self.now.checked_add(time).expect("not far");
    }

    /// Lets half a second pass, in which all that waits only for gathering and the like gets through.
    pub(crate) fn run(&mut self) {
        for _ in 0..50 {
            self.settle();
            self.after(Duration::from_millis(10));
        }
        self.settle();
    }

    /// Goes round both loops until neither has anything to say at this moment.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let work = self.client.poll(self.now);
            self.client_alarms.extend(work.alarm);
            self.woken.extend(work.wakes.into_iter().flatten());
            let requests = work.rest.unwrap_or_default().requests;
            let mut moved = !requests.is_empty();
            for request in requests {
                self.last_body = request.body.into_bytes();
                let body = self.last_body.clone();
                self.visit(body, request.exchange);
            }
            let all: Vec<_> = self.house.sessions().cloned().collect();
            for (session, number) in all {
                moved |= self.serve(&session, number);
            }
            if !moved {
                return;
            }
        }
        panic!("never at rest");
    }

    /// A request comes to the house.
    pub(crate) fn visit(&mut self, body: Bytes, exchange: ExchangeId) {
        let make = |core, number| (Rc::new(RefCell::new(State::server(core))), number);
        let nonce = || Some(Nonce(9));
        let answer = match self.house.route(self.now, &body, nonce, make) {
            Ok(visit) => {
                let mut session = visit.session.0.borrow_mut();
                session.feed_request(self.now, visit.request, body, exchange)
            }
            Err(reply) => Err((exchange, reply)),
        };
        if let Err((exchange, reply)) = answer {
            self.answer(exchange, reply);
        }
    }

    /// Takes what a server's session has to say. Whether that was an answer.
    pub(crate) fn serve(&mut self, session: &Rc<RefCell<Session>>, number: u32) -> bool {
        let Work { wakes, rest, .. } = session.borrow_mut().poll(self.now);
        let Rest {
            replies,
            announce,
            over,
            ..
        } = *rest.unwrap_or_default();
        self.woken.extend(wakes.into_iter().flatten());
        if announce && let Ok(wake) = self.house.announce(number) {
            self.woken.extend(wake.into_iter().flatten());
        }
        if over {
            let (_, wake) = self.house.ended(self.now, number, &session.borrow());
            self.woken.extend(wake.into_iter().flatten());
        }
        let moved = !replies.is_empty();
        for (exchange, reply) in replies {
            self.answer(exchange, reply);
        }
        moved
    }

    fn answer(&mut self, exchange: ExchangeId, reply: crate::Reply) {
        if reply.status == 200 {
            let body = reply.body.into_bytes();
            self.client.feed_answer(self.now, exchange, Ok(body));
        } else {
            self.refused.push(reply.status);
        }
    }
}
