//! The configurations that tests use: the one place that knows the builder's names.

use posthole_protocol::{Config, RouterConfig};

/// What a test may want to be different from the default; `None` leaves it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// How many requests may be open at most.
    pub requests: Option<u8>,
    /// How many the server is to hold.
    pub hold: Option<u8>,
    /// Bytes of the receive pool of a session.
    pub window: Option<u64>,
}

impl Settings {
    /// The configuration.
    ///
    /// # Panics
    /// If the fields don't fit one another.
    pub fn config(self) -> Config {
        let mut builder = Config::builder();
        if let Some(requests) = self.requests {
            builder = builder.requests(requests);
        }
        if let Some(hold) = self.hold {
            builder = builder.hold(hold);
        }
        if let Some(window) = self.window {
            builder = builder.pool(window);
        }
        builder.build().expect("tests ask for what fits together")
    }
}

/// The tuned default.
pub fn tuned() -> Config {
    Settings::default().config()
}

/// The tuned default, with so many streams open at once.
pub fn with_streams(streams: u64) -> Config {
    let builder = Config::builder().streams(streams);
    builder.build().expect("tests ask for what fits together")
}

/// The tuned default, for a server that takes direct connections and tells so.
pub fn direct() -> Config {
    let builder = Config::builder().direct_port(Some(7));
    builder.build().expect("tests ask for what fits together")
}

/// The source's own schedule.
pub fn classic() -> Config {
    Config::classic()
}

/// The router's bounds.
pub fn router() -> RouterConfig {
    RouterConfig {
        sessions: 100,
        ended: 100,
        linger: core::time::Duration::from_secs(300),
    }
}
