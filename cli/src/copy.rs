//! Joining a TCP connection and a stream, so that each end sees of the other what it would see of a TCP peer. Here is
//! what does not depend on how the bytes are waited for; `join` is in `threads` and in
//! `tasks`.
//!
//! ```text
//!   socket ──read──▶ Intake ──write_bytes──▶ stream      (up)
//!   socket ◀──write_all──────read_bytes──── stream       (down)
//! ```
//!
//! - An end of file passes through as an end of file, each way by itself; the other way goes on.
//! - Anything else that ends one way ends both, and both peers see a reset, never an end of file: half a file must not
//!   look like a whole one.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use posthole_runtime::receive_buffer;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

/// The most that is taken from a stream at once, in bytes.
pub(crate) const PIECE: usize = 256 * 1024;

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
/// other than well is a reset** to the peer, not an end of file (but for a Unix socket, which knows none). To be called as soon as the socket is there.
///
/// # Errors
/// The system's, for a socket that is dead already.
pub fn prepare(socket: impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    let [own, peer] = [socket.local_addr()?, socket.peer_addr()?];
    if own.is_unix() {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    let [own, peer] = [own, peer].map(|a| a.as_socket());
    if let Some(size) = own
        .zip(peer)
        .and_then(|(own, peer)| receive_buffer(own, peer))
    {
        socket.set_recv_buffer_size(size)?;
    }
    socket.set_linger(Some(Duration::ZERO))
}

/// Both ways have ended with an end of file: the one case in which closing is not a reset.
pub(crate) fn end_well(socket: impl AsFd) {
    let _ = SockRef::from(&socket).set_linger(None);
}

/// Appends what has arrived on a socket already, at most a few KiB, without waiting. What else there is to know of it,
/// an end or an error, comes with the next read.
pub fn read_early(socket: impl AsFd, to: &mut Vec<u8>) {
    let mut early = [0; 4096];
    if let Ok((n, _)) = rustix::net::recv(socket, &mut early[..], RecvFlags::DONTWAIT) {
        to.extend_from_slice(&early[..n]);
    }
}

/// Sends what the socket takes without waiting, and says how much that was.
///
/// # Errors
/// The connection is broken.
pub(crate) fn send_now(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(socket, bytes, flags) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Whether an end of file is one; `has_ended` if this side has sent its own end. The system tells of a reset once: when
/// the way down has met it in a write, the way up reads an end. A connection that is reset has no peer any more, while
/// one whose peer has sent its end has, until this side has sent its own, and then nobody writes who could meet a reset.
///
/// # Errors
/// It is a reset.
pub(crate) fn check_end(socket: impl AsFd, has_ended: bool) -> io::Result<()> {
    match rustix::net::getpeername(socket) {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(_) if has_ended => Ok(()),
        Ok(None) | Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

pub(crate) fn at_socket(error: io::Error) -> Broken {
    Broken {
        side: Side::Socket,
        error,
    }
}

pub(crate) fn at_stream(error: io::Error) -> Broken {
    Broken {
        side: Side::Stream,
        error,
    }
}

#[cfg(test)]
mod tests;
