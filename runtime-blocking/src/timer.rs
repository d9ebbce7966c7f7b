//! Time: the process's one clock for the cores, and the one thread that waits for their deadlines.
//!
//! A session arms the timer only when its core names a deadline earlier than the one armed. One that moved away stays
//! armed: the thread wakes, finds that nothing is due, and the session arms the deadline that holds by then. So a
//! deadline that every exchange pushes back costs one wake per its own length and not one per exchange.

#![cfg_attr(all(test, interleave), allow(dead_code))] // There nothing waits for time.

use posthole_protocol::Instant;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

static ZERO: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

static TIMER: Timer = Timer::new();

/// The thread's stack: it calls into the cores and hands work on.
const STACK: usize = 256 * 1024;

/// What time it is, for the cores.
#[inline(never)] // Asked in many places, which are all on the way of a byte.
pub(crate) fn now() -> Instant {
    // Where orders of threads are tried, the same order must do the same each time; deadlines are a thread of the test's.
    #[cfg(all(test, interleave))]
    return Instant::from_micros(1_000_000);
    #[cfg(not(all(test, interleave)))]
    // 2^64 microseconds are 584,000 years.
    Instant::from_micros(u64::try_from(ZERO.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Whose deadline comes.
pub(crate) trait Expire: Send + Sync {
    /// This moment, which was armed, has come; it is armed no longer.
    fn expire(self: Arc<Self>, at: Instant);
}

/// Arms `at` for `who`, in place of `armed`, which is what was armed under this `key` before.
pub(crate) fn arm(key: u64, armed: Option<Instant>, at: Instant, who: Arc<dyn Expire>) {
    #[cfg(all(test, interleave))]
    return drop((key, armed, at, who));
    #[cfg(not(all(test, interleave)))]
    TIMER.arm(key, armed, at, who);
}

/// Takes back what was armed.
pub(crate) fn disarm(key: u64, armed: Instant) {
    TIMER.lock().deadlines.remove(&(armed, key));
}

struct Timer {
    queue: Mutex<Queue>,
    /// The first deadline is another one.
    earlier: Condvar,
}

struct Queue {
    deadlines: BTreeMap<(Instant, u64), Arc<dyn Expire>>,
    runs: bool,
}

impl Timer {
    const fn new() -> Timer {
        Timer {
            queue: Mutex::new(Queue {
                deadlines: BTreeMap::new(),
                runs: false,
            }),
            earlier: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics between two states of the queue that belong together.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arm(&'static self, key: u64, armed: Option<Instant>, at: Instant, who: Arc<dyn Expire>) {
        let mut queue = self.lock();
        if let Some(armed) = armed {
            queue.deadlines.remove(&(armed, key));
        }
        queue.deadlines.insert((at, key), who);
        let is_first = queue
            .deadlines
            .first_key_value()
            .is_some_and(|(first, _)| *first == (at, key));
        if !queue.runs {
            let started = thread::Builder::new()
                .name("posthole-timer".into())
                .stack_size(STACK)
                .spawn(|| self.run());
            match started {
                Ok(_) => queue.runs = true,
                // The next one to arm tries again; until then sessions still move with every exchange.
                Err(error) => tracing::warn!(%error, "no thread for the timer"),
            }
        }
        drop(queue);
        if is_first {
            self.earlier.notify_one();
        }
    }

    fn run(&self) {
        let mut queue = self.lock();
        loop {
            let first = queue.deadlines.first_key_value();
            let left = first.map(|((at, _), _)| at.since(now()));
            queue = match left {
                None => self
                    .earlier
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    let due = queue.deadlines.pop_first();
                    drop(queue);
                    if let Some(((at, _), who)) = due {
                        // A panic is one session's end, which its own lock sees to; the others' time goes on.
                        let _ = catch_unwind(AssertUnwindSafe(|| who.expire(at)));
                    }
                    self.lock()
                }
                Some(left) => {
                    self.earlier
                        .wait_timeout(queue, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Bell(u32, Sender<u32>);

    impl Expire for Bell {
        fn expire(self: Arc<Self>, _: Instant) {
            let _ = self.1.send(self.0);
            assert_ne!(self.0, 0, "bell 0 breaks");
        }
    }

    fn after(from: Instant, millis: u64) -> Instant {
        from.checked_add(Duration::from_millis(millis))
            .expect("not far")
    }

    #[test]
    fn deadlines_come_in_their_order_and_survive_a_panic() {
        let (tell, told) = channel();
        let bell = |n| Arc::new(Bell(n, tell.clone()));
        let start = now();
        // Keys that no session of this process has.
        arm(u64::MAX, None, after(start, 60), bell(2));
        arm(u64::MAX - 1, None, after(start, 3_600_000), bell(9));
        arm(u64::MAX - 2, None, after(start, 20), bell(0));
        arm(
            u64::MAX - 1,
            Some(after(start, 3_600_000)),
            after(start, 40),
            bell(1),
        );
        arm(u64::MAX - 3, None, after(start, 30), bell(8));
        disarm(u64::MAX - 3, after(start, 30));
        let heard: Vec<u32> = told.iter().take(3).collect();
        assert_eq!(heard, [0, 1, 2]);
        assert!(now() >= after(start, 60), "none came early");
    }

    #[test]
    fn an_earlier_deadline_wakes_who_waits_for_a_later_one() {
        // Not the process's, on which others' deadlines come.
        static OWN: Timer = Timer::new();
        let (tell, told) = channel();
        let bell = |n| Arc::new(Bell(n, tell.clone()));
        OWN.arm(1, None, after(now(), 3_600_000), bell(9));
        // Time enough to begin to wait.
        thread::sleep(Duration::from_millis(100));
        OWN.arm(2, None, after(now(), 1), bell(1));
        let heard = told.recv_timeout(Duration::from_secs(30));
        assert_eq!(heard, Ok(1), "it sleeps");
    }

    /// Whoever stayed armed would be kept until then, long after its session's end.
    #[test]
    fn an_earlier_deadline_takes_the_place_of_the_one_before() {
        static OWN: Timer = Timer::new();
        let bell = || Arc::new(Bell(9, channel().0));
        let [soon, later] = [1, 2].map(|hours| after(now(), hours * 3_600_000));
        OWN.arm(1, None, later, bell());
        OWN.arm(1, Some(later), soon, bell());
        let armed: Vec<_> = OWN.lock().deadlines.keys().copied().collect();
        assert_eq!(armed, [(soon, 1)]);
    }
}
