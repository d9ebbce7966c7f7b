//! Whether requests go as they are or as a form's file (A25; PROTOCOL §9.8).
//!
//! A firewall that lets only form uploads pass refuses all else at once and says why to nobody. So what was refused twice
//! is tried the other way, and what is answered stays.

use crate::learned::Lesson;

/// So often in a row is no chance.
const TWICE: u8 = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Envelope {
    /// Requests go as a form's file.
    form: bool,
    /// Since this exchange.
    since: u64,
    /// Refusals in a row of requests as they go now.
    refused: u8,
    /// The exchange from which on a refusal is another one.
    round: u64,
    /// What was told of it last.
    told: bool,
}

/// Whether an answer with this status may be about the kind of the body.
fn is_about_kind(status: u16) -> bool {
    matches!(status, 400 | 403 | 405 | 406 | 415 | 501)
}

impl Envelope {
    pub(crate) fn is_form(&self) -> bool {
        self.form
    }

    /// Something else than the server answered. `next`: the number that the next exchange will have.
    pub(crate) fn on_refused(&mut self, status: u16, exchange: u64, next: u64) {
        if !is_about_kind(status) || exchange < self.since.max(self.round) {
            return;
        }
        self.round = next;
        self.refused += 1;
        if self.refused >= TWICE {
            self.form = !self.form;
            self.since = next;
            self.refused = 0;
        }
    }

    /// The server answered.
    pub(crate) fn on_answer(&mut self, exchange: u64) -> Option<Lesson> {
        if exchange < self.since {
            return None;
        }
        self.refused = 0;
        if self.form == self.told {
            return None;
        }
        self.told = self.form;
        Some(if self.form {
            Lesson::Form
        } else {
            Lesson::NoForm
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_about_the_kind_of_a_body_changes_it() {
        let mut envelope = Envelope::default();
        for (number, status) in [200, 302, 404, 407, 413, 500, 502, 503, 504]
            .into_iter()
            .enumerate()
        {
            let number = number as u64;
            envelope.on_refused(status, number, number + 1);
            assert!(!envelope.is_form(), "{status}");
        }
        envelope.on_refused(403, 9, 10);
        assert!(!envelope.is_form());
        envelope.on_refused(415, 10, 11);
        assert!(envelope.is_form());
        assert_eq!(envelope.on_answer(10), None);
        assert_eq!(envelope.on_answer(11), Some(Lesson::Form));
        assert_eq!(envelope.on_answer(12), None);
    }

    #[test]
    fn of_requests_that_were_open_together_one_refusal_counts() {
        let mut envelope = Envelope::default();
        for number in 0..3 {
            envelope.on_refused(403, number, 3);
        }
        assert!(!envelope.is_form());
        envelope.on_refused(403, 3, 4);
        assert!(envelope.is_form());
    }

    #[test]
    fn two_refusals_with_an_answer_between_are_not_in_a_row() {
        let mut envelope = Envelope::default();
        for number in [0, 2, 4] {
            envelope.on_refused(403, number, number + 1);
            assert_eq!(envelope.on_answer(number + 1), None);
        }
        assert!(!envelope.is_form());
    }

    /// Nor are refusals before and after a change.
    #[test]
    fn it_takes_two_refusals_to_change_back() {
        let mut envelope = Envelope::default();
        for (number, is_form) in [false, true, true, false, false, true]
            .into_iter()
            .enumerate()
        {
            let number = number as u64;
            envelope.on_refused(403, number, number + 1);
            assert_eq!(envelope.is_form(), is_form, "{number}");
        }
    }
}
