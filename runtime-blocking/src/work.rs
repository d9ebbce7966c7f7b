//! Does what a core had to say, once its lock is released.

use crate::carrier::Trouble;
use crate::driver::{Shared, Work};
use crate::lanes::{Job, Lanes, Slot};
use crate::timer;
use posthole_protocol::{ExchangeId, Failure};
use std::sync::Arc;

/// What a core had to say, and who is to carry it.
pub(crate) struct Todo {
    work: Work,
    jobs: Vec<Job>,
    cancelled: Vec<(Arc<Slot>, ExchangeId)>,
    /// Idle lanes that are needed no longer.
    ended: Vec<Arc<Slot>>,
}

impl Todo {
    /// Under the lock: finds lanes for the requests.
    pub(crate) fn new(mut work: Work, lanes: Option<&mut Lanes>, has_ended: bool) -> Todo {
        let (mut jobs, mut cancelled, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(lanes) = lanes {
            jobs.extend(work.requests.drain(..).map(|request| lanes.assign(request)));
            let mut carrier = |exchange| lanes.cancel(exchange).map(|slot| (slot, exchange));
            cancelled.extend(work.cancelled.drain(..).filter_map(&mut carrier));
            if has_ended {
                ended = lanes.end();
            }
        }
        Todo {
            work,
            jobs,
            cancelled,
            ended,
        }
    }

    pub(crate) fn perform(mut self, shared: &Arc<Shared>) {
        while let Some(again) = self.perform_once(shared) {
            self = again;
        }
    }

    /// `Some`: exchanges for which there was no thread have failed, and the core has something to say to that.
    fn perform_once(self, shared: &Arc<Shared>) -> Option<Todo> {
        let work = self.work;
        for waiting in work.wakes {
            waiting.notify_all();
        }
        for (responder, reply) in work.replies {
            responder.respond(reply);
        }
        let mut stranded = Vec::new();
        for job in self.jobs {
            stranded.extend(job.start(shared).err());
        }
        for (slot, exchange) in self.cancelled {
            slot.cancel(exchange);
        }
        for slot in self.ended {
            slot.end();
        }
        if let Some(news) = work.news {
            news.tell();
        }
        if let Some(reason) = work.closed {
            tracing::debug!(session = shared.key(), %reason, "session ended");
        }
        if let Some(home) = &shared.home {
            if work.announce {
                home.announce(shared);
            }
            if work.over {
                home.ended(shared);
            }
        }
        if stranded.is_empty() {
            return None;
        }
        let mut locked = shared.lock();
        for (exchange, error) in stranded {
            if let Some(lanes) = locked.lanes() {
                lanes.done(exchange, None);
            }
            let trouble = Trouble {
                failure: Failure::Connect,
                reached: false,
                says: format!("no thread to carry an exchange: {error}"),
            };
            locked.feed_answer(timer::now(), exchange, Err(trouble));
        }
        Some(locked.poll())
    }
}
