//! Threads of which one runs at a time, in virtual time.
//!
//! A thread runs until it waits; then another that may go on is drawn, and only when none may does time pass, to the next
//! moment at which anything happens. So a seed says everything about a run, a wait of an hour takes no time, and who was
//! forgotten is found out: when nobody can go on and none ever will, the case fails.

use super::wire::Wire;
use crate::bounded::bounded;
use crate::rng::Rng;
use posthole_runtime::Waiters;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// For so long may everybody wait for news while only the sessions themselves are busy: longer than any of their own
/// deadlines. Microseconds.
const STUCK: u64 = 3_600 * crate::SEC;

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// Where a thread plays, and as whom.
#[derive(Clone)]
struct Here {
    stage: Arc<Stage>,
    me: usize,
}

/// Threads that wait for one thing.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Vec<usize>);

impl Sleepers {
    pub(super) fn join(&mut self, thread: usize) {
        self.0.push(thread);
    }
}

impl Waiters for Sleepers {
    type Wake = Vec<usize>;

    fn take(&mut self) -> Option<Vec<usize>> {
        let all = std::mem::take(&mut self.0);
        (!all.is_empty()).then_some(all)
    }
}

struct Stage {
    inner: Mutex<Inner>,
}

struct Inner {
    wire: Wire,
    threads: Vec<Thread>,
    /// Whose turn it is.
    running: usize,
    /// Who may go on.
    ready: Vec<usize>,
    /// Who goes on at some moment at the latest.
    alarms: BTreeSet<(u64, usize)>,
    /// When a thread ran last.
    active: u64,
    is_stuck: bool,
    rng: Rng,
}

#[derive(Default)]
struct Thread {
    turn: Arc<Condvar>,
    is_over: bool,
    joining: Sleepers,
}

/// Plays a case with this seed.
pub(super) fn play(seed: u64, case: fn()) {
    bounded(move || {
        let stage = Arc::new(Stage {
            inner: Mutex::new(Inner {
                wire: Wire::new(seed),
                threads: vec![Thread::default()],
                running: 0,
                ready: Vec::new(),
                alarms: BTreeSet::new(),
                active: 0,
                is_stuck: false,
                rng: Rng::new(!seed),
            }),
        });
        let here = Here {
            stage: stage.clone(),
            me: 0,
        };
        HERE.set(Some(here));
        let story = Story(stage.clone());
        case();
        // Nobody holds anything any more, so sessions end, if only because their peers don't answer.
        pause(Duration::from_secs(1800));
        let left = stage.lock().wire.left();
        assert!(left.is_empty(), "left behind: {left:?}");
        HERE.set(None);
        drop(story);
    });
}

/// Tells what happened, if a case fails.
struct Story(Arc<Stage>);

impl Drop for Story {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.0.lock().wire.story());
        }
    }
}

fn here() -> Option<Here> {
    // A handle may outlive the thread's own variables.
    HERE.try_with(|here| here.borrow().clone()).ok().flatten()
}

/// Does something to the world at once.
pub(super) fn act<T>(what: impl FnOnce(&mut Wire) -> T) -> T {
    let here = here().expect("cases of this world are played by it");
    let mut inner = here.stage.lock();
    let done = what(&mut inner.wire);
    inner.wake();
    done
}

/// The same for a handle that is dropped, which may happen when the play is over.
pub(super) fn act_if_on(what: impl FnOnce(&mut Wire)) {
    if here().is_some() {
        act(what);
    }
}

/// Tries until it gives something, at most for so long. Who has to wait is told the name by which to be woken.
pub(super) fn wait_for<T>(
    patience: Option<Duration>,
    mut attempt: impl FnMut(&mut Wire, usize) -> Option<T>,
) -> Option<T> {
    let here = here().expect("cases of this world are played by it");
    let mut inner = here.stage.lock();
    let until = patience.map(|patience| inner.wire.now.saturating_add(micros(patience)));
    loop {
        let done = attempt(&mut inner.wire, here.me);
        inner.wake();
        if done.is_some() || until.is_some_and(|until| until <= inner.wire.now) {
            return done;
        }
        inner = here.stage.give_way(inner, here.me, until);
    }
}

/// Lets others go on for so long; each of them at least once, if that is no time at all.
pub(super) fn pause(time: Duration) {
    let here = here().expect("cases of this world are played by it");
    let mut inner = here.stage.lock();
    let until = inner.wire.now.saturating_add(micros(time));
    loop {
        if time.is_zero() {
            inner.ready.push(here.me);
        }
        inner = here.stage.give_way(inner, here.me, Some(until));
        if until <= inner.wire.now {
            return;
        }
    }
}

/// Starts a thread; gives its name.
pub(super) fn start(work: Box<dyn FnOnce() + Send>) -> usize {
    let stage = here().expect("cases of this world are played by it").stage;
    let mut inner = stage.lock();
    let me = inner.threads.len();
    inner.threads.push(Thread::default());
    inner.ready.push(me);
    drop(inner);
    let name = thread::current().name().unwrap_or_default().to_owned();
    let body = move || {
        let turn = stage.lock();
        drop(stage.wait_for_turn(turn, me));
        let here = Here {
            stage: stage.clone(),
            me,
        };
        HERE.set(Some(here));
        // It catches its own panic.
        work();
        HERE.set(None);
        let mut inner = stage.lock();
        inner.threads[me].is_over = true;
        let joining = inner.threads[me].joining.take();
        inner.ready.extend(joining.unwrap_or_default());
        inner.next();
    };
    thread::Builder::new()
        .name(name)
        .spawn(body)
        .expect("the system has a thread to give");
    me
}

/// Waits for a thread's end.
pub(super) fn join(thread: usize) {
    let here = here().expect("cases of this world are played by it");
    let mut inner = here.stage.lock();
    while !inner.threads[thread].is_over {
        inner.threads[thread].joining.join(here.me);
        inner = here.stage.give_way(inner, here.me, None);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Stage {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A thread that fails says so itself.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets another thread run, until this one was woken or this moment has come, and it is its turn again.
    fn give_way<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
        me: usize,
        until: Option<u64>,
    ) -> MutexGuard<'a, Inner> {
        let alarm = until.map(|until| (until, me));
        inner.alarms.extend(alarm);
        inner.next();
        inner = self.wait_for_turn(inner, me);
        if let Some(alarm) = alarm {
            inner.alarms.remove(&alarm);
        }
        inner
    }

    fn wait_for_turn<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
        me: usize,
    ) -> MutexGuard<'a, Inner> {
        let turn = inner.threads[me].turn.clone();
        while inner.running != me && !inner.is_stuck {
            inner = turn.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        assert!(
            !inner.is_stuck,
            "everybody waits, and nobody will ever be woken"
        );
        inner
    }
}

impl Inner {
    /// Those whom the world woke may go on.
    fn wake(&mut self) {
        self.ready.append(&mut self.wire.woken);
    }

    /// Gives the turn to a thread that may go on; lets time pass until there is one.
    fn next(&mut self) {
        loop {
            // Woken twice is woken; who is over needs no turn.
            self.ready.sort_unstable();
            self.ready.dedup();
            self.ready.retain(|thread| !self.threads[*thread].is_over);
            if !self.ready.is_empty() {
                let chance = self.rng.below(self.ready.len() as u64);
                self.running = self.ready.swap_remove(chance as usize);
                self.active = self.wire.now;
                self.threads[self.running].turn.notify_one();
                return;
            }
            let alarm = self.alarms.first().map(|(at, _)| *at);
            let next = [alarm, self.wire.next()].into_iter().flatten().min();
            let is_stuck = alarm.is_none() && self.wire.now > self.active + STUCK;
            let Some(next) = next.filter(|_| !is_stuck) else {
                self.is_stuck = true;
                for thread in &self.threads {
                    thread.turn.notify_one();
                }
                return;
            };
            self.wire.advance(next);
            self.wake();
            let due = self.alarms.range(..=(self.wire.now, usize::MAX));
            self.ready.extend(due.map(|(_, thread)| *thread));
        }
    }
}
