//! `posthole serve`: connects the streams of its clients to the destinations that are allowed. What is decided and said
//! on the way, and nothing of how bytes and connections are waited for, which `threads` and `tasks` do in their own
//! way.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use posthole_protocol::RouterConfig;
use posthole_runtime::{Limits, ListenOptions};
use tracing::{debug, info, warn};

use crate::address::Destination;
use crate::allow::AllowList;
use crate::bridge::Bridge;
use crate::copy::{self, Broken, Carried};
use crate::dial::NotDialled;
use crate::error::Error;
use crate::live::Live;
use crate::preamble::{Asked, PreambleError};
use crate::refusal::Refusal;
use crate::runtime::Runtime;
use crate::{tasks, threads};

/// How long a new stream may take to say where it wants to go.
pub(crate) const PREAMBLE: Duration = Duration::from_secs(30);
/// At least this long for the sessions' own goodbyes, when connections have used the grace up.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a server is to do.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen, `host:port`.
    pub listen: String,
    /// Where to take direct connections, `host:port`, if anywhere.
    pub tcp: Option<String>,
    /// A Unix socket that leads to the HTTP side, and its mode.
    pub socket: Option<(PathBuf, u32)>,
    /// The URL's path.
    pub path: String,
    /// What may be connected to.
    pub allow: AllowList,
    /// Where clients may have it listen for them.
    pub allow_reverse: AllowList,
    /// How long connecting to a destination may take.
    pub connect_timeout: Duration,
    /// Sessions at once. Who comes later is told to try again.
    pub sessions: usize,
    /// Connections carried at once.
    pub connections: usize,
}

impl ServeOptions {
    /// The same for the runtime's listener.
    pub(crate) fn listener(&self) -> ListenOptions {
        let limits = Limits::default();
        // A session holds at least one connection, and more while it moves something.
        let limits = Limits {
            connections: limits.connections.max(self.sessions.saturating_mul(4)),
            ..limits
        };
        let router = RouterConfig {
            sessions: self.sessions,
            ..RouterConfig::default()
        };
        ListenOptions::new()
            .path(self.path.clone())
            .limits(limits)
            .router(router)
    }

    /// What to say when it can't be listened on.
    pub(crate) fn not_listening(&self, error: &std::io::Error) -> Error {
        Error::failed(format!("can't listen on {}: {error}", self.listen))
    }

    /// The socket for direct connections, and where it listens.
    fn listen_direct(&self) -> Result<Option<(TcpListener, SocketAddr)>, Error> {
        let Some(tcp) = &self.tcp else {
            return Ok(None);
        };
        let listener = TcpListener::bind(tcp).and_then(|it| Ok((it.local_addr()?, it)));
        let (addr, listener) = listener.map_err(|e| {
            Error::failed(format!("can't listen on {tcp} for direct connections: {e}"))
        })?;
        Ok(Some((listener, addr)))
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    on: On,
    direct: Option<SocketAddr>,
    _bridge: Option<Bridge>,
}

#[derive(Debug)]
enum On {
    Threads(threads::serve::Server),
    Tasks(tasks::serve::Server),
}

impl Server {
    /// Listens and serves, on threads of its own.
    ///
    /// # Errors
    /// Nothing is allowed; or the address can't be listened on.
    pub fn start(runtime: Runtime, options: ServeOptions) -> Result<Server, Error> {
        if options.allow.is_empty() && options.allow_reverse.is_empty() {
            return Err(Error::usage(
                "nothing is allowed, so there is nothing to serve: whoever reaches this server may connect to what \
                 --allow HOST:PORT names and to nothing else (for example --allow 127.0.0.1:22; --allow-reverse is for \
                 connect -R)",
            ));
        }
        let (socket, direct) = options.listen_direct()?.unzip();
        let bridge = options.socket.clone();
        let on = match runtime {
            Runtime::Blocking => On::Threads(threads::serve::Server::start(options, socket)?),
            Runtime::Smol => On::Tasks(tasks::serve::Server::start(options, socket)?),
        };
        let mut server = Server {
            on,
            direct,
            _bridge: None,
        };
        if let Some((path, mode)) = bridge {
            server._bridge = Some(Bridge::start(&path, mode, server.reachable())?);
        }
        Ok(server)
    }

    /// Where it takes direct connections, if it does.
    pub fn direct(&self) -> Option<SocketAddr> {
        self.direct
    }

    /// Where this machine reaches it.
    fn reachable(&self) -> SocketAddr {
        let mut addr = self.addr();
        if addr.ip().is_unspecified() {
            addr.set_ip(if addr.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        addr
    }

    /// Where it listens: with port 0, which port that became.
    pub fn addr(&self) -> SocketAddr {
        match &self.on {
            On::Threads(server) => server.addr(),
            On::Tasks(server) => server.addr(),
        }
    }

    /// Takes no further connections, lets those there are finish for this long, and ends all sessions. What is cut
    /// off then is a reset to both its ends.
    pub fn stop(self, grace: Duration) {
        match self.on {
            On::Threads(server) => stop(server.live(), grace, |left| server.close(left)),
            On::Tasks(server) => stop(server.live(), grace, |left| server.close(left)),
        }
    }
}

/// The order of the end; `close` ends all sessions within the time that it is given.
pub(crate) fn stop(live: &Live, grace: Duration, close: impl FnOnce(Duration)) {
    let began = Instant::now();
    let left = live.finish(grace);
    if left > 0 {
        warn!(
            "cutting off {left} connections that did not finish within {} s",
            grace.as_secs_f32()
        );
    }
    close(grace.saturating_sub(began.elapsed()).max(GOODBYE));
    // The copiers see their streams fail and reset their sockets; that takes no time worth a setting.
    live.finish(GOODBYE);
}

/// One session as the log knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    number: u64,
}

impl Visit {
    /// The next one has come.
    pub(crate) fn begin(number: u64) -> Visit {
        info!("session {number}: opened");
        Visit { number }
    }

    pub(crate) fn end(self, reason: &impl std::fmt::Display) {
        info!("session {}: {reason}", self.number);
    }

    /// A stream for which there is no place.
    pub(crate) fn is_full(self) -> Refusal {
        let why = Refusal::Busy;
        warn!("session {}: a connection refused: {why}", self.number);
        why
    }

    /// What a stream is for, if it said so.
    ///
    /// # Errors
    /// What to reset it with.
    pub(crate) fn asked(self, preamble: Result<Asked, PreambleError>) -> Result<Asked, Refusal> {
        preamble.map_err(|e| {
            warn!("session {}: a stream refused: {e}", self.number);
            Refusal::Preamble
        })
    }

    /// Where a stream wants to go, if it may.
    ///
    /// # Errors
    /// What to reset it with.
    pub(crate) fn may(
        self,
        destination: Destination,
        allow: &AllowList,
    ) -> Result<Destination, Refusal> {
        let number = self.number;
        if allow.admits(&destination) {
            Ok(destination)
        } else {
            warn!("session {number}: {destination} refused: not allowed");
            Err(Refusal::NotAllowed)
        }
    }

    /// The destination's socket, ready to be joined.
    ///
    /// # Errors
    /// What to reset the stream with.
    pub(crate) fn dialled<S: AsFd>(
        self,
        destination: &Destination,
        socket: Result<S, NotDialled>,
    ) -> Result<S, Refusal> {
        let number = self.number;
        let socket = socket.map_err(|failed| {
            warn!("session {number}: {destination}: {failed}");
            failed.why
        })?;
        copy::prepare(&socket).map_err(|e| {
            warn!("session {number}: {destination}: {e}");
            Refusal::of_connect(&e)
        })?;
        debug!("session {number}: {destination}: connected");
        Ok(socket)
    }

    pub(crate) fn carried(self, destination: &Destination, result: &Result<Carried, Broken>) {
        let number = self.number;
        match result {
            // Seen from the destination, as the client's log has it.
            Ok(carried) => debug!(
                "session {number}: {destination}: ended, {} bytes up, {} down",
                carried.down, carried.up
            ),
            Err(broken) => debug!("session {number}: {destination}: reset: {}", broken.error),
        }
    }
}
