//! Does what a core had to say, once its lock is released.

use crate::carrier::direct;
use crate::driver::{Shared, State, Work};
use crate::lanes::{Job, Lanes, Slot};
use crate::pending::{Desk, Responder};
use crate::spawn::Spawner;
use crate::wait::Wake;
use crate::wire::{Name, Wire};
use posthole_protocol::wire::Chain;
use posthole_protocol::{ExchangeId, RequestId};
use posthole_runtime::LullId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

/// What a core had to say, and who is to carry it.
pub(crate) struct Todo {
    bundles: Vec<(Way, Chain)>,
    lull: Option<LullId>,
    rest: Option<Box<Rest>>,
    wakes: Vec<Wake>,
    /// The session's task, if it is to look at its deadline.
    task: Option<Waker>,
}

/// What is not part of every round.
struct Rest {
    said: Box<posthole_runtime::Rest<Responder>>,
    jobs: Vec<Job>,
    cancelled: Vec<(Arc<Slot>, ExchangeId)>,
    /// Idle lanes that are needed no longer.
    ended: Vec<Arc<Slot>>,
    /// Direct connections that are wanted no longer.
    closed: Vec<Arc<Wire>>,
    /// Where to make one, and where its task runs.
    dial: Option<(Option<(String, u16)>, Spawner)>,
}

/// How a bundle goes that is not a request or a reply of its own.
enum Way {
    Wire(Arc<Wire>, Name),
    /// As the next piece of a streamed answer of this exchange, of which its task tells when it is written.
    Piece(Arc<Desk>, u64),
}

impl Todo {
    /// Under the lock: finds lanes for the requests. `has_ended`: no more of them will come.
    pub(crate) fn new(
        work: Work,
        state: &mut State,
        mut lanes: Option<&mut Lanes>,
        wires: &BTreeMap<RequestId, Arc<Wire>>,
        task: Option<Waker>,
        has_ended: bool,
    ) -> Todo {
        let mut bundles = Vec::with_capacity(work.said.len() + work.writes.len());
        for (request, exchange, bundle) in work.said {
            if let Some(wire) = wires.get(&request) {
                bundles.push((Way::Wire(wire.clone(), Name::Request(request)), bundle));
            } else if let Some(desk) = state.responder(request).and_then(|to| to.desk()) {
                bundles.push((Way::Piece(desk, exchange), bundle));
            }
        }
        if let Some(lanes) = &mut lanes {
            for (exchange, bundle) in work.writes {
                if let Some(wire) = lanes.direct.wire(exchange) {
                    bundles.push((Way::Wire(wire, Name::Exchange(exchange)), bundle));
                }
            }
        }
        let rest = (work.rest.is_some() || has_ended)
            .then(|| Rest::new(work.rest.unwrap_or_default(), lanes, has_ended));
        Todo {
            bundles,
            lull: work.lull,
            rest,
            wakes: work.wakes,
            task,
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
        self.wakes.into_iter().for_each(Wake::wake);
        let mut written = Vec::new();
        for (way, bundle) in self.bundles {
            match way {
                Way::Wire(wire, name) => {
                    // In a lull there is one, and if nobody was at the session meanwhile, whoever is next tells the core.
                    let is_left = |lull| shared.lull.end(lull);
                    if wire.send(shared, name, bundle) && !self.lull.is_some_and(is_left) {
                        written.push(name);
                    }
                }
                Way::Piece(desk, exchange) => desk.piece(exchange, bundle),
            }
        }
        if let Some(rest) = self.rest {
            rest.perform(shared);
        }
        if let Some(task) = self.task {
            task.wake();
        }
        written
    }
}

impl Rest {
    #[inline(never)]
    fn new(
        said: Box<posthole_runtime::Rest<Responder>>,
        lanes: Option<&mut Lanes>,
        has_ended: bool,
    ) -> Box<Rest> {
        let mut rest = Rest {
            said,
            jobs: Vec::new(),
            cancelled: Vec::new(),
            ended: Vec::new(),
            closed: Vec::new(),
            dial: None,
        };
        if let Some(lanes) = lanes {
            let requests = rest.said.requests.drain(..);
            rest.jobs = requests.map(|request| lanes.assign(request)).collect();
            for exchange in rest.said.cancelled.drain(..) {
                rest.closed.extend(lanes.direct.take(exchange));
                let slot = lanes.cancel(exchange);
                rest.cancelled.extend(slot.map(|slot| (slot, exchange)));
            }
            if let Some(dial) = rest.said.dial.take() {
                rest.dial = Some((lanes.direct.address(dial), lanes.spawner().clone()));
            }
            if has_ended {
                rest.ended = lanes.end();
            }
        }
        Box::new(rest)
    }

    #[inline(never)]
    fn perform(self, shared: &Arc<Shared>) {
        let mut said = self.said;
        said.tell();
        for (responder, reply) in said.replies {
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
        if let Some(reason) = said.closed {
            tracing::debug!(session = shared.key(), %reason, "session ended");
        }
        if let Some(home) = &shared.home {
            if said.announce {
                home.announce(shared);
            }
            if said.over {
                home.ended(shared);
            }
        }
    }
}
