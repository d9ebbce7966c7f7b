//! The exchanges that a server holds, and which it has seen (A6, A14, A21).

use crate::id::RequestId;
use crate::pace::Pace;
use crate::time::Instant;
use crate::wire::Numbers;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use smallvec::SmallVec;

/// How far behind the newest an exchange may be. There is no bound ahead of it: numbers burn while nothing comes
/// through (A6).
const WINDOW: u64 = 64;

/// Copies of one request that get its answer.
const COPIES: usize = 2;

/// Answers of which a failure to write them is still understood.
const ANSWERED: usize = 64;

/// Why an exchange is answered without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AtOnce {
    No,
    /// It opens the session: its sender has nothing yet, so it waits for a reply to ride on it, but not long (A7).
    Grace,
    /// With whatever there is.
    Data,
    /// Nobody listens: with nothing.
    Empty,
}

/// One exchange that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) number: u64,
    /// The HTTP requests that carry it: one, or two copies.
    pub(crate) requests: SmallVec<[RequestId; COPIES]>,
    pub(crate) arrived_at: Instant,
    pub(crate) wait: Duration,
    pub(crate) answer_max: usize,
    /// Its request brought more than one message holds, so that no reply of the application's is likely to it, and
    /// the client may have no other exchange for what follows.
    pub(crate) is_bulk: bool,
    pub(crate) at_once: AtOnce,
    /// It is a long one: it stays when it was answered. `arrived_at` is then when its sender was last heard.
    pub(crate) long: Option<Long>,
}

/// What a long exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A connection, on which its client speaks as well.
    Duplex,
    /// The streamed answer to one request. Not `heard` until another request says that it comes through piece by
    /// piece: till then it carries nothing.
    Streamed { heard: bool },
}

/// What more is known of a long exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Long {
    pub(crate) kind: Kind,
    /// A bundle was handed out that has not been written yet.
    pub(crate) busy: bool,
    /// What was said in it is late: it may be dead.
    pub(crate) doubted: bool,
    /// When something was last said in it, and within which time something more is to be.
    pub(crate) said_at: Instant,
    pub(crate) within: Duration,
    pub(crate) pace: Pace,
}

/// What became of a copy of a held request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The one whose place it has taken: nobody waits for that.
    pub(crate) replaced: Option<RequestId>,
    /// What the answer has carried so far went to that one.
    pub(crate) streamed: bool,
}

/// What a request is to this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    /// New, and a newer request does not list it.
    Unlisted,
    Held,
    Answered,
}

/// Invariant: `held` rises in number, none above `newest`; bit n of `seen` is exchange `newest - 1 - n`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Exchanges {
    held: Vec<Held>,
    newest: Option<u64>,
    seen: u64,
    /// What the newest request says is open.
    listed: Numbers,
    answered: VecDeque<(RequestId, u64)>,
}

impl Exchanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Every moment that is kept here, for `rebase`.
    pub(crate) fn instants(&mut self, visit: &mut dyn FnMut(&mut Instant)) {
        for held in &mut self.held {
            visit(&mut held.arrived_at);
            if let Some(long) = &mut held.long {
                visit(&mut long.said_at);
                long.pace.instants(visit);
            }
        }
    }

    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    pub(crate) fn newest(&self) -> u64 {
        self.newest.unwrap_or(0)
    }

    /// The long exchange that this request began, if it is still held.
    pub(crate) fn long(&mut self, request: RequestId) -> Option<&mut Held> {
        let mut held = self.held.iter_mut();
        held.find(|h| h.long.is_some() && h.requests.contains(&request))
    }

    /// The number of the connection that this request began, if that is still there.
    pub(crate) fn duplex(&self, request: RequestId) -> Option<u64> {
        let mut held = self.held.iter();
        let held = held.find(|h| h.is_duplex() && h.requests.contains(&request))?;
        Some(held.number)
    }

    pub(crate) fn is_duplex(&self, request: RequestId) -> bool {
        self.duplex(request).is_some()
    }

    /// Whether this number is that of a connection, and may not come by another request; nor may a connection take that
    /// of a request.
    pub(crate) fn is_anothers(&self, number: u64, duplex: bool) -> bool {
        let mut held = self.held.iter();
        held.any(|h| h.number == number && (duplex || h.is_duplex()))
    }

    /// The exchange whose answer is streamed, if there is one. The newest: a client has one at most.
    pub(crate) fn streamed(&mut self) -> Option<&mut Held> {
        let mut held = self.held.iter_mut().rev();
        held.find(|h| h.heard().is_some())
    }

    /// A long exchange by its number.
    pub(crate) fn long_numbered(&mut self, number: u64) -> Option<&mut Long> {
        let held = self.held.iter_mut().find(|h| h.number == number)?;
        held.long.as_mut()
    }

    /// The numbers of those held but `own`, newest first, as an answer lists them.
    pub(crate) fn list(&self, own: Option<u64>) -> Numbers {
        self.held
            .iter()
            .filter(|h| Some(h.number) != own)
            .rev()
            .take(WINDOW as usize)
            .map(|h| h.number)
            .collect()
    }

    /// Whether this is too far behind to be judged. What the newest request lists is not, however slow it was.
    pub(crate) fn is_too_old(&self, number: u64) -> bool {
        self.newest
            .is_some_and(|newest| number.saturating_add(WINDOW) < newest)
            && !self.listed.contains(&number)
    }

    /// Notes that a request has arrived, and says what it is.
    pub(crate) fn on_arrival(&mut self, number: u64) -> Arrival {
        if self.held.iter().any(|h| h.number == number) {
            return Arrival::Held;
        }
        let Some(newest) = self.newest else {
            self.newest = Some(number);
            return Arrival::New;
        };
        if number > newest {
            let by = number - newest;
            let shifted = self
                .seen
                .checked_shl(u32::try_from(by).unwrap_or(u32::MAX))
                .unwrap_or(0);
            self.seen = shifted
                | 1u64
                    .checked_shl(u32::try_from(by - 1).unwrap_or(u32::MAX))
                    .unwrap_or(0);
            self.newest = Some(number);
            return Arrival::New;
        }
        let bit = if number == newest {
            None
        } else {
            1u64.checked_shl((newest - number - 1) as u32)
        };
        match bit {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                if self.listed.contains(&number) {
                    Arrival::New
                } else {
                    Arrival::Unlisted
                }
            }
            _ => Arrival::Answered,
        }
    }

    /// What the newest request says: those not in its list are not waited for.
    pub(crate) fn on_newest(&mut self, number: u64, listed: &[u64]) {
        self.listed = Numbers::from_slice(listed);
        for held in self
            .held
            .iter_mut()
            .filter(|h| h.number < number && !listed.contains(&h.number))
        {
            held.at_once = AtOnce::Empty;
        }
    }

    pub(crate) fn hold(&mut self, held: Held) {
        let at = self.held.partition_point(|h| h.number < held.number);
        self.held.insert(at, held);
    }

    /// Adds a copy of a held request. A streamed answer goes to the newest alone, and begins anew.
    pub(crate) fn add_copy(&mut self, number: u64, request: RequestId) -> Copied {
        let Some(held) = self.held.iter_mut().find(|h| h.number == number) else {
            return Copied::default();
        };
        held.requests.push(request);
        let streamed = held.heard().is_some();
        if streamed && let Some(long) = &mut held.long {
            (long.busy, long.kind) = (false, Kind::Streamed { heard: false });
            held.at_once = held.at_once.max(AtOnce::Data);
        }
        let most = if streamed { 1 } else { COPIES };
        Copied {
            replaced: (held.requests.len() > most).then(|| held.requests.remove(0)),
            streamed,
        }
    }

    /// What is held under this number, if it stays when it is answered.
    pub(crate) fn stays(&self, number: u64) -> Option<Held> {
        let held = self.held.iter().find(|h| h.number == number)?;
        let stays = held.long.is_some() && held.at_once != AtOnce::Empty;
        stays.then(|| held.clone())
    }

    /// A bundle of a long exchange was handed out, to be followed by another `within` this time. `alone`: nothing else of
    /// it was under way.
    pub(crate) fn on_said(&mut self, number: u64, now: Instant, within: Duration, alone: bool) {
        let Some(held) = self.held.iter_mut().find(|h| h.number == number) else {
            return;
        };
        held.at_once = AtOnce::No;
        if let Some(long) = &mut held.long {
            (long.busy, long.said_at, long.within) = (true, now, within);
            if alone {
                long.pace.on_first(now);
            }
        }
    }

    pub(crate) fn take(&mut self, number: u64) -> Option<Held> {
        let at = self.held.iter().position(|h| h.number == number)?;
        Some(self.held.remove(at))
    }

    pub(crate) fn on_answered(&mut self, request: RequestId, number: u64) {
        if self.answered.len() >= ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back((request, number));
    }

    /// A request's sender has gone. Gives the exchange whose answer is lost by that, if it had been answered, and to
    /// nobody else.
    pub(crate) fn on_hangup(&mut self, request: RequestId) -> Option<u64> {
        let long = self.long(request).map(|held| held.number);
        for held in &mut self.held {
            held.requests.retain(|r| *r != request);
        }
        if let Some(number) = long {
            self.held.retain(|h| h.number != number);
            return Some(number);
        }
        self.held.retain(|h| !h.requests.is_empty());
        let at = self.answered.iter().position(|(r, _)| *r == request)?;
        let (_, number) = self.answered.remove(at)?;
        self.answered
            .iter()
            .all(|(_, other)| *other != number)
            .then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a6_the_window_bounds_only_the_past() {
        let mut e = Exchanges::default();
        assert_eq!(e.on_arrival(9), Arrival::New);
        assert_eq!(e.on_arrival(1 << 40), Arrival::New);
        assert!(e.is_too_old(9));
        assert!(!e.is_too_old((1 << 40) - 64));
        assert_eq!(e.on_arrival((1 << 40) - 64), Arrival::Unlisted);
        assert_eq!(e.on_arrival((1 << 40) - 64), Arrival::Answered);
        assert_eq!(e.on_arrival(1 << 40), Arrival::Answered);
    }

    #[test]
    fn every_number_is_new_once() {
        let mut e = Exchanges::default();
        let order = [3u64, 1, 2, 70, 69, 7, 6, 71];
        for n in order {
            assert!(
                matches!(e.on_arrival(n), Arrival::New | Arrival::Unlisted),
                "{n}"
            );
        }
        for n in order
            .into_iter()
            .filter(|n| !e.is_too_old(*n))
            .collect::<Vec<_>>()
        {
            assert_eq!(e.on_arrival(n), Arrival::Answered, "{n}");
        }
    }

    #[test]
    fn a14_a_newer_request_drops_what_it_does_not_list() {
        let mut e = Exchanges::default();
        for number in [0, 1, 2] {
            e.on_arrival(number);
            let requests = [RequestId::new(number)].into_iter().collect();
            let (arrived_at, wait) = (Instant::ZERO, Duration::ZERO);
            e.hold(Held {
                number,
                requests,
                arrived_at,
                wait,
                answer_max: 0,
                is_bulk: false,
                at_once: AtOnce::No,
                long: None,
            });
        }
        e.on_newest(2, &[1]);
        assert_eq!(
            e.held().iter().map(|h| h.at_once).collect::<Vec<_>>(),
            [AtOnce::Empty, AtOnce::No, AtOnce::No]
        );
    }

    #[test]
    fn c6_only_the_last_answers_are_remembered() {
        let mut e = Exchanges::default();
        for n in 0..10_000 {
            e.on_answered(RequestId::new(n), n);
        }
        assert_eq!(e.answered.len(), ANSWERED);
        assert_eq!(e.on_hangup(RequestId::new(9_999)), Some(9_999));
    }

    #[test]
    fn a21_an_answer_is_lost_when_no_copy_of_its_request_is_left() {
        let mut e = Exchanges::default();
        e.on_answered(RequestId::new(1), 7);
        e.on_answered(RequestId::new(2), 7);
        e.on_answered(RequestId::new(3), 8);
        assert_eq!(e.on_hangup(RequestId::new(4)), None);
        assert_eq!(e.on_hangup(RequestId::new(3)), Some(8));
        assert_eq!(e.on_hangup(RequestId::new(1)), None);
        assert_eq!(e.on_hangup(RequestId::new(1)), None);
        assert_eq!(e.on_hangup(RequestId::new(2)), Some(7));
    }
}
