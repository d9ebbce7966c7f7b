//! One session's core, of either role; the server's with the requests that it holds. The same verbs for both, so that
//! sessions and streams needn't ask which they have.

use posthole_protocol::{
    Client, Event, Instant, OpenError, RequestId, Server, SessionId, Stats, Stream, StreamId,
};
use std::collections::BTreeMap;

/// A session's core.
pub(crate) enum Machine<R> {
    /// It opens exchanges; the runtime carries them.
    Client(Box<Client>),
    /// It answers them, each through its responder.
    Server {
        core: Box<Server>,
        held: BTreeMap<RequestId, R>,
    },
}

macro_rules! either {
    ($machine:expr, $core:ident => $call:expr) => {
        match $machine {
            Machine::Client($core) => $call,
            Machine::Server { core: $core, .. } => $call,
        }
    };
}

impl<R> Machine<R> {
    pub(crate) fn id(&self) -> SessionId {
        either!(self, core => core.id())
    }

    pub(crate) fn stats(&self) -> Stats {
        either!(self, core => core.stats())
    }

    pub(crate) fn feed_timeout(&mut self, now: Instant) {
        either!(self, core => core.feed_timeout(now));
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        either!(self, core => core.poll_event())
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        either!(self, core => core.next_timeout())
    }

    pub(crate) fn open(&mut self) -> Result<StreamId, OpenError> {
        either!(self, core => core.open())
    }

    pub(crate) fn accept(&mut self) -> Option<StreamId> {
        either!(self, core => core.accept())
    }

    pub(crate) fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        either!(self, core => core.stream(id))
    }

    pub(crate) fn close(&mut self) {
        either!(self, core => core.close(0, ""));
    }

    pub(crate) fn abort(&mut self) {
        either!(self, core => core.abort());
    }
}
