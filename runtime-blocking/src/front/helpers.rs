//! Threads for what a caller must not wait for: made when needed, kept for a while, gone when idle.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the threads; cheap to clone. There are at most as many threads as jobs at one time.
#[derive(Clone)]
pub(super) struct Helpers(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    stack: usize,
    /// How long a thread waits for more.
    kept: Duration,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
}

/// How long a thread waits for more, outside tests.
const KEPT: Duration = Duration::from_secs(5);

impl Helpers {
    pub(super) fn new(stack: usize) -> Helpers {
        Helpers::kept(stack, KEPT)
    }

    fn kept(stack: usize, kept: Duration) -> Helpers {
        Helpers(Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            stack,
            kept,
        }))
    }

    /// Runs `job` on a thread of its own.
    ///
    /// # Errors
    /// If there is none idle and no other can be made; the job is dropped then.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.0.lock();
        // An idle thread for each waiting job: no job waits for another one, which may take as long as a slow reader.
        if state.idle > state.jobs.len() {
            state.jobs.push_back(Box::new(job));
            drop(state);
            self.0.work.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = Arc::clone(&self.0);
        thread::Builder::new()
            .name("posthole-helper".into())
            .stack_size(shared.stack)
            .spawn(move || {
                job();
                shared.serve();
            })
            .map(drop)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            state.idle += 1;
            let (guard, _) = self
                .work
                .wait_timeout_while(state, self.kept, |state| state.jobs.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            let Some(job) = state.jobs.pop_front() else {
                return;
            };
            drop(state);
            job();
            state = self.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn no_job_waits_for_another() {
        let helpers = Helpers::new(64 * 1024);
        for _ in 0..20 {
            let (to_first, first) = mpsc::channel();
            let (to_second, second) = mpsc::channel();
            helpers.run(move || first.recv().unwrap()).unwrap();
            helpers.run(move || to_second.send(()).unwrap()).unwrap();
            second.recv_timeout(Duration::from_secs(30)).unwrap();
            to_first.send(()).unwrap();
        }
    }

    #[test]
    fn no_job_waits_for_a_thread_that_has_gone() {
        let helpers = Helpers::kept(64 * 1024, Duration::from_millis(1));
        for _ in 0..5 {
            let (tell, told) = mpsc::channel();
            helpers.run(move || tell.send(()).unwrap()).unwrap();
            told.recv_timeout(Duration::from_secs(30)).unwrap();
            // Its thread has the other handle.
            while Arc::strong_count(&helpers.0) > 1 {
                thread::yield_now();
            }
        }
    }
}
