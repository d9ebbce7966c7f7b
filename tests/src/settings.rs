//! The configurations that tests use: the one place that knows the builder's names.

use posthole_protocol::{Config, RouterConfig};

/// What a test may want to be different from the default; `None` leaves it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// How many requests may be open, at first and at most.
    pub requests: Option<u32>,
    /// How many the server is to hold.
    pub hold: Option<u32>,
    /// Bytes of the receive pool of a session.
    pub window: Option<u64>,
}

impl Settings {
    /// The configuration.
    pub fn config(self) -> Config {
        todo!("{self:?}")
    }
}

/// The tuned default.
pub fn tuned() -> Config {
    Settings::default().config()
}

/// The source's own schedule.
pub fn classic() -> Config {
    todo!()
}

/// The router's bounds.
pub fn router() -> RouterConfig {
    RouterConfig {
        sessions: 100,
        ended: 100,
        linger: core::time::Duration::from_secs(300),
    }
}
