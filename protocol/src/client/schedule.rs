//! When the client opens another exchange (S3, S9, S13; PROTOCOL §5.3 to §5.7).
//!
//! [`Client::plan`] is the one place that decides; `poll_request` carries it out, and `next_timeout` (`time.rs`) says when
//! it would decide otherwise.

use super::{Client, path};
use crate::config::{BODY_MIN, SMALL_BODY};
use crate::outbox::backoff;
use crate::session::Room;
use crate::time::{Instant, first};
use core::time::Duration;

/// The exchange to open now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) room: Room,
    pub(crate) wait: Duration,
    pub(crate) probe: bool,
    pub(crate) way: Way,
}

/// How an exchange is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a request and its answer.
    Short,
    /// As another bundle on the connection of the long exchange.
    Long,
    /// As a request whose answer may be streamed.
    Streamed,
}

impl Client {
    /// The exchange to open now, or when there might be one if nothing else happens.
    pub(super) fn plan(&self) -> Result<Plan, Option<Instant>> {
        let long = self.direct.long.as_ref();
        match long.map(|long| self.plan_long(long)) {
            Some(Ok(plan)) => Ok(plan),
            // All goes by it.
            Some(Err(at)) if self.direct.bearer().is_some() && !self.is_race() => Err(at),
            None | Some(Err(_)) => self.plan_short(),
        }
    }

    /// Whether the first carrier has borne data and nothing has come back: another may ask whether the server is there.
    pub(super) fn is_race(&self) -> bool {
        !self.answered && self.direct.long.as_ref().is_some_and(|long| long.first)
    }

    fn plan_short(&self) -> Result<Plan, Option<Instant>> {
        let now = self.session.now;
        if self.direct.is_only() {
            return Err(None);
        }
        if let Some(at) = self
            .direct
            .others_from
            .filter(|at| !self.answered && *at > now)
        {
            return Err(Some(at));
        }
        if self.exchanges.len() >= self.requests() {
            return Err(None);
        }
        if let Some(at) = self.fails.retry_at().filter(|at| *at > now) {
            return Err(Some(at));
        }
        if self.fails.is_probing() {
            return self.probe();
        }
        let bulk_room = Room {
            bytes: self.part_of(self.path.body_up()),
            small: false,
            long: false,
        };
        let small_room = Room {
            bytes: SMALL_BODY,
            small: true,
            long: false,
        };
        if self.is_race() {
            return self.race();
        }
        let ask_at = self.ask_at();
        if ask_at.is_some_and(|at| at <= now) {
            return Ok(self.ask());
        }
        // Where there is room for both, a keystroke goes alone: whoever reads it waits for no bulk.
        let alone = self.session.streams.is_mixed() && self.exchanges.len() + 1 < self.requests();
        let room = if self.exchanges.bulk() < self.bulk_slots() && !alone {
            bulk_room
        } else {
            small_room
        };
        let speak = if self.echo_due || self.streaming.is_news() || self.tells() {
            Some(now)
        } else {
            self.speak_at(room)
        };
        let owed = self.owed_at();
        match first(&[speak, owed, self.poll_at(), ask_at]) {
            Some(at) if at <= now => Ok(Plan {
                room,
                wait: self.wait(),
                probe: false,
                way: Way::Short,
            }),
            later => Err(later),
        }
    }

    /// Whether the server is to be told what was given up: something of its is missing or waits, and it can't know what to say
    /// again before it knows of that.
    fn tells(&self) -> bool {
        let waits = self.hint > 0 || self.session.inbox.has_gaps();
        self.untold && waits && !self.session.config.classic
    }

    /// What of a full body the next exchange is to move: any message fits.
    pub(super) fn part_of(&self, body: usize) -> usize {
        let part = body * self.path.share(self.exchanges.next()) / 8;
        part.max(BODY_MIN as usize)
            .min(self.session.config.body_max())
    }

    /// Of carriers that race only one bears data; the other's opening is empty (A8).
    fn race(&self) -> Result<Plan, Option<Instant>> {
        if !self.exchanges.is_empty() {
            return Err(None);
        }
        Ok(Plan {
            room: Room {
                bytes: 0,
                small: true,
                long: false,
            },
            wait: Duration::ZERO,
            probe: false,
            way: Way::Short,
        })
    }

    /// After failures in a row: one small exchange at a time, answered at once, until an answer comes (A17).
    fn probe(&self) -> Result<Plan, Option<Instant>> {
        if self.exchanges.iter().any(|e| e.probe) {
            return Err(None);
        }
        Ok(Plan {
            room: Room {
                bytes: SMALL_BODY,
                small: false,
                long: false,
            },
            wait: Duration::ZERO,
            probe: true,
            way: Way::Short,
        })
    }

    /// The request whose answer may be streamed: it bears nothing itself.
    fn ask(&self) -> Plan {
        Plan {
            room: Room {
                bytes: 0,
                small: true,
                long: false,
            },
            wait: self.session.config.wait,
            probe: false,
            way: Way::Streamed,
        }
    }

    /// When an acknowledgement is owed that no poll carries, because a streamed answer goes on and on.
    fn owed_at(&self) -> Option<Instant> {
        let streams = self.streaming.heard().is_some() && self.hint > 0;
        (streams && !self.polls_beside())
            .then(|| self.session.owed_soon_at())
            .flatten()
    }

    fn speak_at(&self, room: Room) -> Option<Instant> {
        if self.session.config.classic {
            return self.classic_speak_at(room);
        }
        self.session.speak_at(self.path.body_up() as u64, room)
    }

    /// S3, to the letter: (a) a bundle's worth of new messages; (b) a time without a response, then what is stored
    /// goes with what is new; (c) a response.
    fn classic_speak_at(&self, room: Room) -> Option<Instant> {
        let (session, now) = (&self.session, self.session.now);
        let again = session.outbox.again_at(now, room.bytes);
        let new = session.streams.sendable() > 0 && session.may_number();
        let many =
            session.streams.sendable_messages() >= usize::from(session.config.bundle_messages);
        let data = new.then(|| {
            if many || self.responded || self.exchanges.is_empty() {
                now
            } else {
                self.last_sent.after(session.config.timer_first).max(now)
            }
        });
        let other = session
            .speak_at(
                u64::MAX,
                Room {
                    bytes: room.bytes,
                    small: true,
                    long: false,
                },
            )
            .filter(|_| !new);
        first(&[again, data, other])
    }

    /// (c) When an exchange is wanted only so that the server can speak.
    fn poll_at(&self) -> Option<Instant> {
        let now = self.session.now;
        let open = self.exchanges.len();
        // The streamed answer is the one that is held; a request now and then shows that its client is there.
        if self.streaming.heard().is_some() && !self.polls_beside() {
            let wait = self.session.config.wait;
            return (open == 0).then(|| self.last_sent.after(wait));
        }
        if open == 0 {
            // Empty answers before their time, twice in a row: something answers at once whatever is asked (A11).
            return Some(match self.early {
                0 | 1 => now,
                n => self.early_at.after(backoff(
                    n - 1,
                    self.session.config.poll_backoff,
                    Duration::from_secs(2),
                )),
            });
        }
        let live = self.exchanges.iter().filter(|e| !e.bulk);
        let live = live.map(|e| self.poll_ends(e)).filter(|at| now < *at);
        let (polls, next_end) = live.fold((0, None::<Instant>), |(n, first), at| {
            (n + 1, Some(first.map_or(at, |first| first.min(at))))
        });
        let full = open + 1 >= self.requests();
        if polls >= self.hold() || polls > 0 && (full || self.held_less && self.hint == 0) {
            return next_end;
        }
        // One slot stays free for a keystroke while others move bulk, and one is enough to hear of more.
        (polls > 0 || !full || self.exchanges.bulk() == 0).then_some(now)
    }

    /// Until when an exchange counts as one through which the server can speak.
    fn poll_ends(&self, exchange: &super::Exchange) -> Instant {
        let held = exchange.sent_at.after(exchange.wait + self.timer(0, 0));
        if self.hint == 0 || self.session.config.classic {
            return held;
        }
        // Who has something to say holds nothing: what is silent for so long was answered, and the answer is lost.
        let answer = self.timer(exchange.answer_max as u64, 0) * 2;
        held.min(exchange.touched.after(answer))
    }

    /// How many exchanges may be open now.
    pub(super) fn requests(&self) -> usize {
        if self.queue.is_alone(self.session.now) {
            1
        } else {
            self.path.requests()
        }
    }

    /// How many of them may move bulk: one is for the server to speak, one for a keystroke (A4).
    fn bulk_slots(&self) -> usize {
        match self.requests() {
            0..=3 => 1,
            n => n - 2,
        }
    }

    /// How many exchanges the server is to hold: more while much waits there (S13).
    pub(super) fn hold(&self) -> usize {
        let most = self.requests().saturating_sub(1).max(1);
        let streams = self.streaming.heard().is_some();
        let wanted = if self.hint > 0 && (!streams || self.polls_beside()) {
            most.saturating_sub(self.exchanges.bulk())
        } else {
            usize::from(self.session.config.hold)
        };
        wanted.clamp(1, most)
    }

    /// Whether whole answers carry what waits at the server, beside a streamed one: larger bodies, and several at once. The
    /// streamed one is for what is small then.
    pub(super) fn polls_beside(&self) -> bool {
        self.hint > 0 && !self.streaming.is_forced()
    }

    /// For how long the server may hold the next exchange.
    fn wait(&self) -> Duration {
        if self.requests() == 1 || self.queue.is_known() {
            path::wait_alone(self.session.now, self.last_byte)
        } else {
            self.hold.wait(&self.session.config, self.session.now)
        }
    }

    pub(super) fn timer(&self, bytes: u64, again: u8) -> Duration {
        self.path.timer(
            &self.session.config,
            self.session.peer_ack_delay,
            bytes,
            again,
        )
    }
}
