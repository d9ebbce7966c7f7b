//! Direct connections from the client's end: one at a time, dialled when the core asks for one.

use crate::driver::Shared;
use crate::spawn::Spawner;
use crate::timer;
use crate::wire::{Read, Then, Wire};
use posthole_protocol::{Dial, ExchangeId};
use smol::future::FutureExt;
use smol::{Async, Timer};
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long making a connection may take. A firewall that drops packets costs no more than this.
const CONNECT: Duration = Duration::from_secs(5);

/// The largest bundle that a server may send: more than any configuration asks for.
const LARGEST: usize = 17 << 20;

/// Partial bundles are told to the core no more often than this; its timers are several times longer.
const PROGRESS: Duration = Duration::from_millis(50);

/// Where direct connections are made to, and the one that is there. Dropped, it closes that.
pub(crate) struct DirectLane {
    host: String,
    /// `None`: as the server tells.
    port: Option<u16>,
    wire: Option<(ExchangeId, Arc<Wire>)>,
}

impl DirectLane {
    pub(crate) fn new(host: String, port: Option<u16>) -> DirectLane {
        DirectLane {
            host,
            port,
            wire: None,
        }
    }

    /// The connection of this name.
    pub(crate) fn wire(&self, exchange: ExchangeId) -> Option<Arc<Wire>> {
        let (own, wire) = self.wire.as_ref()?;
        (*own == exchange).then(|| wire.clone())
    }

    /// A connection is there.
    pub(crate) fn set(&mut self, exchange: ExchangeId, wire: Arc<Wire>) {
        self.wire = Some((exchange, wire));
    }

    /// Forgets the connection of this name.
    pub(crate) fn take(&mut self, exchange: ExchangeId) -> Option<Arc<Wire>> {
        let taken = self.wire.take_if(|(own, _)| *own == exchange)?;
        Some(taken.1)
    }

    /// Where to, now.
    pub(crate) fn address(&self, dial: Dial) -> Option<(String, u16)> {
        let port = self.port.or(dial.port)?;
        Some((self.host.clone(), port))
    }
}

impl Drop for DirectLane {
    fn drop(&mut self) {
        if let Some((_, wire)) = self.wire.take() {
            wire.close();
        }
    }
}

/// Makes a connection and reads it to its end, in a task of its own.
pub(crate) fn dial(shared: &Arc<Shared>, spawner: &Spawner, address: Option<(String, u16)>) {
    let shared = Arc::downgrade(shared);
    spawner.spawn(async move {
        let late = async {
            Timer::after(CONNECT).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let connected = connect(address).or(late).await;
        run(&shared, connected).await;
    });
}

async fn connect(address: Option<(String, u16)>) -> io::Result<Async<TcpStream>> {
    let (host, port) = address.ok_or_else(|| io::Error::other("nobody has said where to"))?;
    let mut last = io::Error::other("the name has no address");
    for address in smol::net::resolve((host.as_str(), port)).await? {
        match crate::io::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn run(shared: &Weak<Shared>, connected: io::Result<Async<TcpStream>>) {
    let dialled = |wire: Option<&Arc<Wire>>| shared.upgrade()?.feed_dialled(wire);
    let stream = match connected {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "no direct connection");
            dialled(None);
            return;
        }
    };
    let wire = Wire::new(stream);
    let Some(exchange) = dialled(Some(&wire)) else {
        return;
    };
    tracing::debug!(%exchange, "a direct connection");
    let mut told = Instant::now();
    wire.run(LARGEST, None, |read| {
        let Some(shared) = shared.upgrade() else {
            return Then::End;
        };
        match read {
            Read::Bundles { bundles, .. } => {
                shared.turn(|inside| inside.feed_bundles(timer::now(), exchange, bundles));
            }
            Read::Part(_) if told.elapsed() >= PROGRESS => {
                told = Instant::now();
                shared.turn(|inside| inside.feed_progress(timer::now(), exchange));
            }
            Read::Part(_) | Read::Late => {}
        }
        Then::GoOn(None)
    })
    .await;
    tracing::debug!(%exchange, "the direct connection has ended");
    if let Some(shared) = shared.upgrade() {
        shared.end_direct(exchange);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    /// Else only a timer would tell it, a while later.
    #[test]
    fn another_connection_is_wanted_as_soon_as_one_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let stream = TcpStream::connect(listener.local_addr().unwrap());
            Wire::new(Async::new(stream.unwrap()).unwrap())
        };
        let shared = Shared::alone();
        let exchange = shared.feed_dialled(Some(&connect())).unwrap();
        assert!(shared.feed_dialled(Some(&connect())).is_none());
        shared.end_direct(exchange);
        assert!(shared.feed_dialled(Some(&connect())).is_some());
    }
}
