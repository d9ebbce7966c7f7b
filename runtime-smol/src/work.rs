//! Does what a core had to say, once its lock is released.

use crate::carrier::direct;
use crate::driver::{Shared, State, Work};
use crate::lanes::{Job, Lanes, Slot};
use crate::pending::Desk;
use crate::spawn::Spawner;
use crate::wait::Wake;
use crate::wire::{Name, Wire};
use posthole_protocol::wire::Chain;
use posthole_protocol::{ExchangeId, RequestId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

/// What a core had to say, and who is to carry it.
pub(crate) struct Todo {
    work: Work,
    /// The session's task, if it is to look at its deadline.
    task: Option<Waker>,
    jobs: Vec<Job>,
    cancelled: Vec<(Arc<Slot>, ExchangeId)>,
    /// Idle lanes that are needed no longer.
    ended: Vec<Arc<Slot>>,
    writes: Vec<(Arc<Wire>, Name, Chain)>,
    /// Of streamed answers.
    pieces: Vec<(Arc<Desk>, u64, Chain)>,
    /// Direct connections that are wanted no longer.
    closed: Vec<Arc<Wire>>,
    /// Where to make one, and where its task runs.
    dial: Option<(Option<(String, u16)>, Spawner)>,
}

impl Todo {
    /// Under the lock: finds lanes for the requests.
    pub(crate) fn new(
        mut work: Work,
        state: &mut State,
        lanes: Option<&mut Lanes>,
        wires: &BTreeMap<RequestId, Arc<Wire>>,
        task: Option<Waker>,
        has_ended: bool,
    ) -> Todo {
        let (mut writes, mut closed, mut dial) = (Vec::new(), Vec::new(), None);
        let mut pieces = Vec::new();
        for (request, exchange, bundle) in work.said.drain(..) {
            if let Some(wire) = wires.get(&request) {
                writes.push((wire.clone(), Name::Request(request), bundle));
            } else if let Some(desk) = state.responder(request).and_then(|to| to.desk()) {
                pieces.push((desk, exchange, bundle));
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
            let address = work.dial.take().map(|dial| lanes.direct.address(dial));
            dial = address.map(|address| (address, lanes.spawner().clone()));
            let mut carrier = |exchange| lanes.cancel(exchange).map(|slot| (slot, exchange));
            cancelled.extend(work.cancelled.drain(..).filter_map(&mut carrier));
            if has_ended {
                ended = lanes.end();
            }
        }
        Todo {
            work,
            task,
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
        loop {
            let written = self.perform_once(shared);
            if written.is_empty() {
                return;
            }
            self = shared.polled(|inside| {
                written.into_iter().for_each(|n| inside.feed_written_on(n));
            });
        }
    }

    /// Gives the direct connections that have taken all of a bundle: the core may have more for them.
    fn perform_once(self, shared: &Arc<Shared>) -> Vec<Name> {
        let mut work = self.work;
        work.tell();
        work.wakes.into_iter().for_each(Wake::wake);
        // Before the replies, of which one may be the last thing said on the same connection.
        let mut written = Vec::new();
        for (wire, name, bundle) in self.writes {
            written.extend(wire.send(shared, name, bundle).then_some(name));
        }
        if work
            .lull
            .is_some_and(|lull| written.len() == 1 && shared.lull.end(lull))
        {
            written.clear();
        }
        for (desk, exchange, bundle) in self.pieces {
            desk.piece(exchange, bundle);
        }
        for (responder, reply) in work.replies {
            responder.respond(reply);
        }
        for job in self.jobs {
            job.start(shared);
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
        if let Some((address, spawner)) = self.dial {
            direct::dial(shared, &spawner, address);
        }
        if let Some(task) = self.task {
            task.wake();
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
        written
    }
}
