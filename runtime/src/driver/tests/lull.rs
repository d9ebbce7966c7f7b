//! A bundle after which nothing follows need not be told of as written at once.

use super::*;
use posthole_protocol::wire::Chain;

/// A client and a server that speak by a direct connection, each a client's and a server's `State`.
struct Ends {
    client: crate::testing::Session,
    server: State<u32, Names>,
    exchange: ExchangeId,
    now: Instant,
}

const REQUEST: RequestId = RequestId::new(0);

impl Ends {
    fn new() -> Ends {
        let now = Instant::ZERO;
        let config = Config::builder().carrier(posthole_protocol::Carrier::Direct);
        let config = config.build().unwrap();
        let mut client = client(1, config.clone());
        client.knows_direct(now, Duration::ZERO);
        assert!(client.poll(now).rest.unwrap_or_default().dial.is_some());
        let exchange = client.feed_dialled(now, true).unwrap();
        let first = client.poll(now).writes.remove(0).1.into_bytes();
        client.feed_written(now, exchange);
        let mut router: Router<()> = Router::new(RouterConfig::default(), Instance(1), now);
        let Route::Opening { opening, .. } = router.route(now, &first) else {
            panic!("it opens");
        };
        let mut server = State::server(Server::new(config, opening, Nonce(3), now));
        assert!(server.feed_request(now, REQUEST, first, 0).is_ok());
        let mut ends = Ends {
            client,
            server,
            exchange,
            now,
        };
        while ends.turn() {}
        ends
    }

    /// Each takes in what the other says, and is told at once that what it said is written. Whether that was anything.
    fn turn(&mut self) -> bool {
        let said = self.server.poll(self.now).said;
        let written = self.client.poll(self.now).writes;
        let any = said.len() + written.len() > 0;
        for (request, _, bundle) in said {
            self.server.feed_said(self.now, request);
            self.heard(bundle);
        }
        for (exchange, bundle) in written {
            self.client.feed_written(self.now, exchange);
            let fed = self
                .server
                .feed_more(self.now, REQUEST, bundle.into_bytes());
            assert!(fed.is_ok());
        }
        any
    }

    fn heard(&mut self, bundle: Chain) {
        self.client
            .feed_bundles(self.now, self.exchange, bundle.into_bytes());
    }

    fn opened(&mut self) -> StreamId {
        let Ok(Tried::Done(id)) = self.client.open() else {
            panic!("it may be opened");
        };
        id
    }

    /// A stream that the server has accepted; nothing is under way.
    fn accepted(&mut self) -> StreamId {
        let id = self.opened();
        self.client.put(id, &mut data("a")).unwrap();
        self.turn();
        assert!(matches!(self.server.accept(), Ok(Tried::Done(_))));
        while self.turn() {}
        id
    }
}

#[test]
fn after_a_keystroke_nothing_follows_before_the_alarm_and_what_is_written_next_goes_at_once() {
    let mut ends = Ends::new();
    let (one, other) = (ends.opened(), ends.opened());
    ends.client.put(one, &mut data("a")).unwrap();
    let work = ends.client.poll(ends.now);
    assert_eq!(work.writes.len(), 1);
    assert!(work.lull.is_some());
    // It says something once a second, so it wants to be asked then though nobody has told it anything.
    let armed = ends.client.armed.unwrap();
    assert!(armed <= ends.now.checked_add(Duration::from_secs(1)).unwrap());
    ends.client.put(other, &mut data("b")).unwrap();
    ends.client.feed_lull(ends.now);
    assert_eq!(ends.client.poll(ends.now).writes.len(), 1);
}

#[test]
fn who_comes_before_it_is_written_ends_the_lull() {
    let mut ends = Ends::new();
    let (one, other) = (ends.opened(), ends.opened());
    ends.client.put(one, &mut data("a")).unwrap();
    let _ = ends.client.poll(ends.now);
    ends.client.put(other, &mut data("b")).unwrap();
    assert!(ends.client.poll(ends.now).writes.is_empty());
    ends.client.feed_lull(ends.now);
    let work = ends.client.poll(ends.now);
    assert!(work.writes.is_empty(), "nobody has said that it is written");
    ends.client.feed_written(ends.now, ends.exchange);
    assert_eq!(ends.client.poll(ends.now).writes.len(), 1);
}

#[test]
fn a_server_that_has_answered_has_nothing_to_add_either() {
    let mut ends = Ends::new();
    let id = ends.accepted();
    ends.server.put(id, &mut data("b")).unwrap();
    let work = ends.server.poll(ends.now);
    assert!(work.said.len() == 1 && work.lull.is_some());
    let by = ends.now.checked_add(Duration::from_secs(1)).unwrap();
    assert!(ends.server.armed.unwrap() <= by);
    ends.server.feed_lull(by);
    assert_eq!(ends.server.poll(by).said.len(), 1, "its word is due");
}

/// Nothing is under way then, so nothing else wants to be asked as early as the next word is due.
#[test]
fn after_an_acknowledgement_the_alarm_is_that_of_the_next_word() {
    let mut ends = Ends::new();
    let id = ends.accepted();
    ends.server.put(id, &mut data("b")).unwrap();
    let (request, _, bundle) = ends.server.poll(ends.now).said.remove(0);
    ends.server.feed_said(ends.now, request);
    ends.heard(bundle);
    let mut work = ends.client.poll(ends.now);
    while work.writes.is_empty() {
        ends.now = ends.client.armed.unwrap();
        ends.client.rang(ends.now);
        work = ends.client.poll(ends.now);
    }
    assert!(work.lull.is_some());
    let word = ends.now.checked_add(Duration::from_secs(1)).unwrap();
    assert_eq!(ends.client.armed, Some(word));
}

#[test]
fn with_more_to_say_there_is_no_lull() {
    let mut ends = Ends::new();
    let id = ends.opened();
    ends.client.put(id, &mut data("a")).unwrap();
    while ends.turn() {}
    let mut much = Bytes::from(vec![7; 60_000]);
    ends.client.put(id, &mut much).unwrap();
    let work = ends.client.poll(ends.now);
    assert!(work.writes.len() == 1 && work.lull.is_none());
    ends.client.feed_lull(ends.now);
    let more = ends.client.poll(ends.now);
    assert!(more.writes.is_empty(), "there was none to be told of");
    ends.client.feed_written(ends.now, ends.exchange);
    assert_eq!(ends.client.poll(ends.now).writes.len(), 1);
}
