//! `HOST:PORT` as it is asked for: a destination in its one canonical form, before anything is resolved.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::unix::SocketPath;

/// The longest name that DNS allows, in bytes (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;

/// A host as asked for. Two hosts that are written differently and mean the same are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, which is never something a resolver would take for an address.
    Name(Name),
    /// An address; one that is IPv4 in IPv6's clothes (`::ffff:127.0.0.1`) is the IPv4 one.
    Ip(IpAddr),
}

impl FromStr for Host {
    type Err = AddressError;

    /// Takes `name`, `127.0.0.1`, `::1` and `[::1]`.
    fn from_str(text: &str) -> Result<Host, AddressError> {
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let ip: Ipv6Addr = inner
                .parse()
                .map_err(|_| AddressError::Host(text.to_owned()))?;
            return Ok(Host::Ip(IpAddr::V6(ip).to_canonical()));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Host::Ip(ip.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if is_name(&name) {
            Ok(Host::Name(Name(name)))
        } else {
            Err(AddressError::Host(text.to_owned()))
        }
    }
}

/// A host's name in lower case, without a final dot; at most 253 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// The name as it goes to a resolver.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Letters, digits, hyphens and underscores between dots, and not a number in disguise: resolvers take `127.1`,
/// `0x7f000001` and `2130706433` for 127.0.0.1, which would walk around an allow list that speaks of names.
fn is_name(name: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last
        .strip_prefix("0x")
        .is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
    let number = hex || last.bytes().all(|b| b.is_ascii_digit());
    name.len() <= NAME_MAX && name.split('.').all(label) && !number
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name.as_str()),
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// Where a stream is to be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The host, not resolved.
    pub host: Host,
    /// The TCP port, 1 to 65535.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = AddressError;

    /// Takes `name:22`, `127.0.0.1:22` and `[::1]:22`.
    fn from_str(text: &str) -> Result<HostPort, AddressError> {
        let (host, port) = split_port(text).ok_or_else(|| AddressError::Form(text.to_owned()))?;
        Ok(HostPort {
            host: host.parse()?,
            port: parse_port(port)?,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<(Ipv4Addr, u16)> for HostPort {
    fn from((ip, port): (Ipv4Addr, u16)) -> HostPort {
        HostPort {
            host: Host::Ip(IpAddr::V4(ip)),
            port,
        }
    }
}

/// Where a stream is to be connected to, by TCP or by a Unix socket of the machine that does it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A host's TCP port.
    Tcp(HostPort),
    /// A Unix socket.
    Unix(SocketPath),
}

impl FromStr for Destination {
    type Err = AddressError;

    /// Takes what [`HostPort`] takes, and `/path/of/a/socket`.
    fn from_str(text: &str) -> Result<Destination, AddressError> {
        if SocketPath::is_meant(text) {
            text.parse().map(Destination::Unix)
        } else {
            text.parse().map(Destination::Tcp)
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Tcp(tcp) => tcp.fmt(f),
            Destination::Unix(path) => path.fmt(f),
        }
    }
}

impl From<HostPort> for Destination {
    fn from(tcp: HostPort) -> Destination {
        Destination::Tcp(tcp)
    }
}

/// Splits at the colon before the port; none if there is no such colon, or if it belongs to a bare IPv6 address.
pub(crate) fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || bare_ipv6 {
        None
    } else {
        Some((host, port))
    }
}

pub(crate) fn parse_port(text: &str) -> Result<u16, AddressError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(AddressError::Port(text.to_owned())),
    }
}

/// Why a text is not a `HOST:PORT`; holds the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// Not of this form.
    Form(String),
    /// Not a host.
    Host(String),
    /// Not a port.
    Port(String),
    /// Not the path of a socket.
    Path(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Form(text) => write!(
                f,
                "`{text}` is not HOST:PORT (an IPv6 address goes in brackets: [::1]:22), nor the path of a socket"
            ),
            AddressError::Host(text) => {
                write!(f, "`{text}` is neither a host name nor an IP address")
            }
            AddressError::Port(text) => write!(f, "`{text}` is not a port from 1 to 65535"),
            AddressError::Path(text) => write!(
                f,
                "`{text}` is not the path of a socket: absolute, of at most 107 bytes, without `..` and colons"
            ),
        }
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_destination_is_read_into_its_one_canonical_form() {
        for (text, canonical) in [
            ("Example.ORG.:22", "example.org:22"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:65535", "[::1]:65535"),
            ("[0:0:0:0:0:0:0:1]:5432", "[::1]:5432"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("my_db-1:5432", "my_db-1:5432"),
            ("3com.com:80", "3com.com:80"),
        ] {
            let read: HostPort = text.parse().unwrap();
            assert_eq!(read.to_string(), canonical);
            assert_eq!(canonical.parse::<HostPort>().unwrap(), read);
        }
    }

    #[test]
    fn what_is_not_a_destination_is_refused() {
        for text in [
            "",
            ":",
            "host",
            "host:",
            ":22",
            "::1:22",
            "[::1]",
            "[::1:22",
            "[name]:22",
            "a b:22",
            "a..b:22",
            "host:0",
            "host:+1",
            "host:65536",
            "hö.example:1",
            "*:22",
            "a/b:1",
            "-:x",
            "a@b:22",
            "[127.0.0.1]:22",
            "host:22\n",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
        assert!(
            format!("{}:1", ["a"; 128].join("."))
                .parse::<HostPort>()
                .is_err(),
            "255 bytes of name"
        );
    }

    #[test]
    fn a_number_in_disguise_is_no_name() {
        for text in [
            "127.1",
            "0x7f.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "256.0.0.1",
            "a.0x1",
            "1.",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
