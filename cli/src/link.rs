//! The client's session, kept: opened at the start, opened anew whenever it has ended, until the command stops. Here is
//! when and how often, and where the session stands for those who need it.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener};
use posthole_protocol::CloseReason;
use posthole_runtime::ConnectError;
use tracing::{info, warn};

use crate::error::Error;

/// The pause before the first new attempt; it doubles from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A session that lasted this long was a good one: the next begins with the first pause again.
const GOOD: Duration = Duration::from_secs(30);

/// How long to pause before the next attempt, and what is said of the last one.
#[derive(Debug)]
pub(crate) struct Attempts {
    url: String,
    pause: Duration,
    began: Option<Instant>,
}

impl Attempts {
    pub(crate) fn new(url: &str) -> Attempts {
        Attempts {
            url: url.to_owned(),
            pause: FIRST_PAUSE,
            began: None,
        }
    }

    /// There is a session.
    pub(crate) fn succeeded(&mut self) {
        self.began = Some(Instant::now());
        info!("connected to {}", self.url);
    }

    /// It has ended; how long to pause.
    pub(crate) fn ended(&mut self, reason: &CloseReason) -> Duration {
        if self
            .began
            .take()
            .is_some_and(|began| began.elapsed() >= GOOD)
        {
            self.pause = FIRST_PAUSE;
        }
        let pause = self.next_pause();
        warn!(
            "the session has ended: {reason}; opening a new one in {} s",
            pause.as_secs_f32()
        );
        pause
    }

    /// There is none; how long to pause.
    ///
    /// # Errors
    /// Another attempt is of no use.
    pub(crate) fn failed(&mut self, error: ConnectError) -> Result<Duration, Error> {
        match cannot_connect(&self.url, error) {
            Failure::Lasting(error) => Err(error),
            Failure::Passing(error) => {
                let pause = self.next_pause();
                warn!("{error}; trying again in {} s", pause.as_secs_f32());
                Ok(pause)
            }
        }
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Why there is no session, and whether another attempt may help.
pub(crate) enum Failure {
    /// It may: the server or the path is not there now.
    Passing(Error),
    /// It can't: what was asked for makes no sense.
    Lasting(Error),
}

impl Failure {
    /// For who makes no other attempt.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Failure::Passing(error) | Failure::Lasting(error) => error,
        }
    }
}

/// What to say when there is no session.
pub(crate) fn cannot_connect(url: &str, error: ConnectError) -> Failure {
    let line = Error::failed(format!("can't reach {url}: {error}"));
    if matches!(error, ConnectError::Target(_) | ConnectError::Direct(_)) {
        return Failure::Lasting(Error::usage(error.to_string()));
    }
    Failure::Passing(line)
}

/// Where the session stands while there is one.
#[derive(Debug)]
pub(crate) struct Slot<S> {
    current: Mutex<Option<S>>,
    changed: Event,
}

impl<S: Clone> Slot<S> {
    pub(crate) fn new() -> Slot<S> {
        Slot {
            current: Mutex::new(None),
            changed: Event::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<S> {
        self.lock().clone()
    }

    /// Puts another there, or none; gives what was there.
    pub(crate) fn set(&self, session: Option<S>) -> Option<S> {
        let before = std::mem::replace(&mut *self.lock(), session);
        self.changed.notify(usize::MAX);
        before
    }

    /// Hears of the next change. To be called before looking, so that none is missed.
    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    fn lock(&self) -> MutexGuard<'_, Option<S>> {
        self.current
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn no_answer() -> ConnectError {
        ConnectError::NoAnswer {
            waited: Duration::from_secs(1),
            trouble: None,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_good_session() {
        let mut attempts = Attempts::new("http://server/");
        let pauses: Vec<f32> = (0..8)
            .map(|_| attempts.failed(no_answer()).unwrap().as_secs_f32())
            .collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        attempts.succeeded();
        assert_eq!(
            attempts.ended(&CloseReason::Gone),
            LONGEST_PAUSE,
            "a short one"
        );
        attempts.began = Instant::now().checked_sub(GOOD);
        assert_eq!(attempts.ended(&CloseReason::Gone), FIRST_PAUSE);
    }
}
