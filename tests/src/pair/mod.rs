//! Clients and servers over one network, stepped from one moment at which something happens to the next.
//!
//! Every step is checked: no busy loop (C5), no endless polling (L6), no time that stands still. On a panic the
//! seed and the last lines of the trace are printed.

mod drive;

use crate::app::{Script, Talker};
use crate::end::End;
use crate::host::Host;
use crate::net::{Delivery, Net};
use crate::oracle::{FlowKey, Ledger, Side};
use crate::rng::Rng;
use crate::settings;
use bytes::Bytes;
use drive::{assert_moved_on, feed_if_due};
use posthole_protocol::{Client, Config, Instant, RequestId, Server, SessionId, StreamId};
use std::collections::BTreeSet;

/// A virtual world. The name is for its usual population.
pub struct Pair {
    /// Microseconds since the beginning.
    pub now: u64,
    /// What all chance in it comes from.
    pub seed: u64,
    /// The clients.
    pub clients: Vec<End<Client>>,
    /// The server processes; faults say which one a request reaches.
    pub hosts: Vec<Host>,
    /// What lies between.
    pub net: Net,
    /// What was written and read.
    pub ledger: Ledger,
    /// Answers to requests that the test itself put before a server.
    pub ghosts: Vec<(RequestId, Bytes)>,
    /// What has come for ends that sleep.
    late: Vec<Delivery>,
    /// When the first of them may have woken.
    late_until: Option<u64>,
    still: u32,
    next_ghost: u64,
    rng: Rng,
}

/// How many steps at one moment mean that time stands still.
const STILL: u32 = 2_000;
/// How many outputs in a row are an endless stream of them.
const MANY: u32 = 10_000;
/// Request ids from here on are the test's own.
const GHOSTS: u64 = 1 << 40;

impl Pair {
    /// One client and one server, both as tuned.
    pub fn new(seed: u64) -> Pair {
        Pair::with(seed, settings::tuned())
    }

    /// One client and one server of this configuration.
    pub fn with(seed: u64, config: Config) -> Pair {
        Pair::many(seed, 1, config.clone(), config)
    }

    /// So many clients, and one server.
    pub fn many(seed: u64, clients: usize, client: Config, server: Config) -> Pair {
        let mut pair = Pair {
            // Not zero: nothing may depend on where the embedder's clock begins.
            now: 1_000_000,
            seed,
            clients: Vec::new(),
            hosts: Vec::new(),
            net: Net::new(seed),
            ledger: Ledger::default(),
            ghosts: Vec::new(),
            late: Vec::new(),
            late_until: None,
            still: 0,
            next_ghost: GHOSTS,
            rng: Rng::new(seed),
        };
        pair.add_host(server);
        for _ in 0..clients {
            pair.add_client(client.clone());
        }
        pair
    }

    /// Starts another server process.
    pub fn add_host(&mut self, config: Config) -> usize {
        let seed = self.rng.draw();
        let mut host = Host::new(config, settings::router(), seed, self.now);
        for end in &self.clients {
            host.known.insert(end.machine.id(), end.session);
        }
        self.hosts.push(host);
        self.hosts.len() - 1
    }

    /// Starts another client.
    pub fn add_client(&mut self, config: Config) -> usize {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.rng.draw().to_be_bytes());
        id[8..].copy_from_slice(&self.rng.draw().to_be_bytes());
        let id = SessionId::from_bytes(id);
        let number = self.clients.len();
        let mut machine = Client::new(config, id, Instant::from_micros(self.now));
        machine.reads_pieces();
        self.clients.push(End::new(machine, Side::Client, number));
        self.net.add_client(id);
        for host in &mut self.hosts {
            host.known.insert(id, number);
        }
        number
    }

    /// What servers do with streams that clients open, from now on.
    pub fn serve(&mut self, script: Script) {
        for host in &mut self.hosts {
            host.on_accept = Some(script);
        }
    }

    /// The first client.
    pub fn client(&mut self) -> &mut End<Client> {
        &mut self.clients[0]
    }

    /// The first client's session at the first server, if it is there.
    pub fn server(&mut self) -> Option<&mut End<Server>> {
        let index = self.hosts[0].session_of(0)?;
        Some(&mut self.hosts[0].sessions[index])
    }

    /// The first client's only talker.
    pub fn talker(&self) -> &Talker {
        self.clients[0]
            .talkers
            .values()
            .next()
            .expect("the test plays a script before it asks")
    }

    /// The only talker of its session at the first server.
    pub fn server_talker(&self) -> &Talker {
        let session = self.hosts[0].session_of(0);
        let end = session.map(|session| &self.hosts[0].sessions[session]);
        end.and_then(|end| end.talkers.values().next())
            .expect("the test lets the server accept before it asks")
    }

    /// Whether the first client's session at the first server has a talker for this stream.
    pub fn hears_of(&self, stream: StreamId) -> bool {
        let session = self.hosts[0].session_of(0);
        let end = session.map(|session| &self.hosts[0].sessions[session]);
        end.is_some_and(|end| end.talkers.contains_key(&stream))
    }

    /// The key of a flow of the first client's session.
    pub fn key(&self, stream: StreamId, from: Side) -> FlowKey {
        FlowKey {
            session: 0,
            stream: stream.number(),
            from,
        }
    }

    /// Lets everybody act on what the test did to a machine by hand.
    pub fn settle(&mut self) {
        for client in 0..self.clients.len() {
            self.pump_client(client);
        }
        for host in 0..self.hosts.len() {
            for index in 0..self.hosts[host].sessions.len() {
                self.pump_server(host, index);
            }
        }
    }

    /// Moves to the next moment at which something happens, at most to `limit`. False if nothing ever will.
    pub fn step(&mut self, limit: u64) -> bool {
        let Some(next) = self.next_time().filter(|&next| next <= limit) else {
            self.now = self.now.max(limit);
            return false;
        };
        self.still = if next > self.now { 0 } else { self.still + 1 };
        assert!(self.still < STILL, "time stands still at {}", self.now);
        self.now = self.now.max(next);
        // Waiting input comes before deadlines (A19).
        if self.late_until.is_some_and(|until| until <= self.now) {
            self.late_until = None;
            for delivery in std::mem::take(&mut self.late) {
                self.deliver(delivery);
            }
        }
        while let Some(delivery) = self.net.take(self.now) {
            self.deliver(delivery);
        }
        for client in 0..self.clients.len() {
            let end = &mut self.clients[client];
            let due = end.asleep_until <= self.now && feed_if_due(end, self.now);
            let wants = end
                .wake()
                .is_some_and(|at| at.max(end.asleep_until) <= self.now);
            if due || wants {
                let did = self.pump_client(client);
                assert_moved_on(&self.clients[client], self.now, due, did);
            }
        }
        for host in 0..self.hosts.len() {
            for index in 0..self.hosts[host].sessions.len() {
                let end = &mut self.hosts[host].sessions[index];
                let due = end.asleep_until <= self.now && feed_if_due(end, self.now);
                let wants = end
                    .wake()
                    .is_some_and(|at| at.max(end.asleep_until) <= self.now);
                if due || wants {
                    let did = self.pump_server(host, index);
                    assert_moved_on(&self.hosts[host].sessions[index], self.now, due, did);
                }
            }
        }
        true
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, micros: u64) {
        let limit = self.now + micros;
        self.settle();
        while self.step(limit) {}
    }

    /// Runs until the condition holds, at most so long. Whether it holds.
    pub fn run_until(&mut self, micros: u64, condition: impl Fn(&Pair) -> bool) -> bool {
        let limit = self.now + micros;
        self.settle();
        while !condition(self) {
            if !self.step(limit) {
                return condition(self);
            }
        }
        true
    }

    /// Runs until every application is done and checks that everything was delivered.
    ///
    /// # Panics
    /// If that takes longer than `micros`, or the oracle says no.
    pub fn run_to_end(&mut self, micros: u64) {
        let done = self.run_until(micros, Pair::is_done);
        assert!(done, "not done after {} s", micros / 1_000_000);
        self.ledger.assert_all_delivered();
    }

    /// Whether every application at both ends is done, and each stream has one at both ends.
    pub fn is_done(&self) -> bool {
        let live = self.hosts.iter().flat_map(|host| host.sessions.iter());
        used(self.clients.iter()) == used(live.clone())
            && self.clients.iter().all(End::is_done)
            && live.clone().all(End::is_done)
    }

    /// An end neither hears nor acts for so long: its clock goes on.
    pub fn sleep(&mut self, side: Side, micros: u64) {
        let until = self.now + micros;
        self.late_until = self.late_until.map(|first| first.min(until));
        match side {
            Side::Client => self
                .clients
                .iter_mut()
                .for_each(|end| end.asleep_until = until),
            Side::Server => {
                let sessions = self
                    .hosts
                    .iter_mut()
                    .flat_map(|host| host.sessions.iter_mut());
                sessions.for_each(|end| end.asleep_until = until);
            }
        }
    }

    /// A server process is started anew: it knows nothing of before.
    pub fn restart(&mut self, host: usize) {
        self.net.kill_host(self.now, host);
        let (config, on_accept) = (self.hosts[host].config.clone(), self.hosts[host].on_accept);
        let known = self.hosts[host].known.clone();
        self.hosts[host] = Host::new(config, settings::router(), self.rng.draw(), self.now);
        self.hosts[host].on_accept = on_accept;
        self.hosts[host].known = known;
    }

    /// Puts a request before a server as from nowhere; its answer, if any comes, will be among the ghosts.
    pub fn inject(&mut self, host: usize, body: Bytes) -> RequestId {
        let request = RequestId::new(self.next_ghost);
        self.next_ghost += 1;
        self.receive(host, request, body);
        request
    }

    /// A box gives a client another's answer as that of its own exchange of this number, if that is open.
    pub fn misdeliver(&mut self, client: usize, exchange: u64, body: Bytes) {
        if let Some(exchange) = self.net.steal(self.now, client, exchange) {
            self.deliver(Delivery::Answer {
                client,
                exchange,
                body,
            });
        }
    }

    /// The seed and the trace, as printed on failure.
    pub fn story(&self) -> String {
        format!("seed {}\n{}", self.seed, self.net.trace.text())
    }
}

/// Which streams have applications: of which session, and their numbers.
fn used<'a, M: 'a>(ends: impl Iterator<Item = &'a End<M>>) -> BTreeSet<(usize, u64)> {
    ends.flat_map(|end| end.talkers.keys().map(|id| (end.session, id.number())))
        .collect()
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
    }
}
