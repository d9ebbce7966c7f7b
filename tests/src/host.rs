//! One server process: a router and its sessions, as a front would drive them.

use crate::app::Script;
use crate::end::{End, written};
use crate::oracle::Side;
use crate::rng::Rng;
use bytes::Bytes;
use posthole_protocol::wire::Chain;
use posthole_protocol::{
    Config, Instance, Instant, Nonce, RequestId, Route, Router, RouterConfig, Server, SessionId,
};
use std::collections::BTreeMap;

/// What becomes of a request at the door.
#[derive(Debug)]
pub enum Taken {
    /// It went to a session: that one, as this host counts them.
    By(usize),
    /// It has its answer already.
    Answer(Chain),
    /// It is none of ours.
    NotOurs,
}

/// A server process.
pub struct Host {
    /// Finds sessions; knows them by their place in `sessions`.
    pub router: Router<usize>,
    /// All sessions there ever were, ended ones too.
    pub sessions: Vec<End<Server>>,
    /// What sessions do with streams that clients open.
    pub on_accept: Option<Script>,
    /// How new sessions behave.
    pub config: Config,
    /// Whose id is known, and under which number.
    pub known: BTreeMap<SessionId, usize>,
    owners: BTreeMap<RequestId, usize>,
    live: Vec<bool>,
    rng: Rng,
}

impl Host {
    /// A server process that starts at `now`.
    pub fn new(config: Config, router: RouterConfig, seed: u64, now: u64) -> Host {
        let mut rng = Rng::new(seed);
        Host {
            router: Router::new(router, Instance(rng.draw()), Instant::from_micros(now)),
            sessions: Vec::new(),
            on_accept: None,
            config,
            known: BTreeMap::new(),
            owners: BTreeMap::new(),
            live: Vec::new(),
            rng,
        }
    }

    /// A request comes in.
    pub fn take(&mut self, now: u64, request: RequestId, body: Bytes) -> Taken {
        let at = Instant::from_micros(now);
        let index = match self.router.route(at, &body) {
            Route::Session(index) => *index,
            Route::Opening { opening, replaced } => {
                if let Some(old) = replaced {
                    self.sessions[old].machine.replace();
                }
                let nonce = Nonce(self.rng.draw());
                let mut machine = Server::new(self.config.clone(), opening, nonce, at);
                machine.writes_pieces(true);
                let id = machine.id();
                let number = self.known.get(&id).copied().unwrap_or(usize::MAX);
                let mut end = End::new(machine, Side::Server, number);
                end.on_accept = self.on_accept;
                self.sessions.push(end);
                self.live.push(true);
                self.router.insert(id, self.sessions.len() - 1);
                self.sessions.len() - 1
            }
            Route::Reject(reject) => return Taken::Answer(reject.body()),
            Route::NotOurs => return Taken::NotOurs,
        };
        match self.sessions[index].machine.feed_request(at, request, body) {
            Ok(()) => {
                self.owners.insert(request, index);
                Taken::By(index)
            }
            Err(reject) => Taken::Answer(reject.body()),
        }
    }

    /// Whoever sent a request has gone. Which session that concerns.
    pub fn hangup(&mut self, now: u64, request: RequestId) -> Option<usize> {
        let index = self.owners.remove(&request)?;
        self.sessions[index]
            .machine
            .feed_hangup(Instant::from_micros(now), request);
        Some(index)
    }

    /// What was said last on a direct connection has been written. Which session that concerns.
    pub fn said(&mut self, now: u64, request: RequestId) -> Option<usize> {
        let index = *self.owners.get(&request)?;
        let (machine, now) = (&mut self.sessions[index].machine, Instant::from_micros(now));
        let follows_at = machine.follows_at(request);
        written(machine, now, follows_at, |machine| {
            machine.feed_written(now, request)
        });
        Some(index)
    }

    /// The sessions that are not over.
    pub fn live(&self) -> Vec<usize> {
        (0..self.sessions.len())
            .filter(|&index| self.live[index])
            .collect()
    }

    /// The newest session of a client.
    pub fn session_of(&self, client: usize) -> Option<usize> {
        self.sessions.iter().rposition(|end| end.session == client)
    }

    /// Lets the router forget a session that is over.
    pub fn bury_if_over(&mut self, now: u64, index: usize) {
        let machine = &self.sessions[index].machine;
        if self.live[index] && machine.is_over() {
            self.router
                .ended(Instant::from_micros(now), machine.id(), machine);
            self.live[index] = false;
        }
    }
}
