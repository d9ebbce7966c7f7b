//! Where tasks run.

use crate::turn;
use smol::Executor;
use smol::future::{self, FutureExt};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts tasks on an executor, which must run for as long as anything here is in use. Cheap to clone.
///
/// The default is smol's global executor, on which applications' own tasks mostly run.
///
/// ```
/// use posthole_smol::spawn::Spawner;
/// use std::sync::Arc;
/// let executor = Arc::new(smol::Executor::new());
/// let spawner = {
///     let executor = Arc::clone(&executor);
///     Spawner::new(move |task| executor.spawn(task).detach())
/// };
/// let (tell, told) = smol::channel::bounded(1);
/// spawner.spawn(async move { tell.send(7).await.expect("it is waited for") });
/// assert_eq!(smol::block_on(executor.run(told.recv())), Ok(7));
/// ```
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(Task) + Send + Sync>);

impl Spawner {
    /// Tasks are given to `spawn`, which must see to it that they run to their end unless the executor ends.
    pub fn new(spawn: impl Fn(Task) + Send + Sync + 'static) -> Spawner {
        Spawner(Arc::new(spawn))
    }

    /// An executor on so many threads of its own, one at least, which end with the process. They are looped by [`run`].
    /// Tasks that use its sessions may be started there, too: a session's and they wake one another.
    ///
    /// # Panics
    /// If not even one thread can be started.
    pub fn threads(threads: usize) -> Spawner {
        let executor = Arc::new(Executor::new());
        for n in 1..=threads.max(1) {
            let executor = Arc::clone(&executor);
            let started = thread::Builder::new()
                .name(format!("posthole-{n}"))
                .spawn(move || {
                    // A task's own panic goes no further than that task; whatever else panics must not end all others.
                    loop {
                        let tasks = AssertUnwindSafe(|| {
                            smol::block_on(run(&executor, future::pending::<()>()));
                        });
                        if catch_unwind(tasks).is_err() {
                            tracing::error!("a panic between tasks");
                        }
                    }
                });
            if let Err(error) = started {
                // With no thread at all nothing would ever run.
                assert!(n > 1, "no thread can be started for tasks: {error}");
                tracing::warn!(%error, "no more threads can be started for tasks");
                break;
            }
        }
        Spawner::new(move |task| executor.spawn(task).detach())
    }

    /// Starts a task. If it panics, it ends, and that is logged: an executor that many share is not to end with it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        (self.0)(Box::pin(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!("a task panicked");
            }
        }));
    }
}

impl Default for Spawner {
    fn default() -> Spawner {
        Spawner::new(|task| smol::spawn(task).detach())
    }
}

/// After tasks have run for so long the reactor is asked what has come. A task that moves bulk takes a twentieth of a
/// millisecond and more, and there is always another one: if it is asked after 200 of them, as in smol's own loop,
/// async-io's thread waits for sockets meanwhile, is woken for each of them and wakes the tasks' thread in turn. By time
/// and not after a few tasks, as asking takes four system calls: what small tasks do costs less.
const LOOK: Duration = Duration::from_micros(200);

/// Runs an executor's tasks until `until` is done, as [`Executor::run`] does, but looks at sockets and timers every fifth
/// of a millisecond instead of after 200 tasks: for executors that run a [`Spawner`]'s tasks. To be run by
/// `smol::block_on`; on as many threads as wanted.
///
/// Dropping the future stops nothing but this loop; tasks stay in the executor.
///
/// ```
/// use posthole_smol::spawn;
/// let executor = smol::Executor::new();
/// let task = executor.spawn(async { 7 });
/// assert_eq!(smol::block_on(spawn::run(&executor, task)), 7);
/// ```
pub async fn run<T>(executor: &Executor<'_>, until: impl Future<Output = T>) -> T {
    until.or(forever(executor, Instant::now)).await
}

async fn forever<T>(executor: &Executor<'_>, now: impl Fn() -> Instant) -> T {
    let mut looked = now();
    loop {
        if !executor.try_tick() {
            // Whoever waits looks.
            executor.tick().await;
        } else if now().saturating_duration_since(looked) >= LOOK {
            future::yield_now().await;
        } else {
            continue;
        }
        looked = now();
        turn::looked();
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Counter {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Not every executor catches what its tasks let fall.
    #[test]
    fn a_task_that_panics_ends_alone() {
        Spawner::new(smol::block_on).spawn(async { panic!("on purpose") });
    }

    #[test]
    fn tasks_that_never_rest_let_the_reactor_be_asked_by_and_by() {
        let executor = Executor::new();
        let ran = Arc::new(Counter::default());
        for _ in 0..3 {
            let ran = Arc::clone(&ran);
            let restless = future::poll_fn(move |cx| {
                Arc::clone(&ran).wake();
                cx.waker().wake_by_ref();
                std::task::Poll::<()>::Pending
            });
            executor.spawn(restless).detach();
        }
        let woken = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&woken));
        // A task takes a quarter of the time.
        let (began, clock) = (Instant::now(), Arc::clone(&ran));
        let now = move || began + LOOK / 4 * clock.count() as u32;
        let mut running = pin!(forever::<()>(&executor, now));
        for turn in 1..10 {
            let polled = running.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            assert_eq!(ran.count(), turn * 4);
            assert!(woken.count() >= turn, "it would not be polled again");
        }
    }
}
