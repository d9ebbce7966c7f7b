//! What code written for a socket sets and asks besides reading and writing.

use super::Stream;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

impl Stream {
    /// How long a read waits at most; `None`: for ever.
    ///
    /// # Errors
    /// `InvalidInput` for a time-out of zero, as sockets have it.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        store(&self.inner.read_timeout, timeout)
    }

    /// How long a write waits at most; `None`: for ever.
    ///
    /// # Errors
    /// `InvalidInput` for a time-out of zero, as sockets have it.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        store(&self.inner.write_timeout, timeout)
    }

    /// What was set.
    ///
    /// # Errors
    /// None; it is a `Result` because a socket's is. So with all that follow.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(load(&self.inner.read_timeout))
    }

    /// What was set.
    ///
    /// # Errors
    /// None.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(load(&self.inner.write_timeout))
    }

    /// Whether reads and writes that would wait fail with `WouldBlock` instead. There is nothing to poll a stream with;
    /// this is for code that tries now and then.
    ///
    /// # Errors
    /// None.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.inner.nonblocking.store(nonblocking, Ordering::Relaxed);
        Ok(())
    }

    /// Accepted and remembered: a lone small write leaves at once anyway, and others gather for milliseconds only.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.nodelay.store(nodelay, Ordering::Relaxed);
        Ok(())
    }

    /// What was set; at first `true`.
    ///
    /// # Errors
    /// None.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.inner.nodelay.load(Ordering::Relaxed))
    }

    /// Always `None`: errors come with the read or write that meets them.
    ///
    /// # Errors
    /// None.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    /// A stream's peer has no address: between stand proxies, and connections come and go.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "a stream of a session has no peer address",
        ))
    }

    /// See [`peer_addr`](Stream::peer_addr).
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "a stream of a session has no local address",
        ))
    }
}

fn store(into: &AtomicU64, timeout: Option<Duration>) -> io::Result<()> {
    let micros = match timeout {
        None => 0,
        Some(Duration::ZERO) => {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a time-out of zero is none",
            ));
        }
        // Less than a microsecond is one.
        Some(timeout) => u64::try_from(timeout.as_micros())
            .unwrap_or(u64::MAX)
            .max(1),
    };
    into.store(micros, Ordering::Relaxed);
    Ok(())
}

pub(super) fn load(from: &AtomicU64) -> Option<Duration> {
    match from.load(Ordering::Relaxed) {
        0 => None,
        micros => Some(Duration::from_micros(micros)),
    }
}
