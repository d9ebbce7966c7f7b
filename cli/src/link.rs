//! The client's session, kept: opened at the start, opened anew whenever it has ended, until the command stops.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use posthole_blocking::{ConnectError, Options, Session, connect};
use tracing::{info, warn};

use crate::error::Error;
use crate::far::close_within;
use crate::stop::Stop;

/// The pause before the first new attempt; it doubles from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A session that lasted this long was a good one: the next begins with the first pause again.
const GOOD: Duration = Duration::from_secs(30);

/// The session that new connections are to use.
#[derive(Debug)]
pub struct Link {
    url: String,
    options: Options,
    stop: Stop,
    current: Mutex<Option<Session>>,
    changed: Condvar,
}

impl Link {
    /// Begins to connect, on a thread of its own. What can't be mended by trying again stops the command by `stop`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(url: &str, options: Options, stop: Stop) -> Result<Arc<Link>, Error> {
        let link = Arc::new(Link {
            url: url.to_owned(),
            options,
            stop,
            current: Mutex::new(None),
            changed: Condvar::new(),
        });
        let kept = Arc::clone(&link);
        thread::Builder::new()
            .name("link".into())
            .spawn(move || kept.keep())
            .map_err(|e| Error::failed(format!("no thread for the session: {e}")))?;
        Ok(link)
    }

    /// The session that is there, waiting for one at most this long.
    pub fn session(&self, at_most: Duration) -> Option<Session> {
        let until = Instant::now() + at_most;
        let mut current = self.lock();
        loop {
            if let Some(session) = current.as_ref().filter(|s| s.closed().is_none()) {
                return Some(session.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stop.is_over() {
                return None;
            }
            current = self
                .changed
                .wait_timeout(current, left)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
    }

    /// Opens no further session, and ends the one that is there in order, within this time.
    pub fn close(&self, grace: Duration) {
        self.stop.now(Ok(()));
        let current = self.lock().take();
        if let Some(session) = current {
            close_within(&session, grace);
        }
    }

    fn keep(&self) {
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_over() {
            match connect(&self.url, self.options.clone()) {
                Ok(session) => {
                    let began = Instant::now();
                    info!("connected to {}", self.url);
                    self.set(Some(session.clone()));
                    let reason = session.wait_closed();
                    if self.stop.is_over() {
                        return;
                    }
                    self.set(None);
                    if began.elapsed() >= GOOD {
                        pause = FIRST_PAUSE;
                    }
                    warn!(
                        "the session has ended: {reason}; opening a new one in {} s",
                        pause.as_secs_f32()
                    );
                }
                Err(error) => match cannot_connect(&self.url, error) {
                    Failure::Lasting(error) => {
                        self.stop.now(Err(error));
                        return;
                    }
                    Failure::Passing(error) => {
                        warn!("{error}; trying again in {} s", pause.as_secs_f32())
                    }
                },
            }
            self.stop.wait_for(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn set(&self, session: Option<Session>) {
        *self.lock() = session;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Session>> {
        self.current
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Whether another attempt may help.
pub(crate) enum Failure {
    /// It may: the server or the path is not there now.
    Passing(Error),
    /// It can't: what was asked for makes no sense.
    Lasting(Error),
}

/// What to say when there is no session.
pub(crate) fn cannot_connect(url: &str, error: ConnectError) -> Failure {
    let line = Error::failed(format!("can't reach {url}: {error}"));
    if let ConnectError::Target(what) = error {
        return Failure::Lasting(Error::usage(what.to_string()));
    }
    Failure::Passing(line)
}
