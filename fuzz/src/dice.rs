//! Choices out of bytes: when they run out, everything is zero.

/// A reader of choices.
pub(crate) struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Dice<'a> {
        Dice(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        u64::from(self.byte()) % end.max(1)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number as messages hold them: mostly small, sometimes at the end of what can be said.
    pub(crate) fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => (1 << 62) - 1 - self.below(4),
            1 => 1 << (self.below(62)),
            2 => u64::from(self.word()) * 64,
            3 => u64::from(self.word()),
            _ => self.below(16),
        }
    }

    /// The next bytes, as many as there are, at most `len`.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All bytes that are left, which stay.
    pub(crate) fn peek(&self) -> &'a [u8] {
        self.0
    }

    /// All bytes that are left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }
}
