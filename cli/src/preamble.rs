//! What the client says first on every stream: where the server is to connect it to.
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | version: `01` |
//! | 1 | 2 | port, big-endian, not 0 |
//! | 3 | 1 | length `n` of what follows, 1 to 255 |
//! | 4 | n | host in ASCII: a name, an IPv4 address, or an IPv6 address in brackets |
//!
//! The stream's own bytes follow at once, without waiting for a word from the server: that it agreed shows by its not
//! having reset the stream (`refusal`). Nothing comes back in front of the destination's bytes. It is the
//! application's business and no part of PROTOCOL.md: other users of the library put what they like on a stream.

use std::fmt;
use std::io::{self, Read};

use crate::address::HostPort;

/// The version written, and the only one understood.
const VERSION: u8 = 1;

/// The bytes to write before anything else.
pub fn encode(destination: &HostPort) -> Vec<u8> {
    let host = destination.host.to_string();
    let length = u8::try_from(host.len()).expect("a name has at most 253 bytes, an address fewer");
    let [high, low] = destination.port.to_be_bytes();
    [&[VERSION, high, low, length], host.as_bytes()].concat()
}

/// Reads one preamble and not a byte more; at most 259 bytes.
///
/// # Errors
/// [`PreambleError`]; the stream is then of no use any more.
pub fn read(from: &mut impl Read) -> Result<HostPort, PreambleError> {
    let mut version = [0; 1];
    from.read_exact(&mut version)?;
    if version != [VERSION] {
        return Err(PreambleError::Version(version[0]));
    }
    let mut head = [0; 3];
    from.read_exact(&mut head)?;
    let [high, low, length] = head;
    let mut host = [0; 255];
    let host = &mut host[..usize::from(length)];
    from.read_exact(host)?;
    let host = std::str::from_utf8(host).map_err(|_| PreambleError::Destination)?;
    match u16::from_be_bytes([high, low]) {
        0 => Err(PreambleError::Destination),
        port => Ok(HostPort {
            host: host.parse().map_err(|_| PreambleError::Destination)?,
            port,
        }),
    }
}

/// Why a stream does not say where it wants to go.
#[derive(Debug)]
#[non_exhaustive]
pub enum PreambleError {
    /// The stream ended or failed before it had said so, or took too long about it.
    Read(io::Error),
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

    #[test]
    fn a_destination_goes_and_comes_back_and_what_follows_stays() {
        let destination: HostPort = "[::1]:22".parse().unwrap();
        let mut bytes = encode(&destination);
        assert_eq!(bytes, b"\x01\x00\x16\x05[::1]");
        bytes.extend_from_slice(b"SSH-2.0");
        let mut rest = &bytes[..];
        assert_eq!(read(&mut rest).unwrap(), destination);
        assert_eq!(rest, b"SSH-2.0");
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
        let longest: HostPort = format!("{name}:65535").parse().unwrap();
        assert_eq!(read(&mut &encode(&longest)[..]).unwrap(), longest);
    }

    #[test]
    fn anything_else_is_an_error_at_every_length() {
        let whole = encode(&"localhost:22".parse().unwrap());
        for cut in 0..whole.len() {
            assert!(
                matches!(read(&mut &whole[..cut]), Err(PreambleError::Read(_))),
                "cut at {cut}"
            );
        }
        assert!(matches!(
            read(&mut &b"GET / HTTP/1.1"[..]),
            Err(PreambleError::Version(b'G'))
        ));
        assert!(matches!(
            read(&mut &b"\x01\x00\x16\x00"[..]),
            Err(PreambleError::Destination)
        ));
        assert!(matches!(
            read(&mut &b"\x01\x00\x00\x01a"[..]),
            Err(PreambleError::Destination)
        ));
        assert!(matches!(
            read(&mut &b"\x01\x00\x16\x02\xff\xff"[..]),
            Err(PreambleError::Destination)
        ));
    }
}
