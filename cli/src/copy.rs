//! Joining a TCP connection and a stream, so that each end sees of the other what it would see of a TCP peer.
//!
//! ```text
//!   socket ──read──▶ Intake ──write_bytes──▶ stream      (up: the calling thread)
//!   socket ◀──write_all──────read_bytes──── stream       (down: a thread of its own)
//! ```
//!
//! - An end of file passes through as an end of file, each way by itself; the other way goes on.
//! - Anything else that ends one way ends both, and both peers see a reset, never an end of file: half a file must not
//!   look like a whole one.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustix::net::RecvFlags;
use socket2::SockRef;

use crate::intake::{Intake, is_wait_over};
use crate::refusal::Refusal;

/// The most that is taken from a stream at once, in bytes.
const PIECE: usize = 256 * 1024;
/// How often a write that gets no further asks whether the other way has failed.
const LOOK: Duration = Duration::from_secs(1);
/// Enough for a session's work in a debug build; only what is touched takes memory.
pub(crate) const STACK: usize = 256 * 1024;

/// What the copier needs of the far side. All methods may be called from several threads at once.
pub trait Far: Sync {
    /// The next bytes, at most `max`; empty at the end.
    ///
    /// # Errors
    /// The peer reset the stream, this side did, or the session ended.
    fn read_bytes(&self, max: usize) -> io::Result<Bytes>;
    /// Writes all of them, waiting for room.
    ///
    /// # Errors
    /// As for reading.
    fn write_bytes(&self, bytes: Bytes) -> io::Result<()>;
    /// No more will be written.
    ///
    /// # Errors
    /// The session has ended.
    fn finish(&self) -> io::Result<()>;
    /// Gives up both ways at once and wakes who waits in the methods above, be it with an end or an error.
    fn reset(&self, code: u32);
}

/// What was carried by a connection that ended well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes from the socket to the stream.
    pub up: u64,
    /// Bytes from the stream to the socket.
    pub down: u64,
}

/// What ended a connection before its time.
#[derive(Debug)]
pub struct Broken {
    /// Where it happened.
    pub side: Side,
    /// What happened.
    pub error: io::Error,
}

/// The two ends that are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The TCP connection.
    Socket,
    /// The stream.
    Stream,
}

/// Makes a socket ready to be joined: small writes leave at once, and **whatever ends this process or this connection
/// other than well is a reset** to the peer, not an end of file. To be called as soon as the socket is there.
///
/// # Errors
/// The system's, for a socket that is dead already.
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

/// Appends what has arrived on a socket already, at most a few KiB, without waiting. What else there is to know of it,
/// an end or an error, comes with the next read.
pub fn read_early(socket: &TcpStream, to: &mut Vec<u8>) {
    let mut early = [0; 4096];
    if let Ok((n, _)) = rustix::net::recv(socket, &mut early[..], RecvFlags::DONTWAIT) {
        to.extend_from_slice(&early[..n]);
    }
}

/// Carries bytes both ways until both have ended, then closes the socket. The socket must be [`prepare`]d.
///
/// # Errors
/// What ended the connection first, if it was not two ends of file. Both peers have been told by a reset then.
pub fn join(socket: TcpStream, stream: &impl Far) -> Result<Carried, Broken> {
    let joint = Joint {
        socket: &socket,
        stream,
        broken: OnceLock::new(),
        finishing: AtomicBool::new(false),
    };
    let mut carried = Carried::default();
    thread::scope(|scope| {
        let down = thread::Builder::new()
            .name("down".into())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                joint
                    .down()
                    .map_err(|broken| joint.break_off(broken))
                    .unwrap_or(0)
            });
        match down {
            Ok(down) => {
                carried.up = joint
                    .up()
                    .map_err(|broken| joint.break_off(broken))
                    .unwrap_or(0);
                carried.down = down.join().unwrap_or(0);
            }
            Err(error) => joint.break_off(Broken {
                side: Side::Socket,
                error,
            }),
        }
    });
    match joint.broken.into_inner() {
        Some(broken) => Err(broken),
        None => {
            // Both ways ended with an end of file: the one case in which closing is not a reset.
            let _ = SockRef::from(&socket).set_linger(None);
            Ok(carried)
        }
    }
}

struct Joint<'a, F> {
    socket: &'a TcpStream,
    stream: &'a F,
    /// The first failure of either way; it ends the other.
    broken: OnceLock<Broken>,
    /// Set before the end is sent to the socket's peer.
    finishing: AtomicBool,
}

impl<F: Far> Joint<'_, F> {
    fn up(&self) -> Result<u64, Broken> {
        let mut intake = Intake::new();
        let mut carried = 0;
        loop {
            let bytes = intake
                .read(self.socket, |wait| self.socket.set_read_timeout(wait))
                .map_err(at_socket)?;
            if self.broken.get().is_some() {
                return Ok(carried);
            }
            if bytes.is_empty() {
                self.check_end().map_err(at_socket)?;
                self.stream.finish().map_err(at_stream)?;
                return Ok(carried);
            }
            carried += bytes.len() as u64;
            self.stream.write_bytes(bytes).map_err(at_stream)?;
        }
    }

    fn down(&self) -> Result<u64, Broken> {
        self.socket
            .set_write_timeout(Some(LOOK))
            .map_err(at_socket)?;
        let mut carried = 0;
        loop {
            let bytes = self.stream.read_bytes(PIECE).map_err(at_stream)?;
            if self.broken.get().is_some() {
                return Ok(carried);
            }
            if bytes.is_empty() {
                self.finishing.store(true, Ordering::SeqCst);
                self.socket.shutdown(Shutdown::Write).map_err(at_socket)?;
                return Ok(carried);
            }
            carried += bytes.len() as u64;
            self.write_all(&bytes).map_err(at_socket)?;
        }
    }

    /// Whether an end of file is one. The system tells of a reset once: when the way down has met it in a write, the
    /// way up reads an end. A connection that is reset has no peer any more, while one whose peer has sent its end
    /// has, until this side has sent its own, and then nobody writes who could meet a reset.
    fn check_end(&self) -> io::Result<()> {
        match self.socket.peer_addr() {
            Err(_) if !self.finishing.load(Ordering::SeqCst) => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Like `Write::write_all`, but given up when the other way has failed: a peer that doesn't read would hold it
    /// for ever, and shutting the socket down to wake it would show that peer an end of file.
    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut socket = self.socket;
        while !bytes.is_empty() {
            match socket.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_wait_over(&e) && self.broken.get().is_none() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Ends the other way too. Who comes second finds everything done.
    fn break_off(&self, broken: Broken) {
        if self.broken.set(broken).is_ok() {
            self.stream.reset(Refusal::Reset.code());
            // Wakes a blocked read and sends nothing; that the peer sees a reset is `prepare`'s doing, on close.
            let _ = self.socket.shutdown(Shutdown::Read);
        }
    }
}

fn at_socket(error: io::Error) -> Broken {
    Broken {
        side: Side::Socket,
        error,
    }
}

fn at_stream(error: io::Error) -> Broken {
    Broken {
        side: Side::Stream,
        error,
    }
}

#[cfg(test)]
mod tests;
