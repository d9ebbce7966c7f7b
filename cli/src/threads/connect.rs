//! `posthole connect … -L … -D …` on threads: one for each port, two for each connection.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use posthole_runtime::{Options, Stats};
use tracing::warn;

use super::copy::{STACK, join};
use super::link::Link;
use super::reverse;
use crate::address::HostPort;
use crate::connect::{CONNECTIONS, NO_DESCRIPTOR, NO_SESSION, Port};
use crate::copy::{end_well, prepare};
use crate::error::Error;
use crate::forward::Leads;
use crate::intake::is_wait_over;
use crate::live::{Live, Place};
use crate::reverse::Wanted;
use crate::socks::{PATIENCE, ROOM, SocksError, Step, Talk};
use crate::stop::Stop;
use crate::unix;

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
        wanted: Vec<Wanted>,
        stop: Stop,
    ) -> Result<Client, Error> {
        let link = Link::start(url, options, stop)?;
        let live = Live::new(CONNECTIONS);
        for (listener, port) in ports {
            let at = port.at.clone();
            let shared = Arc::new(Shared {
                port,
                link: Arc::clone(&link),
                live: Arc::clone(&live),
            });
            thread::Builder::new()
                .name(format!("port {at}"))
                .stack_size(STACK)
                .spawn(move || accept(&listener, &shared))
                .map_err(|e| Error::failed(format!("no thread for {at}: {e}")))?;
        }
        reverse::start(wanted, &link, &live)?;
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
        let socket = match unix::accept(listener) {
            Ok(socket) => socket,
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
            warn!("{}: no thread for a connection: {e}", shared.port.at);
        }
    }
}

fn carry(socket: TcpStream, shared: &Shared, place: Place) {
    let destination = match &shared.port.leads {
        Leads::To(destination) => destination.clone(),
        Leads::Anywhere => match ask(&socket) {
            Ok(destination) => destination.into(),
            Err(error) => return shared.port.not_understood(&error),
        },
    };
    let connection = shared.port.connection(destination);
    let Some(session) = shared.link.session(NO_SESSION) else {
        return connection.no_session();
    };
    let (first, early) = connection.first(&socket);
    let stream = session.open().and_then(|stream| {
        stream.write_bytes(first)?;
        Ok(stream)
    });
    drop(session);
    match stream {
        Ok(stream) => connection.carried(early, &join(socket, &stream)),
        Err(e) => connection.not_opened(&e),
    }
    drop(place);
}

/// Where a connection wants to go.
fn ask(mut socket: &TcpStream) -> Result<HostPort, SocksError> {
    let until = Instant::now() + PATIENCE;
    let mut talk = Talk::new();
    let mut room = [0; ROOM];
    loop {
        match talk.step() {
            Ok(Step::Read(most)) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(SocksError::Late);
                }
                socket.set_read_timeout(Some(left))?;
                match socket.read(&mut room[..most.min(ROOM)]) {
                    Ok(n) => talk.feed(&room[..n])?,
                    Err(e) if is_wait_over(&e) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Ok(Step::Write(words)) => socket.write_all(&words)?,
            Ok(Step::Connect(words, destination)) => {
                socket.set_read_timeout(None)?;
                socket.write_all(&words)?;
                return Ok(destination);
            }
            Err(error) => {
                if let Some(words) = error.reply() {
                    // Or the reset that follows could overtake it.
                    end_well(socket);
                    let _ = socket.write_all(&words);
                }
                return Err(error);
            }
        }
    }
}
