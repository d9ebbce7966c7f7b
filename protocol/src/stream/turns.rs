//! Who sends next: streams in turn, keystrokes first, those without credit not at all (fairness; PROTOCOL §4.7).

use super::Streams;
use super::entry::Queue;
use super::send::SendState;
use crate::id::StreamId;
use crate::wire::{Content, Control, MAX_PAYLOAD};
use bytes::Bytes;

/// How much one stream sends before it is another's turn. Neighbouring messages of a stream are one piece to its
/// reader, so longer turns cost both sides less; shorter ones are fairer. A turn goes on in the next bundle, lest
/// whoever stands at a bundle's end have a longer one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Turn {
    of: Option<StreamId>,
    left: usize,
}

impl Turn {
    /// A stream sends so many bytes, where a turn has `length` bytes or one message, whichever is more; a turn that has begun
    /// becomes no longer. Whether its turn is over.
    fn take(&mut self, stream: StreamId, bytes: usize, length: usize) -> bool {
        if self.of.replace(stream) != Some(stream) || self.left == 0 {
            self.left = length;
        }
        self.left = self.left.min(length).saturating_sub(bytes);
        self.left == 0
    }
}

impl Streams {
    /// Invariant: the first of `fresh` and of `bulk` can be sent from, if there is one.
    pub(super) fn settle(&mut self) {
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
                let can = self.table.get(id).is_some_and(|e| {
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
                if let Some(entry) = self.table.get_mut(id) {
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
    pub(super) fn on_credit(&mut self) {
        while let Some(id) = self.no_credit.pop_front() {
            if let Some(entry) = self.table.get_mut(id) {
                entry.queue = Queue::Bulk;
                self.bulk.push_back(id);
            }
        }
        self.settle();
    }

    /// The next control message, made from the state as it is now.
    pub(crate) fn next_control(&mut self) -> Option<Control> {
        if let Some(total) = self.more_streams() {
            self.theirs_told = total;
            return Some(Control::Streams { total });
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
    /// streams that had nothing to send before; `turn`: how many bytes of one stream come before it is the next one's
    /// turn, if that is more than one message.
    pub(crate) fn next_data(&mut self, max: usize, small: bool, turn: usize) -> Option<Content> {
        while let Some(id) = self.hellos.pop_front() {
            let Some(entry) = self.table.get_mut(id).filter(|e| e.hello) else {
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
        let entry = self.table.get(id)?;
        let (hello, is_empty) = (entry.hello, entry.send.queue.is_empty());
        let allowance = usize::try_from(self.allowance(&entry.send)).unwrap_or(usize::MAX);
        let most = max.min(MAX_PAYLOAD).min(allowance);
        if most == 0 && !is_empty {
            return None;
        }
        if from_fresh {
            self.fresh.pop_front()
        } else {
            self.bulk.pop_front()
        };
        let join = self.join;
        if hello {
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
        if self.table.get(id).is_some_and(|e| e.queue == Queue::Bulk) {
            let sent = match &content {
                Some(Content::Data { payload, .. }) => payload.len(),
                Some(Content::Control(_) | Content::Void) | None => 0,
            };
            if from_fresh || self.turn.take(id, sent, turn) {
                self.bulk.push_back(id);
            } else {
                self.bulk.push_front(id);
            }
            self.settle();
        }
        content
    }

    /// How many streams take turns now.
    pub(crate) fn in_turn(&self) -> usize {
        self.bulk.len()
    }

    /// About how many bytes could be sent now; exact as to none.
    pub(crate) fn sendable(&self) -> u64 {
        // Asked some ten times for each message, and mostly there is nothing.
        if self.fresh.is_empty() && self.bulk.is_empty() {
            return 0;
        }
        let mut bytes = 0;
        for queue in [&self.fresh, &self.bulk] {
            for id in queue.iter().take(16) {
                let send = self.table.get(*id).map(|e| &e.send);
                bytes += send.map_or(0, |send| match send.queue.len() {
                    0 => 1,
                    waiting => waiting.min(self.allowance(send)),
                });
            }
        }
        bytes
    }

    /// How many messages could be sent now, each write being one (classic mode).
    pub(crate) fn sendable_messages(&self) -> usize {
        let waiting = self
            .fresh
            .iter()
            .chain(&self.bulk)
            .filter_map(|id| self.table.get(*id));
        waiting.map(|e| e.send.queue.pieces().max(1)).sum()
    }

    /// Whether a stream that had nothing to send before has something now.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Whether a control message is a reason for a bundle by itself.
    pub(crate) fn is_urgent(&self) -> bool {
        let awaited = self.theirs >= self.theirs_told && self.more_streams().is_some();
        self.urgent > 0 || awaited
    }

    /// How many streams the peer may open now, if it is to be told: when half of what it may have open has ended, and
    /// as soon as any has if it has opened all it may.
    fn more_streams(&self) -> Option<u64> {
        let total = self.theirs_ended + self.theirs_most;
        let more = total.saturating_sub(self.theirs_told);
        let is_stuck = self.theirs >= self.theirs_told;
        (more > 0 && (is_stuck || more * 2 >= self.theirs_most)).then_some(total)
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
        let mut fresh = self.fresh.iter().filter_map(|id| self.table.get(*id));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_has_begun_is_shortened_by_who_comes_meanwhile_and_never_lengthened() {
        let (one, other) = (StreamId(0), StreamId(2));
        let mut turn = Turn::default();
        assert!(!turn.take(one, 1_000, 64_000));
        assert!(!turn.take(one, 1_000, 2_000));
        assert!(!turn.take(one, 500, 64_000));
        assert!(turn.take(one, 500, 64_000));
        assert!(!turn.take(one, 1_000, 64_000), "the next one is whole");
        assert!(turn.take(other, 5_000, 4_000), "one message at least");
    }
}
