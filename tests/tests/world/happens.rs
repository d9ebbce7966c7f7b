//! What happens to the machines, and what applications do.

use super::{At, WORDS, World};
use bytes::Bytes;
use posthole_protocol::{
    Config, ExchangeId, Failure, Instance, Instant, Nonce, RequestId, Route, Router, RouterConfig,
    Server, Stream, StreamId,
};

impl World {
    pub(super) fn arrive(&mut self, request: RequestId, body: Bytes) {
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

    pub(super) fn wire_up(&mut self) {
        let Some(wire) = &mut self.wire else {
            return;
        };
        let request = wire.request;
        if let Some(body) = wire.up.pop_front() {
            self.arrive(request, body);
        }
    }

    /// The server has said something to this request.
    pub(super) fn answer(&mut self, request: RequestId, body: Bytes, last: bool) {
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

    pub(super) fn fail(&mut self, exchange: ExchangeId, why: Failure) {
        let _ = self.client.feed_failure(self.times[0], exchange, why);
    }

    pub(super) fn cut(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.fail(wire.exchange, Failure::Cut);
            if let Some(server) = &mut self.server {
                server.feed_hangup(self.times[1], wire.request);
            }
        }
    }

    pub(super) fn timer(&self, side: usize) -> Option<Instant> {
        match (side, &self.server) {
            (0, _) => self.client.next_timeout(),
            (_, Some(server)) => server.next_timeout(),
            (_, None) => None,
        }
    }

    pub(super) fn tick(&mut self, side: usize) {
        if let Some(at) = self.timer(side) {
            self.times[side] = self.times[side].max(at);
        }
        self.touch(side);
    }

    /// The machine learns what time it is.
    pub(super) fn touch(&mut self, side: usize) {
        match (side, &mut self.server) {
            (0, _) => self.client.feed_timeout(self.times[0]),
            (_, Some(server)) => server.feed_timeout(self.times[1]),
            (_, None) => {}
        }
    }

    pub(super) fn stream(&mut self, side: usize, id: StreamId) -> Option<Stream<'_>> {
        match (side, &mut self.server) {
            (0, _) => self.client.stream(id),
            (_, Some(server)) => server.stream(id),
            (_, None) => None,
        }
    }

    pub(super) fn can_say(&self, side: usize) -> bool {
        let app = &self.apps[side];
        !app.finished && app.closed.is_none() && (side == 0 || app.connected)
    }

    pub(super) fn say(&mut self, side: usize) {
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

    pub(super) fn close(&mut self, side: usize) {
        self.closing = true;
        match (side, &mut self.server) {
            (0, _) => self.client.close(0, ""),
            (_, Some(server)) => server.close(0, ""),
            (_, None) => {}
        }
        self.touch(side);
    }
}
