//! The URLs a person gives: of a server, and of a proxy. Read as curl reads them, where curl has a habit.

use super::{Credentials, Tag};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::Ipv6Addr;

/// How an HTTP server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Over TCP as it is.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands before `://`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that goes without saying (RFC 9110 §4.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// What it wants to see as `Authorization: Basic`, if the URL has it.
    pub credentials: Option<Credentials>,
    /// Its name in lower case or its address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Begins with a slash.
    pub path: String,
    /// Without its question mark.
    pub query: Option<String>,
}

/// Where a proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// How the proxy itself is spoken to.
    pub scheme: Scheme,
    /// What it wants to see as `Proxy-Authorization: Basic`, if the URL has it.
    pub credentials: Option<Credentials>,
    /// Its name in lower case or its address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What is wrong with a URL. Says nothing of its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// There is no host.
    NoHost,
    /// Neither http nor https.
    Scheme(String),
    /// A proxy that speaks SOCKS.
    Socks(String),
    /// The host has something in it that no host has.
    Host(String),
    /// Not a port from 1 to 65535.
    Port(String),
    /// Something that must be percent-encoded in path or query.
    Character(char),
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::NoHost => f.write_str("the URL has no host (wanted: http://host:port/path)"),
            UrlError::Scheme(s) => write!(
                f,
                "the URL begins with {s}://, but only http:// and https:// are spoken"
            ),
            UrlError::Socks(s) => write!(f, "{s}:// proxies are not spoken to, only HTTP ones"),
            UrlError::Host(h) => write!(
                f,
                "{h:?} is not a host (IPv6 addresses stand in brackets, international names in their xn-- form)"
            ),
            UrlError::Port(p) => write!(f, "{p:?} is not a port from 1 to 65535"),
            UrlError::Character(c) => {
                write!(f, "the character {c:?} in the URL must be percent-encoded")
            }
        }
    }
}

impl core::error::Error for UrlError {}

impl Url {
    /// Reads a server's URL. Without a scheme it is http, as with curl; a fragment is dropped.
    ///
    /// # Errors
    /// What is wrong, in words for the person who wrote it.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let (scheme, rest) = split_scheme(text);
        let scheme = match scheme {
            None => Scheme::Http,
            Some(s) => read_scheme(s).ok_or_else(|| UrlError::Scheme(s.to_owned()))?,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path, query) = split_authority(rest);
        let (credentials, host, port) = read_authority(authority)?;
        if let Some(bad) = path
            .chars()
            .chain(query.unwrap_or_default().chars())
            .find(|c| !may_stand_in_a_target(*c))
        {
            return Err(UrlError::Character(bad));
        }
        Ok(Url {
            scheme,
            credentials,
            host,
            port: port.unwrap_or(scheme.default_port()),
            path: if path.is_empty() {
                String::from("/")
            } else {
                path.to_owned()
            },
            query: query.filter(|q| !q.is_empty()).map(ToOwned::to_owned),
        })
    }

    /// The request target in origin form (RFC 9112 §3.2.1), with the tag at its end (§9.1).
    pub fn target(&self, tag: Tag) -> String {
        match &self.query {
            None => format!("{}?{tag}", self.path),
            Some(query) => format!("{}?{query}&{tag}", self.path),
        }
    }

    /// `host`, or `host:port` if the port is not the scheme's own; IPv6 in brackets: the value of `Host`.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            bracketed(&self.host)
        } else {
            self.host_and_port()
        }
    }

    /// `host:port`, IPv6 in brackets: the target of a CONNECT.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

/// Without credentials and query: for logs.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme.as_str(),
            self.authority(),
            self.path
        )
    }
}

impl Proxy {
    /// Reads a proxy's URL, `http://user:password@host:port`. As with curl, the scheme may be left out and is then
    /// http, the port is then 1080 (443 for https), credentials are percent-decoded, and a path is ignored.
    ///
    /// # Errors
    /// What is wrong, in words for the person who wrote it.
    pub fn parse(text: &str) -> Result<Proxy, UrlError> {
        let (scheme, rest) = split_scheme(text);
        let scheme = match scheme {
            None => Scheme::Http,
            Some(s) if s.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("socks")) => {
                return Err(UrlError::Socks(s.to_owned()));
            }
            Some(s) => read_scheme(s).ok_or_else(|| UrlError::Scheme(s.to_owned()))?,
        };
        let (authority, _, _) = split_authority(rest);
        let (credentials, host, port) = read_authority(authority)?;
        let default = match scheme {
            Scheme::Http => 1080,
            Scheme::Https => 443,
        };
        Ok(Proxy {
            scheme,
            credentials,
            host,
            port: port.unwrap_or(default),
        })
    }

    /// `host:port`, IPv6 in brackets.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

/// Without credentials: for logs.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host_and_port())
    }
}

fn split_scheme(text: &str) -> (Option<&str>, &str) {
    let text = text.trim();
    match text.split_once("://") {
        // A later "://" belongs to a path or query.
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#', '@']) => (Some(scheme), rest),
        Some(_) | None => (None, text),
    }
}

fn read_scheme(text: &str) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|s| text.eq_ignore_ascii_case(s.as_str()))
}

fn split_authority(rest: &str) -> (&str, &str, Option<&str>) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match rest.split_once('?') {
        Some((path, query)) => (authority, path, Some(query)),
        None => (authority, rest, None),
    }
}

type Authority = (Option<Credentials>, String, Option<u16>);

fn read_authority(authority: &str) -> Result<Authority, UrlError> {
    // The last "@": older passwords hold unencoded ones, and curl lets them.
    let (userinfo, place) = match authority.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, authority),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(literal) => {
            let wrong = || UrlError::Host(place.to_owned());
            let (address, after) = literal.split_once(']').ok_or_else(wrong)?;
            let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(wrong()),
            };
            (format!("{address}"), port)
        }
        None => {
            let (host, port) = match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            };
            if host.is_empty() {
                return Err(UrlError::NoHost);
            }
            if !host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
            {
                return Err(UrlError::Host(host.to_owned()));
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = match port {
        None | Some("") => None,
        Some(digits) => {
            let number = if digits.bytes().all(|b| b.is_ascii_digit()) {
                digits.parse().ok()
            } else {
                None
            };
            Some(
                number
                    .filter(|n| *n != 0)
                    .ok_or_else(|| UrlError::Port(digits.to_owned()))?,
            )
        }
    };
    Ok((userinfo.map(Credentials::from_userinfo), host, port))
}

fn may_stand_in_a_target(c: char) -> bool {
    c.is_ascii_graphic()
        && !matches!(
            c,
            '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '#'
        )
}

/// An IPv6 address in brackets; anything else as it is.
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests;
