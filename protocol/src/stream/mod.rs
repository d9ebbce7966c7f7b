//! The streams of a session: bytes over messages (PROTOCOL §6). Knows nothing of exchanges.
//!
//! [`Streams`] holds the table and the queues derived from it; every change of a stream goes through
//! `Streams::update`, which keeps the sums and queues true.

mod entry;
mod handle;
mod news;
mod peer;
mod pieces;
mod recv;
mod send;
mod table;
mod turns;

pub use handle::Stream;

use crate::config::{Config, OWN_CREDIT};
use crate::error::OpenError;
use crate::id::StreamId;
use alloc::collections::{BTreeSet, VecDeque};
use entry::{Entry, Queue, Say, Shares};
use recv::{RecvHalf, RecvState};
use send::{SendHalf, SendState};
use table::Table;
use turns::Turn;

/// Which side opened a stream, and which side we are: the lowest bit of a stream's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Client = 0,
    Server = 1,
}

/// Room that makes it worth waking a writer: half of what every stream owns.
const WORTH_WAKING: u64 = OWN_CREDIT / 2;

/// What may wait to be sent for the first time: so much by the streams that have their turns now, together, and by any of
/// them at least the lesser amount. Bundles find enough in it, and the processor still has it in its cache.
const UNSENT: u64 = 4 << 20;
const UNSENT_LEAST: u64 = 64 * 1024;

/// What a stream with nothing to send before may write at once and still go ahead of other streams, in bytes.
const KEYSTROKE: u64 = 2048;

/// Credit worth telling the peer about, likewise.
const WORTH_SAYING: u64 = OWN_CREDIT / 2;

/// The pool that every side offers before it has said so, in bytes (§6.3).
pub(crate) const FIRST_POOL: u64 = 64 * 1024;

/// How many streams may be opened before the peer has said so (§6.1).
pub(crate) const FIRST_STREAMS: u64 = 16;

/// What is to be said of a session's credit as a whole: how much of a pool one stream may take when `others` have
/// this much of it. Two thirds of what they leave, so that however many streams are stuck, another one finds room.
fn share(pool: u64, others: u64) -> u64 {
    pool.saturating_sub(others) / 3 * 2
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Streams {
    side: Side,
    join: bool,
    table: Table,
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
    turn: Turn,
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
            table: Table::default(),
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
            turn: Turn::default(),
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
        let entry = self.table.get_mut(id)?;
        let before = entry.shares();
        let result = change(entry);
        self.on_change(id, before);
        Some(result)
    }

    /// The rest of it; apart, for there is an `update` for every change.
    fn on_change(&mut self, id: StreamId, before: Shares) {
        let Some(after) = self.table.get(id).map(Entry::shares) else {
            return;
        };
        self.charged = self.charged - before.charged + after.charged;
        self.pooled = self.pooled - before.pooled + after.pooled;
        self.received = self.received - before.received + after.received;
        self.place(id);
        if after.charged < before.charged {
            self.on_credit();
        }
        if after.pooled < before.pooled {
            self.wake_writers();
        }
    }

    /// Puts a stream into the queues that its state asks for, or forgets it.
    fn place(&mut self, id: StreamId) {
        let (pool, others, closing) = (self.pool, self.received, self.closing);
        let closed = self.closed;
        let Some(entry) = self.table.get(id) else {
            return;
        };
        // Of interest to who waits for it.
        let room = if entry.send.blocked { self.room(id) } else { 0 };
        let Some(entry) = self.table.get_mut(id) else {
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
        // After the end nothing is said of streams any more, whatever is still done to them: after a violation, what its
        // sender made of them need not even be sayable.
        let say = if closed {
            Say::Nothing
        } else {
            entry.say_level(pool, others)
        };
        let is_news = entry.send.is_news(room, closing)
            || entry.finished
            || (entry.recv.blocked && entry.has_read_news());
        if is_news && !core::mem::replace(&mut entry.news, true) {
            self.news.push_back(id);
        }
        let (said, blocked) = (entry.say, entry.send.blocked);
        match blocked {
            true => self.writers.insert(id),
            false => self.writers.remove(&id),
        };
        if say != said {
            self.list(id, say);
        }
        self.settle();
    }

    /// A stream has something else to say than it is listed with.
    fn list(&mut self, id: StreamId, say: Say) {
        self.unlist(id);
        let entry = self.table.get_mut(id);
        if let Some(entry) = entry.filter(|_| say != Say::Nothing) {
            entry.say = say;
            self.urgent += usize::from(say == Say::Urgent);
            self.says.push_back(id);
        }
    }

    /// Takes a stream off the list of those with something to say.
    fn unlist(&mut self, id: StreamId) {
        let Some(entry) = self.table.get_mut(id).filter(|e| e.say != Say::Nothing) else {
            return;
        };
        self.urgent -= usize::from(entry.say == Say::Urgent);
        entry.say = Say::Nothing;
        self.says.retain(|other| *other != id);
    }

    fn forget(&mut self, id: StreamId) {
        self.unlist(id);
        if self.table.remove(id).is_none() {
            return;
        }
        self.writers.remove(&id);
        if !self.is_ours(id) {
            self.theirs_ended += 1;
        }
    }

    /// How many bytes a stream may send now: its own credit and its share of the peer's pool (§6.3).
    fn allowance(&self, send: &SendHalf) -> u64 {
        let others = self.charged - send.charged();
        (send.limit + share(self.peer_pool, others)).saturating_sub(send.sent)
    }

    /// How many bytes the application may write to a stream now.
    fn room(&self, id: StreamId) -> u64 {
        let Some(entry) = self.table.get(id) else {
            return 0;
        };
        let others = self.pooled - entry.send.pooled();
        let kept = OWN_CREDIT + share(self.send_pool, others);
        // Whoever has no credit waits for its reader, and takes nothing from those who have their turns.
        let waits = (UNSENT / self.in_turn().max(1) as u64).max(UNSENT_LEAST);
        let waits = waits.saturating_sub(entry.send.queue.len());
        kept.saturating_sub(entry.send.buffered()).min(waits)
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
        self.table.insert(id, entry);
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

    // --- the end -----------------------------------------------------------------------------------------

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
        for (id, entry) in self.table.iter_mut() {
            entry.send.queue.clear();
            entry.say = Say::Nothing;
            entry.news = entry.send.blocked || entry.recv.blocked || entry.finished;
            if entry.news {
                self.news.push_back(id);
            }
        }
        self.pooled = self.table.iter().map(|(_, e)| e.send.pooled()).sum();
    }

    /// Bytes written and not acknowledged or not even sent.
    pub(crate) fn unsent_bytes(&self) -> u64 {
        self.table.iter().map(|(_, e)| e.send.queue.len()).sum()
    }
}

#[cfg(test)]
mod check;
#[cfg(test)]
mod corner_tests;
