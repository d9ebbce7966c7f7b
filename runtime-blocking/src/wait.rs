//! Threads that wait for news of a session.

use crate::driver::Shared;
use crate::relay::Relay;
use crate::sync::{Condvar, MutexGuard};
use posthole_runtime::Waiters;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Threads that wait for one thing, at a condition variable.
#[derive(Default)]
pub(crate) struct Threads {
    woken: Arc<Condvar>,
    waiting: u32,
    /// A thread that waits elsewhere, for bytes that whoever brings them may pass on.
    relay: Option<Arc<Relay>>,
}

impl Threads {
    /// The relay's thread waits for this, too, unless one like it does.
    pub(crate) fn join(&mut self, relay: &Arc<Relay>) -> bool {
        let is_free = self.relay.is_none();
        if is_free {
            self.relay = Some(Arc::clone(relay));
        }
        is_free
    }
}

/// Wakes those who wait for one thing.
pub(crate) struct Wake {
    woken: Option<Arc<Condvar>>,
    relay: Option<Arc<Relay>>,
}

impl Waiters for Threads {
    type Wake = Wake;

    fn take(&mut self) -> Option<Wake> {
        let relay = self.relay.take();
        let woken = (self.waiting > 0).then(|| self.woken.clone());
        (woken.is_some() || relay.is_some()).then_some(Wake { woken, relay })
    }
}

impl Wake {
    /// All go on by themselves.
    pub(crate) fn notify_all(&self) {
        self.woken.iter().for_each(|woken| woken.notify_all());
        self.relay.iter().for_each(|relay| relay.call_back());
    }

    /// The same, but what can be done for them is done here. Called with no lock held.
    pub(crate) fn wake(self, shared: &Arc<Shared>) {
        self.woken.iter().for_each(|woken| woken.notify_all());
        if let Some(relay) = self.relay {
            relay.run(shared);
        }
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
