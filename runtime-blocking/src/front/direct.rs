//! Direct connections from the server's end: a listening socket and a thread for each connection, made to face
//! strangers like the front beside it.

use super::sock;
use crate::driver::Shared;
use crate::handler::Handler;
use crate::timer;
use crate::wire::{Read, Wire};
use posthole_protocol::RequestId;
use posthole_runtime::{Budget, Frames, Lease, Limits, Quiet, receive_buffer, send_near};
use socket2::SockRef;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The most that a stranger may say before it has said whose it is: a client's first bundle is half as large.
const FIRST: usize = 8 * 1024;

/// After an accept that failed.
const RETRY: Duration = Duration::from_millis(50);

/// A listening socket for direct connections. Dropping it stops it and closes them; those on which the last
/// thing is being said end with that.
pub(crate) struct DirectFront {
    front: Arc<Front>,
    listener: TcpListener,
    accept: Option<JoinHandle<()>>,
}

struct Front {
    handler: Handler,
    limits: Limits,
    largest: usize,
    /// For all that has come of bundles and is not whole.
    budget: Budget,
    quiet: Quiet,
    stopping: AtomicBool,
    next: AtomicU64,
    open: Mutex<Vec<(u64, Weak<Wire>)>>,
}

impl DirectFront {
    /// Takes direct connections on `listener`.
    ///
    /// # Errors
    /// If the listener is of no use, or a descriptor or thread can't be had.
    pub(crate) fn start(
        listener: TcpListener,
        handler: Handler,
        limits: Limits,
    ) -> io::Result<DirectFront> {
        listener.set_nonblocking(false)?;
        send_near(&listener, listener.local_addr()?);
        let (largest, bodies) = (handler.house.body_max(), limits.bodies);
        let front = Arc::new(Front {
            handler,
            limits,
            largest,
            budget: Budget::new(bodies),
            quiet: Quiet::default(),
            stopping: AtomicBool::new(false),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let accept = thread::Builder::new()
            .name("posthole-accept".into())
            .stack_size(front.limits.stack)
            .spawn({
                let (front, listener) = (Arc::clone(&front), listener.try_clone()?);
                move || front.accept(&listener)
            })?;
        Ok(DirectFront {
            front,
            listener,
            accept: Some(accept),
        })
    }
}

impl Drop for DirectFront {
    fn drop(&mut self) {
        self.front.stopping.store(true, Ordering::Release);
        if SockRef::from(&self.listener)
            .shutdown(Shutdown::Both)
            .is_err()
            && let Ok(addr) = self.listener.local_addr()
        {
            let _ = TcpStream::connect_timeout(&super::own::reachable(addr), RETRY * 20);
        }
        if self
            .accept
            .take()
            .is_some_and(|accept| accept.join().is_err())
        {
            tracing::error!("the accepting thread panicked");
        }
        let open: Vec<_> = self.front.lock().drain(..).collect();
        for wire in open.iter().filter_map(|(_, wire)| wire.upgrade()) {
            wire.stop();
        }
    }
}

impl Front {
    /// Accepts until told to stop; no error ends it. With no descriptor left connections wait in the listen queue: their
    /// clients go by HTTP meanwhile.
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    if let Some(unsaid) = self.quiet.may_say(timer::now()) {
                        tracing::warn!(%error, unsaid, "can't accept a direct connection");
                    }
                    thread::sleep(if sock::is_out_of_descriptors(&error) {
                        RETRY * 10
                    } else {
                        RETRY
                    });
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        if self.lock().len() >= self.limits.connections {
            if let Some(unsaid) = self.quiet.may_say(timer::now()) {
                tracing::warn!(unsaid, "too many direct connections: one was turned away");
            }
            return;
        }
        let own = stream.local_addr();
        if let Some(size) = own.ok().and_then(|own| receive_buffer(own, peer)) {
            let _ = SockRef::from(&stream).set_recv_buffer_size(size);
        }
        // So that a connection that says nothing is noticed.
        let _ = stream.set_read_timeout(Some(self.limits.tick()));
        let wire = Wire::new(stream);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().push((number, Arc::downgrade(&wire)));
        let front = Arc::clone(self);
        let spawned = thread::Builder::new()
            .name("posthole-direct".into())
            .stack_size(self.limits.stack)
            .spawn(move || {
                front.serve(&wire, peer);
                wire.close();
                front.lock().retain(|(own, _)| *own != number);
            });
        if let Err(error) = spawned {
            self.lock().retain(|(own, _)| *own != number);
            if let Some(unsaid) = self.quiet.may_say(timer::now()) {
                tracing::warn!(%error, unsaid, "can't serve a direct connection");
            }
        }
    }

    fn serve(&self, wire: &Arc<Wire>, peer: SocketAddr) {
        let (begun, mut session) = (Instant::now(), None::<(Arc<Shared>, RequestId)>);
        let (mut part_since, mut lease) = (None::<Instant>, None::<Lease<'_>>);
        wire.read(Frames::new(self.largest), |read| {
            let is_late = |since: Instant, limit: Duration| since.elapsed() > limit;
            match (read, &session) {
                (Read::Bundles { bundles, has_more }, None) => {
                    part_since = has_more.then(Instant::now);
                    lease = None;
                    session = self.handler.house.begin_direct(bundles, wire);
                    session.is_some()
                }
                (Read::Bundles { bundles, has_more }, Some((shared, request))) => {
                    part_since = has_more.then(Instant::now);
                    lease = None;
                    shared.feed_more(*request, bundles)
                }
                (Read::Part(bytes), None) if bytes > FIRST => false,
                (Read::Part(_) | Read::Nothing, None) => {
                    let goes_on = !is_late(begun, self.limits.head_time);
                    if !goes_on {
                        tracing::debug!(%peer, "a direct connection said nothing in time");
                    }
                    goes_on
                }
                (Read::Part(bytes), Some(_)) => {
                    let since = *part_since.get_or_insert_with(Instant::now);
                    let lease = lease.get_or_insert_with(|| self.budget.lease());
                    lease.raise_to(bytes) && !is_late(since, self.limits.time_for(self.largest))
                }
                (Read::Nothing, Some(_)) => part_since
                    .is_none_or(|since| !is_late(since, self.limits.time_for(self.largest))),
            }
        });
        if let Some((shared, request)) = session {
            shared.feed_hangup(request);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Weak<Wire>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
