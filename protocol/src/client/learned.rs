//! Telling what was learned: to whoever asks, and as news (A25).

use super::Client;
use crate::learned::{Learned, Lesson};
use alloc::collections::VecDeque;

/// News that nobody took are kept up to here; then the oldest go.
const KEPT: usize = 16;

/// So many answers in a row after each of which the connection was closed: a server that was just stopped, or has no room,
/// closes one or two.
const FEW: u8 = 3;

/// Whether connections are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Connections {
    closed: u8,
    kept: Option<bool>,
}

impl Connections {
    /// An answer came whole. `kept`: its connection may carry another exchange. What that teaches.
    fn on_answer(&mut self, kept: bool) -> Option<Lesson> {
        self.closed = if kept {
            0
        } else {
            self.closed.saturating_add(1)
        };
        let was = self.kept;
        if kept || self.closed >= FEW {
            self.kept = Some(kept);
        }
        match (was, self.kept) {
            (None | Some(true), Some(false)) => Some(Lesson::FreshConnections),
            (Some(false), Some(true)) => Some(Lesson::KeptConnections),
            _ => None,
        }
    }
}

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
    /// An answer has come whole, and its connection is kept for another exchange or was closed. To be told with it, by
    /// whoever wants to know; nothing else depends on it.
    pub fn feed_connection(&mut self, kept: bool) {
        if let Some(lesson) = self.connections.on_answer(kept) {
            self.lessons.note(lesson);
        }
    }

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
            kept: self.connections.kept,
            round_trip: trips.or(path.round_trip()),
            rate_up: path.rate_up(),
            rate_down: path.rate_down(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c6_of_news_that_nobody_takes_the_last_are_kept() {
        let mut lessons = Lessons::default();
        let lesson = |size| Lesson::RequestTooLarge { size, limit: 1 };
        (0..1000).for_each(|size| lessons.note(lesson(size)));
        let kept = 1000 - KEPT..1000;
        assert!(kept.map(lesson).eq(core::iter::from_fn(|| lessons.poll())));
    }

    #[test]
    fn connections_are_not_kept_when_several_in_a_row_were_closed() {
        let mut connections = Connections::default();
        for (kept, known, lesson) in [
            (true, Some(true), None),
            (false, Some(true), None),
            (false, Some(true), None),
            (true, Some(true), None),
            (false, Some(true), None),
            (false, Some(true), None),
            (false, Some(false), Some(Lesson::FreshConnections)),
            (false, Some(false), None),
            (true, Some(true), Some(Lesson::KeptConnections)),
        ] {
            assert_eq!(connections.on_answer(kept), lesson);
            assert_eq!(connections.kept, known);
        }
    }
}
