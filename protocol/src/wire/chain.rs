//! What to write, as a short list of pieces: nothing of a payload is copied.

use alloc::vec::Vec;
use bytes::Bytes;

/// A body: a short list of [`Bytes`] to be written one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chain {
    pub(crate) parts: Vec<Bytes>,
    pub(crate) len: usize,
}

impl Chain {
    /// How many bytes there are in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// All of it in one piece; copies unless there is one already.
    pub fn into_bytes(self) -> Bytes {
        todo!()
    }
}
