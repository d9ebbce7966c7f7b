//! Tasks that wait for news of a session.
//!
//! Two kinds wait in the same lists. A future of ours (to accept, to open, until the end) has a [`Place`], which it gives
//! up when it is dropped; so a list is never longer than there are such futures. Whoever polls a stream may stop doing so
//! without a word: of those a list keeps a few, each task once.
//!
//! Wakers are somebody else's: waking one may run anything, and dropping one may drop anything, a session's last handle
//! for instance. So neither is done with a lock held.

use posthole_runtime::{Tried, Waiters};
use std::task::{Poll, Waker};

/// Tasks that wait for one thing.
#[derive(Default)]
pub(crate) struct Wakers {
    waiting: Vec<(Place, Waker)>,
    /// The last place that was given.
    last: u64,
}

/// Where a future waits in a list; by default nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(u64);

/// Wakes those who waited.
#[must_use = "they wait"]
pub(crate) struct Wake(Vec<(Place, Waker)>);

/// How many tasks may wait in one list without a place. Streams have few readers and writers; one more wakes the others,
/// of which those who are still there come again.
const MOST: usize = 8;

impl Place {
    const NONE: Place = Place(0);

    pub(crate) fn is_none(self) -> bool {
        self == Place::NONE
    }
}

impl Waiters for Wakers {
    type Wake = Wake;

    fn take(&mut self) -> Option<Wake> {
        (!self.waiting.is_empty()).then(|| Wake(std::mem::take(&mut self.waiting)))
    }
}

impl Wakers {
    /// What a try gives to a future: the result, or the same place in the list as before. And what was in its place
    /// before, to be dropped with no lock held.
    pub(crate) fn tried<T>(
        &mut self,
        tried: Tried<T>,
        place: &mut Place,
        waker: &Waker,
    ) -> (Poll<T>, Option<Waker>) {
        match tried {
            Tried::Done(done) => (Poll::Ready(done), self.leave(std::mem::take(place))),
            Tried::Blocked => (Poll::Pending, self.join(place, waker)),
        }
    }

    fn find(&self, place: Place) -> Option<usize> {
        let at = self.waiting.iter().position(|(p, _)| *p == place);
        at.filter(|_| !place.is_none())
    }

    fn join(&mut self, place: &mut Place, waker: &Waker) -> Option<Waker> {
        if let Some(at) = self.find(*place) {
            let old = &mut self.waiting[at].1;
            return (!old.will_wake(waker)).then(|| std::mem::replace(old, waker.clone()));
        }
        self.last += 1;
        *place = Place(self.last);
        self.waiting.push((*place, waker.clone()));
        None
    }

    /// Whoever had this place waits no more.
    #[must_use = "whoever drops it may drop anything"]
    pub(crate) fn leave(&mut self, place: Place) -> Option<Waker> {
        self.find(place).map(|at| self.waiting.remove(at).1)
    }

    /// A task waits without a place. Gives those who have to come again to make room for it.
    pub(crate) fn join_task(&mut self, waker: &Waker) -> Option<Wake> {
        let is_known = |(place, known): &(Place, Waker)| place.is_none() && known.will_wake(waker);
        if self.waiting.iter().any(is_known) {
            return None;
        }
        let others = (self.waiting.len() >= MOST).then(|| self.take()).flatten();
        self.waiting.push((Place::NONE, waker.clone()));
        others
    }
}

impl Wake {
    /// With no lock held.
    pub(crate) fn wake(self) {
        for (_, waker) in self.0 {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), count.into())
    }

    fn times(count: &Count) -> usize {
        count.0.load(Ordering::Relaxed)
    }

    fn blocked(list: &mut Wakers, place: &mut Place, waker: &Waker) {
        let (polled, _) = list.tried(Tried::<()>::Blocked, place, waker);
        assert!(polled.is_pending());
    }

    #[test]
    fn a_future_waits_once_and_leaves_nothing_behind() {
        let mut list = Wakers::default();
        let (mut place, mut other) = (Place::default(), Place::default());
        let ((old, old_waker), (new, new_waker)) = (task(), task());
        for waker in [&old_waker, &old_waker, &new_waker] {
            blocked(&mut list, &mut place, waker);
        }
        blocked(&mut list, &mut other, &old_waker);
        assert!(list.leave(other).is_some() && list.leave(other).is_none());
        list.take().expect("one waits").wake();
        assert_eq!((times(&old), times(&new)), (0, 1));
        // Woken, and blocked again, and then not.
        blocked(&mut list, &mut place, &new_waker);
        let (polled, left) = list.tried(Tried::Done(7), &mut place, &new_waker);
        assert_eq!(polled, Poll::Ready(7));
        assert!(left.is_some_and(|left| left.will_wake(&new_waker)));
        assert!(list.take().is_none() && place.is_none());
    }

    #[test]
    fn tasks_without_a_place_are_few_and_none_is_forgotten() {
        let mut list = Wakers::default();
        let tasks: Vec<_> = (0..3 * MOST).map(|_| task()).collect();
        let mut woken = Vec::new();
        for (_, waker) in &tasks {
            woken.extend(list.join_task(waker));
            assert!(list.join_task(waker).is_none(), "it waits already");
            assert!(list.waiting.len() <= MOST);
        }
        woken.extend(list.take());
        woken.into_iter().for_each(Wake::wake);
        assert!(tasks.iter().all(|(count, _)| times(count) == 1));
    }
}
