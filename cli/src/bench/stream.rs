//! The load's bytes: pseudo-random by position, so that a lost, repeated, moved or changed byte and a mixed-up
//! connection all show, and cheap enough that making and checking them is no part of what is measured.
//!
//! ```text
//! stream  = *(MORE  block without its first byte)  END
//! block k = BLOCK bytes of one random table, from a place that the stream's seed and k decide
//! ```
//!
//! A stream says itself where it ends, so an end of file before that is told from the real one.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::OnceLock;

use crate::random::Random;

/// Bytes of a block; small enough to stay in a processor's cache together with the table.
pub(super) const BLOCK: usize = 128 * 1024;
/// Bytes read at a time.
const READ: usize = 256 * 1024;
/// In place of a block's first byte: this block is there.
const MORE: u8 = 1;
/// In place of a block's first byte: the stream is over.
const END: u8 = 0;

/// Block number `k` of the stream with this seed. Two blocks are alike once in [`BLOCK`] pairs.
pub(super) fn block(seed: u64, k: u64) -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table = vec![0; 2 * BLOCK];
        Random::new(0).fill(&mut table);
        table
    });
    // Both numbers spread over all bits before they meet, so that neighbours have nothing in common.
    let place = Random::new(seed ^ Random::new(k).next_u64()).below(BLOCK as u64);
    let place = usize::try_from(place).expect("below a block's length");
    &table[place..place + BLOCK]
}

/// Sends blocks while `more` says so, then the end; gives the number of bytes. Nothing is shut down.
///
/// # Errors
/// Those of `to`.
pub(super) fn send(
    mut to: impl Write,
    seed: u64,
    mut more: impl FnMut() -> bool,
) -> io::Result<u64> {
    let mut piece = vec![0; BLOCK];
    let mut sent = 0;
    for k in 0.. {
        if !more() {
            break;
        }
        piece.copy_from_slice(block(seed, k));
        piece[0] = MORE;
        to.write_all(&piece)?;
        sent += BLOCK as u64;
    }
    to.write_all(&[END])?;
    Ok(sent + 1)
}

/// Reads to the end of file, and checks that it is one whole stream; gives the number of bytes. `look` is asked after
/// each read whether to go on.
///
/// # Errors
/// Those of `from` and of `look`; [`Wrong`] in one of kind `InvalidData`.
pub(super) fn receive(
    mut from: impl Read,
    seed: u64,
    mut look: impl FnMut() -> io::Result<()>,
) -> io::Result<u64> {
    let mut check = Check::new(seed);
    let mut piece = vec![0; READ];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(check.end()?),
            n => check.take(&piece[..n])?,
        }
        look()?;
    }
}

/// What a stream's bytes are compared with, wherever they are cut.
struct Check {
    seed: u64,
    at: u64,
    is_over: bool,
}

impl Check {
    fn new(seed: u64) -> Check {
        Check {
            seed,
            at: 0,
            is_over: false,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Wrong> {
        while let Some(first) = bytes.first() {
            if self.is_over {
                return Err(Wrong::Beyond(self.at));
            }
            let whole = BLOCK as u64;
            let within = usize::try_from(self.at % whole).expect("below a block's length");
            if within == 0 {
                match *first {
                    MORE => {}
                    END => self.is_over = true,
                    _ => return Err(Wrong::Byte(self.at)),
                }
                self.at += 1;
                bytes = &bytes[1..];
                continue;
            }
            let expected = &block(self.seed, self.at / whole)[within..];
            let n = expected.len().min(bytes.len());
            if bytes[..n] != expected[..n] {
                let same = bytes.iter().zip(expected).take_while(|(a, b)| a == b);
                return Err(Wrong::Byte(self.at + same.count() as u64));
            }
            self.at += n as u64;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    fn end(&self) -> Result<u64, Wrong> {
        if self.is_over {
            Ok(self.at)
        } else {
            Err(Wrong::Cut(self.at))
        }
    }
}

/// What is wrong with a stream, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Another byte than was sent.
    Byte(u64),
    /// It ended before its end.
    Cut(u64),
    /// It went on after its end.
    Beyond(u64),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Byte(at) => write!(f, "byte {at} is not the one that was sent"),
            Wrong::Cut(at) => write!(f, "the connection ended after {at} bytes, before its end"),
            Wrong::Beyond(at) => write!(f, "bytes came after the end at {at}"),
        }
    }
}

impl std::error::Error for Wrong {}

impl From<Wrong> for io::Error {
    fn from(wrong: Wrong) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, wrong)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A stream of this many blocks.
    fn stream(seed: u64, blocks: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut left = blocks;
        let sent = send(&mut bytes, seed, || {
            left = left.wrapping_sub(1);
            left != u32::MAX
        });
        assert_eq!(sent.unwrap(), bytes.len() as u64);
        bytes
    }

    /// What is wrong with these bytes, taken in pieces of this size.
    fn verdict(bytes: &[u8], seed: u64, piece: usize) -> Result<u64, Wrong> {
        let mut check = Check::new(seed);
        for part in bytes.chunks(piece) {
            check.take(part)?;
        }
        check.end()
    }

    #[test]
    fn what_was_sent_is_right_wherever_it_is_cut() {
        let sent = stream(7, 3);
        for piece in [1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, sent.len()] {
            assert_eq!(verdict(&sent, 7, piece), Ok(sent.len() as u64), "{piece}");
        }
        assert_eq!(receive(&sent[..], 7, || Ok(())).unwrap(), sent.len() as u64);
        assert_eq!(
            verdict(&stream(7, 0), 7, 1),
            Ok(1),
            "an empty one has an end"
        );
    }

    #[test]
    fn a_changed_byte_shows_and_where() {
        let sent = stream(7, 2);
        for at in [0, 1, 500, BLOCK - 1, BLOCK, BLOCK + 1, sent.len() - 1] {
            let mut changed = sent.clone();
            changed[at] ^= 0x40;
            assert_eq!(verdict(&changed, 7, 4096), Err(Wrong::Byte(at as u64)));
        }
    }

    #[test]
    fn a_lost_a_repeated_and_a_moved_piece_show() {
        let sent = stream(7, 4);
        let without = |a: usize, b: usize| [&sent[..a], &sent[b..]].concat();
        let twice = |a: usize, b: usize| [&sent[..b], &sent[a..]].concat();
        for (a, b) in [(5, 6), (100, 4196), (BLOCK, 2 * BLOCK), (0, 2 * BLOCK)] {
            assert!(verdict(&without(a, b), 7, 4096).is_err(), "lost {a} to {b}");
            assert!(verdict(&twice(a, b), 7, 4096).is_err(), "twice {a} to {b}");
        }
        let moved = [
            &sent[..BLOCK],
            &sent[2 * BLOCK..3 * BLOCK],
            &sent[BLOCK..2 * BLOCK],
            &sent[3 * BLOCK..],
        ]
        .concat();
        assert!(verdict(&moved, 7, 4096).is_err());
    }

    #[test]
    fn another_connections_bytes_show() {
        assert_eq!(verdict(&stream(8, 2), 7, 4096), Err(Wrong::Byte(1)));
    }

    #[test]
    fn an_early_end_and_a_late_byte_show() {
        let sent = stream(7, 2);
        for length in [0, 1, BLOCK, sent.len() - 1] {
            let cut = receive(&sent[..length], 7, || Ok(())).unwrap_err();
            assert_eq!(
                cut.get_ref().unwrap().downcast_ref(),
                Some(&Wrong::Cut(length as u64))
            );
        }
        let longer = [&sent[..], &[0]].concat();
        assert_eq!(
            verdict(&longer, 7, 4096),
            Err(Wrong::Beyond(sent.len() as u64))
        );
    }
}
