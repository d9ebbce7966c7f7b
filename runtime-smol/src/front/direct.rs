//! Direct connections from the server's end: a listening socket and a task for each connection, made to face strangers
//! like the front beside it.

use super::own::is_out_of_descriptors;
use crate::driver::Shared;
use crate::handler::Handler;
use crate::spawn::Spawner;
use crate::timer;
use crate::wire::{Read, Then, Wire};
use posthole_protocol::RequestId;
use posthole_runtime::{Budget, Lease, Limits, Quiet, send_near};
use smol::{Async, Timer};
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// The most that a stranger may say before it has said whose it is: a client's first bundle is half as large.
const FIRST: usize = 8 * 1024;

/// After an accept that failed.
const RETRY: Duration = Duration::from_millis(50);

/// A listening socket for direct connections. Dropping it stops it and closes them; those on which the last
/// thing is being said end with that.
pub(crate) struct DirectFront(Arc<Front>);

struct Front {
    handler: Handler,
    spawner: Spawner,
    limits: Limits,
    largest: usize,
    /// For all that has come of bundles and is not whole.
    budget: Budget,
    quiet: Quiet,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    stopping: bool,
    /// Of the accepting task.
    accept: Option<Waker>,
    next: u64,
    wires: Vec<(u64, Weak<Wire>)>,
}

impl DirectFront {
    /// Takes direct connections on `listener`.
    ///
    /// # Errors
    /// If the listener is of no use.
    pub(crate) fn start(
        listener: TcpListener,
        handler: Handler,
        spawner: &Spawner,
        limits: Limits,
    ) -> io::Result<DirectFront> {
        send_near(&listener, listener.local_addr()?);
        let listener = Async::new(listener)?;
        let (largest, bodies) = (handler.house.body_max(), limits.bodies);
        let front = Arc::new(Front {
            handler,
            spawner: spawner.clone(),
            limits,
            largest,
            budget: Budget::new(bodies),
            quiet: Quiet::default(),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&front);
        spawner.spawn(async move { accepting.accept(&listener).await });
        Ok(DirectFront(front))
    }
}

impl Drop for DirectFront {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        open.stopping = true;
        let (accept, wires) = (open.accept.take(), std::mem::take(&mut open.wires));
        drop(open);
        if let Some(accept) = accept {
            accept.wake();
        }
        for wire in wires.iter().filter_map(|(_, wire)| wire.upgrade()) {
            wire.stop();
        }
    }
}

impl Front {
    /// Accepts until told to stop; no error ends it. With no descriptor left connections wait in the listen queue: their
    /// clients go by HTTP meanwhile.
    async fn accept(self: &Arc<Self>, listener: &Async<TcpListener>) {
        while let Some(accepted) = self.next(listener).await {
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    if let Some(unsaid) = self.quiet.may_say(timer::now()) {
                        tracing::warn!(%error, unsaid, "can't accept a direct connection");
                    }
                    let few = is_out_of_descriptors(&error);
                    Timer::after(if few { RETRY * 10 } else { RETRY }).await;
                }
            }
            // However many wait to be accepted, others have their turn.
            smol::future::yield_now().await;
        }
    }

    /// The next connection; `None`: told to stop.
    async fn next(
        &self,
        listener: &Async<TcpListener>,
    ) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        poll_fn(|cx| {
            let mut open = self.lock();
            if open.stopping {
                return Poll::Ready(None);
            }
            let old = open.accept.replace(cx.waker().clone());
            drop(open);
            drop(old);
            loop {
                match listener.get_ref().accept() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(Some(result)),
                }
                match listener.poll_readable(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Ok(stream) = Async::new(stream) else {
            return;
        };
        let wire = Wire::new(stream);
        let mut open = self.lock();
        if open.stopping {
            return;
        }
        if open.wires.len() >= self.limits.connections {
            drop(open);
            if let Some(unsaid) = self.quiet.may_say(timer::now()) {
                tracing::warn!(unsaid, "too many direct connections: one was turned away");
            }
            return;
        }
        open.next += 1;
        let number = open.next;
        open.wires.push((number, Arc::downgrade(&wire)));
        drop(open);
        let listed = Listed(Arc::clone(self), number);
        self.spawner.spawn(async move {
            listed.0.serve(&wire, peer).await;
            drop(listed);
        });
    }

    async fn serve(&self, wire: &Arc<Wire>, peer: SocketAddr) {
        let mut visit = Visit(None);
        let session = &mut visit.0;
        let begun = Instant::now();
        let (first, whole) = (
            begun.checked_add(self.limits.head_time),
            self.limits.time_for(self.largest),
        );
        let until = |part: Option<Instant>| part?.checked_add(whole);
        let (mut part, mut lease) = (None::<Instant>, None::<Lease<'_>>);
        wire.run(self.largest, first, |read| match (read, &*session) {
            (Read::Bundles { bundles, has_more }, None) => {
                part = has_more.then(Instant::now);
                lease = None;
                *session = self.handler.house.begin_direct(bundles, wire);
                match session {
                    Some(_) => Then::GoOn(until(part)),
                    // Nobody's: it is told so, and then closed.
                    None => Then::End,
                }
            }
            (Read::Bundles { bundles, has_more }, Some((shared, request))) => {
                part = has_more.then(Instant::now);
                lease = None;
                if shared.feed_more(*request, bundles) {
                    Then::GoOn(until(part))
                } else {
                    Then::End
                }
            }
            (Read::Part(bytes), None) if bytes > FIRST => Then::End,
            (Read::Part(_), None) => Then::GoOn(first),
            (Read::Part(bytes), Some(_)) => {
                part.get_or_insert_with(Instant::now);
                let lease = lease.get_or_insert_with(|| self.budget.lease());
                if lease.raise_to(bytes) {
                    Then::GoOn(until(part))
                } else {
                    Then::End
                }
            }
            (Read::Late, _) => {
                tracing::debug!(%peer, "a direct connection did not say all of a bundle in time");
                Then::End
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session that a connection belongs to, which hears of its end, also when its task is dropped.
struct Visit(Option<(Arc<Shared>, RequestId)>);

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some((shared, request)) = self.0.take() {
            shared.feed_hangup(request);
        }
    }
}

/// A connection's place in the list of open ones.
struct Listed(Arc<Front>, u64);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.lock().wires.retain(|(own, _)| *own != self.1);
    }
}
