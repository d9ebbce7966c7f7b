//! Two applications that know what the other has written.

use super::*;

impl World {
    // --- the applications ----------------------------------------------------------------------------------

    pub(super) fn stream(&mut self, side: usize, id: StreamId) -> Option<Stream<'_>> {
        if side == 0 {
            self.client.stream(id)
        } else {
            self.server.as_mut()?.stream(id)
        }
    }

    pub(super) fn learn(&mut self, side: usize, id: StreamId) {
        self.known[side].push(id);
        for s in [0, 1] {
            self.flows.entry((id.number(), s)).or_default();
        }
    }

    pub(super) fn open(&mut self, side: usize) {
        let id = if side == 0 {
            self.client.open()
        } else {
            match &mut self.server {
                Some(server) => server.open(),
                None => return,
            }
        };
        match id {
            Ok(id) => {
                note!(self, "{side}: opens {id}");
                self.learn(side, id);
                self.read_all(side, id);
            }
            Err(OpenError::Full) => self.full[side] = true,
            Err(OpenError::Closed) => {
                assert!(self.closing[0] || self.closing[1], "{side} can't open")
            }
        }
    }

    pub(super) fn accept(&mut self, side: usize) {
        loop {
            let id = if side == 0 {
                self.client.accept()
            } else {
                self.server.as_mut().and_then(Server::accept)
            };
            let Some(id) = id else { return };
            note!(self, "{side}: accepts {id}");
            self.learn(side, id);
        }
    }

    /// Writes what is pending, and says whether that went on.
    pub(super) fn write(&mut self, side: usize, id: StreamId) -> bool {
        let key = (id.number(), side);
        let (written, pending) = (self.flows[&key].written, self.flows[&key].pending);
        let mut data: Bytes = (written..written + pending)
            .map(|o| byte(key.0, side, o))
            .collect();
        let Some(mut stream) = self.stream(side, id) else {
            return true;
        };
        let result = stream.write(&mut data);
        let closing = self.closing[0] || self.closing[1];
        let flow = self.flows.get_mut(&key).unwrap();
        match result {
            Ok(n) => {
                flow.written += n as u64;
                flow.pending -= n as u64;
                assert!(!flow.finished && !flow.reset);
                n > 0 || pending == 0
            }
            Err(WriteError::Stopped(_)) => {
                assert!(flow.stopped);
                flow.pending = 0;
                true
            }
            Err(WriteError::Finished) => {
                assert!(flow.finished || flow.reset);
                flow.pending = 0;
                true
            }
            Err(_) => {
                assert!(closing, "write: closed");
                flow.pending = 0;
                true
            }
        }
    }

    /// Reads at most `max` bytes; says whether there was anything to tell.
    pub(super) fn read(&mut self, side: usize, id: StreamId, max: usize) -> bool {
        let key = (id.number(), 1 - side);
        let Some(mut stream) = self.stream(side, id) else {
            return true;
        };
        let result = stream.read(max);
        let closing = self.closing[0] || self.closing[1];
        let flow = self.flows.get_mut(&key).unwrap();
        match result {
            Ok(Read::Chunk(bytes)) => {
                assert!(!flow.ended && flow.failed.is_none() && !flow.stopped);
                assert!(flow.read + bytes.len() as u64 <= flow.written, "too much");
                for b in bytes {
                    assert_eq!(b, byte(key.0, key.1, flow.read), "{key:?} at {}", flow.read);
                    flow.read += 1;
                }
                true
            }
            Ok(Read::Blocked) => {
                assert!(flow.failed.is_none() && !flow.ended);
                false
            }
            Ok(Read::End) => {
                assert!(
                    flow.finished && flow.read == flow.written,
                    "{key:?} {flow:?}"
                );
                flow.ended = true;
                true
            }
            Err(why) => {
                match why {
                    ReadError::Reset(_) => assert!(flow.reset || flow.stopped, "{key:?} {flow:?}"),
                    ReadError::Stopped => assert!(flow.stopped, "{key:?} {flow:?}"),
                    ReadError::Closed => assert!(closing, "{key:?} {flow:?}"),
                }
                flow.failed = Some(why);
                true
            }
        }
    }

    pub(super) fn read_all(&mut self, side: usize, id: StreamId) {
        let key = (id.number(), 1 - side);
        loop {
            let told = self.read(side, id, usize::MAX);
            let gone = self.stream(side, id).is_none();
            if !told || self.flows[&key].ended || self.flows[&key].failed.is_some() || gone {
                return;
            }
        }
    }

    pub(super) fn events(&mut self, side: usize) {
        loop {
            let event = if side == 0 {
                self.client.poll_event()
            } else {
                self.server.as_mut().and_then(Server::poll_event)
            };
            let Some(event) = event else { return };
            note!(self, "{side}: {event:?}");
            assert!(self.closed[side].is_none(), "C7: {event:?} after Closed");
            match event {
                Event::Learned(_) => {}
                Event::Connected => {}
                Event::Incoming => {
                    let known = self.known[side].len();
                    self.accept(side);
                    let new = self.known[side].split_off(known);
                    self.known[side].extend(&new);
                    for id in new {
                        self.read_all(side, id);
                    }
                }
                Event::CanOpen => {
                    self.full[side] = false;
                    self.open(side);
                    assert!(!self.full[side] || self.closing[0] || self.closing[1]);
                }
                Event::Readable(id) => {
                    let max = 1 + self.rng.below(1000) as usize;
                    assert!(self.read(side, id, max), "not readable: {id}");
                    self.read_all(side, id);
                }
                Event::Writable(id) => {
                    assert!(self.write(side, id), "not writable: {id}");
                }
                Event::Finished(id) => {
                    let flow = self.flows.get_mut(&(id.number(), side)).unwrap();
                    assert!(flow.finished && !flow.finished_told, "{id} {flow:?}");
                    flow.finished_told = true;
                }
                Event::Closed(why) => self.closed[side] = Some(why),
            }
        }
    }

    pub(super) fn op(&mut self) {
        let side = self.rng.below(2) as usize;
        let count = self.known[side].len() as u64;
        let recent = count - self.rng.below(count.min(4) + 1).min(count);
        let some = if count == 0 {
            None
        } else {
            let at = if self.rng.chance(50) {
                recent.min(count - 1)
            } else {
                self.rng.below(count)
            };
            Some(self.known[side][at as usize])
        };
        let what = self.rng.below(100);
        let Some(id) = some.filter(|_| what >= 10) else {
            match what {
                0..6 => self.open(side),
                6..9 => self.accept(side),
                _ => self.events(side),
            }
            return;
        };
        let key = (id.number(), side);
        match what {
            10..40 => {
                let size = self.rng.pick(&[0, 1, 1, 10, 100, 3000, 20_000, 200_000]);
                note!(self, "{side}: writes {size} to {id}");
                let flow = self.flows.get_mut(&key).unwrap();
                if !flow.finished && !flow.reset {
                    flow.pending += size;
                    self.write(side, id);
                }
            }
            40..75 => {
                let max = self.rng.pick(&[1, 10, 1000, 100_000, usize::MAX]);
                self.read(side, id, max);
            }
            75..80 => self.events(side),
            80..86 => {
                if let Some(mut stream) = self.stream(side, id) {
                    stream.finish();
                    note!(self, "{side}: finishes {id}");
                    let flow = self.flows.get_mut(&key).unwrap();
                    flow.pending = 0;
                    flow.finished = true;
                }
            }
            86..89 => {
                if let Some(mut stream) = self.stream(side, id) {
                    stream.reset(ResetCode(7));
                    note!(self, "{side}: resets {id}");
                    let flow = self.flows.get_mut(&key).unwrap();
                    flow.pending = 0;
                    flow.reset = true;
                }
            }
            89..92 => {
                if let Some(mut stream) = self.stream(side, id) {
                    stream.stop(ResetCode(8));
                    note!(self, "{side}: stops {id}");
                    self.flows
                        .get_mut(&(id.number(), 1 - side))
                        .unwrap()
                        .stopped = true;
                }
            }
            _ => {
                let time = self.rng.pick(&[0, MS, 30 * MS, SEC, 5 * SEC]);
                let until = self.now + self.rng.below(time + 1);
                self.run(until);
            }
        }
    }

    pub(super) fn run(&mut self, until: u64) {
        let (mut steps, mut last) = (0, self.now);
        while self.now < until {
            self.step(until);
            steps = if self.now == last { steps + 1 } else { 0 };
            last = self.now;
            assert!(steps < 1000, "spins at {}", self.now);
        }
        self.drain();
    }

    /// Lets time pass with applications that only do what events ask for.
    pub(super) fn settle(&mut self, until: u64) {
        for side in [0, 1] {
            self.accept(side);
            for id in self.known[side].clone() {
                self.write(side, id);
                self.read_all(side, id);
            }
        }
        let mut steps = 0;
        while self.now < until {
            self.step(until);
            self.events(0);
            self.events(1);
            steps += 1;
            assert!(steps < 100_000, "no rest");
        }
        self.drain();
    }
}
