//! Two machines, what is between them, and what may happen next.

use bytes::Bytes;
use posthole_protocol::{
    Client, CloseReason, Config, Duration, Event, ExchangeId, Failure, Instance, Instant, Nonce,
    Read, RequestId, Route, Router, RouterConfig, Server, SessionId, Stream, StreamId,
};
use std::collections::VecDeque;

/// How many steps without trouble a world may need to come to its end.
const STEPS: usize = 2_000;

/// How many times in a row the machines may have something to say without anything happening.
const CHATTER: usize = 200;

/// A timer that is further away than this is one of those that give up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What each application writes on the stream that it opens, in as many writes.
const WORDS: [&[u8]; 1] = [b"ab"];

/// One request between the machines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Call {
    exchange: ExchangeId,
    request: RequestId,
    at: At,
    /// The client has not heard of its fate.
    waits: bool,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum At {
    Up(Bytes),
    Server,
    Down(Bytes),
    /// It will never be heard of again.
    Nowhere,
}

/// A direct connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wire {
    exchange: ExchangeId,
    request: RequestId,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
}

/// One side's application: it opens a stream, writes its words, ends it, and reads the other's to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct App {
    own: Option<StreamId>,
    said: usize,
    finished: bool,
    theirs: Option<StreamId>,
    got: Vec<u8>,
    ended: bool,
    closed: Option<bool>,
    connected: bool,
}

/// What may go wrong, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Trouble {
    /// Requests or answers lost.
    pub(crate) losses: u8,
    /// Requests delivered twice.
    pub(crate) copies: u8,
    /// Direct connections cut.
    pub(crate) cuts: u8,
    /// Timers that go off before everything that moves has moved.
    pub(crate) ticks: u8,
    /// Sessions that an application closes before all is done.
    pub(crate) closes: u8,
}

/// The state that is searched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    client: Client,
    server: Option<Server>,
    times: [Instant; 2],
    calls: Vec<Call>,
    wire: Option<Wire>,
    dials: bool,
    can_dial: bool,
    apps: [App; 2],
    requests: u8,
    left: Trouble,
    next: u64,
    /// An application has ended the session.
    closing: bool,
    wrong: Option<&'static str>,
}

/// What may happen next. Numbers are places in the list of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A request arrives.
    Arrive(usize),
    /// A copy of it arrives, whose answer goes nowhere.
    ArriveTwice(usize),
    /// An answer arrives.
    Answer(usize),
    /// A request or an answer vanishes, and the client is told.
    Fail(usize),
    /// The client is told so, and the request arrives all the same.
    FailAndArrive(usize),
    /// It vanishes, and nobody is told.
    Vanish(usize),
    /// The client waits for it no longer.
    TimeOut(usize),
    /// The server hears that the client has gone.
    Hangup(usize),
    /// What came of dialling.
    Dialled(bool),
    /// A bundle moves on the direct connection.
    Up,
    /// And the other way.
    Down,
    /// It is cut.
    Cut,
    /// An application does its next thing.
    Say(usize),
    /// An application ends the session.
    Close(usize),
    /// A side's timer goes off.
    Tick(usize),
}

impl World {
    /// A client and no server yet, and what trouble there is to come.
    pub(crate) fn new(requests: u8, direct: bool, left: Trouble) -> World {
        let now = ORIGIN;
        let config = Config::model(requests);
        let mut client = Client::new(config, SessionId::from_bytes([7; 16]), now);
        if direct {
            client.knows_direct(now, Duration::from_millis(300));
        }
        let mut world = World {
            client,
            server: None,
            times: [now; 2],
            calls: Vec::new(),
            wire: None,
            dials: false,
            can_dial: direct,
            apps: Default::default(),
            requests,
            left,
            next: 0,
            closing: false,
            wrong: None,
        };
        world.settle();
        world.relate();
        world
    }

    /// What went wrong, if anything did.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        self.wrong
    }

    /// Exchanges that the client has open.
    pub(crate) fn open(&self) -> usize {
        self.calls.iter().filter(|call| call.waits).count()
    }

    /// Whether both applications have all, or the session was closed before.
    pub(crate) fn is_done(&self) -> bool {
        let done = |app: &App| app.finished && app.ended || app.closed.is_some();
        self.apps.iter().all(done)
    }

    /// All that may happen next.
    pub(crate) fn actions(&self, actions: &mut Vec<Action>) {
        if self.wrong.is_some() {
            return;
        }
        for (i, call) in self.calls.iter().enumerate() {
            let may_lose = self.left.losses > 0 && call.waits;
            match call.at {
                At::Up(_) => {
                    actions.push(Action::Arrive(i));
                    if self.left.copies > 0 {
                        actions.push(Action::ArriveTwice(i));
                    }
                    if may_lose {
                        actions.extend([
                            Action::Fail(i),
                            Action::FailAndArrive(i),
                            Action::Vanish(i),
                        ]);
                    }
                }
                At::Server if !call.waits => actions.push(Action::Hangup(i)),
                At::Server => {}
                At::Down(_) => {
                    actions.push(Action::Answer(i));
                    if may_lose {
                        actions.extend([Action::Fail(i), Action::Vanish(i)]);
                    }
                }
                At::Nowhere => actions.push(Action::TimeOut(i)),
            }
        }
        if self.dials {
            actions.extend([Action::Dialled(true), Action::Dialled(false)]);
        }
        if let Some(wire) = &self.wire {
            if !wire.up.is_empty() {
                actions.push(Action::Up);
            }
            if !wire.down.is_empty() {
                actions.push(Action::Down);
            }
            if self.left.cuts > 0 {
                actions.push(Action::Cut);
            }
        }
        for side in 0..2 {
            if self.can_say(side) {
                actions.push(Action::Say(side));
            }
            if self.left.closes > 0
                && self.apps[side].closed.is_none()
                && (side == 0 || self.server.is_some())
            {
                actions.push(Action::Close(side));
            }
            // Who is left alone for minutes may give up (S9), which is not what is looked for here.
            let soon = |at: Instant| at.since(self.times[side]) < PATIENCE;
            if self.left.ticks > 0 && self.timer(side).is_some_and(soon) {
                actions.push(Action::Tick(side));
            }
        }
    }

    /// Lets it happen.
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Arrive(i) => {
                let call = &mut self.calls[i];
                if let At::Up(body) = std::mem::replace(&mut call.at, At::Server) {
                    let request = call.request;
                    self.arrive(request, body);
                }
            }
            Action::ArriveTwice(i) => {
                self.left.copies -= 1;
                if let At::Up(body) = self.calls[i].at.clone() {
                    // Nobody waits for what is said to it.
                    let copy = RequestId::new(self.next + 1_000_000);
                    self.next += 1;
                    self.arrive(copy, body);
                }
            }
            Action::Answer(i) => {
                let call = self.calls.remove(i);
                if let (At::Down(body), true) = (call.at, call.waits) {
                    let _ = self
                        .client
                        .feed_response(self.times[0], call.exchange, body);
                }
            }
            Action::Fail(i) => {
                self.left.losses -= 1;
                let call = self.calls.remove(i);
                self.fail(call.exchange, Failure::Cut);
            }
            Action::FailAndArrive(i) => {
                self.left.losses -= 1;
                self.calls[i].waits = false;
                let exchange = self.calls[i].exchange;
                self.fail(exchange, Failure::Cut);
            }
            Action::Vanish(i) => {
                self.left.losses -= 1;
                self.calls[i].at = At::Nowhere;
            }
            Action::TimeOut(i) => {
                let call = self.calls.remove(i);
                if call.waits {
                    self.fail(call.exchange, Failure::TimedOut);
                }
            }
            Action::Hangup(i) => {
                let call = self.calls.remove(i);
                if let Some(server) = &mut self.server {
                    server.feed_hangup(self.times[1], call.request);
                }
            }
            Action::Dialled(there) => {
                self.dials = false;
                if !there {
                    self.client.feed_undialled(self.times[0]);
                } else if let Some(exchange) = self.client.feed_dialled(self.times[0]) {
                    self.wire = Some(Wire {
                        exchange,
                        request: RequestId::new(self.next + 2_000_000),
                        up: VecDeque::new(),
                        down: VecDeque::new(),
                    });
                    self.next += 1;
                }
            }
            Action::Up => self.wire_up(),
            Action::Down => {
                if let Some(wire) = &mut self.wire
                    && let Some(body) = wire.down.pop_front()
                {
                    let _ = self.client.feed_bundles(self.times[0], wire.exchange, body);
                }
            }
            Action::Cut => {
                self.left.cuts -= 1;
                self.cut();
            }
            Action::Say(side) => self.say(side),
            Action::Close(side) => {
                self.left.closes -= 1;
                self.close(side);
            }
            Action::Tick(side) => {
                self.left.ticks -= 1;
                self.tick(side);
            }
        }
        self.settle();
        self.relate();
    }

    /// Goes on without further trouble: all is delivered, and the session ends in order.
    ///
    /// # Errors
    /// It does not; what happened last.
    pub(crate) fn recover(&self) -> Result<(), String> {
        let mut world = self.clone();
        world.left = Trouble::default();
        let mut trail = VecDeque::new();
        for _ in 0..STEPS {
            if world.wrong.is_some() {
                break;
            }
            let [near, far] = [0, 1].map(|side| world.apps[side].closed);
            if near.is_some() && (far.is_some() || world.server.is_none()) {
                // Who closes early may leave things undone; what ends does so in order all the same.
                if near == Some(true) && far != Some(false) {
                    return Ok(());
                }
                break;
            }
            let mut actions = Vec::new();
            world.actions(&mut actions);
            let action = match actions.first() {
                Some(action) => *action,
                None if world.is_done() && !world.closing => Action::Close(0),
                None => {
                    let sides = [0, 1].map(|side| (world.timer(side), side));
                    let timers = sides
                        .into_iter()
                        .filter_map(|(at, side)| Some((at?.since(world.times[side]), side)));
                    let Some((_, side)) = timers.min() else { break };
                    Action::Tick(side)
                }
            };
            trail.push_back(format!("{action:?}"));
            if trail.len() > 40 {
                trail.pop_front();
            }
            (world.left.ticks, world.left.closes) = (1, 1);
            world.act(action);
            world.left = Trouble::default();
        }
        let calls: Vec<_> = world
            .calls
            .iter()
            .map(|call| (call.exchange, call.waits))
            .collect();
        Err(format!(
            "{trail:?}\nwrong {:?}, apps {:?}, calls {calls:?}, wire {:?}, timers {:?} of {:?}",
            world.wrong,
            world.apps,
            world.wire,
            [0, 1].map(|side| world.timer(side)),
            world.times
        ))
    }

    // --- what happens --------------------------------------------------------------------------------------

    fn arrive(&mut self, request: RequestId, body: Bytes) {
        let now = self.times[1];
        if self.server.is_none() {
            let mut router: Router<()> = Router::new(RouterConfig::default(), Instance(1), now);
            if let Route::Opening { opening, .. } = router.route(now, &body) {
                let config = Config::model(self.requests);
                self.server = Some(Server::new(config, opening, Nonce(5), now));
            }
        }
        let Some(server) = &mut self.server else {
            self.answer(request, Bytes::new(), true);
            return;
        };
        if let Err(reject) = server.feed_request(now, request, body) {
            self.answer(request, reject.body().into_bytes(), true);
        }
    }

    fn wire_up(&mut self) {
        let Some(wire) = &mut self.wire else {
            return;
        };
        let request = wire.request;
        if let Some(body) = wire.up.pop_front() {
            self.arrive(request, body);
        }
    }

    /// The server has said something to this request.
    fn answer(&mut self, request: RequestId, body: Bytes, last: bool) {
        if let Some(wire) = self.wire.as_mut().filter(|wire| wire.request == request) {
            if !body.is_empty() {
                wire.down.push_back(body);
            }
            if let (Some(server), false) = (&mut self.server, last) {
                server.feed_written(self.times[1], request);
            }
            return;
        }
        if let Some(call) = self.calls.iter_mut().find(|call| call.request == request) {
            if !matches!(call.at, At::Server) {
                self.wrong = Some("two answers to one request");
            }
            call.at = At::Down(body);
        }
    }

    fn fail(&mut self, exchange: ExchangeId, why: Failure) {
        let _ = self.client.feed_failure(self.times[0], exchange, why);
    }

    fn cut(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.fail(wire.exchange, Failure::Cut);
            if let Some(server) = &mut self.server {
                server.feed_hangup(self.times[1], wire.request);
            }
        }
    }

    fn timer(&self, side: usize) -> Option<Instant> {
        match (side, &self.server) {
            (0, _) => self.client.next_timeout(),
            (_, Some(server)) => server.next_timeout(),
            (_, None) => None,
        }
    }

    fn tick(&mut self, side: usize) {
        if let Some(at) = self.timer(side) {
            self.times[side] = self.times[side].max(at);
        }
        self.touch(side);
    }

    /// The machine learns what time it is.
    fn touch(&mut self, side: usize) {
        match (side, &mut self.server) {
            (0, _) => self.client.feed_timeout(self.times[0]),
            (_, Some(server)) => server.feed_timeout(self.times[1]),
            (_, None) => {}
        }
    }

    fn stream(&mut self, side: usize, id: StreamId) -> Option<Stream<'_>> {
        match (side, &mut self.server) {
            (0, _) => self.client.stream(id),
            (_, Some(server)) => server.stream(id),
            (_, None) => None,
        }
    }

    fn can_say(&self, side: usize) -> bool {
        let app = &self.apps[side];
        !app.finished && app.closed.is_none() && (side == 0 || app.connected)
    }

    fn say(&mut self, side: usize) {
        let opened = match (side, &mut self.server) {
            _ if self.apps[side].own.is_some() => None,
            (0, _) => self.client.open().ok(),
            (_, Some(server)) => server.open().ok(),
            (_, None) => None,
        };
        let app = &mut self.apps[side];
        app.own = app.own.or(opened);
        let (Some(id), said) = (app.own, app.said) else {
            // The session is closing.
            app.finished = true;
            return;
        };
        match WORDS.get(said) {
            Some(word) => {
                let mut word = Bytes::from_static(word);
                let wrote = self
                    .stream(side, id)
                    .map(|mut stream| stream.write(&mut word));
                match wrote {
                    Some(Ok(_)) if word.is_empty() => self.apps[side].said += 1,
                    // The session is closing.
                    _ => self.apps[side].finished = true,
                }
            }
            None => {
                if let Some(mut stream) = self.stream(side, id) {
                    stream.finish();
                }
                self.apps[side].finished = true;
            }
        }
        self.touch(side);
    }

    fn close(&mut self, side: usize) {
        self.closing = true;
        match (side, &mut self.server) {
            (0, _) => self.client.close(0, ""),
            (_, Some(server)) => server.close(0, ""),
            (_, None) => {}
        }
        self.touch(side);
    }

    // --- what the machines say -----------------------------------------------------------------------------

    fn settle(&mut self) {
        for _ in 0..CHATTER {
            if !self.step() {
                return;
            }
        }
        self.wrong = Some("endless talk");
    }

    /// Takes all that the machines have to say; whether there was anything.
    fn step(&mut self) -> bool {
        let mut any = false;
        if self.can_dial && !self.dials && self.wire.is_none() && self.client.poll_dial().is_some()
        {
            (self.dials, any) = (true, true);
        }
        while let Some(request) = self.client.poll_request(self.times[0]) {
            any = true;
            let body = request.body.into_bytes();
            if request.long {
                if let Some(wire) = &mut self.wire {
                    wire.up.push_back(body);
                }
                let _ = self.client.feed_written(self.times[0], request.exchange);
                continue;
            }
            self.calls.push(Call {
                exchange: request.exchange,
                request: RequestId::new(request.exchange.number()),
                at: At::Up(body),
                waits: true,
            });
        }
        while let Some(exchange) = self.client.poll_cancel() {
            any = true;
            if self
                .wire
                .as_ref()
                .is_some_and(|wire| wire.exchange == exchange)
            {
                self.cut();
            }
            for call in &mut self.calls {
                call.waits &= call.exchange != exchange;
            }
            self.calls
                .retain(|call| call.waits || !matches!(call.at, At::Down(_) | At::Nowhere));
        }
        while let Some(server) = &mut self.server
            && let Some(response) = server.poll_response(self.times[1])
        {
            any = true;
            self.answer(response.request, response.body.into_bytes(), response.last);
        }
        any | self.hear(0) | self.hear(1)
    }

    /// What a side's application hears, and reads.
    fn hear(&mut self, side: usize) -> bool {
        let mut any = false;
        loop {
            let event = match (side, &mut self.server) {
                (0, _) => self.client.poll_event(),
                (_, Some(server)) => server.poll_event(),
                (_, None) => None,
            };
            let Some(event) = event else { break };
            any = true;
            self.apps[side].connected |= event == Event::Connected;
            if let Event::Closed(reason) = event {
                self.apps[side].closed = Some(matches!(
                    reason,
                    CloseReason::Local | CloseReason::Peer { code: 0, .. }
                ));
            }
        }
        let accepted = match (side, &mut self.server) {
            (0, _) => self.client.accept(),
            (_, Some(server)) => server.accept(),
            (_, None) => None,
        };
        if let Some(id) = accepted {
            any = true;
            if self.apps[side].theirs.replace(id).is_some() {
                self.wrong = Some("a stream that nobody opened");
            }
        }
        let Some(id) = self.apps[side].theirs.filter(|_| !self.apps[side].ended) else {
            return any;
        };
        while let Some(mut stream) = self.stream(side, id) {
            match stream.read(100) {
                Ok(Read::Chunk(bytes)) => {
                    any = true;
                    self.apps[side].got.extend_from_slice(&bytes);
                }
                Ok(Read::End) => {
                    self.apps[side].ended = true;
                    any = true;
                    break;
                }
                Ok(Read::Blocked) | Err(_) => break,
            }
        }
        let whole = WORDS.concat();
        let (got, said) = (&self.apps[side].got, self.apps[1 - side].said);
        let said: usize = WORDS.iter().take(said).map(|word| word.len()).sum();
        if !whole.starts_with(got) || got.len() > said {
            self.wrong = Some("other bytes than were written");
        }
        let closing = self.apps.iter().any(|app| app.closed.is_some()) || self.closing;
        if self.apps[side].ended && !closing && (*got != whole || !self.apps[1 - side].finished) {
            self.wrong = Some("an end before the end");
        }
        any
    }

    /// Makes worlds equal that differ only in when they were reached, and in the order of what does not matter.
    fn relate(&mut self) {
        let by = self.client.earliest().since(ORIGIN);
        self.client.rebase(Instant::ZERO.checked_add(by).unwrap());
        self.times[0] = earlier(self.times[0], by);
        if let Some(server) = &mut self.server {
            let by = server.earliest().since(ORIGIN);
            server.rebase(Instant::ZERO.checked_add(by).unwrap());
            self.times[1] = earlier(self.times[1], by);
        }
        self.calls.sort_by_key(|call| call.request);
    }
}

/// Where each machine's past begins, as far as it still matters.
const ORIGIN: Instant = Instant::from_micros(1_000_000_000);

fn earlier(at: Instant, by: Duration) -> Instant {
    let by = u64::try_from(by.as_micros()).unwrap();
    Instant::from_micros(at.as_micros() - by)
}
