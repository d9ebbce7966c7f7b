//! What a server connects to on behalf of its clients: what is listed, and nothing else.
//!
//! A destination is compared **as it was asked for**, before it is resolved. So a pattern with a name trusts that
//! name wherever it points, whoever runs its DNS; and a pattern with an address does not admit a name that happens
//! to point there. `*` as the host admits every name and every address, this machine's loopback among them.
//!
//! | pattern | admits |
//! | --- | --- |
//! | `db.example.org:5432` | that name at that port |
//! | `*.example.org:22` | every name below `example.org`, at any depth, not `example.org` itself |
//! | `127.0.0.1:*` | that address at every port |
//! | `[::1]:5432` | that address, however it is written |
//! | `*:443` | every host at that port |
//! | `/run/app.sock` | that Unix socket; `*` as a host admits none |

use std::fmt;
use std::str::FromStr;

use crate::address::{AddressError, Destination, Host, HostPort, Name, parse_port, split_port};
use crate::unix::SocketPath;

/// One `HOST:PORT` pattern, or the path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(What);

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// `None`: every port.
    Tcp(HostPattern, Option<u16>),
    Unix(SocketPath),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// `example.org` for `*.example.org`.
    Below(Name),
    Is(Host),
}

impl Pattern {
    /// Whether this destination is one of those meant.
    pub fn admits(&self, destination: &Destination) -> bool {
        match (&self.0, destination) {
            (What::Tcp(host, port), Destination::Tcp(asked)) => {
                host.admits(&asked.host) && port.is_none_or(|port| port == asked.port)
            }
            (What::Unix(path), Destination::Unix(asked)) => path == asked,
            (What::Tcp(..), Destination::Unix(_)) | (What::Unix(_), Destination::Tcp(_)) => false,
        }
    }

    /// Whether this is one of the addresses meant.
    pub fn admits_tcp(&self, asked: &HostPort) -> bool {
        self.admits(&Destination::Tcp(asked.clone()))
    }
}

impl HostPattern {
    fn admits(&self, asked: &Host) -> bool {
        match (self, asked) {
            (HostPattern::Any, _) => true,
            (HostPattern::Below(parent), Host::Name(name)) => name
                .as_str()
                .strip_suffix(parent.as_str())
                .and_then(|n| n.strip_suffix('.'))
                .is_some_and(|n| !n.is_empty()),
            (HostPattern::Below(_), Host::Ip(_)) => false,
            (HostPattern::Is(host), asked) => host == asked,
        }
    }
}

impl FromStr for Pattern {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Pattern, AddressError> {
        if SocketPath::is_meant(text) {
            return Ok(Pattern(What::Unix(text.parse()?)));
        }
        let (host, port) = split_port(text).ok_or_else(|| AddressError::Form(text.to_owned()))?;
        let host = match host.strip_prefix("*.") {
            Some(parent) => match parent.parse()? {
                Host::Name(parent) => HostPattern::Below(parent),
                Host::Ip(_) => return Err(AddressError::Host(host.to_owned())),
            },
            None if host == "*" => HostPattern::Any,
            None => HostPattern::Is(host.parse()?),
        };
        let port = match port {
            "*" => None,
            port => Some(parse_port(port)?),
        };
        Ok(Pattern(What::Tcp(host, port)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = match &self.0 {
            What::Tcp(host, port) => (host, port),
            What::Unix(path) => return path.fmt(f),
        };
        match host {
            HostPattern::Any => f.write_str("*")?,
            HostPattern::Below(parent) => write!(f, "*.{}", parent.as_str())?,
            HostPattern::Is(host) => host.fmt(f)?,
        }
        match port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

/// A list of patterns; an empty one admits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Pattern>);

impl AllowList {
    /// Whether any pattern admits this destination.
    pub fn admits(&self, destination: &Destination) -> bool {
        self.0.iter().any(|pattern| pattern.admits(destination))
    }

    /// Whether any pattern admits this address.
    pub fn admits_tcp(&self, asked: &HostPort) -> bool {
        self.0.iter().any(|pattern| pattern.admits_tcp(asked))
    }

    /// Whether nothing at all is admitted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Pattern> for AllowList {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> AllowList {
        AllowList(patterns.into_iter().collect())
    }
}

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pattern) in self.0.iter().enumerate() {
            write!(f, "{}{pattern}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn admits(pattern: &str, asked: &str) -> bool {
        let pattern: Pattern = pattern.parse().unwrap();
        assert_eq!(
            pattern.to_string().parse::<Pattern>().unwrap(),
            pattern,
            "its own text means the same"
        );
        pattern.admits(&asked.parse().unwrap())
    }

    #[test]
    fn a_host_and_port_admit_themselves_alone() {
        assert!(admits("db.example.org:5432", "DB.Example.org.:5432"));
        assert!(!admits("db.example.org:5432", "db.example.org:5433"));
        assert!(!admits("db.example.org:5432", "xdb.example.org:5432"));
        assert!(!admits(
            "db.example.org:5432",
            "db.example.org.evil.net:5432"
        ));
    }

    #[test]
    fn an_address_is_admitted_however_it_is_written() {
        assert!(admits("[::1]:5432", "[0:0:0:0:0:0:0:1]:5432"));
        assert!(admits("127.0.0.1:80", "[::ffff:127.0.0.1]:80"));
        assert!(admits("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(!admits("127.0.0.1:80", "127.0.0.2:80"));
        assert!(
            !admits("127.0.0.1:80", "localhost:80"),
            "names are not resolved for the comparison"
        );
    }

    #[test]
    fn a_star_as_port_admits_every_port() {
        assert!(admits("127.0.0.1:*", "127.0.0.1:1") && admits("127.0.0.1:*", "127.0.0.1:65535"));
        assert!(!admits("127.0.0.1:*", "10.0.0.1:1"));
    }

    #[test]
    fn a_star_before_a_name_admits_what_is_below_it() {
        assert!(
            admits("*.example.org:22", "a.example.org:22")
                && admits("*.example.org:22", "a.b.example.org:22")
        );
        assert!(!admits("*.example.org:22", "example.org:22"));
        assert!(!admits("*.example.org:22", "badexample.org:22"));
        assert!(!admits("*.example.org:22", "a.example.org:23"));
        assert!(!admits("*.org:22", "127.0.0.1:22"));
    }

    #[test]
    fn a_star_alone_admits_every_host() {
        assert!(
            admits("*:443", "example.org:443")
                && admits("*:443", "[::1]:443")
                && admits("*:*", "10.0.0.1:1")
        );
        assert!(!admits("*:443", "example.org:80"));
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        for text in [
            "",
            "*",
            "example.org",
            "*.127.0.0.1:22",
            "*.*.org:22",
            "a.*:22",
            "127.0.0.*:22",
            "[*]:22",
            "a:**",
            "*.:22",
            "::1:*",
        ] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_list_admits_nothing() {
        assert!(AllowList::default().is_empty());
        assert!(!AllowList::default().admits(&"localhost:22".parse().unwrap()));
        let list: AllowList = ["a:1".parse().unwrap(), "*:2".parse().unwrap()]
            .into_iter()
            .collect();
        assert!(list.admits(&"b:2".parse().unwrap()) && !list.admits(&"b:1".parse().unwrap()));
        assert_eq!(list.to_string(), "a:1, *:2");
    }
}
