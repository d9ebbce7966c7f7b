//! What is said first on every stream: where the other side is to connect it to; or, by a client, where the server is to
//! listen for it (`reverse`).
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | `01`: connect; `02`: listen, the answer to which is the port, 2 bytes, big-endian |
//! | 1 | 2 | port, big-endian; 0 only to listen on any that is free, and with a path |
//! | 3 | 1 | length `n` of what follows, 1 to 255 |
//! | 4 | n | host in ASCII: a name, an IPv4 address, or an IPv6 address in brackets; to connect also a Unix socket's path in UTF-8, which begins with `/` |
//!
//! The stream's own bytes follow at once, without waiting for a word from the server: that it agreed shows by its not
//! having reset the stream (`refusal`). Nothing comes back in front of the destination's bytes. It is the
//! application's business and no part of PROTOCOL.md: other users of the library put what they like on a stream.

use std::fmt;
use std::io;

use crate::address::{Destination, HostPort};
use crate::unix::SocketPath;

/// Connect there.
const VERSION: u8 = 1;
/// Listen there.
const LISTEN: u8 = 2;
/// Bytes before the host.
const HEAD: usize = 4;

/// The bytes to write before anything else.
pub fn encode(destination: &Destination) -> Vec<u8> {
    match destination {
        Destination::Tcp(tcp) => encode_as(VERSION, &tcp.host.to_string(), tcp.port),
        Destination::Unix(path) => encode_as(VERSION, path.as_str(), 0),
    }
}

/// The bytes to write before anything else, for the server to listen there.
pub fn encode_listen(place: &HostPort) -> Vec<u8> {
    encode_as(LISTEN, &place.host.to_string(), place.port)
}

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To be connected there.
    Connect(Destination),
    /// To have the server listen there.
    Listen(HostPort),
}

fn encode_as(version: u8, host: &str, port: u16) -> Vec<u8> {
    let length = u8::try_from(host.len()).expect("a name has at most 253 bytes, others fewer");
    let [high, low] = port.to_be_bytes();
    [&[version, high, low, length], host.as_bytes()].concat()
}

/// A preamble on its way: at most 259 bytes, and not a byte of what follows.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// Of which nothing has come.
    pub fn new() -> Incoming {
        Incoming::default()
    }

    /// How many bytes to read next, at least one; none if it is whole.
    ///
    /// # Errors
    /// It is of another version.
    pub fn missing(&self) -> Result<Option<usize>, PreambleError> {
        let whole = match self.bytes[..] {
            [] => 1,
            [VERSION | LISTEN, _, _, length, ..] => HEAD + usize::from(length),
            [VERSION | LISTEN, ..] => HEAD,
            [version, ..] => return Err(PreambleError::Version(version)),
        };
        let missing = whole.saturating_sub(self.bytes.len());
        Ok((missing > 0).then_some(missing))
    }

    /// Takes what was read, at most as much as was [`missing`](Incoming::missing); nothing is the stream's end.
    ///
    /// # Errors
    /// It is that end.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), PreambleError> {
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// What it says, once it is whole.
    ///
    /// # Errors
    /// That is no destination.
    pub fn destination(self) -> Result<Destination, PreambleError> {
        match self.asked()? {
            Asked::Connect(destination) => Ok(destination),
            Asked::Listen(_) => Err(PreambleError::Destination),
        }
    }

    /// What it says, once it is whole.
    ///
    /// # Errors
    /// That is no place.
    pub fn asked(self) -> Result<Asked, PreambleError> {
        let [version, high, low, _, host @ ..] = &self.bytes[..] else {
            return Err(PreambleError::Destination);
        };
        let host = std::str::from_utf8(host).map_err(|_| PreambleError::Destination)?;
        let port = u16::from_be_bytes([*high, *low]);
        if (*version, port) == (VERSION, 0) && SocketPath::is_meant(host) {
            let path = host.parse().map_err(|_| PreambleError::Destination)?;
            return Ok(Asked::Connect(Destination::Unix(path)));
        }
        let host = host.parse().map_err(|_| PreambleError::Destination)?;
        let place = HostPort { host, port };
        match (*version, port) {
            (LISTEN, _) => Ok(Asked::Listen(place)),
            (_, 0) => Err(PreambleError::Destination),
            _ => Ok(Asked::Connect(place.into())),
        }
    }
}

/// Why a stream does not say where it wants to go.
#[derive(Debug)]
#[non_exhaustive]
pub enum PreambleError {
    /// The stream ended or failed before it had said so.
    Read(io::Error),
    /// It took too long about it.
    Late,
    /// A client of another version, or no posthole client.
    Version(u8),
    /// What it named is no host or no port.
    Destination,
}

impl From<io::Error> for PreambleError {
    fn from(error: io::Error) -> PreambleError {
        PreambleError::Read(error)
    }
}

impl fmt::Display for PreambleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PreambleError::Read(error) => write!(f, "it did not say where it wants to go: {error}"),
            PreambleError::Late => {
                f.write_str("it did not say where it wants to go: nothing came in time")
            }
            PreambleError::Version(version) => write!(
                f,
                "it begins with {version}, not with the version {VERSION}"
            ),
            PreambleError::Destination => f.write_str("what it names is no destination"),
        }
    }
}

impl std::error::Error for PreambleError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Reads one from bytes that come in pieces of this size, and leaves what follows.
    fn read(from: &mut &[u8], piece: usize) -> Result<Destination, PreambleError> {
        let mut incoming = Incoming::new();
        while let Some(missing) = incoming.missing()? {
            let (now, rest) = from.split_at(missing.min(piece).min(from.len()));
            incoming.feed(now)?;
            *from = rest;
        }
        incoming.destination()
    }

    #[test]
    fn a_destination_goes_and_comes_back_and_what_follows_stays() {
        let destination: Destination = "[::1]:22".parse().unwrap();
        let mut bytes = encode(&destination);
        assert_eq!(bytes, b"\x01\x00\x16\x05[::1]");
        bytes.extend_from_slice(b"SSH-2.0");
        for piece in [1, 2, 100] {
            let mut rest = &bytes[..];
            assert_eq!(read(&mut rest, piece).unwrap(), destination);
            assert_eq!(rest, b"SSH-2.0");
        }
    }

    #[test]
    fn the_longest_name_fits() {
        let name = [
            ["a"; 63].concat(),
            ["b"; 63].concat(),
            ["c"; 63].concat(),
            ["d"; 61].concat(),
        ]
        .join(".");
        let longest: Destination = format!("{name}:65535").parse().unwrap();
        assert_eq!(read(&mut &encode(&longest)[..], 100).unwrap(), longest);
    }

    #[test]
    fn anything_else_is_an_error_at_every_length() {
        let whole = encode(&"localhost:22".parse().unwrap());
        for cut in 0..whole.len() {
            assert!(
                matches!(read(&mut &whole[..cut], 100), Err(PreambleError::Read(_))),
                "cut at {cut}"
            );
        }
        assert!(matches!(
            read(&mut &b"GET / HTTP/1.1"[..], 100),
            Err(PreambleError::Version(b'G'))
        ));
        assert!(matches!(
            read(&mut &b"\x01\x00\x16\x00"[..], 100),
            Err(PreambleError::Destination)
        ));
        assert!(matches!(
            read(&mut &b"\x01\x00\x00\x01a"[..], 100),
            Err(PreambleError::Destination)
        ));
        assert!(matches!(
            read(&mut &b"\x01\x00\x16\x02\xff\xff"[..], 100),
            Err(PreambleError::Destination)
        ));
    }
}
