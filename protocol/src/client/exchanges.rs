//! The exchanges that a client has open.

use crate::time::Instant;
use crate::wire::Numbers;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// One exchange whose answer has not come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Exchange {
    pub(crate) number: u64,
    pub(crate) sent_at: Instant,
    /// When bytes of it last moved; patience counts from here.
    pub(crate) touched: Instant,
    pub(crate) patience: Duration,
    /// How long the server was told that it may hold it.
    pub(crate) wait: Duration,
    /// Its body's size, and the largest that it could have had.
    pub(crate) size: usize,
    pub(crate) full: bool,
    pub(crate) answer_max: usize,
    /// It moves more than a keystroke: not a held one yet.
    pub(crate) bulk: bool,
    /// It only asks whether anything comes through.
    pub(crate) probe: bool,
    /// It carries the server's nonce.
    pub(crate) echoes: bool,
    /// Since when the server has said that it does not hold it though it should have arrived.
    pub(crate) doubted: Option<Instant>,
}

/// Those that are open, oldest first, and those of them that nobody waits for any more. But for the long ones each is a
/// request and its response, and only those are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Exchanges {
    open: Vec<Exchange>,
    /// The long one, which is none of `open`.
    long: Option<u64>,
    /// The one whose answer is streamed, which is none of `open` either.
    streamed: Option<u64>,
    next: u64,
    cancels: VecDeque<u64>,
}

impl Exchanges {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Every moment that is kept here, for `rebase`.
    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        for exchange in &mut self.open {
            visit(&mut exchange.sent_at);
            visit(&mut exchange.touched);
            exchange.doubted.iter_mut().for_each(&mut *visit);
        }
    }

    /// The number that the next exchange gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Opens a long exchange, in place of one that there may have been.
    pub(crate) fn open_long(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.long = Some(number);
        number
    }

    pub(crate) fn is_long(&self, number: u64) -> bool {
        self.long == Some(number)
    }

    /// The long exchange is over. `cancel`: the embedder does not know yet.
    pub(crate) fn end_long(&mut self, cancel: bool) -> Option<u64> {
        let number = self.long.take()?;
        if cancel {
            self.cancels.push_back(number);
        }
        Some(number)
    }

    /// Opens an exchange whose answer may be streamed, in place of one that there may have been.
    pub(crate) fn open_streamed(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.streamed = Some(number);
        number
    }

    /// Its streamed answer is over. `cancel`: the embedder does not know yet.
    pub(crate) fn end_streamed(&mut self, cancel: bool) -> Option<u64> {
        let number = self.streamed.take()?;
        if cancel {
            self.cancels.push_back(number);
        }
        Some(number)
    }

    pub(crate) fn push(&mut self, exchange: Exchange) {
        self.next = exchange.number + 1;
        self.open.push(exchange);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Exchange> {
        self.open.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Exchange> {
        self.open.iter_mut()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Exchange> {
        self.open.iter().find(|e| e.number == number)
    }

    /// Its fate is known: it is not open any more.
    pub(crate) fn settle(&mut self, number: u64) -> Option<Exchange> {
        let at = self.open.iter().position(|e| e.number == number)?;
        Some(self.open.remove(at))
    }

    /// Nobody waits for it any more.
    pub(crate) fn give_up(&mut self, number: u64) -> Option<Exchange> {
        let exchange = self.settle(number)?;
        self.cancels.push_back(number);
        Some(exchange)
    }

    pub(crate) fn poll_cancel(&mut self) -> Option<u64> {
        self.cancels.pop_front()
    }

    /// The numbers of those open but `own`, newest first, as a request lists them.
    pub(crate) fn list(&self, own: Option<u64>) -> Numbers {
        let short = self.open.iter().map(|e| e.number);
        let long = self.long.into_iter().chain(self.streamed);
        let mut all: Numbers = short.chain(long).filter(|n| Some(*n) != own).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all
    }

    /// How many move bulk.
    pub(crate) fn bulk(&self) -> usize {
        self.open.iter().filter(|e| e.bulk).count()
    }
}
