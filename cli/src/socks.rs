//! What a SOCKS 5 client (RFC 1928) says before its connection begins, and what it is answered. Pure: bytes in, bytes
//! out; `threads` and `tasks` wait for them.
//!
//! ```text
//! client: version, methods        -> server: no authentication
//! client: CONNECT, host, port     -> server: succeeded
//! ```
//! "Succeeded" is said at once, as the destination's own refusal would cost a round trip through the tunnel before a
//! byte may leave: who can't be reached is a reset of the connection, as with `-L`. Names go to the server as they are,
//! so that they are looked up there.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::address::{AddressError, Host, HostPort};

/// How long a client may take to say all this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Room for what is asked for at once: a greeting or a request.
pub(crate) const ROOM: usize = 262;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

// Replies (RFC 1928 §6).
const SUCCEEDED: u8 = 0;
const FAILED: u8 = 1;
const COMMAND_NOT_SUPPORTED: u8 = 7;
const ADDRESS_NOT_SUPPORTED: u8 = 8;

/// A conversation on its way; not a byte of what follows it is asked for.
#[derive(Debug, Default)]
pub struct Talk {
    bytes: Vec<u8>,
    /// The methods have been answered, so the bytes are the request's.
    is_greeted: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read so many bytes at the most, at least one.
    Read(usize),
    /// Write this.
    Write(Vec<u8>),
    /// Write this, and the connection is the destination's.
    Connect(Vec<u8>, HostPort),
}

impl Talk {
    /// Of which nothing has come.
    pub fn new() -> Talk {
        Talk::default()
    }

    /// Takes what was read, at most as much as was asked for; nothing is the end of the connection.
    ///
    /// # Errors
    /// It is that end.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), SocksError> {
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// What comes next.
    ///
    /// # Errors
    /// The client wants what can't be had; [`SocksError::reply`] says how to tell it.
    pub fn step(&mut self) -> Result<Step, SocksError> {
        if self.is_greeted {
            self.request()
        } else {
            self.greeting()
        }
    }

    fn greeting(&mut self) -> Result<Step, SocksError> {
        let whole = match self.bytes[..] {
            [] => 1,
            [VERSION, methods, ..] => 2 + usize::from(methods),
            [VERSION] => 2,
            [version, ..] => return Err(SocksError::Version(version)),
        };
        if let Some(missing) = self.missing(whole) {
            return Ok(missing);
        }
        if !self.bytes.iter().skip(2).any(|m| *m == NO_AUTHENTICATION) {
            return Err(SocksError::Method);
        }
        self.bytes.clear();
        self.is_greeted = true;
        Ok(Step::Write(vec![VERSION, NO_AUTHENTICATION]))
    }

    fn request(&mut self) -> Result<Step, SocksError> {
        let whole = match self.bytes[..] {
            [version, ..] if version != VERSION => return Err(SocksError::Version(version)),
            [_, command, ..] if command != CONNECT => return Err(SocksError::Command(command)),
            [_, _, _, IPV4, ..] => 10,
            [_, _, _, IPV6, ..] => 22,
            [_, _, _, NAME, length, ..] => 7 + usize::from(length),
            [_, _, _, NAME] => 5,
            [_, _, _, kind, ..] => return Err(SocksError::Kind(kind)),
            _ => 4,
        };
        if let Some(missing) = self.missing(whole) {
            return Ok(missing);
        }
        let [_, _, _, kind, address @ .., high, low] = &self.bytes[..] else {
            return Err(SocksError::Port);
        };
        let host = host(*kind, address)?;
        match u16::from_be_bytes([*high, *low]) {
            0 => Err(SocksError::Port),
            port => Ok(Step::Connect(reply(SUCCEEDED), HostPort { host, port })),
        }
    }

    fn missing(&self, whole: usize) -> Option<Step> {
        let missing = whole.saturating_sub(self.bytes.len());
        (missing > 0).then_some(Step::Read(missing))
    }
}

fn host(kind: u8, address: &[u8]) -> Result<Host, SocksError> {
    match (kind, address) {
        (NAME, [_, name @ ..]) => {
            let name = String::from_utf8_lossy(name);
            name.parse().map_err(SocksError::Host)
        }
        (_, [a, b, c, d]) => Ok(Host::Ip(Ipv4Addr::new(*a, *b, *c, *d).into())),
        _ => {
            let v6 = <[u8; 16]>::try_from(address).map_err(|_| SocksError::Kind(kind))?;
            Ok(Host::Ip(IpAddr::V6(Ipv6Addr::from(v6)).to_canonical()))
        }
    }
}

fn reply(code: u8) -> Vec<u8> {
    // What it is bound to is nobody's business.
    vec![VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

/// Why a connection to a SOCKS port leads nowhere.
#[derive(Debug)]
#[non_exhaustive]
pub enum SocksError {
    /// The connection ended or failed before all was said.
    Read(io::Error),
    /// It took too long.
    Late,
    /// Another version, or no SOCKS at all.
    Version(u8),
    /// It does not go without authentication.
    Method,
    /// It wants something else than CONNECT.
    Command(u8),
    /// The destination is of a kind that does not exist.
    Kind(u8),
    /// The destination's name is none.
    Host(AddressError),
    /// The destination's port is 0.
    Port,
}

impl SocksError {
    /// What to say to the client before its connection ends, if anything.
    pub fn reply(&self) -> Option<Vec<u8>> {
        match self {
            SocksError::Read(_) | SocksError::Late | SocksError::Version(_) => None,
            SocksError::Method => Some(vec![VERSION, NO_METHOD]),
            SocksError::Command(_) => Some(reply(COMMAND_NOT_SUPPORTED)),
            SocksError::Kind(_) => Some(reply(ADDRESS_NOT_SUPPORTED)),
            SocksError::Host(_) | SocksError::Port => Some(reply(FAILED)),
        }
    }
}

impl From<io::Error> for SocksError {
    fn from(error: io::Error) -> SocksError {
        SocksError::Read(error)
    }
}

impl fmt::Display for SocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocksError::Read(error) => {
                write!(f, "it did not say where it wants to go: {error}")
            }
            SocksError::Late => {
                f.write_str("it did not say where it wants to go: nothing came in time")
            }
            SocksError::Version(4) => f.write_str(
                "it speaks SOCKS 4, and this port SOCKS 5 (socks5h://… where a program asks for a URL)",
            ),
            SocksError::Version(byte) if byte.is_ascii_uppercase() => f.write_str(
                "it speaks HTTP, and this port SOCKS 5 (socks5h://… where a program asks for a proxy's URL)",
            ),
            SocksError::Version(byte) => {
                write!(f, "it does not speak SOCKS 5: its first byte is {byte}")
            }
            SocksError::Method => f.write_str(
                "it wants to authenticate, and there is no user and no password here: leave them out",
            ),
            SocksError::Command(command) => write!(
                f,
                "it asks for command {command} of SOCKS 5, and only connections (1) are made"
            ),
            SocksError::Kind(kind) => write!(f, "SOCKS 5 has no addresses of kind {kind}"),
            SocksError::Host(error) => error.fmt(f),
            SocksError::Port => f.write_str("port 0 is no destination"),
        }
    }
}

impl std::error::Error for SocksError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// All that is answered, and what comes of it, when the client's bytes come `at_once` at a time.
    fn talk(bytes: &[u8], at_once: usize) -> (Vec<u8>, Result<HostPort, SocksError>) {
        let (mut talk, mut rest, mut said) = (Talk::new(), bytes, Vec::new());
        loop {
            match talk.step() {
                Ok(Step::Read(most)) => {
                    let (now, later) = rest.split_at(most.min(at_once).min(rest.len()));
                    rest = later;
                    if let Err(error) = talk.feed(now) {
                        return (said, Err(error));
                    }
                }
                Ok(Step::Write(bytes)) => said.extend(bytes),
                Ok(Step::Connect(bytes, destination)) => {
                    said.extend(bytes);
                    assert!(rest.is_empty(), "what follows is the destination's");
                    return (said, Ok(destination));
                }
                Err(error) => {
                    said.extend(error.reply().unwrap_or_default());
                    return (said, Err(error));
                }
            }
        }
    }

    #[test]
    fn destinations_in_every_form() {
        let name = b"\x05\x01\0\x03\x0eDB.example.org\0\x16".to_vec();
        let v4 = b"\x05\x01\0\x01\x7f\0\0\x01\x1f\x90".to_vec();
        let v6 = [&b"\x05\x01\0\x04"[..], &[0; 15], &[1, 0, 22]].concat();
        for (request, expected) in [
            (name, "db.example.org:22"),
            (v4, "127.0.0.1:8080"),
            (v6, "[::1]:22"),
        ] {
            for greeting in [&b"\x05\x01\0"[..], b"\x05\x02\x02\0"] {
                let bytes = [greeting, &request].concat();
                for at_once in [1, 3, 1000] {
                    let (said, destination) = talk(&bytes, at_once);
                    assert_eq!(destination.unwrap().to_string(), expected);
                    assert_eq!(said, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_had_is_told_in_socks_own_words() {
        let after = |request: &[u8]| [&b"\x05\x01\0"[..], request].concat();
        for (bytes, says, words) in [
            (b"\x04\x01\0\x16".to_vec(), &b""[..], "SOCKS 4"),
            (b"GET / HTTP/1.1\r\n".to_vec(), b"", "speaks HTTP"),
            (b"\x16\x03\x01".to_vec(), b"", "first byte is 22"),
            (b"\x05\x01\x02".to_vec(), b"\x05\xff", "authenticate"),
            (b"\x05\0".to_vec(), b"\x05\xff", "authenticate"),
            (after(b"\x05\x02\0\x01"), b"\x05\0\x05\x07", "command 2"),
            (after(b"\x05\x01\0\x02"), b"\x05\0\x05\x08", "kind 2"),
            (
                after(b"\x05\x01\0\x01\x01\x02\x03\x04\0\0"),
                b"\x05\0\x05\x01",
                "port 0",
            ),
            (
                after(b"\x05\x01\0\x03\x03a b\0\x16"),
                b"\x05\0\x05\x01",
                "a b",
            ),
            (after(b"\x05\x01\0\x03\0\0\x16"), b"\x05\0\x05\x01", "``"),
            (after(b"\x04"), b"\x05\0", "SOCKS 4"),
            (after(b"\x05\x01"), b"\x05\0", "where it wants to go"),
            (Vec::new(), b"", "where it wants to go"),
        ] {
            let (said, destination) = talk(&bytes, 1000);
            let error = destination.unwrap_err().to_string();
            assert!(said.starts_with(says), "{bytes:?}: {said:?}");
            assert!(error.contains(words), "{bytes:?}: {error}");
        }
    }
}
