//! `posthole serve`: connects the streams of its clients to the destinations that are allowed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use posthole_blocking::front::Limits;
use posthole_blocking::{ListenOptions, Listener, RouterConfig, Stream};
use tracing::{debug, info, warn};

use crate::allow::AllowList;
use crate::copy::{self, STACK};
use crate::dial::dial;
use crate::error::Error;
use crate::live::{Live, Place};
use crate::preamble;
use crate::refusal::Refusal;

/// How long a new stream may take to say where it wants to go.
const PREAMBLE: Duration = Duration::from_secs(30);
/// At least this long for the sessions' own goodbyes, when connections have used the grace up.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a server is to do.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen, `host:port`.
    pub listen: String,
    /// The URL's path.
    pub path: String,
    /// What may be connected to.
    pub allow: AllowList,
    /// How long connecting to a destination may take.
    pub connect_timeout: Duration,
    /// Sessions at once; a thread each. Who comes later is told to try again.
    pub sessions: usize,
    /// Connections carried at once; two threads each.
    pub connections: usize,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    addr: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    options: ServeOptions,
    live: Arc<Live>,
}

impl Server {
    /// Listens and serves, on threads of its own.
    ///
    /// # Errors
    /// Nothing is allowed; or the address can't be listened on.
    pub fn start(options: ServeOptions) -> Result<Server, Error> {
        if options.allow.is_empty() {
            return Err(Error::usage(
                "nothing is allowed, so there is nothing to serve: whoever reaches this server may connect to what \
                 --allow HOST:PORT names and to nothing else (for example --allow 127.0.0.1:22)",
            ));
        }
        let listen = options.listen.clone();
        let failed = |e: io::Error| Error::failed(format!("can't listen on {listen}: {e}"));
        let router = RouterConfig {
            sessions: options.sessions,
            ..RouterConfig::default()
        };
        let limits = Limits::default();
        // A session holds at least one connection, and more while it moves something.
        let limits = Limits {
            connections: limits.connections.max(options.sessions.saturating_mul(4)),
            ..limits
        };
        let how = ListenOptions::new()
            .path(options.path.clone())
            .limits(limits)
            .router(router);
        let listener = Listener::bind(&*options.listen, how).map_err(failed)?;
        let listener = Arc::new(listener);
        let addr = listener.local_addr().map_err(failed)?;
        let live = Live::new(options.connections);
        let shared = Arc::new(Shared { options, live });
        let accepting = (Arc::clone(&listener), Arc::clone(&shared));
        thread::Builder::new()
            .name("accept".into())
            .spawn(move || accept(&accepting.0, &accepting.1))
            .map_err(failed)?;
        Ok(Server {
            listener,
            shared,
            addr,
        })
    }

    /// Where it listens: with port 0, which port that became.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no further connections, lets those there are finish for this long, and ends all sessions. What is cut
    /// off then is a reset to both its ends.
    pub fn stop(self, grace: Duration) {
        let began = std::time::Instant::now();
        let left = self.shared.live.finish(grace);
        if left > 0 {
            warn!(
                "cutting off {left} connections that did not finish within {} s",
                grace.as_secs_f32()
            );
        }
        self.listener
            .close(grace.saturating_sub(began.elapsed()).max(GOODBYE));
        // The copiers see their streams fail and reset their sockets; that takes no time worth a setting.
        self.shared.live.finish(GOODBYE);
    }
}

fn accept(listener: &Listener, shared: &Arc<Shared>) {
    for number in 1_u64.. {
        let Ok(session) = listener.accept() else {
            return;
        };
        info!("session {number}: opened");
        let served = Arc::clone(shared);
        let watched = session.clone();
        let thread = thread::Builder::new()
            .name(format!("session {number}"))
            .stack_size(STACK)
            .spawn(move || {
                while let Ok(stream) = watched.accept() {
                    begin(stream, number, &served);
                }
                info!("session {number}: {}", watched.wait_closed());
            });
        if let Err(e) = thread {
            warn!("session {number}: no thread for it: {e}");
            session.abort();
        }
    }
}

fn begin(stream: Stream, session: u64, shared: &Arc<Shared>) {
    let Some(place) = shared.live.enter() else {
        warn!("session {session}: a connection refused: {}", Refusal::Busy);
        stream.reset(Refusal::Busy.code());
        return;
    };
    let Ok(handle) = stream.try_clone() else {
        return;
    };
    let served = Arc::clone(shared);
    let thread = thread::Builder::new()
        .name("up".into())
        .stack_size(STACK)
        .spawn(move || carry(&stream, session, &served.options, place));
    if let Err(e) = thread {
        warn!("session {session}: a connection refused: no thread for it: {e}");
        handle.reset(Refusal::Busy.code());
    }
}

fn carry(stream: &Stream, session: u64, options: &ServeOptions, place: Place) {
    let refuse = |why: Refusal| stream.reset(why.code());
    let destination = match read_preamble(stream) {
        Ok(destination) => destination,
        Err(e) => {
            warn!("session {session}: a stream refused: {e}");
            return refuse(Refusal::Preamble);
        }
    };
    if !options.allow.admits(&destination) {
        warn!("session {session}: {destination} refused: not allowed");
        return refuse(Refusal::NotAllowed);
    }
    let socket = match dial(&destination, options.connect_timeout) {
        Ok(socket) => socket,
        Err(failed) => {
            warn!("session {session}: {destination}: {failed}");
            return refuse(failed.why);
        }
    };
    if let Err(e) = copy::prepare(&socket) {
        warn!("session {session}: {destination}: {e}");
        return refuse(Refusal::of_connect(&e));
    }
    debug!("session {session}: {destination}: connected");
    match copy::join(socket, stream) {
        // Seen from the destination, as the client's log has it.
        Ok(carried) => debug!(
            "session {session}: {destination}: ended, {} bytes up, {} down",
            carried.down, carried.up
        ),
        Err(broken) => debug!("session {session}: {destination}: reset: {}", broken.error),
    }
    drop(place);
}

fn read_preamble(stream: &Stream) -> Result<crate::address::HostPort, preamble::PreambleError> {
    stream.set_read_timeout(Some(PREAMBLE))?;
    let destination = preamble::read(&mut &*stream)?;
    stream.set_read_timeout(None)?;
    Ok(destination)
}
