//! The `posthole` command, as a library: everything but reading the arguments' text and exiting.

pub mod address;
pub mod allow;
pub mod copy;
pub mod error;
pub mod forward;
pub mod hostile;
mod intake;
pub mod preamble;
pub mod random;
pub mod refusal;
pub mod units;
