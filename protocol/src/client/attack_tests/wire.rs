//! What carries requests and answers, and what it does to them.

use super::*;

impl World {
    // --- the wire ------------------------------------------------------------------------------------------

    pub(super) fn send_request(&mut self, request: Request) {
        let exchange = request.exchange.number();
        let body = request.body.into_bytes();
        note!(self, "C> e{exchange} {} bytes", body.len());
        if self.ghosts.len() < 50 {
            self.ghosts.push(body.clone());
        }
        if self.rng.chance(self.faults.lose) || self.lost_request == Some(exchange) {
            note!(self, "   lost");
            return;
        }
        if self.rng.chance(self.faults.fail) {
            note!(self, "   fails");
            let why = self.rng.pick(&[
                Failure::Cut,
                Failure::TimedOut,
                Failure::TooLarge,
                Failure::Middlebox { status: 502 },
            ]);
            self.post(Packet::Failure(exchange, why));
            if self.rng.chance(50) {
                return;
            }
        }
        let copies = 1 + u64::from(self.rng.chance(self.faults.double)) * (1 + self.rng.below(3));
        for _ in 0..copies {
            self.requests += 1;
            let rid = RequestId::new(self.requests);
            self.open_requests.push((rid, exchange));
            let body = self.damaged(body.clone());
            self.post(Packet::Request(rid, body));
            if self.rng.chance(self.faults.hangup) {
                self.post(Packet::Hangup(rid));
                self.post(Packet::Failure(exchange, Failure::Cut));
            }
        }
    }

    pub(super) fn damaged(&mut self, body: Bytes) -> Bytes {
        if !self.rng.chance(self.faults.damage) || body.is_empty() {
            return body;
        }
        let at = self.rng.below(body.len() as u64) as usize;
        if self.rng.chance(50) {
            return body.slice(..at);
        }
        let mut bad = body.to_vec();
        bad[at] ^= 1 << self.rng.below(8);
        bad.into()
    }

    pub(super) fn send_answer(&mut self, rid: RequestId, exchange: u64, body: Bytes) {
        note!(self, "S> e{exchange} {rid:?} {} bytes", body.len());
        let before = self.open_requests.len();
        self.open_requests.retain(|(r, _)| *r != rid);
        assert!(before > self.open_requests.len(), "answered twice: {rid:?}");
        self.answers += 1;
        if self.rng.chance(self.faults.lose) || self.lost_answer == Some(self.answers - 1) {
            note!(self, "   lost");
            return;
        }
        if self.rng.chance(self.faults.fail) {
            note!(self, "   fails");
            self.post(Packet::Failure(exchange, Failure::Cut));
            if self.rng.chance(50) {
                self.post(Packet::Hangup(rid));
            }
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.faults.double));
        for _ in 0..copies {
            let body = self.damaged(body.clone());
            self.post(Packet::Answer(exchange, body));
        }
    }

    pub(super) fn arrive(&mut self, packet: Packet) {
        let now = self.at();
        match packet {
            Packet::Request(rid, body) => {
                if !self.open_requests.iter().any(|(r, _)| *r == rid) {
                    return; // its connection has gone
                }
                let route = self.router.route(now, &body);
                note!(
                    self,
                    "S< {rid:?} {}",
                    match &route {
                        Route::Session(()) => "session",
                        Route::Opening { .. } => "opening",
                        Route::Reject(_) => "reject",
                        Route::NotOurs => "not ours",
                    }
                );
                let reject = match route {
                    Route::Session(()) => {
                        let server = self.server.as_mut().unwrap();
                        server.feed_request(now, rid, body).err()
                    }
                    Route::Opening { opening, .. } => {
                        assert!(self.server.is_none(), "a ghost opens a session");
                        let mut server = Server::new(self.config.clone(), opening, Nonce(3), now);
                        self.router.insert(server.id(), ());
                        let err = server.feed_request(now, rid, body).err();
                        self.server = Some(server);
                        err
                    }
                    Route::Reject(reject) => Some(reject),
                    Route::NotOurs => {
                        let exchange = self.exchange_of(rid);
                        self.post(Packet::Failure(exchange, Failure::Refused { status: 400 }));
                        None
                    }
                };
                if let Some(reject) = reject {
                    let exchange = self.exchange_of(rid);
                    note!(self, "   rejected e{exchange}");
                    self.send_answer(rid, exchange, reject.body().into_bytes());
                }
            }
            Packet::Answer(exchange, body) => {
                let known = self
                    .client
                    .feed_response(now, ExchangeId(exchange), body)
                    .is_ok();
                note!(
                    self,
                    "C< e{exchange} {}",
                    if known { "" } else { "unknown" }
                );
            }
            Packet::Failure(exchange, why) => {
                let known = self
                    .client
                    .feed_failure(now, ExchangeId(exchange), why)
                    .is_ok();
                note!(
                    self,
                    "C< e{exchange} {why:?} {}",
                    if known { "" } else { "unknown" }
                );
            }
            Packet::Hangup(rid) => {
                note!(self, "S< hangup {rid:?}");
                self.open_requests.retain(|(r, _)| *r != rid);
                if let Some(server) = &mut self.server {
                    server.feed_hangup(now, rid);
                }
            }
        }
    }

    pub(super) fn exchange_of(&self, rid: RequestId) -> u64 {
        self.open_requests
            .iter()
            .find(|(r, _)| *r == rid)
            .map_or(0, |(_, e)| *e)
    }
}
