//! What a client learns of its way to the server, in words (A25).

use core::fmt;
use core::time::Duration;

/// What is known of the way to the server, now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Learned {
    /// Everything goes by a direct connection.
    pub direct: bool,
    /// Bundles from the server come in a streamed answer.
    pub streamed: bool,
    /// Request bodies go as a form's file.
    pub form: bool,
    /// The size that request bodies are aimed at, in bytes.
    pub body_up: usize,
    /// And that of answers.
    pub body_down: usize,
    /// The largest request body that boxes let through, in bytes, if one refused a larger one.
    pub limit_up: Option<usize>,
    /// And of answers.
    pub limit_down: Option<usize>,
    /// For how long the next request may be held.
    pub wait: Duration,
    /// At which age something on the way ends requests, if it does.
    pub hold_limit: Option<Duration>,
    /// How many exchanges may be open at once.
    pub requests: usize,
    /// Something on the way lets one request through at a time.
    pub one_at_a_time: bool,
    /// Whether connections are kept from one exchange to the next, once some answers have shown it.
    pub kept: Option<bool>,
    /// A round trip on the empty wire, once one was measured.
    pub round_trip: Option<Duration>,
    /// Bytes per second to the server of all exchanges together, estimated from what their bodies took beside the round trip;
    /// far too high where that is next to nothing. Once one was measured.
    pub rate_up: Option<u64>,
    /// And from it.
    pub rate_down: Option<u64>,
}

/// One thing that a client has just learned of the way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lesson {
    /// A box refused a request body for its size: smaller ones from now on.
    RequestTooLarge {
        /// How large it was, in bytes.
        size: usize,
        /// How large the next ones are at most.
        limit: usize,
    },
    /// Large answers don't come through while small ones do: smaller ones from now on.
    AnswerTooLarge {
        /// How large they were, in bytes.
        size: usize,
        /// How large the next ones are at most.
        limit: usize,
    },
    /// Requests are ended at a certain age: they are held for less from now on.
    HoldEnds {
        /// At which age.
        at: Duration,
        /// For how long they may be held now.
        wait: Duration,
    },
    /// A request was held for as long as was asked for: longer from now on.
    HoldWorks {
        /// For how long they may be held now.
        wait: Duration,
    },
    /// Something lets one request through at a time: no second one is sent from now on.
    OneAtATime,
    /// It does not any more.
    SeveralAtATime,
    /// Something closes connections after each answer: each exchange needs one of its own, and takes as much longer. Times
    /// and sizes follow from what exchanges take.
    FreshConnections,
    /// It does not any more.
    KeptConnections,
    /// Everything goes by a direct connection from now on.
    Direct,
    /// The direct connection is lost; everything goes by HTTP.
    DirectLost,
    /// Something refuses request bodies as they are, and lets them pass as a form's file: so they go from now on.
    Form,
    /// Something refuses forms, and lets bodies pass as they are.
    NoForm,
    /// Answers come through piece by piece: the server says what it has in one that goes on.
    Streamed,
    /// They don't, or not any more: whole answers from now on.
    StreamLost {
        /// What tells.
        why: Buffered,
    },
}

/// Why a streamed answer is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Buffered {
    /// Nothing of it came, or nothing more.
    Silent,
    /// It came at once, when it had ended.
    Whole,
    /// It ended before its end.
    Cut,
    /// While it went on, requests did not get through.
    InTheWay,
}

impl fmt::Display for Buffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Buffered::Silent => "something on the way keeps answers back until they have ended",
            Buffered::Whole => "something on the way ends answers before it passes them on",
            Buffered::Cut => "something on the way cut it",
            Buffered::InTheWay => "requests did not get through beside it",
        })
    }
}

impl fmt::Display for Lesson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lesson::RequestTooLarge { size, limit } => write!(
                f,
                "something on the way refuses request bodies of {size} bytes (413): at most {limit} from now on"
            ),
            Lesson::AnswerTooLarge { size, limit } => write!(
                f,
                "answers of {size} bytes don't come through: at most {limit} from now on"
            ),
            Lesson::HoldEnds { at, wait } => write!(
                f,
                "something on the way ends requests after {:.1} s: they are held for {:.1} s from now on",
                at.as_secs_f32(),
                wait.as_secs_f32()
            ),
            Lesson::HoldWorks { wait } => write!(
                f,
                "requests may be held: for {:.1} s from now on",
                wait.as_secs_f32()
            ),
            Lesson::OneAtATime => f.write_str(
                "something on the way lets one request through at a time: the server is asked often instead",
            ),
            Lesson::SeveralAtATime => f.write_str("several requests get through at a time again"),
            Lesson::FreshConnections => f.write_str(
                "something on the way closes the connection after each answer: each request has one of its own, which takes longer",
            ),
            Lesson::KeptConnections => {
                f.write_str("connections are kept from one request to the next again")
            }
            Lesson::Form => f.write_str(
                "something on the way refuses requests as they are: they go as form uploads, which it lets pass",
            ),
            Lesson::NoForm => f.write_str("requests go as they are again: something refuses form uploads"),
            Lesson::Direct => f.write_str("there is a direct connection: everything goes by it"),
            Lesson::Streamed => f.write_str(
                "answers come through piece by piece: the server speaks in one that goes on",
            ),
            Lesson::StreamLost { why } => {
                write!(f, "no streamed answers for now ({why}): whole ones instead")
            }
            Lesson::DirectLost => {
                f.write_str("the direct connection is lost: everything goes by HTTP")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_lesson_says_what_was_found_and_what_follows() {
        let second = Duration::from_millis(1_500);
        let all = [
            (Lesson::RequestTooLarge { size: 9, limit: 4 }, "at most 4"),
            (Lesson::AnswerTooLarge { size: 9, limit: 4 }, "at most 4"),
            (
                Lesson::HoldEnds {
                    at: second,
                    wait: second,
                },
                "after 1.5 s",
            ),
            (Lesson::HoldWorks { wait: second }, "for 1.5 s"),
            (Lesson::OneAtATime, "one request"),
            (Lesson::SeveralAtATime, "several requests"),
            (Lesson::FreshConnections, "one of its own"),
            (Lesson::KeptConnections, "are kept"),
            (Lesson::Form, "form uploads"),
            (Lesson::NoForm, "as they are again"),
            (Lesson::Direct, "everything goes by it"),
            (Lesson::DirectLost, "by HTTP"),
            (Lesson::Streamed, "piece by piece"),
        ];
        for (lesson, part) in all {
            assert!(lesson.to_string().contains(part), "{lesson}");
        }
        let whys = [
            (Buffered::Silent, "keeps answers back"),
            (Buffered::Whole, "before it passes them on"),
            (Buffered::Cut, "cut it"),
            (Buffered::InTheWay, "did not get through"),
        ];
        for (why, part) in whys {
            let lesson = Lesson::StreamLost { why }.to_string();
            assert!(
                lesson.contains(part) && lesson.contains("whole ones"),
                "{lesson}"
            );
        }
    }
}
