//! Which proxy the environment names, by curl's rules (curl(1), "ENVIRONMENT", and what its source makes of them).

use super::{Scheme, Url};
use alloc::string::String;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// A proxy that a variable names.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable, for messages.
    pub variable: &'static str,
    /// What it holds: may hold credentials, so not for logs.
    pub value: String,
}

/// Without the value, which may hold credentials.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("variable", &self.variable)
            .finish_non_exhaustive()
    }
}

/// The proxy that the environment names for a server, if any. `lookup` reads a variable.
///
/// An empty variable counts as unset. `http_proxy` is read in lower case only: a web server gives a CGI program the
/// header `Proxy:` as `HTTP_PROXY`. Of the others lower case comes first. What the scheme's own variable doesn't
/// say, `all_proxy` does.
pub fn from_environment(url: &Url, lookup: impl Fn(&str) -> Option<String>) -> Option<Setting> {
    let read = |names: &[&'static str]| {
        names.iter().find_map(|&variable| {
            let value = lookup(variable).filter(|v| !v.is_empty())?;
            Some(Setting { variable, value })
        })
    };
    if read(&["no_proxy", "NO_PROXY"]).is_some_and(|list| bypasses(&list.value, &url.host)) {
        return None;
    }
    match url.scheme {
        Scheme::Http => read(&["http_proxy", "all_proxy", "ALL_PROXY"]),
        Scheme::Https => read(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
    }
}

/// Whether a `NO_PROXY` list names this host (IPv6 without brackets).
///
/// The list is `*`, or names and addresses between commas or blanks. A name means itself and all below it, a dot at
/// its beginning or end means nothing, upper and lower case are the same. An address is matched by an equal one, or
/// by a network `address/bits` (0 bits are all addresses; curl takes them for an equal one), never by a name. Ports are not looked at: an entry with one matches nothing.
pub fn bypasses(list: &str, host: &str) -> bool {
    if list == "*" {
        return true;
    }
    let mut entries = list
        .split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty());
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        entries.any(|entry| {
            holds(entry, u128::from(u32::from(address)), 32, |text| {
                text.parse::<Ipv4Addr>()
                    .ok()
                    .map(|a| u128::from(u32::from(a)))
            })
        })
    } else if let Ok(address) = host.parse::<Ipv6Addr>() {
        entries.any(|entry| {
            holds(entry, u128::from(address), 128, |text| {
                text.parse::<Ipv6Addr>().ok().map(u128::from)
            })
        })
    } else {
        let host = host.strip_suffix('.').unwrap_or(host);
        entries.any(|entry| is_or_is_below(entry, host))
    }
}

/// Whether the network `entry` holds an address of so many bits.
fn holds(entry: &str, address: u128, width: u32, read: impl Fn(&str) -> Option<u128>) -> bool {
    let (network, bits) = match entry.split_once('/') {
        None => (entry, Some(width)),
        Some((network, bits)) => (network, bits.parse::<u32>().ok()),
    };
    let shift = bits.and_then(|bits| width.checked_sub(bits));
    match (read(network), shift) {
        // A shift by all 128 bits leaves nothing to compare.
        (Some(network), Some(shift)) => (network ^ address).checked_shr(shift).unwrap_or(0) == 0,
        (None, _) | (_, None) => false,
    }
}

fn is_or_is_below(entry: &str, host: &str) -> bool {
    let entry = entry.strip_suffix('.').unwrap_or(entry);
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    let Some(above) = host.len().checked_sub(entry.len()) else {
        return false;
    };
    let Some((above, tail)) = host.split_at_checked(above) else {
        return false;
    };
    tail.eq_ignore_ascii_case(entry) && (above.is_empty() || above.ends_with('.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloc::borrow::ToOwned;

    #[test]
    fn no_proxy_as_curl_reads_it() {
        for (list, host, expected) in [
            ("*", "any.example", true),
            ("*", "10.0.0.1", true),
            // Only a lone asterisk is one.
            ("*,x", "any.example", false),
            ("*.example.com", "www.example.com", false),
            ("", "example.com", false),
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com", true),
            ("Example.COM", "www.example.com", true),
            (".example.com", "www.example.com", true),
            (".example.com", "example.com", true),
            ("example.com.", "example.com", true),
            ("example.com", "example.com.", true),
            ("example.com", "nonexample.com", false),
            ("www.example.com", "example.com", false),
            ("a,, b ,example.com", "example.com", true),
            ("a b", "b", true),
            ("localhost", "localhost", true),
            // A port in an entry makes it match nothing.
            ("example.com:80", "example.com", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.11", false),
            ("0.0.1", "10.0.0.1", false),
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.168.0.0/16", "192.168.255.255", true),
            ("192.168.4.0/22", "192.168.7.9", true),
            ("192.168.4.0/22", "192.168.8.1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("10.0.0.0/", "10.0.0.0", false),
            ("0.0.0.0/0", "10.0.0.1", true),
            ("10.0.0.0/8", "ten.example", false),
            ("::1", "::1", true),
            ("0:0::1", "::1", true),
            ("[::1]", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/9", "fd80::1", false),
            ("::/0", "fd12::1", true),
            ("2001:db8::/129", "2001:db8::", false),
            ("10.0.0.0/8", "::1", false),
        ] {
            assert_eq!(bypasses(list, host), expected, "{list:?} {host}");
        }
    }

    /// A URL, the variables, and what is found: by which variable, its value.
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        Option<(&'static str, &'static str)>,
    );

    #[test]
    fn variables_as_curl_reads_them() {
        let http = "http://h.example";
        let https = "https://h.example";
        let cases: [Case; 13] = [
            (http, &[], None),
            (http, &[("http_proxy", "a")], Some(("http_proxy", "a"))),
            (http, &[("HTTP_PROXY", "a")], None),
            (
                http,
                &[("HTTP_PROXY", "a"), ("ALL_PROXY", "b")],
                Some(("ALL_PROXY", "b")),
            ),
            (http, &[("https_proxy", "a")], None),
            (
                http,
                &[("http_proxy", ""), ("all_proxy", "b")],
                Some(("all_proxy", "b")),
            ),
            (https, &[("http_proxy", "a")], None),
            (https, &[("HTTPS_PROXY", "a")], Some(("HTTPS_PROXY", "a"))),
            (
                https,
                &[("HTTPS_PROXY", "a"), ("https_proxy", "b")],
                Some(("https_proxy", "b")),
            ),
            (
                https,
                &[("ALL_PROXY", "a"), ("all_proxy", "b")],
                Some(("all_proxy", "b")),
            ),
            (http, &[("http_proxy", "a"), ("no_proxy", "example")], None),
            (http, &[("http_proxy", "a"), ("NO_PROXY", "example")], None),
            (
                http,
                &[
                    ("http_proxy", "a"),
                    ("NO_PROXY", "example"),
                    ("no_proxy", "x"),
                ],
                Some(("http_proxy", "a")),
            ),
        ];
        for (url, variables, expected) in cases {
            let found = from_environment(&Url::parse(url).unwrap(), |name| {
                variables
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| (*v).to_owned())
            });
            assert_eq!(
                found.as_ref().map(|s| (s.variable, s.value.as_str())),
                expected,
                "{url} {variables:?}"
            );
        }
    }
}
