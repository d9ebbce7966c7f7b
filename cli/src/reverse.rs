//! `-R`: ports at the server that lead back to the client's side. What is decided and said on the way, and nothing of how
//! it is waited for.
//!
//! ```text
//! client                               server
//!   stream "listen on BIND:PORT" ──────▶  allowed? free? its own or another client's?
//!   ◀────────────── the port, 2 bytes     the port is the client's for as long as this stream is open
//!   ◀─ stream "to BIND:PORT" ───────────  a connection to it
//!   connects where it leads, and joins
//! ```
//!
//! A port that another client of this server has is taken over at once: who comes last has it, as the one before may be
//! gone and not noticed yet. What runs through it already goes on; whoever loses it is told and does not ask again.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::Event;
use posthole_runtime::send_near;
use tracing::{info, warn};

use crate::address::{Destination, Host, HostPort};
use crate::allow::AllowList;
use crate::forward::{At, Forward, ForwardError, Leads};
use crate::refusal::{Refusal, refusal_in};

/// How long connecting to where a port leads may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);

/// A port at the server and where it leads, as seen from here. As text `[BIND:]PORT:HOST:HOSTPORT`, like `-L`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverse {
    listen: SocketAddr,
    destination: Destination,
}

impl FromStr for Reverse {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Reverse, ForwardError> {
        let forward: Forward = text.parse()?;
        match (forward.at, forward.leads) {
            (At::Tcp(listen), Leads::To(destination)) => Ok(Reverse {
                listen,
                destination,
            }),
            (At::Unix(_), _) | (_, Leads::Anywhere) => Err(ForwardError::Form(text.to_owned())),
        }
    }
}

/// An address as it travels.
fn as_host_port(addr: SocketAddr) -> HostPort {
    HostPort {
        host: Host::Ip(addr.ip()),
        port: addr.port(),
    }
}

/// And back; a name is no place to listen at.
fn as_address(asked: &HostPort) -> Option<SocketAddr> {
    match &asked.host {
        Host::Ip(ip) => Some(SocketAddr::new(*ip, asked.port)),
        Host::Name(_) => None,
    }
}

/// One port that a client wants, over all its sessions.
#[derive(Debug)]
pub(crate) struct Wanted {
    reverse: Reverse,
    /// The port that it got, to be asked for again; 0 before.
    port: Mutex<u16>,
    /// Another client has it: it is not asked for again.
    lost: AtomicBool,
}

impl Wanted {
    pub(crate) fn new(reverse: Reverse) -> Wanted {
        let port = Mutex::new(reverse.listen.port());
        Wanted {
            reverse,
            port,
            lost: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Where the server is to listen.
    pub(crate) fn asks(&self) -> HostPort {
        let port = *self.port.lock().unwrap_or_else(PoisonError::into_inner);
        as_host_port(SocketAddr::new(self.reverse.listen.ip(), port))
    }

    /// The server listens there.
    pub(crate) fn granted(&self, port: u16) {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner) = port;
        let at = SocketAddr::new(self.reverse.listen.ip(), port);
        crate::log::say(format_args!(
            "the server forwards {at} to {}",
            self.reverse.destination
        ));
    }

    /// The stream that keeps it has ended. Says so, unless it is only the session's end.
    pub(crate) fn ended(&self, error: Option<&io::Error>) {
        let at = self.asks();
        match error.map(refusal_in) {
            Some(Some(Refusal::TakenOver)) => {
                self.lost.store(true, Ordering::Relaxed);
                warn!("-R {at}: {}", Refusal::TakenOver);
            }
            Some(Some(Refusal::NotAllowed)) => {
                self.lost.store(true, Ordering::Relaxed);
                warn!("-R {at}: not allowed by the server (see serve --allow-reverse)");
            }
            Some(Some(why)) => warn!("-R {at}: {why}"),
            Some(None) => {}
            None => warn!("-R {at}: the server has ended it"),
        }
    }

    /// Where a connection to this address leads, if it is this port's.
    pub(crate) fn leads(&self, at: &Destination) -> Option<&Destination> {
        (Destination::Tcp(self.asks()) == *at).then_some(&self.reverse.destination)
    }
}

/// The port at the server that a stream keeps for its client.
#[derive(Debug)]
pub(crate) struct Kept<S, T> {
    pub(crate) at: SocketAddr,
    pub(crate) listener: TcpListener,
    /// Whose it is now, and the stream that keeps it.
    owner: Mutex<(u64, S, T)>,
    is_over: AtomicBool,
    /// Hears of that.
    pub(crate) over: Event,
}

/// All ports that clients have, `S` being their sessions and `T` the streams that keep them.
#[derive(Debug)]
pub(crate) struct Ports<S, T> {
    allow: AllowList,
    kept: Mutex<Table<S, T>>,
}

type Table<S, T> = (u64, HashMap<SocketAddr, Arc<Kept<S, T>>>);

/// What a client got.
pub(crate) struct Got<S, T> {
    pub(crate) kept: Arc<Kept<S, T>>,
    /// By which it gives it back.
    pub(crate) number: u64,
    /// Nobody accepts there yet; otherwise the stream that kept it until now.
    pub(crate) before: Option<T>,
}

impl<S: Clone, T> Ports<S, T> {
    pub(crate) fn new(allow: AllowList) -> Ports<S, T> {
        Ports {
            allow,
            kept: Mutex::new((0, HashMap::new())),
        }
    }

    /// Gives a client the port that it asks for.
    ///
    /// # Errors
    /// What to reset its stream with.
    pub(crate) fn take(
        &self,
        session: &S,
        stream: T,
        asked: &HostPort,
    ) -> Result<Got<S, T>, (Refusal, T)> {
        let Some(at) = as_address(asked).filter(|_| self.allow.admits_tcp(asked)) else {
            warn!("listening on {asked} refused: not allowed");
            return Err((Refusal::NotAllowed, stream));
        };
        let mut table = self.lock();
        table.0 += 1;
        let number = table.0;
        if let Some(kept) = table.1.get(&at).cloned() {
            let owner = (number, session.clone(), stream);
            let before = std::mem::replace(&mut *kept.lock(), owner);
            info!("{at}: taken over by another client");
            return Ok(Got {
                kept,
                number,
                before: Some(before.2),
            });
        }
        let bound = TcpListener::bind(at).and_then(|it| Ok((it.local_addr()?, it)));
        let (at, listener) = match bound {
            Ok((at, listener)) => {
                send_near(&listener, at);
                (at, listener)
            }
            Err(error) => {
                warn!("can't listen on {at} for a client: {error}");
                let taken = error.kind() == io::ErrorKind::AddrInUse;
                let why = if taken {
                    Refusal::PortTaken
                } else {
                    Refusal::Failed
                };
                return Err((why, stream));
            }
        };
        info!("{at}: listening for a client");
        let kept = Arc::new(Kept {
            at,
            listener,
            owner: Mutex::new((number, session.clone(), stream)),
            is_over: AtomicBool::new(false),
            over: Event::new(),
        });
        table.1.insert(at, Arc::clone(&kept));
        Ok(Got {
            kept,
            number,
            before: None,
        })
    }

    /// The stream that kept a port has ended. Whether the port is nobody's now: then nothing is to accept there.
    pub(crate) fn give_back(&self, kept: &Arc<Kept<S, T>>, number: u64) -> bool {
        let mut table = self.lock();
        let is_owner = kept.lock().0 == number;
        if is_owner {
            table.1.remove(&kept.at);
            kept.is_over.store(true, Ordering::Release);
            kept.over.notify(usize::MAX);
            info!("{}: no client has it any more", kept.at);
        }
        is_owner
    }

    fn lock(&self) -> MutexGuard<'_, Table<S, T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone, T> Kept<S, T> {
    /// Whose it is.
    pub(crate) fn session(&self) -> S {
        self.lock().1.clone()
    }

    /// No client has it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// What a stream to its client says first.
    pub(crate) fn named(&self) -> Destination {
        as_host_port(self.at).into()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, S, T)> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Reverse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.listen, self.destination)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_comes_last_has_the_port() {
        let ports = Ports::new(["127.0.0.1:*".parse().unwrap()].into_iter().collect());
        let any: HostPort = HostPort {
            host: "127.0.0.1".parse().unwrap(),
            port: 0,
        };
        let first = ports.take(&"a", 1, &any).ok().unwrap();
        assert!(first.before.is_none());
        let asked = as_host_port(first.kept.at);
        let second = ports.take(&"b", 2, &asked).ok().unwrap();
        assert_eq!((second.before, second.kept.session()), (Some(1), "b"));
        assert!(!ports.give_back(&first.kept, first.number));
        assert!(ports.give_back(&second.kept, second.number));
        drop((first, second.kept));
        let third = ports.take(&"c", 3, &asked).ok().unwrap();
        assert!(third.before.is_none());
    }

    #[test]
    fn what_is_not_allowed_or_taken_is_refused() {
        let ports = Ports::new(["127.0.0.1:*".parse().unwrap()].into_iter().collect());
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = as_host_port(other.local_addr().unwrap());
        let refused = |asked: &str| {
            let asked = asked.parse().unwrap();
            ports.take(&(), (), &asked).err().unwrap().0
        };
        assert_eq!(refused(&asked.to_string()), Refusal::PortTaken);
        assert_eq!(refused("0.0.0.0:7"), Refusal::NotAllowed);
        assert_eq!(refused("localhost:7"), Refusal::NotAllowed);
    }
}
