//! What lies between the threads: sessions of both roles, and the network that they speak over.

use super::harm::Harm;
use super::stage::Sleepers;
use crate::fault::{Fate, Fault, Outage};
use crate::net::{Delivery, Net};
use crate::oracle::Side;
use crate::rng::Rng;
use crate::{MS, settings};
use bytes::Bytes;
use posthole_protocol::http::Trouble;
use posthole_protocol::{
    Client, Config, Failure, Instance, Instant, Nonce, Request, RequestId, SessionId,
};
use posthole_runtime::{Alarm, House, State};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

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
    net: Net,
    seed: u64,
    rng: Rng,
    clients: Vec<End>,
    /// Whom each of them speaks to.
    dialled: Vec<SocketAddr>,
    hosts: Vec<Host>,
    doors: BTreeMap<SocketAddr, Door>,
    port: u16,
    /// How far the clocks of clients and servers are ahead of time.
    ahead: [u64; 2],
}

/// What is behind an address.
enum Door {
    /// A server.
    Host(usize),
    /// A path to another address.
    Path(Route),
}

struct Route {
    to: SocketAddr,
    kinds: Vec<Harm>,
    percent: u64,
    harmed: u64,
}

/// One session's end.
struct End {
    core: Core,
    alarm: Option<Instant>,
}

/// A server process.
pub(super) struct Host {
    pub(super) house: House<usize, usize, Sleepers>,
    sessions: Vec<End>,
    /// The house's names for the requests of sessions.
    numbers: Vec<u32>,
    names: BTreeMap<RequestId, RequestId>,
    /// Whether its listener is there.
    is_held: bool,
    /// Whether it was closed for good.
    is_closed: bool,
}

impl End {
    fn new(core: Core) -> End {
        End { core, alarm: None }
    }
}

impl Host {
    /// Whether requests reach it.
    fn is_up(&self) -> bool {
        !self.is_closed && (self.is_held || self.house.sessions().len() > 0)
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
        self.net.tally.jumps += 1;
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
    fn clock(&self, side: Side) -> Instant {
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
            Some(Alarm::Off(_)) => end.alarm = None,
            None => {}
        }
        self.woken.extend(work.wakes.into_iter().flatten());
        for (request, reply) in work.replies {
            self.reply(request, reply);
        }
        match who {
            Who::Client(client) => {
                for request in work.requests {
                    self.send(client, request);
                }
                for exchange in work.cancelled {
                    self.net.cancel(self.now, client, exchange);
                }
            }
            Who::Server(host, session) => {
                if work.announce {
                    match self.hosts[host].house.announce(session) {
                        Ok(wake) => self.woken.extend(wake.into_iter().flatten()),
                        Err(_) => self.close(who),
                    }
                }
                if work.over {
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

    fn reply(&mut self, request: RequestId, reply: posthole_runtime::Reply) {
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

    /// What becomes of a request to this address.
    fn fault(&mut self, addr: SocketAddr) -> Fault {
        let refused = Fault::request(Fate::Fail(Failure::Connect));
        let (host, harm) = match self.doors.get_mut(&addr) {
            Some(Door::Host(host)) => (*host, None),
            None => return refused,
            Some(Door::Path(route)) => {
                let harm = (!route.kinds.is_empty() && self.rng.percent(route.percent))
                    .then(|| route.kinds[self.rng.below(route.kinds.len() as u64) as usize]);
                route.harmed += u64::from(harm.is_some());
                let Some(Door::Host(host)) = self.doors.get(&addr_of(&self.doors, addr)) else {
                    return refused;
                };
                (*host, harm)
            }
        };
        if !self.hosts[host].is_up() {
            return refused;
        }
        let fault = harm.map_or(Fault::NONE, |harm| harm.fault(&mut self.rng));
        Fault { host, ..fault }
    }
}

/// Where a path leads.
fn addr_of(doors: &BTreeMap<SocketAddr, Door>, addr: SocketAddr) -> SocketAddr {
    match doors.get(&addr) {
        Some(Door::Path(route)) => route.to,
        Some(Door::Host(_)) | None => addr,
    }
}

/// The server's side.
impl Wire {
    /// An address that nobody had before.
    pub(super) fn place(&mut self) -> SocketAddr {
        self.port += 1;
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Whether nothing serves at this address.
    pub(super) fn is_free(&self, addr: SocketAddr) -> bool {
        match self.doors.get(&addr) {
            Some(Door::Host(host)) => !self.hosts[*host].is_up(),
            Some(Door::Path(_)) => false,
            None => true,
        }
    }

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

    fn receive(&mut self, host: usize, request: RequestId, body: Bytes) {
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

    fn hang_up(&mut self, host: usize, request: RequestId) {
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

/// Paths that do harm.
impl Wire {
    /// Puts a path before an address.
    pub(super) fn lay(&mut self, to: SocketAddr) -> SocketAddr {
        let addr = self.place();
        let route = Route {
            to,
            kinds: Vec::new(),
            percent: 0,
            harmed: 0,
        };
        self.doors.insert(addr, Door::Path(route));
        addr
    }

    /// Takes it away, and what is under way with it.
    pub(super) fn tear(&mut self, path: SocketAddr) {
        self.doors.remove(&path);
        self.cut();
    }

    /// What harm it does from now on.
    pub(super) fn set_harm(&mut self, path: SocketAddr, kinds: &[Harm], percent: u8) {
        if let Some(Door::Path(route)) = self.doors.get_mut(&path) {
            route.kinds = kinds.to_vec();
            route.percent = percent.into();
        }
    }

    /// How much it has done.
    pub(super) fn harmed(&self, path: SocketAddr) -> u64 {
        match self.doors.get(&path) {
            Some(Door::Path(route)) => route.harmed,
            Some(Door::Host(_)) | None => 0,
        }
    }

    /// Whether nothing passes.
    pub(super) fn set_silent(&mut self, silent: bool) {
        self.net.conditions.outages.clear();
        self.net.conditions.outages.extend(silent.then_some(Outage {
            from: self.now,
            until: u64::MAX,
            fate: Fate::Lose,
        }));
    }

    /// Resets all connections.
    pub(super) fn cut(&mut self) {
        self.net.kill(self.now);
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
