//! The client's threads: each carries one exchange at a time over its own connection.
//!
//! A lane that has fed its answer lies on top of the idle ones while the core is asked what to send next, so it takes
//! the first request itself, without waking anybody, and its warm connection is used before colder ones. Lanes are
//! made when a request finds none idle: as many as the core has exchanges open at once. Idle ones end.

use crate::carrier::direct::DirectLane;
use crate::carrier::{Canceller, How, Lane, Target};
use crate::driver::Shared;
use posthole_protocol::{ExchangeId, Request};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long an idle lane waits for work. Its connection ends with it, before boxes would close it at the wrong moment:
/// some do after 5 s.
const IDLE: Duration = Duration::from_secs(4);

/// A lane's stack: the HTTP client and TLS run on it.
const STACK: usize = 512 * 1024;

/// Progress is told to the core no more often than this; its timers are several times longer.
const PROGRESS: Duration = Duration::from_millis(50);

/// A session's lanes; lives beside its core under the same lock.
pub(crate) struct Lanes {
    target: Arc<Target>,
    /// Direct connections, beside them.
    pub(crate) direct: DirectLane,
    /// The one used last is on top.
    idle: Vec<Arc<Slot>>,
    running: Vec<(ExchangeId, Arc<Slot>)>,
}

/// Where a lane finds its work.
pub(crate) struct Slot {
    state: Mutex<SlotState>,
    work: Condvar,
    canceller: Canceller,
}

#[derive(Default)]
struct SlotState {
    request: Option<Request>,
    waits: bool,
    ended: bool,
}

/// A request and the lane that is to carry it.
pub(crate) struct Job {
    request: Request,
    slot: Arc<Slot>,
    /// The lane has no thread yet.
    fresh: Option<Lane>,
}

impl Lanes {
    pub(crate) fn new(target: Arc<Target>, direct: DirectLane) -> Lanes {
        Lanes {
            target,
            direct,
            idle: Vec::new(),
            running: Vec::new(),
        }
    }

    /// Finds a lane for `request`.
    pub(crate) fn assign(&mut self, request: Request) -> Job {
        let (slot, fresh) = match self.idle.pop() {
            Some(slot) => (slot, None),
            None => {
                let lane = Lane::new(self.target.clone());
                let slot = Slot {
                    state: Mutex::default(),
                    work: Condvar::new(),
                    canceller: lane.canceller(),
                };
                (Arc::new(slot), Some(lane))
            }
        };
        self.running.push((request.exchange, slot.clone()));
        Job {
            request,
            slot,
            fresh,
        }
    }

    /// Nobody waits for `exchange` any more: the lane that carries it, if one does.
    pub(crate) fn cancel(&mut self, exchange: ExchangeId) -> Option<Arc<Slot>> {
        let at = self.running.iter().position(|(e, _)| *e == exchange)?;
        Some(self.running.swap_remove(at).1)
    }

    /// The exchange is over. Its lane is idle, if it has a thread.
    pub(crate) fn done(&mut self, exchange: ExchangeId, idle: Option<&Arc<Slot>>) {
        self.running.retain(|(e, _)| *e != exchange);
        self.idle.extend(idle.cloned());
    }

    /// Takes an idle lane's slot back, that it may end. `false`: it has work.
    fn retire(&mut self, slot: &Arc<Slot>) -> bool {
        let before = self.idle.len();
        self.idle.retain(|s| !Arc::ptr_eq(s, slot));
        self.idle.len() < before
    }

    /// No more work will come: the idle lanes, to be told.
    pub(crate) fn end(&mut self) -> Vec<Arc<Slot>> {
        std::mem::take(&mut self.idle)
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut SlotState)) {
        let mut state = self.lock();
        change(&mut state);
        // A lane that gives itself work doesn't wait.
        if state.waits {
            self.work.notify_one();
        }
    }

    /// The lane is to end.
    pub(crate) fn end(&self) {
        self.tell(|state| state.ended = true);
    }

    /// Nobody waits for this exchange's answer any more.
    pub(crate) fn cancel(&self, exchange: ExchangeId) {
        self.tell(|state| {
            if state
                .request
                .take_if(|request| request.exchange == exchange)
                .is_some()
            {
                // Not begun yet: its lane is not among the idle ones and would find no other work.
                state.ended = true;
            }
        });
        self.canceller.cancel(exchange.number());
    }

    fn next(&self, shared: &Arc<Shared>, slot: &Arc<Slot>) -> Option<Request> {
        let mut state = self.lock();
        loop {
            if let Some(request) = state.request.take() {
                return Some(request);
            }
            if state.ended {
                return None;
            }
            state.waits = true;
            let (woken, timeout) = self
                .work
                .wait_timeout(state, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.waits = false;
            if timeout.timed_out() && state.request.is_none() {
                drop(state);
                if shared.lock().lanes().is_none_or(|lanes| lanes.retire(slot)) {
                    return None;
                }
                // Somebody took it off the idle ones just now and is about to say what to do.
                state = self.lock();
            }
        }
    }
}

impl Job {
    /// Hands the request to its lane.
    ///
    /// # Errors
    /// If no thread could be made for it: then this exchange has failed.
    pub(crate) fn start(self, shared: &Arc<Shared>) -> Result<(), (ExchangeId, io::Error)> {
        let Job {
            request,
            slot,
            fresh,
        } = self;
        let exchange = request.exchange;
        slot.tell(|state| state.request = Some(request));
        let Some(lane) = fresh else { return Ok(()) };
        let shared = shared.clone();
        thread::Builder::new()
            .name("posthole-lane".into())
            .stack_size(STACK)
            .spawn(move || run(&shared, lane, &slot))
            .map(drop)
            .map_err(|error| (exchange, error))
    }
}

/// A lane's life.
fn run(shared: &Arc<Shared>, mut lane: Lane, slot: &Arc<Slot>) {
    while let Some(Request {
        exchange,
        body,
        patience,
        streamed,
        form,
        ..
    }) = slot.next(shared, slot)
    {
        let mut told = Instant::now();
        let mut progress = || {
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                shared.feed_progress(exchange);
            }
        };
        let mut piece = |bundles| shared.feed_bundles(exchange, bundles);
        let how = How {
            form,
            pieces: streamed.then_some(&mut piece),
            head: None,
        };
        let number = exchange.number();
        let answer = lane.exchange_with(number, &body, patience, &mut progress, how);
        drop(body);
        shared.feed_answer(exchange, answer, lane.is_kept(), slot);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::carrier::{ProxyChoice, TlsChoice};
    use crate::timer;
    use posthole_protocol::http::Tag;
    use posthole_protocol::{Client, Config, SessionId};
    use std::sync::mpsc::channel;

    fn core() -> Client {
        let id = SessionId::from_bytes([7; 16]);
        Client::new(Config::default(), id, timer::now())
    }

    fn lanes() -> Lanes {
        let (proxy, tls) = (ProxyChoice::None, TlsChoice::Platform);
        let target = Target::new("http://127.0.0.1:1/", Tag::from_bytes([7; 8]), proxy, tls);
        let direct = DirectLane::new("127.0.0.1".into(), None);
        Lanes::new(Arc::new(target.unwrap()), direct)
    }

    /// It is no idle one, so nobody would ever give it work or end it.
    #[test]
    fn a_lane_whose_request_was_cancelled_before_it_began_ends() {
        let (mut core, mut lanes) = (core(), lanes());
        let request = core.poll_request(timer::now()).unwrap();
        let exchange = request.exchange;
        let Job { request, slot, .. } = lanes.assign(request);
        slot.tell(|state| state.request = Some(request));
        lanes.cancel(exchange).unwrap().cancel(exchange);
        let shared = Shared::client(core, lanes);
        let (tell, told) = channel();
        thread::spawn(move || tell.send(slot.next(&shared, &slot).is_some()));
        let begins = told.recv_timeout(Duration::from_secs(60));
        assert_eq!(begins, Ok(false), "it waits for ever");
    }

    /// Its connection is warm, and the others may end.
    #[test]
    fn the_lane_used_last_is_used_first() {
        let mut lanes = lanes();
        let jobs = [core(), core()].map(|mut core| {
            let request = core.poll_request(timer::now()).unwrap();
            (request.exchange, lanes.assign(request).slot)
        });
        for (exchange, slot) in &jobs {
            lanes.done(*exchange, Some(slot));
        }
        let listed = lanes.running.len();
        assert_eq!(listed, 0, "what is over is kept, to be cancelled");
        let next = core().poll_request(timer::now()).unwrap();
        assert!(Arc::ptr_eq(&lanes.assign(next).slot, &jobs[1].1));
    }

    /// It would keep its connection until it has rested.
    #[test]
    fn an_idle_lane_ends_with_its_session() {
        let (mut core, mut lanes) = (core(), lanes());
        let request = core.poll_request(timer::now()).unwrap();
        let exchange = request.exchange;
        let Job { slot, .. } = lanes.assign(request);
        lanes.done(exchange, Some(&slot));
        let shared = Shared::client(core, lanes);
        let mut locked = shared.lock();
        locked.abort();
        locked.settle();
        assert!(slot.lock().ended);
    }
}
