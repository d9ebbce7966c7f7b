//! Time: the process's one clock for the cores, and what wakes a session's task at its core's deadline.
//!
//! A session sets its deadline only when its core names one earlier than the one set. Whoever goes round the loop then
//! tells the reactor itself, without waking the session's task: that is woken when the time has come, and only then.

use posthole_protocol::Instant;
use smol::Timer;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

static ZERO: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// What time it is, for the cores.
pub(crate) fn now() -> Instant {
    // 2^64 microseconds are 584,000 years.
    Instant::from_micros(u64::try_from(ZERO.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// The deadline that a session's task waits for; lives beside the session's state under the same lock.
pub(crate) struct Deadline {
    timer: Timer,
    /// The task, once it has been polled.
    task: Option<Waker>,
    is_over: bool,
}

impl Deadline {
    /// None so far.
    pub(crate) fn new() -> Deadline {
        Deadline {
            timer: Timer::never(),
            task: None,
            is_over: false,
        }
    }

    /// Sets it. Gives the task, if it is to be woken at once.
    pub(crate) fn set(&mut self, at: Instant) -> Option<Waker> {
        let since = at.since(Instant::ZERO);
        // So far away that it never comes.
        let at = ZERO.checked_add(since).unwrap_or_else(|| *ZERO + FAR);
        self.timer.set_at(at);
        // A timer tells the reactor when it is polled for the first time after it went off.
        let task = self.task.as_ref()?;
        let mut cx = Context::from_waker(task);
        if Pin::new(&mut self.timer).poll(&mut cx).is_pending() {
            return None;
        }
        self.timer.set_at(at);
        self.task.clone()
    }

    /// There will be none any more: the task may end. Gives it.
    pub(crate) fn end(&mut self) -> Option<Waker> {
        self.is_over = true;
        self.timer.clear();
        self.task.take()
    }

    /// Whether there will be none any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// By the session's task: waits for it. `Ready(false)`: there will be none any more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.is_over {
            return Poll::Ready(false);
        }
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            None => self.task = Some(cx.waker().clone()),
        }
        Pin::new(&mut self.timer).poll(cx).map(|_| true)
    }
}

/// Thirty years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
