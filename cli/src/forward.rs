//! What `-L` and `-D` say: which local port leads to which destination, or to any.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::address::{AddressError, Host, HostPort, parse_port};

/// A local port and where it leads. As text `[BIND:]PORT:HOST:HOSTPORT`, as ssh reads it: IPv6 addresses stand in
/// brackets; without BIND, or with `localhost`, on loopback only; with `*` or nothing before the first colon, on every
/// IPv4 address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    bind: IpAddr,
    port: u16,
    /// Where its connections are to be connected to.
    pub leads: Leads,
}

/// Where a local port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// There, as seen from the server.
    To(HostPort),
    /// Wherever each connection says, in SOCKS 5.
    Anywhere,
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leads::To(destination) => destination.fmt(f),
            Leads::Anywhere => f.write_str("wherever SOCKS 5 says"),
        }
    }
}

impl Forward {
    /// `[BIND:]PORT`: a port that leads anywhere.
    ///
    /// # Errors
    /// It is none.
    pub fn anywhere(text: &str) -> Result<Forward, ForwardError> {
        let (bind, port) = match split_fields(text)[..] {
            [port] => (None, port),
            [bind, port] => (Some(bind), port),
            _ => return Err(ForwardError::Local(text.to_owned())),
        };
        Ok(Forward {
            bind: parse_bind(bind)?,
            port: parse_local_port(port)?,
            leads: Leads::Anywhere,
        })
    }

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
        let host = host.parse().map_err(ForwardError::Part)?;
        let hostport = parse_port(hostport).map_err(ForwardError::Part)?;
        Ok(Forward {
            bind: parse_bind(bind)?,
            port: parse_local_port(port)?,
            leads: Leads::To(HostPort {
                host,
                port: hostport,
            }),
        })
    }
}

fn parse_bind(bind: Option<&str>) -> Result<IpAddr, ForwardError> {
    Ok(match bind {
        None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some("" | "*") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(bind) => match bind.parse::<Host>().map_err(ForwardError::Part)? {
            Host::Ip(ip) => ip,
            Host::Name(name) => {
                resolve(name.as_str()).ok_or_else(|| ForwardError::Bind(bind.to_owned()))?
            }
        },
    })
}

/// Port 0 listens on any free one; nothing can be sent to it.
fn parse_local_port(port: &str) -> Result<u16, ForwardError> {
    if port == "0" {
        return Ok(0);
    }
    parse_port(port).map_err(ForwardError::Part)
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

/// Why a text is no `-L`, or no `-D`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardError {
    /// Not three or four fields.
    Form(String),
    /// Not one or two fields.
    Local(String),
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
            ForwardError::Local(text) => write!(
                f,
                "`{text}` is not [BIND:]PORT (an IPv6 address goes in brackets: [::1]:1080)"
            ),
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
            assert_eq!(forward.leads.to_string(), destination, "{text}");
        }
    }

    #[test]
    fn a_port_that_leads_anywhere() {
        for (text, listen) in [
            ("1080", "127.0.0.1:1080"),
            ("0", "127.0.0.1:0"),
            ("*:1080", "0.0.0.0:1080"),
            ("[::1]:1080", "[::1]:1080"),
        ] {
            let forward = Forward::anywhere(text).unwrap();
            assert_eq!(forward.listen().to_string(), listen, "{text}");
            assert_eq!(forward.leads, Leads::Anywhere);
        }
        for text in ["", "x", "1080:", "::1:1080", "1:2:3", "70000"] {
            assert!(Forward::anywhere(text).is_err(), "{text}");
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
