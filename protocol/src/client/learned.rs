//! Telling what was learned: to whoever asks, and as news (A25).

use super::Client;
use crate::learned::{Learned, Lesson};
use alloc::collections::VecDeque;

/// News that nobody took are kept up to here; then the oldest go.
const KEPT: usize = 16;

/// News that wait to be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lessons(VecDeque<Lesson>);

impl Lessons {
    pub(crate) fn note(&mut self, lesson: Lesson) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(lesson);
    }

    pub(crate) fn poll(&mut self) -> Option<Lesson> {
        self.0.pop_front()
    }
}

impl Client {
    /// What is known of the way to the server.
    pub fn learned(&self) -> Learned {
        let (path, config, now) = (&self.path, &self.session.config, self.session.now);
        let direct = self.direct.bearer();
        let trips = direct.and_then(|long| long.trips.shortest());
        Learned {
            direct: direct.is_some(),
            streamed: self.streaming.heard().is_some(),
            form: self.envelope.is_form(),
            body_up: direct.map_or(path.body_up(), |long| long.pace.target()),
            body_down: path.body_down(),
            limit_up: path.limit_up(config),
            limit_down: path.limit_down(config),
            wait: self.hold.wait(config, now),
            hold_limit: self.hold.limit(),
            requests: self.requests(),
            one_at_a_time: self.queue.is_known(),
            round_trip: trips.or(path.round_trip()),
            rate_up: path.rate_up(),
            rate_down: path.rate_down(),
        }
    }
}
