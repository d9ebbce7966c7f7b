//! For tests: an executor, a clock and a network where every choice is a seed's, so that a run comes out the same again.
//!
//! Which task that can go on goes on next, how long it takes, what the network does: all of it is drawn. Time passes when
//! nobody can go on. With every other seed a task is polled now and then that nobody has woken, as any executor may. If all
//! wait, and for no time to come, whoever is waited for was forgotten, and the run fails; where a timer comes to the rescue,
//! the time that the run takes tells.
//!
//! It runs on one thread, whose clock is this one meanwhile.

pub(crate) mod net;

use crate::spawn::Spawner;
use crate::timer::ZERO;
use posthole_tests::rng::{Rng, mix};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// No run takes longer, in its own time and in steps.
const LIMIT: Duration = Duration::from_secs(3600);
const STEPS: u64 = 2_000_000;
/// When a world begins, in microseconds.
const BEGIN: u64 = 1_000_000;
/// How long a step takes, at most, in microseconds.
const STEP: u64 = 20;
/// Where tasks are polled that were not woken, it is one step of so many that does so.
const UNASKED: u64 = 16;

struct World {
    rng: Rng,
    /// Tasks are polled that nobody has woken.
    polls_unasked: bool,
    /// Microseconds since [`ZERO`].
    now: u64,
    timers: BTreeMap<(u64, u64), Waker>,
    last_timer: u64,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// In the world that runs on this thread, if one does.
fn within<T>(act: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(act))
}

/// What time it is there.
pub(crate) fn instant() -> Option<Instant> {
    within(|world| *ZERO + Duration::from_micros(world.now))
}

/// How long the world has been there.
pub(crate) fn age() -> Duration {
    within(|world| Duration::from_micros(world.now - BEGIN)).expect("a world runs")
}

/// A number below `end` that the seed says.
pub(crate) fn below(end: u64) -> u64 {
    within(|world| world.rng.below(end)).expect("a world runs")
}

/// Fills these with what the seed says. `false`: no world runs.
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    let filled = within(|world| {
        for byte in bytes {
            *byte = world.rng.draw().to_le_bytes()[0];
        }
    });
    filled.is_some()
}

/// Waits so long.
pub(crate) async fn sleep(time: Duration) {
    Timer::after(time).await;
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What has to run, shared with whoever wakes.
#[derive(Default)]
struct Queue {
    ready: Mutex<BTreeSet<usize>>,
    spawned: Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

struct Woken(usize, Arc<Queue>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.1.ready.lock().expect("nobody panics").insert(self.0);
    }
}

/// Runs what `main` makes, with what it spawns, until it is done. Gives that, and a number that says what was done when.
pub(crate) fn run<F: Future<Output: 'static> + 'static>(
    seed: u64,
    main: impl FnOnce(Spawner) -> F,
) -> (F::Output, u64) {
    let queue = Arc::new(Queue::default());
    let spawner = {
        let queue = queue.clone();
        Spawner::new(move |task| queue.spawned.lock().expect("nobody panics").push(task))
    };
    let before = WORLD.replace(Some(World {
        rng: Rng::new(seed),
        polls_unasked: seed % 2 == 1,
        now: BEGIN,
        timers: BTreeMap::new(),
        last_timer: 0,
    }));
    assert!(before.is_none(), "one at a time on a thread");
    let _end = Ended;
    let (result, output) = (Arc::new(Mutex::new(None)), main(spawner));
    let told = result.clone();
    let main: Task = Box::pin(async move {
        let output = output.await;
        *told.lock().expect("nobody panics") = Some(output);
    });
    let mut runs = Running {
        queue,
        tasks: vec![Some(main)],
        trace: seed,
    };
    runs.queue.ready.lock().expect("nobody panics").insert(0);
    for _ in 0..STEPS {
        if runs.tasks[0].is_none() {
            break;
        }
        runs.step();
    }
    assert!(
        runs.tasks[0].is_none(),
        "it is not over after {STEPS} steps and {:?}",
        age()
    );
    let trace = runs.trace;
    // In the world, where their timers are.
    drop(runs);
    let output = result.lock().expect("nobody panics").take();
    (output.expect("it is done"), trace)
}

/// The world ends with the run, also where that panics.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        let world = WORLD.take();
        drop(world);
    }
}

struct Running {
    queue: Arc<Queue>,
    /// By their numbers; `None`: it is done.
    tasks: Vec<Option<Task>>,
    trace: u64,
}

impl Running {
    fn step(&mut self) {
        let spawned = std::mem::take(&mut *self.queue.spawned.lock().expect("nobody panics"));
        for task in spawned {
            let number = self.tasks.len();
            self.tasks.push(Some(task));
            self.queue
                .ready
                .lock()
                .expect("nobody panics")
                .insert(number);
        }
        let Some(number) = self.choose() else {
            let waker = within(World::pass).expect("a world runs");
            let waker = waker.expect("all wait, and for no time to come: somebody was forgotten");
            return waker.wake();
        };
        let Some(mut task) = self.tasks[number].take() else {
            return;
        };
        let now = within(|world| {
            world.now += world.rng.below(STEP);
            world.now
        });
        self.trace = mix(self.trace ^ mix(number as u64) ^ now.unwrap_or(0));
        let waker = Arc::new(Woken(number, self.queue.clone())).into();
        if task
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            self.tasks[number] = Some(task);
        }
    }

    /// One that was woken, or now and then any.
    fn choose(&self) -> Option<usize> {
        let mut ready = self.queue.ready.lock().expect("nobody panics");
        let (chance, at) = (below(UNASKED), below(u64::MAX));
        let is_unasked = chance == 0 && within(|world| world.polls_unasked) == Some(true);
        let of = |length: usize| usize::try_from(at).unwrap_or(usize::MAX) % length.max(1);
        if is_unasked && !ready.is_empty() {
            return Some(of(self.tasks.len()));
        }
        let number = ready.iter().nth(of(ready.len())).copied()?;
        ready.remove(&number);
        Some(number)
    }
}

impl World {
    /// Lets time pass to the next timer; whom it wakes.
    fn pass(&mut self) -> Option<Waker> {
        let ((at, _), waker) = self.timers.pop_first()?;
        self.now = self.now.max(at);
        let passed = Duration::from_micros(self.now);
        assert!(passed < LIMIT, "it is not over after {passed:?}");
        Some(waker)
    }
}

/// The system's timer, or one of the world's where one runs.
pub(crate) enum Timer {
    System(smol::Timer),
    /// When, in microseconds, and what it is called there.
    Virtual(Option<u64>, u64),
}

impl Timer {
    pub(crate) fn never() -> Timer {
        let name = within(|world| {
            world.last_timer += 1;
            world.last_timer
        });
        match name {
            Some(name) => Timer::Virtual(None, name),
            None => Timer::System(smol::Timer::never()),
        }
    }

    pub(crate) fn at(at: Instant) -> Timer {
        let mut timer = Timer::never();
        timer.set_at(at);
        timer
    }

    pub(crate) fn after(time: Duration) -> Timer {
        Timer::at(crate::clock::instant() + time)
    }

    pub(crate) fn set_at(&mut self, at: Instant) {
        self.forget();
        match self {
            Timer::System(timer) => timer.set_at(at),
            Timer::Virtual(when, _) => {
                let micros = at.saturating_duration_since(*ZERO).as_micros();
                *when = Some(u64::try_from(micros).unwrap_or(u64::MAX));
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.forget();
        match self {
            Timer::System(timer) => timer.clear(),
            Timer::Virtual(when, _) => *when = None,
        }
    }

    fn forget(&self) {
        if let Timer::Virtual(Some(at), name) = self {
            let waker = within(|world| world.timers.remove(&(*at, *name)));
            drop(waker);
        }
    }
}

impl Future for Timer {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let (when, name) = match &mut *self {
            Timer::System(timer) => return Pin::new(timer).poll(cx),
            Timer::Virtual(when, name) => (when, *name),
        };
        let Some(at) = *when else {
            return Poll::Pending;
        };
        let has_come = within(|world| {
            let has_come = world.now >= at;
            let key = (at, name);
            let old = if has_come {
                world.timers.remove(&key)
            } else {
                world.timers.insert(key, cx.waker().clone())
            };
            (has_come, old)
        });
        match has_come {
            Some((true, _)) => {
                *when = None;
                Poll::Ready(*ZERO + Duration::from_micros(at))
            }
            Some((false, _)) | None => Poll::Pending,
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.forget();
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
