//! What `-L` and `-D` say: which local port leads to which destination, or to any.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::address::{AddressError, Destination, Host, HostPort, parse_port};
use crate::unix::SocketPath;

/// A local port, or a Unix socket, and where it leads. As text `[BIND:]PORT:HOST:HOSTPORT`, as ssh reads it: IPv6 addresses stand in
/// brackets; without BIND, or with `localhost`, on loopback only; with `*` or nothing before the first colon, on every
/// IPv4 address of this machine. The path of a Unix socket may stand for `[BIND:]PORT`, and for `HOST:HOSTPORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where to listen.
    pub at: At,
    /// Where its connections are to be connected to.
    pub leads: Leads,
}

/// Where it is listened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// Port 0 means any that is free.
    Tcp(SocketAddr),
    /// A Unix socket, for this user alone.
    Unix(SocketPath),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Tcp(addr) => addr.fmt(f),
            At::Unix(path) => path.fmt(f),
        }
    }
}

/// Where a local port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// There, as seen from the server.
    To(Destination),
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
        let fields = split_fields(text);
        let (at, []) =
            parse_at(&fields, 0).ok_or_else(|| ForwardError::Local(text.to_owned()))??
        else {
            return Err(ForwardError::Local(text.to_owned()));
        };
        Ok(Forward {
            at,
            leads: Leads::Anywhere,
        })
    }
}

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Forward, ForwardError> {
        let form = || ForwardError::Form(text.to_owned());
        let fields = split_fields(text);
        let follow = match fields.last() {
            Some(last) if SocketPath::is_meant(last) => 1,
            _ => 2,
        };
        let (at, leads) = parse_at(&fields, follow).ok_or_else(form)??;
        let leads = match leads {
            [path] => Destination::Unix(path.parse().map_err(ForwardError::Part)?),
            [host, port] => Destination::Tcp(HostPort {
                host: host.parse().map_err(ForwardError::Part)?,
                port: parse_port(port).map_err(ForwardError::Part)?,
            }),
            _ => return Err(form()),
        };
        Ok(Forward {
            at,
            leads: Leads::To(leads),
        })
    }
}

/// Reads where to listen, and leaves so many fields; `None` if there are too many or too few.
fn parse_at<'a, 'b>(
    fields: &'a [&'b str],
    follow: usize,
) -> Option<Result<(At, &'a [&'b str]), ForwardError>> {
    let own = fields.len().checked_sub(follow)?;
    let (own, rest) = fields.split_at(own);
    let at = match own {
        [path] if SocketPath::is_meant(path) => path.parse().map(At::Unix),
        [port] => return Some(tcp_at(None, port).map(|at| (at, rest))),
        [bind, port] => return Some(tcp_at(Some(bind), port).map(|at| (at, rest))),
        _ => return None,
    };
    Some(at.map(|at| (at, rest)).map_err(ForwardError::Part))
}

fn tcp_at(bind: Option<&str>, port: &str) -> Result<At, ForwardError> {
    let (bind, port) = (parse_bind(bind)?, parse_local_port(port)?);
    Ok(At::Tcp(SocketAddr::new(bind, port)))
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
                    "`{text}` is not [BIND:]PORT:HOST:HOSTPORT (an IPv6 address goes in brackets: 5432:[::1]:5432), nor has it the paths of sockets in the place of either half"
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
            ("5432:/run/pg.sock", "127.0.0.1:5432", "/run/pg.sock"),
            ("*:5432:/run/pg.sock", "0.0.0.0:5432", "/run/pg.sock"),
            ("/tmp/l.sock:db:22", "/tmp/l.sock", "db:22"),
            ("/tmp/l.sock:[::1]:22", "/tmp/l.sock", "[::1]:22"),
            ("/tmp/l.sock:/run/pg.sock", "/tmp/l.sock", "/run/pg.sock"),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.at.to_string(), listen, "{text}");
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
            ("/tmp/socks", "/tmp/socks"),
        ] {
            let forward = Forward::anywhere(text).unwrap();
            assert_eq!(forward.at.to_string(), listen, "{text}");
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
            "/tmp/l.sock",
            "80:/a/../b",
            "/a//b:web:80",
            "1:2:3:/a",
        ] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }
}
