//! Why an exchange came to nothing: what the core is to be told, and a sentence for a person. Every carrier says the
//! same of the same.

use super::Way;
use crate::error::Failure;
use alloc::format;
use alloc::string::String;
use core::fmt::{self, Display};
use core::time::Duration;

/// Why an exchange came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the core is to be told.
    pub failure: Failure,
    /// Whether any of the request may have left this machine; if not, nobody has seen it.
    pub reached: bool,
    /// For a person, in one line: what happened, where, and what to do. Never credentials.
    pub says: String,
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl core::error::Error for Trouble {}

/// Before there is a connection to the server.
impl Trouble {
    /// The first hop's name could not be looked up.
    pub fn no_name(way: &Way, why: &dyn Display) -> Trouble {
        let (whom, advice) = (way.first_hop_name(), about_the_name(way));
        Trouble::unsent(format!(
            "the name of {whom} can't be looked up: {why}; {advice}"
        ))
    }

    /// The first hop's name has no address.
    pub fn no_address(way: &Way) -> Trouble {
        let (whom, advice) = (way.first_hop_name(), about_the_name(way));
        Trouble::unsent(format!("{whom} has no address; {advice}"))
    }

    /// No connection to this address of the first hop.
    pub fn no_connection(way: &Way, address: &dyn Display, why: &dyn Display) -> Trouble {
        let advice = if way.proxy().is_some() {
            "is the proxy's address right?"
        } else {
            "is it running, and may this machine reach it without a proxy?"
        };
        let whom = way.first_hop_name();
        Trouble::unsent(format!(
            "no connection to {whom} ({address}): {why}; {advice}"
        ))
    }

    /// The proxy made no tunnel to the server.
    pub fn no_tunnel(way: &Way, why: &dyn Display) -> Trouble {
        let (whom, place) = (way.first_hop_name(), way.url().host_and_port());
        let advice = "does it let tunnels (CONNECT) through to that port? Many let only 443";
        Trouble::unsent(format!("{whom} made no tunnel to {place}: {why}; {advice}"))
    }

    /// The proxy answered a CONNECT, but not with a tunnel.
    pub fn tunnel_refused(way: &Way, failure: Failure, status: u16, who: &str) -> Trouble {
        let (whom, place) = (way.first_hop_name(), way.url().host_and_port());
        Trouble::answered(
            format!("a CONNECT to {place} by {whom}"),
            failure,
            status,
            who,
            false,
        )
    }

    /// No TLS with the proxy or server at this URL.
    pub fn no_tls(url: &dyn Display, why: &dyn Display) -> Trouble {
        let advice = "if a box on the way opens TLS, give its authority's certificate";
        Trouble::unsent(format!("no TLS with {url}: {why}; {advice}"))
    }

    fn unsent(says: String) -> Trouble {
        Trouble {
            failure: Failure::Connect,
            reached: false,
            says,
        }
    }
}

fn about_the_name(way: &Way) -> &'static str {
    if way.proxy().is_some() {
        "is the proxy's name right?"
    } else {
        "is it right? Where only a proxy knows names, give it by --proxy"
    }
}

/// Once there is one. `reached`: whether any of the request may have left.
impl Trouble {
    /// Something other than the server answered (§9.4).
    pub fn not_ours(way: &Way, failure: Failure, status: u16, who: &str) -> Trouble {
        let what = format!("a request to {}", way.describe());
        Trouble::answered(what, failure, status, who, true)
    }

    /// An answer that does not end where one of ours would have ended long ago.
    pub fn too_long(way: &Way, status: u16) -> Trouble {
        let who = "an answer larger than any of ours";
        Trouble::not_ours(way, Failure::Middlebox { status }, status, who)
    }

    /// The patience ran out.
    pub fn timed_out(way: &Way, patience: Duration, reached: bool) -> Trouble {
        let what = format!(
            "nothing moved for {} s; it is tried again",
            patience.as_secs_f32()
        );
        Trouble::lost(way, Failure::TimedOut, &what, reached)
    }

    /// The connection was closed.
    pub fn closed(way: &Way, reached: bool) -> Trouble {
        let what = "the connection was closed before the whole answer was here; it is tried again";
        Trouble::lost(way, Failure::Cut, &what, reached)
    }

    /// What came was no answer at all.
    pub fn not_http(way: &Way, why: &dyn Display, reached: bool) -> Trouble {
        let what = format!(
            "the answer is not HTTP as it should be: {why}; does something else listen there?"
        );
        Trouble::lost(way, Failure::Cut, &what, reached)
    }

    /// Anything else.
    pub fn broken(way: &Way, why: &dyn Display, reached: bool) -> Trouble {
        Trouble::lost(way, Failure::Cut, why, reached)
    }

    /// This side gave the exchange up.
    pub fn given_up(way: &Way, reached: bool) -> Trouble {
        let there = way.describe();
        Trouble {
            failure: Failure::Cut,
            reached,
            says: format!("the exchange with {there} was given up by this side"),
        }
    }

    /// The same trouble with the second connection of an exchange whose first, a stale one, may have taken some of
    /// the request with it: then it is not true that nothing has left.
    pub fn after_a_stale_connection(self) -> Trouble {
        let failure = if self.failure == Failure::Connect {
            Failure::Cut
        } else {
            self.failure
        };
        Trouble {
            failure,
            reached: true,
            ..self
        }
    }

    fn lost(way: &Way, failure: Failure, what: &dyn Display, reached: bool) -> Trouble {
        Trouble {
            failure: if reached { failure } else { Failure::Connect },
            reached,
            says: format!("{}: {what}", way.describe()),
        }
    }

    fn answered(what: String, failure: Failure, status: u16, who: &str, reached: bool) -> Trouble {
        let who = if who.is_empty() {
            String::new()
        } else {
            format!(" ({who})")
        };
        let advice = match failure {
            Failure::TooLarge => "it is too large for a box on the way; smaller ones are tried",
            Failure::Credentials => {
                "the proxy wants a name and password: http://name:password@proxy:port"
            }
            Failure::Refused { status: 401 } => {
                "a web server on the way wants a name and password: http://name:password@server/"
            }
            Failure::Refused { status: 404 | 410 } => {
                "there is no such place; is the URL's path that of serve --path?"
            }
            Failure::Refused { status: 405 } => {
                "it takes no POST there; is the URL that of a posthole server?"
            }
            Failure::Refused { .. } => {
                "a box on the way does not allow it; ask who runs it, or go by another (--proxy)"
            }
            Failure::Middlebox { status: 502 } => {
                "a box on the way got no answer from the server; is that running?"
            }
            Failure::Middlebox { status: 503 } => {
                "a box on the way has no server to ask, or too much to do; it is tried again"
            }
            Failure::Middlebox { status: 504 } => {
                "a box on the way did not wait any longer for the server; it is tried again"
            }
            Failure::Middlebox { status: 500.. } => {
                "something failed on the way; it is tried again"
            }
            Failure::Middlebox { .. } | Failure::Connect | Failure::Cut | Failure::TimedOut => {
                "this is not a posthole server's answer; is the URL right, or does a login page want attention?"
            }
        };
        Trouble {
            failure,
            reached,
            says: format!("{what} was answered with {status}{who}: {advice}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{ProxyChoice, Tag};
    use super::*;
    use alloc::borrow::ToOwned;

    fn way(proxy: Option<&str>) -> Way {
        let proxy = proxy.map_or(ProxyChoice::None, |p| ProxyChoice::Url(p.to_owned()));
        let url = "http://me:secret@server/in?key=secret";
        Way::new(url, Tag::from_bytes([1; 8]), proxy, |_| None).unwrap()
    }

    #[test]
    fn what_is_said() {
        let direct = way(None);
        let proxied = way(Some("http://me:secret@p:3128"));
        let refused = "connection refused";
        for (trouble, failure, reached, says) in [
            (
                Trouble::no_name(&direct, &"no such name"),
                Failure::Connect,
                false,
                "the name of server server:80 can't be looked up: no such name; is it right? Where only a proxy knows names, \
                 give it by --proxy",
            ),
            (
                Trouble::no_connection(&proxied, &"10.0.0.1:3128", &refused),
                Failure::Connect,
                false,
                "no connection to proxy p:3128 (10.0.0.1:3128): connection refused; is the proxy's address right?",
            ),
            (
                Trouble::no_tunnel(&proxied, &"it hung up"),
                Failure::Connect,
                false,
                "proxy p:3128 made no tunnel to server:80: it hung up; does it let tunnels (CONNECT) through to that port? \
                 Many let only 443",
            ),
            (
                Trouble::tunnel_refused(&proxied, Failure::Credentials, 407, "Via: x"),
                Failure::Credentials,
                false,
                "a CONNECT to server:80 by proxy p:3128 was answered with 407 (Via: x): \
                 the proxy wants a name and password: http://name:password@proxy:port",
            ),
            (
                Trouble::not_ours(&direct, Failure::TooLarge, 413, ""),
                Failure::TooLarge,
                true,
                "a request to http://server/in was answered with 413: \
                 it is too large for a box on the way; smaller ones are tried",
            ),
            (
                Trouble::timed_out(&direct, Duration::from_millis(1500), true),
                Failure::TimedOut,
                true,
                "http://server/in: nothing moved for 1.5 s; it is tried again",
            ),
            (
                Trouble::closed(&proxied, true),
                Failure::Cut,
                true,
                "http://server/in through proxy http://p:3128: \
                 the connection was closed before the whole answer was here; it is tried again",
            ),
        ] {
            assert_eq!((trouble.failure, trouble.reached), (failure, reached));
            assert_eq!(trouble.says, says);
        }
    }

    #[test]
    fn what_never_left_is_a_failed_connection() {
        let trouble = Trouble::timed_out(&way(None), Duration::from_secs(1), false);
        assert_eq!(trouble.failure, Failure::Connect);
        let trouble = Trouble::closed(&way(None), false).after_a_stale_connection();
        assert_eq!((trouble.failure, trouble.reached), (Failure::Cut, true));
    }
}
