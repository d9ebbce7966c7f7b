//! What can be chosen.

use crate::carrier::{Plain, ProxyChoice, TlsChoice};
use posthole_protocol::Config;
use std::time::Duration;

/// How to reach a server, for [`connect`](crate::connect).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    pub(crate) proxy: ProxyChoice,
    pub(crate) plain: Plain,
    pub(crate) tls: TlsChoice,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) config: Config,
    pub(crate) connect_timeout: Duration,
    pub(crate) wait_for_answer: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            proxy: ProxyChoice::default(),
            plain: Plain::default(),
            tls: TlsChoice::default(),
            headers: Vec::new(),
            config: Config::default(),
            connect_timeout: Duration::from_secs(10),
            wait_for_answer: true,
        }
    }
}

impl Options {
    /// The defaults: the proxy that the environment names, the operating system's authorities, 10 s for the first
    /// answer.
    pub fn new() -> Options {
        Options::default()
    }

    /// Through which proxy.
    #[must_use]
    pub fn proxy(mut self, proxy: ProxyChoice) -> Options {
        self.proxy = proxy;
        self
    }

    /// How a proxy is asked for an http server.
    #[must_use]
    pub fn plain(mut self, plain: Plain) -> Options {
        self.plain = plain;
        self
    }

    /// Whom to believe in TLS.
    #[must_use]
    pub fn tls(mut self, tls: TlsChoice) -> Options {
        self.tls = tls;
        self
    }

    /// A header for every request, in place of one of ours that has the same name.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Options {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How the session behaves.
    #[must_use]
    pub fn config(mut self, config: Config) -> Options {
        self.config = config;
        self
    }

    /// How long [`connect`](crate::connect) waits for the first answer. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Options {
        self.connect_timeout = timeout;
        self
    }

    /// Whether [`connect`](crate::connect) waits for the first answer at all. If not, it gives a session that goes on
    /// trying until it gives up (by default after 90 s of silence); what is written meanwhile waits. Default: yes.
    #[must_use]
    pub fn wait_for_answer(mut self, wait: bool) -> Options {
        self.wait_for_answer = wait;
        self
    }
}

/// Which HTTP server brings a listener its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrontChoice {
    /// Ours, made to face strangers.
    #[default]
    Own,
    /// tiny_http: behind a reverse proxy or among friends only; see [`front::tiny`](crate::front::tiny).
    #[cfg(feature = "tiny_http")]
    TinyHttp,
}
