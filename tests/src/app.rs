//! Applications: what is done with one stream, driven by events alone.
//!
//! A talker reads only when told `Readable` after a `Blocked`, and writes only when told `Writable` after a write
//! that did not take everything. A core that forgets an event leaves it stuck, as it would an embedder.

use crate::end::Machine;
use crate::oracle::{FlowKey, Ledger};
use posthole_protocol::{Read, ReadError, ResetCode, StreamId, WriteError};
use std::collections::VecDeque;

/// What to do with a stream.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Bytes to write in all.
    pub send: u64,
    /// Bytes to write at once, at most.
    pub chunk: usize,
    /// Microseconds from one write to the next.
    pub pace: u64,
    /// When bytes may be written.
    pub turn: Turn,
    /// How to read.
    pub reading: Reading,
    /// Whether to finish after the last byte.
    pub finish: bool,
}

/// When bytes may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Always.
    Free,
    /// As many as were read, so much later; `send` bounds nothing.
    Echo(u64),
    /// The next `chunk` so much later than the whole echo of the last one.
    Ping(u64),
}

/// How bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// At once, all there is.
    Eager,
    /// At most so many bytes every so many microseconds.
    Slow {
        /// Bytes.
        max: usize,
        /// Microseconds.
        every: u64,
    },
    /// Never.
    Never,
}

impl Script {
    /// Writes so much as fast as it goes, finishes; reads eagerly.
    pub fn bulk(send: u64) -> Script {
        Script {
            send,
            chunk: 64 * 1024,
            pace: 0,
            turn: Turn::Free,
            reading: Reading::Eager,
            finish: true,
        }
    }

    /// Writes nothing, finishes at once; reads eagerly.
    pub fn sink() -> Script {
        Script::bulk(0)
    }

    /// Writes `send` bytes, `chunk` at a time.
    pub fn paced(send: u64, chunk: usize, pace: u64) -> Script {
        Script {
            chunk,
            pace,
            ..Script::bulk(send)
        }
    }

    /// Answers every byte with one, `delay` after it was read; finishes when the peer did.
    pub fn echo(delay: u64) -> Script {
        Script {
            turn: Turn::Echo(delay),
            ..Script::bulk(0)
        }
    }

    /// Sends `count` times `size` bytes, each after the whole echo of the last and a pause.
    pub fn ping(count: u64, size: usize, pause: u64) -> Script {
        Script {
            chunk: size,
            turn: Turn::Ping(pause),
            ..Script::bulk(count * size as u64)
        }
    }

    /// The same, reading in another way.
    pub fn reading(self, reading: Reading) -> Script {
        Script { reading, ..self }
    }

    /// The same, without an end.
    pub fn open_ended(self) -> Script {
        Script {
            finish: false,
            ..self
        }
    }
}

/// One stream's application at one end.
#[derive(Clone, Debug)]
pub struct Talker {
    /// What it does; may be changed in mid-run.
    pub script: Script,
    /// Which stream.
    pub stream: StreamId,
    /// The times from each ping to the whole of its echo.
    pub laps: Vec<u64>,
    /// What a write said other than yes.
    pub write_error: Option<WriteError>,
    /// What a read said other than yes.
    pub read_error: Option<ReadError>,
    /// Whether `Event::Finished` came.
    pub told_finished: bool,
    out: FlowKey,
    sent: u64,
    got: u64,
    may_write: bool,
    may_read: bool,
    next_write: u64,
    next_read: u64,
    finished: bool,
    ended: bool,
    ping_at: u64,
    replies: VecDeque<(u64, u64)>,
}

impl Talker {
    /// A talker for a stream; `out` is the flow that it writes.
    pub fn new(script: Script, stream: StreamId, out: FlowKey) -> Talker {
        Talker {
            script,
            stream,
            laps: Vec::new(),
            write_error: None,
            read_error: None,
            told_finished: false,
            out,
            sent: 0,
            got: 0,
            may_write: true,
            may_read: true,
            next_write: 0,
            next_read: 0,
            finished: false,
            ended: false,
            ping_at: 0,
            replies: VecDeque::new(),
        }
    }

    /// Whether it wrote and read all it ever will.
    pub fn is_done(&self) -> bool {
        (self.finished || self.write_error.is_some()) && (self.ended || self.read_error.is_some())
    }

    /// Bytes that `write` took.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that `read` gave.
    pub fn got(&self) -> u64 {
        self.got
    }

    /// The stream became readable.
    pub fn on_readable(&mut self) {
        self.may_read = true;
    }

    /// The stream became writable.
    pub fn on_writable(&mut self) {
        self.may_write = true;
    }

    /// When it wants to be stepped though nothing happens.
    pub fn wake(&self) -> Option<u64> {
        let reading = (self.may_read && self.wants_to_read()).then_some(self.next_read);
        let writing = (self.may_write && !self.finished && self.write_error.is_none()).then(|| {
            let ready = match self.script.turn {
                Turn::Free => (self.sent < self.script.send).then_some(0),
                Turn::Echo(_) => self.replies.front().map(|reply| reply.0),
                Turn::Ping(_) => (self.allowed(u64::MAX) > self.sent).then_some(0),
            };
            ready.map(|at| at.max(self.next_write))
        });
        [reading, writing.flatten()].into_iter().flatten().min()
    }

    /// Reads and writes what it may at `now`. Whether anything came of it.
    pub fn step(&mut self, now: u64, machine: &mut dyn Machine, ledger: &mut Ledger) -> bool {
        if machine.stream(self.stream).is_none() {
            assert!(
                self.is_done() || machine.is_closed(),
                "{} vanished before it ended",
                self.stream
            );
            return false;
        }
        let read = self.read(now, machine, ledger);
        let wrote = self.write(now, machine, ledger);
        read || wrote
    }

    fn wants_to_read(&self) -> bool {
        !self.ended && self.read_error.is_none() && self.script.reading != Reading::Never
    }

    fn read(&mut self, now: u64, machine: &mut dyn Machine, ledger: &mut Ledger) -> bool {
        let key = FlowKey {
            from: self.out.from.peer(),
            ..self.out
        };
        let mut did = false;
        while self.may_read && self.wants_to_read() && self.next_read <= now {
            let max = match self.script.reading {
                Reading::Slow { max, .. } => max,
                Reading::Eager | Reading::Never => usize::MAX,
            };
            let Some(mut stream) = machine.stream(self.stream) else {
                return did;
            };
            match stream.read(max) {
                Ok(Read::Chunk(data)) => {
                    ledger.read(now, key, &data);
                    self.took(now, data.len() as u64);
                }
                Ok(Read::Blocked) => self.may_read = false,
                Ok(Read::End) => {
                    ledger.ended(key);
                    self.ended = true;
                }
                Err(error) => {
                    if let ReadError::Reset(ResetCode(code)) = error {
                        ledger.saw_reset(key, code);
                    } else {
                        ledger.saw_close(key);
                    }
                    self.read_error = Some(error);
                }
            }
            did = true;
        }
        did
    }

    fn took(&mut self, now: u64, count: u64) {
        self.got += count;
        if let Reading::Slow { every, .. } = self.script.reading {
            self.next_read = now + every;
        }
        match self.script.turn {
            Turn::Echo(delay) => self.replies.push_back((now + delay, self.got)),
            Turn::Ping(pause) if self.got == self.sent => {
                self.laps.push(now - self.ping_at);
                self.next_write = self.next_write.max(now + pause);
            }
            Turn::Ping(_) | Turn::Free => {}
        }
    }

    /// Up to which offset it may write at `now`.
    fn allowed(&self, now: u64) -> u64 {
        match self.script.turn {
            Turn::Free => self.script.send,
            Turn::Echo(_) => {
                let due = self
                    .replies
                    .iter()
                    .take_while(|reply| reply.0 <= now)
                    .last();
                due.map_or(self.sent, |reply| reply.1)
            }
            Turn::Ping(_) => {
                let chunk = self.script.chunk as u64;
                (self.got / chunk * chunk + chunk).min(self.script.send)
            }
        }
    }

    fn write(&mut self, now: u64, machine: &mut dyn Machine, ledger: &mut Ledger) -> bool {
        let mut did = false;
        while self.may_write
            && !self.finished
            && self.write_error.is_none()
            && self.next_write <= now
        {
            let due = self
                .allowed(now)
                .saturating_sub(self.sent)
                .min(self.script.chunk as u64);
            if due == 0 {
                break;
            }
            let Some(mut stream) = machine.stream(self.stream) else {
                return did;
            };
            let mut data = self.out.bytes(self.sent, due as usize);
            match stream.write(&mut data) {
                Ok(count) => {
                    assert_eq!(
                        count + data.len(),
                        due as usize,
                        "write says {count} and leaves {}",
                        data.len()
                    );
                    if self.sent.is_multiple_of(self.script.chunk as u64) {
                        self.ping_at = now;
                    }
                    ledger.wrote(now, self.out, count);
                    self.sent += count as u64;
                    self.may_write = data.is_empty();
                    did |= count > 0;
                }
                Err(error) => self.write_error = Some(error),
            }
            while self
                .replies
                .front()
                .is_some_and(|reply| reply.1 <= self.sent)
            {
                self.replies.pop_front();
            }
            if self.script.pace > 0 {
                self.next_write = now + self.script.pace;
            }
        }
        did | self.finish_if_done(machine, ledger)
    }

    fn finish_if_done(&mut self, machine: &mut dyn Machine, ledger: &mut Ledger) -> bool {
        let all = match self.script.turn {
            Turn::Free => self.sent >= self.script.send,
            Turn::Echo(_) => self.ended && self.sent == self.got,
            Turn::Ping(_) => self.got >= self.script.send,
        };
        if !self.script.finish || self.finished || !all || self.write_error.is_some() {
            return false;
        }
        if let Some(mut stream) = machine.stream(self.stream) {
            stream.finish();
            ledger.finished(self.out);
            self.finished = true;
        }
        true
    }
}
