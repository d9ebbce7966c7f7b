//! What a running command waits for: an interrupt, or a failure that it can't go on with.
//!
//! `signal-hook` and not `ctrlc`: the signals are ours to choose. `ctrlc` with its termination feature takes SIGHUP as
//! well and so undoes `nohup`; only `--stdio` wants that one, because ssh ends its ProxyCommand with it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Error;

/// The one place that says whether to go on; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    why: Mutex<Option<Result<(), Error>>>,
    changed: Condvar,
}

/// Which signals mean the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// SIGINT and SIGTERM; SIGHUP does what it does to any process.
    Untouched,
    /// SIGHUP as well.
    Stops,
}

impl Stop {
    /// One that signals don't touch.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// One that the first signal stops; the second ends the process at once, with 128 + its number as a shell has it.
    ///
    /// # Errors
    /// The system takes no handlers or gives no thread.
    pub fn on_signals(hangup: Hangup) -> Result<Stop, Error> {
        let failed = |e| Error::failed(format!("can't wait for signals: {e}"));
        let stop = Stop::new();
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        if hangup == Hangup::Stops {
            signals.add_signal(SIGHUP).map_err(failed)?;
        }
        let inner = stop.clone();
        let watch = move || {
            for signal in signals.forever() {
                if !inner.now(Ok(())) {
                    std::process::exit(128 + signal);
                }
            }
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(watch)
            .map_err(failed)?;
        Ok(stop)
    }

    /// Stops, for this reason; whether it is the first.
    pub fn now(&self, why: Result<(), Error>) -> bool {
        let mut state = self.lock();
        if state.is_some() {
            return false;
        }
        *state = Some(why);
        self.inner.changed.notify_all();
        true
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.lock().is_some()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The failure that was the reason, if it was one.
    pub fn wait(&self) -> Result<(), Error> {
        let mut state = self.lock();
        loop {
            if let Some(why) = &*state {
                return why.clone();
            }
            state = self
                .inner
                .changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Waits for the end, but no longer than this; whether it is over.
    pub fn wait_for(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let mut state = self.lock();
        while state.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .inner
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Result<(), Error>>> {
        self.inner
            .why
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let stop = Stop::new();
        assert!(!stop.is_over() && !stop.wait_for(Duration::from_millis(1)));
        let waiting = {
            let stop = stop.clone();
            thread::spawn(move || stop.wait())
        };
        assert!(stop.now(Err(Error::failed("no"))));
        assert!(!stop.now(Ok(())));
        assert_eq!(waiting.join().unwrap(), Err(Error::failed("no")));
        assert!(stop.is_over() && stop.wait_for(Duration::from_secs(60)));
    }
}
