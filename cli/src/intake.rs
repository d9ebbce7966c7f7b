//! Reading from a socket into memory that fits what comes: nearly none while nothing does, large blocks under load,
//! and never a large block pinned by a few bytes.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// What an idle connection holds, on its thread's stack. Pieces of at most this size are copied into memory of
/// their own, so that they pin nothing else.
const SMALL: usize = 4 * 1024;
/// The first block taken once a read has filled `SMALL`; each block that is filled doubles the next.
const FIRST: usize = 16 * 1024;
/// The largest block: 256 KiB is where a system call's own cost no longer shows (FINDINGS §2).
const LARGEST: usize = 256 * 1024;
/// How long a connection that was busy keeps its block while nothing comes.
const KEEP: Duration = Duration::from_secs(1);

/// The reader's state; one per connection, on the stack of the thread that reads.
pub(crate) struct Intake {
    small: [u8; SMALL],
    /// None while little comes.
    bulk: Option<Bulk>,
}

struct Bulk {
    /// Zeroed and not yet read into.
    block: BytesMut,
    size: usize,
}

impl Intake {
    pub(crate) fn new() -> Intake {
        Intake {
            small: [0; SMALL],
            bulk: None,
        }
    }

    /// The next bytes; empty at the end. `set_wait` sets how long a read of `from` may take before it fails with
    /// `WouldBlock` or `TimedOut`; a source that can't do so keeps its block while it is idle.
    pub(crate) fn read(
        &mut self,
        mut from: impl Read,
        set_wait: impl Fn(Option<Duration>) -> io::Result<()>,
    ) -> io::Result<Bytes> {
        loop {
            let result = match &mut self.bulk {
                Some(bulk) => bulk.read(&mut from),
                None => from
                    .read(&mut self.small)
                    .map(|n| Bytes::copy_from_slice(&self.small[..n])),
            };
            match result {
                Ok(bytes) => {
                    if self.bulk.is_none() && bytes.len() == SMALL {
                        self.bulk = Some(Bulk {
                            block: BytesMut::new(),
                            size: FIRST,
                        });
                        set_wait(Some(KEEP))?;
                    }
                    return Ok(bytes);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_wait_over(&e) && self.bulk.is_some() => {
                    self.bulk = None;
                    set_wait(None)?;
                }
                Err(e) => return Err(e),
            }
        }
    }
}

impl Bulk {
    fn read(&mut self, from: &mut impl Read) -> io::Result<Bytes> {
        // What the last read left of its block is used up first while it is worth a system call.
        if self.block.len() < self.size / 2 {
            self.block = BytesMut::zeroed(self.size);
        }
        let n = from.read(&mut self.block)?;
        if n == self.block.len() {
            self.size = (self.size * 2).min(LARGEST);
        }
        if n <= SMALL {
            Ok(Bytes::copy_from_slice(&self.block[..n]))
        } else {
            Ok(self.block.split_to(n).freeze())
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

    /// Gives what a script says, as far as the buffer allows, and records how much room it was offered.
    struct Script {
        steps: VecDeque<io::Result<usize>>,
        offered: Vec<usize>,
    }

    struct Source(RefCell<Script>);

    impl Read for &Source {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let mut script = self.0.borrow_mut();
            script.offered.push(buf.len());
            let n = script.steps.pop_front().unwrap_or(Ok(0))?.min(buf.len());
            buf[..n].fill(7);
            Ok(n)
        }
    }

    fn script(steps: impl IntoIterator<Item = io::Result<usize>>) -> Source {
        Source(RefCell::new(Script {
            steps: steps.into_iter().collect(),
            offered: Vec::new(),
        }))
    }

    #[test]
    fn blocks_grow_while_they_are_filled_and_stop_at_the_largest() {
        let source = script((0..8).map(|_| Ok(usize::MAX)));
        let mut intake = Intake::new();
        let sizes: Vec<usize> = (0..8)
            .map(|_| intake.read(&source, |_| Ok(())).unwrap().len())
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
            intake.read(&source, |_| Ok(())).unwrap().is_empty(),
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
        let source = script([
            Ok(usize::MAX),
            Ok(100),
            Err(io::ErrorKind::WouldBlock.into()),
            Ok(10),
        ]);
        let mut intake = Intake::new();
        intake.read(&source, set).unwrap();
        assert_eq!(*wait.borrow(), Some(KEEP));
        intake.read(&source, set).unwrap();
        assert_eq!(intake.read(&source, set).unwrap().len(), 10);
        assert_eq!(
            source.0.borrow().offered,
            [SMALL, FIRST, FIRST, SMALL],
            "waits in the small buffer"
        );
        assert_eq!(*wait.borrow(), None);
        assert!(intake.bulk.is_none());
    }

    #[test]
    fn small_pieces_pin_no_block_and_large_ones_are_not_copied() {
        let source = script([Ok(usize::MAX), Ok(SMALL), Ok(SMALL + 1)]);
        let mut intake = Intake::new();
        intake.read(&source, |_| Ok(())).unwrap();
        let small = intake.read(&source, |_| Ok(())).unwrap();
        let bulk = intake.bulk.as_ref().unwrap();
        assert_eq!(
            bulk.block.len(),
            FIRST,
            "the small piece took nothing of the block"
        );
        let at = bulk.block.as_ptr();
        let large = intake.read(&source, |_| Ok(())).unwrap();
        assert_eq!((small.len(), large.len()), (SMALL, SMALL + 1));
        assert_eq!(large.as_ptr(), at);
    }

    #[test]
    fn interruptions_are_no_end_and_errors_are_told() {
        let source = script([
            Err(io::ErrorKind::Interrupted.into()),
            Ok(3),
            Err(io::ErrorKind::ConnectionReset.into()),
        ]);
        let mut intake = Intake::new();
        assert_eq!(intake.read(&source, |_| Ok(())).unwrap().len(), 3);
        assert_eq!(
            intake.read(&source, |_| Ok(())).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    }
}
