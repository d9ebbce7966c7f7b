//! The oracle (L1): what was read is a prefix of what was written; once both sides are done, they are equal.
//!
//! The bytes of a flow depend on session, stream, direction and position, so that a byte from anywhere else is
//! seen at once, and nothing written has to be kept.

use crate::pattern::first_difference;
use crate::rng::mix;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end that sends requests.
    Client,
    /// The end that answers them.
    Server,
}

impl Side {
    /// The other end.
    pub fn peer(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// One direction of one stream of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Which session, as the harness counts them.
    pub session: usize,
    /// Which stream.
    pub stream: u64,
    /// Who writes.
    pub from: Side,
}

impl FlowKey {
    /// The `len` bytes of this flow that begin at `offset`.
    pub fn bytes(self, offset: u64, len: usize) -> Bytes {
        let (seed, first) = (self.seed(), offset / 8);
        let skip = (offset % 8) as usize;
        let mut out = vec![0; (skip + len).next_multiple_of(8)];
        for (word, place) in (first..).zip(out.chunks_exact_mut(8)) {
            place.copy_from_slice(&mix(seed ^ word).to_be_bytes());
        }
        Bytes::from(out).slice(skip..skip + len)
    }

    fn seed(self) -> u64 {
        mix(mix(self.session as u64) ^ (self.stream << 1) ^ u64::from(self.from == Side::Server))
            << 24
    }
}

/// What is known of one flow.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Bytes that `write` took.
    pub written: u64,
    /// Bytes that `read` gave.
    pub read: u64,
    /// Whether the writer finished it.
    pub finished: bool,
    /// Whether the reader saw the end.
    pub ended: bool,
    /// The code with which the writer reset it.
    pub reset: Option<u32>,
    /// The code with which the reader stopped it.
    pub stopped: Option<u32>,
    /// Whether the reader saw the reset, or its session's end, before the stream's.
    pub broken: bool,
    /// The longest time from a byte's writing to its reading.
    pub worst_lag: u64,
    on_the_way: VecDeque<(u64, u64)>,
}

/// All flows of a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    flows: BTreeMap<FlowKey, Flow>,
}

impl Ledger {
    /// What is known of a flow; nothing yet, if nothing happened on it.
    pub fn flow(&self, key: FlowKey) -> Flow {
        self.flows.get(&key).cloned().unwrap_or_default()
    }

    /// All flows.
    pub fn flows(&self) -> impl Iterator<Item = (&FlowKey, &Flow)> {
        self.flows.iter()
    }

    /// So many bytes more were taken by `write`.
    pub fn wrote(&mut self, now: u64, key: FlowKey, count: usize) {
        let flow = self.entry(key);
        assert!(!flow.finished, "{key:?}: a write after the end was taken");
        flow.written += count as u64;
        flow.on_the_way.push_back((flow.written, now));
    }

    /// The writer finished.
    pub fn finished(&mut self, key: FlowKey) {
        self.entry(key).finished = true;
    }

    /// The writer reset the stream.
    pub fn reset(&mut self, key: FlowKey, code: u32) {
        self.entry(key).reset = Some(code);
    }

    /// The reader stopped the stream.
    pub fn stopped(&mut self, key: FlowKey, code: u32) {
        self.entry(key).stopped = Some(code);
    }

    /// `read` gave these bytes.
    pub fn read(&mut self, now: u64, key: FlowKey, data: &Bytes) {
        let flow = self.entry(key);
        let at = flow.read;
        assert!(!data.is_empty(), "{key:?}: an empty chunk was read at {at}");
        assert!(!flow.ended && !flow.broken, "{key:?}: bytes after the end");
        assert!(
            at + data.len() as u64 <= flow.written,
            "{key:?}: read beyond what was written, at {at}"
        );
        if let Some(i) = first_difference(data, &key.bytes(at, data.len())) {
            panic!("{key:?}: a wrong byte was read at {}", at + i as u64);
        }
        flow.read += data.len() as u64;
        while let Some(&(end, written_at)) = flow.on_the_way.front() {
            flow.worst_lag = flow.worst_lag.max(now.saturating_sub(written_at));
            if end > flow.read {
                break;
            }
            flow.on_the_way.pop_front();
        }
    }

    /// `read` gave the end.
    pub fn ended(&mut self, key: FlowKey) {
        let flow = self.entry(key);
        assert!(
            flow.finished,
            "{key:?}: ended though the writer did not finish"
        );
        assert_eq!(
            flow.read, flow.written,
            "{key:?}: ended before everything was read"
        );
        flow.ended = true;
    }

    /// `read` gave the peer's reset.
    pub fn saw_reset(&mut self, key: FlowKey, code: u32) {
        let flow = self.entry(key);
        assert_eq!(
            flow.reset,
            Some(code),
            "{key:?}: a reset that nobody sent, or with another code"
        );
        flow.broken = true;
    }

    /// The reader's session ended before the stream did.
    pub fn saw_close(&mut self, key: FlowKey) {
        self.entry(key).broken = true;
    }

    /// Panics unless every flow whose writer finished (and nobody gave up) was read to its end.
    pub fn assert_all_delivered(&self) {
        for (key, flow) in &self.flows {
            if flow.reset.is_some() || flow.stopped.is_some() {
                continue;
            }
            assert_eq!(
                flow.read, flow.written,
                "{key:?}: not everything was delivered"
            );
            assert_eq!(
                flow.ended, flow.finished,
                "{key:?}: the end was not delivered"
            );
        }
    }

    /// Bytes that were read of what this side wrote, in all sessions.
    pub fn read_from(&self, side: Side) -> u64 {
        let flows = self.flows().filter(|(key, _)| key.from == side);
        flows.map(|(_, flow)| flow.read).sum()
    }

    /// Bytes read in all.
    pub fn total_read(&self) -> u64 {
        self.flows.values().map(|flow| flow.read).sum()
    }

    /// The longest time from writing to reading, over all flows.
    pub fn worst_lag(&self) -> u64 {
        self.flows
            .values()
            .map(|flow| flow.worst_lag)
            .max()
            .unwrap_or(0)
    }

    fn entry(&mut self, key: FlowKey) -> &mut Flow {
        self.flows.entry(key).or_default()
    }
}
