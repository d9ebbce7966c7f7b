//! `posthole serve` on threads: one for each session, two for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use posthole_blocking::{Listener, Session, Stream};
use tracing::warn;

use super::copy::{STACK, join};
use super::dial::dial;
use super::reverse;
use crate::error::Error;
use crate::intake::is_wait_over;
use crate::live::{Live, Place};
use crate::preamble::{Asked, Incoming, PreambleError};
use crate::refusal::Refusal;
use crate::reverse::Ports;
use crate::serve::{PREAMBLE, ServeOptions, Visit};

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    addr: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    options: ServeOptions,
    live: Arc<Live>,
    ports: reverse::ServerPorts,
}

impl Server {
    pub(crate) fn start(
        options: ServeOptions,
        direct: Option<TcpListener>,
    ) -> Result<Server, Error> {
        let failed = |e: io::Error| options.not_listening(&e);
        let listener = Listener::bind(&*options.listen, options.listener()).map_err(failed)?;
        let listener = Arc::new(listener);
        if let Some(direct) = direct {
            listener.serve_direct(direct).map_err(failed)?;
        }
        let addr = listener.local_addr().map_err(failed)?;
        let live = Live::new(options.connections);
        let ports = Ports::new(options.allow_reverse.clone());
        let shared = Arc::new(Shared {
            options,
            live,
            ports,
        });
        let accepting = (Arc::clone(&listener), Arc::clone(&shared));
        thread::Builder::new()
            .name("accept".into())
            .spawn(move || accept(&accepting.0, &accepting.1))
            .map_err(|e| shared.options.not_listening(&e))?;
        Ok(Server {
            listener,
            shared,
            addr,
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn live(&self) -> &Live {
        &self.shared.live
    }

    /// Ends all sessions within this time.
    pub(crate) fn close(&self, grace: Duration) {
        self.listener.close(grace);
    }
}

fn accept(listener: &Listener, shared: &Arc<Shared>) {
    for number in 1_u64.. {
        let Ok(session) = listener.accept() else {
            return;
        };
        let visit = Visit::begin(number);
        let served = Arc::clone(shared);
        let watched = session.clone();
        let thread = thread::Builder::new()
            .name(format!("session {number}"))
            .stack_size(STACK)
            .spawn(move || {
                while let Ok(stream) = watched.accept() {
                    begin(stream, &watched, visit, &served);
                }
                visit.end(&watched.wait_closed());
            });
        if let Err(e) = thread {
            warn!("session {number}: no thread for it: {e}");
            session.abort();
        }
    }
}

fn begin(stream: Stream, session: &Session, visit: Visit, shared: &Arc<Shared>) {
    let Some(place) = shared.live.enter() else {
        return stream.reset(visit.is_full().code());
    };
    let Ok(handle) = stream.try_clone() else {
        return;
    };
    let (served, session) = (Arc::clone(shared), session.clone());
    let thread = thread::Builder::new()
        .name("up".into())
        .stack_size(STACK)
        .spawn(move || carry(&stream, session, visit, &served, place));
    if let Err(e) = thread {
        warn!("no thread for a connection: {e}");
        handle.reset(visit.is_full().code());
    }
}

fn carry(stream: &Stream, session: Session, visit: Visit, shared: &Shared, place: Place) {
    let options = &shared.options;
    let asked = match visit.asked(read_preamble(stream)) {
        Ok(Asked::Connect(destination)) => Ok(destination),
        Ok(Asked::Listen(at)) => {
            // What keeps a port is no connection that is carried.
            drop(place);
            return reverse::lease(stream, &session, &at, &shared.ports, &shared.live);
        }
        Err(why) => Err(why),
    };
    // A stream does not keep its session from ending.
    drop(session);
    let begin = || {
        let destination = visit.may(asked?, &options.allow)?;
        let socket = dial(&destination, options.connect_timeout);
        let socket = visit.dialled(&destination, socket)?;
        Ok::<_, Refusal>((destination, socket))
    };
    match begin() {
        Ok((destination, socket)) => visit.carried(&destination, &join(socket, stream)),
        Err(why) => stream.reset(why.code()),
    }
    drop(place);
}

pub(super) fn read_preamble(stream: &Stream) -> Result<Asked, PreambleError> {
    stream.set_read_timeout(Some(PREAMBLE))?;
    let mut incoming = Incoming::new();
    while let Some(missing) = incoming.missing()? {
        match stream.read_bytes(missing) {
            Err(e) if is_wait_over(&e) => return Err(PreambleError::Late),
            bytes => incoming.feed(&bytes?)?,
        }
    }
    stream.set_read_timeout(None)?;
    incoming.asked()
}
