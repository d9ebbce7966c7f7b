//! The server with an HTTP side of its own: a [`Listener`] for code written for `async_net::TcpListener`.

use crate::front::OwnFront;
use crate::front::direct::DirectFront;
use crate::handler::{Handler, Waiting};
use crate::session::Session;
use crate::spawn::Spawner;
use posthole_runtime::{Limits, ListenOptions};
use smol::net::AsyncToSocketAddrs;
use smol::stream::Stream;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long replies that are being written may take when a listener ends by itself.
const LAST_REPLIES: Duration = Duration::from_secs(2);

/// Accepts sessions, as a `TcpListener` accepts connections.
///
/// When it is dropped, no further session is accepted, and those not accepted yet are closed; the others go on, and
/// the port is given back when the last of them has ended. [`close`](Listener::close) ends them all.
pub struct Listener {
    handler: Handler,
    limits: Limits,
    addr: SocketAddr,
    front: Arc<Running>,
}

/// The front of a listener, if it still runs. It stops when neither the listener nor any session needs it.
pub(crate) struct Running {
    front: Mutex<Option<OwnFront>>,
    direct: Mutex<Option<DirectFront>>,
    /// Where it is stopped.
    spawner: Spawner,
}

impl Listener {
    /// Serves on this address, `127.0.0.1:0` for instance, on smol's global executor.
    ///
    /// Cancel-safe: nothing listens before this is ready.
    ///
    /// # Errors
    /// As `TcpListener::bind`; and if the system gives no random bytes.
    pub async fn bind(
        addr: impl AsyncToSocketAddrs,
        options: ListenOptions,
    ) -> io::Result<Listener> {
        Listener::bind_on(&Spawner::default(), addr, options).await
    }

    /// As [`bind`](Listener::bind), with all tasks wherever `spawner` starts them. They must be run for as long as the
    /// listener and its sessions are in use.
    ///
    /// # Errors
    /// As [`bind`](Listener::bind).
    pub async fn bind_on(
        spawner: &Spawner,
        addr: impl AsyncToSocketAddrs,
        options: ListenOptions,
    ) -> io::Result<Listener> {
        let mut why = io::Error::new(ErrorKind::InvalidInput, "the name has no address");
        for addr in smol::net::resolve(addr).await? {
            match TcpListener::bind(addr) {
                Ok(socket) => return Listener::serve_on(spawner, socket, options),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Serves on a socket that listens already, on smol's global executor.
    ///
    /// # Errors
    /// If the socket is of no use, or the system gives no random bytes.
    pub fn serve(socket: TcpListener, options: ListenOptions) -> io::Result<Listener> {
        Listener::serve_on(&Spawner::default(), socket, options)
    }

    /// As [`serve`](Listener::serve), with all tasks wherever `spawner` starts them.
    ///
    /// # Errors
    /// As [`serve`](Listener::serve).
    pub fn serve_on(
        spawner: &Spawner,
        socket: TcpListener,
        options: ListenOptions,
    ) -> io::Result<Listener> {
        let addr = socket.local_addr()?;
        let path = options.path.clone();
        let limits = options.limits.clone().unwrap_or_else(Limits::for_tasks);
        let own_limits = limits.clone();
        let handler = Handler::new_on(spawner, options)?;
        let front = Arc::new(Running {
            front: Mutex::default(),
            direct: Mutex::default(),
            spawner: spawner.clone(),
        });
        // Before the first request can come.
        handler.house.run_by(&front);
        let own = OwnFront::start_on(spawner, socket, path, limits, handler.clone())?;
        *front.lock() = Some(own);
        Ok(Listener {
            handler,
            limits: own_limits,
            addr,
            front,
        })
    }

    /// Where it listens: with port 0, which port that became.
    ///
    /// # Errors
    /// None; it is a `Result` because a socket's is.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    /// Takes direct connections on this socket, too. Clients whose sessions begin from now on are told its port, and go by
    /// it where they can. What goes there is not encrypted. In place of a socket that was given before.
    ///
    /// # Errors
    /// If the socket is of no use.
    pub fn serve_direct(&self, socket: TcpListener) -> io::Result<()> {
        let port = socket.local_addr()?.port();
        let (handler, limits) = (self.handler.clone(), self.limits.clone());
        let front = DirectFront::start(socket, handler, &self.front.spawner, limits)?;
        self.handler.house.take_direct(port);
        let before = self.front.lock_direct().replace(front);
        drop(before);
        Ok(())
    }

    /// Waits for the next session.
    ///
    /// Cancel-safe: a session that was not given stays for the next call.
    ///
    /// # Errors
    /// `NotConnected`, once the listener was closed.
    pub async fn accept(&self) -> io::Result<Session> {
        self.handler.accept().await
    }

    /// All sessions to come, until the listener is closed.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming {
            handler: &self.handler,
            waiting: Waiting::to_accept(&self.handler),
        }
    }

    /// How many sessions there are, accepted or not.
    pub fn sessions(&self) -> usize {
        self.handler.sessions()
    }

    /// Accepts no more and closes every session in order, as [`Session::close`] does; those that have not ended
    /// within `grace` are aborted. Then gives the port back. An [`accept`](Listener::accept) that waits fails.
    ///
    /// Cancel-safe: once polled, the sessions go on closing. Dropped before it is ready, it aborts none, and the port
    /// is given back as when the listener is dropped.
    pub async fn close(&self, grace: Duration) {
        self.handler.close(grace).await;
        let front = self.front.take();
        if let Some(front) = front {
            front.stop(LAST_REPLIES).await;
        }
        let direct = self.front.lock_direct().take();
        drop(direct);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Sessions that wait to be accepted are dropped and so closed; others have not come so far.
        self.handler.house.shut();
        self.handler.house.for_all(|state| {
            if !state.is_connected() {
                state.close();
            }
        });
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Option<OwnFront>> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_direct(&self) -> MutexGuard<'_, Option<DirectFront>> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<OwnFront> {
        self.lock().take()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Last answers are still on their way.
        if let Some(front) = self.take() {
            self.spawner.spawn(front.stop(LAST_REPLIES));
        }
    }
}

/// All sessions to come; see [`Listener::incoming`].
pub struct Incoming<'a> {
    handler: &'a Handler,
    waiting: Waiting<'a>,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<Session>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Session>>> {
        let Incoming { handler, waiting } = &mut *self;
        let accepted = handler.poll_accept(cx, waiting);
        accepted.map(|accepted| accepted.ok().map(Ok))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
