//! The client's session, kept by a thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use event_listener::Listener;
use posthole_blocking::{Session, connect};
use posthole_runtime::Options;

use super::far::close_within;
use crate::error::Error;
use crate::link::{Attempts, Slot};
use crate::stop::Stop;

/// The session that new connections are to use.
#[derive(Debug)]
pub(crate) struct Link {
    url: String,
    options: Options,
    stop: Stop,
    slot: Slot<Session>,
}

impl Link {
    /// Begins to connect, on a thread of its own. What can't be mended by trying again stops the command by `stop`.
    pub(crate) fn start(url: &str, options: Options, stop: Stop) -> Result<Arc<Link>, Error> {
        let link = Arc::new(Link {
            url: url.to_owned(),
            options,
            stop,
            slot: Slot::new(),
        });
        let kept = Arc::clone(&link);
        thread::Builder::new()
            .name("link".into())
            .spawn(move || kept.keep())
            .map_err(|e| Error::failed(format!("no thread for the session: {e}")))?;
        Ok(link)
    }

    /// The session that is there, waiting for one at most this long.
    pub(crate) fn session(&self, at_most: Duration) -> Option<Session> {
        let until = Instant::now() + at_most;
        loop {
            let changed = self.slot.listen();
            let session = self.slot.get().filter(|s| s.closed().is_none());
            if session.is_some() {
                return session;
            }
            if self.stop.is_over() {
                return None;
            }
            changed.wait_deadline(until)?;
        }
    }

    /// Whether no further session is opened.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_over()
    }

    /// Opens no further session, and ends the one that is there in order, within this time.
    pub(crate) fn close(&self, grace: Duration) {
        self.stop.now(Ok(()));
        if let Some(session) = self.slot.set(None) {
            close_within(&session, grace);
        }
    }

    fn keep(&self) {
        let mut attempts = Attempts::new(&self.url);
        while !self.stop.is_over() {
            let pause = match connect(&self.url, self.options.clone()) {
                Ok(session) => {
                    attempts.succeeded();
                    self.slot.set(Some(session.clone()));
                    let reason = session.wait_closed();
                    if self.stop.is_over() {
                        return;
                    }
                    self.slot.set(None);
                    attempts.ended(&reason)
                }
                Err(error) => match attempts.failed(error) {
                    Ok(pause) => pause,
                    Err(error) => {
                        self.stop.now(Err(error));
                        return;
                    }
                },
            };
            self.stop.wait_for(pause);
        }
    }
}
