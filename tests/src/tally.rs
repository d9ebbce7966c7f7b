//! What went over the wire, counted: exchanges, bytes, and the copies of each message (L5).

use crate::oracle::Side;
use bytes::Bytes;
use posthole_protocol::SessionId;
use posthole_protocol::wire::{AnswerPrefix, Bundle, Decoded, RequestPrefix, decode};
use std::collections::BTreeMap;
use std::ops::Range;

/// How often one message travelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// In how many requests or answers it was put.
    pub sent: u64,
    /// How many of those came to nothing, as far as the network can say.
    pub lost: u64,
}

/// What was counted for one session and direction.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Requests or answers.
    pub bodies: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that came to nothing.
    pub lost: u64,
    /// Each message by its number.
    pub messages: BTreeMap<u64, Copies>,
}

/// Everything counted in a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    ways: BTreeMap<(usize, Side), Way>,
    /// So many more copies of a message are excused than L5 says: one each time that a clock has jumped forward, as all that
    /// was under way looked overdue then; some where a box makes requests wait.
    pub excused: u64,
}

impl Tally {
    /// What was counted of the bodies that `from` sent in a client's session.
    pub fn way(&self, client: usize, from: Side) -> Way {
        self.ways.get(&(client, from)).cloned().unwrap_or_default()
    }

    /// Exchanges begun in a client's session.
    pub fn exchanges(&self, client: usize) -> u64 {
        self.ways
            .get(&(client, Side::Client))
            .map_or(0, |way| way.bodies)
    }

    /// Exchanges begun in all sessions.
    pub fn all_exchanges(&self) -> u64 {
        self.ways
            .iter()
            .filter(|((_, side), _)| *side == Side::Client)
            .map(|(_, way)| way.bodies)
            .sum()
    }

    /// Copies beyond the first, over all messages of one direction.
    pub fn repeats(&self, client: usize, from: Side) -> u64 {
        let Some(way) = self.ways.get(&(client, from)) else {
            return 0;
        };
        way.messages.values().map(|copies| copies.sent - 1).sum()
    }

    /// Counts a body that `from` sends.
    ///
    /// # Panics
    /// If a message is sent more than 2 + (lost exchanges that carried it) times (L5); each jump of a clock excuses one.
    pub(crate) fn sent(&mut self, client: usize, from: Side, size: usize, numbers: &[Range<u64>]) {
        let way = self.ways.entry((client, from)).or_default();
        way.bodies += 1;
        way.bytes += size as u64;
        for number in numbers.iter().cloned().flatten() {
            let copies = way.messages.entry(number).or_default();
            copies.sent += 1;
            assert!(
                copies.sent <= 2 + copies.lost + self.excused,
                "L5: client {client}, from {from:?}: message {number} goes for the {}th time, {} were lost, {} more excused",
                copies.sent,
                copies.lost,
                self.excused,
            );
        }
    }

    /// Counts that a body of `from` came to nothing.
    pub(crate) fn lost(&mut self, client: usize, from: Side, numbers: &[Range<u64>]) {
        let way = self.ways.entry((client, from)).or_default();
        way.lost += 1;
        for number in numbers.iter().cloned().flatten() {
            way.messages.entry(number).or_default().lost += 1;
        }
    }
}

/// The numbers of the messages that a request carries.
pub fn numbers_up(id: &SessionId, body: &Bytes) -> Vec<Range<u64>> {
    requests(id, body).into_iter().flat_map(numbers).collect()
}

/// The numbers of the messages that an answer carries.
pub fn numbers_down(id: &SessionId, exchange: u64, body: &Bytes) -> Vec<Range<u64>> {
    answers(id, exchange, body)
        .into_iter()
        .flat_map(numbers)
        .collect()
}

/// The session's own bundles in a request, up to the first that can't be read.
pub fn requests(id: &SessionId, body: &Bytes) -> Vec<Decoded<RequestPrefix>> {
    let mut rest = body.clone();
    let mut found = Vec::new();
    while let Some(Ok(Bundle::Session(bundle))) = decode::<RequestPrefix>(&mut rest, id, None) {
        found.push(bundle);
    }
    found
}

/// The session's own bundles in an answer, up to the first that can't be read or is a refusal.
pub fn answers(id: &SessionId, exchange: u64, body: &Bytes) -> Vec<Decoded<AnswerPrefix>> {
    let mut rest = body.clone();
    let mut found = Vec::new();
    while let Some(Ok(Bundle::Session(bundle))) =
        decode::<AnswerPrefix>(&mut rest, id, Some(exchange))
    {
        found.push(bundle);
    }
    found
}

fn numbers<P>(bundle: Decoded<P>) -> Vec<Range<u64>> {
    // A run of joined data messages is one item that names its first number and how many there are.
    bundle
        .messages
        .map(|(count, message)| message.number..message.number + count)
        .collect()
}
