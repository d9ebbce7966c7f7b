//! Threads that wait for news of a session.

use crate::driver::Shared;
use crate::relay::{Batch, Relay};
use crate::sync::{Condvar, MutexGuard};
use posthole_protocol::StreamId;
use posthole_runtime::{State, Waiters};
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

    /// It waits no longer.
    pub(crate) fn leave(&mut self, relay: &Arc<Relay>) {
        self.relay.take_if(|own| Arc::ptr_eq(own, relay));
    }
}

/// Wakes those who wait for one thing.
pub(crate) struct Wake {
    woken: Option<Arc<Condvar>>,
    /// With what has come for it, if this wake is to pass it on.
    relay: Option<(Arc<Relay>, Option<Batch>)>,
}

impl Waiters for Threads {
    type Wake = Wake;

    fn take(&mut self) -> Option<Wake> {
        let relay = self.relay.take();
        let woken = (self.waiting > 0).then(|| self.woken.clone());
        let relay = relay.map(|relay| (relay, None));
        (woken.is_some() || relay.is_some()).then_some(Wake { woken, relay })
    }

    fn bring<R>(wake: &mut Wake, state: &mut State<R, Threads>, _id: StreamId) {
        let relay = wake.relay.take();
        wake.relay = relay.and_then(|(relay, _)| {
            let batch = relay.begin(state)?;
            Some((relay, Some(batch)))
        });
    }
}

impl Wake {
    /// All go on by themselves.
    pub(crate) fn notify_all(&self) {
        self.woken.iter().for_each(|woken| woken.notify_all());
        self.relay.iter().for_each(|(relay, _)| relay.call_back());
    }

    /// The same, but what can be done for them is done here. Called with no lock held.
    pub(crate) fn wake(self, shared: &Arc<Shared>) {
        self.woken.iter().for_each(|woken| woken.notify_all());
        match self.relay {
            Some((relay, Some(batch))) => relay.run(shared, batch),
            Some((relay, None)) => relay.call_back(),
            None => {}
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
