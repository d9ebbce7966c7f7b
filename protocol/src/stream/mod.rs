//! The streams of a session: bytes over messages (PROTOCOL §6). Knows nothing of exchanges.
//!
//! [`Streams`] holds the table and the queues derived from it; every change of a stream goes through
//! `Streams::update`, which keeps the sums and queues true.

mod handle;
mod pieces;
mod recv;
mod send;

pub use handle::Stream;

use crate::config::{Config, OWN_CREDIT};
use crate::error::{OpenError, ResetCode, Violation};
use crate::event::Event;
use crate::id::StreamId;
use crate::outbox::{Delivered, DeliveredWhat};
use crate::wire::{Content, Control, MAX_PAYLOAD};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use bytes::Bytes;
use recv::{RecvHalf, RecvState};
use send::{SendHalf, SendState};

/// Which side opened a stream, and which side we are: the lowest bit of a stream's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Client = 0,
    Server = 1,
}

/// Room that makes it worth waking a writer: half of what every stream owns.
const WORTH_WAKING: u64 = OWN_CREDIT / 2;

/// What a stream with nothing to send before may write at once and still go ahead of other streams, in bytes.
const KEYSTROKE: u64 = 2048;

/// Credit worth telling the peer about, likewise.
const WORTH_SAYING: u64 = OWN_CREDIT / 2;

/// The pool that every side offers before it has said so, in bytes (§6.3).
pub(crate) const FIRST_POOL: u64 = 64 * 1024;

/// How many streams may be opened before the peer has said so (§6.1).
pub(crate) const FIRST_STREAMS: u64 = 16;

/// The queue that a stream with something to send is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Queue {
    None,
    /// Had nothing to send before: a keystroke goes ahead of other streams' backlog.
    Fresh,
    Bulk,
    /// Has no credit: not waiting (A3).
    NoCredit,
}

/// How much a control message of a stream matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Say {
    Nothing,
    /// Travels with the next bundle, or soon.
    Lazy,
    /// Is a reason for a bundle.
    Urgent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    send: SendHalf,
    recv: RecvHalf,
    /// Opened by us, and the peer has not been told.
    hello: bool,
    queue: Queue,
    say: Say,
    news: bool,
    finished: bool,
}

/// What is to be said of a session's credit as a whole: how much of a pool one stream may take when `others` have
/// this much of it. Two thirds of what they leave, so that however many streams are stuck, another one finds room.
fn share(pool: u64, others: u64) -> u64 {
    pool.saturating_sub(others) / 3 * 2
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Streams {
    side: Side,
    join: bool,
    table: BTreeMap<u64, Entry>,
    // Opening, ours and theirs.
    opened: u64,
    may_open: u64,
    open_blocked: bool,
    theirs: u64,
    theirs_ended: u64,
    theirs_told: u64,
    theirs_most: u64,
    incoming: VecDeque<StreamId>,
    incoming_news: bool,
    // Who has something to send or say, or news for the application.
    fresh: VecDeque<StreamId>,
    bulk: VecDeque<StreamId>,
    no_credit: VecDeque<StreamId>,
    says: VecDeque<StreamId>,
    urgent: usize,
    hellos: VecDeque<StreamId>,
    news: VecDeque<StreamId>,
    writers: BTreeSet<StreamId>,
    // Pools and what of them is taken.
    peer_pool: u64,
    charged: u64,
    pool: u64,
    received: u64,
    send_pool: u64,
    pooled: u64,
    /// Nothing more may be written: the session is closing.
    closing: bool,
    closed: bool,
}

impl Streams {
    pub(crate) fn new(side: Side, config: &Config) -> Streams {
        Streams {
            side,
            join: !config.classic,
            table: BTreeMap::new(),
            opened: 0,
            // What may be opened before the peer has said anything (§6.1).
            may_open: FIRST_STREAMS,
            open_blocked: false,
            theirs: 0,
            theirs_ended: 0,
            theirs_told: config.streams,
            theirs_most: config.streams,
            incoming: VecDeque::new(),
            incoming_news: false,
            fresh: VecDeque::new(),
            bulk: VecDeque::new(),
            no_credit: VecDeque::new(),
            says: VecDeque::new(),
            urgent: 0,
            hellos: VecDeque::new(),
            news: VecDeque::new(),
            writers: BTreeSet::new(),
            peer_pool: FIRST_POOL,
            charged: 0,
            pool: config.pool,
            received: 0,
            send_pool: config.send_pool,
            pooled: 0,
            closing: false,
            closed: false,
        }
    }

    /// Changes one stream and brings everything derived from it up to date.
    fn update<R>(&mut self, id: StreamId, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let entry = self.table.get_mut(&id.0)?;
        let before = (
            entry.send.charged(),
            entry.send.pooled(),
            entry.recv.charged(),
        );
        let result = change(entry);
        self.charged = self.charged - before.0 + entry.send.charged();
        self.pooled = self.pooled - before.1 + entry.send.pooled();
        self.received = self.received - before.2 + entry.recv.charged();
        let (more_credit, more_room) = (
            entry.send.charged() < before.0,
            entry.send.pooled() < before.1,
        );
        self.place(id);
        if more_credit {
            self.on_credit();
        }
        if more_room {
            self.wake_writers();
        }
        Some(result)
    }

    /// Puts a stream into the queues that its state asks for, or forgets it.
    fn place(&mut self, id: StreamId) {
        let (pool, others, closing) = (self.pool, self.received, self.closing);
        let room = self.room(id);
        let Some(entry) = self.table.get_mut(&id.0) else {
            return;
        };
        if entry.queue == Queue::NoCredit && !entry.send.is_waiting() {
            entry.queue = Queue::None;
            self.no_credit.retain(|other| *other != id);
        }
        if entry.send.is_over() && entry.recv.is_over() && !entry.hello && !entry.finished {
            self.forget(id);
            return;
        }
        if entry.send.is_waiting() && entry.queue == Queue::None {
            // A large write is no keystroke.
            if entry.send.queue.len() <= KEYSTROKE {
                entry.queue = Queue::Fresh;
                self.fresh.push_back(id);
            } else {
                entry.queue = Queue::Bulk;
                self.bulk.push_back(id);
            }
        }
        let say = entry.say_level(pool, others);
        if say != entry.say {
            self.unlist(id);
        }
        let Some(entry) = self.table.get_mut(&id.0) else {
            return;
        };
        if say != entry.say {
            entry.say = say;
            self.urgent += usize::from(say == Say::Urgent);
            self.says.push_back(id);
        }
        let writable = entry.send.blocked
            && (closing || entry.send.state != SendState::Open || room >= WORTH_WAKING);
        if (writable || entry.finished || (entry.recv.blocked && entry.has_read_news()))
            && !entry.news
        {
            entry.news = true;
            self.news.push_back(id);
        }
        match entry.send.blocked {
            true => self.writers.insert(id),
            false => self.writers.remove(&id),
        };
        self.settle();
    }

    /// Takes a stream off the list of those with something to say.
    fn unlist(&mut self, id: StreamId) {
        let Some(entry) = self.table.get_mut(&id.0).filter(|e| e.say != Say::Nothing) else {
            return;
        };
        self.urgent -= usize::from(entry.say == Say::Urgent);
        entry.say = Say::Nothing;
        self.says.retain(|other| *other != id);
    }

    fn forget(&mut self, id: StreamId) {
        self.unlist(id);
        if self.table.remove(&id.0).is_none() {
            return;
        }
        self.writers.remove(&id);
        if !self.is_ours(id) {
            self.theirs_ended += 1;
        }
    }

    /// Invariant: the first of `fresh` and of `bulk` can be sent from, if there is one.
    fn settle(&mut self) {
        for queue in [Queue::Fresh, Queue::Bulk] {
            loop {
                let list = if queue == Queue::Fresh {
                    &self.fresh
                } else {
                    &self.bulk
                };
                let Some(id) = list.front().copied() else {
                    break;
                };
                let can = self.table.get(&id.0).is_some_and(|e| {
                    e.send.is_waiting() && (e.send.queue.is_empty() || self.allowance(&e.send) > 0)
                });
                if can {
                    break;
                }
                let list = if queue == Queue::Fresh {
                    &mut self.fresh
                } else {
                    &mut self.bulk
                };
                list.pop_front();
                if let Some(entry) = self.table.get_mut(&id.0) {
                    entry.queue = if entry.send.is_waiting() {
                        Queue::NoCredit
                    } else {
                        Queue::None
                    };
                    if entry.queue == Queue::NoCredit {
                        self.no_credit.push_back(id);
                    }
                }
            }
        }
    }

    /// There may be credit for those who had none.
    fn on_credit(&mut self) {
        while let Some(id) = self.no_credit.pop_front() {
            if let Some(entry) = self.table.get_mut(&id.0) {
                entry.queue = Queue::Bulk;
                self.bulk.push_back(id);
            }
        }
        self.settle();
    }

    fn wake_writers(&mut self) {
        let ready = |id: &&StreamId| self.room(**id) >= WORTH_WAKING;
        for id in self
            .writers
            .iter()
            .filter(ready)
            .copied()
            .collect::<alloc::vec::Vec<_>>()
        {
            if let Some(entry) = self.table.get_mut(&id.0).filter(|e| !e.news) {
                entry.news = true;
                self.news.push_back(id);
            }
        }
    }

    /// How many bytes a stream may send now: its own credit and its share of the peer's pool (§6.3).
    fn allowance(&self, send: &SendHalf) -> u64 {
        let others = self.charged - send.charged();
        (send.limit + share(self.peer_pool, others)).saturating_sub(send.sent)
    }

    /// How many bytes the application may write to a stream now.
    fn room(&self, id: StreamId) -> u64 {
        let Some(entry) = self.table.get(&id.0) else {
            return 0;
        };
        let others = self.pooled - entry.send.pooled();
        (OWN_CREDIT + share(self.send_pool, others)).saturating_sub(entry.send.buffered())
    }

    fn is_ours(&self, id: StreamId) -> bool {
        id.0 & 1 == self.side as u64
    }

    fn add(&mut self, id: StreamId, hello: bool) {
        let (send, recv) = (SendHalf::new(), RecvHalf::new());
        let entry = Entry {
            send,
            recv,
            hello,
            queue: Queue::None,
            say: Say::Nothing,
            news: false,
            finished: false,
        };
        self.table.insert(id.0, entry);
    }

    // --- opening -------------------------------------------------------------------------------------------

    pub(crate) fn open(&mut self) -> Result<StreamId, OpenError> {
        if self.closed {
            return Err(OpenError::Closed);
        }
        if self.opened >= self.may_open {
            self.open_blocked = true;
            return Err(OpenError::Full);
        }
        let id = StreamId(self.opened * 2 + self.side as u64);
        self.opened += 1;
        self.add(id, true);
        self.hellos.push_back(id);
        Ok(id)
    }

    pub(crate) fn accept(&mut self) -> Option<StreamId> {
        self.incoming.pop_front()
    }

    /// Makes sure that the peer may speak of this stream, and that it is there if it should be.
    fn reach(&mut self, id: StreamId) -> Result<(), Violation> {
        let index = id.0 >> 1;
        if self.is_ours(id) {
            return if index < self.opened {
                Ok(())
            } else {
                Err(Violation::StreamCount)
            };
        }
        if index >= self.theirs_told {
            return Err(Violation::StreamCount);
        }
        while self.theirs <= index {
            let id = StreamId(self.theirs * 2 + (self.side as u64 ^ 1));
            self.theirs += 1;
            self.add(id, false);
            self.incoming.push_back(id);
            self.incoming_news = true;
        }
        Ok(())
    }

    // --- what the peer says --------------------------------------------------------------------------------

    pub(crate) fn on_data(
        &mut self,
        id: StreamId,
        offset: u64,
        payload: Bytes,
        fin: bool,
        body: usize,
    ) -> Result<(), Violation> {
        self.reach(id)?;
        if let Some(result) = self.update(id, |e| e.recv.insert(offset, payload, fin, body)) {
            result?;
        }
        if self.received > self.pool {
            Err(Violation::Credit)
        } else {
            Ok(())
        }
    }

    pub(crate) fn on_control(&mut self, control: &Control) -> Result<(), Violation> {
        match *control {
            Control::StreamCredit { stream, limit } => {
                self.reach(stream)?;
                let grew = self.update(stream, |e| {
                    let grew = limit > e.send.limit;
                    e.send.limit = limit.max(e.send.limit);
                    grew
                });
                if grew == Some(true) {
                    self.on_credit();
                }
            }
            Control::Streams { total } => {
                self.may_open = self.may_open.max(total);
            }
            Control::Reset { stream, code, size } => {
                self.reach(stream)?;
                self.update(stream, |e| e.recv.on_reset(code, size))
                    .unwrap_or(Ok(()))?;
                if self.received > self.pool {
                    return Err(Violation::Credit);
                }
            }
            Control::Stop { stream, code } => {
                self.reach(stream)?;
                self.update(stream, |e| {
                    if !matches!(
                        e.send.state,
                        SendState::Done { .. } | SendState::Reset { .. }
                    ) {
                        e.send.stopped = Some(code);
                    }
                });
            }
            Control::Close { .. } | Control::Unknown => {}
            Control::NotUnderstood => return Err(Violation::NotUnderstood),
            Control::Malformed => return Err(Violation::Malformed),
        }
        Ok(())
    }

    /// The pool that the peer offers; never shrinks.
    pub(crate) fn on_pool(&mut self, pool: u64) {
        if pool > self.peer_pool {
            self.peer_pool = pool;
            self.on_credit();
        }
    }

    pub(crate) fn on_delivered(&mut self, told: Delivered) {
        self.update(told.stream, |e| {
            e.send.unacked = e.send.unacked.saturating_sub(told.bytes);
            match told.what {
                DeliveredWhat::Data => {}
                DeliveredWhat::Fin => {
                    if let SendState::Sent { fin } = &mut e.send.state {
                        *fin = true;
                    }
                }
                DeliveredWhat::Reset => e.send.state = SendState::Done { reset: true },
            }
            if e.send.state == (SendState::Sent { fin: true }) && e.send.unacked == 0 {
                e.send.state = SendState::Done { reset: false };
                e.finished = true;
            }
        });
    }

    // --- what is to be sent --------------------------------------------------------------------------------

    /// The next control message, made from the state as it is now.
    pub(crate) fn next_control(&mut self) -> Option<Control> {
        let grown = self.theirs_ended + self.theirs_most;
        if grown > self.theirs_told && (grown - self.theirs_told) * 2 >= self.theirs_most {
            self.theirs_told = grown;
            return Some(Control::Streams { total: grown });
        }
        let id = self.says.front().copied()?;
        self.unlist(id);
        // Whatever it says next, others have their turn first.
        let control = self.update(id, |e| e.say(id)).flatten();
        if let Some(Control::Reset { .. }) = control {
            self.hellos.retain(|other| *other != id); // this says that it was there
        }
        control
    }

    /// The next data message, of at most `max` bytes; its stream's bytes are numbered with it. `small`: only of
    /// streams that had nothing to send before.
    pub(crate) fn next_data(&mut self, max: usize, small: bool) -> Option<Content> {
        while let Some(id) = self.hellos.pop_front() {
            let Some(entry) = self.table.get_mut(&id.0).filter(|e| e.hello) else {
                continue;
            };
            if entry.send.is_waiting() || matches!(entry.send.state, SendState::Reset { .. }) {
                continue; // what it sends says that it is there
            }
            entry.hello = false;
            return Some(Content::Data {
                stream: id,
                offset: 0,
                fin: false,
                payload: Bytes::new(),
            });
        }
        let from_fresh = !self.fresh.is_empty();
        let id = if from_fresh {
            self.fresh.front()
        } else {
            self.bulk.front().filter(|_| !small)
        }
        .copied()?;
        let allowance =
            usize::try_from(self.allowance(&self.table.get(&id.0)?.send)).unwrap_or(usize::MAX);
        let most = max.min(MAX_PAYLOAD).min(allowance);
        if most == 0 && !self.table.get(&id.0)?.send.queue.is_empty() {
            return None;
        }
        if from_fresh {
            self.fresh.pop_front()
        } else {
            self.bulk.pop_front()
        };
        let join = self.join;
        if self.table.get(&id.0)?.hello {
            self.hellos.retain(|other| *other != id);
        }
        let content = self.update(id, |e| {
            e.hello = false;
            let (offset, send) = (e.send.sent, &mut e.send);
            let payload = if join {
                send.queue.pop_joined(most)
            } else {
                send.queue.pop(most)
            };
            send.sent += payload.len() as u64;
            send.unacked += payload.len() as u64;
            let fin = send.state == SendState::Finishing && send.queue.is_empty();
            if fin {
                send.state = SendState::Sent { fin: false };
            }
            // Out of its queue; whoever has more is bulk from here on.
            e.queue = if send.is_waiting() {
                Queue::Bulk
            } else {
                Queue::None
            };
            Content::Data {
                stream: id,
                offset,
                fin,
                payload,
            }
        });
        if self
            .table
            .get(&id.0)
            .is_some_and(|e| e.queue == Queue::Bulk)
        {
            self.bulk.push_back(id);
            self.settle();
        }
        content
    }

    /// About how many bytes could be sent now; exact as to none.
    pub(crate) fn sendable(&self) -> u64 {
        let waiting = self.fresh.iter().chain(&self.bulk).take(16);
        let entries = waiting.filter_map(|id| self.table.get(&id.0));
        entries
            .map(|e| {
                if e.send.queue.is_empty() {
                    1
                } else {
                    e.send.queue.len().min(self.allowance(&e.send))
                }
            })
            .sum()
    }

    /// How many messages could be sent now, each write being one (classic mode).
    pub(crate) fn sendable_messages(&self) -> usize {
        let waiting = self
            .fresh
            .iter()
            .chain(&self.bulk)
            .filter_map(|id| self.table.get(&id.0));
        waiting.map(|e| e.send.queue.pieces().max(1)).sum()
    }

    /// Whether a stream that had nothing to send before has something now.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Whether a control message is a reason for a bundle by itself.
    pub(crate) fn is_urgent(&self) -> bool {
        let grown = self.theirs_ended + self.theirs_most;
        let awaited =
            self.theirs >= self.theirs_told && (grown - self.theirs_told) * 2 >= self.theirs_most;
        self.urgent > 0 || awaited
    }

    /// Whether there is anything that should be said soon.
    pub(crate) fn is_lazy(&self) -> bool {
        !self.says.is_empty() || !self.hellos.is_empty()
    }

    /// Whether a stream was opened of which the peer does not know.
    pub(crate) fn has_hello(&self) -> bool {
        !self.hellos.is_empty()
    }

    /// Whether a keystroke waits of a stream that has nothing unacknowledged: there is nothing to gather it with.
    pub(crate) fn has_prompt(&self) -> bool {
        let mut fresh = self.fresh.iter().filter_map(|id| self.table.get(&id.0));
        fresh.any(|e| e.send.unacked == 0)
    }

    /// Whether both a keystroke and bulk wait.
    pub(crate) fn is_mixed(&self) -> bool {
        !self.fresh.is_empty() && !self.bulk.is_empty()
    }

    /// Whether bytes wait, for credit or else.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.fresh.is_empty()
            || !self.bulk.is_empty()
            || !self.no_credit.is_empty()
            || !self.hellos.is_empty()
            || self.urgent > 0
    }

    // --- news ----------------------------------------------------------------------------------------------

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        if core::mem::take(&mut self.incoming_news) {
            return Some(Event::Incoming);
        }
        if self.open_blocked && self.opened < self.may_open {
            self.open_blocked = false;
            return Some(Event::CanOpen);
        }
        while let Some(id) = self.news.front().copied() {
            let room = self.room(id);
            let (closing, closed) = (self.closing, self.closed);
            let event = self
                .table
                .get_mut(&id.0)
                .and_then(|e| e.next_news(id, room, closing, closed));
            if event.is_some() {
                if matches!(event, Some(Event::Finished(_) | Event::Writable(_))) {
                    self.writers.remove(&id);
                }
                return event;
            }
            self.news.pop_front();
            if let Some(entry) = self.table.get_mut(&id.0) {
                entry.news = false;
            }
            self.place(id);
        }
        None
    }

    /// The session is closing: what was written is all there will be, and who waits to write is told.
    pub(crate) fn end_writing(&mut self) {
        self.closing = true;
        for id in self.writers.clone() {
            self.place(id);
        }
    }

    /// The session is over: nothing more comes or goes. What has arrived can still be read.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.closing = true;
        for list in [
            &mut self.fresh,
            &mut self.bulk,
            &mut self.no_credit,
            &mut self.says,
            &mut self.hellos,
        ] {
            list.clear();
        }
        self.urgent = 0;
        self.news.clear();
        self.open_blocked = false;
        for (number, entry) in &mut self.table {
            entry.send.queue.clear();
            entry.say = Say::Nothing;
            entry.news = entry.send.blocked || entry.recv.blocked || entry.finished;
            if entry.news {
                self.news.push_back(StreamId(*number));
            }
        }
        self.pooled = self.table.values().map(|e| e.send.pooled()).sum();
    }

    /// Bytes written and not acknowledged or not even sent.
    pub(crate) fn unsent_bytes(&self) -> u64 {
        self.table.values().map(|e| e.send.queue.len()).sum()
    }
}

impl Entry {
    fn has_read_news(&self) -> bool {
        match self.recv.state {
            RecvState::Open => self.recv.has_bytes() || self.recv.at_end(),
            RecvState::Reset { .. } | RecvState::Ended | RecvState::Stopped { .. } => true,
        }
    }

    /// Whether and how much this stream has something to say.
    fn say_level(&self, pool: u64, received: u64) -> Say {
        if matches!(self.send.state, SendState::Reset { said: false, .. })
            || (matches!(self.recv.state, RecvState::Stopped { said: false, .. })
                && self.recv.size.is_none())
        {
            return Say::Urgent;
        }
        let recv = &self.recv;
        let grows = recv.could_announce() - recv.announced;
        if grows == 0 || matches!(recv.state, RecvState::Reset { .. }) {
            return Say::Nothing;
        }
        if recv.size.is_some_and(|size| size <= recv.announced) {
            return Say::Nothing; // the peer has sent all it has
        }
        if recv.size.is_some() && recv.consumed() == recv.highest {
            return Say::Lazy; // the peer's pool gets the rest back
        }
        if grows < WORTH_SAYING || recv.highest + WORTH_SAYING < recv.announced {
            return Say::Nothing;
        }
        let others = received - recv.charged();
        let window = OWN_CREDIT + share(pool, others);
        let left = (recv.announced + share(pool, others)).saturating_sub(recv.highest);
        if left < window / 2 || grows >= window / 2 {
            Say::Urgent
        } else {
            Say::Lazy
        }
    }

    /// Says one thing and notes that it is said.
    fn say(&mut self, id: StreamId) -> Option<Control> {
        if let SendState::Reset {
            code,
            said: said @ false,
        } = &mut self.send.state
        {
            *said = true;
            self.hello = false;
            return Some(Control::Reset {
                stream: id,
                code: *code,
                size: self.send.sent,
            });
        }
        if let RecvState::Stopped {
            code,
            said: said @ false,
        } = &mut self.recv.state
        {
            *said = true;
            if self.recv.size.is_none() {
                return Some(Control::Stop {
                    stream: id,
                    code: *code,
                });
            }
        }
        let limit = self.recv.could_announce();
        if limit == self.recv.announced {
            return None;
        }
        self.recv.announced = limit;
        Some(Control::StreamCredit { stream: id, limit })
    }

    fn next_news(&mut self, id: StreamId, room: u64, closing: bool, closed: bool) -> Option<Event> {
        if core::mem::take(&mut self.finished) {
            return Some(Event::Finished(id));
        }
        if self.recv.blocked && (closed || self.has_read_news()) {
            self.recv.blocked = false;
            return Some(Event::Readable(id));
        }
        if self.send.blocked
            && (closing || self.send.state != SendState::Open || room >= WORTH_WAKING)
        {
            self.send.blocked = false;
            return Some(Event::Writable(id));
        }
        None
    }

    /// Gives up the sending half.
    fn reset(&mut self, code: ResetCode) -> bool {
        if matches!(
            self.send.state,
            SendState::Done { .. } | SendState::Reset { .. }
        ) {
            return false;
        }
        self.send.queue.clear();
        self.send.unacked = 0;
        self.send.state = SendState::Reset { code, said: false };
        true
    }
}

impl RecvHalf {
    fn on_reset(&mut self, code: ResetCode, size: u64) -> Result<(), Violation> {
        if size < self.highest || self.size.is_some_and(|s| s != size) {
            return Err(Violation::FinalSize);
        }
        match self.state {
            RecvState::Open => {
                self.size = Some(size);
                self.highest = size;
                self.end(RecvState::Reset { code, told: false });
            }
            RecvState::Stopped { code: ours, .. } => {
                self.size = Some(size);
                self.highest = size;
                // The peer is done with it, so its share of the pool is back on both sides.
                self.end(RecvState::Reset {
                    code: ours,
                    told: true,
                });
            }
            // The peer has its share of the pool back by its reset, and is to be told nothing more.
            RecvState::Ended => self.announced = self.announced.max(self.highest),
            RecvState::Reset { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod check;
#[cfg(test)]
mod corner_tests;
#[cfg(test)]
mod tests;
