//! Large blocks of memory, used again while they are warm.
//!
//! Bulk moves in blocks of 64 KiB to 1 MiB that live for as long as the path needs them, and are freed by another
//! thread than the one that takes the next. An allocator that gives such memory back to the system makes each of them
//! be faulted in anew, page by page: with glibc's that was a fifth of the processor time of a bulk transfer. So freed
//! blocks wait here, the warmest on top; few enough that an idle process hardly notices.

#![expect(
    clippy::disallowed_types,
    reason = "the pool belongs to no session, and nobody waits in it"
)]

use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller blocks are the allocator's, which keeps them.
const LEAST: usize = 64 * 1024;

/// Bytes that wait at most. What one connection leaves between one body and the next is 1 to 3 MiB.
const MOST: usize = 8 * 1024 * 1024;

/// Blocks that wait at most, so that finding one costs little.
const BLOCKS: usize = 32;

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// An empty vector with room for at least `capacity` bytes.
pub fn take(capacity: usize) -> Vec<u8> {
    let mut block = used(capacity).unwrap_or_else(|| Vec::with_capacity(capacity));
    block.clear();
    block
}

/// A vector of `len` bytes, to be overwritten: what is in them may be anything.
pub fn take_filled(len: usize) -> Vec<u8> {
    let mut block = used(len).unwrap_or_else(|| vec![0; len]);
    block.resize(len, 0);
    block
}

fn used(capacity: usize) -> Option<Vec<u8>> {
    if capacity < LEAST {
        return None;
    }
    lock().take(capacity)
}

/// The bytes of a vector, whose memory is used again once the last slice of them is gone.
pub fn freeze(block: Vec<u8>) -> Bytes {
    if block.capacity() < LEAST {
        Bytes::from(block)
    } else {
        Bytes::from_owner(Block(block))
    }
}

struct Block(Vec<u8>);

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let block = std::mem::take(&mut self.0);
        // Whatever does not fit is freed with no lock held.
        drop(lock().put(block));
    }
}

fn lock() -> MutexGuard<'static, Pool> {
    // Nothing in here panics between two states that belong together.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Invariant: `bytes` is the sum of the capacities.
struct Pool {
    blocks: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    const fn new() -> Pool {
        Pool {
            blocks: Vec::new(),
            bytes: 0,
        }
    }

    /// The block used last that is large enough and not more than half too large.
    fn take(&mut self, capacity: usize) -> Option<Vec<u8>> {
        let fits = |block: &Vec<u8>| {
            block.capacity() >= capacity && block.capacity() <= capacity + capacity / 2
        };
        let at = self.blocks.iter().rposition(fits)?;
        let block = self.blocks.remove(at);
        self.bytes -= block.capacity();
        Some(block)
    }

    /// Gives the block back if there is no room for it, or the coldest ones that made room.
    fn put(&mut self, block: Vec<u8>) -> Vec<Vec<u8>> {
        if block.capacity() > MOST / 4 {
            return vec![block];
        }
        let mut out = Vec::new();
        while self.blocks.len() >= BLOCKS || self.bytes + block.capacity() > MOST {
            let coldest = self.blocks.remove(0);
            self.bytes -= coldest.capacity();
            out.push(coldest);
        }
        self.bytes += block.capacity();
        self.blocks.push(block);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_block_is_the_next_one_taken() {
        let mut pool = Pool::new();
        for capacity in [LEAST, 4 * LEAST, 8 * LEAST] {
            assert!(pool.put(Vec::with_capacity(capacity)).is_empty());
        }
        assert_eq!(
            pool.take(3 * LEAST).map(|b| b.capacity()),
            Some(4 * LEAST),
            "large enough, and not far too large"
        );
        assert_eq!(pool.take(3 * LEAST), None);
        assert_eq!(pool.bytes, 9 * LEAST);
    }

    #[test]
    fn what_waits_is_bounded_and_the_coldest_goes() {
        let mut pool = Pool::new();
        let mut gone = 0;
        for n in 0..100 {
            let mut block = Vec::with_capacity(8 * LEAST);
            block.push(n);
            gone += pool.put(block).len();
            assert!(pool.bytes <= MOST && pool.blocks.len() <= BLOCKS);
        }
        assert_eq!(gone + pool.blocks.len(), 100);
        assert_eq!(pool.blocks.last().and_then(|b| b.first()), Some(&99));
        assert_eq!(pool.put(Vec::with_capacity(MOST)).len(), 1);
    }

    #[test]
    fn bytes_are_what_was_written_and_their_memory_comes_back() {
        let mut block = take(5 * LEAST);
        block.extend_from_slice(b"hello");
        let at = block.as_ptr();
        let bytes = freeze(block);
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert_eq!(&slice[..], b"el");
        drop(slice);
        // Other tests of this process may have taken it meanwhile; then it was not this one's.
        let again = take(5 * LEAST);
        assert!(again.is_empty() && (again.as_ptr() == at || again.capacity() >= 5 * LEAST));
    }
}
