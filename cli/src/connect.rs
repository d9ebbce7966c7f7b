//! `posthole connect … -L …`: local ports that lead to destinations at the server's side.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use posthole_blocking::Options;
use tracing::{debug, warn};

use crate::address::HostPort;
use crate::copy::{self, STACK, Side};
use crate::error::Error;
use crate::far::refusal_in;
use crate::forward::Forward;
use crate::link::Link;
use crate::live::{Live, Place};
use crate::preamble;
use crate::refusal::Refusal;
use crate::stop::Stop;

/// How long a new connection waits for a session, if there is none just now.
const NO_SESSION: Duration = Duration::from_secs(30);
/// At least this long for the session's own goodbye, when connections have used the grace up.
const GOODBYE: Duration = Duration::from_secs(2);
/// Connections at once. There is no reason to be strict with oneself; this is where threads become a burden.
const CONNECTIONS: usize = 10_000;

/// Running forwards over one session.
#[derive(Debug)]
pub struct Client {
    link: Arc<Link>,
    live: Arc<Live>,
    ready: Vec<(SocketAddr, HostPort)>,
}

impl Client {
    /// Listens on every port, then begins to connect; whether the server is there shows later.
    ///
    /// # Errors
    /// A port can't be listened on, or the system gives no thread.
    pub fn start(
        url: &str,
        options: Options,
        forwards: &[Forward],
        stop: Stop,
    ) -> Result<Client, Error> {
        let mut listeners = Vec::new();
        for forward in forwards {
            let failed = |e| Error::failed(format!("can't listen on {}: {e}", forward.listen()));
            let listener = TcpListener::bind(forward.listen()).map_err(failed)?;
            let addr = listener.local_addr().map_err(failed)?;
            listeners.push((listener, addr, forward.destination.clone()));
        }
        let link = Link::start(url, options, stop)?;
        let live = Live::new(CONNECTIONS);
        let mut ready = Vec::new();
        for (listener, addr, destination) in listeners {
            ready.push((addr, destination.clone()));
            let port = Arc::new(Port {
                addr,
                destination,
                link: Arc::clone(&link),
                live: Arc::clone(&live),
            });
            thread::Builder::new()
                .name(format!("port {}", addr.port()))
                .stack_size(STACK)
                .spawn(move || accept(&listener, &port))
                .map_err(|e| Error::failed(format!("no thread for {addr}: {e}")))?;
        }
        Ok(Client { link, live, ready })
    }

    /// What is forwarded: local address (with port 0, what that became) and destination.
    pub fn forwards(&self) -> &[(SocketAddr, HostPort)] {
        &self.ready
    }

    /// The session's keeper.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Takes no further connections, lets those there are finish for this long, and ends the session. What is cut off
    /// then is a reset to both its ends.
    pub fn stop(self, grace: Duration) {
        let began = std::time::Instant::now();
        let left = self.live.finish(grace);
        if left > 0 {
            warn!(
                "cutting off {left} connections that did not finish within {} s",
                grace.as_secs_f32()
            );
        }
        self.link
            .close(grace.saturating_sub(began.elapsed()).max(GOODBYE));
        self.live.finish(GOODBYE);
    }
}

#[derive(Debug)]
struct Port {
    addr: SocketAddr,
    destination: HostPort,
    link: Arc<Link>,
    live: Arc<Live>,
}

fn accept(listener: &TcpListener, port: &Arc<Port>) {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(e) => {
                // Most likely no descriptor is left: time for connections to end, and no line per attempt.
                debug!("{}: can't accept: {e}", port.addr);
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        // Whatever comes of it, it is a reset if it does not end well.
        if copy::prepare(&socket).is_err() {
            continue;
        }
        let Some(place) = port.live.enter() else {
            continue;
        };
        let carried = Arc::clone(port);
        let thread = thread::Builder::new()
            .name("up".into())
            .stack_size(STACK)
            .spawn(move || carry(socket, &carried, place));
        if let Err(e) = thread {
            warn!("{}: no thread for a connection: {e}", port.addr);
        }
    }
}

fn carry(socket: TcpStream, port: &Port, place: Place) {
    let Port {
        addr, destination, ..
    } = port;
    let Some(session) = port.link.session(NO_SESSION) else {
        return warn!("{addr}: a connection to {destination} refused: the server can't be reached");
    };
    // The destination's name leaves at once, nothing is waited for; with it goes what the application has said by now.
    let mut first = preamble::encode(destination);
    let preamble = first.len();
    copy::read_early(&socket, &mut first);
    let early = (first.len() - preamble) as u64;
    let stream = session.open().and_then(|stream| {
        stream.write_bytes(Bytes::from(first))?;
        Ok(stream)
    });
    let stream = match stream {
        Ok(stream) => stream,
        Err(e) => return warn!("{addr}: a connection to {destination} refused: {e}"),
    };
    drop(session);
    match copy::join(socket, &stream) {
        Ok(carried) => debug!(
            "{addr}: {destination}: ended, {} bytes up, {} down",
            early + carried.up,
            carried.down
        ),
        Err(broken) => match refusal_in(&broken.error) {
            Some(why) if broken.side == Side::Stream && why.is_refusal() => {
                warn!("{addr}: {destination}: {why}")
            }
            Some(_) => debug!("{addr}: {destination}: {}", Refusal::Reset),
            None => debug!("{addr}: {destination}: reset: {}", broken.error),
        },
    }
    drop(place);
}
