//! `posthole connect … -L …` on threads: one for each port, two for each connection.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use posthole_runtime::{Options, Stats};
use tracing::warn;

use super::copy::{STACK, join};
use super::link::Link;
use crate::connect::{CONNECTIONS, NO_DESCRIPTOR, NO_SESSION, Port};
use crate::copy::prepare;
use crate::error::Error;
use crate::live::{Live, Place};
use crate::stop::Stop;

/// Running forwards over one session.
#[derive(Debug)]
pub(crate) struct Client {
    link: Arc<Link>,
    live: Arc<Live>,
}

impl Client {
    pub(crate) fn start(
        url: &str,
        options: Options,
        ports: Vec<(TcpListener, Port)>,
        stop: Stop,
    ) -> Result<Client, Error> {
        let link = Link::start(url, options, stop)?;
        let live = Live::new(CONNECTIONS);
        for (listener, port) in ports {
            let addr = port.addr;
            let shared = Arc::new(Shared {
                port,
                link: Arc::clone(&link),
                live: Arc::clone(&live),
            });
            thread::Builder::new()
                .name(format!("port {}", addr.port()))
                .stack_size(STACK)
                .spawn(move || accept(&listener, &shared))
                .map_err(|e| Error::failed(format!("no thread for {addr}: {e}")))?;
        }
        Ok(Client { link, live })
    }

    pub(crate) fn stats(&self) -> Option<Stats> {
        let session = self.link.session(Duration::ZERO)?;
        Some(session.stats())
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Ends the session within this time.
    pub(crate) fn close(&self, grace: Duration) {
        self.link.close(grace);
    }
}

#[derive(Debug)]
struct Shared {
    port: Port,
    link: Arc<Link>,
    live: Arc<Live>,
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(e) => {
                shared.port.not_accepted(&e);
                thread::sleep(NO_DESCRIPTOR);
                continue;
            }
        };
        // Whatever comes of it, it is a reset if it does not end well.
        if prepare(&socket).is_err() {
            continue;
        }
        let Some(place) = shared.live.enter() else {
            continue;
        };
        let carried = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name("up".into())
            .stack_size(STACK)
            .spawn(move || carry(socket, &carried, place));
        if let Err(e) = thread {
            warn!("{}: no thread for a connection: {e}", shared.port.addr);
        }
    }
}

fn carry(socket: TcpStream, shared: &Shared, place: Place) {
    let Some(session) = shared.link.session(NO_SESSION) else {
        return shared.port.no_session();
    };
    let (first, early) = shared.port.first(&socket);
    let stream = session.open().and_then(|stream| {
        stream.write_bytes(first)?;
        Ok(stream)
    });
    drop(session);
    match stream {
        Ok(stream) => shared.port.carried(early, &join(socket, &stream)),
        Err(e) => shared.port.not_opened(&e),
    }
    drop(place);
}
