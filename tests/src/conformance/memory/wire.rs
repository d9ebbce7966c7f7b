//! What lies between the threads: sessions of both roles, and the network that they speak over.

use super::paths::Door;
use super::server::Host;
use super::stage::Sleepers;
use crate::MS;
use crate::net::{Delivery, Net};
use crate::oracle::Side;
use crate::rng::Rng;
use posthole_protocol::http::Trouble;
use posthole_protocol::{Client, Config, Failure, Instant, Request, RequestId, SessionId};
use posthole_runtime::{Alarm, State};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A session's state; a request is answered by the name that the network has for it.
pub(super) type Core = State<RequestId, Sleepers>;

/// Which session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A client.
    Client(usize),
    /// A server's: of this host, and there this one.
    Server(usize, usize),
}

/// The world but for its threads.
pub(super) struct Wire {
    /// Microseconds since the beginning.
    pub(super) now: u64,
    /// Threads that can go on.
    pub(super) woken: Vec<usize>,
    pub(super) net: Net,
    seed: u64,
    pub(super) rng: Rng,
    clients: Vec<End>,
    /// Whom each of them speaks to.
    dialled: Vec<SocketAddr>,
    pub(super) hosts: Vec<Host>,
    pub(super) doors: BTreeMap<SocketAddr, Door>,
    pub(super) port: u16,
    /// How far the clocks of clients and servers are ahead of time.
    ahead: [u64; 2],
}

/// One session's end.
pub(super) struct End {
    core: Core,
    alarm: Option<Instant>,
}

impl End {
    pub(super) fn new(core: Core) -> End {
        End { core, alarm: None }
    }
}

impl Wire {
    pub(super) fn new(seed: u64) -> Wire {
        let mut rng = Rng::new(seed);
        let mut net = Net::new(seed);
        // From the machine itself to one on the other side of a continent.
        let delay = [0, 2 * MS, 20 * MS, 60 * MS][rng.below(4) as usize];
        net.conditions.delay_up = delay;
        net.conditions.delay_down = delay;
        net.conditions.jitter = rng.below(delay + 1);
        Wire {
            now: 1_000_000,
            woken: Vec::new(),
            net,
            seed,
            rng,
            clients: Vec::new(),
            dialled: Vec::new(),
            hosts: Vec::new(),
            doors: BTreeMap::new(),
            port: 0,
            ahead: [0, 0],
        }
    }

    /// The seed, and what happened last.
    pub(super) fn story(&self) -> String {
        format!("seed {}\n{}", self.seed, self.net.trace.text())
    }

    /// The sessions that have not ended.
    pub(super) fn left(&self) -> Vec<Who> {
        let clients = (0..self.clients.len()).map(Who::Client);
        let all = self.hosts.iter().enumerate();
        let servers =
            all.flat_map(|(host, at)| (0..at.sessions.len()).map(move |n| Who::Server(host, n)));
        let is_left = |who: &Who| self.end_of(*who).core.closed().is_none();
        clients.chain(servers).filter(is_left).collect()
    }

    /// One end's clock jumps forward.
    pub(super) fn jump(&mut self, side: Side, micros: u64) {
        self.ahead[side as usize] += micros;
        self.net.tally.excused += 1;
    }

    /// A session, to do something to; [`settle`](Wire::settle) it afterwards.
    pub(super) fn core(&mut self, who: Who) -> &mut Core {
        &mut self.end(who).core
    }

    fn end(&mut self, who: Who) -> &mut End {
        match who {
            Who::Client(client) => &mut self.clients[client],
            Who::Server(host, session) => &mut self.hosts[host].sessions[session],
        }
    }

    fn end_of(&self, who: Who) -> &End {
        match who {
            Who::Client(client) => &self.clients[client],
            Who::Server(host, session) => &self.hosts[host].sessions[session],
        }
    }

    /// What a side takes for the time.
    pub(super) fn clock(&self, side: Side) -> Instant {
        Instant::from_micros(self.now + self.ahead[side as usize])
    }

    fn clock_of(&self, who: Who) -> Instant {
        self.clock(match who {
            Who::Client(_) => Side::Client,
            Who::Server(..) => Side::Server,
        })
    }

    /// Goes round a session's loop.
    pub(super) fn settle(&mut self, who: Who) {
        let now = self.clock_of(who);
        let end = self.end(who);
        let work = end.core.poll(now);
        match work.alarm {
            Some(Alarm::At { at, .. }) => end.alarm = Some(at),
            Some(Alarm::Off { .. }) => end.alarm = None,
            None => {}
        }
        self.woken.extend(work.wakes.into_iter().flatten());
        let rest = work.rest.unwrap_or_default();
        for (request, reply) in rest.replies {
            self.reply(request, reply);
        }
        match who {
            Who::Client(client) => {
                for request in rest.requests {
                    self.send(client, request);
                }
                for exchange in rest.cancelled {
                    self.net.cancel(self.now, client, exchange);
                }
            }
            Who::Server(host, session) => {
                if rest.announce {
                    match self.hosts[host].house.announce(session) {
                        Ok(wake) => self.woken.extend(wake.into_iter().flatten()),
                        Err(_) => self.close(who),
                    }
                }
                if rest.over {
                    let at = &mut self.hosts[host];
                    let core = &at.sessions[session].core;
                    let (_, wake) = at.house.ended(now, at.numbers[session], core);
                    self.woken.extend(wake.into_iter().flatten());
                }
            }
        }
    }

    /// Ends a session in order.
    pub(super) fn close(&mut self, who: Who) {
        self.core(who).close();
        self.settle(who);
    }

    pub(super) fn reply(&mut self, request: RequestId, reply: posthole_runtime::Reply) {
        if reply.status == 200 {
            self.net.answer(self.now, request, reply.body.into_bytes());
        } else {
            let status = reply.status;
            self.net
                .refuse(self.now, request, Failure::Middlebox { status });
        }
    }
}

/// The client's side.
impl Wire {
    /// A client of this address.
    pub(super) fn connect(&mut self, addr: SocketAddr, config: Config) -> Who {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.rng.draw().to_be_bytes());
        id[8..].copy_from_slice(&self.rng.draw().to_be_bytes());
        let id = SessionId::from_bytes(id);
        let core = Client::new(config, id, self.clock(Side::Client));
        self.clients.push(End::new(State::client(core)));
        self.dialled.push(addr);
        self.net.add_client(id);
        let who = Who::Client(self.clients.len() - 1);
        self.settle(who);
        who
    }

    fn send(&mut self, client: usize, request: Request) {
        let fault = self.fault(self.dialled[client]);
        self.net.rule = Box::new(move |_| fault);
        self.net.send(self.now, client, request);
    }
}

/// Time.
impl Wire {
    /// When something happens next.
    pub(super) fn next(&self) -> Option<u64> {
        let alarm = |end: &End, side: Side| {
            let at = end.alarm?.as_micros();
            Some(at.saturating_sub(self.ahead[side as usize]))
        };
        let clients = self.clients.iter().map(|end| alarm(end, Side::Client));
        let sessions = self.hosts.iter().flat_map(|host| &host.sessions);
        let servers = sessions.map(|end| alarm(end, Side::Server));
        clients
            .chain(servers)
            .chain([self.net.next()])
            .flatten()
            .min()
    }

    /// Lets time pass until this moment, and what happens then happen.
    pub(super) fn advance(&mut self, to: u64) {
        self.now = self.now.max(to);
        // Waiting input comes before deadlines.
        while let Some(delivery) = self.net.take(self.now) {
            self.deliver(delivery);
        }
        for client in 0..self.clients.len() {
            self.ring(Who::Client(client));
        }
        for host in 0..self.hosts.len() {
            for session in 0..self.hosts[host].sessions.len() {
                self.ring(Who::Server(host, session));
            }
        }
    }

    fn ring(&mut self, who: Who) {
        let now = self.clock_of(who);
        let end = self.end(who);
        if end.alarm.take_if(|at| *at <= now).is_some() {
            end.core.rang(now);
            self.settle(who);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.clock(Side::Client);
        let (client, exchange, answer) = match delivery {
            Delivery::Request {
                host,
                request,
                body,
            } => return self.receive(host, request, body),
            Delivery::Hangup { host, request } => return self.hang_up(host, request),
            Delivery::Answer {
                client,
                exchange,
                body,
            } => (client, exchange, Some(Ok(body))),
            Delivery::Failed {
                client,
                exchange,
                why,
            } => (client, exchange, Some(Err(trouble(why)))),
            Delivery::Progress { client, exchange } => (client, exchange, None),
            Delivery::Bundles { .. }
            | Delivery::Written { .. }
            | Delivery::Said { .. }
            | Delivery::Dialled { .. } => unreachable!("nobody dials here"),
        };
        let core = &mut self.clients[client].core;
        match answer {
            Some(answer) => core.feed_answer(now, exchange, answer),
            None => core.feed_progress(now, exchange),
        }
        self.settle(Who::Client(client));
    }
}

fn trouble(failure: Failure) -> Trouble {
    Trouble {
        failure,
        reached: failure != Failure::Connect,
        says: failure.to_string(),
    }
}
