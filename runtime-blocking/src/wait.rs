//! Threads that wait for news of a session.

use posthole_runtime::Waiters;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::time::Instant;

/// Threads that wait for one thing, at a condition variable.
#[derive(Default)]
pub(crate) struct Threads {
    woken: Arc<Condvar>,
    waiting: u32,
}

impl Waiters for Threads {
    type Wake = Arc<Condvar>;

    fn take(&mut self) -> Option<Arc<Condvar>> {
        (self.waiting > 0).then(|| self.woken.clone())
    }
}

/// Waits with those that `which` finds behind the lock, not beyond `deadline`. The flag says whether that has passed.
pub(crate) fn wait<'a, T>(
    mut guard: MutexGuard<'a, T>,
    which: impl Fn(&mut T) -> &mut Threads,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, T>, bool) {
    let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
    let threads = which(&mut guard);
    threads.waiting += 1;
    let woken = threads.woken.clone();
    let late;
    (guard, late) = match left {
        None => {
            let guard = woken.wait(guard).unwrap_or_else(PoisonError::into_inner);
            (guard, false)
        }
        Some(left) => {
            let waited = woken.wait_timeout(guard, left);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            (guard, timeout.timed_out())
        }
    };
    which(&mut guard).waiting -= 1;
    (guard, late)
}
