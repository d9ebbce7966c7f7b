//! The client's session, kept by a task.

use std::sync::Arc;
use std::time::Duration;

use posthole_runtime::Options;
use posthole_smol::{Session, connect_on};
use smol::{Timer, future};

use super::far::close_within;
use crate::link::{Attempts, Slot};
use crate::stop::Stop;
use crate::tasks::{TASKS, spawn};

/// The session that new connections are to use.
#[derive(Debug)]
pub(super) struct Link {
    url: String,
    options: Options,
    stop: Stop,
    slot: Slot<Session>,
}

impl Link {
    /// Begins to connect, in a task of its own. What can't be mended by trying again stops the command by `stop`.
    pub(super) fn start(url: &str, options: Options, stop: Stop) -> Arc<Link> {
        let link = Arc::new(Link {
            url: url.to_owned(),
            options,
            stop,
            slot: Slot::new(),
        });
        let kept = Arc::clone(&link);
        spawn(async move { kept.keep().await });
        link
    }

    /// The session that is there, waiting for one at most this long.
    pub(super) async fn session(&self, at_most: Duration) -> Option<Session> {
        // As a rule it is there, and no timer is needed.
        if let Some(session) = self.session_now() {
            return Some(session);
        }
        let come = async {
            loop {
                let changed = self.slot.listen();
                let session = self.session_now();
                if session.is_some() || self.stop.is_over() {
                    return session;
                }
                changed.await;
            }
        };
        let late = async {
            Timer::after(at_most).await;
            None
        };
        future::or(come, late).await
    }

    /// The session that is there.
    pub(super) fn session_now(&self) -> Option<Session> {
        self.slot.get().filter(|s| s.closed().is_none())
    }

    /// Whether no further session is opened.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_over()
    }

    /// Opens no further session, and ends the one that is there in order, within this time.
    pub(super) async fn close(&self, grace: Duration) {
        self.stop.now(Ok(()));
        if let Some(session) = self.slot.set(None) {
            close_within(&session, grace).await;
        }
    }

    async fn keep(&self) {
        let mut attempts = Attempts::new(&self.url);
        while !self.stop.is_over() {
            let pause = match connect_on(&TASKS, &self.url, self.options.clone()).await {
                Ok(session) => {
                    attempts.succeeded();
                    self.slot.set(Some(session.clone()));
                    let reason = session.wait_closed().await;
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
            let pause = async {
                Timer::after(pause).await;
            };
            future::or(self.stop.over(), pause).await;
        }
    }
}
