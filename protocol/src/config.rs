//! Every number that can be set, its default, and where the default comes from.
use core::fmt;
use core::time::Duration;

/// How a session behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Config {}
/// Sets fields of a [`Config`] in any order.
#[derive(Clone, Debug)]
pub struct ConfigBuilder {}
/// Which inequality does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {}
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { let _ = f; todo!() }
}
/// The bounds of a router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouterConfig {
    /// Sessions at most; one more is told "busy". Default 10,000.
    pub sessions: usize,
    /// Ended sessions remembered at most. Default 10,000.
    pub ended: usize,
    /// For how long. Default 300 s.
    pub linger: Duration,
}
