//! Whether a session has been left alone since a bundle was handed out: then that it has been written is told with the next
//! thing that happens, and whoever wrote it goes back to its socket.
//!
//! ```text
//! nothing ──begin (locked)──> alone ──end──> ended ──interrupt (locked)──> nothing, and the core is told
//!                               └──interrupt (locked)──> nothing; `end` fails, and whoever wrote tells the core
//! ```

#[cfg(interleave)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(interleave))]
use std::sync::atomic::{AtomicU64, Ordering};

/// For one session: what of it is known without its lock.
#[derive(Debug, Default)]
pub struct Lull {
    /// Twice the number of the lull, and one more when it has ended; 0: there is none.
    now: AtomicU64,
}

/// A lull's number: no session has two of the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LullId(u64);

impl LullId {
    /// The next one's.
    pub(crate) fn next(&mut self) -> LullId {
        self.0 += 1;
        *self
    }
}

impl Lull {
    /// A bundle is handed out after which the core has nothing to say. Under the session's lock, with what
    /// [`Work::lull`](crate::Work) gave.
    pub fn begin(&self, id: LullId) {
        self.now.store(id.0 * 2, Ordering::Relaxed);
    }

    /// It has been written. `true`: nobody was at the session meanwhile; whoever is next tells the core. Without the lock.
    pub fn end(&self, id: LullId) -> bool {
        let (alone, ended) = (id.0 * 2, id.0 * 2 + 1);
        let swapped = self
            .now
            .compare_exchange(alone, ended, Ordering::AcqRel, Ordering::Acquire);
        swapped.is_ok()
    }

    /// Somebody is at the session: to be called whenever its lock has been taken, and if it says so, then
    /// [`State::feed_lull`](crate::State::feed_lull).
    pub fn interrupt(&self) -> bool {
        // Only who holds the lock begins one.
        self.now.load(Ordering::Relaxed) != 0 && self.now.swap(0, Ordering::AcqRel) % 2 == 1
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_alone_leaves_it_to_the_next() {
        let (lull, mut ids) = (Lull::default(), LullId::default());
        assert!(!lull.interrupt(), "there is none");
        let first = ids.next();
        lull.begin(first);
        assert!(!lull.interrupt(), "it has not ended");
        assert!(!lull.end(first), "somebody was there");
        let second = ids.next();
        lull.begin(second);
        assert!(!lull.end(first), "another one");
        assert!(lull.end(second));
        assert!(!lull.end(second), "once");
        assert!(lull.interrupt());
        assert!(!lull.interrupt(), "once");
    }
}
