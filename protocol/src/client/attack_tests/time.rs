//! Polls, deadlines, and what must hold after each.

use super::*;

impl World {
    // --- polls and time ------------------------------------------------------------------------------------

    pub(super) fn drain(&mut self) {
        let mut turns = 0;
        while let Some(request) = self.client.poll_request(self.at()) {
            self.send_request(request);
            self.polls += 1;
            turns += 1;
            assert!(turns < 70, "the client polls without end");
        }
        let later = Instant::from_micros(self.now + self.rng.below(SEC));
        assert!(self.client.poll_request(later).is_none(), "C2, client");
        while let Some(exchange) = self.client.poll_cancel() {
            note!(self, "C  cancels {exchange}");
            if self.rng.chance(50) {
                let rids: Vec<_> = self
                    .open_requests
                    .iter()
                    .filter(|(_, e)| *e == exchange.number())
                    .map(|(r, _)| *r)
                    .collect();
                rids.into_iter().for_each(|r| self.post(Packet::Hangup(r)));
            }
        }
        turns = 0;
        while let Some(mut server) = self.server.take() {
            let response = server.poll_response(self.at());
            if response.is_none() {
                assert!(server.poll_response(later).is_none(), "C2, server");
            }
            let over = server.is_over();
            if over {
                let _ = self.router.ended(self.at(), server.id(), &server);
            }
            self.server = Some(server);
            let Some(r) = response else { break };
            self.send_answer(r.request, r.exchange, r.body.into_bytes());
            turns += 1;
            assert!(turns < 300, "the server polls without end");
        }
    }

    pub(super) fn timers(&mut self) {
        let at = self.at();
        self.client.feed_timeout(at);
        if self.client.next_timeout().is_some_and(|t| t <= at) {
            let mut copy = self.client.clone();
            assert!(
                copy.poll_request(at).is_some() || copy.poll_cancel().is_some(),
                "C5, client at {at}: {:#?}",
                self.client
            );
        }
        if let Some(server) = &mut self.server {
            server.feed_timeout(at);
            if server.next_timeout().is_some_and(|t| t <= at) {
                let mut copy = server.clone();
                assert!(
                    copy.poll_response(at).is_some(),
                    "C5, server at {at}: {server:#?}"
                );
            }
        }
    }

    pub(super) fn check(&self) {
        self.client.session.streams.check();
        self.client.session.outbox.check();
        if let Some(server) = &self.server {
            server.check();
        }
    }

    /// Moves on to the next thing that happens, at most to `until`.
    pub(super) fn step(&mut self, until: u64) {
        self.drain();
        self.check();
        let timer = [
            self.client.next_timeout(),
            self.server.as_ref().and_then(Server::next_timeout),
        ];
        let timer = timer.into_iter().flatten().map(Instant::as_micros).min();
        let wire = self.wire.keys().next().map(|k| k.0);
        let next = timer.into_iter().chain(wire).min().unwrap_or(until);
        self.now = self.now.max(next.min(until));
        if self.rng.chance(5) {
            self.now += self.rng.below(20 * MS);
        }
        while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
            let packet = entry.remove();
            self.arrive(packet);
            if self.rng.chance(50) {
                self.drain();
            }
        }
        self.timers();
    }

    /// Lets time pass with applications that act on events alone.
    pub(super) fn settle_on(&mut self, until: u64) {
        while self.now < until {
            self.step(until);
            self.events(0);
            self.events(1);
        }
    }
}
