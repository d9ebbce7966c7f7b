//! The cases: what runtimes promise, by subject.
#![allow(clippy::unwrap_used)] // A case fails by it.
#![allow(missing_docs)] // The name says it.

pub mod backpressure;
pub mod bytes;
pub mod cuts;
pub mod drops;
pub mod ending;
pub mod half_close;
pub mod many;
pub mod refusal;
pub mod reset;
pub mod timeouts;
