//! What `-L` says: which local port leads to which destination.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::address::{AddressError, Host, HostPort, parse_port};

/// `[BIND:]PORT:HOST:HOSTPORT`, as ssh reads it: IPv6 addresses stand in brackets; without BIND, or with
/// `localhost`, on loopback only; with `*` or nothing before the first colon, on every IPv4 address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    bind: IpAddr,
    port: u16,
    /// Where the server is to connect to.
    pub destination: HostPort,
}

impl Forward {
    /// Where to listen; port 0 means any that is free.
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }
}

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Forward, ForwardError> {
        let fields = split_fields(text);
        let (bind, port, host, hostport) = match fields[..] {
            [port, host, hostport] => (None, port, host, hostport),
            [bind, port, host, hostport] => (Some(bind), port, host, hostport),
            _ => return Err(ForwardError::Form(text.to_owned())),
        };
        let bind = match bind {
            None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some("" | "*") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(bind) => match bind.parse::<Host>().map_err(ForwardError::Part)? {
                Host::Ip(ip) => ip,
                Host::Name(name) => {
                    resolve(name.as_str()).ok_or_else(|| ForwardError::Bind(bind.to_owned()))?
                }
            },
        };
        // Port 0 listens on any free one; nothing can be sent to it.
        let port = if port == "0" {
            0
        } else {
            parse_port(port).map_err(ForwardError::Part)?
        };
        let host = host.parse().map_err(ForwardError::Part)?;
        let hostport = parse_port(hostport).map_err(ForwardError::Part)?;
        Ok(Forward {
            bind,
            port,
            destination: HostPort {
                host,
                port: hostport,
            },
        })
    }
}

fn resolve(name: &str) -> Option<IpAddr> {
    (name, 0)
        .to_socket_addrs()
        .ok()?
        .next()
        .map(|addr| addr.ip())
}

/// Splits at the colons that don't stand in brackets.
fn split_fields(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ':' && depth == 0
    })
    .collect()
}

/// Why a text is no `-L`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardError {
    /// Not three or four fields.
    Form(String),
    /// BIND is a name without an address.
    Bind(String),
    /// One of the fields is wrong.
    Part(AddressError),
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardError::Form(text) => {
                write!(
                    f,
                    "`{text}` is not [BIND:]PORT:HOST:HOSTPORT (an IPv6 address goes in brackets: 5432:[::1]:5432)"
                )
            }
            ForwardError::Bind(name) => write!(f, "`{name}` has no address to listen on"),
            ForwardError::Part(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ForwardError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn forwards_are_read_as_ssh_reads_them() {
        for (text, listen, destination) in [
            (
                "2222:db.example.org:22",
                "127.0.0.1:2222",
                "db.example.org:22",
            ),
            ("localhost:2222:db:22", "127.0.0.1:2222", "db:22"),
            ("0:127.0.0.1:22", "127.0.0.1:0", "127.0.0.1:22"),
            ("[::1]:5432:[::1]:5432", "[::1]:5432", "[::1]:5432"),
            ("5432:[fe80::1]:22", "127.0.0.1:5432", "[fe80::1]:22"),
            ("*:80:web:80", "0.0.0.0:80", "web:80"),
            (":80:web:80", "0.0.0.0:80", "web:80"),
            ("10.0.0.1:80:web:8080", "10.0.0.1:80", "web:8080"),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.listen().to_string(), listen, "{text}");
            assert_eq!(forward.destination.to_string(), destination, "{text}");
        }
    }

    #[test]
    fn what_is_no_forward_is_refused() {
        for text in [
            "",
            "80",
            "80:web",
            "80:web:0",
            "x:web:80",
            "80:web:80:81:82",
            "::1:80:web:80",
            "80::80",
            "80:[::1:80",
            "70000:web:80",
            "80:[web]:80",
        ] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }
}
