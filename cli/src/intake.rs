//! Reading from a socket into memory that fits what comes: nearly none while nothing does, large blocks under load,
//! and never a large block pinned by a few bytes.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use bytes::Bytes;
use posthole_runtime::block;
use rustix::buffer::spare_capacity;

/// What an idle connection holds. Pieces of at most this size are copied into memory of their own, so that they pin
/// nothing else.
const SMALL: usize = 4 * 1024;
/// The first block taken once a read has filled `SMALL`; each block that is filled doubles the next.
const FIRST: usize = 16 * 1024;
/// The largest block: 256 KiB is where a system call's own cost no longer shows (FINDINGS §2).
const LARGEST: usize = 256 * 1024;
/// How long a connection that was busy keeps its block while nothing comes.
const KEEP: Duration = Duration::from_secs(1);

/// The buffers of one connection's reader: ask for [`room`](Intake::room), read into its spare capacity, then
/// [`take`](Intake::take) what came.
///
/// Nothing is zeroed: with 256 KiB for each read that would be a tenth of the processor time of a bulk transfer.
pub(crate) struct Intake {
    small: Vec<u8>,
    /// None while little comes.
    bulk: Option<Bulk>,
}

struct Bulk {
    /// Empty between reads.
    block: Vec<u8>,
    size: usize,
    /// What the last read came to.
    last: usize,
}

impl Intake {
    pub(crate) fn new() -> Intake {
        Intake {
            small: Vec::with_capacity(SMALL),
            bulk: None,
        }
    }

    /// An empty buffer with spare capacity.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        match &mut self.bulk {
            None => {
                self.small.reserve(SMALL);
                &mut self.small
            }
            Some(bulk) => {
                if bulk.block.capacity() < bulk.size {
                    bulk.block = block::take(bulk.size);
                }
                &mut bulk.block
            }
        }
    }

    /// What was read into the buffer.
    pub(crate) fn take(&mut self) -> Bytes {
        let Some(Bulk { block, size, last }) = &mut self.bulk else {
            let bytes = Bytes::copy_from_slice(&self.small);
            self.small.clear();
            if bytes.len() == SMALL {
                self.bulk = Some(Bulk {
                    block: Vec::new(),
                    size: FIRST,
                    last: 0,
                });
            }
            return bytes;
        };
        *last = block.len();
        if block.len() == block.capacity() {
            *size = (*size * 2).min(LARGEST);
        }
        // What is less than half of its block would pin more than itself.
        if block.len() * 2 < block.capacity() {
            let bytes = Bytes::copy_from_slice(block);
            block.clear();
            bytes
        } else {
            block::freeze(std::mem::take(block))
        }
    }

    /// Nothing is there just now: gives all memory back, for a reader that waits with none. The next block is as large
    /// as this one, or smaller if it was far too large.
    pub(crate) fn pause(&mut self) {
        self.small = Vec::new();
        if let Some(bulk) = &mut self.bulk {
            drop(block::freeze(std::mem::take(&mut bulk.block)));
            if bulk.last < bulk.size / 4 {
                bulk.size /= 2;
            }
            if bulk.size < FIRST {
                self.bulk = None;
            }
        }
    }

    /// Nothing has come for a while: gives the block back. False if there is none.
    fn rest(&mut self) -> bool {
        self.bulk.take().is_some()
    }

    /// The next bytes; empty at the end. `set_wait` sets how long a read of `from` may take before it fails with
    /// `WouldBlock` or `TimedOut`; a source that can't do so keeps its block while it is idle.
    pub(crate) fn read(
        &mut self,
        from: impl AsFd,
        set_wait: impl Fn(Option<Duration>) -> io::Result<()>,
    ) -> io::Result<Bytes> {
        self.read_by(
            |room| Ok(rustix::io::read(&from, spare_capacity(room))?),
            set_wait,
        )
    }

    fn read_by(
        &mut self,
        mut read: impl FnMut(&mut Vec<u8>) -> io::Result<usize>,
        set_wait: impl Fn(Option<Duration>) -> io::Result<()>,
    ) -> io::Result<Bytes> {
        loop {
            match read(self.room()) {
                Ok(_) => {
                    let was_bulk = self.bulk.is_some();
                    let bytes = self.take();
                    if self.bulk.is_some() && !was_bulk {
                        set_wait(Some(KEEP))?;
                    }
                    return Ok(bytes);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_wait_over(&e) && self.rest() => set_wait(None)?,
                Err(e) => return Err(e),
            }
        }
    }
}

/// Whether a read or write ended because its time-out was over: the kind differs between systems.
pub(crate) fn is_wait_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// Gives what a script says, as far as there is room, and records how much room it was offered.
    struct Script {
        steps: VecDeque<io::Result<usize>>,
        offered: Vec<usize>,
    }

    impl Script {
        fn read(&mut self, room: &mut Vec<u8>) -> io::Result<usize> {
            assert!(room.is_empty());
            self.offered.push(room.capacity());
            let n = self.steps.pop_front().unwrap_or(Ok(0))?;
            let n = n.min(room.capacity());
            room.resize(n, 7);
            Ok(n)
        }
    }

    fn script(steps: impl IntoIterator<Item = io::Result<usize>>) -> Script {
        Script {
            steps: steps.into_iter().collect(),
            offered: Vec::new(),
        }
    }

    fn read(intake: &mut Intake, script: &mut Script) -> io::Result<Bytes> {
        intake.read_by(|room| script.read(room), |_| Ok(()))
    }

    #[test]
    fn blocks_grow_while_they_are_filled_and_stop_at_the_largest() {
        let mut source = script((0..8).map(|_| Ok(usize::MAX)));
        let mut intake = Intake::new();
        let sizes: Vec<usize> = (0..8)
            .map(|_| read(&mut intake, &mut source).unwrap().len())
            .collect();
        assert_eq!(
            sizes,
            [
                SMALL,
                FIRST,
                2 * FIRST,
                4 * FIRST,
                8 * FIRST,
                LARGEST,
                LARGEST,
                LARGEST
            ]
        );
        assert!(
            read(&mut intake, &mut source).unwrap().is_empty(),
            "the end"
        );
    }

    #[test]
    fn an_idle_connection_gives_its_block_back() {
        let wait = RefCell::new(None);
        let set = |w| {
            *wait.borrow_mut() = w;
            Ok(())
        };
        let mut source = script([
            Ok(usize::MAX),
            Ok(100),
            Err(io::ErrorKind::WouldBlock.into()),
            Ok(10),
        ]);
        let mut intake = Intake::new();
        intake.read_by(|room| source.read(room), set).unwrap();
        assert_eq!(*wait.borrow(), Some(KEEP));
        intake.read_by(|room| source.read(room), set).unwrap();
        let last = intake.read_by(|room| source.read(room), set).unwrap();
        assert_eq!(last.len(), 10);
        assert_eq!(
            source.offered,
            [SMALL, FIRST, FIRST, SMALL],
            "waits in the small buffer"
        );
        assert_eq!(*wait.borrow(), None);
        assert!(intake.bulk.is_none());
    }

    #[test]
    fn small_pieces_pin_no_block_and_large_ones_are_not_copied() {
        let mut source = script([Ok(usize::MAX), Ok(FIRST / 2 - 1), Ok(FIRST / 2)]);
        let mut intake = Intake::new();
        read(&mut intake, &mut source).unwrap();
        let at = intake.room().as_ptr();
        let small = read(&mut intake, &mut source).unwrap();
        assert_eq!(intake.room().as_ptr(), at, "the block is still there");
        let large = read(&mut intake, &mut source).unwrap();
        assert_eq!((small.len(), large.len()), (FIRST / 2 - 1, FIRST / 2));
        assert_eq!(large.as_ptr(), at);
    }

    #[test]
    fn who_pauses_holds_nothing_and_goes_on_as_large_as_it_was_if_that_was_needed() {
        let mut intake = Intake::new();
        let fill = |intake: &mut Intake, most: usize| {
            let room = intake.room();
            let n = room.capacity().min(most);
            room.resize(n, 7);
            intake.take().len()
        };
        let sizes: Vec<usize> = (0..4).map(|_| fill(&mut intake, usize::MAX)).collect();
        assert_eq!(sizes, [SMALL, FIRST, 2 * FIRST, 4 * FIRST]);
        intake.pause();
        assert_eq!(intake.small.capacity(), 0);
        assert_eq!(intake.bulk.as_ref().unwrap().block.capacity(), 0);
        assert!(fill(&mut intake, usize::MAX) >= 8 * FIRST);
        // Little comes: smaller and smaller blocks, none in the end.
        let mut waits = 0;
        while intake.bulk.is_some() {
            assert_eq!(fill(&mut intake, 100), 100);
            intake.pause();
            waits += 1;
        }
        assert_eq!(waits, 5);
        assert_eq!(fill(&mut intake, 100), 100);
    }

    #[test]
    fn interruptions_are_no_end_and_errors_are_told() {
        let mut source = script([
            Err(io::ErrorKind::Interrupted.into()),
            Ok(3),
            Err(io::ErrorKind::ConnectionReset.into()),
        ]);
        let mut intake = Intake::new();
        assert_eq!(read(&mut intake, &mut source).unwrap().len(), 3);
        assert_eq!(
            read(&mut intake, &mut source).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    #[test]
    fn what_a_socket_gives_is_what_was_written_to_it() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let said: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let (mut intake, mut heard) = (Intake::new(), Vec::new());
        let says = said.clone();
        let writer = std::thread::spawn(move || near.write_all(&says));
        loop {
            let bytes = intake.read(&far, |_| Ok(())).unwrap();
            if bytes.is_empty() {
                break;
            }
            heard.extend_from_slice(&bytes);
        }
        writer.join().unwrap().unwrap();
        assert!(heard == said);
    }
}
