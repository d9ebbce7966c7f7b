//! One end of a session: a machine and the applications on its streams.

use crate::app::{Script, Talker};
use crate::oracle::{FlowKey, Ledger, Side};
use posthole_protocol::{Client, CloseReason, Event, Instant, OpenError, Server, Stream, StreamId};
use std::collections::{BTreeMap, VecDeque};

/// What both roles offer, so that an application need not know at which end it is.
pub trait Machine {
    /// As the machine's.
    fn feed_timeout(&mut self, now: Instant);
    /// As the machine's.
    fn next_timeout(&self) -> Option<Instant>;
    /// As the machine's.
    fn poll_event(&mut self) -> Option<Event>;
    /// As the machine's.
    fn open(&mut self) -> Result<StreamId, OpenError>;
    /// As the machine's.
    fn accept(&mut self) -> Option<StreamId>;
    /// As the machine's.
    fn stream(&mut self, id: StreamId) -> Option<Stream<'_>>;
    /// Whether no stream can be had any more.
    fn is_closed(&mut self) -> bool {
        matches!(self.open(), Err(OpenError::Closed))
    }
}

/// Tells a machine that a bundle has been written, and checks that what it said of the time after that was true: an embedder
/// that takes it at its word leaves this out until then.
pub fn written<M: Machine>(
    machine: &mut M,
    now: Instant,
    follows_at: Option<Instant>,
    feed: impl FnOnce(&mut M),
) {
    let before = machine.next_timeout();
    feed(machine);
    if follows_at.is_some_and(|at| at <= now) {
        return;
    }
    let said = [before, follows_at].into_iter().flatten().min();
    let is = machine.next_timeout();
    // To be asked too early does no harm.
    let is_late = is.is_some_and(|is| said.is_none_or(|said| said > is.max(now)));
    assert!(!is_late, "at {now:?}: said {said:?}, is {is:?}");
}

macro_rules! machine {
    ($role:ty) => {
        impl Machine for $role {
            fn feed_timeout(&mut self, now: Instant) {
                <$role>::feed_timeout(self, now);
            }
            fn next_timeout(&self) -> Option<Instant> {
                <$role>::next_timeout(self)
            }
            fn poll_event(&mut self) -> Option<Event> {
                <$role>::poll_event(self)
            }
            fn open(&mut self) -> Result<StreamId, OpenError> {
                <$role>::open(self)
            }
            fn accept(&mut self) -> Option<StreamId> {
                <$role>::accept(self)
            }
            fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
                <$role>::stream(self, id)
            }
        }
    };
}
machine!(Client);
machine!(Server);

/// A machine with its applications.
#[derive(Clone, Debug)]
pub struct End<M> {
    /// The machine.
    pub machine: M,
    /// Which side it is.
    pub side: Side,
    /// Which session, as the harness counts them.
    pub session: usize,
    /// The applications of the streams.
    pub talkers: BTreeMap<StreamId, Talker>,
    /// What to do with streams that the peer opens; `None`: leave them to the test.
    pub on_accept: Option<Script>,
    /// Every event but `Readable`, `Writable` and `Incoming`, in order.
    pub events: Vec<Event>,
    /// How the session ended.
    pub closed: Option<CloseReason>,
    /// Until when this end neither hears nor acts: a laptop that sleeps.
    pub asleep_until: u64,
    /// Scripts for which no stream could be had yet.
    waiting: VecDeque<Script>,
    may_open: bool,
    may_accept: bool,
}

/// How many events in a row are an endless stream of them.
const MANY_EVENTS: usize = 100_000;

impl<M: Machine> End<M> {
    /// A machine that nobody uses yet.
    pub fn new(machine: M, side: Side, session: usize) -> End<M> {
        End {
            machine,
            side,
            session,
            talkers: BTreeMap::new(),
            on_accept: None,
            events: Vec::new(),
            closed: None,
            asleep_until: 0,
            waiting: VecDeque::new(),
            may_open: true,
            may_accept: false,
        }
    }

    /// The flow that this end writes on a stream.
    pub fn out(&self, stream: StreamId) -> FlowKey {
        FlowKey {
            session: self.session,
            stream: stream.number(),
            from: self.side,
        }
    }

    /// Opens a stream and plays the script on it, as soon as the peer allows.
    pub fn play(&mut self, script: Script) {
        self.waiting.push_back(script);
    }

    /// Whether nobody has anything left to do.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.talkers.values().all(Talker::is_done)
    }

    /// When an application wants to act though nothing happens.
    pub fn wake(&self) -> Option<u64> {
        let opening =
            (self.may_open && !self.waiting.is_empty() && self.closed.is_none()).then_some(0);
        let talking = self.talkers.values().filter_map(Talker::wake).min();
        [opening, talking].into_iter().flatten().min()
    }

    /// Takes all events and lets the applications act. Whether anything came of it.
    pub fn pump(&mut self, now: u64, ledger: &mut Ledger) -> bool {
        let mut did = false;
        for count in 0.. {
            assert!(count < MANY_EVENTS, "events without end (L6)");
            let Some(event) = self.machine.poll_event() else {
                break;
            };
            self.on_event(event);
            did = true;
        }
        did |= self.open_waiting();
        did |= self.accept_all();
        for talker in self.talkers.values_mut() {
            did |= talker.step(now, &mut self.machine, ledger);
        }
        did
    }

    fn on_event(&mut self, event: Event) {
        assert!(
            self.closed.is_none(),
            "C7: an event after Closed: {event:?}"
        );
        match &event {
            Event::Readable(id) => {
                if let Some(talker) = self.talkers.get_mut(id) {
                    talker.on_readable();
                }
                return;
            }
            Event::Writable(id) => {
                if let Some(talker) = self.talkers.get_mut(id) {
                    talker.on_writable();
                }
                return;
            }
            Event::Incoming => {
                self.may_accept = true;
                return;
            }
            Event::CanOpen => self.may_open = true,
            Event::Finished(id) => {
                if let Some(talker) = self.talkers.get_mut(id) {
                    assert!(!talker.told_finished, "{id} finished twice");
                    talker.told_finished = true;
                }
            }
            Event::Closed(reason) => {
                self.closed = Some(reason.clone());
                for talker in self.talkers.values_mut() {
                    talker.on_readable();
                    talker.on_writable();
                }
            }
            Event::Connected | _ => {}
        }
        self.events.push(event);
    }

    fn open_waiting(&mut self) -> bool {
        let mut did = false;
        while let Some(&script) = self.waiting.front().filter(|_| self.may_open) {
            match self.machine.open() {
                Ok(id) => {
                    self.waiting.pop_front();
                    self.talkers
                        .insert(id, Talker::new(script, id, self.out(id)));
                    did = true;
                }
                Err(_) => self.may_open = false,
            }
        }
        did
    }

    fn accept_all(&mut self) -> bool {
        let Some(script) = self.on_accept.filter(|_| self.may_accept) else {
            return false;
        };
        self.may_accept = false;
        let mut did = false;
        while let Some(id) = self.machine.accept() {
            let talker = Talker::new(script, id, self.out(id));
            assert!(
                self.talkers.insert(id, talker).is_none(),
                "{id} was given twice"
            );
            did = true;
        }
        did
    }
}
