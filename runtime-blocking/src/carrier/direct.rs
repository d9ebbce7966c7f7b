//! Direct connections from the client's end: one at a time, dialled when the core asks for one.

use crate::driver::Shared;
use crate::wire::{Read, Wire};
use posthole_protocol::{Dial, ExchangeId};
use posthole_runtime::Frames;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How long making a connection may take. A firewall that drops packets costs no more than this.
const CONNECT: Duration = Duration::from_secs(5);

/// The reading thread's stack.
const STACK: usize = 256 * 1024;

/// The largest bundle that a server may send: more than any configuration asks for.
const LARGEST: usize = 17 << 20;

/// Partial bundles are told to the core no more often than this; its timers are several times longer.
const PROGRESS: Duration = Duration::from_millis(50);

/// Where direct connections are made to, and those that are there.
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

/// Makes a connection and reads it to its end, in a thread of its own.
pub(crate) fn dial(shared: &Arc<Shared>, address: Option<(String, u16)>) {
    let weak = Arc::downgrade(shared);
    let begun = thread::Builder::new()
        .name("posthole-direct".into())
        .stack_size(STACK)
        .spawn(move || {
            let connected = connect(address);
            run(&weak, connected);
        });
    if let Err(error) = begun {
        tracing::warn!(%error, "no thread for a direct connection");
        shared.feed_dialled(None);
    }
}

fn connect(address: Option<(String, u16)>) -> io::Result<TcpStream> {
    let (host, port) = address.ok_or_else(|| io::Error::other("nobody has said where to"))?;
    let until = Instant::now() + CONNECT;
    first_of((host.as_str(), port).to_socket_addrs()?, until)
}

/// A connection to the first of them that takes one.
fn first_of(addresses: impl Iterator<Item = SocketAddr>, until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match super::connect(address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn run(shared: &Weak<Shared>, connected: io::Result<TcpStream>) {
    let Some(strong) = shared.upgrade() else {
        return;
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "no direct connection");
            strong.feed_dialled(None);
            return;
        }
    };
    let wire = Wire::new(stream);
    let Some(exchange) = strong.feed_dialled(Some(&wire)) else {
        wire.close();
        return;
    };
    tracing::debug!(%exchange, "a direct connection");
    drop(strong);
    let mut told = Instant::now();
    wire.read(Frames::new(LARGEST), |read| {
        let Some(shared) = shared.upgrade() else {
            return false;
        };
        match read {
            Read::Bundles { bundles, .. } => shared.feed_bundles(exchange, bundles),
            Read::Part(_) if told.elapsed() >= PROGRESS => {
                told = Instant::now();
                shared.feed_progress(exchange);
            }
            Read::Part(_) | Read::Nothing => {}
        }
        true
    });
    wire.close();
    if let Some(shared) = shared.upgrade() {
        tracing::debug!(%exchange, "the direct connection has ended");
        shared.end_direct(exchange);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_address_where_nobody_listens_is_followed_by_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let somebody = listener.local_addr().unwrap();
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let until = Instant::now() + Duration::from_secs(60);
        let stream = first_of([nobody, somebody].into_iter(), until).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), somebody);
    }

    /// Else only a timer would tell it, a while later.
    #[test]
    fn another_connection_is_wanted_as_soon_as_one_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || Wire::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let shared = Shared::alone();
        let exchange = shared.feed_dialled(Some(&connect())).unwrap();
        assert!(shared.feed_dialled(Some(&connect())).is_none());
        shared.end_direct(exchange);
        assert!(shared.feed_dialled(Some(&connect())).is_some());
    }
}
