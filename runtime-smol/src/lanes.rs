//! The client's lanes: each is a task that carries one exchange at a time over its own connection.
//!
//! A lane that has fed its answer lies on top of the idle ones while the core is asked what to send next, so it takes
//! the first request itself, without being woken, and its warm connection is used before colder ones. Lanes are made
//! when a request finds none idle: as many as the core has exchanges open at once. Idle ones end.

use crate::carrier::direct::DirectLane;
use crate::carrier::{How, Lane, Pieces, Target};
use crate::clock;
use crate::driver::Shared;
use crate::io::Alarm;
use crate::spawn::Spawner;
use crate::timer;
use posthole_protocol::http::policy::IDLE;
use posthole_protocol::{ExchangeId, Request};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Progress is told to the core no more often than this; its timers are several times longer.
const PROGRESS: Duration = Duration::from_millis(50);

/// A session's lanes; lives beside its core under the same lock.
pub(crate) struct Lanes {
    target: Arc<Target>,
    spawner: Spawner,
    /// Direct connections, beside them.
    pub(crate) direct: DirectLane,
    /// The one used last is on top.
    idle: Vec<Arc<Slot>>,
    running: Vec<(ExchangeId, Arc<Slot>)>,
}

/// Where a lane finds its work.
#[derive(Default)]
pub(crate) struct Slot(Mutex<SlotState>);

#[derive(Default)]
struct SlotState {
    request: Option<Request>,
    cancelled: Option<ExchangeId>,
    ended: bool,
    /// The lane, while it waits for anything.
    waits: Option<Waker>,
}

/// A request and the lane that is to carry it.
pub(crate) struct Job {
    request: Request,
    slot: Arc<Slot>,
    /// The lane has no task yet.
    fresh: Option<(Lane, Spawner)>,
}

impl Lanes {
    pub(crate) fn new(target: Arc<Target>, spawner: Spawner, direct: DirectLane) -> Lanes {
        Lanes {
            target,
            spawner,
            direct,
            idle: Vec::new(),
            running: Vec::new(),
        }
    }

    /// Where the lanes' tasks run.
    pub(crate) fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// Finds a lane for `request`.
    pub(crate) fn assign(&mut self, request: Request) -> Job {
        let (slot, fresh) = match self.idle.pop() {
            Some(slot) => (slot, None),
            None => {
                let lane = Lane::new(self.target.clone());
                (Arc::default(), Some((lane, self.spawner.clone())))
            }
        };
        self.running.push((request.exchange, Arc::clone(&slot)));
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

    /// The exchange is over, and its lane is idle.
    pub(crate) fn done(&mut self, exchange: ExchangeId, idle: &Arc<Slot>) {
        self.running.retain(|(e, _)| *e != exchange);
        self.idle.push(Arc::clone(idle));
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut SlotState)) {
        let mut state = self.lock();
        change(&mut state);
        // A lane that gives itself work doesn't wait.
        let waits = state.waits.take();
        drop(state);
        if let Some(waits) = waits {
            waits.wake();
        }
    }

    /// The lane is to end.
    pub(crate) fn end(&self) {
        self.tell(|state| state.ended = true);
    }

    /// Nobody waits for this exchange's answer any more.
    pub(crate) fn cancel(&self, exchange: ExchangeId) {
        self.tell(|state| state.cancelled = Some(exchange));
    }

    /// The next request; `Ready(None)`: the lane is to end.
    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Request>> {
        let mut state = self.lock();
        if let Some(request) = state.request.take() {
            return Poll::Ready(Some(request));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waits = Some(cx.waker().clone());
        Poll::Pending
    }

    async fn next(self: &Arc<Self>, shared: &Arc<Shared>, idle: &mut Alarm) -> Option<Request> {
        idle.move_to(clock::instant() + IDLE);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(next) = self.poll_next(cx) {
                    return Poll::Ready(next);
                }
                if Pin::new(&mut *idle).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let mut locked = shared.lock();
                if locked.lanes().is_none_or(|lanes| lanes.retire(self)) {
                    return Poll::Ready(None);
                }
                // Somebody took it off the idle ones just now and is about to say what to do.
                idle.move_to(clock::instant() + IDLE);
            }
        })
        .await
    }

    /// Runs an exchange unless it is cancelled; `None`: it was.
    async fn unless_cancelled<T>(
        &self,
        exchange: ExchangeId,
        carried: impl Future<Output = T>,
    ) -> Option<T> {
        let mut carried = pin!(carried);
        let outcome = poll_fn(|cx| {
            let mut state = self.lock();
            if state.cancelled == Some(exchange) {
                return Poll::Ready(None);
            }
            match &mut state.waits {
                Some(waits) => waits.clone_from(cx.waker()),
                None => state.waits = Some(cx.waker().clone()),
            }
            drop(state);
            carried.as_mut().poll(cx).map(Some)
        })
        .await;
        self.lock().waits = None;
        outcome
    }
}

impl Job {
    /// Hands the request to its lane.
    pub(crate) fn start(self, shared: &Arc<Shared>) {
        let Job {
            request,
            slot,
            fresh,
        } = self;
        slot.tell(|state| state.request = Some(request));
        if let Some((lane, spawner)) = fresh {
            spawner.spawn(run(shared.clone(), lane, slot));
        }
    }
}

/// A lane's life.
async fn run(shared: Arc<Shared>, mut lane: Lane, slot: Arc<Slot>) {
    let mut idle = Alarm::never();
    while let Some(Request {
        exchange,
        body,
        patience,
        streamed,
        form,
        ..
    }) = slot.next(&shared, &mut idle).await
    {
        let answer = {
            let mut told = clock::instant();
            let mut progress = || {
                if clock::instant() >= told + PROGRESS {
                    told = clock::instant();
                    shared.turn(|inside| inside.feed_progress(timer::now(), exchange));
                }
            };
            let mut piece = |bundles| {
                shared.turn(|inside| inside.feed_bundles(timer::now(), exchange, bundles));
            };
            let how = How {
                form,
                pieces: streamed.then_some(&mut piece as Pieces<'_>),
            };
            let carried = lane.carry(exchange.number(), &body, patience, &mut progress, how);
            slot.unless_cancelled(exchange, carried).await
        };
        drop(body);
        shared.feed_answer(exchange, answer, lane.is_kept(), &slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthole_protocol::http::{ProxyChoice, Tag};
    use posthole_protocol::{Client, Config, SessionId};
    use posthole_runtime::TlsChoice;
    use smol::future::{block_on, pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn request() -> Request {
        let id = SessionId::from_bytes([1; 16]);
        let mut client = Client::new(Config::default(), id, timer::now());
        let request = client.poll_request(timer::now());
        request.expect("a session begins with one")
    }

    #[test]
    fn a_lane_that_gives_itself_work_is_not_woken() {
        let (count, slot) = (Arc::new(Count::default()), Slot::default());
        let waker = Arc::clone(&count).into();
        let mut cx = Context::from_waker(&waker);
        let request = request();
        let exchange = request.exchange;
        // An exchange that had to wait, and has its answer.
        let mut polled = false;
        let carried = poll_fn(|_| {
            if std::mem::replace(&mut polled, true) {
                Poll::Ready(7)
            } else {
                Poll::Pending
            }
        });
        let mut carrying = pin!(slot.unless_cancelled(exchange, carried));
        assert!(carrying.as_mut().poll(&mut cx).is_pending());
        assert_eq!(carrying.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
        slot.tell(|state| state.request = Some(request.clone()));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(slot.poll_next(&cx).is_ready());
        // One that waits is.
        assert!(slot.poll_next(&cx).is_pending());
        slot.tell(|state| state.request = Some(request));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    /// So that its connection is warm, and the others rest and end.
    #[test]
    fn the_lane_used_last_is_used_first() {
        let tag = Tag::from_bytes([1; 8]);
        let target = Target::new("http://h/", tag, ProxyChoice::None, TlsChoice::Platform);
        let direct = DirectLane::new(String::new(), None);
        let target = Arc::new(target.expect("a URL"));
        let mut lanes = Lanes::new(target, Spawner::new(drop), direct);
        let request = request();
        let (first, last) = (lanes.assign(request.clone()), lanes.assign(request.clone()));
        assert!(first.fresh.is_some() && last.fresh.is_some());
        for job in [&first, &last] {
            lanes.done(request.exchange, &job.slot);
        }
        let listed = lanes.running.len();
        assert_eq!(listed, 0, "what is over is kept, to be cancelled");
        let next = lanes.assign(request.clone());
        assert!(next.fresh.is_none() && Arc::ptr_eq(&next.slot, &last.slot));
        // Who has work does not end, and who has none is not given any after its end.
        assert!(!lanes.retire(&last.slot) && lanes.retire(&first.slot));
        assert!(lanes.assign(request).fresh.is_some());
    }

    #[test]
    fn a_request_cancelled_before_its_lane_begins_is_not_sent() {
        let (slot, exchange) = (Slot::default(), request().exchange);
        slot.cancel(exchange);
        let sent = async { panic!("sent") };
        assert_eq!(block_on(slot.unless_cancelled::<()>(exchange, sent)), None);
        // And one that is under way is given up.
        let slot = Slot::default();
        let giving_up = async {
            smol::future::yield_now().await;
            slot.cancel(exchange);
        };
        let carrying = slot.unless_cancelled(exchange, pending::<()>());
        assert_eq!(block_on(smol::future::zip(carrying, giving_up)).0, None);
        assert_eq!(block_on(slot.unless_cancelled(exchange, ready(1))), None);
    }
}
