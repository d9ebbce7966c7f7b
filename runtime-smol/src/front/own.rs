//! The complete listener: a task that accepts and one for each connection, made to face strangers.

use super::conn::{Conn, Stop};
use super::mount::Hall;
use super::task::Task;
use super::{Limits, Service};
use crate::io::Alarm;
use crate::spawn::Spawner;
use crate::timer;
use hyper::server::conn::http1;
use posthole_protocol::http::Refusal;
use posthole_runtime::{Quiet, send_near};
use smol::{Async, Timer};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// A running front. Dropping it stops it, without waiting for what is under way.
///
/// A connection was measured at 10 KiB of memory before its first request, 13 while it holds one, and 16 after one of
/// 500,000 bytes (by `tests/front_measure.rs`; most of it is two buffers of hyper's).
pub struct OwnFront {
    front: Arc<Front>,
    addr: SocketAddr,
}

/// What the accepting task, the connections and the handle share.
struct Front {
    http: Arc<http1::Builder>,
    spawner: Spawner,
    connections: usize,
    shed: Quiet,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    conns: HashMap<u64, Arc<Conn>>,
    accepting: bool,
    stopping: bool,
    /// Of the accepting task.
    accept: Option<Waker>,
    /// Of whoever waits for the end of everything.
    closed: Option<Waker>,
}

impl OwnFront {
    /// Serves POSTs to `path`, compared byte by byte and without the query, on `listener`, with tasks on smol's
    /// global executor.
    ///
    /// # Errors
    /// If the listener is of no use.
    pub fn start(
        listener: TcpListener,
        path: String,
        limits: Limits,
        service: impl Service,
    ) -> io::Result<OwnFront> {
        OwnFront::start_on(&Spawner::default(), listener, path, limits, service)
    }

    /// As [`start`](Self::start), with tasks wherever `spawner` starts them.
    ///
    /// # Errors
    /// If the listener is of no use.
    pub fn start_on(
        spawner: &Spawner,
        listener: TcpListener,
        path: String,
        limits: Limits,
        service: impl Service,
    ) -> io::Result<OwnFront> {
        let addr = listener.local_addr()?;
        send_near(&listener, addr);
        let listener = Async::new(listener)?;
        let front = Arc::new(Front {
            http: Arc::new(builder(&limits)),
            spawner: spawner.clone(),
            connections: limits.connections,
            shed: Quiet::default(),
            open: Mutex::new(Open {
                accepting: true,
                ..Open::default()
            }),
        });
        let hall = Arc::new(Hall::new(service, limits, Some(path)));
        let accepting = Accepting(Arc::clone(&front));
        spawner.spawn(async move {
            accepting.0.accept(&listener, &hall).await;
            // Only then is it no more accepting.
            drop(listener);
            drop(accepting);
        });
        Ok(OwnFront { front, addr })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.front.lock().conns.len()
    }

    /// Stops accepting, closes all connections but those with a reply being written, waits at most `grace` for
    /// these, and closes them too. Requests held at this moment are hung up: answer them first if they should be.
    ///
    /// Once this has returned the port is free and no connection is open, unless the executor takes longer than 5 s
    /// more to get there. Dropping this future stops the front as dropping the front does.
    pub async fn stop(self, grace: Duration) {
        self.front.stop(Stop::Finish);
        if !self.front.closed(grace).await {
            self.front.stop(Stop::Now);
            self.front.closed(Duration::from_secs(5)).await;
        }
    }
}

impl Drop for OwnFront {
    fn drop(&mut self) {
        self.front.stop(Stop::Now);
    }
}

impl fmt::Debug for OwnFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnFront")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// hyper's clocks are off: it has one for idle connections and heads together, and none for bodies and readers. So is
/// its date, for which nobody asks.
fn builder(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .max_header_size(limits.head)
        .max_buf_size(READ.max(limits.head.saturating_add(1)))
        .auto_date_header(false);
    http
}

/// As much as hyper receives at once, and as much memory as a connection may keep for it: more makes bulk no faster.
const READ: usize = 64 * 1024;

impl Front {
    /// Accepts until told to stop; no error ends it.
    ///
    /// A descriptor is kept in reserve: when no other is left, the next connection gets it, is told to come again,
    /// and gives it back. So nobody waits in the listen queue for an answer that may never come.
    async fn accept<S: Service>(
        self: &Arc<Self>,
        listener: &Async<TcpListener>,
        hall: &Arc<Hall<S>>,
    ) {
        let spare = || listener.get_ref().try_clone().ok();
        let mut reserve = spare();
        while let Some(accepted) = self.unless_stopped(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    reserve = reserve.or_else(spare);
                    if reserve.is_some() {
                        self.admit(stream, peer, hall);
                    } else {
                        self.shed(&stream, Refusal::NO_DESCRIPTOR);
                        drop(stream);
                        reserve = spare();
                    }
                }
                Err(error) if is_out_of_descriptors(&error) && reserve.take().is_some() => {}
                Err(error) => {
                    if let Some(unsaid) = self.shed.may_say(timer::now()) {
                        tracing::warn!(%error, unsaid, "can't accept");
                    }
                    // Most such errors are about one connection, gone already; others pass when something is freed.
                    Timer::after(RETRY).await;
                    reserve = reserve.or_else(spare);
                }
            }
            // However many wait to be accepted, others have their turn.
            smol::future::yield_now().await;
        }
    }

    fn admit<S: Service>(
        self: &Arc<Self>,
        stream: Async<TcpStream>,
        peer: SocketAddr,
        hall: &Arc<Hall<S>>,
    ) {
        let conn = Arc::new(Conn::new(peer));
        let Some(listed) = Listed::new(self, &conn) else {
            return self.shed(&stream, Refusal::TOO_MANY_CONNECTIONS);
        };
        // A failure means a connection that is gone, which its task will find.
        let _ = stream.get_ref().set_nodelay(true);
        let task = Task {
            stream: Arc::new(stream),
            conn,
            hall: Arc::clone(hall),
            http: Arc::clone(&self.http),
        };
        self.spawner.spawn(async move {
            task.run().await;
            drop(listed);
        });
    }

    /// Tells a client to come again, as well as that can be done without waiting for it.
    fn shed(&self, stream: &Async<TcpStream>, refusal: Refusal) {
        if let Some(unsaid) = self.shed.may_say(timer::now()) {
            tracing::warn!(why = refusal.why, unsaid, "connection turned away");
        }
        let mut stream = stream.get_ref();
        let told = stream
            .write(&refusal.to_bytes())
            .and_then(|_| stream.shutdown(Shutdown::Write));
        // What has come already must be read, or closing becomes a reset that may overtake the answer.
        if told.is_ok() {
            let _ = stream.read(&mut [0; 16 * 1024]);
        }
    }

    /// What `future` comes to, or `None` when the front is stopped.
    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let mut open = self.lock();
            if open.stopping {
                return Poll::Ready(None);
            }
            open.accept = Some(cx.waker().clone());
            drop(open);
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    fn stop(&self, stop: Stop) {
        let mut open = self.lock();
        open.stopping = true;
        let accept = open.accept.take();
        let conns: Vec<_> = open.conns.values().cloned().collect();
        drop(open);
        if let Some(accept) = accept {
            accept.wake();
        }
        for conn in conns {
            conn.stop(stop);
        }
    }

    /// Whether everything was closed within `time`.
    async fn closed(&self, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        let mut late = pin!(async {
            match until {
                Some(until) => Alarm::at(until).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| {
            let mut open = self.lock();
            if open.conns.is_empty() && !open.accepting {
                return Poll::Ready(true);
            }
            open.closed = Some(cx.waker().clone());
            drop(open);
            late.as_mut().poll(cx).map(|()| false)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const RETRY: Duration = Duration::from_millis(50);

/// Held by the accepting task, also by one that its executor drops.
struct Accepting(Arc<Front>);

impl Drop for Accepting {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        open.accepting = false;
        open.tell();
    }
}

/// A connection's place in the list of open ones; dropped after the connection.
struct Listed {
    front: Arc<Front>,
    number: u64,
}

impl Listed {
    /// `None` if there is no place left.
    fn new(front: &Arc<Front>, conn: &Arc<Conn>) -> Option<Listed> {
        let mut open = front.lock();
        if open.conns.len() >= front.connections {
            return None;
        }
        open.next += 1;
        let number = open.next;
        open.conns.insert(number, Arc::clone(conn));
        if open.stopping {
            conn.stop(Stop::Now);
        }
        Some(Listed {
            front: Arc::clone(front),
            number,
        })
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut open = self.front.lock();
        open.conns.remove(&self.number);
        open.tell();
    }
}

impl Open {
    fn tell(&mut self) {
        if self.conns.is_empty()
            && !self.accepting
            && let Some(closed) = self.closed.take()
        {
            closed.wake();
        }
    }
}

/// Whether `error` says that the process, or the system, has no descriptor left.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE)
        )
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}
