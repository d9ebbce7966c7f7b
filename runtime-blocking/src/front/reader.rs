//! A connection's thread: reads requests one by one, gives them to the service, and refuses what is no request.

use super::conn::{Conn, ConnResponder, Next};
use super::head::{self, Framing, RequestHead};
use super::own::Front;
use super::reply::Refusal;
use super::request_body;
use super::sock::{self, Got};
use super::{Limits, Ticket};
use crate::timer;
use bytes::Bytes;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a request is not served. Either way the connection ends: where the next one would begin is not known.
pub(super) enum Fault {
    /// It is answered.
    Refused(Refusal),
    /// There is nobody to answer.
    Gone,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        Fault::Refused(refusal)
    }
}

pub(super) struct Reader {
    inlet: Inlet,
    /// What has come of a head and what came with it; empty between requests.
    buf: Vec<u8>,
    front: Arc<Front>,
    peer: SocketAddr,
}

/// A head as boxes send it, and a small body, come in one receive; larger ones make the buffer grow for a while.
const BUFFER: usize = 2048;

impl Reader {
    pub(super) fn new(conn: Conn, peer: SocketAddr, front: Arc<Front>) -> Reader {
        let inlet = Inlet {
            conn: Arc::new(conn),
            waits: Duration::ZERO,
            tick: front.limits.tick(),
            proven: 0,
        };
        Reader {
            inlet,
            buf: Vec::with_capacity(BUFFER),
            front,
            peer,
        }
    }

    pub(super) fn conn(&self) -> &Arc<Conn> {
        &self.inlet.conn
    }

    /// Serves the connection to its end.
    pub(super) fn run(mut self) {
        let mut ticket = None;
        self.inlet.wait_for(self.front.limits.idle);
        loop {
            let got = sock::recv(&self.inlet.conn.stream, &mut self.buf);
            match self.inlet.conn.on_received(got, self.front.limits.idle) {
                Next::Wait => self.inlet.wait_for(self.front.limits.idle),
                Next::Request => match self.request() {
                    Ok(begun) => ticket = Some(begun),
                    Err(Fault::Refused(refusal)) => return self.refuse(refusal),
                    Err(Fault::Gone) => return,
                },
                Next::Hangup => {
                    if let Some(ticket) = ticket {
                        self.front.service.hangup(ticket);
                    }
                    return;
                }
                Next::End => return,
            }
        }
    }

    /// Reads the rest of a request whose first bytes are there, and begins it.
    fn request(&mut self) -> Result<Ticket, Fault> {
        let head = self.head()?;
        let body = self.body(&head)?;
        self.buf.clear();
        if self.buf.capacity() > BUFFER {
            self.buf = Vec::with_capacity(BUFFER);
        }
        if !self.inlet.conn.hold(head.persist, head.chunks) {
            return Err(Fault::Gone);
        }
        let responder =
            ConnResponder::new(&self.inlet.conn, &self.front.helpers, &self.front.limits);
        Ok(self.front.service.begin(body, Box::new(responder)))
    }

    fn head(&mut self) -> Result<RequestHead, Fault> {
        let until = Instant::now().checked_add(self.front.limits.head_time);
        let mut seen = 0;
        loop {
            // Without a new line there is nothing new to say, but of the first bytes: rubbish is refused at once.
            if (seen == 0 || self.buf[seen..].contains(&b'\n'))
                && let Some(head) = head::parse(&self.buf, &self.front.path)?
            {
                return Ok(head);
            }
            seen = self.buf.len();
            if seen >= self.front.limits.head {
                return Err(Refusal::HEAD_TOO_LARGE.into());
            }
            if seen == self.buf.capacity() {
                self.buf.reserve_exact(self.front.limits.head - seen);
            }
            self.inlet.more(&mut self.buf, until)?;
        }
    }

    fn body(&mut self, head: &RequestHead) -> Result<Bytes, Fault> {
        let came = &self.buf[head.len..];
        let lease = self.front.budget.lease();
        match head.framing {
            Framing::Length(length) => {
                request_body::sized(&mut self.inlet, &self.front.limits, lease, came, length)
            }
            Framing::Chunked => {
                request_body::chunked(&mut self.inlet, &self.front.limits, lease, came)
            }
        }
    }

    /// Answers, and then goes on reading for a while: closing while the client still sends would make its system
    /// throw the answer away (RFC 9112 §9.6).
    fn refuse(mut self, refusal: Refusal) {
        if let Some(unsaid) = self.front.refused.may_say(timer::now()) {
            tracing::info!(status = refusal.status, why = refusal.why, peer = %self.peer, unsaid, "request refused");
        }
        let Limits {
            linger,
            linger_time,
            ..
        } = *self.front.limits;
        let stream = &self.inlet.conn.stream;
        if (&*stream).write_all(&refusal.to_bytes()).is_err()
            || stream.shutdown(std::net::Shutdown::Write).is_err()
        {
            return;
        }
        let until = Instant::now().checked_add(linger_time);
        let mut left = linger;
        self.buf = Vec::with_capacity(16 * 1024);
        while left > 0 && self.inlet.more(&mut self.buf, until).is_ok() {
            left = left.saturating_sub(self.buf.len());
            self.buf.clear();
        }
    }
}

/// Where bytes come from, and how long a receive waits for them.
pub(super) struct Inlet {
    conn: Arc<Conn>,
    waits: Duration,
    tick: Duration,
    /// The size of the last body that came whole: as much may be allocated for the next before any of it is here.
    pub(super) proven: usize,
}

impl Inlet {
    /// Receives something of a request that is partly here.
    ///
    /// # Errors
    /// If it took longer than `until`, if that ever comes, or the client went.
    pub(super) fn more(&mut self, into: &mut Vec<u8>, until: Option<Instant>) -> Result<(), Fault> {
        self.wait_for(self.tick);
        loop {
            let got = sock::recv(&self.conn.stream, into);
            match got {
                Got::End => return Err(Fault::Gone),
                Got::Bytes | Got::Nothing if until.is_some_and(|until| Instant::now() > until) => {
                    return Err(Refusal::TOO_SLOW.into());
                }
                Got::Bytes => return Ok(()),
                Got::Nothing => {}
            }
        }
    }

    /// Sets how long a receive waits. Left as it is when a request is whole, so that a client whose requests come in
    /// two pieces costs no call for it: between requests it is set back when it is found too short.
    fn wait_for(&mut self, time: Duration) {
        if self.waits != time {
            // A failure means a connection that is gone, which the next receive tells.
            let _ = self.conn.stream.set_read_timeout(Some(time));
            self.waits = time;
        }
    }
}
