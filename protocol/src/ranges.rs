//! A set of numbers that is whole up to a point and has few gaps beyond it.

use crate::wire::{Ack, MAX_RANGES};
use alloc::vec::Vec;
use core::ops::Range;

/// What has arrived: everything below `next`, and at most [`MAX_RANGES`] ranges above it.
///
/// Invariant: the ranges rise, none is empty, none touches another or `next`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ranges {
    next: u64,
    above: Vec<Range<u64>>,
}

impl Ranges {
    /// Everything below this is in the set.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn contains(&self, range: &Range<u64>) -> bool {
        range.end <= self.next
            || self
                .above
                .iter()
                .any(|r| r.start <= range.start && range.end <= r.end)
    }

    /// Whether there are any.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.above.is_empty()
    }

    /// Adds `range`. `false`, and nothing changed, if that would make one range more than are kept (§4.3).
    pub(crate) fn insert(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() || self.contains(&range) {
            return true;
        }
        if range.start <= self.next {
            self.next = self.next.max(range.end);
            while let Some(first) = self.above.first().filter(|r| r.start <= self.next) {
                self.next = self.next.max(first.end);
                self.above.remove(0);
            }
            return true;
        }
        // Those that overlap or touch it become one with it.
        let from = self.above.partition_point(|r| r.end < range.start);
        let to = self.above.partition_point(|r| r.start <= range.end);
        if from == to {
            if self.above.len() >= MAX_RANGES {
                return false;
            }
            self.above.insert(from, range);
        } else {
            let start = self.above[from].start.min(range.start);
            let end = self.above[to - 1].end.max(range.end);
            self.above[from] = start..end;
            self.above.drain(from + 1..to);
        }
        true
    }

    pub(crate) fn ack(&self) -> Ack {
        Ack {
            next: self.next,
            ranges: self.above.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers(set: &Ranges) -> BTreeSet<u64> {
        (0..set.next)
            .chain(set.above.iter().cloned().flatten())
            .collect()
    }

    fn check_invariants(set: &Ranges) {
        let mut last = set.next;
        for r in &set.above {
            assert!(r.start > last && r.end > r.start, "{set:?}");
            last = r.end;
        }
        assert!(set.above.len() <= MAX_RANGES);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in proptest::collection::vec((0u64..400, 0u64..6), 0..300)) {
            let (mut set, mut model) = (Ranges::default(), BTreeSet::new());
            for (start, len) in steps {
                let before = set.clone();
                if set.insert(start..start + len) {
                    model.extend(start..start + len);
                } else {
                    prop_assert_eq!(&set, &before);
                    prop_assert_eq!(set.above.len(), MAX_RANGES);
                }
                check_invariants(&set);
                prop_assert_eq!(&numbers(&set), &model);
            }
        }
    }

    #[test]
    fn a_range_too_many_is_refused_and_the_gap_still_closes() {
        let mut set = Ranges::default();
        for n in 0..MAX_RANGES as u64 {
            assert!(set.insert(2 * n + 1..2 * n + 2));
        }
        assert!(!set.insert(500..501));
        assert!(set.insert(0..1));
        assert_eq!(set.next(), 2);
        assert!(set.insert(500..501));
    }
}
