//! Whether something on the way lets one request through at a time (A23; PROTOCOL §5.5).
//!
//! Such a box says nothing: the second request waits in it until the first is answered, which looks like a long round
//! trip. What tells is that the server has not seen it, though it was sent long before an older one was answered, or that it
//! arrived only after that.

use crate::time::Instant;
use core::time::Duration;

/// So often in a row is no chance.
const TWICE: u8 = 2;

/// How long until two at once are tried again, doubling with every such try that fails.
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Queue {
    /// The answer that came last: to which exchange, and when.
    last: Option<(u64, Instant)>,
    /// The oldest exchange that the server has not seen, by its latest word, and when it was sent.
    unseen: Option<(u64, Instant)>,
    /// The newest that it has seen.
    newest: u64,
    seen: u8,
    /// One at a time, until then.
    alone_until: Option<Instant>,
    tries: u8,
}

/// What an answer says of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Nothing,
    /// It has become clear that there is one.
    Is,
    /// Or that there is none, contrary to what was believed.
    IsNot,
}

/// One exchange that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) number: u64,
    pub(crate) sent_at: Instant,
    /// How long the server has held it.
    pub(crate) held_for: Duration,
    /// An older one is still open.
    pub(crate) overtakes: bool,
}

impl Queue {
    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        let both = [&mut self.last, &mut self.unseen];
        both.into_iter().flatten().for_each(|(_, at)| visit(at));
        self.alone_until.iter_mut().for_each(visit);
    }

    /// Whether no second request is to be sent while one is open.
    pub(crate) fn is_alone(&self, now: Instant) -> bool {
        self.alone_until.is_some_and(|until| now < until)
    }

    /// Whether a line was found, also while that is put to the test.
    pub(crate) fn is_known(&self) -> bool {
        self.alone_until.is_some()
    }

    /// An exchange was opened.
    pub(crate) fn on_sent(&mut self, now: Instant, number: u64) {
        self.unseen.get_or_insert((number, now));
    }

    /// The server has seen this exchange, and perhaps older ones.
    pub(crate) fn on_newest(&mut self, newest: u64) {
        self.newest = self.newest.max(newest);
        self.unseen.take_if(|(number, _)| *number <= newest);
    }

    /// An answer came, and what it says of the newest exchange was heard. `slack`: by how much moments at the two ends may
    /// differ, several round trips. Also, whether it shows that its exchange, or a newer one, has waited.
    pub(crate) fn on_answer(
        &mut self,
        now: Instant,
        answered: Answered,
        slack: Duration,
    ) -> (Line, bool) {
        let last = self.last.replace((answered.number, now));
        // It arrived no later than this.
        let arrived = now
            .since(answered.sent_at)
            .saturating_sub(answered.held_for);
        let is_long_ago = |at: Instant| now.since(at) > slack;
        let unseen = self.unseen;
        let waited = match last {
            // A newer one arrived while this was there.
            _ if self.newest > answered.number => false,
            _ if unseen.is_some_and(|(number, at)| number > answered.number && is_long_ago(at)) => {
                self.unseen = None;
                true
            }
            // The older one was open when this one was sent, and for long.
            Some((number, at))
                if number < answered.number && at.since(answered.sent_at) > slack =>
            {
                let answered_at = at.since(answered.sent_at);
                arrived.saturating_add(slack) >= answered_at
            }
            _ if answered.overtakes => false,
            _ => return (Line::Nothing, false),
        };
        if !waited || answered.overtakes {
            (self.seen, self.tries) = (0, 0);
            let line = match self.alone_until.take() {
                Some(_) => Line::IsNot,
                None => Line::Nothing,
            };
            return (line, false);
        }
        self.seen = self.seen.saturating_add(1);
        let was = self.alone_until.is_some();
        if self.seen < TWICE && !was || self.is_alone(now) {
            return (Line::Nothing, true);
        }
        let pause = PAUSE.saturating_mul(1 << u32::from(self.tries).min(10));
        self.tries = self.tries.saturating_add(1);
        self.alone_until = Some(now.after(pause.min(PAUSE_MAX)));
        (if was { Line::Nothing } else { Line::Is }, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn hear(queue: &mut Queue, now: Instant, answered: Answered) -> Line {
        queue.on_answer(now, answered, SEC).0
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(seconds))
    }

    fn answered(number: u64, sent: u64, held: u64) -> Answered {
        Answered {
            number,
            sent_at: at(sent),
            held_for: Duration::from_secs(held),
            overtakes: false,
        }
    }

    #[test]
    fn a23_what_arrives_only_after_an_older_answer_has_waited() {
        let mut queue = Queue::default();
        assert_eq!(hear(&mut queue, at(12), answered(0, 0, 12)), Line::Nothing);
        assert_eq!(hear(&mut queue, at(12), answered(1, 3, 0)), Line::Nothing);
        assert_eq!(hear(&mut queue, at(24), answered(2, 12, 12)), Line::Nothing);
        assert_eq!(hear(&mut queue, at(24), answered(3, 15, 0)), Line::Is);
        assert!(queue.is_alone(at(30)));
        assert!(!queue.is_alone(at(24 + 60)));
        // Put to the test, it is still there; then no more.
        assert_eq!(hear(&mut queue, at(96), answered(8, 84, 12)), Line::Nothing);
        assert_eq!(hear(&mut queue, at(96), answered(9, 90, 0)), Line::Nothing);
        assert!(queue.is_alone(at(96 + 119)));
        assert_eq!(
            hear(&mut queue, at(312), answered(20, 300, 12)),
            Line::Nothing
        );
        assert_eq!(
            hear(&mut queue, at(312), answered(21, 302, 10)),
            Line::IsNot
        );
        assert!(!queue.is_known());
    }

    #[test]
    fn a23_a_line_is_put_to_the_test_once_an_hour_at_least() {
        let mut queue = Queue::default();
        let mut now = 0;
        for n in 0..20 {
            now += 4_000;
            hear(&mut queue, at(now), answered(2 * n, now - 12, 12));
            hear(&mut queue, at(now), answered(2 * n + 1, now - 9, 0));
            assert!(!queue.is_alone(at(now + 3_600)));
        }
        assert!(queue.is_alone(at(now + 3_599)));
    }

    #[test]
    fn a23_two_that_are_held_together_are_no_line() {
        let mut queue = Queue::default();
        for n in 0..9 {
            let now = at(12 * (n + 1));
            hear(&mut queue, now, answered(2 * n, 12 * n, 12));
            let line = hear(&mut queue, now, answered(2 * n + 1, 12 * n + 3, 9));
            assert_eq!(line, Line::Nothing);
        }
    }

    #[test]
    fn a23_whoever_overtakes_does_not_wait() {
        let mut queue = Queue::default();
        let overtakes = |number, sent| Answered {
            overtakes: true,
            ..answered(number, sent, 0)
        };
        hear(&mut queue, at(12), answered(1, 3, 0));
        assert_eq!(hear(&mut queue, at(13), overtakes(2, 4)), Line::Nothing);
        assert_eq!(queue.seen, 0);
    }
}
