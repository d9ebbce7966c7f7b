//! What the machines say, and what applications hear of it.

use super::{At, Call, ORIGIN, WORDS, World};
use posthole_protocol::{CloseReason, Duration, Event, Instant, Read, RequestId};

/// How many times in a row the machines may have something to say without anything happening.
const CHATTER: usize = 200;

impl World {
    pub(super) fn settle(&mut self) {
        for _ in 0..CHATTER {
            if !self.step() {
                return;
            }
        }
        self.wrong = Some("endless talk");
    }

    /// Takes all that the machines have to say; whether there was anything.
    fn step(&mut self) -> bool {
        let mut any = false;
        if self.can_dial && !self.dials && self.wire.is_none() && self.client.poll_dial().is_some()
        {
            (self.dials, any) = (true, true);
        }
        while let Some(request) = self.client.poll_request(self.times[0]) {
            any = true;
            let body = request.body.into_bytes();
            if request.long {
                if let Some(wire) = &mut self.wire {
                    wire.up.push_back(body);
                }
                let _ = self.client.feed_written(self.times[0], request.exchange);
                continue;
            }
            self.calls.push(Call {
                exchange: request.exchange,
                request: RequestId::new(request.exchange.number()),
                at: At::Up(body),
                waits: true,
            });
        }
        while let Some(exchange) = self.client.poll_cancel() {
            any = true;
            if self
                .wire
                .as_ref()
                .is_some_and(|wire| wire.exchange == exchange)
            {
                self.cut();
            }
            for call in &mut self.calls {
                call.waits &= call.exchange != exchange;
            }
            self.calls
                .retain(|call| call.waits || !matches!(call.at, At::Down(_) | At::Nowhere));
        }
        while let Some(server) = &mut self.server
            && let Some(response) = server.poll_response(self.times[1])
        {
            any = true;
            self.answer(response.request, response.body.into_bytes(), response.last);
        }
        any | self.hear(0) | self.hear(1)
    }

    /// What a side's application hears, and reads.
    fn hear(&mut self, side: usize) -> bool {
        let mut any = false;
        loop {
            let event = match (side, &mut self.server) {
                (0, _) => self.client.poll_event(),
                (_, Some(server)) => server.poll_event(),
                (_, None) => None,
            };
            let Some(event) = event else { break };
            any = true;
            self.apps[side].connected |= event == Event::Connected;
            if let Event::Closed(reason) = event {
                self.apps[side].closed = Some(matches!(
                    reason,
                    CloseReason::Local | CloseReason::Peer { code: 0, .. }
                ));
            }
        }
        let accepted = match (side, &mut self.server) {
            (0, _) => self.client.accept(),
            (_, Some(server)) => server.accept(),
            (_, None) => None,
        };
        if let Some(id) = accepted {
            any = true;
            if self.apps[side].theirs.replace(id).is_some() {
                self.wrong = Some("a stream that nobody opened");
            }
        }
        let Some(id) = self.apps[side].theirs.filter(|_| !self.apps[side].ended) else {
            return any;
        };
        while let Some(mut stream) = self.stream(side, id) {
            match stream.read(100) {
                Ok(Read::Chunk(bytes)) => {
                    any = true;
                    self.apps[side].got.extend_from_slice(&bytes);
                }
                Ok(Read::End) => {
                    self.apps[side].ended = true;
                    any = true;
                    break;
                }
                Ok(Read::Blocked) | Err(_) => break,
            }
        }
        let whole = WORDS.concat();
        let (got, said) = (&self.apps[side].got, self.apps[1 - side].said);
        let said: usize = WORDS.iter().take(said).map(|word| word.len()).sum();
        if !whole.starts_with(got) || got.len() > said {
            self.wrong = Some("other bytes than were written");
        }
        let closing = self.apps.iter().any(|app| app.closed.is_some()) || self.closing;
        if self.apps[side].ended && !closing && (*got != whole || !self.apps[1 - side].finished) {
            self.wrong = Some("an end before the end");
        }
        any
    }

    /// Makes worlds equal that differ only in when they were reached, and in the order of what does not matter.
    pub(super) fn relate(&mut self) {
        let by = self.client.earliest().since(ORIGIN);
        self.client.rebase(Instant::ZERO.checked_add(by).unwrap());
        self.times[0] = earlier(self.times[0], by);
        if let Some(server) = &mut self.server {
            let by = server.earliest().since(ORIGIN);
            server.rebase(Instant::ZERO.checked_add(by).unwrap());
            self.times[1] = earlier(self.times[1], by);
        }
        self.calls.sort_by_key(|call| call.request);
    }
}

fn earlier(at: Instant, by: Duration) -> Instant {
    let by = u64::try_from(by.as_micros()).unwrap();
    Instant::from_micros(at.as_micros() - by)
}
