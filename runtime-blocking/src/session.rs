//! A session's handle.

use crate::driver::{Locked, Shared};
use crate::stream::Stream;
use posthole_protocol::{CloseReason, Learned, StreamId};
use posthole_runtime::{SessionEnded, Stats, Tried};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One conversation with a peer, which outlives every connection that carries it. Streams are opened and accepted
/// on it, by either side.
///
/// Handles are cheap to clone and may be used by many threads. When the last one of a session and of all its
/// streams is dropped, it is closed in order, in the background.
#[derive(Clone)]
pub struct Session {
    keeper: Arc<Keeper>,
}

/// What all handles of a session and its streams share; its drop closes the session.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>) -> Session {
        Session {
            keeper: Arc::new(Keeper { shared }),
        }
    }

    /// Opens a stream. The peer hears of it with the first byte written or the end; this needs no round trip. Waits
    /// while as many streams are open as the peer allows.
    ///
    /// # Errors
    /// `NotConnected` or `ConnectionAborted`, if the session is closing or has ended.
    pub fn open(&self) -> io::Result<Stream> {
        let mut locked = self.lock();
        loop {
            match locked.open()? {
                Tried::Done(id) => return Ok(self.handle(locked, id)),
                Tried::Blocked => (locked, _) = locked.wait(|state| &mut state.room, None),
            }
        }
    }

    /// Waits for the next stream that the peer opens.
    ///
    /// # Errors
    /// `NotConnected` or `ConnectionAborted`, once the session has ended.
    pub fn accept(&self) -> io::Result<Stream> {
        let mut locked = self.lock();
        loop {
            match locked.accept()? {
                Tried::Done(id) => return Ok(self.handle(locked, id)),
                Tried::Blocked => (locked, _) = locked.wait(|state| &mut state.incoming, None),
            }
        }
    }

    /// Ends the session in order: waits until all that was written has been delivered and the peer knows, or until
    /// that gets no further (by default for 30 s). Streams still in use end with it.
    ///
    /// Without this, dropping the last handle does the same in the background, for as long as the process lives: one
    /// that is about to exit calls `close`.
    ///
    /// # Errors
    /// `NotConnected` or `ConnectionAborted` with a [`SessionEnded`](crate::SessionEnded) inside, if the session ended in
    /// another way; then some of what was written may not have arrived.
    pub fn close(&self) -> io::Result<()> {
        let mut locked = self.lock();
        locked.close();
        locked.settle();
        let reason = self.wait_closed();
        if reason.is_clean() {
            Ok(())
        } else {
            Err(SessionEnded(reason).into())
        }
    }

    /// Ends the session at once. What was not delivered is lost, and the peer finds out by itself.
    pub fn abort(&self) {
        let mut locked = self.lock();
        locked.abort();
        locked.settle();
    }

    /// How the session ended, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        self.lock().closed().cloned()
    }

    /// Waits until the session has ended, and says how.
    pub fn wait_closed(&self) -> CloseReason {
        let mut locked = self.lock();
        loop {
            if let Some(reason) = locked.closed() {
                return reason.clone();
            }
            (locked, _) = locked.wait(|state| &mut state.milestone, None);
        }
    }

    /// Whether the peer has answered yet.
    pub fn is_connected(&self) -> bool {
        self.lock().is_connected()
    }

    /// What the session has done so far.
    pub fn stats(&self) -> Stats {
        self.lock().stats()
    }

    /// What a client's session has learned of its way to the server; `None` for a server's.
    pub fn learned(&self) -> Option<Learned> {
        self.lock().learned()
    }

    /// Waits until the peer has answered. `false`: it has not within `patience`, or the session has ended.
    pub(crate) fn wait_connected(&self, patience: Duration) -> bool {
        let deadline = Instant::now().checked_add(patience);
        let mut locked = self.lock();
        let mut late = false;
        loop {
            let (is_connected, has_ended) = (locked.is_connected(), locked.closed().is_some());
            if is_connected || has_ended || late {
                return is_connected && !has_ended;
            }
            (locked, late) = locked.wait(|state| &mut state.milestone, deadline);
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.keeper.shared
    }

    fn lock(&self) -> Locked<'_> {
        self.keeper.shared.lock()
    }

    fn handle(&self, locked: Locked<'_>, id: StreamId) -> Stream {
        locked.settle();
        Stream::new(&self.keeper, id)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let mut locked = self.shared.lock();
        locked.close();
        locked.settle();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locked = self.lock();
        f.debug_struct("Session")
            .field("id", &locked.id())
            .field("connected", &locked.is_connected())
            .field("closed", &locked.closed())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Session;
    use crate::carrier::ProxyChoice;
    use crate::driver::Shared;
    use crate::{CloseReason, Options, connect, timer};
    use posthole_runtime::State;
    use std::io::ErrorKind;
    use std::thread;

    /// The peer would hear of it with whatever happens next, which may be long after.
    #[test]
    fn who_drops_the_last_handle_has_it_said_at_once() {
        let shared = Shared::alone();
        let session = Session::new(shared.clone());
        session.lock().settle();
        drop(session);
        let mut locked = shared.lock();
        assert!(locked.open().is_err(), "it is not closed");
        let left = State::poll(&mut locked, timer::now());
        assert!(
            left.rest.is_none() && left.alarm.is_none(),
            "something is still to be said"
        );
    }

    #[test]
    fn a_panic_under_the_lock_ends_this_session_only() {
        // Nobody answers at this port; the session tries on.
        let options = || {
            Options::new()
                .proxy(ProxyChoice::None)
                .wait_for_answer(false)
        };
        let broken = connect("http://127.0.0.1:1/", options()).unwrap();
        let other = connect("http://127.0.0.1:1/", options()).unwrap();
        let waits = broken.clone();
        let accepting = thread::spawn(move || waits.accept().map(drop));
        let shared = broken.shared().clone();
        let panics = thread::spawn(move || {
            let _locked = shared.lock();
            panic!("on purpose");
        });
        assert!(panics.join().is_err());
        assert_eq!(
            accepting.join().unwrap().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
        assert_eq!(broken.wait_closed(), CloseReason::Aborted);
        assert!(broken.open().is_err());
        assert_eq!(other.closed(), None);
    }

    #[test]
    fn a_handle_dropped_by_a_panic_ends_no_other_session() {
        let options = Options::new()
            .proxy(ProxyChoice::None)
            .wait_for_answer(false);
        let session = connect("http://127.0.0.1:1/", options).unwrap();
        let clone = session.clone();
        let panics = thread::spawn(move || {
            // Dropped while the thread unwinds.
            let _clone = clone;
            panic!("on purpose");
        });
        assert!(panics.join().is_err());
        assert_eq!(session.closed(), None);
        session.abort();
        assert_eq!(session.closed(), Some(CloseReason::Aborted));
    }
}
