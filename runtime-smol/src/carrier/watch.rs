//! What is seen of a running exchange: whether bytes move, and how far it has come.

use crate::io::Alarm;
use posthole_protocol::http::policy::Steps;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Duration;

/// The facts about a lane's running exchange, written by its connection. Only one task ever looks at them at a time.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Bytes read and written.
    moved: AtomicUsize,
    /// Some of the request may leave from here on.
    pub(super) sent: Flag,
    /// Some of an answer has arrived.
    pub(super) heard: Flag,
    /// Nothing can be written any more.
    pub(super) deaf: Flag,
    /// All that was written has been flushed.
    pub(super) flushed: Flag,
    /// The last of the request has been taken to be written.
    pub(super) taken: Flag,
    /// Whether hyper may read.
    pub(super) gate: Gate,
}

impl Pulse {
    /// Another request over a connection, perhaps for the same exchange.
    pub(super) fn begin(&self) {
        for flag in [
            &self.sent,
            &self.heard,
            &self.deaf,
            &self.flushed,
            &self.taken,
        ] {
            flag.clear();
        }
        self.gate.shut();
    }

    pub(super) fn note_moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes, Relaxed);
    }

    /// Whether the request has left whole.
    pub(super) fn is_sent_whole(&self) -> bool {
        self.taken.is_set() && self.flushed.is_set() && !self.deaf.is_set()
    }
}

/// Lets one read pass each time it is opened.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_open: Flag,
    /// Somebody stands before it.
    is_wanted: Flag,
}

impl Gate {
    /// Whether to read; if not, it is noted that somebody wanted to.
    pub(super) fn may_pass(&self) -> bool {
        if !self.is_open.is_set() {
            self.is_wanted.set();
        }
        self.is_open.is_set()
    }

    pub(super) fn shut(&self) {
        self.is_open.clear();
        self.is_wanted.clear();
    }

    /// Opens it for who stands before it; says whether anybody did, who is then to try again.
    pub(super) fn open(&self) -> bool {
        let is_wanted = self.is_wanted.is_set();
        if is_wanted {
            self.is_wanted.clear();
            self.is_open.set();
        }
        is_wanted
    }
}

#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Watches over one exchange.
pub(super) struct Watch<'a> {
    pub(super) pulse: &'a Arc<Pulse>,
    /// The lane's, so that the reactor hears of it now and then and not with each exchange.
    alarm: &'a mut Alarm,
    /// For how long nothing may move.
    pub(super) patience: Duration,
    progress: &'a mut (dyn FnMut() + Send),
    steps: Steps,
    /// How much had moved when last looked.
    seen: usize,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        pulse: &'a Arc<Pulse>,
        alarm: &'a mut Alarm,
        patience: Duration,
        progress: &'a mut (dyn FnMut() + Send),
    ) -> Watch<'a> {
        Watch {
            seen: pulse.moved.load(Relaxed),
            pulse,
            alarm,
            patience,
            progress,
            steps: Steps::default(),
        }
    }

    /// Runs `task` for as long as bytes move; tells progress.
    ///
    /// # Errors
    /// `TimedOut` if none has moved for the time of the patience, from the beginning of this call.
    pub(super) async fn over<T, E: From<io::Error>>(
        &mut self,
        task: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.restart();
        let mut task = pin!(task);
        poll_fn(|cx| {
            let result = task.as_mut().poll(cx);
            self.look();
            if result.is_ready() {
                return result;
            }
            ready!(Pin::new(&mut *self.alarm).poll(cx));
            Poll::Ready(Err(io::Error::from(ErrorKind::TimedOut).into()))
        })
        .await
    }

    /// Tells that an answer has begun.
    pub(super) fn tell(&mut self) {
        (self.progress)();
    }

    fn look(&mut self) {
        let moved = self.pulse.moved.load(Relaxed);
        let amount = moved.wrapping_sub(self.seen);
        if amount > 0 {
            self.seen = moved;
            self.restart();
            if self.steps.advance(amount) {
                (self.progress)();
            }
        }
    }

    fn restart(&mut self) {
        self.alarm.move_after(self.patience);
    }
}
