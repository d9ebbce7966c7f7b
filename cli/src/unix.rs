//! Unix sockets in the place of TCP's: as destinations, and as what is listened on.
//!
//! Once connected, both are sockets that are read, written and shut down alike, so from here on they go as std's
//! `TcpStream` and `TcpListener`, which are no more than descriptors. What only TCP has (its addresses, resets) is asked for
//! in [`copy`](crate::copy) alone. A Unix socket knows no reset: what breaks off is an end of file to its peer.

use std::fmt;
use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::str::FromStr;

use rustix::net::SocketFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::AddressError;

/// The longest path that the system takes (`sun_path`), less the byte that ends it.
const LONGEST: usize = 107;

/// The path of a Unix socket: absolute, in its one form (nothing like `..`), in UTF-8, without a colon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketPath(String);

impl SocketPath {
    /// Whether a text is meant as one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with('/')
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SocketPath {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<SocketPath, AddressError> {
        let part = |part: &str| !matches!(part, "" | "." | "..");
        let is_one = text.len() <= LONGEST
            && !text.contains(|c: char| c.is_control() || c == ':')
            && text
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(part));
        if is_one {
            Ok(SocketPath(text.to_owned()))
        } else {
            Err(AddressError::Path(text.to_owned()))
        }
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Connects. Nobody waits: a socket whose backlog is full refuses.
///
/// # Errors
/// The system's.
pub(crate) fn connect(path: &SocketPath) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path.as_path())?)?;
    socket.set_nonblocking(false)?;
    Ok(TcpStream::from(OwnedFd::from(socket)))
}

/// Listens at `path`, for those whom `mode` lets. A socket that nobody listens on any more is replaced.
///
/// # Errors
/// Somebody listens there, it is another kind of file, or it can't be made.
pub(crate) fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Err(io::Error::other("another program listens there"));
            }
            if !fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::Error::other("it is another kind of file"));
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// The same as a listener for [`accept`].
pub(crate) fn as_listener(listener: UnixListener) -> TcpListener {
    TcpListener::from(OwnedFd::from(listener))
}

/// The next connection, of either kind: std's `TcpListener::accept` fails where the peer's address is none of TCP's.
///
/// # Errors
/// The system's.
pub(crate) fn accept(listener: impl AsFd) -> io::Result<TcpStream> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
    Ok(TcpStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for text in ["/run/app.sock", "/a", "/a b/c"] {
            assert_eq!(
                text.parse::<SocketPath>().map(|p| p.to_string()),
                Ok(text.to_owned())
            );
        }
        let long = format!("/{}", "x".repeat(107));
        for text in [
            "", "/", "a/b", "/a/", "//a", "/a/../b", "/./a", "/a:b", "/a\n", &long,
        ] {
            assert!(text.parse::<SocketPath>().is_err(), "{text}");
        }
    }
}
