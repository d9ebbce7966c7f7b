//! What goes into a bundle, and when there is something to say (A1, A3, S3, S14).

use super::{Room, Session};
use crate::config::BODY_MIN;
use crate::time::{Instant, first};
use crate::wire::bundle::encode_in;
use crate::wire::{Chain, Content, Control, MAX_PAYLOAD, Message, Prefix};
use alloc::vec::Vec;
use core::time::Duration;

/// Room kept for control messages before anything is sent again.
const CONTROL_ROOM: usize = 512;

/// The most that a data message needs beside its payload: kind, number, stream, offset, length.
const DATA_HEADER: usize = 1 + 8 + 8 + 8 + 4;

/// Data is not cut into pieces smaller than this only because a bundle is nearly full.
const CRUMB: usize = 1024;

/// So many streams at least get their turn in a full bundle. With three, each one's piece is more than the quarter of
/// the body below which the receiver copies it (§6.3.3).
const TURNS: usize = 3;

/// Where the way carries more, turns are as long as lets each stream have one within this part of a second: fewer, larger
/// pieces cost both ends less. But no longer than so many bytes, of which a rate that was measured wrongly makes none.
const ROUNDS: u64 = 200;
const LONGEST_TURN: usize = 1 << 20;

/// In a long exchange an acknowledgement costs no exchange, and by how soon it comes the sender learns what the wire
/// carries: owed for so long at most, or for so many bytes.
const LONG_ACK: Duration = Duration::from_millis(20);
const LONG_ACK_BYTES: u64 = 1 << 20;

/// A list of so many messages is kept for the next bundle.
const KEPT: usize = 64;
impl Session {
    /// The number of the next bundle; no number is given twice.
    pub(crate) fn next_bundle(&mut self) -> u64 {
        self.bundles += 1;
        self.bundles - 1
    }

    /// Takes what goes into a bundle of `exchange`: first what goes again, then what is to be said, then new bytes
    /// of the streams in turn (fairness). The list is to be given back.
    pub(crate) fn fill(&mut self, exchange: u64, sent_at: Instant, room: Room) -> Vec<Message> {
        let most = usize::from(self.config.bundle_messages);
        let mut left = self.small_enough(room.bytes);
        let mut messages = core::mem::take(&mut self.messages);
        if room.long {
            self.outbox.begin_long(exchange, sent_at);
        } else {
            self.outbox.begin(exchange, sent_at);
        }
        while messages.len() < most {
            let Some(message) =
                self.outbox
                    .take(exchange, self.now, left.saturating_sub(CONTROL_ROOM))
            else {
                break;
            };
            left = left.saturating_sub(message.cost());
            messages.push(message);
        }
        while messages.len() < most && left >= CONTROL_ROOM && !self.outbox.is_full() {
            let Some(control) = self.next_control() else {
                break;
            };
            let message = self.outbox.number(exchange, Content::Control(control));
            left = left.saturating_sub(message.cost());
            messages.push(message);
        }
        let sendable = usize::try_from(self.streams.sendable()).unwrap_or(left);
        messages.reserve(left.min(sendable).div_ceil(MAX_PAYLOAD));
        let turn = self.turn(left);
        while messages.len() < most && left > 0 && self.may_number() {
            let max = left.saturating_sub(DATA_HEADER);
            // Nothing is cut for the sake of a bundle's last bytes.
            if max < CRUMB.min(MAX_PAYLOAD) && !messages.is_empty() {
                break;
            }
            let Some(content) = self.streams.next_data(max, room.small, turn) else {
                break;
            };
            let message = self.outbox.number(exchange, content);
            left = left.saturating_sub(message.cost());
            messages.push(message);
        }
        if messages.len() < most
            && left >= CONTROL_ROOM
            && self.is_close_due()
            && let Some((code, reason)) = self.ending.on_sent(self.outbox.next_number())
        {
            messages.push(
                self.outbox
                    .number(exchange, Content::Control(Control::Close { code, reason })),
            );
        }
        self.outbox.end(exchange);
        self.inbox.on_ack_sent();
        self.stamp();
        messages
    }

    /// How much of a bundle is filled. What was lost more than once goes again in ever smaller ones: perhaps something on
    /// the way ends what is large, and nobody has learned yet how large.
    fn small_enough(&self, room: usize) -> usize {
        let lost = self.outbox.losses(self.now);
        if lost < 2 || !self.config.learning {
            return room;
        }
        (room >> (lost - 1).min(16))
            .max(BODY_MIN as usize)
            .min(room)
    }

    /// How many bytes of one stream come before it is another's turn, with so much room in the bundle.
    fn turn(&self, left: usize) -> usize {
        if self.config.classic {
            return 0;
        }
        let streams = self.streams.in_turn().max(1) as u64;
        let carried = usize::try_from(self.rate / ROUNDS / streams).unwrap_or(usize::MAX);
        (left / TURNS).max(carried.min(LONGEST_TURN))
    }

    /// The bytes of a bundle.
    pub(crate) fn encode<P: Prefix>(
        &mut self,
        exchange: u64,
        bundle: u64,
        prefix: &P,
        messages: &[Message],
    ) -> Chain {
        encode_in(
            &mut self.memory,
            &self.id,
            exchange,
            bundle,
            prefix,
            messages,
        )
    }

    /// Keeps the list that `fill` gave for the next bundle, if it is no longer than most are.
    pub(crate) fn give_back(&mut self, mut messages: Vec<Message>) {
        messages.clear();
        if messages.capacity() <= KEPT {
            self.messages = messages;
        }
    }

    /// Whether something new may be sent: not after CLOSE, nor while too much is unacknowledged.
    pub(crate) fn may_number(&self) -> bool {
        !self.ending.is_sent() && !self.outbox.is_full()
    }

    fn next_control(&mut self) -> Option<Control> {
        if self.ending.is_sent() {
            None
        } else {
            self.streams.next_control()
        }
    }

    /// Whether CLOSE is to be sent: it was asked for and nothing else is left to be sent. What nobody wants any more, as after
    /// the peer's CLOSE, is left nowhere.
    fn is_close_due(&self) -> bool {
        let ending = &self.ending;
        // Whoever may be a copy is not told that all is over: its data has not reached the application yet (A8).
        ending.is_wanted()
            && (!ending.unvouched || ending.dying.is_some())
            && !self.streams.has_unsent()
    }

    /// When there is something to say (A1, A3): only this opens or answers an exchange early. `worth`: how many
    /// bytes make a bundle of their own. `room`: what would fit; what would not is not waiting.
    pub(crate) fn speak_at(&self, worth: u64, room: Room) -> Option<Instant> {
        let (now, config) = (self.now, &self.config);
        let sendable = if room.small && !self.streams.has_fresh() {
            0
        } else {
            self.streams.sendable()
        };
        let soon = (self.streams.is_urgent() && self.may_number()) || self.is_close_due();
        let data = (sendable > 0 && self.may_number()).then(|| {
            let at_once = self.outbox.is_empty() || sendable >= worth || self.streams.has_prompt();
            self.waiting_since.unwrap_or(now).after(if at_once {
                Duration::ZERO
            } else {
                self.gather
            })
        });
        let again = self
            .outbox
            .again_at(now, room.bytes.saturating_sub(CONTROL_ROOM));
        let owed = if room.long {
            self.owed_soon_at()
        } else {
            self.inbox.owed_at(config.ack_delay, config.pool / 4)
        };
        let lazy = (self.streams.is_lazy() && self.may_number()).then(|| {
            let delay = if self.streams.has_hello() {
                self.gather
            } else {
                config.ack_delay
            };
            self.lazy_since.unwrap_or(now).after(delay)
        });
        first(&[soon.then_some(now), data, again, owed, lazy])
    }

    /// When an acknowledgement is owed of what comes in a long exchange.
    pub(crate) fn owed_soon_at(&self) -> Option<Instant> {
        let bytes = LONG_ACK_BYTES.min(self.config.pool / 4);
        self.inbox
            .owed_at(LONG_ACK.min(self.config.ack_delay), bytes)
    }

    /// A round trip on the empty wire takes this long.
    pub(crate) fn on_round_trip(&mut self, least: Duration) {
        self.gather = self.config.gather.min(least / 2);
    }

    /// The way to the peer carries so many bytes a second; 0: that is not known any more.
    pub(crate) fn on_rate(&mut self, rate: u64) {
        if self.config.learning {
            self.rate = rate;
        }
    }

    /// Bytes that could be sent now.
    pub(crate) fn backlog(&self) -> u64 {
        let new = if self.may_number() {
            self.streams.sendable()
        } else {
            0
        };
        new + self.outbox.due_bytes(self.now)
    }
}
