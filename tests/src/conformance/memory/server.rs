//! The server's side: processes, their sessions, and what becomes of requests there.

use super::paths::Door;
use super::stage::Sleepers;
use super::wire::{End, Who, Wire};
use crate::oracle::Side;
use crate::settings;
use bytes::Bytes;
use posthole_protocol::{Config, Failure, Instance, Nonce, RequestId};
use posthole_runtime::{House, State};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A server process.
pub(super) struct Host {
    pub(super) house: House<usize, usize, Sleepers>,
    pub(super) sessions: Vec<End>,
    /// The house's names for the requests of sessions.
    pub(super) numbers: Vec<u32>,
    names: BTreeMap<RequestId, RequestId>,
    /// Whether its listener is there.
    is_held: bool,
    /// Whether it was closed for good.
    is_closed: bool,
}

impl Host {
    /// Whether requests reach it.
    pub(super) fn is_up(&self) -> bool {
        !self.is_closed && (self.is_held || self.house.sessions().len() > 0)
    }
}

impl Wire {
    /// Starts a server process at this address, which is free.
    pub(super) fn serve(&mut self, addr: SocketAddr, config: Config) -> usize {
        let instance = Instance(self.rng.draw());
        let now = self.clock(Side::Server);
        self.hosts.push(Host {
            house: House::new(config, settings::router(), instance, now),
            sessions: Vec::new(),
            numbers: Vec::new(),
            names: BTreeMap::new(),
            is_held: true,
            is_closed: false,
        });
        let host = self.hosts.len() - 1;
        self.doors.insert(addr, Door::Host(host));
        host
    }

    /// A server process.
    pub(super) fn host(&mut self, host: usize) -> &mut Host {
        &mut self.hosts[host]
    }

    /// Lets no more sessions in, and closes those that nobody accepted.
    pub(super) fn shut(&mut self, host: usize) {
        let (waiting, wake) = self.hosts[host].house.shut();
        self.woken.extend(wake.into_iter().flatten());
        for session in waiting {
            self.close(Who::Server(host, session));
        }
    }

    /// The listener is gone: those that have not come so far end, others go on.
    pub(super) fn let_go(&mut self, host: usize) {
        self.hosts[host].is_held = false;
        self.shut(host);
        for session in self.sessions_of(host) {
            let who = Who::Server(host, session);
            if !self.core(who).is_connected() {
                self.close(who);
            }
        }
    }

    /// All sessions of a server process that are there.
    pub(super) fn sessions_of(&self, host: usize) -> Vec<usize> {
        self.hosts[host].house.sessions().copied().collect()
    }

    /// No request reaches it any more; answers that are under way do arrive.
    pub(super) fn take_down(&mut self, host: usize) {
        self.hosts[host].is_closed = true;
    }

    pub(super) fn receive(&mut self, host: usize, request: RequestId, body: Bytes) {
        if !self.hosts[host].is_up() {
            return self.net.refuse(self.now, request, Failure::Cut);
        }
        let now = self.clock(Side::Server);
        let (nonce, at) = (self.rng.draw(), &mut self.hosts[host]);
        let (sessions, numbers) = (&mut at.sessions, &mut at.numbers);
        let visit = at.house.route(
            now,
            &body,
            || Some(Nonce(nonce)),
            |core, number| {
                sessions.push(End::new(State::server(core)));
                numbers.push(number);
                sessions.len() - 1
            },
        );
        let (session, name, replaced) = match visit {
            Ok(visit) => (*visit.session, visit.request, visit.replaced.copied()),
            Err(reply) => {
                self.net.turned_away(request);
                return self.reply(request, reply);
            }
        };
        at.names.insert(request, name);
        if let Some(replaced) = replaced {
            let who = Who::Server(host, replaced);
            self.core(who).replace();
            self.settle(who);
        }
        let who = Who::Server(host, session);
        let refused = self.core(who).feed_request(now, name, body, request);
        self.settle(who);
        if let Err((request, reply)) = refused {
            self.reply(request, reply);
        }
    }

    pub(super) fn hang_up(&mut self, host: usize, request: RequestId) {
        let (now, at) = (self.clock(Side::Server), &mut self.hosts[host]);
        let Some(name) = at.names.remove(&request) else {
            return;
        };
        let Some(session) = at.house.session_of(name).copied() else {
            return;
        };
        let who = Who::Server(host, session);
        self.core(who).feed_hangup(now, name);
        self.settle(who);
    }
}
