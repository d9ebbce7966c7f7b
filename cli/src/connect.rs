//! `posthole connect … -L … -D …`: local ports that lead to destinations at the server's side. What is decided and said on
//! the way, and nothing of how it is waited for, which `threads` and `tasks` do in their own way.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Duration;

use bytes::Bytes;
use posthole_runtime::{Options, Stats, send_near};
use tracing::{debug, warn};

use crate::address::Destination;
use crate::copy::{self, Broken, Carried, Side};
use crate::error::Error;
use crate::forward::{At, Forward, Leads};
use crate::preamble;
use crate::refusal::{Refusal, refusal_in};
use crate::reverse::{Reverse, Wanted};
use crate::runtime::Runtime;
use crate::serve::stop;
use crate::socks::SocksError;
use crate::stop::Stop;
use crate::unix::{self, SocketPath};
use crate::{tasks, threads};

/// How long a new connection waits for a session, if there is none just now.
pub(crate) const NO_SESSION: Duration = Duration::from_secs(30);
/// How long to wait after an accept that failed: most likely no descriptor is left, and connections must end first.
pub(crate) const NO_DESCRIPTOR: Duration = Duration::from_millis(100);
/// Connections at once. There is no reason to be strict with oneself; this is where threads become a burden.
pub(crate) const CONNECTIONS: usize = 10_000;

/// Running forwards over one session.
#[derive(Debug)]
pub struct Client {
    on: On,
    ready: Vec<(At, Leads)>,
    _sockets: Vec<Listening>,
}

#[derive(Debug)]
enum On {
    Threads(threads::connect::Client),
    Tasks(tasks::connect::Client),
}

impl Client {
    /// Listens on every port, then begins to connect; whether the server is there shows later.
    ///
    /// # Errors
    /// A port can't be listened on, or the system gives no thread.
    pub fn start(
        runtime: Runtime,
        url: &str,
        options: Options,
        forwards: &[Forward],
        reverse: &[Reverse],
        stop: Stop,
    ) -> Result<Client, Error> {
        let (mut ports, mut sockets) = (Vec::new(), Vec::new());
        for forward in forwards {
            let (listener, port) = listen(forward)?;
            if let At::Unix(path) = &port.at {
                sockets.push(Listening(path.clone()));
            }
            ports.push((listener, port));
        }
        let wanted = reverse.iter().cloned().map(Wanted::new).collect();
        let ready = ports
            .iter()
            .map(|(_, port)| (port.at.clone(), port.leads.clone()))
            .collect();
        let on = match runtime {
            Runtime::Blocking => On::Threads(threads::connect::Client::start(
                url, options, ports, wanted, stop,
            )?),
            Runtime::Smol => On::Tasks(tasks::connect::Client::start(
                url, options, ports, wanted, stop,
            )?),
        };
        Ok(Client {
            on,
            ready,
            _sockets: sockets,
        })
    }

    /// What is forwarded: local address (with port 0, what that became) and where it leads.
    pub fn forwards(&self) -> &[(At, Leads)] {
        &self.ready
    }

    /// What the session that is there has done so far; none is there while the server can't be reached.
    pub fn stats(&self) -> Option<Stats> {
        match &self.on {
            On::Threads(client) => client.stats(),
            On::Tasks(client) => client.stats(),
        }
    }

    /// Takes no further connections, lets those there are finish for this long, and ends the session. What is cut off
    /// then is a reset to both its ends.
    pub fn stop(self, grace: Duration) {
        match self.on {
            On::Threads(client) => stop(client.live(), grace, |left| client.close(left)),
            On::Tasks(client) => stop(client.live(), grace, |left| client.close(left)),
        }
    }
}

/// The mode of a Unix socket that is listened on: for this user alone.
const OWN: u32 = 0o600;

fn listen(forward: &Forward) -> Result<(TcpListener, Port), Error> {
    let failed = |e| Error::failed(format!("can't listen on {}: {e}", forward.at));
    let (listener, at) = match &forward.at {
        At::Tcp(addr) => {
            let listener = TcpListener::bind(addr).map_err(failed)?;
            let addr = listener.local_addr().map_err(failed)?;
            send_near(&listener, addr);
            (listener, At::Tcp(addr))
        }
        At::Unix(path) => {
            let listener = unix::bind(path.as_path(), OWN).map_err(failed)?;
            (unix::as_listener(listener), At::Unix(path.clone()))
        }
    };
    let leads = forward.leads.clone();
    Ok((listener, Port { at, leads }))
}

/// A Unix socket that is listened on; its file goes with it.
#[derive(Debug)]
struct Listening(SocketPath);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.as_path());
    }
}

/// One forward, and what the log says of it.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) at: At,
    pub(crate) leads: Leads,
}

impl Port {
    /// An accept failed. No line per attempt: there may be many.
    pub(crate) fn not_accepted(&self, error: &io::Error) {
        debug!("{}: can't accept: {error}", self.at);
    }

    /// A connection did not say where it leads, or not so that it can go there.
    pub(crate) fn not_understood(&self, error: &SocksError) {
        let at = &self.at;
        // Whoever only looks whether a port is open is worth no line.
        if matches!(error, SocksError::Read(_)) {
            debug!("{at}: a connection refused: {error}");
        } else {
            warn!("{at}: a connection refused: {error}");
        }
    }

    /// It leads there.
    pub(crate) fn connection(&self, destination: Destination) -> Connection {
        Connection {
            at: self.at.clone(),
            destination,
        }
    }
}

/// One connection to a forward, and what the log says of it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    at: At,
    destination: Destination,
}

impl Connection {
    /// What a connection says first: the destination's name leaves at once, nothing is waited for; with it goes what
    /// the application has said by now, of which the second value is the length.
    pub(crate) fn first(&self, socket: impl AsFd) -> (Bytes, u64) {
        let mut first = preamble::encode(&self.destination);
        let preamble = first.len();
        copy::read_early(socket, &mut first);
        let early = (first.len() - preamble) as u64;
        (Bytes::from(first), early)
    }

    /// It came while there was no session for too long.
    pub(crate) fn no_session(&self) {
        let Connection { at, destination } = self;
        warn!("{at}: a connection to {destination} refused: the server can't be reached");
    }

    /// The session gave it no stream.
    pub(crate) fn not_opened(&self, error: &io::Error) {
        let Connection { at, destination } = self;
        warn!("{at}: a connection to {destination} refused: {error}");
    }

    pub(crate) fn carried(&self, early: u64, result: &Result<Carried, Broken>) {
        let Connection { at, destination } = self;
        match result {
            Ok(carried) => debug!(
                "{at}: {destination}: ended, {} bytes up, {} down",
                early + carried.up,
                carried.down
            ),
            Err(broken) => match refusal_in(&broken.error) {
                Some(why) if broken.side == Side::Stream && why.is_refusal() => {
                    warn!("{at}: {destination}: {why}")
                }
                Some(_) => debug!("{at}: {destination}: {}", Refusal::Reset),
                None => debug!("{at}: {destination}: reset: {}", broken.error),
            },
        }
    }
}
