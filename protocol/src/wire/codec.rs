//! Fields in and out: what the layouts of the other files are put together from.

use super::varint;
use bytes::{BufMut, BytesMut};

/// Where fields are written to. Layouts are written once and run twice: into [`Size`], so that the block is
/// allocated once and in the right size, and into the block.
pub trait Put {
    /// These bytes as they are.
    fn slice(&mut self, bytes: &[u8]);
    /// A varint.
    fn varint(&mut self, value: u64);
    /// One byte.
    fn byte(&mut self, byte: u8) {
        self.slice(&[byte]);
    }
}

impl Put for BytesMut {
    fn slice(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }

    fn varint(&mut self, value: u64) {
        varint::put(self, value);
    }
}

/// Counts the bytes that would be written.
#[derive(Default)]
pub(super) struct Size(usize);

impl Size {
    /// How many bytes `write` writes.
    pub(super) fn of(write: impl FnOnce(&mut Size)) -> usize {
        let mut size = Size::default();
        write(&mut size);
        size.0
    }

    fn add(&mut self, bytes: usize) {
        // Can't be reached with what fits into memory; a bundle's length is checked against its field anyway.
        self.0 = self.0.saturating_add(bytes);
    }
}

impl Put for Size {
    fn slice(&mut self, bytes: &[u8]) {
        self.add(bytes.len());
    }

    fn varint(&mut self, value: u64) {
        self.add(varint::len(value));
    }
}

/// The next `N` bytes.
pub(super) fn array<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*array)
}

/// The next byte.
pub(super) fn byte(from: &mut &[u8]) -> Option<u8> {
    array::<1>(from).map(|[byte]| byte)
}

/// The next `len` bytes.
pub(super) fn take<'a>(from: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(usize::try_from(len).ok()?)?;
    *from = rest;
    Some(taken)
}

/// A count of things that take at least `each` bytes: at most `max`, and no more than there can be. Whoever
/// allocates for so many has been sent at least as many bytes.
pub(super) fn count(from: &mut &[u8], max: usize, each: usize) -> Option<usize> {
    let count = usize::try_from(varint::get(from)?).ok()?;
    (count <= max && count <= from.len().checked_div(each)?).then_some(count)
}
