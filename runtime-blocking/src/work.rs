//! Does what a core had to say, once its lock is released.

use crate::carrier::{Trouble, direct};
use crate::driver::{Shared, State, Work};
use crate::front::Pieces;
use crate::lanes::{Job, Lanes, Slot};
use crate::timer;
use crate::wire::{Name, Wire};
use posthole_protocol::wire::Chain;
use posthole_protocol::{ExchangeId, Failure, RequestId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a core had to say, and who is to carry it.
pub(crate) struct Todo {
    work: Work,
    jobs: Vec<Job>,
    cancelled: Vec<(Arc<Slot>, ExchangeId)>,
    /// Idle lanes that are needed no longer.
    ended: Vec<Arc<Slot>>,
    writes: Vec<(Arc<Wire>, Name, Chain)>,
    /// Of streamed answers.
    pieces: Vec<(Arc<dyn Pieces>, RequestId, u64, Chain)>,
    /// Direct connections that are wanted no longer.
    closed: Vec<Arc<Wire>>,
    /// Where to make one.
    dial: Option<Option<(String, u16)>>,
}

impl Todo {
    /// Under the lock: finds lanes for the requests.
    pub(crate) fn new(
        mut work: Work,
        state: &mut State,
        lanes: Option<&mut Lanes>,
        wires: &mut BTreeMap<RequestId, Arc<Wire>>,
        has_ended: bool,
    ) -> Todo {
        let (mut writes, mut closed, mut dial) = (Vec::new(), Vec::new(), None);
        let mut pieces = Vec::new();
        for (request, exchange, bundle) in work.said.drain(..) {
            if let Some(wire) = wires.get(&request) {
                writes.push((wire.clone(), Name::Request(request), bundle));
            } else if let Some(to) = state.responder(request).and_then(|to| to.pieces()) {
                pieces.push((to, request, exchange, bundle));
            }
        }
        let (mut jobs, mut cancelled, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(lanes) = lanes {
            jobs.extend(work.requests.drain(..).map(|request| lanes.assign(request)));
            writes.extend(work.writes.drain(..).filter_map(|request| {
                let wire = lanes.direct.wire(request.exchange)?;
                Some((wire, Name::Exchange(request.exchange), request.body))
            }));
            closed.extend(work.cancelled.iter().filter_map(|e| lanes.direct.take(*e)));
            dial = work.dial.take().map(|dial| lanes.direct.address(dial));
            let mut carrier = |exchange| lanes.cancel(exchange).map(|slot| (slot, exchange));
            cancelled.extend(work.cancelled.drain(..).filter_map(&mut carrier));
            if has_ended {
                ended = lanes.end();
            }
        }
        Todo {
            work,
            jobs,
            cancelled,
            ended,
            writes,
            pieces,
            closed,
            dial,
        }
    }

    pub(crate) fn perform(mut self, shared: &Arc<Shared>) {
        while let Some(again) = self.perform_once(shared) {
            self = again;
        }
    }

    /// `Some`: a direct connection has taken all of a bundle, or exchanges for which there was no thread have failed, and
    /// the core may have something to say to that.
    fn perform_once(self, shared: &Arc<Shared>) -> Option<Todo> {
        let mut work = self.work;
        work.tell();
        // Before the replies, of which one may be the last thing said on the same connection.
        let mut written = Vec::new();
        for (wire, name, bundle) in self.writes {
            written.extend(wire.send(shared, name, bundle).then_some(name));
        }
        for (to, request, exchange, bundle) in self.pieces {
            let name = Name::Request(request);
            let later = shared.clone();
            let then = Box::new(move || later.feed_written(name));
            written.extend(to.piece(exchange, bundle, then).then_some(name));
        }
        if work
            .lull
            .is_some_and(|lull| written.len() == 1 && shared.lull.end(lull))
        {
            written.clear();
        }
        for (responder, reply) in work.replies {
            responder.respond(reply);
        }
        let mut stranded = Vec::new();
        for job in self.jobs {
            stranded.extend(job.start(shared).err());
        }
        for (slot, exchange) in self.cancelled {
            slot.cancel(exchange);
        }
        for slot in self.ended {
            slot.end();
        }
        for wire in self.closed {
            wire.close();
        }
        if let Some(address) = self.dial {
            direct::dial(shared, address);
        }
        if let Some(reason) = work.closed {
            tracing::debug!(session = shared.key(), %reason, "session ended");
        }
        if let Some(home) = &shared.home {
            if work.announce {
                home.announce(shared);
            }
            if work.over {
                home.ended(shared);
            }
        }
        for waiting in work.wakes {
            waiting.wake(shared);
        }
        if stranded.is_empty() && written.is_empty() {
            return None;
        }
        let mut locked = shared.lock();
        for name in written {
            locked.feed_written_on(name);
        }
        for (exchange, error) in stranded {
            if let Some(lanes) = locked.lanes() {
                lanes.done(exchange, None);
            }
            let trouble = Trouble {
                failure: Failure::Connect,
                reached: false,
                says: format!("no thread to carry an exchange: {error}"),
            };
            locked.feed_answer(timer::now(), exchange, Err(trouble));
        }
        Some(locked.poll())
    }
}
