//! What a core had to say, to be done once its lock is released.

use crate::lull::LullId;
use crate::path::News;
use crate::reply::Reply;
use crate::wait::Waiters;
use posthole_protocol::wire::Chain;
use posthole_protocol::{CloseReason, Dial, ExchangeId, Instant, Lesson, Request, RequestId};

/// What is to be done once the lock is released; the [`alarm`](Work::alarm), and of the rest the
/// [`requests`](Rest::requests) and the [`cancelled`](Rest::cancelled), while it is still held, as far as the runtime keeps
/// something of its own behind it.
///
/// Bundles on direct connections come by the thousand, the rest seldom: it is apart so that what is done each time is short.
#[must_use = "the core says it once"]
#[non_exhaustive]
pub struct Work<R, W: Waiters> {
    /// Those who have waited for what has come.
    pub wakes: Vec<W::Wake>,
    /// Bundles to be written on a direct connection, or as the next piece of a streamed answer, of the long exchange that
    /// this request began, with its number. Servers only.
    pub said: Vec<(RequestId, u64, Chain)>,
    /// Bundles to be written on a direct connection. Clients only.
    pub writes: Vec<(ExchangeId, Chain)>,
    /// After the one bundle of `said` or `writes` the core has nothing to say before the alarm.
    pub lull: Option<LullId>,
    /// The deadline has changed.
    pub alarm: Option<Alarm>,
    /// All else, done after the bundles in the order of its fields.
    pub rest: Option<Box<Rest<R>>>,
}

/// What is not part of every round.
#[non_exhaustive]
pub struct Rest<R> {
    /// What a log should hear of the way to the server. Clients only.
    pub news: Option<News>,
    /// What was learned of it. Clients only.
    pub lessons: Vec<Lesson>,
    /// Answers to requests; of which one may be the last thing said on the connection of a bundle.
    pub replies: Vec<(R, Reply)>,
    /// Requests to be sent. Clients only.
    pub requests: Vec<Request>,
    /// Exchanges whose answers nobody waits for any more. Clients only.
    pub cancelled: Vec<ExchangeId>,
    /// A direct connection is to be made. Clients only.
    pub dial: Option<Dial>,
    /// The session has ended, so.
    pub closed: Option<CloseReason>,
    /// The session can be accepted. Servers only.
    pub announce: bool,
    /// It has ended and nothing is left to do; a server owes nobody an answer, and its house may forget it.
    pub over: bool,
}

/// What became of the moment at which a session wants to be polled at the latest.
///
/// One that moved away stays set, and the poll at it finds that nothing is due and sets the one that holds by then:
/// so a deadline that every exchange pushes back costs one poll per its own length and not a change per exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Set it.
    At {
        /// To this.
        at: Instant,
        /// In place of this.
        instead_of: Option<Instant>,
    },
    /// No moment will be of interest any more. Said once, also where the last one has just come.
    Off {
        /// What is set still.
        instead_of: Option<Instant>,
    },
}

impl<R, W: Waiters> Work<R, W> {
    /// Nothing to do.
    pub(crate) fn new() -> Work<R, W> {
        Work {
            wakes: Vec::new(),
            said: Vec::new(),
            writes: Vec::new(),
            lull: None,
            alarm: None,
            rest: None,
        }
    }

    /// To say more than bundles.
    pub(crate) fn rest(&mut self) -> &mut Rest<R> {
        self.rest.get_or_insert_default()
    }
}

impl<R> Default for Rest<R> {
    fn default() -> Rest<R> {
        Rest {
            news: None,
            lessons: Vec::new(),
            replies: Vec::new(),
            requests: Vec::new(),
            cancelled: Vec::new(),
            dial: None,
            closed: None,
            announce: false,
            over: false,
        }
    }
}

impl<R> Rest<R> {
    /// Logs what a log should hear.
    pub fn tell(&mut self) {
        if let Some(news) = self.news.take() {
            news.tell();
        }
        for lesson in self.lessons.drain(..) {
            tracing::debug!("{lesson}");
        }
    }
}
