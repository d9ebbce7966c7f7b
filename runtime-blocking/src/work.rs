//! What a core had to say, to be done once its lock is released.

use crate::driver::Shared;
use crate::front::{Reply, Responder};
use crate::lanes::{Job, Slot};
use crate::machine::Machine;
use crate::path::News;
use crate::timer;
use posthole_protocol::{CloseReason, ExchangeId, Failure};
use std::sync::{Arc, Condvar};

/// What is to be done once the lock is released.
#[derive(Default)]
pub(crate) struct Work {
    /// Readers and writers whose streams have news.
    pub(crate) wakes: Vec<Arc<Condvar>>,
    /// Who waits to open a stream is to be woken.
    pub(crate) room: bool,
    /// Who waits to accept a stream.
    pub(crate) incoming: bool,
    /// Who waits for the session's beginning or end.
    pub(crate) milestone: bool,
    pub(crate) replies: Vec<(Box<dyn Responder>, Reply)>,
    pub(crate) cancelled: Vec<(Arc<Slot>, ExchangeId)>,
    pub(crate) jobs: Vec<Job>,
    /// Idle lanes that are needed no longer.
    pub(crate) ended: Vec<Arc<Slot>>,
    /// The session can be accepted.
    pub(crate) announce: bool,
    /// It has ended.
    pub(crate) closed: Option<CloseReason>,
    /// And nobody is owed an answer: the router may forget it.
    pub(crate) over: bool,
    pub(crate) path: Option<News>,
}

impl Work {
    pub(crate) fn perform(mut self, shared: &Arc<Shared>) {
        while let Some(again) = self.perform_once(shared) {
            self = again;
        }
    }

    /// `Some`: exchanges for which there was no thread have failed, and the core has something to say to that.
    fn perform_once(self, shared: &Arc<Shared>) -> Option<Work> {
        for waiting in self.wakes {
            waiting.notify_all();
        }
        for (responder, reply) in self.replies {
            responder.respond(reply);
        }
        let mut stranded = Vec::new();
        for job in self.jobs {
            stranded.extend(job.start(shared).err());
        }
        for (slot, exchange) in self.cancelled {
            slot.cancel(exchange);
        }
        if self.milestone {
            shared.milestone.notify_all();
        }
        if self.incoming {
            shared.incoming.notify_all();
        }
        if self.room {
            shared.room.notify_all();
        }
        for slot in self.ended {
            slot.end();
        }
        if let Some(news) = self.path {
            news.tell();
        }
        if let Some(reason) = self.closed {
            tracing::debug!(session = shared.key(), %reason, "session ended");
        }
        if let Some(home) = &shared.home {
            if self.announce {
                home.announce(shared);
            }
            if self.over {
                home.ended(shared);
            }
        }
        if stranded.is_empty() {
            return None;
        }
        let mut locked = shared.lock();
        for (exchange, error) in stranded {
            if let Some(Machine::Client { core, lanes }) = locked.machine() {
                lanes.done(exchange, None);
                let _ = core.feed_failure(timer::now(), exchange, Failure::Connect);
            }
            locked
                .path
                .failed(format!("no thread to carry an exchange: {error}"));
        }
        Some(locked.poll(shared))
    }
}
