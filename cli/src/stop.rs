//! What a running command waits for: an interrupt, or a failure that it can't go on with.
//!
//! `signal-hook` and not `ctrlc`: the signals are ours to choose. `ctrlc` with its termination feature takes SIGHUP as
//! well and so undoes `nohup`; only `--stdio` wants that one, because ssh ends its ProxyCommand with it.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use event_listener::{Event, Listener};
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
    why: OnceLock<Result<(), Error>>,
    over: Event,
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
        let is_first = self.inner.why.set(why).is_ok();
        self.inner.over.notify(usize::MAX);
        is_first
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.inner.why.get().is_some()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The failure that was the reason, if it was one.
    pub fn wait(&self) -> Result<(), Error> {
        loop {
            let over = self.inner.over.listen();
            if let Some(why) = self.inner.why.get() {
                return why.clone();
            }
            over.wait();
        }
    }

    /// Waits for the end, but no longer than this; whether it is over.
    pub fn wait_for(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let over = self.inner.over.listen();
        self.is_over() || over.wait_deadline(until).is_some()
    }

    /// Waits for the end.
    pub async fn over(&self) {
        let over = self.inner.over.listen();
        if !self.is_over() {
            over.await;
        }
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
        let task = {
            let stop = stop.clone();
            thread::spawn(move || smol::block_on(stop.over()))
        };
        assert!(stop.now(Err(Error::failed("no"))));
        assert!(!stop.now(Ok(())));
        assert_eq!(waiting.join().unwrap(), Err(Error::failed("no")));
        task.join().unwrap();
        assert!(stop.is_over() && stop.wait_for(Duration::from_secs(60)));
    }
}
