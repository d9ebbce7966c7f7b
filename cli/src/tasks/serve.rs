//! `posthole serve` as tasks: one for each session, one for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use posthole_smol::{Listener, Session, Stream};
use smol::{Timer, future};

use super::copy::join;
use super::dial::dial;
use crate::address::HostPort;
use crate::error::Error;
use crate::live::{Live, Place};
use crate::preamble::{Incoming, PreambleError};
use crate::refusal::Refusal;
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
}

impl Server {
    pub(crate) fn start(
        options: ServeOptions,
        direct: Option<TcpListener>,
    ) -> Result<Server, Error> {
        let failed = |e: io::Error| options.not_listening(&e);
        let listener = smol::block_on(Listener::bind(&*options.listen, options.listener()));
        let listener = Arc::new(listener.map_err(failed)?);
        if let Some(direct) = direct {
            listener.serve_direct(direct).map_err(failed)?;
        }
        let addr = listener.local_addr().map_err(failed)?;
        let live = Live::new(options.connections);
        let shared = Arc::new(Shared { options, live });
        smol::spawn(accept(Arc::clone(&listener), Arc::clone(&shared))).detach();
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
        smol::spawn(watch(session, visit, Arc::clone(&shared))).detach();
    }
}

async fn watch(session: Session, visit: Visit, shared: Arc<Shared>) {
    while let Ok(stream) = session.accept().await {
        match shared.live.enter() {
            Some(place) => {
                smol::spawn(carry(stream, visit, Arc::clone(&shared), place)).detach();
            }
            None => stream.reset(visit.is_full().code()),
        }
    }
    visit.end(&session.wait_closed().await);
}

async fn carry(stream: Stream, visit: Visit, shared: Arc<Shared>, place: Place) {
    let options = &shared.options;
    let begin = async {
        let destination = visit.asked(read_preamble(&stream).await, &options.allow)?;
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

async fn read_preamble(stream: &Stream) -> Result<HostPort, PreambleError> {
    let read = async {
        let mut incoming = Incoming::new();
        while let Some(missing) = incoming.missing()? {
            incoming.feed(&stream.read_bytes(missing).await?)?;
        }
        incoming.destination()
    };
    let late = async {
        Timer::after(PREAMBLE).await;
        Err(PreambleError::Late)
    };
    future::or(read, late).await
}
