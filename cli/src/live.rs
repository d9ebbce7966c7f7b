//! How many connections are being carried: bounded, and waited for at the end.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event_listener::{Event, Listener};

/// The count; each connection holds a [`Place`].
#[derive(Debug)]
pub(crate) struct Live {
    state: Mutex<State>,
    fewer: Event,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    count: usize,
    is_closed: bool,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Live>);

impl Live {
    pub(crate) fn new(most: usize) -> Arc<Live> {
        Arc::new(Live {
            state: Mutex::default(),
            fewer: Event::new(),
            most,
        })
    }

    /// A place, if there is one left and none is refused yet.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.lock();
        if state.is_closed || state.count >= self.most {
            return None;
        }
        state.count += 1;
        Some(Place(Arc::clone(self)))
    }

    /// Gives no more places, waits until all are given back or the time is over, and says how many are not.
    pub(crate) fn finish(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        self.lock().is_closed = true;
        loop {
            let fewer = self.fewer.listen();
            let is_over = self.lock().count == 0 || fewer.wait_deadline(until).is_none();
            if is_over {
                return self.lock().count;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().count -= 1;
        self.0.fewer.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::thread;

    #[test]
    fn places_are_bounded_and_waited_for() {
        let live = Live::new(2);
        let (a, b) = (live.enter().unwrap(), live.enter().unwrap());
        assert!(live.enter().is_none());
        drop(a);
        let c = live.enter().unwrap();
        assert_eq!(live.finish(Duration::from_millis(1)), 2);
        let leaving = thread::spawn(move || drop((b, c)));
        assert_eq!(live.finish(Duration::from_secs(60)), 0);
        leaving.join().unwrap();
        assert!(live.enter().is_none(), "none after the end");
    }
}
