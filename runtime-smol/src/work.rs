//! Does what a core had to say, once its lock is released.

use crate::driver::{Shared, Work};
use crate::lanes::{Job, Lanes, Slot};
use crate::wait::Wake;
use posthole_protocol::ExchangeId;
use std::sync::Arc;
use std::task::Waker;

/// What a core had to say, and who is to carry it.
pub(crate) struct Todo {
    work: Work,
    /// The session's task, if it is to look at its deadline.
    task: Option<Waker>,
    jobs: Vec<Job>,
    cancelled: Vec<(Arc<Slot>, ExchangeId)>,
    /// Idle lanes that are needed no longer.
    ended: Vec<Arc<Slot>>,
}

impl Todo {
    /// Under the lock: finds lanes for the requests.
    pub(crate) fn new(
        mut work: Work,
        lanes: Option<&mut Lanes>,
        task: Option<Waker>,
        has_ended: bool,
    ) -> Todo {
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
            task,
            jobs,
            cancelled,
            ended,
        }
    }

    pub(crate) fn perform(self, shared: &Arc<Shared>) {
        let mut work = self.work;
        work.tell();
        work.wakes.into_iter().for_each(Wake::wake);
        for (responder, reply) in work.replies {
            responder.respond(reply);
        }
        for job in self.jobs {
            job.start(shared);
        }
        for (slot, exchange) in self.cancelled {
            slot.cancel(exchange);
        }
        for slot in self.ended {
            slot.end();
        }
        if let Some(task) = self.task {
            task.wake();
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
    }
}
