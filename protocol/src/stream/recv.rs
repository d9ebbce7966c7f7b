//! The receiving half of one stream: reassembly by offset (PROTOCOL §6).

use super::pieces::Pieces;
use crate::config::OWN_CREDIT;
use crate::error::{ResetCode, Violation};
use alloc::collections::BTreeMap;
use bytes::Bytes;

/// Parts of a stream that wait for what comes before them. An honest peer's messages leave at most 64 of them, as an
/// acknowledgement has at most 64 ranges (§4.3); more are an attack on memory.
const MAX_PARTS: usize = 256;

/// How far the receiving half has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RecvState {
    /// Bytes may come.
    Open,
    /// The application has read up to the final size and been told.
    Ended,
    /// The peer gave up; `told`: the application knows.
    Reset { code: ResetCode, told: bool },
    /// The application wants no more; what comes is dropped. `code` is to be told to the peer unless `said`.
    Stopped { code: ResetCode, said: bool },
}

/// Bytes that have arrived and were not read yet.
///
/// Invariant: `read <= contiguous <= highest <= size`; `ready` holds `read..contiguous`; the parts in `later` lie
/// beyond, don't overlap, and begin after `contiguous`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RecvHalf {
    pub(crate) state: RecvState,
    ready: Pieces,
    later: BTreeMap<u64, Pieces>,
    read: u64,
    pub(crate) highest: u64,
    pub(crate) size: Option<u64>,
    /// The offset up to which the peer was told that the stream's own credit reaches.
    pub(crate) announced: u64,
    /// A read gave nothing, and the application waits for news.
    pub(crate) blocked: bool,
}

impl RecvHalf {
    pub(crate) fn new() -> RecvHalf {
        RecvHalf {
            state: RecvState::Open,
            ready: Pieces::default(),
            later: BTreeMap::new(),
            read: 0,
            highest: 0,
            size: None,
            announced: OWN_CREDIT,
            blocked: false,
        }
    }

    /// Takes in bytes at `offset`. `body` is the size of the body that they are a slice of: what is less than a
    /// quarter of it is copied, lest one kept byte pin a megabyte (A15).
    pub(crate) fn insert(
        &mut self,
        offset: u64,
        payload: Bytes,
        fin: bool,
        body: usize,
    ) -> Result<(), Violation> {
        let end = offset + payload.len() as u64;
        if self
            .size
            .is_some_and(|size| end > size || (fin && end != size))
            || (fin && end < self.highest)
        {
            return Err(Violation::FinalSize);
        }
        if fin {
            self.size = Some(end);
        }
        self.highest = self.highest.max(end);
        if !matches!(self.state, RecvState::Open) || payload.is_empty() {
            return Ok(());
        }
        let contiguous = self.read + self.ready.len();
        if offset <= contiguous {
            self.append(offset, payload, body);
            self.close_gap();
        } else {
            self.put_aside(offset, payload, body);
            if self.later.len() > MAX_PARTS {
                return Err(Violation::Scattered);
            }
        }
        Ok(())
    }

    /// Appends what of `payload` lies beyond what is there; it must not begin beyond it.
    fn append(&mut self, offset: u64, mut payload: Bytes, body: usize) {
        let known = self.read + self.ready.len() - offset;
        if known < payload.len() as u64 {
            let new = payload.split_off(known as usize);
            self.ready.push(keep(new, body), true);
        }
    }

    fn close_gap(&mut self) {
        while let Some(part) = self.later.first_entry() {
            let contiguous = self.read + self.ready.len();
            if *part.key() > contiguous {
                break;
            }
            let (offset, mut run) = part.remove_entry();
            let mut known = contiguous - offset;
            while !run.is_empty() {
                let mut piece = run.pop(usize::MAX);
                let whole = piece.len();
                let new = piece.split_off(usize::try_from(known).unwrap_or(whole).min(whole));
                known -= piece.len() as u64;
                self.ready.push(keep(new, whole), true);
            }
        }
    }

    /// Keeps what came before its time. Neighbours become one part, so that the number of parts is that of gaps.
    fn put_aside(&mut self, mut offset: u64, mut payload: Bytes, body: usize) {
        let before = self.later.range(..=offset).next_back();
        let before = before.map(|(start, run)| (*start, start + run.len()));
        if let Some((_, end)) = before {
            let known = end.saturating_sub(offset).min(payload.len() as u64);
            payload = payload.split_off(known as usize);
            offset += known;
        }
        let end = offset + payload.len() as u64;
        // What lies wholly inside goes; what reaches beyond keeps its own and this is cut short.
        while let Some((&start, after)) = self.later.range(offset..end).next() {
            if start + after.len() <= end {
                self.later.remove(&start);
            } else {
                payload.truncate((start - offset) as usize);
                break;
            }
        }
        if payload.is_empty() {
            return;
        }
        let end = offset + payload.len() as u64;
        let start = before
            .filter(|(_, end)| *end == offset)
            .map_or(offset, |(start, _)| start);
        let after = self.later.remove(&end);
        let run = self.later.entry(start).or_default();
        run.push(keep(payload, body), true);
        if let Some(after) = after {
            run.append(after);
        }
    }

    /// The peer gave up the stream, having sent `size` bytes of it.
    pub(super) fn on_reset(&mut self, code: ResetCode, size: u64) -> Result<(), Violation> {
        if size < self.highest || self.size.is_some_and(|s| s != size) {
            return Err(Violation::FinalSize);
        }
        match self.state {
            RecvState::Open => {
                self.size = Some(size);
                self.highest = size;
                self.end(RecvState::Reset { code, told: false });
            }
            RecvState::Stopped { code: ours, .. } => {
                self.size = Some(size);
                self.highest = size;
                // The peer is done with it, so its share of the pool is back on both sides.
                self.end(RecvState::Reset {
                    code: ours,
                    told: true,
                });
            }
            // The peer has its share of the pool back by its reset, and is to be told nothing more.
            RecvState::Ended => self.announced = self.announced.max(self.highest),
            RecvState::Reset { .. } => {}
        }
        Ok(())
    }

    /// The next bytes for the application.
    pub(crate) fn take(&mut self, max: usize) -> Bytes {
        let chunk = self.ready.pop(max);
        self.read += chunk.len() as u64;
        chunk
    }

    /// Whether bytes can be read.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether everything up to the final size has been read.
    pub(crate) fn at_end(&self) -> bool {
        self.size == Some(self.read)
    }

    /// Ends this half: what is kept is dropped.
    pub(crate) fn end(&mut self, state: RecvState) {
        self.state = state;
        self.ready.clear();
        self.later = BTreeMap::new();
    }

    /// The offset up to which the application is done with the stream.
    pub(crate) fn consumed(&self) -> u64 {
        match self.state {
            RecvState::Open => self.read,
            RecvState::Ended | RecvState::Reset { .. } | RecvState::Stopped { .. } => self.highest,
        }
    }

    /// Bytes beyond the credit that was told: this stream's share of the pool. None once the peer is done for
    /// good and the application, too.
    pub(crate) fn charged(&self) -> u64 {
        if matches!(self.state, RecvState::Reset { .. }) {
            0
        } else {
            self.highest.saturating_sub(self.announced)
        }
    }

    /// How far the credit could be raised.
    pub(crate) fn could_announce(&self) -> u64 {
        (self.consumed() + OWN_CREDIT).max(self.announced)
    }

    /// Whether nothing of this half matters any more: the application knows how it ended, and the peer has its
    /// credit back.
    pub(crate) fn is_over(&self) -> bool {
        match self.state {
            RecvState::Open => false,
            RecvState::Reset { told, .. } => told,
            RecvState::Ended => self.charged() == 0,
            // A peer that had not sent its end answers STOP with RESET or the end.
            RecvState::Stopped { .. } => self.size.is_some() && self.charged() == 0,
        }
    }
}

/// What is kept of a payload once only what is new is left of it: its own bytes where they are less than a quarter of
/// what they would pin (A15).
fn keep(payload: Bytes, pinned: usize) -> Bytes {
    if payload.len() * 4 < pinned {
        Bytes::copy_from_slice(&payload)
    } else {
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn drain(half: &mut RecvHalf, into: &mut Vec<u8>) {
        while half.has_bytes() {
            into.extend_from_slice(&half.take(7));
        }
    }

    proptest! {
        /// L1: whatever pieces come, in whatever order, overlapping or not: the bytes, once, in order.
        #[test]
        fn l1_reassembles_any_cover(parts in proptest::collection::vec((0usize..200, 1usize..50, 1usize..9), 0..60), seed: u8) {
            let whole: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(7) ^ seed).collect();
            let (mut half, mut got) = (RecvHalf::new(), Vec::new());
            let mut feed = |half: &mut RecvHalf, from: usize, len: usize, body: usize| {
                let to = (from + len).min(whole.len());
                let payload = Bytes::copy_from_slice(&whole[from..to]);
                half.insert(from as u64, payload, to == whole.len(), body * 10).unwrap();
                drain(half, &mut got);
                assert_eq!(got[..], whole[..got.len()]);
                let mut last = half.read;
                for (start, part) in &half.later {
                    assert!(*start > last && !part.is_empty());
                    last = start + part.len() - 1;
                }
            };
            for (from, len, body) in parts {
                feed(&mut half, from, len, body);
            }
            feed(&mut half, 100, 100, 1);
            feed(&mut half, 0, 200, 1);
            prop_assert!(half.at_end());
            prop_assert_eq!(got, whole);
        }
    }

    #[test]
    fn contradictory_sizes_are_violations() {
        let mut half = RecvHalf::new();
        half.insert(10, Bytes::from_static(b"abc"), true, 3)
            .unwrap();
        assert_eq!(
            half.insert(10, Bytes::from_static(b"abcd"), false, 4),
            Err(Violation::FinalSize)
        );
        assert_eq!(
            half.insert(0, Bytes::from_static(b"ab"), true, 2),
            Err(Violation::FinalSize)
        );
        assert_eq!(half.insert(13, Bytes::new(), true, 0), Ok(()));
        // An end below what has come, where no other was known.
        let mut half = RecvHalf::new();
        half.insert(10, Bytes::from_static(b"abc"), false, 3)
            .unwrap();
        assert_eq!(
            half.insert(0, Bytes::from_static(b"ab"), true, 2),
            Err(Violation::FinalSize)
        );
    }

    #[test]
    fn a_reset_says_no_other_size_than_is_known() {
        let code = ResetCode(1);
        let half = |fin| {
            let mut half = RecvHalf::new();
            half.insert(0, Bytes::from_static(b"abc"), fin, 3).unwrap();
            half
        };
        for (fin, size, is_right) in [
            (true, 3, true),
            (true, 4, false),
            (true, 2, false),
            (false, 2, false),
            (false, 3, true),
            (false, 4, true),
        ] {
            let told = half(fin).on_reset(code, size);
            let right = if is_right {
                Ok(())
            } else {
                Err(Violation::FinalSize)
            };
            assert_eq!(told, right, "{fin} {size}");
        }
    }

    #[test]
    fn what_is_left_of_an_overlap_does_not_pin_a_body() {
        let mut half = RecvHalf::new();
        let bodies: Vec<Bytes> = (0..100)
            .map(|_| Bytes::from(alloc::vec![1; 1000]))
            .collect();
        for (body, offset) in bodies.iter().zip((0..100).rev()) {
            half.insert(offset, body.slice(..500), false, body.len())
                .unwrap();
        }
        // The first is kept as it is; of the others one byte each.
        assert_eq!(bodies.iter().filter(|body| !body.is_unique()).count(), 1);
        assert!(half.later.is_empty() && half.ready.len() == 599);
    }

    #[test]
    fn a_small_part_of_a_large_body_does_not_pin_it() {
        let body = Bytes::from(alloc::vec![1; 1000]);
        let mut half = RecvHalf::new();
        half.insert(0, body.slice(0..10), false, body.len())
            .unwrap();
        assert!(body.is_unique());
    }

    #[test]
    fn what_nobody_reads_any_more_is_not_kept() {
        let mut half = RecvHalf::new();
        let body = Bytes::from(alloc::vec![1; 1000]);
        for part in [0..300, 500..800] {
            let offset = part.start as u64;
            half.insert(offset, body.slice(part), false, body.len())
                .unwrap();
        }
        let code = ResetCode(1);
        half.end(RecvState::Stopped { code, said: false });
        assert!(body.is_unique());
    }
}
