//! One round of the loop: all that the core has to say, and what follows from it.

use super::{State, Written};
use crate::machine::Machine;
use crate::reply::Reply;
use crate::wait::Waiters;
use crate::work::{Alarm, Work};
use posthole_protocol::{Event, Instant};
use tracing::trace;

impl<R, W: Waiters> State<R, W> {
    /// All that the core has to say, and what follows from it.
    pub fn poll(&mut self, now: Instant) -> Work<R, W> {
        let mut work = Work::new();
        let next = if self.broken {
            None
        } else {
            self.drive(now, &mut work)
        };
        if self.closed.is_some() && self.leave(&mut work) {
            if !std::mem::replace(&mut self.over, true) {
                work.rest().over = true;
                work.alarm = Some(Alarm::Off {
                    instead_of: self.armed.take(),
                });
            }
        } else {
            let follows = self.begin_lull(now, &mut work);
            work.alarm = self.alarm(next, follows);
        }
        work.wakes = std::mem::take(&mut self.wakes);
        work
    }

    /// Gives when the core is to be asked next.
    fn drive(&mut self, now: Instant, work: &mut Work<R, W>) -> Option<Instant> {
        // First what has come: what is read now is confirmed by what is said now.
        self.hear(work);
        let changed = std::mem::take(&mut self.changed);
        let mut next = (!changed).then(|| self.machine.next_timeout()).flatten();
        if changed || next.is_some_and(|at| at <= now) {
            self.machine.feed_timeout(now);
            self.say(now, work);
            self.hear(work);
            next = self.machine.next_timeout();
        }
        if let Machine::Client(core) = &mut self.machine {
            // Which waits for no moment.
            while let Some(exchange) = core.poll_cancel() {
                work.rest().cancelled.push(exchange);
            }
        }
        if let Some(news) = self.path.news() {
            work.rest().news = Some(news);
        }
        next
    }

    fn say(&mut self, now: Instant, work: &mut Work<R, W>) {
        match &mut self.machine {
            Machine::Client(core) => {
                if let Some(dial) = core.poll_dial() {
                    work.rest().dial = Some(dial);
                }
                while let Some(request) = core.poll_request(now) {
                    let (exchange, bytes) = (request.exchange, request.body.len());
                    if request.long {
                        trace!("{exchange}, a direct connection: a bundle of {bytes} bytes");
                        work.writes.push((exchange, request.body));
                    } else {
                        trace!("{exchange}: a request of {bytes} bytes");
                        work.rest().requests.push(request);
                    }
                }
            }
            Machine::Server { core, held } => {
                while let Some(response) = core.poll_response(now) {
                    let (exchange, bytes) = (response.exchange, response.body.len());
                    trace!(
                        "{:?}: exchange {exchange}: an answer of {bytes} bytes",
                        core.id()
                    );
                    if !response.last {
                        work.said.push((response.request, exchange, response.body));
                        continue;
                    }
                    // None: whoever asked has hung up.
                    if let Some(responder) = held.remove(&response.request) {
                        let reply = Reply::to(response.exchange, response.body);
                        work.rest().replies.push((responder, reply));
                    }
                }
            }
        }
    }

    fn hear(&mut self, work: &mut Work<R, W>) {
        while let Some(event) = self.machine.poll_event() {
            self.on_event(event, work);
        }
    }

    fn on_event(&mut self, event: Event, work: &mut Work<R, W>) {
        match event {
            Event::Connected => {
                work.rest().announce = !std::mem::replace(&mut self.connected, true);
                self.wakes.extend(self.milestone.take());
            }
            Event::Incoming => self.wakes.extend(self.incoming.take()),
            Event::CanOpen => self.wakes.extend(self.room.take()),
            Event::Readable(id) => {
                let wake = self.streams.get_mut(&id).and_then(|s| s.readable.take());
                if let Some(mut wake) = wake {
                    W::bring(&mut wake, self, id);
                    self.wakes.push(wake);
                }
            }
            Event::Writable(id) => {
                let wake = self.streams.get_mut(&id).and_then(|s| s.writable.take());
                self.wakes.extend(wake);
            }
            Event::Closed(reason) => {
                work.rest().closed = Some(reason.clone());
                self.closed = Some(reason);
                self.wake_all();
            }
            Event::Finished(_) => {}
            Event::Learned(lesson) => work.rest().lessons.push(lesson),
            // News that a later core brings and that nobody here waits for.
            _ => {}
        }
    }

    pub(super) fn wake_all(&mut self) {
        for ends in self.streams.values_mut() {
            self.wakes.extend(ends.readable.take());
            self.wakes.extend(ends.writable.take());
        }
        for waiters in [&mut self.room, &mut self.incoming, &mut self.milestone] {
            self.wakes.extend(waiters.take());
        }
    }

    /// The session has ended: lets go of what only a live one needs. Whether nothing is left to do.
    fn leave(&mut self, work: &mut Work<R, W>) -> bool {
        match &mut self.machine {
            Machine::Client(core) => self.broken || core.next_timeout().is_none(),
            Machine::Server { core, held } => {
                let over = self.broken || core.is_over();
                if over {
                    // The core has answered all that it owes; who is still here gets a lost exchange.
                    let rest = std::mem::take(held).into_iter();
                    work.rest()
                        .replies
                        .extend(rest.map(|(_, responder)| (responder, Reply::unavailable())));
                }
                over
            }
        }
    }

    /// Whether that the bundle which is handed out has been written need not be told at once. Gives when there is more to
    /// say then.
    fn begin_lull(&mut self, now: Instant, work: &mut Work<R, W>) -> Option<Instant> {
        self.unheard = None;
        let (written, follows) = match (&self.machine, &*work.writes, &*work.said) {
            (Machine::Client(core), [(exchange, _)], []) => {
                (Written::Exchange(*exchange), core.follows_at(*exchange))
            }
            (Machine::Server { core, .. }, [], [(request, ..)]) => {
                (Written::Request(*request), core.follows_at(*request))
            }
            _ => return None,
        };
        if follows.is_some_and(|at| at <= now) {
            return None;
        }
        self.unheard = Some(written);
        work.lull = Some(self.lulls.next());
        follows
    }

    fn alarm(&mut self, next: Option<Instant>, follows: Option<Instant>) -> Option<Alarm> {
        let at = match (next, follows) {
            (Some(next), Some(follows)) => next.min(follows),
            (next, follows) => next.or(follows)?,
        };
        if self.armed.is_some_and(|armed| armed <= at) {
            return None;
        }
        let instead_of = self.armed.replace(at);
        Some(Alarm::At { at, instead_of })
    }
}
