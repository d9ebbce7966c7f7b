//! Bytes that are different everywhere, so that a piece at a wrong place is seen.

use crate::rng::Rng;

/// The bytes of one seed, in order.
#[derive(Clone, Debug)]
pub struct Pattern {
    rng: Rng,
    word: [u8; 8],
    used: usize,
}

impl Pattern {
    /// From the beginning.
    pub fn new(seed: u64) -> Pattern {
        Pattern {
            rng: Rng::new(seed),
            word: [0; 8],
            used: 8,
        }
    }

    /// The next bytes.
    pub fn fill(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.used == self.word.len() {
                self.word = self.rng.draw().to_le_bytes();
                self.used = 0;
            }
            let n = bytes.len().min(self.word.len() - self.used);
            let (here, rest) = bytes.split_at_mut(n);
            here.copy_from_slice(&self.word[self.used..][..n]);
            self.used += n;
            bytes = rest;
        }
    }
}

/// The first bytes of a seed.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Pattern::new(seed).fill(&mut bytes);
    bytes
}

/// Where two pieces differ first, as far as both go. All that tests read passes here: what is alike is seen at once.
pub(crate) fn first_difference(got: &[u8], wanted: &[u8]) -> Option<usize> {
    let len = got.len().min(wanted.len());
    if got[..len] == wanted[..len] {
        return None;
    }
    got.iter().zip(wanted).position(|(a, b)| a != b)
}

/// Compares without printing megabytes.
///
/// # Panics
/// If they differ, with the first place where they do.
#[track_caller]
pub fn assert_same(got: &[u8], wanted: &[u8]) {
    if let Some(at) = first_difference(got, wanted) {
        panic!("different from byte {at} on");
    }
    assert_eq!(got.len(), wanted.len(), "lengths");
}
