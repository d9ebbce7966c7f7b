//! What can be chosen.

use crate::limits::Limits;
use posthole_protocol::{Config, RouterConfig};

/// How to serve, for `Listener::bind` and `Handler::new`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// See [`path`](ListenOptions::path()).
    pub path: String,
    /// See [`limits`](ListenOptions::limits()).
    pub limits: Limits,
    /// See [`config`](ListenOptions::config()).
    pub config: Config,
    /// See [`router`](ListenOptions::router()).
    pub router: RouterConfig,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
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

    /// The path that takes requests; every other is answered 404. Of no meaning to a `Handler`.
    /// Default: `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> ListenOptions {
        self.path = path.into();
        self
    }

    /// What clients may make the HTTP side spend. Of no meaning to a `Handler`.
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
