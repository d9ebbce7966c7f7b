//! Does what a core had to say, once its lock is released.

use crate::carrier::{Trouble, direct};
use crate::driver::{Shared, State, Work};
use crate::front::{Pieces, Responder};
use crate::lanes::{Job, Lanes, Slot};
use crate::timer;
use crate::wait::Wake;
use crate::wire::{Name, Wire};
use posthole_protocol::wire::Chain;
use posthole_protocol::{ExchangeId, Failure, RequestId};
use posthole_runtime::LullId;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// What a core had to say, and who is to carry it.
pub(crate) struct Todo {
    bundles: Vec<(Way, Chain)>,
    lull: Option<LullId>,
    rest: Option<Box<Rest>>,
    wakes: Vec<Wake>,
}

/// What is not part of every round.
struct Rest {
    said: Box<posthole_runtime::Rest<Box<dyn Responder>>>,
    jobs: Vec<Job>,
    cancelled: Vec<(Arc<Slot>, ExchangeId)>,
    /// Idle lanes that are needed no longer.
    ended: Vec<Arc<Slot>>,
    /// Direct connections that are wanted no longer.
    closed: Vec<Arc<Wire>>,
    /// Where to make one.
    dial: Option<Option<(String, u16)>>,
}

/// How a bundle goes that is not a request or a reply of its own.
enum Way {
    Wire(Arc<Wire>, Name),
    /// As the next piece of the streamed answer to this request, of this exchange.
    Piece(Arc<dyn Pieces>, RequestId, u64),
}

impl Way {
    fn name(&self) -> Name {
        match self {
            Way::Wire(_, name) => *name,
            Way::Piece(_, request, _) => Name::Request(*request),
        }
    }

    /// `true`: all of it has been written. Otherwise the core hears of that later.
    fn send(&self, shared: &Arc<Shared>, bundle: Chain) -> bool {
        match self {
            Way::Wire(wire, name) => wire.send(shared, *name, bundle),
            Way::Piece(to, request, exchange) => {
                let (later, name) = (shared.clone(), Name::Request(*request));
                let to = to.clone();
                to.piece(
                    *exchange,
                    bundle,
                    Box::new(move || later.feed_written(name)),
                )
            }
        }
    }
}

impl Todo {
    /// Under the lock: finds lanes for the requests. `has_ended`: no more of them will come.
    pub(crate) fn new(
        work: Work,
        state: &mut State,
        mut lanes: Option<&mut Lanes>,
        wires: &mut BTreeMap<RequestId, Arc<Wire>>,
        has_ended: bool,
    ) -> Todo {
        let mut bundles = Vec::with_capacity(work.said.len() + work.writes.len());
        for (request, exchange, bundle) in work.said {
            if let Some(wire) = wires.get(&request) {
                bundles.push((Way::Wire(wire.clone(), Name::Request(request)), bundle));
            } else if let Some(to) = state.responder(request).and_then(|to| to.pieces()) {
                bundles.push((Way::Piece(to, request, exchange), bundle));
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
        let mut written = Vec::new();
        for (way, bundle) in self.bundles {
            // In a lull there is one, and if nobody was at the session meanwhile, whoever is next tells the core.
            let is_left = |lull| shared.lull.end(lull);
            if way.send(shared, bundle) && !self.lull.is_some_and(is_left) {
                written.push(way.name());
            }
        }
        let stranded = self.rest.and_then(|rest| rest.perform(shared));
        for waiting in self.wakes {
            waiting.wake(shared);
        }
        if written.is_empty() && stranded.is_none() {
            return None;
        }
        let mut locked = shared.lock();
        for name in written {
            locked.feed_written_on(name);
        }
        for (exchange, error) in stranded.into_iter().flatten() {
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

impl Rest {
    #[inline(never)]
    fn new(
        said: Box<posthole_runtime::Rest<Box<dyn Responder>>>,
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
            let dial = rest.said.dial.take();
            rest.dial = dial.map(|dial| lanes.direct.address(dial));
            if has_ended {
                rest.ended = lanes.end();
            }
        }
        Box::new(rest)
    }

    /// Gives the exchanges for which there was no thread, if any.
    #[inline(never)]
    fn perform(self, shared: &Arc<Shared>) -> Option<Vec<(ExchangeId, io::Error)>> {
        let mut said = self.said;
        said.tell();
        for (responder, reply) in said.replies {
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
        (!stranded.is_empty()).then_some(stranded)
    }
}
