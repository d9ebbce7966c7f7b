//! One connection: what it is doing, as its socket, its requests and its task share it, and what ends it.
//!
//! hyper reads heads and writes answers, and drops a request when its client goes. What it doesn't do is here: to
//! tell the time for heads, idle connections and readers that don't read apart; to hang up on who sends more before
//! the answer; to say what was wrong with a head; and to let a refused client read why.
//!
//! ```text
//!        first byte      head is whole      body is whole     Service::Pending is ready      all is written
//!  Idle ----------> Head -------------> Body -----------> Held ------------------> Writing -------------> Idle
//!   |                |                   |                 |
//!   | idle           | 408, 400, 431     | refused         | gone, or more bytes
//!   v                v                   v                 v
//!  closed         refused         Refusing, then refused  closed
//! ```
//! A streamed reply goes from `Held` to `Streamed` and, with its end, to `Writing`.

use super::{Abandoned, Limits};
use posthole_protocol::http::Refusal;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

pub(super) struct Conn {
    peer: SocketAddr,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    since: Instant,
    /// A piece of a streamed reply is on its way.
    unwritten: bool,
    /// Who wants to know that it has been written.
    writer: Option<Waker>,
    /// Bytes of the answer that the socket has taken, or of the piece.
    written: usize,
    /// Bytes received since the last answer.
    received: usize,
    /// The last receive found nothing: all that has come was taken in by hyper, and hyper wanted more.
    drained: bool,
    /// A receive was refused because an answer was on its way.
    withheld: bool,
    /// The client has closed its side.
    end: Side,
    /// hyper's buffer has grown, and nothing is in it.
    swollen: bool,
    /// The size of the last body that came whole.
    proven: usize,
    stop: Option<Stop>,
    task: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// No request.
    Idle,
    /// A head is partly here.
    Head,
    /// A body is being read, which has a clock of its own.
    Body,
    /// The service has the request.
    Held,
    /// The reply is streamed: pieces of it are written, and more will follow.
    Streamed,
    /// The reply is on its way, or the end of it.
    Writing,
    /// A refusal is, or was, on its way; nothing comes after it.
    Refusing,
}

/// The client's side of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Open,
    /// Closed, which hyper doesn't know: it would drop a request that is whole and may be answered at once.
    Closed,
    /// Closed, which hyper may know: the request is not whole.
    Told,
}

/// How soon a connection is to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stop {
    /// At once, but for an answer on its way, which is written first.
    Finish,
    /// At once.
    Now,
}

/// How a connection ends.
pub(super) enum End {
    Closed,
    /// A refusal was written, which the client is to read.
    Refused,
    /// This is to be said first.
    Refuse(Refusal),
}

/// What a connection's task does when hyper has done what it could.
pub(super) enum Next {
    /// Lets hyper go on.
    Again,
    /// Gives hyper fresh buffers.
    Renew,
    /// Waits, at most until then.
    Wait(Option<Instant>),
    End(End),
}

/// What fits into hyper's buffer before that grows.
const SMALL: usize = 8 * 1024;

impl Conn {
    pub(super) fn new(peer: SocketAddr) -> Conn {
        Conn {
            peer,
            state: Mutex::new(State {
                phase: Phase::Idle,
                since: Instant::now(),
                unwritten: false,
                writer: None,
                written: 0,
                received: 0,
                drained: true,
                withheld: false,
                end: Side::Open,
                swollen: false,
                proven: 0,
                stop: None,
                task: None,
            }),
        }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Ends it, from any thread.
    pub(super) fn stop(&self, stop: Stop) {
        let mut state = self.lock();
        state.stop = state.stop.max(Some(stop));
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Whether hyper may read. Not while an answer is on its way: a client that has sent all it had and closes its
    /// side reads it to the end all the same, and who sends more waits.
    pub(super) fn may_read(&self) -> bool {
        let mut state = self.lock();
        state.withheld = matches!(state.phase, Phase::Writing | Phase::Refusing);
        !state.withheld && state.end != Side::Closed
    }

    /// A receive came to so many bytes, or to nothing; whether hyper may know.
    pub(super) fn on_read(&self, amount: Option<usize>) -> bool {
        let mut state = self.lock();
        state.drained = amount.is_none_or(|amount| amount == 0);
        state.received += amount.unwrap_or(0);
        match (state.phase, amount) {
            (Phase::Idle, Some(1..)) => state.enter(Phase::Head),
            (Phase::Body, Some(0)) if state.end == Side::Open => {
                state.end = Side::Closed;
                return false;
            }
            _ => {}
        }
        true
    }

    /// Whether hyper may write: only what the service has said. What it says of its own accord, in few words, about a
    /// head that it can't read, [`ended`](Self::ended) says in ours.
    pub(super) fn may_write(&self) -> bool {
        matches!(
            self.lock().phase,
            Phase::Streamed | Phase::Writing | Phase::Refusing
        )
    }

    pub(super) fn on_written(&self, amount: usize) {
        self.lock().written += amount;
    }

    pub(super) fn on_flush(&self) {
        let mut state = self.lock();
        match state.phase {
            Phase::Writing => {
                state.enter(Phase::Idle);
                state.swollen = std::mem::take(&mut state.received) > SMALL;
            }
            Phase::Streamed => {
                state.unwritten = false;
                let writer = state.writer.take();
                drop(state);
                if let Some(writer) = writer {
                    writer.wake();
                }
            }
            Phase::Idle | Phase::Head | Phase::Body | Phase::Held | Phase::Refusing => {}
        }
    }

    /// A head is here.
    pub(super) fn begin(&self) {
        self.lock().enter(Phase::Body);
    }

    /// The size of the last body that came whole: as much may be allocated for the next before any of it is here.
    pub(super) fn proven(&self) -> usize {
        self.lock().proven
    }

    /// A body of so many bytes is whole: from now on a reply is owed.
    ///
    /// # Errors
    /// If something followed it. hyper reads on when a body has ended, unless it has more already.
    pub(super) fn hold(&self, len: usize) -> Result<(), Refusal> {
        let mut state = self.lock();
        state.proven = len;
        if !state.drained {
            return Err(Refusal::PIPELINED);
        }
        state.enter(Phase::Held);
        Ok(())
    }

    /// The reply is about to be written.
    ///
    /// # Errors
    /// If more has come before it.
    pub(super) fn reply(&self) -> Result<(), Abandoned> {
        let mut state = self.lock();
        if !state.drained {
            return Err(Abandoned);
        }
        state.enter(Phase::Writing);
        Ok(())
    }

    /// The reply will come in pieces, none of them written yet.
    ///
    /// # Errors
    /// If more has come before it.
    pub(super) fn stream(&self) -> Result<(), Abandoned> {
        let mut state = self.lock();
        if !state.drained {
            return Err(Abandoned);
        }
        state.enter(Phase::Streamed);
        Ok(())
    }

    /// A piece is about to be written.
    pub(super) fn piece(&self) {
        let mut state = self.lock();
        state.enter(Phase::Streamed);
        state.unwritten = true;
    }

    /// Ready once the last piece has been written.
    pub(super) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.unwritten {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A refusal is about to be written.
    pub(super) fn refuse(&self) {
        self.lock().enter(Phase::Refusing);
    }

    /// What was asked of this connection's task, which is this one.
    pub(super) fn asked(&self, cx: &Context<'_>) -> Option<Stop> {
        let mut state = self.lock();
        if !state
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            state.task = Some(cx.waker().clone());
        }
        state.stop
    }

    /// Whether an answer is on its way.
    pub(super) fn is_answering(&self) -> bool {
        let state = self.lock();
        state.unwritten || matches!(state.phase, Phase::Writing | Phase::Refusing)
    }

    /// hyper waits for something; what for, and until when?
    pub(super) fn next(&self, limits: &Limits) -> Next {
        let mut state = self.lock();
        let state = &mut *state;
        match state.phase {
            Phase::Idle if state.end != Side::Open => Next::End(End::Closed),
            Phase::Idle if std::mem::take(&mut state.swollen) => {
                state.withheld = false;
                Next::Renew
            }
            Phase::Idle if std::mem::take(&mut state.withheld) => Next::Again,
            Phase::Idle => Next::Wait(state.since.checked_add(limits.idle)),
            Phase::Head => Next::Wait(state.since.checked_add(limits.head_time)),
            // Bytes are pipelining: what they ask for could not be answered before what is held.
            Phase::Held | Phase::Streamed if !state.drained || state.end != Side::Open => {
                Next::End(End::Closed)
            }
            Phase::Streamed if state.unwritten => {
                Next::Wait(limits.late(state.since, state.written))
            }
            Phase::Body if state.end == Side::Closed => {
                state.end = Side::Told;
                Next::Again
            }
            Phase::Body | Phase::Held | Phase::Streamed => Next::Wait(None),
            Phase::Writing | Phase::Refusing => Next::Wait(limits.late(state.since, state.written)),
        }
    }

    /// The time that `next` has set is over.
    pub(super) fn late(&self) -> End {
        match self.lock().phase {
            Phase::Head => End::Refuse(Refusal::TOO_SLOW),
            Phase::Idle
            | Phase::Body
            | Phase::Held
            | Phase::Streamed
            | Phase::Writing
            | Phase::Refusing => End::Closed,
        }
    }

    /// hyper has come to the end of the connection; it could not read a head if there is an `error`.
    pub(super) fn ended(&self, error: Option<Refusal>) -> End {
        match (self.lock().phase, error) {
            (Phase::Refusing, None) => End::Refused,
            (Phase::Idle | Phase::Head, Some(refusal)) => End::Refuse(refusal),
            _ => End::Closed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        (self.phase, self.since, self.written) = (phase, Instant::now(), 0);
        self.unwritten = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::answer::Heads;
    use super::super::wire::Wire;
    use super::*;
    use http_body::Body;
    use smol::Async;
    use smol::io::AsyncWrite;
    use std::future::poll_fn;
    use std::net::{TcpListener, TcpStream};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::time::Duration;

    /// One byte in a second is fast enough, and none has a second.
    fn limits() -> Limits {
        Limits {
            body_time: Duration::from_secs(1),
            min_rate: 1,
            ..Limits::for_tasks()
        }
    }

    /// A connection with a request that is held.
    fn held() -> Conn {
        let conn = Conn::new(([127, 0, 0, 1], 7).into());
        assert!(conn.may_read() && conn.on_read(Some(100)) && conn.on_read(None));
        conn.begin();
        conn.hold(50).unwrap();
        conn
    }

    fn late(conn: &Conn) -> Option<Instant> {
        match conn.next(&limits()) {
            Next::Wait(until) => until,
            Next::Again | Next::Renew | Next::End(_) => panic!("it has nothing to wait for"),
        }
    }

    #[test]
    fn each_piece_of_a_streamed_reply_has_a_time_of_its_own() {
        let conn = held();
        conn.stream().unwrap();
        assert_eq!(late(&conn), None, "none is on its way");
        conn.piece();
        conn.on_written(1000);
        let first = late(&conn).expect("whoever reads nothing is given up");
        conn.on_flush();
        assert_eq!(late(&conn), None);
        conn.piece();
        let second = late(&conn).expect("whoever reads nothing is given up");
        assert!(second < first, "what was read before counts for it");
        assert!(conn.is_answering());
    }

    /// Otherwise its connection could rest for ever, and ask with a head of any size.
    #[test]
    fn a_connection_is_idle_again_when_a_streamed_reply_has_ended() {
        let conn = Arc::new(held());
        conn.stream().unwrap();
        let pieces = Box::pin(smol::stream::empty());
        let answer = Heads::new().streamed(1, pieces, Some(conn.clone()));
        let mut answer = answer.into_body();
        let next = smol::block_on(poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)));
        assert!(next.is_none());
        conn.on_flush();
        assert!(late(&conn).is_some(), "it has no time to say more by");
    }

    #[test]
    fn what_the_socket_takes_counts_for_the_reply() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let conn = Arc::new(held());
        conn.reply().unwrap();
        let before = late(&conn);
        let stream = Arc::new(Async::new(stream).unwrap());
        let mut wire = Wire::new(stream, conn.clone());
        smol::block_on(poll_fn(|cx| Pin::new(&mut wire).poll_write(cx, &[0; 100]))).unwrap();
        assert!(late(&conn) > before);
    }

    /// It could not be answered before that is over.
    #[test]
    fn who_asks_for_more_while_a_reply_is_streamed_is_hung_up_on() {
        let conn = held();
        conn.stream().unwrap();
        conn.piece();
        conn.on_flush();
        assert_eq!(late(&conn), None);
        assert!(conn.may_read() && conn.on_read(Some(1)));
        assert!(matches!(conn.next(&limits()), Next::End(End::Closed)));
    }

    #[test]
    fn buffers_that_have_grown_are_given_back() {
        let conn = held();
        conn.reply().unwrap();
        conn.on_flush();
        assert!(late(&conn).is_some(), "small ones stay");
        assert!(conn.on_read(Some(SMALL)) && conn.on_read(Some(1)) && conn.on_read(None));
        conn.begin();
        conn.hold(SMALL).unwrap();
        conn.reply().unwrap();
        conn.on_flush();
        assert!(matches!(conn.next(&limits()), Next::Renew));
        assert!(late(&conn).is_some(), "once");
    }
}
