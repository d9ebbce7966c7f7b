//! What to write, as a short list of pieces: nothing of a payload is copied.

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;
#[cfg(feature = "std")]
extern crate std;

/// A body: a short list of [`Bytes`] to be written one after the other.
///
/// The list is short because payloads below [`SMALL`] bytes stand in the block with the headers: a chain made by
/// [`encode`](super::encode) has one piece per larger payload and at most one before, between and after those, so a
/// bulk bundle of 1 MB is some 64 pieces and a bundle of small messages is one, which needs no list. All pieces that are
/// no payload are slices of one block, and cloning a chain copies handles only.
///
/// It is a [`Buf`]: a runtime writes it vectored (`chunks_vectored`, with the feature `std`), and pieces that
/// were written are let go of as it advances. Equality and hash are those of the pieces: two chains with the same bytes, cut differently,
/// are not equal; compare [`Chain::into_bytes`] where that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chain {
    // None of them empty, and `len` is their sum.
    pub(crate) parts: SmallVec<[Bytes; 1]>,
    pub(crate) len: usize,
}

/// Payloads of fewer bytes than this are copied into the block before them: that costs less than one more piece.
pub const SMALL: usize = 512;

impl Chain {
    /// A chain that makes room for so many pieces.
    pub(super) fn with_capacity(parts: usize) -> Chain {
        Chain {
            parts: SmallVec::with_capacity(parts),
            len: 0,
        }
    }

    /// How many bytes there are in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order; none of them is empty.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// Puts a piece at the end.
    ///
    /// # Panics
    /// If there would be more bytes than a `usize` counts.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.len = add(self.len, part.len());
            self.parts.push(part);
        }
    }

    /// Puts another chain at the end, for a body of several bundles (§3.1.3).
    ///
    /// # Panics
    /// If there would be more bytes than a `usize` counts.
    pub fn append(&mut self, mut other: Chain) {
        self.len = add(self.len, other.len);
        self.parts.append(&mut other.parts);
    }

    /// All of it in one piece; copies unless there is one already.
    pub fn into_bytes(mut self) -> Bytes {
        if self.parts.len() > 1 {
            let mut whole = BytesMut::with_capacity(self.len);
            for part in &self.parts {
                whole.extend_from_slice(part);
            }
            return whole.freeze();
        }
        self.parts.pop().unwrap_or_default()
    }
}

/// A chain of one piece.
impl From<Bytes> for Chain {
    fn from(bytes: Bytes) -> Chain {
        Chain::from_iter([bytes])
    }
}

/// A chain of these pieces, empty ones left out.
impl FromIterator<Bytes> for Chain {
    fn from_iter<I: IntoIterator<Item = Bytes>>(parts: I) -> Chain {
        let mut chain = Chain::default();
        parts.into_iter().for_each(|part| chain.push(part));
        chain
    }
}

impl Buf for Chain {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.parts.first().map_or(&[], |part| part)
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.parts);
        pairs
            .map(|(slice, part)| *slice = std::io::IoSlice::new(part))
            .count()
    }

    /// Drops what was written.
    ///
    /// # Panics
    /// If `written` is more than [`Chain::len`].
    fn advance(&mut self, written: usize) {
        self.len = (self.len.checked_sub(written)).expect("more was written than there is");
        let mut left = written;
        let mut whole = 0_usize;
        for part in &mut self.parts {
            match left.checked_sub(part.len()) {
                Some(rest) => {
                    left = rest;
                    whole = whole.saturating_add(1);
                }
                None => {
                    part.advance(left);
                    break;
                }
            }
        }
        self.parts.drain(..whole);
    }
}

fn add(a: usize, b: usize) -> usize {
    a.checked_add(b).expect("more bytes than can be addressed")
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use alloc::vec;

    fn chain() -> Chain {
        ["ab", "", "c", "def"]
            .into_iter()
            .map(|part| Bytes::from_static(part.as_bytes()))
            .collect()
    }

    #[test]
    fn empty_pieces_are_left_out() {
        assert_eq!((chain().len(), chain().parts().len()), (6, 3));
        assert!(Chain::from(Bytes::new()).parts().is_empty());
        assert!(Chain::default().is_empty());
        assert_eq!(Chain::default().into_bytes(), Bytes::new());
    }

    #[test]
    fn one_piece_is_not_copied() {
        let bytes = Bytes::from(vec![7; 100]);
        assert_eq!(
            Chain::from(bytes.clone()).into_bytes().as_ptr(),
            bytes.as_ptr()
        );
        assert_eq!(chain().into_bytes(), "abcdef");
    }

    #[test]
    fn advancing_by_any_steps_reads_everything_once_and_drops_what_is_read() {
        for step in 1..=6 {
            let mut chain = chain();
            let mut read = vec![];
            while chain.has_remaining() {
                let now = step.min(chain.remaining());
                let seen = chain.clone().into_bytes().slice(..now);
                assert!(!chain.chunk().is_empty());
                chain.advance(now);
                assert_eq!(
                    chain.parts().iter().map(Bytes::len).sum::<usize>(),
                    chain.len()
                );
                assert!(chain.parts().iter().all(|part| !part.is_empty()));
                read.extend_from_slice(&seen);
            }
            assert_eq!(read, b"abcdef");
            assert!(chain.chunk().is_empty());
        }
    }

    #[test]
    #[should_panic(expected = "more was written")]
    fn advancing_too_far_panics() {
        chain().advance(7);
    }

    #[test]
    fn appending_is_writing_one_after_the_other() {
        let mut both = chain();
        both.append(chain());
        assert_eq!((both.len(), both.parts().len()), (12, 6));
        assert_eq!(both.into_bytes(), "abcdefabcdef");
    }

    #[cfg(feature = "std")]
    #[test]
    fn vectored_chunks_are_the_pieces() {
        let chain = chain();
        let mut slices = [std::io::IoSlice::new(&[]); 2];
        assert_eq!(chain.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"ab"[..], &b"c"[..]));
        let mut slices = [std::io::IoSlice::new(&[]); 9];
        assert_eq!(chain.chunks_vectored(&mut slices), 3);
    }
}
