//! The server with an HTTP side of its own: a [`Listener`] for code written for [`TcpListener`].

use crate::front::direct::DirectFront;
#[cfg(feature = "tiny_http")]
use crate::front::tiny::TinyFront;
use crate::front::{Limits, OwnFront};
use crate::handler::Handler;
use crate::session::Session;
use posthole_runtime::ListenOptions;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long replies that are being written may take when a listener ends by itself.
const LAST_REPLIES: Duration = Duration::from_secs(2);

/// Which HTTP server brings a listener its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrontChoice {
    /// Ours, made to face strangers.
    #[default]
    Own,
    /// tiny_http: behind a reverse proxy or among friends only; see [`front::tiny`](crate::front::tiny).
    #[cfg(feature = "tiny_http")]
    TinyHttp,
}

/// Accepts sessions, as a [`TcpListener`] accepts connections.
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
#[derive(Default)]
pub(crate) struct Running {
    front: Mutex<Option<Front>>,
    direct: Mutex<Option<DirectFront>>,
}

enum Front {
    Own(OwnFront),
    #[cfg(feature = "tiny_http")]
    Tiny(TinyFront),
}

impl Listener {
    /// Serves on this address, `127.0.0.1:0` for instance.
    ///
    /// # Errors
    /// As [`TcpListener::bind`]; and if the system gives no thread or no random bytes.
    pub fn bind(addr: impl ToSocketAddrs, options: ListenOptions) -> io::Result<Listener> {
        Listener::serve(TcpListener::bind(addr)?, options)
    }

    /// Serves on a socket that listens already.
    ///
    /// # Errors
    /// If the socket is of no use, or the system gives no thread or no random bytes.
    pub fn serve(socket: TcpListener, options: ListenOptions) -> io::Result<Listener> {
        Listener::serve_by(socket, FrontChoice::default(), options)
    }

    /// Serves on a socket that listens already, by this HTTP server.
    ///
    /// # Errors
    /// As [`serve`](Listener::serve).
    pub fn serve_by(
        socket: TcpListener,
        front: FrontChoice,
        options: ListenOptions,
    ) -> io::Result<Listener> {
        let addr = socket.local_addr()?;
        let path = options.path.clone();
        let limits = options.limits.clone().unwrap_or_default();
        let own_limits = limits.clone();
        let handler = Handler::new(options)?;
        let running = Arc::new(Running::default());
        // Before the first request can come.
        handler.house.run_by(&running);
        let service = Arc::new(handler.clone());
        *running.lock() = Some(match front {
            FrontChoice::Own => Front::Own(OwnFront::start(socket, path, limits, service)?),
            #[cfg(feature = "tiny_http")]
            FrontChoice::TinyHttp => Front::Tiny(TinyFront::start(socket, path, limits, service)?),
        });
        Ok(Listener {
            handler,
            limits: own_limits,
            addr,
            front: running,
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
    /// If the socket is of no use, or the system gives no thread.
    pub fn serve_direct(&self, socket: TcpListener) -> io::Result<()> {
        let port = socket.local_addr()?.port();
        let limits = self.limits.clone();
        let front = DirectFront::start(socket, self.handler.clone(), limits)?;
        self.handler.house.take_direct(port);
        let mut direct = self.front.lock_direct();
        let before = direct.replace(front);
        drop(direct);
        drop(before);
        Ok(())
    }

    /// Waits for the next session.
    ///
    /// # Errors
    /// `NotConnected`, once the listener was closed.
    pub fn accept(&self) -> io::Result<Session> {
        self.handler.accept()
    }

    /// All sessions to come, until the listener is closed.
    pub fn incoming(&self) -> impl Iterator<Item = io::Result<Session>> {
        std::iter::from_fn(|| self.accept().ok().map(Ok))
    }

    /// How many sessions there are, accepted or not.
    pub fn sessions(&self) -> usize {
        self.handler.sessions()
    }

    /// Accepts no more and closes every session in order, as [`Session::close`] does; those that have not ended
    /// within `grace` are aborted. Then gives the port back. An [`accept`](Listener::accept) that waits fails.
    pub fn close(&self, grace: Duration) {
        self.handler.close(grace);
        if let Some(front) = self.front.take() {
            front.stop();
        }
        drop(self.front.take_direct());
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

impl Front {
    fn stop(self) {
        match self {
            Front::Own(front) => front.stop(LAST_REPLIES),
            #[cfg(feature = "tiny_http")]
            Front::Tiny(front) => drop(front),
        }
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Option<Front>> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Front> {
        self.lock().take()
    }

    fn lock_direct(&self) -> MutexGuard<'_, Option<DirectFront>> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_direct(&self) -> Option<DirectFront> {
        self.lock_direct().take()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (front, direct) = (self.take(), self.take_direct());
        if front.is_none() && direct.is_none() {
            return;
        }
        // The thread that drops may be one of those that stopping waits for.
        let stopper = thread::Builder::new()
            .name("posthole-stop".into())
            .spawn(|| {
                drop(direct);
                front.map(Front::stop)
            });
        if let Err(error) = stopper {
            tracing::warn!(%error, "no thread to stop the listener in");
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}
