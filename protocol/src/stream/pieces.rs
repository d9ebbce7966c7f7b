//! A queue of bytes in pieces: large ones are kept as they come, small ones run together.

use alloc::collections::VecDeque;
use bytes::{Bytes, BytesMut};

/// Pieces below this size are copied together, so that many small ones cost no more than their bytes.
const SMALL: usize = 2048;

/// Small pieces are gathered into runs of at most this size.
const RUN: usize = 32 * 1024;

/// The list of an empty queue is kept if it is no longer than this: half a kilobyte.
const KEPT: usize = 16;

/// Bytes in order, taken from the front.
///
/// Invariant: no piece is empty; `run` is the last piece while it may still grow; `len` counts all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pieces {
    whole: VecDeque<Bytes>,
    run: BytesMut,
    len: u64,
}

impl Pieces {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// How many pieces there are.
    pub(crate) fn pieces(&self) -> usize {
        self.whole.len() + usize::from(!self.run.is_empty())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece. `join`: run it together with small neighbours.
    pub(crate) fn push(&mut self, piece: Bytes, join: bool) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len() as u64;
        // The only piece stays as it is: a ping-pong copies nothing.
        let small = join && piece.len() < SMALL && self.len > piece.len() as u64;
        if !small || self.run.len() + piece.len() > RUN {
            self.end_run();
        }
        if small {
            self.run.extend_from_slice(&piece);
        } else {
            self.whole.push_back(piece);
        }
    }

    fn end_run(&mut self) {
        if !self.run.is_empty() {
            self.whole.push_back(self.run.split().freeze());
            self.run = BytesMut::new();
        }
    }

    /// Takes from the front: a whole piece, or `max` bytes of it. Empty only if there is nothing.
    pub(crate) fn pop(&mut self, max: usize) -> Bytes {
        if self.whole.is_empty() {
            self.end_run();
        }
        let Some(front) = self.whole.front_mut() else {
            return Bytes::new();
        };
        let piece = if front.len() > max {
            front.split_to(max)
        } else {
            self.whole.pop_front().unwrap_or_default()
        };
        self.len -= piece.len() as u64;
        if self.len == 0 && self.whole.capacity() > KEPT {
            self.whole = VecDeque::new();
        }
        piece
    }

    /// Takes `max` bytes, or all if there are fewer, from the front in one piece: small pieces are joined for it.
    pub(crate) fn pop_joined(&mut self, max: usize) -> Bytes {
        let first = self.pop(max);
        if first.len() >= SMALL.min(max) || self.is_empty() {
            return first;
        }
        let mut all = BytesMut::with_capacity(max.min(first.len() + self.len as usize));
        all.extend_from_slice(&first);
        while all.len() < max && !self.is_empty() {
            all.extend_from_slice(&self.pop(max - all.len()));
        }
        all.freeze()
    }

    /// Adds all of another queue.
    pub(crate) fn append(&mut self, mut other: Pieces) {
        self.end_run();
        self.len += other.len;
        self.whole.append(&mut other.whole);
        self.run = other.run;
    }

    pub(crate) fn clear(&mut self) {
        *self = Pieces::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 1usize..5000), 0..100),
        ) {
            let (mut pieces, mut model, mut fill) = (Pieces::default(), Vec::new(), 0u8);
            for (push, flag, n) in steps {
                if push {
                    fill = fill.wrapping_add(1);
                    pieces.push(Bytes::from(vec![fill; n]), flag);
                    model.extend(core::iter::repeat_n(fill, n));
                } else {
                    let got = if flag { pieces.pop(n) } else { pieces.pop_joined(n) };
                    prop_assert!(got.len() <= n && (got.is_empty() == model.is_empty()));
                    let rest = model.split_off(got.len());
                    prop_assert_eq!(&got[..], &model[..]);
                    model = rest;
                }
                prop_assert_eq!(pieces.len() as usize, model.len());
            }
        }
    }

    #[test]
    fn small_ones_behind_another_are_one_piece() {
        let mut pieces = Pieces::default();
        let counts = [b"a", b"b", b"c"].map(|byte| {
            pieces.push(Bytes::from_static(byte), true);
            pieces.pieces()
        });
        assert_eq!((counts, pieces.len()), ([1, 2, 2], 3));
        pieces.push(Bytes::from_static(b"d"), false);
        assert_eq!(pieces.pieces(), 3);
        assert_eq!(pieces.pop(9), "a");
        assert_eq!(pieces.pop(1), "b");
        assert_eq!(pieces.pop(1), "c");
        assert_eq!(
            (pieces.pop(1), pieces.pieces()),
            (Bytes::from_static(b"d"), 0)
        );
    }

    #[test]
    fn a_million_single_bytes_cost_a_million_bytes() {
        let mut pieces = Pieces::default();
        for _ in 0..100_000 {
            pieces.push(Bytes::from_static(b"x"), true);
        }
        assert!(pieces.whole.len() < 10);
    }

    /// Each of thousands of streams that have been busy once would hold on to it.
    #[test]
    fn an_empty_queue_keeps_no_long_list() {
        let mut pieces = Pieces::default();
        for _ in 0..1000 {
            pieces.push(Bytes::from_static(&[1; SMALL]), true);
        }
        while !pieces.is_empty() {
            pieces.pop(SMALL);
        }
        assert!(pieces.whole.capacity() <= KEPT);
    }
}
