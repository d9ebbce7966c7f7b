//! Tasks that wait for news of a session.
//!
//! Two kinds wait in the same lists. A future of ours (to accept, to open, until the end) has a [`Place`], which it gives
//! up when it is dropped; so a list is never longer than there are such futures. Whoever polls a stream may stop doing so
//! without a word: of those a list keeps a few, each task once.

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
    /// What a try gives to a future: the result, or the same place in the list as before.
    pub(crate) fn tried<T>(
        &mut self,
        tried: Tried<T>,
        place: &mut Place,
        waker: &Waker,
    ) -> Poll<T> {
        match tried {
            Tried::Done(done) => {
                self.leave(std::mem::take(place));
                Poll::Ready(done)
            }
            Tried::Blocked => {
                self.join(place, waker);
                Poll::Pending
            }
        }
    }

    fn join(&mut self, place: &mut Place, waker: &Waker) {
        let mine = self.waiting.iter_mut().find(|(p, _)| p == place);
        match mine.filter(|_| !place.is_none()) {
            Some((_, old)) => old.clone_from(waker),
            None => {
                self.last += 1;
                *place = Place(self.last);
                self.waiting.push((*place, waker.clone()));
            }
        }
    }

    /// Whoever had this place waits no more.
    pub(crate) fn leave(&mut self, place: Place) {
        if !place.is_none() {
            self.waiting.retain(|(p, _)| *p != place);
        }
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
    /// With no lock held: whoever wakes may run anything.
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

    #[test]
    fn a_future_waits_once_and_leaves_nothing_behind() {
        let mut list = Wakers::default();
        let (mut place, mut other) = (Place::default(), Place::default());
        let ((old, old_waker), (new, new_waker)) = (task(), task());
        for waker in [&old_waker, &old_waker, &new_waker] {
            assert!(
                list.tried(Tried::<()>::Blocked, &mut place, waker)
                    .is_pending()
            );
        }
        assert!(
            list.tried(Tried::<()>::Blocked, &mut other, &old_waker)
                .is_pending()
        );
        list.leave(other);
        list.take().expect("one waits").wake();
        assert_eq!((times(&old), times(&new)), (0, 1));
        // Woken, and blocked again, and then not.
        assert!(
            list.tried(Tried::<()>::Blocked, &mut place, &new_waker)
                .is_pending()
        );
        assert_eq!(
            list.tried(Tried::Done(7), &mut place, &new_waker),
            Poll::Ready(7)
        );
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
