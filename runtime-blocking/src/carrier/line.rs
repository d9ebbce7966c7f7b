//! A lane's connection, which ureq has on loan for a request and the head of its answer.
//!
//! ureq would read a body into its own buffer and copy it. So the lane takes the connection back after the head and
//! reads the body itself, into one block of its length; and it is the lane that keeps the connection for its next
//! exchange.
//!
//! ```text
//! Kept: in the lane --lend--> Loan: in ureq --dropped--> Kept
//! ```

use super::socket::receive;
use super::watch::Watch;
use posthole_protocol::http::policy::IDLE;
use socket2::Socket;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

/// A connection: notes what is sent and heard, and puts the request line into absolute form (RFC 9112 §3.2.2), which
/// ureq has no notion of.
#[derive(Debug)]
pub(super) struct Line {
    transport: Box<dyn Transport>,
    /// The socket under it, if what comes out of it needs no deciphering.
    bare: Option<Arc<Socket>>,
    watch: Arc<Watch>,
    /// `http://host:port`, or nothing.
    prefix: String,
    /// Whether the next output begins a request.
    is_at_head: bool,
}

impl Line {
    pub(super) fn new(
        transport: Box<dyn Transport>,
        bare: Option<Arc<Socket>>,
        watch: Arc<Watch>,
        prefix: String,
    ) -> Line {
        Line {
            transport,
            bare,
            watch,
            prefix,
            is_at_head: true,
        }
    }

    /// Reads some of what comes after the head; 0 at the end.
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let buffers = self.transport.buffers();
            let input = buffers.input();
            let amount = input.len().min(room.len());
            if let (Some(to), Some(from)) = (room.get_mut(..amount), input.get(..amount))
                && amount > 0
            {
                to.copy_from_slice(from);
                buffers.input_consume(amount);
                return Ok(amount);
            }
            if let Some(socket) = &self.bare {
                return receive(socket, room);
            }
            let has_more = self
                .transport
                .await_input(NextTimeout::default())
                .map_err(ureq::Error::into_io)?;
            if !has_more {
                return Ok(0);
            }
        }
    }

    /// Puts the prefix between method and path; gives the new length of the head.
    fn make_absolute(&mut self, length: usize) -> Option<usize> {
        let output = self.transport.buffers().output();
        let path = output.get(..length)?.iter().position(|b| *b == b' ')? + 1;
        let after = path + self.prefix.len();
        let new_length = length + self.prefix.len();
        if new_length > output.len() {
            return None;
        }
        output.copy_within(path..length, after);
        output
            .get_mut(path..after)?
            .copy_from_slice(self.prefix.as_bytes());
        Some(new_length)
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let mut amount = amount;
        if std::mem::take(&mut self.is_at_head) {
            self.watch.note_sent();
            if !self.prefix.is_empty() {
                amount = self.make_absolute(amount).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "the request's head is too long")
                })?;
            }
        }
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.is_at_head = true;
        let has_more = self.transport.await_input(timeout)?;
        if has_more {
            self.watch.note_heard();
        }
        Ok(has_more)
    }
}

/// Where a lane's connection is when ureq does not have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Place>>);

#[derive(Debug, Default)]
enum Place {
    #[default]
    Empty,
    /// ureq has let go of it, after the head of an answer, its body or a failure.
    Returned(Line),
    /// It may carry another exchange.
    Idle(Line, Instant),
}

impl Kept {
    pub(super) fn lend(&self, line: Line) -> Loan {
        Loan {
            line: Some(line),
            kept: self.clone(),
        }
    }

    /// What ureq has let go of.
    pub(super) fn take_returned(&self) -> Option<Line> {
        let mut place = self.lock();
        match std::mem::take(&mut *place) {
            Place::Returned(line) => Some(line),
            other @ (Place::Empty | Place::Idle(..)) => {
                *place = other;
                None
            }
        }
    }

    /// For the lane's next exchange.
    pub(super) fn keep(&self, line: Line) {
        *self.lock() = Place::Idle(line, Instant::now());
    }

    /// Whether there is a connection for the lane's next exchange.
    pub(super) fn is_idle(&self) -> bool {
        matches!(*self.lock(), Place::Idle(..))
    }

    /// The connection for an exchange, unless there is none or it is of no use any more.
    pub(super) fn take_idle(&self) -> Option<Line> {
        let place = std::mem::take(&mut *self.lock());
        let Place::Idle(mut line, since) = place else {
            return None;
        };
        (since.elapsed() < IDLE && line.transport.is_open()).then_some(line)
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection while ureq has it.
#[derive(Debug)]
pub(super) struct Loan {
    /// There until this is dropped.
    line: Option<Line>,
    kept: Kept,
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            *self.kept.lock() = Place::Returned(line);
        }
    }
}

impl Loan {
    fn line(&mut self) -> &mut Line {
        self.line.as_mut().expect("it is taken only by drop")
    }
}

impl Transport for Loan {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.line().transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.line().transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.line().await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.line().transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.line
            .as_ref()
            .is_some_and(|line| line.transport.is_tls())
    }
}
