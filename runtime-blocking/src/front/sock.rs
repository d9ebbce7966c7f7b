//! Two socket calls that std does not have: receiving into uninitialised memory, and sending without waiting.

use std::io::{self, IoSlice};
use std::net::TcpStream;

/// What a receive came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Got {
    /// At least one byte was appended.
    Bytes,
    /// The time set for receiving has passed.
    Nothing,
    /// The peer has closed or reset, or we have shut the socket down.
    End,
}

/// Appends what comes to `into`, up to its capacity, which must not be used up.
pub(crate) fn recv(stream: &TcpStream, into: &mut Vec<u8>) -> Got {
    debug_assert!(into.len() < into.capacity());
    loop {
        match sys::recv(stream, into) {
            Ok(0) => return Got::End,
            Ok(_) => return Got::Bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_would_block(&error) => return Got::Nothing,
            Err(_) => return Got::End,
        }
    }
}

/// Sends what the socket's buffer takes without waiting.
///
/// # Errors
/// `WouldBlock` if that is nothing, or if the platform has no such call.
pub(super) fn send_now(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    sys::send_now(stream, slices)
}

/// Whether a call gave up because of its time-out, which is `WouldBlock` on some systems and `TimedOut` on others.
pub(super) fn is_would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Whether `error` says that the process, or the system, has no descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    sys::is_out_of_descriptors(error)
}

#[cfg(unix)]
mod sys {
    use rustix::buffer::spare_capacity;
    use rustix::io::Errno;
    use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
    use std::io::{self, IoSlice};
    use std::net::TcpStream;

    #[cfg(not(target_vendor = "apple"))]
    const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
    #[cfg(target_vendor = "apple")]
    const SEND: SendFlags = SendFlags::DONTWAIT;

    pub(super) fn recv(stream: &TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
        let (received, _) = rustix::net::recv(stream, spare_capacity(into), RecvFlags::empty())?;
        Ok(received)
    }

    pub(super) fn send_now(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::net::sendmsg(
            stream,
            slices,
            &mut SendAncillaryBuffer::default(),
            SEND,
        )?)
    }

    pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
        matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE)
        )
    }
}

#[cfg(any(not(unix), test))]
#[cfg_attr(unix, allow(dead_code))]
mod portable {
    use std::io::{self, IoSlice, Read};
    use std::net::TcpStream;

    pub(super) fn recv(mut stream: &TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
        let len = into.len();
        into.resize(into.capacity(), 0);
        let result = stream.read(&mut into[len..]);
        into.truncate(len + result.as_ref().copied().unwrap_or(0));
        result
    }

    pub(super) fn send_now(_: &TcpStream, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    pub(super) fn is_out_of_descriptors(_: &io::Error) -> bool {
        false
    }
}
#[cfg(not(unix))]
use portable as sys;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn both_ways_of_receiving_fill_what_is_spare_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        for recv in [sys::recv, portable::recv] {
            far.write_all(b"abcdefgh").unwrap();
            let mut buf = Vec::with_capacity(6);
            buf.extend_from_slice(b"12");
            while buf.len() < 6 {
                recv(&near, &mut buf).unwrap();
            }
            assert_eq!(buf, b"12abcd");
            let mut rest = Vec::with_capacity(4);
            while rest.len() < 4 {
                recv(&near, &mut rest).unwrap();
            }
            assert_eq!(rest, b"efgh");
        }
        drop(far);
        assert_eq!(super::recv(&near, &mut Vec::with_capacity(1)), Got::End);
    }
}
