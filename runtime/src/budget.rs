//! One bound on the memory of all bodies that a front is reading.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may still be taken.
#[derive(Debug)]
pub struct Budget(AtomicUsize);

impl Budget {
    /// So many bytes for all bodies together.
    pub fn new(bytes: usize) -> Budget {
        Budget(AtomicUsize::new(bytes))
    }

    /// Nothing yet; give it back by dropping it.
    pub fn lease(&self) -> Lease<'_> {
        Lease {
            budget: self,
            taken: 0,
        }
    }
}

/// What one body has taken.
#[derive(Debug)]
pub struct Lease<'a> {
    budget: &'a Budget,
    taken: usize,
}

impl Lease<'_> {
    /// Takes as much as is missing to `bytes` in all; false, and nothing taken, if there isn't as much left.
    #[must_use]
    pub fn raise_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.taken);
        let taken = self
            .budget
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(more)
            })
            .is_ok();
        if taken {
            self.taken += more;
        }
        taken
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_share_the_budget_and_give_it_back() {
        let budget = Budget::new(100);
        let mut a = budget.lease();
        assert!(a.raise_to(60));
        assert!(a.raise_to(50), "what is there already costs nothing");
        let mut b = budget.lease();
        assert!(!b.raise_to(41));
        assert!(b.raise_to(40));
        drop(a);
        assert!(b.raise_to(100));
        drop(b);
        assert_eq!(budget.0.into_inner(), 100);
    }
}
