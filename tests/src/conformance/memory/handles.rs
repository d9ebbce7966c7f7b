//! A runtime like the others, but for what is under it: handles of sessions that the network connects.

use super::stage::{act, act_if_on, wait_for};
use super::wire::{Core, Who};
use crate::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use bytes::Bytes;
use posthole_protocol::{CloseReason, Config, Learned, ResetCode, StreamId};
use posthole_runtime::{SessionEnded, Stats, Tried};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The runtime of both sides.
#[derive(Debug)]
pub struct Virtual;

impl Runtime for Virtual {
    type Session = Party;
    type Listener = Door;

    fn connect(url: &str, how: Dial) -> io::Result<Party> {
        let addr = url
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_suffix('/'))
            .and_then(|addr| addr.parse().ok())
            .ok_or(ErrorKind::InvalidInput)?;
        let who = act(|wire| wire.connect(addr, how.config));
        let party = Party::new(who);
        let patience = if how.waits {
            how.timeout
        } else {
            return Ok(party);
        };
        let connected = wait_for(Some(patience), |wire, me| {
            let core = wire.core(who);
            if core.is_connected() || core.closed().is_some() {
                return Some(core.closed().cloned());
            }
            core.milestone.join(me);
            None
        });
        match connected {
            Some(None) => return Ok(party),
            Some(Some(reason)) => Err(io::Error::new(
                ErrorKind::ConnectionRefused,
                SessionEnded(reason),
            )),
            None => Err(io::Error::new(
                ErrorKind::TimedOut,
                party.stats().last_trouble.unwrap_or_default(),
            )),
        }
        .inspect_err(|_| party.abort())
    }

    fn bind(addr: SocketAddr, config: Config) -> io::Result<Door> {
        act(|wire| {
            let addr = if addr.port() == 0 { wire.place() } else { addr };
            if wire.is_free(addr) {
                let host = wire.serve(addr, config);
                Ok(Door { addr, host })
            } else {
                Err(ErrorKind::AddrInUse.into())
            }
        })
    }
}

/// A listener.
#[derive(Debug)]
pub struct Door {
    addr: SocketAddr,
    host: usize,
}

impl Listener for Door {
    type Session = Party;

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn accept(&self) -> io::Result<Party> {
        let accepted = wait_for(None, |wire, me| {
            let house = &mut wire.host(self.host).house;
            match house.accept() {
                Ok(Tried::Done(session)) => Some(Ok(session)),
                Ok(Tried::Blocked) => {
                    house.arrived.join(me);
                    None
                }
                Err(error) => Some(Err(error)),
            }
        });
        let session = accepted.expect("waits without end")?;
        Ok(Party::new(Who::Server(self.host, session)))
    }

    fn sessions(&self) -> usize {
        act(|wire| wire.sessions_of(self.host).len())
    }

    fn close(&self, grace: Duration) {
        act(|wire| {
            wire.shut(self.host);
            for session in wire.sessions_of(self.host) {
                wire.close(Who::Server(self.host, session));
            }
        });
        wait_for(Some(grace), |wire, me| {
            let house = &mut wire.host(self.host).house;
            if house.sessions().len() == 0 {
                return Some(());
            }
            house.left.join(me);
            None
        });
        act(|wire| {
            for session in wire.sessions_of(self.host) {
                let who = Who::Server(self.host, session);
                wire.core(who).abort();
                wire.settle(who);
            }
            wire.take_down(self.host);
        });
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        act_if_on(|wire| wire.let_go(self.host));
    }
}

/// A session.
#[derive(Clone, Debug)]
pub struct Party {
    keeper: Arc<Keeper>,
}

/// What all handles of a session and its streams share; its drop closes the session.
#[derive(Debug)]
struct Keeper {
    who: Who,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        act_if_on(|wire| wire.close(self.who));
    }
}

/// What is tried, and again when there are news.
type Attempt<T> = io::Result<Tried<T>>;

impl Party {
    fn new(who: Who) -> Party {
        Party {
            keeper: Arc::new(Keeper { who }),
        }
    }

    fn stream(&self, attempt: fn(&mut Core, usize) -> Attempt<StreamId>) -> io::Result<Line> {
        let id = self.keeper.wait_for(None, attempt)?;
        Ok(Line {
            inner: Arc::new(Inner {
                keeper: self.keeper.clone(),
                id: id.expect("waits without end"),
            }),
        })
    }
}

impl Keeper {
    /// Does something to the session at once.
    fn act<T>(&self, what: impl FnOnce(&mut Core) -> T) -> T {
        act(|wire| {
            let done = what(wire.core(self.who));
            wire.settle(self.who);
            done
        })
    }

    /// Tries until it is done or has failed, at most for so long.
    fn wait_for<T>(
        &self,
        patience: Option<Duration>,
        mut attempt: impl FnMut(&mut Core, usize) -> Attempt<T>,
    ) -> io::Result<Option<T>> {
        let tried = wait_for(patience, |wire, me| {
            let tried = attempt(wire.core(self.who), me);
            wire.settle(self.who);
            match tried {
                Ok(Tried::Done(done)) => Some(Ok(done)),
                Ok(Tried::Blocked) => None,
                Err(error) => Some(Err(error)),
            }
        });
        tried.transpose()
    }
}

impl Session for Party {
    type Stream = Line;

    fn open(&self) -> io::Result<Line> {
        self.stream(|core, me| {
            let tried = core.open();
            if let Ok(Tried::Blocked) = tried {
                core.room.join(me);
            }
            tried
        })
    }

    fn accept(&self) -> io::Result<Line> {
        self.stream(|core, me| {
            let tried = core.accept();
            if let Ok(Tried::Blocked) = tried {
                core.incoming.join(me);
            }
            tried
        })
    }

    fn close(&self) -> io::Result<()> {
        self.keeper.act(Core::close);
        if self.wait_closed().is_clean() {
            return Ok(());
        }
        let error = self.keeper.act(|core| core.open().err());
        Err(error.expect("the session has ended"))
    }

    fn abort(&self) {
        self.keeper.act(Core::abort);
    }

    fn closed(&self) -> Option<CloseReason> {
        self.keeper.act(|core| core.closed().cloned())
    }

    fn wait_closed(&self) -> CloseReason {
        let ended = self.keeper.wait_for(None, |core, me| {
            if let Some(reason) = core.closed() {
                return Ok(Tried::Done(reason.clone()));
            }
            core.milestone.join(me);
            Ok(Tried::Blocked)
        });
        let ended = ended.expect("this has no errors");
        ended.expect("waits without end")
    }

    fn is_connected(&self) -> bool {
        self.keeper.act(|core| core.is_connected())
    }

    fn learned(&self) -> Option<Learned> {
        self.keeper.act(|core| core.learned())
    }

    fn stats(&self) -> Stats {
        self.keeper.act(|core| core.stats())
    }
}

/// A stream.
#[derive(Clone, Debug)]
pub struct Line {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keeper: Arc<Keeper>,
    id: StreamId,
}

impl Drop for Inner {
    fn drop(&mut self) {
        act_if_on(|wire| {
            wire.core(self.keeper.who).release(self.id);
            wire.settle(self.keeper.who);
        });
    }
}

impl Inner {
    fn receive<T>(
        &self,
        patience: Option<Duration>,
        mut attempt: impl FnMut(&mut Core, StreamId) -> Attempt<T>,
    ) -> io::Result<Option<T>> {
        self.keeper.wait_for(patience, |core, me| {
            let tried = attempt(core, self.id);
            if let Ok(Tried::Blocked) = tried {
                core.readable(self.id).join(me);
            }
            tried
        })
    }

    /// Writes until something was taken.
    fn send(&self, data: &mut Bytes, patience: Option<Duration>) -> io::Result<Option<usize>> {
        let whole = data.len();
        self.keeper.wait_for(patience, |core, me| {
            core.put(self.id, data)?;
            if data.len() < whole {
                return Ok(Tried::Done(whole - data.len()));
            }
            core.writable(self.id).join(me);
            Ok(Tried::Blocked)
        })
    }

    fn read(&self, buffer: &mut [u8], patience: Option<Duration>) -> io::Result<Option<usize>> {
        if buffer.is_empty() {
            return Ok(Some(0));
        }
        let pieces = self.receive(patience, |core, id| core.take_all(id, buffer.len()))?;
        Ok(pieces.map(|pieces| pieces.copy_to(buffer)))
    }

    fn write(&self, bytes: &[u8], patience: Option<Duration>) -> io::Result<Option<usize>> {
        if bytes.is_empty() {
            return Ok(Some(0));
        }
        let mut data = Bytes::copy_from_slice(&bytes[..bytes.len().min(64 * 1024)]);
        self.send(&mut data, patience)
    }
}

impl Stream for Line {
    fn id(&self) -> u64 {
        self.inner.id.number()
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer, None)?;
        Ok(read.expect("waits without end"))
    }

    fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.inner.receive(None, |core, id| core.take(id, max))?;
        Ok(bytes.expect("waits without end"))
    }

    fn read_within(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Option<usize>> {
        self.inner.read(buffer, Some(patience))
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let look = |core: &mut Core, id| core.look(id, buffer.len());
        let seen = self.inner.receive(None, look)?;
        let seen = seen.expect("waits without end");
        let n = seen.len().min(buffer.len());
        buffer[..n].copy_from_slice(&seen[..n]);
        Ok(n)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes, None)?;
        Ok(written.expect("waits without end"))
    }

    fn write_bytes(&self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            self.inner.send(&mut bytes, None)?;
        }
        Ok(())
    }

    fn write_within(&self, bytes: &[u8], patience: Duration) -> io::Result<Option<usize>> {
        self.inner.write(bytes, Some(patience))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let inner = &self.inner;
        inner.keeper.act(|core| core.shutdown(inner.id, how))
    }

    fn reset(&self, code: u32) {
        let inner = &self.inner;
        inner
            .keeper
            .act(|core| core.reset(inner.id, ResetCode(code)));
    }
}
