//! When the client opens another exchange, and what time does to those that are open (S3, S9, S13, S22;
//! PROTOCOL §5.3 to §5.7).
//!
//! [`Client::plan`] is the one place that decides; `poll_request` carries it out, and `next_timeout` says when it
//! would decide otherwise.

use super::{Client, path};
use crate::config::SMALL_BODY;
use crate::error::CloseReason;
use crate::outbox::backoff;
use crate::session::Room;
use crate::time::Instant;
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
    fn is_race(&self) -> bool {
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
        let all = [speak, owed, self.poll_at(), ask_at];
        let at = all.into_iter().flatten().min();
        match at {
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
        part.max(path::BODY_MIN as usize)
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
        let again = session
            .outbox
            .due_at()
            .filter(|_| session.outbox.fits(now, room.bytes));
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
        [again, data, other].into_iter().flatten().min()
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

    // --- time ----------------------------------------------------------------------------------------------

    /// Time enters here. A jump beyond what was waited for, as after a sleep, restarts the clock that gives up.
    pub(super) fn advance(&mut self, now: Instant) {
        let slept = self
            .next_timeout()
            .is_some_and(|at| now.since(at) > self.session.config.wait);
        if slept {
            self.session.ending.progress_at = None;
        }
        self.session.advance(now);
        if slept {
            self.fails.on_jump(self.session.now);
        }
    }

    /// When `feed_timeout` is due; `None`: nothing is waiting for time. A moment that has passed: something is to be
    /// polled.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.session.is_over() {
            return None;
        }
        let plan = match self.plan() {
            Ok(_) => Some(self.session.now),
            Err(at) => at,
        };
        let fates = self.fates().map(|(_, at, _)| at).min();
        let give_up = self.fails.give_up_at(&self.session.config);
        let long = self.long_fate().map(|(at, _)| at);
        let streamed = self.stream_fate().map(|(at, _)| at);
        let dial = self.direct.dial_at();
        let flush = self.session.flush_at();
        [plan, fates, long, streamed, dial, give_up, flush]
            .into_iter()
            .flatten()
            .min()
    }

    /// What time will do to the open exchanges: which, when, and whether it is the end of it.
    fn fates(&self) -> impl Iterator<Item = (u64, Instant, Fate)> {
        let ends = self.exchanges.iter().flat_map(|e| {
            let patience = e.touched.after(e.patience);
            let doubt = e
                .doubted
                .map(|at| at.max(e.touched).after(self.timer(e.size as u64, 0)));
            [Some(patience), doubt, self.makes_room_at(e)]
                .into_iter()
                .flatten()
                .map(|at| (e.number, at, Fate::Lost))
        });
        // An echo is answered at once, and until it has arrived the application does not hear of the session (A8).
        let echoes = self
            .exchanges
            .iter()
            .filter(|e| e.echoes && self.nonce.is_some());
        let echoes = echoes.map(|e| {
            let late = e
                .touched
                .after(self.timer(e.size as u64, self.fails.streak()) * 2);
            (e.number, late, Fate::Lost)
        });
        let flights = self.session.outbox.flights().filter_map(|f| {
            // What is known of the long exchange's is in `long_fate`.
            let touched = self.exchanges.get(f.exchange)?.touched.max(f.sent_at);
            if f.overtaken && !f.late {
                return Some((f.exchange, f.sent_at, Fate::Overtaken));
            }
            let timer = self.timer(f.bytes, f.again);
            let (after, fate) = if f.late {
                (timer * 2, Fate::Lost)
            } else {
                (timer, Fate::Late)
            };
            Some((f.exchange, touched.after(after), fate))
        });
        ends.chain(echoes).chain(flights)
    }

    /// The first thing that time does to an open exchange by now.
    fn due_fate(&self) -> Option<(u64, Fate)> {
        let mut due = self.fates().filter(|(_, at, _)| *at <= self.session.now);
        due.next().map(|(exchange, _, fate)| (exchange, fate))
    }

    /// With no slot left, one past its wait of which nothing has come makes room for a keystroke.
    fn makes_room_at(&self, exchange: &super::Exchange) -> Option<Instant> {
        let full = self.exchanges.len() >= self.requests().max(2) && !exchange.bulk;
        let answer = self.timer(exchange.answer_max as u64, 0);
        full.then(|| exchange.touched.after(exchange.wait + answer))
    }

    /// S3b, S9: what is late goes in another exchange too; what nobody will hear of is given up.
    pub(super) fn on_time(&mut self) {
        self.on_long_time();
        self.on_stream_time();
        let now = self.session.now;
        // Where much time has passed, what is late is lost next. No round leaves anything for the same round again.
        while let Some((exchange, fate)) = self.due_fate() {
            match fate {
                // There is a slot for a copy soon: later ones come back all the time.
                Fate::Overtaken => {
                    self.session.outbox.late(exchange, now);
                    if let Some(entry) = self.exchanges.iter_mut().find(|e| e.number == exchange) {
                        entry.bulk = false;
                    }
                }
                // With no slot for a copy, the exchange itself makes room (A5).
                Fate::Late if self.exchanges.len() < self.requests() => {
                    self.session.outbox.late(exchange, now);
                    if let Some(entry) = self.exchanges.iter_mut().find(|e| e.number == exchange) {
                        entry.bulk = false;
                    }
                }
                Fate::Late | Fate::Lost => {
                    if self.exchanges.give_up(exchange).is_some() {
                        self.on_lost(exchange);
                    }
                }
            }
        }
        if self
            .fails
            .give_up_at(&self.session.config)
            .is_some_and(|at| at <= now)
        {
            let (silence, exchanges) = self.fails.silence(now);
            self.session.end(CloseReason::GaveUp { silence, exchanges });
        }
        self.session.check_flush();
    }

    /// The fate of an exchange is known: nothing of it will arrive.
    pub(super) fn on_lost(&mut self, exchange: u64) {
        let (now, next) = (self.session.now, self.exchanges.next());
        self.stats.lost += 1;
        self.fails
            .on_lost(&self.session.config, now, exchange, next);
        self.settle(exchange);
        self.untold = true;
        // The nonce may have been in it alone.
        self.echo_due |= self.nonce.is_some() && self.exchanges.is_empty();
    }

    /// What only this exchange carried and was not acknowledged goes again.
    pub(super) fn settle(&mut self, exchange: u64) {
        let (now, config) = (self.session.now, &self.session.config);
        self.session
            .outbox
            .lost(exchange, now, config.retry_first, config.retry_max);
    }
}

/// What time does to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Overtaken,
    Late,
    Lost,
}
