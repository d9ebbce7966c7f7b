//! What can be chosen, on each side.

use crate::carrier::{Plain, ProxyChoice, TlsChoice};
use crate::front::Limits;
use posthole_protocol::{Config, RouterConfig};
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

/// How to serve, for [`Listener::bind`](crate::Listener::bind) and [`Handler::new`](crate::Handler::new).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    pub(crate) front: FrontChoice,
    pub(crate) path: String,
    pub(crate) limits: Limits,
    pub(crate) config: Config,
    pub(crate) router: RouterConfig,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            front: FrontChoice::default(),
            path: "/".into(),
            limits: Limits::default(),
            config: Config::default(),
            router: RouterConfig::default(),
        }
    }
}

impl ListenOptions {
    /// The defaults: the path `/`, and bounds for a server that faces strangers.
    pub fn new() -> ListenOptions {
        ListenOptions::default()
    }

    /// Which HTTP server brings the requests. Of no meaning to a [`Handler`](crate::Handler).
    #[must_use]
    pub fn front(mut self, front: FrontChoice) -> ListenOptions {
        self.front = front;
        self
    }

    /// The path that takes requests; every other is answered 404. Of no meaning to a
    /// [`Handler`](crate::Handler). Default: `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> ListenOptions {
        self.path = path.into();
        self
    }

    /// What clients may make the HTTP side spend. Of no meaning to a [`Handler`](crate::Handler).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> ListenOptions {
        self.limits = limits;
        self
    }

    /// How every session behaves.
    #[must_use]
    pub fn config(mut self, config: Config) -> ListenOptions {
        self.config = config;
        self
    }

    /// How many sessions there may be, and what is remembered of ended ones.
    #[must_use]
    pub fn router(mut self, router: RouterConfig) -> ListenOptions {
        self.router = router;
        self
    }
}
