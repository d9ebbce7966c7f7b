//! Time as a model checker wants it: relative, so that states that differ only in when they were reached are equal.

use super::Server;
use crate::time::Instant;

impl Server {
    /// The earliest moment that still decides something, at most the latest that was fed.
    pub fn earliest(&self) -> Instant {
        let (mut copy, mut earliest) = (self.clone(), self.session.now);
        copy.instants(&mut |at| earliest = earliest.min(*at));
        earliest
    }

    /// Counts time from `zero` on, at most [`earliest`](Self::earliest): from here the machine behaves as it would
    /// have, if all that is fed is less by `zero`, too. So two machines and what is between them can be moved
    /// together, and states that differ only in when they were reached become equal (for model checkers). Numbers of
    /// exchanges, bundles and messages are on the wire as well and stay as they are.
    pub fn rebase(&mut self, zero: Instant) {
        self.instants(&mut |at| at.rebase(zero));
    }

    fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        self.session.instants(visit);
        self.exchanges.instants(visit);
        [
            &mut self.newest_at,
            &mut self.last_request,
            &mut self.last_byte,
        ]
        .into_iter()
        .for_each(visit);
    }
}
