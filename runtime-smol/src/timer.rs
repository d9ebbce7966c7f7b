//! Time: the process's one clock for the cores, and what wakes a session's task at its core's deadline.
//!
//! A session sets its deadline only when its core names one earlier than the one set. Whoever goes round the loop then
//! tells the reactor itself, without waking the session's task: that is woken when the time has come, and only then.

use crate::clock::{self, Timer};
use posthole_protocol::Instant;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) static ZERO: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// What time it is, for the cores.
#[inline(never)] // Asked in many places, which are all on the way of a byte.
pub(crate) fn now() -> Instant {
    // 2^64 microseconds are 584,000 years.
    let since = clock::instant().saturating_duration_since(*ZERO);
    Instant::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future::{block_on, or, poll_fn};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn after(millis: u64) -> Instant {
        let later = now().checked_add(Duration::from_millis(millis));
        later.expect("not far")
    }

    #[test]
    fn deadlines_are_moved_without_waking_who_waits() {
        let deadline = Mutex::new(Deadline::new());
        let lock = || deadline.lock().expect("nobody panics");
        let polls = AtomicUsize::new(0);
        let wait = || {
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                lock().poll(cx)
            })
        };
        // Set before it is waited for, while it is, and after it came.
        for round in 1..=3 {
            let at = after(20);
            lock().set(after(3_600_000));
            let set = async {
                smol::future::yield_now().await;
                assert!(lock().set(at).is_none());
                smol::future::pending().await
            };
            assert!(block_on(or(wait(), set)));
            assert!(now() >= at, "it came early");
            // Once by each side of `or`, and once when the time had come.
            assert!(polls.load(Ordering::Relaxed) <= 4 * round);
        }
        // One that has passed already wakes.
        assert!(block_on(poll_fn(|cx| Poll::Ready(
            lock().poll(cx).is_pending()
        ))));
        assert!(lock().set(Instant::ZERO).is_some());
        assert!(block_on(wait()));
        let task = lock().end();
        assert!(task.is_some() && lock().is_over());
        assert!(!block_on(wait()));
    }

    /// Its session may have ended before its task was run at all.
    #[test]
    fn who_waits_only_after_the_end_learns_of_it() {
        let mut deadline = Deadline::new();
        assert!(deadline.end().is_none(), "nobody waits yet");
        let polled = block_on(poll_fn(|cx| Poll::Ready(deadline.poll(cx))));
        assert_eq!(polled, Poll::Ready(false));
    }

    #[test]
    fn a_deadline_beyond_all_time_is_none() {
        let mut deadline = Deadline::new();
        assert!(deadline.set(Instant::from_micros(u64::MAX)).is_none());
        let polled = block_on(poll_fn(|cx| Poll::Ready(deadline.poll(cx))));
        assert!(polled.is_pending());
    }
}
