//! What stands before the messages (PROTOCOL §3.3 to §3.5).

use super::bundle::sealed::Prefix as Layout;
use super::codec::{self, Put, Size};
use super::head::head_len;
use super::params::Params;
use super::varint::{self, LIMIT};
use crate::id::Nonce;
use alloc::vec::Vec;
use core::ops::Range;
use smallvec::SmallVec;

/// How many ranges an acknowledgement holds at most.
pub const MAX_RANGES: usize = 64;

/// How many exchanges [`RequestPrefix::open`] and [`AnswerPrefix::held`] hold at most.
pub const MAX_EXCHANGES: usize = 64;

/// Numbers of exchanges; as many as are open by default take no memory of their own.
pub type Numbers = SmallVec<[u64; 16]>;

/// What has arrived: everything below `next`, and these ranges above it (rising, never adjacent).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ack {
    /// Everything below this number has arrived.
    pub next: u64,
    /// What has arrived beyond it, at most [`MAX_RANGES`].
    pub ranges: Vec<Range<u64>>,
}

/// The prefix of a request (PROTOCOL §3.3), without the ids, which stand in the head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestPrefix {
    /// Present until the server has answered.
    pub opening: Option<Params>,
    /// The nonce of the server's answer.
    pub echo: Option<Nonce>,
    /// What has arrived.
    pub ack: Ack,
    /// The pool, in bytes.
    pub credit: u64,
    /// Answers that could not be read so far.
    pub unread: u64,
    /// The re-send timer in microseconds.
    pub timer: u64,
    /// For a bundle of a long exchange: how many exchanges the client has opened after it.
    pub long: Option<u64>,
    /// Of streamed answers (never in a bundle of a long exchange): 0, the answer to this one may be streamed; otherwise
    /// how far below this exchange's number is the one whose streamed answer is coming through.
    pub streamed: Option<u64>,
    /// The numbers of the other exchanges that are open, falling, all below this one's, but for a long exchange; at most
    /// [`MAX_EXCHANGES`].
    pub open: Numbers,
    /// How many exchanges the server is to hold.
    pub hold: u64,
    /// How many milliseconds it may hold this one.
    pub wait: u64,
    /// The largest answer wanted, in bytes.
    pub answer_max: u64,
    /// Bytes that could be sent at once, were there room.
    pub backlog: u64,
}

/// The prefix of an answer (PROTOCOL §3.4), without the numbers, which stand in the head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnswerPrefix {
    /// Present until the client has shown that it knows.
    pub opening: Option<Params>,
    /// To be echoed in the next request.
    pub nonce: Option<Nonce>,
    /// Whether the messages of this exchange's request were read.
    pub read: bool,
    /// What has arrived.
    pub ack: Ack,
    /// The pool, in bytes.
    pub credit: u64,
    /// Requests that could not be read so far.
    pub unread: u64,
    /// Microseconds from the request's arrival to this answer.
    pub held_for: u64,
    /// The newest exchange that has arrived.
    pub newest: u64,
    /// The exchanges that the server still holds, falling, none above `newest`; at most [`MAX_EXCHANGES`].
    pub held: Numbers,
    /// Bytes that could be sent at once, were there room.
    pub backlog: u64,
    /// The answer is streamed and this is not its end: within so many milliseconds another bundle follows.
    pub more: Option<u64>,
}

impl RequestPrefix {
    /// The most bytes that head and prefix take together, the number of messages among them.
    ///
    /// # Panics
    /// As [`encode`](super::encode) does.
    pub fn cost(&self) -> usize {
        cost(self)
    }
}

impl AnswerPrefix {
    /// The most bytes that head and prefix take together, the number of messages among them.
    ///
    /// # Panics
    /// As [`encode`](super::encode) does.
    pub fn cost(&self) -> usize {
        cost(self)
    }
}

fn cost<P: Layout>(prefix: &P) -> usize {
    // A request's own number counts only where the open exchanges are told as distances from it, and no distance is
    // longer than that from the highest number.
    let fields = Size::of(|size| prefix.put(LIMIT - 1, size));
    head_len(P::ANSWER)
        .saturating_add(fields)
        .saturating_add(varint::len(LIMIT - 1))
}

impl Layout for RequestPrefix {
    const ANSWER: bool = false;

    fn put(&self, exchange: u64, out: &mut impl Put) {
        assert!(
            self.long.is_none() || self.streamed.is_none(),
            "nothing is said of streamed answers in a long exchange"
        );
        let long = if self.long.is_some() { LONG } else { 0 };
        let streamed = if self.streamed.is_some() { STREAMED } else { 0 };
        put_opening(out, long | streamed, self.opening.as_ref(), self.echo);
        self.ack.put(out);
        out.varint(self.credit);
        out.varint(self.unread);
        out.varint(self.timer);
        let either = self.long.or(self.streamed);
        either.iter().for_each(|number| out.varint(*number));
        let newest = exchange.saturating_add(self.long.unwrap_or(0));
        put_exchanges(out, newest, &self.open);
        out.varint(self.hold);
        out.varint(self.wait);
        out.varint(self.answer_max);
        out.varint(self.backlog);
    }

    fn get(from: &mut &[u8], exchange: u64) -> Option<RequestPrefix> {
        let (opening, echo, flags) = get_opening(from, LONG | STREAMED)?;
        if flags & LONG != 0 && flags & STREAMED != 0 {
            return None;
        }
        let ack = Ack::get(from)?;
        let credit = varint::get(from)?;
        let unread = varint::get(from)?;
        let timer = varint::get(from)?;
        let long = if flags & LONG != 0 {
            Some(varint::get(from)?)
        } else {
            None
        };
        let streamed = if flags & STREAMED != 0 {
            Some(varint::get(from).filter(|below| *below <= exchange)?)
        } else {
            None
        };
        let newest = exchange.checked_add(long.unwrap_or(0));
        let newest = newest.filter(|newest| *newest < LIMIT)?;
        // "all older than this one": at least 1 below it, but for a long exchange.
        let least = u64::from(long.is_none());
        let open = get_exchanges(from, newest, least)?;
        if open.contains(&exchange) {
            return None; // "the other exchanges"
        }
        Some(RequestPrefix {
            opening,
            echo,
            ack,
            credit,
            unread,
            timer,
            long,
            streamed,
            open,
            hold: varint::get(from)?,
            wait: varint::get(from)?,
            answer_max: varint::get(from)?,
            backlog: varint::get(from)?,
        })
    }
}

impl Layout for AnswerPrefix {
    const ANSWER: bool = true;

    fn put(&self, _exchange: u64, out: &mut impl Put) {
        let read = if self.read { READ } else { 0 };
        let more = if self.more.is_some() { MORE } else { 0 };
        put_opening(out, read | more, self.opening.as_ref(), self.nonce);
        self.ack.put(out);
        out.varint(self.credit);
        out.varint(self.unread);
        out.varint(self.held_for);
        out.varint(self.newest);
        put_exchanges(out, self.newest, &self.held);
        out.varint(self.backlog);
        self.more.iter().for_each(|millis| out.varint(*millis));
    }

    fn get(from: &mut &[u8], _exchange: u64) -> Option<AnswerPrefix> {
        let (opening, nonce, flags) = get_opening(from, READ | MORE)?;
        let ack = Ack::get(from)?;
        let credit = varint::get(from)?;
        let unread = varint::get(from)?;
        let held_for = varint::get(from)?;
        let newest = varint::get(from)?;
        Some(AnswerPrefix {
            opening,
            nonce,
            read: flags & READ != 0,
            ack,
            credit,
            unread,
            held_for,
            newest,
            held: get_exchanges(from, newest, 0)?,
            backlog: varint::get(from)?,
            more: if flags & MORE != 0 {
                Some(varint::get(from)?)
            } else {
                None
            },
        })
    }
}

const OPENING: u8 = 0x01;
const NONCE: u8 = 0x02;
const READ: u8 = 0x04;
const LONG: u8 = 0x04;
const STREAMED: u8 = 0x08;
const MORE: u8 = 0x08;

/// Writes the flags, `more` among them, and what they announce.
fn put_opening(out: &mut impl Put, more: u8, opening: Option<&Params>, nonce: Option<Nonce>) {
    let opening_flag = if opening.is_some() { OPENING } else { 0 };
    let nonce_flag = if nonce.is_some() { NONCE } else { 0 };
    out.byte(more | opening_flag | nonce_flag);
    if let Some(params) = opening {
        params.put(out);
    }
    if let Some(nonce) = nonce {
        out.slice(&nonce.0.to_be_bytes());
    }
}

/// Reads the flags, of which `more` are allowed too, and what they announce.
fn get_opening(from: &mut &[u8], more: u8) -> Option<(Option<Params>, Option<Nonce>, u8)> {
    let flags = codec::byte(from)?;
    if flags & !(OPENING | NONCE | more) != 0 {
        return None;
    }
    let opening = if flags & OPENING != 0 {
        Some(Params::get(from)?)
    } else {
        None
    };
    let nonce = if flags & NONCE != 0 {
        Some(Nonce(u64::from_be_bytes(codec::array(from)?)))
    } else {
        None
    };
    Some((opening, nonce, flags))
}

impl Ack {
    fn put(&self, out: &mut impl Put) {
        assert!(
            self.ranges.len() <= MAX_RANGES,
            "an acknowledgement has at most 64 ranges"
        );
        out.varint(self.next);
        out.varint(self.ranges.len() as u64);
        let mut end = self.next;
        for range in &self.ranges {
            let first_gap = end
                .checked_add(1)
                .and_then(|least| range.start.checked_sub(least));
            let more = range
                .end
                .checked_sub(range.start)
                .and_then(|count| count.checked_sub(1));
            out.varint(first_gap.expect("ranges rise and are never adjacent"));
            out.varint(more.expect("ranges are not empty"));
            assert!(range.end <= LIMIT, "message numbers are below 2^62");
            end = range.end;
        }
    }

    fn get(from: &mut &[u8]) -> Option<Ack> {
        let next = varint::get(from)?;
        let count = codec::count(from, MAX_RANGES, 2)?;
        let mut ranges = Vec::with_capacity(count);
        let mut end = next;
        for _ in 0..count {
            let start = end.checked_add(1)?.checked_add(varint::get(from)?)?;
            end = start.checked_add(1)?.checked_add(varint::get(from)?)?;
            if end > LIMIT {
                return None;
            }
            ranges.push(start..end);
        }
        Some(Ack { next, ranges })
    }
}

/// Writes falling exchange numbers as distances from `reference` (§3.3.2).
fn put_exchanges(out: &mut impl Put, reference: u64, exchanges: &[u64]) {
    assert!(
        exchanges.len() <= MAX_EXCHANGES,
        "at most 64 exchanges are listed"
    );
    assert!(
        exchanges.is_sorted_by(|newer, older| newer > older),
        "listed exchanges fall"
    );
    out.varint(exchanges.len() as u64);
    for exchange in exchanges {
        let distance = reference.checked_sub(*exchange);
        out.varint(
            distance.expect("listed exchanges are not newer than what they are counted from"),
        );
    }
}

/// Reads what [`put_exchanges`] writes; the newest is at least `least` below `reference`.
fn get_exchanges(from: &mut &[u8], reference: u64, mut least: u64) -> Option<Numbers> {
    let count = codec::count(from, MAX_EXCHANGES, 1)?;
    let mut exchanges = Numbers::with_capacity(count);
    for _ in 0..count {
        let distance = varint::get(from).filter(|distance| *distance >= least)?;
        least = distance.checked_add(1)?;
        exchanges.push(reference.checked_sub(distance)?);
    }
    Some(exchanges)
}
