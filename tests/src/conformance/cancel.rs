//! Futures that are given up at every point at which they wait.

use crate::bounded::LIMIT;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// How long a future may ask for nothing until it is polled all the same, as any executor may do at any time.
const PATIENCE: Duration = Duration::from_millis(2);

/// Polls a future so often, each time when it asks for that, and drops it then. What it gave, if it was ready by then.
pub fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let (bell, rings) = bell();
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&bell)) {
            return Some(done);
        }
        // An error is a future that waits for another thread's doing.
        let _ = rings.recv_timeout(PATIENCE);
    }
    None
}

/// Begins something again and again until it is done: each time it is given up after one poll more than before, from none
/// on, and then again from none, so that it is given up early often and late at last.
pub fn at_every_point<F: Future>(mut begin: impl FnMut() -> F) -> F::Output {
    for most in 1.. {
        for polls in 0..=most {
            if let Some(done) = give_up_after(polls, begin()) {
                return done;
            }
        }
    }
    unreachable!("usize has an end, patience has one before")
}

/// A future that was polled and waits.
pub struct Waiting<F> {
    future: Pin<Box<F>>,
    bell: Waker,
    rings: Receiver<()>,
}

impl<F: Future> Waiting<F> {
    /// Polls it once.
    ///
    /// # Panics
    /// If it is ready.
    pub fn begin(future: F) -> Waiting<F> {
        let (bell, rings) = bell();
        let mut future = Box::pin(future);
        let polled = future.as_mut().poll(&mut Context::from_waker(&bell));
        assert!(polled.is_pending(), "it has nothing to wait for");
        Waiting {
            future,
            bell,
            rings,
        }
    }

    /// Waits until it asks to be polled, and does not do it.
    ///
    /// # Panics
    /// If it never does.
    pub fn woken(&self) {
        let rung = self.rings.recv_timeout(LIMIT);
        rung.expect("whoever waits is woken by news");
    }

    /// Polls it only when it asks for it, until it is ready.
    ///
    /// # Panics
    /// If it is not and does not ask.
    pub fn finish(mut self) -> F::Output {
        loop {
            self.woken();
            let mut context = Context::from_waker(&self.bell);
            if let Poll::Ready(done) = self.future.as_mut().poll(&mut context) {
                return done;
            }
        }
    }
}

impl<F> fmt::Debug for Waiting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

/// A waker, and how often it was woken.
fn bell() -> (Waker, Receiver<()>) {
    struct Bell(SyncSender<()>);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            // An error: it has rung already, or nobody listens any more.
            let _ = self.0.try_send(());
        }
    }
    let (rings, heard) = sync_channel(1);
    (Arc::new(Bell(rings)).into(), heard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;

    /// Ready at the third poll; counts polls.
    fn third(polls: &Cell<usize>) -> impl Future<Output = usize> + '_ {
        let mut own = 0;
        poll_fn(move |context| {
            own += 1;
            polls.set(polls.get() + 1);
            context.waker().wake_by_ref();
            if own < 3 {
                Poll::Pending
            } else {
                Poll::Ready(own)
            }
        })
    }

    #[test]
    fn it_is_polled_as_often_as_told() {
        for (often, gives) in [(0, None), (2, None), (3, Some(3)), (9, Some(3))] {
            let polls = Cell::new(0);
            assert_eq!(give_up_after(often, third(&polls)), gives);
            assert_eq!(polls.get(), often.min(3));
        }
    }

    #[test]
    fn each_number_of_polls_comes_before_it_is_done() {
        let (polls, begun) = (Cell::new(0), Cell::new(0));
        let done = at_every_point(|| {
            begun.set(begun.get() + 1);
            third(&polls)
        });
        // 0 1, 0 1 2, 0 1 2 3
        assert_eq!((done, begun.get(), polls.get()), (3, 9, 1 + 3 + 6));
    }
}
