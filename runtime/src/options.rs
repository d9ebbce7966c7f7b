//! What can be chosen, on each side.

use crate::limits::Limits;
use posthole_protocol::http::{Plain, ProxyChoice, WayError};
use posthole_protocol::{Config, RouterConfig};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Whom to believe in TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsChoice {
    /// Whom the operating system believes.
    #[default]
    Platform,
    /// The authorities in this PEM file only; for instance that of a proxy that opens TLS.
    CaFile(PathBuf),
}

impl TlsChoice {
    /// In a build without the feature `tls`: nobody is believed.
    ///
    /// # Errors
    /// If TLS is wanted.
    pub fn left_out(self, is_wanted: bool) -> Result<(), WayError> {
        if is_wanted {
            let what = "https needs the feature \"tls\", which was left out of this build";
            return Err(WayError::Tls(what.to_owned()));
        }
        Ok(())
    }
}

/// Where a server takes direct connections, for `connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Direct {
    /// At the URL's host and the port that the server tells, for an http URL to which no proxy leads.
    #[default]
    Told,
    /// Here, `host:port`: tried first, everything else 300 ms later. What goes there is not encrypted.
    At(String),
    /// Nowhere.
    Never,
}

/// How to reach a server, for `connect`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// See [`proxy`](Options::proxy()).
    pub proxy: ProxyChoice,
    /// See [`plain`](Options::plain()).
    pub plain: Plain,
    /// See [`tls`](Options::tls()).
    pub tls: TlsChoice,
    /// See [`header`](Options::header()).
    pub headers: Vec<(String, String)>,
    /// See [`direct`](Options::direct()).
    pub direct: Direct,
    /// See [`config`](Options::config()).
    pub config: Config,
    /// See [`connect_timeout`](Options::connect_timeout()).
    pub connect_timeout: Duration,
    /// See [`wait_for_answer`](Options::wait_for_answer()).
    pub wait_for_answer: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            proxy: ProxyChoice::default(),
            plain: Plain::default(),
            tls: TlsChoice::default(),
            headers: Vec::new(),
            direct: Direct::default(),
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

    /// Where the server takes direct connections. By what the session travels is [`Config`]'s
    /// [`carrier`](posthole_protocol::ConfigBuilder::carrier). Default: where the server tells.
    #[must_use]
    pub fn direct(mut self, direct: Direct) -> Options {
        self.direct = direct;
        self
    }

    /// How the session behaves.
    #[must_use]
    pub fn config(mut self, config: Config) -> Options {
        self.config = config;
        self
    }

    /// How long `connect` waits for the first answer. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Options {
        self.connect_timeout = timeout;
        self
    }

    /// Whether `connect` waits for the first answer at all. If not, it gives a session that goes on
    /// trying until it gives up (by default after 90 s of silence); what is written meanwhile waits. Default: yes.
    #[must_use]
    pub fn wait_for_answer(mut self, wait: bool) -> Options {
        self.wait_for_answer = wait;
        self
    }
}

/// Headers by their names only: values may hold secrets.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Options")
            .field("proxy", &self.proxy)
            .field("plain", &self.plain)
            .field("tls", &self.tls)
            .field("headers", &headers)
            .field("direct", &self.direct)
            .field("config", &self.config)
            .field("connect_timeout", &self.connect_timeout)
            .field("wait_for_answer", &self.wait_for_answer)
            .finish()
    }
}

/// How to serve, for `Listener::bind` and `Handler::new`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// See [`path`](ListenOptions::path()).
    pub path: String,
    /// See [`limits`](ListenOptions::limits()).
    pub limits: Option<Limits>,
    /// See [`config`](ListenOptions::config()).
    pub config: Config,
    /// See [`router`](ListenOptions::router()).
    pub router: RouterConfig,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            path: "/".into(),
            limits: None,
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

    /// The path that takes requests; every other is answered 404. Of no meaning to a `Handler`.
    /// Default: `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> ListenOptions {
        self.path = path.into();
        self
    }

    /// What clients may make the HTTP side spend. Of no meaning to a `Handler`. Default: what suits the runtime, which
    /// is [`Limits::default`] on threads and [`Limits::for_tasks`] on tasks.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> ListenOptions {
        self.limits = Some(limits);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_tls_says_so_where_it_is_wanted() {
        assert_eq!(TlsChoice::Platform.left_out(false), Ok(()));
        let error = TlsChoice::Platform.left_out(true).unwrap_err().to_string();
        assert!(error.contains("the feature \"tls\""), "{error}");
    }

    #[test]
    fn what_headers_say_is_not_printed() {
        let proxy = ProxyChoice::Url("http://me:hunter2@proxy.example/".into());
        let options = Options::new().header("X-Key", "hunter2").proxy(proxy);
        let text = format!("{options:?}");
        assert!(
            text.contains("X-Key") && !text.contains("hunter2"),
            "{text}"
        );
    }

    /// As the documentation says.
    #[test]
    fn without_options_ten_seconds_are_waited_for_an_answer() {
        assert_eq!(Options::new().connect_timeout, Duration::from_secs(10));
        assert!(Options::new().wait_for_answer);
    }
}
