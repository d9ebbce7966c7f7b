//! The server with an HTTP side of its own: a [`Listener`] for code written for [`TcpListener`].

use crate::front::OwnFront;
#[cfg(feature = "tiny_http")]
use crate::front::tiny::TinyFront;
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
    addr: SocketAddr,
    front: Arc<Running>,
}

/// The front of a listener, if it still runs. It stops when neither the listener nor any session needs it.
#[derive(Default)]
pub(crate) struct Running {
    front: Mutex<Option<Front>>,
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
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(front) = self.take() else { return };
        // The thread that drops may be one of those that stopping waits for.
        let stopper = thread::Builder::new()
            .name("posthole-stop".into())
            .spawn(|| front.stop());
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
