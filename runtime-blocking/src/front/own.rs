//! The default front: one thread for each connection, over nothing but `httparse` and sockets, made to face strangers.

use super::conn::Conn;
use super::helpers::Helpers;
use super::reader::Reader;
use super::reply::Refusal;
use super::sock;
use super::{Limits, Service};
use crate::timer;
use posthole_runtime::{Budget, Quiet, receive_buffer, send_near};
use socket2::SockRef;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A running front. Dropping it stops it.
pub struct OwnFront {
    front: Arc<Front>,
    addr: SocketAddr,
    /// The listening socket once more, to wake the thread that accepts.
    listener: TcpListener,
    accept: Option<JoinHandle<()>>,
}

/// What all connections of a front share.
pub(super) struct Front {
    pub(super) path: String,
    pub(super) limits: Arc<Limits>,
    pub(super) service: Arc<dyn Service>,
    pub(super) helpers: Helpers,
    pub(super) budget: Budget,
    pub(super) refused: Quiet,
    shed: Quiet,
    stopping: AtomicBool,
    open: Mutex<Open>,
    closed: Condvar,
}

#[derive(Default)]
struct Open {
    next: u64,
    conns: HashMap<u64, Weak<Conn>>,
}

impl OwnFront {
    /// Serves POSTs to `path`, compared byte by byte and without the query, on `listener`.
    ///
    /// # Errors
    /// If the listener is of no use, or a descriptor or thread can't be had.
    pub fn start(
        listener: TcpListener,
        path: String,
        limits: Limits,
        service: Arc<dyn Service>,
    ) -> io::Result<OwnFront> {
        listener.set_nonblocking(false)?;
        let addr = listener.local_addr()?;
        send_near(&listener, addr);
        let front = Arc::new(Front {
            path,
            helpers: Helpers::new(limits.stack),
            budget: Budget::new(limits.bodies),
            limits: Arc::new(limits),
            service,
            refused: Quiet::default(),
            shed: Quiet::default(),
            stopping: AtomicBool::new(false),
            open: Mutex::default(),
            closed: Condvar::new(),
        });
        let accept = thread::Builder::new()
            .name("posthole-accept".into())
            .stack_size(front.limits.stack)
            .spawn({
                let (front, listener) = (Arc::clone(&front), listener.try_clone()?);
                move || front.accept(&listener)
            })?;
        Ok(OwnFront {
            front,
            addr,
            listener,
            accept: Some(accept),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, closes all connections but those with a reply being written, waits at most `grace` for
    /// these, and closes them too. Requests held at this moment are hung up: answer them first if they should be.
    ///
    /// The service isn't called once this has returned, unless a call of it takes longer than 5 s more.
    pub fn stop(mut self, grace: Duration) {
        self.halt(grace);
    }

    fn halt(&mut self, grace: Duration) {
        let Some(accept) = self.accept.take() else {
            return;
        };
        self.front.stopping.store(true, Ordering::Release);
        // On Linux this ends a blocked accept; elsewhere a connection does.
        if SockRef::from(&self.listener)
            .shutdown(Shutdown::Both)
            .is_err()
        {
            let _ = TcpStream::connect_timeout(&reachable(self.addr), Duration::from_secs(1));
        }
        if accept.join().is_err() {
            tracing::error!("the accepting thread panicked");
        }
        self.front.close_all(false);
        if !self.front.wait_closed(grace) {
            self.front.close_all(true);
            self.front.wait_closed(Duration::from_secs(5));
        }
    }
}

impl Drop for OwnFront {
    fn drop(&mut self) {
        self.halt(Duration::ZERO);
    }
}

/// An address that a connection to `addr`, perhaps unspecified, can be made to.
pub(super) fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    addr
}

impl Front {
    /// Accepts until told to stop; no error ends it.
    ///
    /// A descriptor is kept in reserve: when no other is left, the next connection gets it, is told to come again,
    /// and gives it back. So nobody waits in the listen queue for an answer that may never come.
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut reserve = listener.try_clone().ok();
        loop {
            let accepted = listener.accept();
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            match accepted {
                Ok((stream, peer)) => {
                    reserve = reserve.or_else(|| listener.try_clone().ok());
                    if reserve.is_some() {
                        self.admit(stream, peer);
                    } else {
                        self.shed(stream, Refusal::NO_DESCRIPTOR);
                        reserve = listener.try_clone().ok();
                    }
                }
                Err(error) if sock::is_out_of_descriptors(&error) && reserve.take().is_some() => {}
                Err(error) => {
                    if let Some(unsaid) = self.shed.may_say(timer::now()) {
                        tracing::warn!(%error, unsaid, "can't accept");
                    }
                    // Most such errors are about one connection, gone already; others pass when something is freed.
                    thread::sleep(RETRY);
                    reserve = reserve.or_else(|| listener.try_clone().ok());
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        if self.lock().conns.len() >= self.limits.connections {
            return self.shed(stream, Refusal::TOO_MANY_CONNECTIONS);
        }
        // A failure means a connection that is gone, which its thread will find.
        let _ = stream.set_nodelay(true);
        let own = stream.local_addr();
        if let Some(size) = own.ok().and_then(|own| receive_buffer(own, peer)) {
            let _ = SockRef::from(&stream).set_recv_buffer_size(size);
        }
        let _ = stream.set_write_timeout(Some(self.limits.tick()));
        let reader = Reader::new(Conn::new(stream), peer, Arc::clone(self));
        let listed = Listed::new(Arc::clone(self), reader.conn());
        let spawned = thread::Builder::new()
            .name("posthole-conn".into())
            .stack_size(self.limits.stack)
            .spawn(move || {
                reader.run();
                drop(listed);
            });
        if let (Err(error), Some(unsaid)) = (spawned, self.shed.may_say(timer::now())) {
            tracing::warn!(%error, unsaid, "can't serve a connection");
        }
    }

    /// Tells a client to come again, as well as that can be done without waiting for it.
    fn shed(&self, stream: TcpStream, refusal: Refusal) {
        if let Some(unsaid) = self.shed.may_say(timer::now()) {
            tracing::warn!(why = refusal.why, unsaid, "connection turned away");
        }
        let busy = refusal.to_bytes();
        let told = sock::send_now(&stream, &[IoSlice::new(&busy)])
            .and_then(|_| stream.shutdown(Shutdown::Write));
        // What has come already must be read, or closing becomes a reset that may overtake the answer.
        if told.is_ok() && stream.set_nonblocking(true).is_ok() {
            let _ = sock::recv(&stream, &mut Vec::with_capacity(16 * 1024));
        }
    }

    fn close_all(&self, force: bool) {
        let conns: Vec<_> = self
            .lock()
            .conns
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for conn in conns {
            conn.stop(force);
        }
    }

    /// Whether all connections were closed within `time`.
    fn wait_closed(&self, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        let mut open = self.lock();
        while !open.conns.is_empty() {
            let left = until.map_or(Duration::MAX, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            open = self
                .closed
                .wait_timeout(open, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const RETRY: Duration = Duration::from_millis(50);

/// A connection's place in the list of open ones; dropped after the connection.
struct Listed {
    front: Arc<Front>,
    number: u64,
}

impl Listed {
    fn new(front: Arc<Front>, conn: &Arc<Conn>) -> Listed {
        let number = {
            let mut open = front.lock();
            open.next += 1;
            let number = open.next;
            open.conns.insert(number, Arc::downgrade(conn));
            number
        };
        Listed { front, number }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.front.lock().conns.remove(&self.number);
        self.front.closed.notify_all();
    }
}
