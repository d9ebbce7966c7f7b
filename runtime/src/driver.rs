//! The loop over a core: tell it what happened, take what it has to say.
//!
//! Nothing here runs it. Whoever brings something in (an application's read or write, an answer, a request, the
//! deadline) locks, feeds, goes round once by [`State::poll`], unlocks, and does the [`Work`]; so what a write makes the
//! server say leaves with whoever wrote. The lock is held for these calls only, never across HTTP.
//!
//! Inputs are fed before deadlines: an answer that came late but came is an answer.

use crate::ends::{Ends, Tried};
use crate::error::closed_error;
use crate::lull::LullId;
use crate::machine::Machine;
use crate::path::Path;
use crate::reply::Reply;
use crate::stats::Stats;
use crate::wait::Waiters;
use bytes::Bytes;
use posthole_protocol::http::Trouble;
use posthole_protocol::{
    Client, CloseReason, ExchangeId, Failure, Instant, Learned, OpenError, RequestId, Server,
    SessionId, StreamId,
};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tracing::trace;

/// One session, as it is behind its lock: the core and what the application should be able to ask more than once.
///
/// `R` is where the reply to a request goes, `W` who waits for something.
pub struct State<R, W: Waiters> {
    machine: Machine<R>,
    pub(crate) streams: BTreeMap<StreamId, Ends<W>>,
    /// Who waits to open a stream.
    pub room: W,
    /// Who waits to accept a stream.
    pub incoming: W,
    /// Who waits for the session's beginning or end.
    pub milestone: W,
    /// Those of all of them who have news.
    pub(crate) wakes: Vec<W::Wake>,
    connected: bool,
    pub(crate) closed: Option<CloseReason>,
    /// The application has written or ended something. The core learns only from a feed what time that was, and counts
    /// from there for how long it waits.
    pub(crate) changed: bool,
    path: Path,
    armed: Option<Instant>,
    /// In the lull that has begun last.
    unheard: Option<Written>,
    lulls: LullId,
    /// It was said that nothing is left to do.
    over: bool,
    /// A core call panicked: the core is not called again.
    broken: bool,
}

/// Of which long exchange a bundle has been written.
#[derive(Clone, Copy)]
enum Written {
    Exchange(ExchangeId),
    Request(RequestId),
}

impl<R, W: Waiters> State<R, W> {
    /// A client's session.
    pub fn client(core: Client) -> State<R, W> {
        State::new(Machine::Client(Box::new(core)))
    }

    /// A server's session.
    pub fn server(core: Server) -> State<R, W> {
        let (core, held) = (Box::new(core), BTreeMap::new());
        State::new(Machine::Server { core, held })
    }

    fn new(machine: Machine<R>) -> State<R, W> {
        State {
            machine,
            streams: BTreeMap::new(),
            room: W::default(),
            incoming: W::default(),
            milestone: W::default(),
            wakes: Vec::new(),
            connected: false,
            closed: None,
            changed: false,
            path: Path::default(),
            armed: None,
            unheard: None,
            lulls: LullId::default(),
            over: false,
            broken: false,
        }
    }

    /// The core, unless a call of it panicked.
    pub(crate) fn machine(&mut self) -> Option<&mut Machine<R>> {
        if self.broken {
            None
        } else {
            Some(&mut self.machine)
        }
    }

    /// The server's core, also one that panicked.
    pub(crate) fn server_core(&self) -> Option<&Server> {
        match &self.machine {
            Machine::Client(_) => None,
            Machine::Server { core, .. } => Some(core),
        }
    }

    fn client_core(&mut self) -> Option<&mut Client> {
        match self.machine()? {
            Machine::Client(core) => Some(core),
            Machine::Server { .. } => None,
        }
    }
}

/// What there is to know.
impl<R, W: Waiters> State<R, W> {
    /// The session's secret name; its `Debug` says only enough to tell sessions apart.
    pub fn id(&self) -> SessionId {
        self.machine.id()
    }

    /// Whether the peer has answered yet.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// How the session ended, if it has.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// What a client has learned of its way to the server.
    pub fn learned(&self) -> Option<Learned> {
        match &self.machine {
            Machine::Client(core) => Some(core.learned()),
            Machine::Server { .. } => None,
        }
    }

    /// What the session has done so far.
    pub fn stats(&self) -> Stats {
        Stats::new(self.machine.stats(), self.path.trouble())
    }
}

/// What an application does to the session; see `ends` for its streams.
impl<R, W: Waiters> State<R, W> {
    /// Opens a stream. `Blocked`: as many are open as the peer allows; wait for [`room`](State::room).
    ///
    /// # Errors
    /// `NotConnected` or `ConnectionAborted`, if the session is closing or has ended.
    pub fn open(&mut self) -> io::Result<Tried<StreamId>> {
        let opened = self.machine().map_or(Err(OpenError::Closed), Machine::open);
        match opened {
            Ok(id) => Ok(Tried::Done(self.join(id))),
            Err(OpenError::Full) => Ok(Tried::Blocked),
            Err(_) => Err(closed_error(self.closed())),
        }
    }

    /// The next stream that the peer has opened. `Blocked`: wait for [`incoming`](State::incoming).
    ///
    /// # Errors
    /// `NotConnected` or `ConnectionAborted`, once the session has ended.
    pub fn accept(&mut self) -> io::Result<Tried<StreamId>> {
        match self.machine().and_then(Machine::accept) {
            Some(id) => Ok(Tried::Done(self.join(id))),
            None if self.closed.is_some() => Err(closed_error(self.closed())),
            None => Ok(Tried::Blocked),
        }
    }

    /// Ends the session in order.
    pub fn close(&mut self) {
        self.changed = true;
        if let Some(machine) = self.machine() {
            machine.close();
        }
    }

    /// Ends the session at once.
    pub fn abort(&mut self) {
        if let Some(machine) = self.machine() {
            machine.abort();
        }
    }

    /// Ends the session because another one takes its place (§7.5). Servers only.
    pub fn replace(&mut self) {
        if let Some(Machine::Server { core, .. }) = self.machine() {
            core.replace();
        }
    }
}

/// What happens outside.
impl<R, W: Waiters> State<R, W> {
    /// Bytes of an exchange have moved.
    pub fn feed_progress(&mut self, now: Instant, exchange: ExchangeId) {
        if let Some(core) = self.client_core() {
            // An exchange that is not open any more is cancelled soon.
            let _ = core.feed_progress(now, exchange);
        }
    }

    /// An exchange was answered or came to nothing. One that the core gave up meanwhile changes nothing; what its answer
    /// would have said comes again.
    pub fn feed_answer(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        answer: Result<Bytes, Trouble>,
    ) {
        let Some(core) = self.client_core() else {
            return;
        };
        match answer {
            Ok(body) => {
                trace!("{exchange}: an answer of {} bytes", body.len());
                if core.feed_response(now, exchange, body).is_ok() {
                    self.path.answered();
                }
            }
            Err(Trouble { failure, says, .. }) => {
                if core.feed_failure(now, exchange, failure).is_ok() {
                    self.path.failed(says);
                }
            }
        }
    }

    /// With the answer that was just fed: whether its connection is kept for another exchange.
    pub fn feed_connection(&mut self, kept: bool) {
        if let Some(core) = self.client_core() {
            core.feed_connection(kept);
        }
    }

    /// A request of this session came.
    ///
    /// # Errors
    /// If it is refused: what to answer at once, after the poll.
    pub fn feed_request(
        &mut self,
        now: Instant,
        request: RequestId,
        body: Bytes,
        responder: R,
    ) -> Result<(), (R, Reply)> {
        let Some(Machine::Server { core, held }) = self.machine() else {
            return Err((responder, Reply::unavailable()));
        };
        trace!("{:?}: a request of {} bytes", core.id(), body.len());
        match core.feed_request(now, request, body) {
            Ok(()) => {
                held.insert(request, responder);
                Ok(())
            }
            Err(reject) => Err((responder, reject.into())),
        }
    }

    /// Whether the replies to the requests from here on can be written piece by piece.
    pub fn writes_pieces(&mut self, can: bool) {
        if let Some(Machine::Server { core, .. }) = self.machine() {
            core.writes_pieces(can);
        }
    }

    /// Whom to reply to, as long as the last word has not been said.
    pub fn responder(&mut self, request: RequestId) -> Option<&mut R> {
        match self.machine()? {
            Machine::Server { held, .. } => held.get_mut(&request),
            Machine::Client(_) => None,
        }
    }

    /// Further bundles came on the direct connection that this request began.
    ///
    /// # Errors
    /// If nothing more of it is wanted: what to answer it at the last.
    pub fn feed_more(
        &mut self,
        now: Instant,
        request: RequestId,
        body: Bytes,
    ) -> Result<(), (Option<R>, Reply)> {
        let Some(Machine::Server { core, held }) = self.machine() else {
            return Err((None, Reply::unavailable()));
        };
        trace!("{:?}: bundles of {} bytes", core.id(), body.len());
        match core.feed_request(now, request, body) {
            Ok(()) => Ok(()),
            Err(reject) => Err((held.remove(&request), reject.into())),
        }
    }

    /// What was said last on the direct connection that this request began, or in its streamed answer, has been written.
    pub fn feed_said(&mut self, now: Instant, request: RequestId) {
        if let Some(Machine::Server { core, .. }) = self.machine() {
            core.feed_written(now, request);
        }
    }

    /// An address for direct connections is known: it is tried first, and anything else only after `head_start`.
    pub fn knows_direct(&mut self, now: Instant, head_start: Duration) {
        if let Some(core) = self.client_core() {
            core.knows_direct(now, head_start);
        }
    }

    /// What came of dialling. Gives the name of the connection, if it is wanted.
    pub fn feed_dialled(&mut self, now: Instant, there: bool) -> Option<ExchangeId> {
        let core = self.client_core()?;
        if there {
            core.feed_dialled(now)
        } else {
            core.feed_undialled(now);
            None
        }
    }

    /// Whole bundles came on a direct connection, or in an answer that goes on.
    pub fn feed_bundles(&mut self, now: Instant, exchange: ExchangeId, body: Bytes) {
        let Some(core) = self.client_core() else {
            return;
        };
        trace!("{exchange}, which goes on: bundles of {} bytes", body.len());
        // One that is not wanted any more is cancelled soon.
        if core.feed_bundles(now, exchange, body).is_ok() {
            self.path.answered();
        }
    }

    /// The last bundle for a direct connection has been written.
    pub fn feed_written(&mut self, now: Instant, exchange: ExchangeId) {
        if let Some(core) = self.client_core() {
            let _ = core.feed_written(now, exchange);
        }
    }

    /// The bundle of the lull that has ended has been written: told before anything else that is fed.
    pub fn feed_lull(&mut self, now: Instant) {
        match self.unheard.take() {
            Some(Written::Exchange(exchange)) => self.feed_written(now, exchange),
            Some(Written::Request(request)) => self.feed_said(now, request),
            None => {}
        }
    }

    /// A direct connection has ended.
    pub fn feed_failure(&mut self, now: Instant, exchange: ExchangeId, why: Failure) {
        if let Some(core) = self.client_core() {
            // One that the core gave up changes nothing.
            let _ = core.feed_failure(now, exchange, why);
        }
    }

    /// Whoever sent the request has gone. Gives its responder, if it was not answered yet.
    pub fn feed_hangup(&mut self, now: Instant, request: RequestId) -> Option<R> {
        let Some(Machine::Server { core, held }) = self.machine() else {
            return None;
        };
        core.feed_hangup(now, request);
        held.remove(&request)
    }

    /// The clock has reached the moment of an [`Alarm`](crate::Alarm), which is set no longer. Another may have been set since.
    pub fn rang(&mut self, now: Instant) {
        self.armed.take_if(|armed| *armed <= now);
    }

    /// Has these woken with the others, by the next poll.
    pub fn wake(&mut self, who: W::Wake) {
        self.wakes.push(who);
    }

    /// Whether somebody is to be woken.
    pub fn wakes_somebody(&self) -> bool {
        !self.wakes.is_empty()
    }

    /// A call panicked while the lock was held: this session is over, and that only. Its core is not called again, and
    /// who waits learns it. Gives those to wake.
    pub fn break_off(&mut self) -> Vec<W::Wake> {
        self.broken = true;
        self.closed.get_or_insert(CloseReason::Aborted);
        self.wake_all();
        std::mem::take(&mut self.wakes)
    }

    /// Whether that happened.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

mod round;

#[cfg(test)]
mod tests;
