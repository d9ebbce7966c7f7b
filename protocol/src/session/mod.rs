//! What both roles share: outbox, inbox and streams under one clock, opening and ending. Never asks which side it is.

mod ending;
mod filling;

use ending::Ending;

use crate::config::{Config, SMALL_BODY};
use crate::error::{CloseReason, OpenError, Violation};
use crate::event::Event;
use crate::id::{SessionId, StreamId};
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::stream::{Side, Stream, Streams};
use crate::time::Instant;
use crate::wire::{Ack, Content, Control, Message, Messages, Params};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::BytesMut;
use core::time::Duration;

/// What a bundle may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: usize,
    /// Only what is small: the slot kept for keystrokes.
    pub(crate) small: bool,
    /// In a long exchange.
    pub(crate) long: bool,
}

impl Room {
    /// What may go into the next bundle of a long exchange, with so many bytes of it under way.
    pub(crate) fn of_long(pace: &Pace, flying: u64) -> Room {
        let full = pace.is_full(flying);
        Room {
            bytes: if full { SMALL_BODY } else { pace.target() },
            small: full,
            long: true,
        }
    }
}

/// What a bundle brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// No bundle with a higher number came before: what it says of its sender holds.
    pub(crate) newest: bool,
    /// It acknowledged something, or held a message.
    pub(crate) news: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) id: SessionId,
    /// The latest moment fed. Polls decide nothing by their own (C2).
    pub(crate) now: Instant,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    pub(crate) streams: Streams,
    pub(crate) ending: Ending,
    bundles: u64,
    newest: Option<u64>,
    /// Messages that came and could not be kept track of so far (§4.3).
    pub(crate) missed: u64,
    /// Bundles that could not be read so far (S8).
    pub(crate) unread: u64,
    /// Since when something has been waiting to be sent, to be said.
    waiting_since: Option<Instant>,
    lazy_since: Option<Instant>,
    connected: bool,
    connected_told: bool,
    /// How long the peer may owe an acknowledgement.
    pub(crate) peer_ack_delay: Duration,
    /// How long small writes gather: no longer than half of what a round trip takes.
    gather: Duration,
    /// Bytes a second that the way to the peer carries, as measured last; 0 while unknown.
    rate: u64,
    /// For the heads of the next bundles, and the list of what goes into the next one: both empty between bundles.
    memory: BytesMut,
    messages: Vec<Message>,
}

impl Session {
    pub(crate) fn new(side: Side, config: Config, id: SessionId, now: Instant) -> Session {
        Session {
            id,
            now,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            streams: Streams::new(side, &config),
            ending: Ending::default(),
            bundles: 0,
            newest: None,
            missed: 0,
            unread: 0,
            waiting_since: None,
            lazy_since: None,
            connected: false,
            connected_told: false,
            peer_ack_delay: config.ack_delay,
            gather: config.gather,
            rate: 0,
            memory: BytesMut::new(),
            messages: Vec::new(),
            config,
        }
    }

    /// Every moment that is kept here, for `rebase`.
    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        visit(&mut self.now);
        self.inbox.instants(visit);
        self.outbox.instants(visit);
        let since = [
            &mut self.waiting_since,
            &mut self.lazy_since,
            &mut self.ending.progress_at,
        ];
        since.into_iter().flatten().for_each(visit);
    }

    /// Whether so much time has passed without a call that the machine may have slept: who goes on asks what was waited for.
    pub(crate) fn may_have_slept(&self, now: Instant) -> bool {
        now.since(self.now) > self.config.wait
    }

    /// The one place where time moves: an earlier `now` counts as the latest seen (C4). `due`: what was waited for. Whether
    /// there was a jump beyond it, as after a sleep, which restarts every clock that gives up (A19).
    pub(crate) fn advance(&mut self, now: Instant, due: Option<Instant>) -> bool {
        let slept = due.is_some_and(|at| now.since(at) > self.config.wait);
        if slept {
            self.ending.progress_at = None;
        }
        self.now = self.now.max(now);
        self.stamp();
        // Not where a poll stamps: the latest feed before it may be long ago.
        if self.ending.is_closing() {
            self.ending.progress_at.get_or_insert(self.now);
        }
        slept
    }

    /// Notes since when something waits. What was written since the last feed counts from this one.
    fn stamp(&mut self) {
        let since = |is: bool, was: Option<Instant>| if is { was.or(Some(self.now)) } else { None };
        let (waiting, lazy) = (self.streams.sendable() > 0, self.streams.is_lazy());
        (self.waiting_since, self.lazy_since) = (
            since(waiting, self.waiting_since),
            since(lazy, self.lazy_since),
        );
    }

    // --- in ------------------------------------------------------------------------------------------------

    pub(crate) fn on_params(&mut self, params: &Params) {
        if let Some(micros) = params.ack_delay {
            self.peer_ack_delay = Duration::from_micros(micros).min(self.config.timer_max);
        }
        // An ignored control message can't fail.
        let _ = self.streams.on_control(&Control::Streams {
            total: params.streams,
        });
    }

    /// Takes in a bundle. What it holds may be known already, all or in part.
    pub(crate) fn on_bundle(
        &mut self,
        number: u64,
        ack: &Ack,
        credit: u64,
        messages: Messages,
        body: usize,
    ) -> Result<Arrived, Violation> {
        let newest = self.newest.is_none_or(|n| number > n);
        if newest {
            self.newest = Some(number);
        }
        if self.ending.dying.is_some() {
            return Ok(Arrived {
                newest,
                news: false,
            }); // nothing more of a peer that broke a rule counts
        }
        let (streams, mut is_delivered) = (&mut self.streams, false);
        let mut news = self.outbox.on_ack(self.now, ack, |told| {
            is_delivered = true;
            streams.on_delivered(told);
        })?;
        // Credit is none while more is to be delivered: where somebody reads, there is always some.
        if is_delivered || (news && self.undelivered() == 0) {
            self.ending.progress_at = None;
        }
        self.streams.on_pool(credit);
        for (count, message) in messages {
            news = true;
            let bytes = if let Content::Data { payload, .. } = &message.content {
                payload.len() as u64
            } else {
                0
            };
            if self.inbox.note(self.now, message.number, count, bytes) {
                self.on_message(message, body)?;
            } else {
                self.missed += 1;
            }
        }
        self.check_close();
        self.stamp();
        Ok(Arrived { newest, news })
    }

    /// Everything before the peer's CLOSE may have arrived.
    pub(crate) fn check_close(&mut self) {
        if self.ending.on_inbox(self.inbox.next()) {
            self.streams.close();
        }
    }

    fn on_message(&mut self, message: Message, body: usize) -> Result<(), Violation> {
        match message.content {
            Content::Data {
                stream,
                offset,
                fin,
                payload,
            } => self.streams.on_data(stream, offset, payload, fin, body),
            Content::Void => Ok(()),
            Content::Control(Control::Close { code, reason }) => {
                self.ending.on_close(message.number, code, reason);
                Ok(())
            }
            Content::Control(control) => {
                self.streams.on_control(&control)?;
                if let Control::Stop { stream, code } = control
                    && let Some(mut stream) =
                        Stream::new(stream, &mut self.streams, &mut self.outbox)
                {
                    stream.give_up(code);
                }
                Ok(())
            }
        }
    }

    // --- the application's side ----------------------------------------------------------------------------

    pub(crate) fn open(&mut self) -> Result<StreamId, OpenError> {
        if self.ending.is_closing() {
            Err(OpenError::Closed)
        } else {
            self.streams.open()
        }
    }

    pub(crate) fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        Stream::new(id, &mut self.streams, &mut self.outbox)
    }

    pub(crate) fn close(&mut self, code: u32, reason: &str) {
        let end = (0..=reason.len().min(256))
            .rev()
            .find(|i| reason.is_char_boundary(*i))
            .unwrap_or(0);
        self.ending
            .want(code, String::from(reason.get(..end).unwrap_or("")), None);
        self.streams.end_writing();
    }

    /// The peer broke a rule: say so once, and that is the end. Whoever has said CLOSE can say no more.
    pub(crate) fn on_violation(&mut self, violation: Violation) {
        let (code, reason) = (violation.code(), alloc::format!("{violation}"));
        let broken = CloseReason::Violation(violation);
        if self.ending.is_sent() {
            self.end(broken);
        } else {
            self.ending.want(code, reason, Some(broken));
        }
        self.streams.close();
        self.outbox.clear();
    }

    pub(crate) fn end(&mut self, reason: CloseReason) {
        if self.ending.over.is_none() {
            // What it was about to end for is why it ends.
            let dying = self.ending.dying.take();
            self.ending.over = Some(dying.unwrap_or(reason));
            self.streams.close();
        }
    }

    /// Ends a close that gets no further (A24). Says when to ask again.
    pub(crate) fn check_flush(&mut self) {
        if self.flush_at().is_some_and(|at| at <= self.now) {
            self.end(if self.is_all_but_close_acknowledged() {
                self.ending.reason()
            } else {
                CloseReason::Stalled {
                    unacknowledged: self.undelivered(),
                }
            });
        }
    }

    /// Bytes of streams that were written and not acknowledged.
    fn undelivered(&self) -> u64 {
        self.outbox.bytes() + self.streams.unsent_bytes()
    }

    /// Whether all that is unknown is whether the peer knows of our CLOSE: nothing can be missing.
    pub(crate) fn is_all_but_close_acknowledged(&self) -> bool {
        let (base, next) = (self.outbox.base(), self.outbox.next_number());
        self.ending.is_all_that_is_left(base, next)
    }

    pub(crate) fn flush_at(&self) -> Option<Instant> {
        if !self.ending.is_closing() || self.ending.over.is_some() {
            return None;
        }
        Some(
            self.ending
                .progress_at
                .unwrap_or(self.now)
                .after(self.config.flush),
        )
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ending.over.is_some()
    }

    /// Whether the application was told that the session is there, or is about to be.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) fn on_connected(&mut self) {
        self.connected = true;
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        if self.connected && !self.connected_told {
            self.connected_told = true;
            return Some(Event::Connected);
        }
        self.streams
            .poll_event()
            .or_else(|| self.ending.poll_closed().map(Event::Closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a15_a_peer_that_never_acknowledges_fills_no_memory() {
        let id = SessionId::from_bytes([1; 16]);
        let mut session = Session::new(Side::Server, Config::default(), id, Instant::ZERO);
        let room = Room {
            bytes: 65_536,
            small: false,
            long: false,
        };
        let payload = Bytes::from_static(&[1; 8192]);
        for n in 0..70_000 {
            let stream = StreamId::from_number(0);
            let (offset, body) = (n * 8192, payload.len());
            let data = session
                .streams
                .on_data(stream, offset, payload.clone(), false, body);
            if data.is_err() {
                break; // it has had no credit for a while
            }
            let _ = session.stream(stream).unwrap().read(8192).unwrap();
            session.fill(n, Instant::ZERO, room);
        }
        assert_eq!(session.outbox.next_number(), 65_536);
        assert_eq!(session.speak_at(1, room), None);
    }

    /// S5: who gathers waits for no longer than half of what the way takes.
    #[test]
    fn what_gathers_waits_for_half_a_round_trip_at_most() {
        let (mut session, _) = writing(1, 1);
        let most = session.gather;
        for (trip, gather) in [(most, most / 2), (most * 2, most), (most * 9, most)] {
            session.on_round_trip(trip);
            assert_eq!(session.gather, gather);
        }
    }

    const ROOM: Room = Room {
        bytes: 256 * 1024,
        small: false,
        long: false,
    };

    /// A client that may send whatever it likes, and streams that have taken what they could of so many bytes.
    fn writing(streams: usize, bytes: usize) -> (Session, Vec<(StreamId, usize)>) {
        let id = SessionId::from_bytes([1; 16]);
        let mut session = Session::new(Side::Client, Config::default(), id, Instant::ZERO);
        session.streams.on_pool(1 << 30);
        let write = |session: &mut Session| {
            let id = session.open().unwrap();
            let mut stream = session.stream(id).unwrap();
            let mut data = Bytes::from(alloc::vec![7; bytes]);
            (id, stream.write(&mut data).unwrap())
        };
        let streams = (0..streams).map(|_| write(&mut session)).collect();
        while session.poll_event().is_some() {}
        (session, streams)
    }

    /// The streams whose bytes are in the next bundle, in order.
    fn senders(session: &mut Session, exchange: u64) -> Vec<StreamId> {
        let messages = session.fill(exchange, Instant::ZERO, ROOM);
        let mut senders: Vec<StreamId> = messages
            .iter()
            .filter_map(|m| match &m.content {
                Content::Data { stream, .. } => Some(*stream),
                Content::Control(_) | Content::Void => None,
            })
            .collect();
        senders.dedup();
        session.give_back(messages);
        senders
    }

    #[test]
    fn turns_are_as_long_as_lets_each_stream_have_one_within_5_ms() {
        for (rate, streams, in_a_bundle) in [
            (0, 8, 3),
            (20_000_000, 8, 3),
            (200_000_000, 2, 1),
            (200_000_000, 8, 2),
            (1_000_000_000, 8, 1),
        ] {
            let (mut session, _) = writing(streams, 500_000);
            session.on_rate(rate);
            // A stream's first message is ahead of the turns.
            let _ = senders(&mut session, 0);
            let _ = senders(&mut session, 1);
            let senders = senders(&mut session, 2);
            let fits = in_a_bundle..=in_a_bundle + 1;
            assert!(fits.contains(&senders.len()), "{rate}: {senders:?}");
        }
    }

    #[test]
    fn a_turn_ends_early_when_the_way_turns_out_slow() {
        let (mut session, _) = writing(2, 3 << 20);
        session.on_rate(u64::MAX);
        for exchange in 0..3 {
            let _ = senders(&mut session, exchange);
        }
        assert_eq!(senders(&mut session, 3).len(), 1);
        session.on_rate(0);
        assert!(senders(&mut session, 4).len() > 1);
    }

    /// Bodies of 1 MB on a way that cut all large ones: nothing of them arrived but when the way was asked for less, every
    /// 2 s at last.
    #[test]
    fn what_is_lost_again_goes_in_smaller_bundles() {
        let (mut session, _) = writing(1, 3 << 20);
        let mut sizes = Vec::new();
        for exchange in 0..8 {
            let messages = session.fill(exchange, session.now, ROOM);
            sizes.push(messages.iter().map(Message::cost).sum::<usize>());
            session.give_back(messages);
            let pace = (session.config.retry_first, session.config.retry_max);
            session.outbox.lost(exchange, session.now, pace.0, pace.1);
            session.now = session.now.after(pace.1);
        }
        assert!(sizes[0] > ROOM.bytes * 9 / 10 && sizes[1] > ROOM.bytes * 9 / 10);
        for (n, size) in sizes.iter().enumerate().skip(2) {
            let most = (ROOM.bytes >> (n - 1)).max(crate::config::BODY_MIN as usize);
            assert!(*size <= most, "{sizes:?}");
        }
        assert!(sizes[7] > 0);
    }

    /// What is not yet sent is bounded, by less where others wait too; and whoever wrote is woken when half of it is sent, though
    /// nothing has been acknowledged.
    #[test]
    fn a_writer_is_woken_when_what_it_wrote_is_sent() {
        let (mut session, streams) = writing(3, 8 << 20);
        let took: Vec<usize> = streams.iter().map(|(_, took)| *took).collect();
        assert_eq!(took, [4 << 20, 4 << 20, 2 << 20]);
        session.on_rate(u64::MAX);
        let mut sent = 0;
        for exchange in 0..100 {
            let messages = session.fill(exchange, Instant::ZERO, ROOM);
            for message in &messages {
                let Content::Data {
                    stream, payload, ..
                } = &message.content
                else {
                    continue;
                };
                sent += if *stream == streams[2].0 {
                    payload.len()
                } else {
                    0
                };
            }
            session.give_back(messages);
            while let Some(event) = session.poll_event() {
                if event == Event::Writable(streams[2].0) {
                    assert!((1 << 20..3 << 19).contains(&sent), "{sent}");
                    return;
                }
            }
        }
        panic!("{sent} bytes of it are sent, and it sleeps");
    }
}
