//! Bundles out of a stream of bytes: a direct connection carries one after another, with nothing between them.

use crate::block;
use bytes::Bytes;
use posthole_protocol::wire::Head;

/// Room for what comes when nothing large is on its way.
const ROOM: usize = 64 * 1024;

/// The bytes of a head that say how long its bundle is.
const TOLD: usize = 8;

/// Puts together what comes, and gives whole bundles.
#[derive(Debug)]
pub struct Frames {
    most: usize,
    block: Vec<u8>,
}

/// What comes are no bundles, or they are larger than they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBundles;

impl Frames {
    /// For bundles of at most `most` bytes.
    pub fn new(most: usize) -> Frames {
        Frames {
            most,
            block: Vec::new(),
        }
    }

    /// Whether part of a bundle is here.
    pub fn has_part(&self) -> bool {
        !self.block.is_empty()
    }

    /// How many bytes of one.
    pub fn part(&self) -> usize {
        self.block.len()
    }

    /// Where to append what comes, up to the capacity: there is room.
    pub fn room(&mut self) -> &mut Vec<u8> {
        let wanted = self.first().unwrap_or(0).max(self.block.len() + TOLD);
        if self.block.capacity() < wanted || self.block.capacity() == self.block.len() {
            let mut larger = block::take(wanted + ROOM);
            larger.extend_from_slice(&self.block);
            self.block = larger;
        }
        &mut self.block
    }

    /// The whole bundles that are here, together.
    ///
    /// # Errors
    /// If they are none: nothing more is to be read.
    pub fn take(&mut self) -> Result<Option<Bytes>, NotBundles> {
        let mut whole = 0;
        while let Some(rest) = self.block.get(whole..).filter(|rest| rest.len() >= TOLD) {
            let len = Head::length(rest).filter(|len| *len <= self.most);
            let len = len.ok_or(NotBundles)?;
            if len > rest.len() {
                break;
            }
            whole += len;
        }
        if whole == 0 {
            return Ok(None);
        }
        let rest = self.block.get(whole..).unwrap_or_default();
        let mut next = Vec::new();
        if !rest.is_empty() {
            next = block::take(Head::length(rest).unwrap_or(0).max(rest.len()) + ROOM);
            next.extend_from_slice(rest);
        }
        let mut done = std::mem::replace(&mut self.block, next);
        done.truncate(whole);
        Ok(Some(block::freeze(done)))
    }

    /// The length of the bundle of which a part is here, if that is known.
    fn first(&self) -> Option<usize> {
        Head::length(&self.block).filter(|len| *len <= self.most)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use posthole_protocol::SessionId;
    use posthole_protocol::wire::{RequestPrefix, encode};

    fn bundle(number: u64) -> Bytes {
        let id = SessionId::from_bytes([3; 16]);
        encode(&id, 1, number, &RequestPrefix::default(), &[]).into_bytes()
    }

    #[test]
    fn bundles_come_whole_however_they_are_cut() {
        let all: Vec<u8> = (0..50).flat_map(|n| bundle(n).to_vec()).collect();
        for step in [1, 7, 63, 64, 65, 1000, all.len()] {
            let (mut frames, mut out) = (Frames::new(1000), Vec::new());
            for piece in all.chunks(step) {
                for byte in piece {
                    frames.room().push(*byte);
                }
                if let Some(bundles) = frames.take().unwrap() {
                    out.extend_from_slice(&bundles);
                }
            }
            assert_eq!(out, all, "{step}");
            assert!(!frames.has_part());
        }
    }

    #[test]
    fn a_large_one_finds_room() {
        let mut large = bundle(1).to_vec();
        large[4..8].copy_from_slice(&300_000_u32.to_be_bytes());
        let mut frames = Frames::new(300_000);
        frames.room().extend_from_slice(&large[..20]);
        assert_eq!(frames.take(), Ok(None));
        let room = frames.room();
        assert!(room.capacity() >= 300_000);
        room.resize(300_000, 0);
        assert_eq!(frames.take().unwrap().unwrap().len(), 300_000);
    }

    #[test]
    fn what_is_no_bundle_is_refused_by_its_beginning() {
        let mut too_large = bundle(1).to_vec();
        too_large[4..8].copy_from_slice(&1001_u32.to_be_bytes());
        let mut empty = bundle(1).to_vec();
        empty[4..8].copy_from_slice(&7_u32.to_be_bytes());
        for wrong in [&b"GET / HTTP/1.1"[..], &too_large, &empty] {
            let mut frames = Frames::new(1000);
            frames.room().extend_from_slice(wrong);
            assert_eq!(frames.take(), Err(NotBundles));
        }
    }
}
