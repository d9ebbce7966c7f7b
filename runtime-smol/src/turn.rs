//! When bulk gives others a turn.
//!
//! An executor looks for what has come on sockets, and for timers, when it has nothing to run, or else after so many tasks
//! (smol's after 200). While bulk moves there is always something to run, and tasks that move it take a twentieth of a
//! millisecond each: what comes on other connections waits for 10 ms. So where somebody types, whoever has moved so many bytes
//! has the reactor asked, whatever executor runs it. That has its price: async-io's thread is woken, and may be the one that waits
//! for sockets from then on; so nobody asks who moves no bulk, or whose executor asks by itself ([`looked`]).

use crate::timer;
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// How many bytes a thread moves before it looks what else has come. 64 bytes there and back beside saturating bulk took
/// 1.1 ms with 256 KiB and with 2 MiB, 12 ms without.
const TURN: usize = 2 * 1024 * 1024;

/// What is read or written at once by somebody who types, at most; and by bulk, at least.
const SMALL: usize = 2 * 1024;
const LARGE: usize = 16 * 1024;

/// So many small ones in a row, four there and back, and it is no preamble of bulk.
const TALK: u8 = 8;

/// For how long somebody who types is waited for. Without anybody, looking would cost eight connections up a tenth of their
/// rate: what is found early is found in small pieces.
const HEED: Duration = Duration::from_secs(10);

/// When somebody last did, in microseconds; 0: never.
static TYPED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static MOVED: Cell<usize> = const { Cell::new(0) };
}

/// What a stream is used for.
#[derive(Debug, Default)]
pub(crate) struct Use {
    small: AtomicU8,
}

impl Use {
    /// So many of the stream's bytes were read or written, on this thread.
    pub(crate) fn moved(&self, bytes: usize) {
        if self.is_talk(bytes) {
            TYPED.store(timer::now().as_micros(), Ordering::Relaxed);
        }
        if is_turn_over(bytes) && is_somebody_typing() {
            // Between the two polls the reactor is asked, without waiting.
            smol::block_on(smol::future::yield_now());
        }
    }

    /// Whether by so many bytes more the stream is one on which somebody types.
    fn is_talk(&self, bytes: usize) -> bool {
        let small = match bytes {
            1..=SMALL => self.small.load(Ordering::Relaxed).saturating_add(1),
            LARGE.. => 0,
            _ => return false,
        };
        self.small.store(small, Ordering::Relaxed);
        small >= TALK
    }
}

/// This thread's executor has asked the reactor what has come.
pub(crate) fn looked() {
    MOVED.set(0);
}

/// Whether this thread, with so many bytes more, has moved enough of bulk.
fn is_turn_over(bytes: usize) -> bool {
    if bytes <= SMALL {
        return false;
    }
    let moved = MOVED.get().saturating_add(bytes);
    MOVED.set(if moved < TURN { moved } else { 0 });
    moved >= TURN
}

fn is_somebody_typing() -> bool {
    match TYPED.load(Ordering::Relaxed) {
        0 => false,
        typed => timer::now().as_micros().saturating_sub(typed) < HEED.as_micros() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preamble_of_bulk_is_no_talk() {
        let stream = Use::default();
        for bytes in [10, 1, 0, 0, 1, 10, 5_000, 100_000, 1, 1, 1, 1, 1, 1, 64_000] {
            assert!(!stream.is_talk(bytes), "{bytes}");
        }
    }

    #[test]
    fn however_many_type_none_of_them_has_moved_bulk() {
        looked();
        assert!(!(0..TURN).any(|_| is_turn_over(1_000)));
    }

    #[test]
    fn an_executor_that_looks_by_itself_is_not_made_to() {
        looked();
        let piece = TURN / 4;
        let turns = [false, false, false, true, false];
        assert_eq!(turns.map(|_| is_turn_over(piece)), turns);
        for _ in 0..100 {
            assert!(!is_turn_over(piece));
            looked();
        }
    }

    #[test]
    fn who_types_is_heard_and_bulk_is_heard_as_bulk_again() {
        let stream = Use::default();
        assert_eq!(
            (1..20).find(|_| stream.is_talk(64)),
            Some(usize::from(TALK))
        );
        assert!(stream.is_talk(2_000) && !stream.is_talk(5_000) && stream.is_talk(1));
        assert!(!stream.is_talk(100_000) && !stream.is_talk(1));
    }
}
