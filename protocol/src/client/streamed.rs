//! A streamed answer as a carrier from the server: one long exchange, whose answer is several bundles, one after another
//! (A22; PROTOCOL §5.9). Tried gently, believed once its first bundle has come before its end, dropped at the first
//! sign that something on the way keeps it back.
//!
//! ```text
//! none ──asked for──> trial ──a bundle came──> heard ──silence──> doubted ──more silence──> none
//!  ▲                    │                        ▲                   │                        │
//!  └──────later─────────┘                        └─────a bundle──────┘                        │
//!  └──────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use super::Client;
use super::direct::TRIAL;
use crate::config::{Carrier, Config};
use crate::learned::{Buffered, Lesson};
use crate::outbox::backoff;
use crate::time::Instant;
use crate::wire::{AnswerPrefix, Bundle, decode};
use bytes::Bytes;
use core::time::Duration;

/// A session that has lived for so long is worth the exchange that a trial costs, and has had time for a direct
/// connection.
const FIRST: Duration = Duration::from_secs(1);

/// A session on which nothing has moved for so long is at rest.
const IN_USE: Duration = Duration::from_secs(1);

/// How long until it is tried again where it came to nothing, doubling with every such try.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(3600);

/// The same where nothing else is wanted.
const AGAIN_FORCED: Duration = Duration::from_secs(5);
const AGAIN_FORCED_MAX: Duration = Duration::from_secs(30);

/// One that has lived for so long was worth it: the next is asked for at once. Where a box ends all answers sooner
/// (Envoy after 15 s), requests that are held for less than that lose nothing.
const GOOD: Duration = Duration::from_secs(60);

/// A streamed answer that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    exchange: u64,
    sent: Instant,
    /// When a bundle of it last came, and within which time the server promised the next.
    heard: Option<(Instant, Duration)>,
    /// The server has been told, or is to be.
    told: bool,
    /// Since when it has been silent though it should not be.
    doubted: Option<Instant>,
}

/// All that a client knows of streamed answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Streaming {
    carrier: Carrier,
    /// The embedder can read answers piece by piece.
    can: bool,
    again: Option<Instant>,
    failed: u8,
    open: Option<Open>,
}

impl Streaming {
    pub(crate) fn new(config: &Config) -> Streaming {
        Streaming {
            carrier: if config.classic {
                Carrier::Exchange
            } else {
                config.carrier
            },
            can: false,
            again: None,
            failed: 0,
            open: None,
        }
    }

    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        self.again.iter_mut().for_each(&mut *visit);
        if let Some(open) = &mut self.open {
            visit(&mut open.sent);
            if let Some((heard, _)) = &mut open.heard {
                visit(heard);
            }
            open.doubted.iter_mut().for_each(&mut *visit);
        }
    }

    /// The first answer has come.
    pub(crate) fn on_answered(&mut self, now: Instant) {
        let first = match self.carrier {
            Carrier::Auto => FIRST,
            Carrier::Streamed => Duration::ZERO,
            Carrier::Direct | Carrier::Exchange => return,
        };
        if self.can {
            self.again.get_or_insert(now.after(first));
        }
    }

    /// When to ask for one, if nothing speaks against it.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.again.filter(|_| self.open.is_none())
    }

    /// It is asked for, in this exchange.
    pub(crate) fn on_asked(&mut self, now: Instant, exchange: u64) {
        self.open = Some(Open {
            exchange,
            sent: now,
            heard: None,
            told: true,
            doubted: None,
        });
    }

    /// The exchange whose answer comes through.
    pub(crate) fn heard(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        (open.heard.is_some() && open.doubted.is_none()).then_some(open.exchange)
    }

    /// Whether it is to carry all that it can.
    pub(crate) fn is_forced(&self) -> bool {
        self.carrier == Carrier::Streamed
    }

    /// The server is to be told that it comes through.
    pub(crate) fn is_news(&self) -> bool {
        self.heard().is_some() && self.open.as_ref().is_some_and(|open| !open.told)
    }

    pub(crate) fn on_told(&mut self) {
        if let Some(open) = &mut self.open {
            open.told = true;
        }
    }

    /// Bytes of it came, if no whole bundle yet.
    pub(crate) fn on_progress(&mut self, exchange: u64, now: Instant) {
        let open = self.open.as_mut().filter(|o| o.exchange == exchange);
        if let Some((heard, _)) = open.and_then(|o| o.heard.as_mut()) {
            *heard = now;
        }
    }

    fn is_open(&self, exchange: u64) -> bool {
        self.open.as_ref().is_some_and(|o| o.exchange == exchange)
    }

    /// It is over. `fault`: it was no good, unless it has lived long enough. Whether that is news.
    fn on_over(&mut self, now: Instant, fault: bool) {
        let Some(open) = self.open.take() else {
            return;
        };
        if open.heard.is_some() && now.since(open.sent) >= GOOD {
            self.failed = 0;
        }
        let (first, most) = match self.carrier {
            Carrier::Streamed => (AGAIN_FORCED, AGAIN_FORCED_MAX),
            Carrier::Auto | Carrier::Direct | Carrier::Exchange => (AGAIN, AGAIN_MAX),
        };
        let lived = open.heard.is_some() && self.failed == 0 && now.since(open.sent) >= GOOD;
        if lived || !fault {
            self.again = Some(now);
        } else {
            self.again = Some(now.after(backoff(self.failed + 1, first, most)));
            self.failed = self.failed.saturating_add(1).min(16);
        }
    }
}

impl Client {
    /// Whoever drives this client can read an answer piece by piece: it may be streamed, if the configuration wants that
    /// and it comes through. To be called before anything else.
    pub fn reads_pieces(&mut self) {
        self.streaming.can = true;
    }

    /// Whether nothing speaks against a streamed answer: it must not stand in the way of requests, and has nothing to give
    /// beside a direct connection.
    fn may_stream(&self) -> bool {
        self.answered
            && self.nonce.is_none()
            && self.direct.long.is_none()
            && !self.queue.is_known()
            && self.requests() > 1
            && (self.streaming.is_forced() || self.is_gently_used())
            && !self.session.ending.is_closing()
    }

    /// While bulk moves, what a trial adds could only be in its way; and at rest the exchange that is held does as much, and
    /// a second connection would be for nothing.
    fn is_gently_used(&self) -> bool {
        let rests = self.session.now.since(self.last_byte) >= IN_USE;
        !rests && self.hint == 0 && self.exchanges.bulk() == 0
    }

    /// When to ask for a streamed answer.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        self.streaming.ask_at().filter(|_| self.may_stream())
    }

    /// Whole bundles of a streamed answer came, which goes on; or its end. Gives what could not be read.
    pub(super) fn on_stream_bundles(&mut self, exchange: u64, mut body: Bytes, is_end: bool) {
        let size = body.len();
        self.stats.bytes_in += size as u64;
        let mut ended = false;
        while !self.session.is_over()
            && let Some(bundle) =
                decode::<AnswerPrefix>(&mut body, &self.session.id, Some(exchange))
        {
            match bundle {
                Ok(Bundle::Session(decoded)) => {
                    let (more, newest) = (decoded.prefix.more, decoded.prefix.newest);
                    let missed = self.session.missed;
                    self.on_bundle(exchange, decoded, size);
                    // While it lives, the server would not say again what counts as not arrived (§5.8.4).
                    if self.session.missed > missed && !is_end {
                        self.end_stream(true, None);
                        return self.end_if_done();
                    }
                    match more {
                        Some(millis) if !is_end => self.on_stream_heard(millis, newest),
                        Some(_) => ended = false,
                        None => ended = true,
                    }
                }
                Ok(Bundle::Refusal(refusal)) => {
                    self.end_stream(!is_end, None);
                    self.on_refusal(exchange, refusal);
                    return;
                }
                Err(_) => {
                    self.session.unread += 1;
                    self.stats.unreadable += 1;
                    self.end_stream(!is_end, Some(Buffered::Cut));
                    return;
                }
            }
        }
        if ended {
            self.end_stream(!is_end, None);
        } else if is_end {
            let never = self
                .streaming
                .open
                .as_ref()
                .is_some_and(|o| o.heard.is_none());
            let why = if never {
                Buffered::Whole
            } else {
                Buffered::Cut
            };
            self.end_stream(false, Some(why));
        }
        self.end_if_done();
    }

    /// A bundle came before the end.
    fn on_stream_heard(&mut self, millis: u64, newest: u64) {
        let now = self.session.now;
        let promised = Duration::from_millis(millis.min(60_000));
        let Some(open) = &mut self.streaming.open else {
            return;
        };
        if open.heard.is_none() {
            open.told = false;
            self.lessons.note(Lesson::Streamed);
        }
        open.told &= open.doubted.is_none();
        (open.heard, open.doubted) = (Some((now, promised)), None);
        // Requests should have arrived by now that the server has not seen: it stands in their way.
        let stuck = self.exchanges.iter().any(|e| {
            e.number > newest && now > e.sent_at.after(self.timer(e.size as u64, 0).max(TRIAL))
        });
        if stuck {
            self.end_stream(true, Some(Buffered::InTheWay));
        }
    }

    /// The streamed answer is over, and what only it carried comes another way. `cancel`: the embedder is to close it.
    /// `fault`: why it was no good, if it was not.
    pub(super) fn end_stream(&mut self, cancel: bool, fault: Option<Buffered>) {
        let Some(number) = self.exchanges.end_streamed(cancel) else {
            return;
        };
        if let Some(why) = fault.filter(|_| !self.session.is_over()) {
            self.lessons.note(Lesson::StreamLost { why });
            self.stats.lost += 1;
            self.untold = true;
        }
        self.streaming.on_over(self.session.now, fault.is_some());
        self.settle(number);
        // Polls take over at once.
        self.early = 0;
    }

    /// Whether this is the exchange whose answer is streamed.
    pub(super) fn is_streamed(&self, exchange: u64) -> bool {
        self.streaming.is_open(exchange)
    }

    /// What time will do to the streamed answer: when, and whether that is its end.
    pub(super) fn stream_fate(&self) -> Option<(Instant, bool)> {
        let open = self.streaming.open.as_ref()?;
        let timer = self.timer(0, 0);
        if self.direct.bearer().is_some() {
            return Some((self.session.now, true));
        }
        let Some((heard, promised)) = open.heard else {
            return Some((open.sent.after(TRIAL.max(timer)), true));
        };
        match open.doubted {
            None => Some((heard.after(promised + timer), false)),
            // Another exchange's answer shows that it is not the server.
            Some(doubted) if self.answered_at > doubted => Some((doubted.after(timer), true)),
            // Who was asleep learns only now that it is late.
            Some(doubted) => {
                let late = heard.after(promised + self.session.config.patience);
                Some((late.max(doubted.after(timer)), true))
            }
        }
    }

    /// Does it.
    pub(super) fn on_stream_time(&mut self) {
        let now = self.session.now;
        let Some((_, lost)) = self.stream_fate().filter(|(at, _)| *at <= now) else {
            return;
        };
        let direct = self.direct.bearer().is_some();
        if lost {
            let fault = (!direct).then_some(Buffered::Silent);
            self.end_stream(true, fault);
        } else if let Some(open) = &mut self.streaming.open {
            open.doubted = Some(now);
            self.early = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn what_never_came_through_is_tried_once_an_hour_at_least() {
        let mut streaming = Streaming::new(&Config::default());
        let mut now = Instant::ZERO;
        let mut pauses = Vec::new();
        for exchange in 0..20 {
            streaming.on_asked(now, exchange);
            streaming.on_over(now, true);
            let again = streaming.ask_at().unwrap();
            pauses.push(again.since(now).as_secs());
            now = again;
        }
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&3_600));
    }
}
