//! Where a client makes direct connections.

use crate::error::ConnectError;
use crate::options::Direct;
use posthole_protocol::http::Way;
use posthole_protocol::{Carrier, Config};
use std::time::Duration;

/// How long a direct connection is tried alone. RFC 8305 (Happy Eyeballs) gives the preferred family 250 ms; this is that
/// and a little for the first answer.
pub const HEAD_START: Duration = Duration::from_millis(300);

/// What became of the choice, for one way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectPlan {
    /// To which host.
    pub host: String,
    /// To which port; `None`: as the server tells.
    pub port: Option<u16>,
    /// The session's configuration, which dials only where that is allowed.
    pub config: Config,
}

impl DirectPlan {
    /// What is told by a server is followed only where it takes away nothing that the user asked for: TLS, or the way
    /// through a proxy.
    ///
    /// # Errors
    /// If the address is none, or there is none though nothing but direct connections is wanted.
    pub fn new(choice: Direct, way: &Way, config: Config) -> Result<DirectPlan, ConnectError> {
        let told = DirectPlan {
            host: way.url().host.clone(),
            port: None,
            config,
        };
        let is_open = !way.has_tls() && way.proxy().is_none();
        match choice {
            Direct::At(address) => {
                let (host, port) = split(&address).ok_or_else(|| {
                    let wanted = "wanted: host:port, with a port from 1 to 65535";
                    ConnectError::Direct(format!("no direct connection to {address:?}; {wanted}"))
                })?;
                Ok(DirectPlan {
                    host,
                    port: Some(port),
                    ..told
                })
            }
            Direct::Told | Direct::Never if told.config.carrier() == Carrier::Direct => {
                Err(ConnectError::Direct(
                    "nothing but direct connections is wanted, and it was not said where the server takes them".into(),
                ))
            }
            Direct::Told if is_open => Ok(told),
            // The port that the server tells is not to be followed.
            Direct::Told | Direct::Never => Ok(DirectPlan {
                config: told.config.without_direct(),
                ..told
            }),
        }
    }
}

/// `host:port`, `[v6]:port`.
fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .map_or(Some(host), |rest| rest.strip_suffix(']'))?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthole_protocol::http::{ProxyChoice, Tag};

    #[test]
    fn a_port_that_a_server_tells_is_dialled_past_no_proxy_and_no_tls() {
        let plan = |url: &str, proxy: &str| {
            let proxy = match proxy {
                "" => ProxyChoice::None,
                url => ProxyChoice::Url(url.into()),
            };
            let way = Way::new(url, Tag::from_bytes([1; 8]), proxy, |_| None).unwrap();
            DirectPlan::new(Direct::Told, &way, Config::default()).unwrap()
        };
        let open = Config::default();
        let shut = Config::default().without_direct();
        assert_ne!(open, shut);
        assert_eq!(plan("http://server.example/", "").config, open);
        assert_eq!(plan("https://server.example/", "").config, shut);
        let behind = plan("http://server.example/", "http://proxy.example:3128");
        assert_eq!((behind.config, behind.port), (shut, None));
    }

    #[test]
    fn a_port_that_a_server_tells_is_dialled_by_nobody_who_does_not_want_that() {
        let way = |url| Way::new(url, Tag::from_bytes([1; 8]), ProxyChoice::None, |_| None);
        let way = way("http://server.example/").unwrap();
        let plan = DirectPlan::new(Direct::Never, &way, Config::default());
        assert_eq!(plan.unwrap().config, Config::default().without_direct());
        // And who wants nothing else has to say where.
        let alone = || Config::default().by(Carrier::Direct);
        for choice in [Direct::Told, Direct::Never] {
            let plan = DirectPlan::new(choice, &way, alone());
            assert!(matches!(plan, Err(ConnectError::Direct(_))));
        }
        let plan = DirectPlan::new(Direct::At("[::1]:7".into()), &way, alone()).unwrap();
        assert_eq!((plan.host.as_str(), plan.port), ("::1", Some(7)));
    }

    #[test]
    fn an_address_of_the_users_own_is_dialled_past_proxy_and_tls() {
        for (url, proxy) in [
            ("https://server.example/", ProxyChoice::None),
            (
                "http://server.example/",
                ProxyChoice::Url("http://proxy.example:3128".into()),
            ),
        ] {
            let way = Way::new(url, Tag::from_bytes([1; 8]), proxy, |_| None).unwrap();
            let at = Direct::At("server.example:7".into());
            let plan = DirectPlan::new(at, &way, Config::default()).unwrap();
            assert_eq!((plan.config, plan.port), (Config::default(), Some(7)));
        }
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        let says = |text: &str| split(text);
        assert_eq!(says("a.b:7"), Some(("a.b".into(), 7)));
        assert_eq!(says("[::1]:7"), Some(("::1".into(), 7)));
        for wrong in ["", "a", "a:", ":7", "a:0", "a:70000", "[::1:7"] {
            assert_eq!(says(wrong), None, "{wrong}");
        }
    }
}
