//! Feeding the machines and taking what they say, as a runtime would.

use super::{GHOSTS, MANY, Pair};
use crate::end::{End, Machine, written};
use crate::host::Taken;
use crate::net::{Delivery, direct};
use bytes::Bytes;
use posthole_protocol::{Failure, Instant, RequestId};

impl Pair {
    pub(super) fn next_time(&self) -> Option<u64> {
        let clients = self.clients.iter().filter_map(next_of);
        let servers = self
            .hosts
            .iter()
            .flat_map(|host| host.sessions.iter())
            .filter_map(next_of);
        clients
            .chain(servers)
            .chain(self.late_until)
            .chain(self.net.next())
            .min()
    }

    /// Until when the end that a delivery is for sleeps; `None` if it is awake.
    fn asleep_until(&self, delivery: &Delivery) -> Option<u64> {
        let until = match delivery {
            Delivery::Request { host, .. }
            | Delivery::Hangup { host, .. }
            | Delivery::Said { host, .. } => self.hosts[*host]
                .sessions
                .iter()
                .map(|end| end.asleep_until)
                .max()
                .unwrap_or(0),
            Delivery::Answer { client, .. }
            | Delivery::Failed { client, .. }
            | Delivery::Bundles { client, .. }
            | Delivery::Written { client, .. }
            | Delivery::Dialled { client, .. }
            | Delivery::Progress { client, .. } => self.clients[*client].asleep_until,
        };
        (until > self.now).then_some(until)
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        if let Some(until) = self.asleep_until(&delivery) {
            let first = self.late_until.map_or(until, |first| first.min(until));
            self.late_until = Some(first);
            self.late.push(delivery);
            return;
        }
        let now = Instant::from_micros(self.now);
        match delivery {
            Delivery::Request {
                host,
                request,
                body,
            } => self.receive(host, request, body),
            Delivery::Hangup { host, request } => {
                if let Some(index) = self.hosts[host].hangup(self.now, request) {
                    self.pump_server(host, index);
                }
            }
            // An error value says that the client has given the exchange up; that is no news to anybody.
            Delivery::Answer {
                client,
                exchange,
                body,
            } => {
                let _ = self.clients[client]
                    .machine
                    .feed_response(now, exchange, body);
                self.pump_client(client);
            }
            Delivery::Failed {
                client,
                exchange,
                why,
            } => {
                let _ = self.clients[client]
                    .machine
                    .feed_failure(now, exchange, why);
                self.pump_client(client);
            }
            Delivery::Bundles {
                client,
                exchange,
                body,
            } => {
                let machine = &mut self.clients[client].machine;
                let _ = machine.feed_bundles(now, exchange, body);
                self.pump_client(client);
            }
            Delivery::Written { client, exchange } => {
                let machine = &mut self.clients[client].machine;
                let follows_at = machine.follows_at(exchange);
                written(machine, now, follows_at, |machine| {
                    let _ = machine.feed_written(now, exchange);
                });
                self.pump_client(client);
            }
            Delivery::Said { host, request } => {
                if let Some(index) = self.hosts[host].said(self.now, request) {
                    self.pump_server(host, index);
                }
            }
            Delivery::Dialled { client, there } => {
                let machine = &mut self.clients[client].machine;
                if !there {
                    machine.feed_undialled(now);
                } else if let Some(exchange) = machine.feed_dialled(now) {
                    self.net.connected(self.now, client, exchange);
                }
                self.pump_client(client);
            }
            Delivery::Progress { client, exchange } => {
                let _ = self.clients[client].machine.feed_progress(now, exchange);
                self.pump_client(client);
            }
        }
    }

    pub(super) fn receive(&mut self, host: usize, request: RequestId, body: Bytes) {
        match self.hosts[host].take(self.now, request, body) {
            Taken::By(index) => {
                self.pump_server(host, index);
            }
            Taken::Answer(chain) if direct::is_wire(request) => {
                self.net.say(self.now, request, chain.into_bytes(), true);
            }
            Taken::NotOurs if direct::is_wire(request) => {}
            Taken::Answer(chain) => {
                self.net.turned_away(request);
                self.respond(request, chain.into_bytes());
            }
            Taken::NotOurs if request.number() >= GHOSTS => {}
            Taken::NotOurs => {
                self.net
                    .refuse(self.now, request, Failure::Middlebox { status: 400 })
            }
        }
    }

    fn respond(&mut self, request: RequestId, body: Bytes) {
        if request.number() >= GHOSTS {
            self.ghosts.push((request, body));
        } else {
            self.net.answer(self.now, request, body);
        }
    }

    /// Takes all outputs of a client. Whether there was any.
    pub(super) fn pump_client(&mut self, client: usize) -> bool {
        let now = Instant::from_micros(self.now);
        if self.clients[client].asleep_until > self.now {
            return false;
        }
        let mut any = false;
        for round in 0.. {
            assert!(round < MANY, "client {client}: outputs without end (L6)");
            let mut did = self.clients[client].pump(self.now, &mut self.ledger);
            while let Some(exchange) = self.clients[client].machine.poll_cancel() {
                self.net.cancel(self.now, client, exchange);
                did = true;
            }
            while let Some(dial) = self.clients[client].machine.poll_dial() {
                self.net.dial(self.now, client, dial);
                did = true;
            }
            while let Some(request) = self.clients[client].machine.poll_request(now) {
                if request.long {
                    self.net.write(self.now, client, request);
                } else {
                    self.net.send(self.now, client, request);
                }
                did = true;
                assert!(
                    self.net.open(client) < 100,
                    "client {client}: requests without end (L6)"
                );
            }
            if !did {
                break;
            }
            any = true;
        }
        any
    }

    /// Takes all outputs of a server's session. Whether there was any.
    pub(super) fn pump_server(&mut self, host: usize, index: usize) -> bool {
        let now = Instant::from_micros(self.now);
        if self.hosts[host].sessions[index].asleep_until > self.now {
            return false;
        }
        let mut any = false;
        for round in 0.. {
            assert!(round < MANY, "session {index}: outputs without end (L6)");
            let end = &mut self.hosts[host].sessions[index];
            let mut did = end.pump(self.now, &mut self.ledger);
            while let Some(response) = self.hosts[host].sessions[index].machine.poll_response(now) {
                let body = response.body.into_bytes();
                if direct::is_wire(response.request) {
                    self.net
                        .say(self.now, response.request, body, response.last);
                } else if response.last {
                    self.respond(response.request, body);
                } else if response.request.number() < GHOSTS {
                    self.net.piece(self.now, response.request, body);
                }
                did = true;
            }
            if !did {
                break;
            }
            any = true;
        }
        self.hosts[host].bury_if_over(self.now, index);
        any
    }
}

fn next_of<M: Machine>(end: &End<M>) -> Option<u64> {
    let deadline = end.machine.next_timeout().map(Instant::as_micros);
    let next = [deadline, end.wake()].into_iter().flatten().min()?;
    Some(next.max(end.asleep_until))
}

pub(super) fn feed_if_due<M: Machine>(end: &mut End<M>, now: u64) -> bool {
    let due = end
        .machine
        .next_timeout()
        .is_some_and(|at| at.as_micros() <= now);
    if due {
        end.machine.feed_timeout(Instant::from_micros(now));
    }
    due
}

/// C5: after a deadline was fed, either there was something to take or the next one is later.
pub(super) fn assert_moved_on<M: Machine>(end: &End<M>, now: u64, fed: bool, did: bool) {
    let next = end.machine.next_timeout().map(Instant::as_micros);
    assert!(
        !fed || did || next.is_none_or(|at| at > now),
        "C5: {:?} of session {}: fed a deadline at {now}, gave nothing, and wants {next:?} again",
        end.side,
        end.session,
    );
}
