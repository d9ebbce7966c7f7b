//! A session's handle.

use crate::clock::Timer;
use crate::driver::Shared;
use crate::stream::Stream;
use posthole_protocol::{CloseReason, Learned};
use posthole_runtime::{SessionEnded, Stats, Tried};
use smol::future::FutureExt;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// One conversation with a peer, which outlives every connection that carries it. Streams are opened and accepted
/// on it, by either side.
///
/// Handles are cheap to clone and may be used by many tasks. When the last one of a session and of all its
/// streams is dropped, it is closed in order, in the background.
///
/// All futures here are cancel-safe: one that is dropped before it is ready has done nothing, or what its documentation
/// names, and nobody else loses anything by it.
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
    /// Cancel-safe: no stream is open before this is ready.
    ///
    /// # Errors
    /// `NotConnected` or `ConnectionAborted`, if the session is closing or has ended.
    pub async fn open(&self) -> io::Result<Stream> {
        let opened = self.shared().wait(|s| &mut s.room, |s| s.open()).await?;
        Ok(Stream::new(&self.keeper, opened))
    }

    /// Waits for the next stream that the peer opens.
    ///
    /// Cancel-safe: a stream that was not given stays for the next call.
    ///
    /// # Errors
    /// `NotConnected` or `ConnectionAborted`, once the session has ended.
    pub async fn accept(&self) -> io::Result<Stream> {
        let accepted = self.shared().wait(|s| &mut s.incoming, |s| s.accept());
        Ok(Stream::new(&self.keeper, accepted.await?))
    }

    /// Ends the session in order: waits until all that was written has been delivered and the peer knows, or until
    /// that gets no further (by default for 30 s). Streams still in use end with it.
    ///
    /// Without this, dropping the last handle does the same in the background, for as long as its executor runs: a
    /// process that is about to exit calls `close`.
    ///
    /// Cancel-safe: once polled, it goes on in the background.
    ///
    /// # Errors
    /// `NotConnected` or `ConnectionAborted` with a [`SessionEnded`] inside, if the session ended in another way; then
    /// some of what was written may not have arrived.
    pub async fn close(&self) -> io::Result<()> {
        self.shared().turn(|inside| inside.close());
        let reason = self.wait_closed().await;
        if reason.is_clean() {
            Ok(())
        } else {
            Err(SessionEnded(reason).into())
        }
    }

    /// Ends the session at once. What was not delivered is lost, and the peer finds out by itself.
    pub fn abort(&self) {
        self.shared().turn(|inside| inside.abort());
    }

    /// How the session ended, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        self.shared().lock().closed().cloned()
    }

    /// Waits until the session has ended, and says how.
    ///
    /// Cancel-safe: it changes nothing.
    pub async fn wait_closed(&self) -> CloseReason {
        let ended = self.shared().wait(
            |state| &mut state.milestone,
            |state| match state.closed() {
                Some(reason) => Ok(Tried::Done(reason.clone())),
                None => Ok(Tried::Blocked),
            },
        );
        ended.await.expect("this try gives no error")
    }

    /// Whether the peer has answered yet.
    pub fn is_connected(&self) -> bool {
        self.shared().lock().is_connected()
    }

    /// What a client's session has learned of its way to the server; `None` for a server's.
    pub fn learned(&self) -> Option<Learned> {
        self.shared().lock().learned()
    }

    /// What the session has done so far.
    pub fn stats(&self) -> Stats {
        self.shared().lock().stats()
    }

    /// Waits until the peer has answered. `false`: it has not within `patience`, or the session has ended.
    pub(crate) async fn wait_connected(&self, patience: Duration) -> bool {
        let answered = self.shared().wait(
            |state| &mut state.milestone,
            |state| {
                Ok(match (state.closed(), state.is_connected()) {
                    (Some(_), _) => Tried::Done(false),
                    (None, true) => Tried::Done(true),
                    (None, false) => Tried::Blocked,
                })
            },
        );
        let late = async {
            Timer::after(patience).await;
            Ok(false)
        };
        answered.or(late).await.is_ok_and(|answered| answered)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.keeper.shared
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.turn(|inside| inside.close());
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locked = self.shared().lock();
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
    use smol::future::{block_on, zip};
    use std::io::ErrorKind;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Nobody answers at this port; the session tries on.
    fn session() -> Session {
        let options = Options::new()
            .proxy(ProxyChoice::None)
            .wait_for_answer(false);
        block_on(connect("http://127.0.0.1:1/", options)).unwrap()
    }

    /// The peer would hear of it with whatever happens next, which may be long after.
    #[test]
    fn who_drops_the_last_handle_has_it_said_at_once() {
        let shared = Shared::alone();
        let session = Session::new(shared.clone());
        session.shared().turn(|_| {});
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
        let (broken, other) = (session(), session());
        let breaks = async {
            let act = AssertUnwindSafe(|| broken.shared().turn(|_| panic!("on purpose")));
            assert!(catch_unwind(act).is_err());
        };
        let (accepted, ()) = block_on(zip(broken.accept(), breaks));
        assert_eq!(accepted.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(block_on(broken.wait_closed()), CloseReason::Aborted);
        assert!(block_on(broken.open()).is_err());
        assert_eq!(other.closed(), None);
    }

    #[test]
    fn a_handle_dropped_by_a_panic_ends_no_other_session() {
        let session = session();
        let clone = session.clone();
        let panics = catch_unwind(AssertUnwindSafe(|| {
            // Dropped while the thread unwinds.
            let _clone = clone;
            panic!("on purpose");
        }));
        assert!(panics.is_err());
        assert_eq!(session.closed(), None);
        session.abort();
        assert_eq!(session.closed(), Some(CloseReason::Aborted));
    }
}
