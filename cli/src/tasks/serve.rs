//! `posthole serve` as tasks: one for each session, one for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use posthole_smol::{Listener, Session, Stream};
use smol::{Timer, future};

use super::copy::join;
use super::dial::dial;
use super::reverse;
use crate::error::Error;
use crate::live::{Live, Place};
use crate::preamble::{Asked, Incoming, PreambleError};
use crate::refusal::Refusal;
use crate::reverse::Ports;
use crate::serve::{PREAMBLE, ServeOptions, Visit};
use crate::tasks::{TASKS, spawn};

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
        let listener = smol::block_on(Listener::bind_on(
            &TASKS,
            &*options.listen,
            options.listener(),
        ));
        let listener = Arc::new(listener.map_err(failed)?);
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
        spawn(accept(Arc::clone(&listener), Arc::clone(&shared)));
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
        smol::block_on(self.listener.close(grace));
    }
}

async fn accept(listener: Arc<Listener>, shared: Arc<Shared>) {
    for number in 1_u64.. {
        let Ok(session) = listener.accept().await else {
            return;
        };
        let visit = Visit::begin(number);
        spawn(watch(session, visit, Arc::clone(&shared)));
    }
}

async fn watch(session: Session, visit: Visit, shared: Arc<Shared>) {
    while let Ok(stream) = session.accept().await {
        match shared.live.enter() {
            Some(place) => {
                spawn(carry(
                    stream,
                    session.clone(),
                    visit,
                    Arc::clone(&shared),
                    place,
                ));
            }
            None => stream.reset(visit.is_full().code()),
        }
    }
    visit.end(&session.wait_closed().await);
}

async fn carry(stream: Stream, session: Session, visit: Visit, shared: Arc<Shared>, place: Place) {
    let options = &shared.options;
    let asked = match visit.asked(read_preamble(&stream).await) {
        Ok(Asked::Connect(destination)) => Ok(destination),
        Ok(Asked::Listen(at)) => {
            // What keeps a port is no connection that is carried.
            drop(place);
            return reverse::lease(&stream, &session, &at, &shared.ports, &shared.live).await;
        }
        Err(why) => Err(why),
    };
    // A stream does not keep its session from ending.
    drop(session);
    let begin = async {
        let destination = visit.may(asked?, &options.allow)?;
        let socket = dial(&destination, options.connect_timeout).await;
        let socket = visit.dialled(&destination, socket)?;
        Ok::<_, Refusal>((destination, socket))
    };
    match begin.await {
        Ok((destination, socket)) => visit.carried(&destination, &join(socket, &stream).await),
        Err(why) => stream.reset(why.code()),
    }
    drop(place);
}

pub(super) async fn read_preamble(stream: &Stream) -> Result<Asked, PreambleError> {
    let read = async {
        let mut incoming = Incoming::new();
        while let Some(missing) = incoming.missing()? {
            incoming.feed(&stream.read_bytes(missing).await?)?;
        }
        incoming.asked()
    };
    let late = async {
        Timer::after(PREAMBLE).await;
        Err(PreambleError::Late)
    };
    future::or(read, late).await
}
