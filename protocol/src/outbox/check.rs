//! What must hold of the outbox at any time, for tests.

use super::*;

impl Outbox {
    /// Recomputes the sums, and looks for messages that nothing will ever send again.
    pub(crate) fn check(&self) {
        let bytes: u64 = self.items.iter().map(|i| payload_len(&i.content)).sum();
        assert_eq!(self.bytes, bytes, "bytes");
        for (i, item) in self.items.iter().enumerate() {
            let number = self.base + i as u64;
            let flying: usize = self
                .flights
                .iter()
                .flat_map(|f| f.numbers.iter().cloned().flatten())
                .filter(|n| *n == number)
                .count();
            if item.acked {
                assert!(!self.due.contains_key(&number));
                continue;
            }
            assert_eq!(usize::from(item.flying), flying, "{number} flying");
            assert!(
                flying > 0 || self.due.contains_key(&number),
                "{number} will never be sent again"
            );
            assert!(item.flying <= MAX_COPIES, "L5: {item:?}");
        }
        for number in self.due.keys() {
            assert!(self.item(*number).is_some_and(|i| !i.acked), "due {number}");
        }
    }
}
