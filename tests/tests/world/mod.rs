//! Two machines, what is between them, and what may happen next.

mod happens;
mod says;

use bytes::Bytes;
use posthole_protocol::{
    Client, Config, Duration, ExchangeId, Failure, Instant, RequestId, Server, SessionId, StreamId,
};
use std::collections::VecDeque;

/// How many steps without trouble a world may need to come to its end.
const STEPS: usize = 2_000;

/// A timer that is further away than this is one of those that give up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where each machine's past begins, as far as it still matters.
const ORIGIN: Instant = Instant::from_micros(1_000_000_000);

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
}
