//! `posthole connect … -L … -D …` as tasks: one for each port, one for each connection.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use posthole_runtime::{Options, Stats};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer, future};

use super::copy::join;
use super::link::Link;
use super::reverse;
use crate::address::HostPort;
use crate::connect::{CONNECTIONS, NO_DESCRIPTOR, NO_SESSION, Port};
use crate::copy::{end_well, prepare};
use crate::error::Error;
use crate::forward::Leads;
use crate::live::{Live, Place};
use crate::reverse::Wanted;
use crate::socks::{PATIENCE, ROOM, SocksError, Step, Talk};
use crate::stop::Stop;
use crate::tasks::spawn;
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
        let link = Link::start(url, options, stop);
        let live = Live::new(CONNECTIONS);
        for (listener, port) in ports {
            let listener = Async::new(listener)
                .map_err(|e| Error::failed(format!("can't wait on {}: {e}", port.at)))?;
            let shared = Arc::new(Shared {
                port,
                link: Arc::clone(&link),
                live: Arc::clone(&live),
            });
            spawn(accept(listener, shared));
        }
        reverse::start(wanted, &link, &live);
        Ok(Client { link, live })
    }

    pub(crate) fn stats(&self) -> Option<Stats> {
        Some(self.link.session_now()?.stats())
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Ends the session within this time.
    pub(crate) fn close(&self, grace: Duration) {
        smol::block_on(self.link.close(grace));
    }
}

#[derive(Debug)]
struct Shared {
    port: Port,
    link: Arc<Link>,
    live: Arc<Live>,
}

async fn accept(listener: Async<TcpListener>, shared: Arc<Shared>) {
    loop {
        let accepted = listener.read_with(|listener| unix::accept(listener)).await;
        let socket = match accepted.and_then(Async::new) {
            Ok(socket) => socket,
            Err(e) => {
                shared.port.not_accepted(&e);
                Timer::after(NO_DESCRIPTOR).await;
                continue;
            }
        };
        // Whatever comes of it, it is a reset if it does not end well.
        if prepare(&socket).is_err() {
            continue;
        }
        if let Some(place) = shared.live.enter() {
            spawn(carry(socket, Arc::clone(&shared), place));
        }
    }
}

async fn carry(socket: Async<TcpStream>, shared: Arc<Shared>, place: Place) {
    let destination = match &shared.port.leads {
        Leads::To(destination) => destination.clone(),
        Leads::Anywhere => match ask_within(&socket).await {
            Ok(destination) => destination.into(),
            Err(error) => return shared.port.not_understood(&error),
        },
    };
    let connection = shared.port.connection(destination);
    let Some(session) = shared.link.session(NO_SESSION).await else {
        return connection.no_session();
    };
    let (first, early) = connection.first(&socket);
    let stream = async {
        let stream = session.open().await?;
        stream.write_bytes(first).await?;
        Ok(stream)
    };
    let stream = stream.await;
    drop(session);
    match stream {
        Ok(stream) => connection.carried(early, &join(socket, &stream).await),
        Err(e) => connection.not_opened(&e),
    }
    drop(place);
}

async fn ask_within(socket: &Async<TcpStream>) -> Result<HostPort, SocksError> {
    let late = async {
        Timer::after(PATIENCE).await;
        Err(SocksError::Late)
    };
    future::or(ask(socket), late).await
}

/// Where a connection wants to go.
async fn ask(mut socket: &Async<TcpStream>) -> Result<HostPort, SocksError> {
    let mut talk = Talk::new();
    let mut room = [0; ROOM];
    loop {
        match talk.step() {
            Ok(Step::Read(most)) => {
                let n = socket.read(&mut room[..most.min(ROOM)]).await?;
                talk.feed(&room[..n])?;
            }
            Ok(Step::Write(words)) => socket.write_all(&words).await?,
            Ok(Step::Connect(words, destination)) => {
                socket.write_all(&words).await?;
                return Ok(destination);
            }
            Err(error) => {
                if let Some(words) = error.reply() {
                    // Or the reset that follows could overtake it.
                    end_well(socket);
                    let _ = socket.write_all(&words).await;
                }
                return Err(error);
            }
        }
    }
}
